//! Load, commit, try again: what every step shares.

use super::AuthorizationServer;
use crate::authenticator::AuthenticatorError;
use crate::model::{
    Account, Client, ClientId, Consent, Grant, RevokedSubject, Secret, Session, Subject,
};
use crate::protocol::authorize::AuthorizationError;
use crate::protocol::{Context, Decision, Entropy, Refusal};
use crate::storage::{
    Commit, CommitId, CommitOutcome, Key, Loaded, Record, StorageError, commit_or_repeat,
};
use crate::trace::{Decided, Question, Trace};

/// Why a step gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error<E: std::fmt::Debug = Refusal> {
    /// The request was refused.
    #[error("refused: {0:?}")]
    Refused(E),
    /// The server cannot answer now; the same request may succeed later.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Error {
    /// The same error where a refusal becomes a page.
    pub(super) fn for_page(self) -> Error<AuthorizationError> {
        match self {
            Self::Refused(refusal) => Error::Refused(refusal.into()),
            Self::Unavailable(cause) => Error::Unavailable(cause),
        }
    }
}

/// Why the server cannot answer now.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The store did not answer, or not sensibly.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The user database did not answer.
    #[error(transparent)]
    Authenticator(#[from] AuthenticatorError),
    /// The same record was changed by others again and again.
    #[error("too many requests at once for one authorization")]
    Contention,
    /// The operating system has no random numbers.
    #[error("no random numbers are to be had")]
    Entropy,
}

impl<E: std::fmt::Debug> From<StorageError> for Error<E> {
    fn from(error: StorageError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// How often a step starts over. Each conflict means that another request got through: a step that
/// loses this often is one of very many at the same record, and is told to come back.
const MAX_ATTEMPTS: u32 = 16;

/// The attempts of one step, and its entropy.
#[derive(Debug)]
pub(super) struct Attempts {
    left: u32,
}

/// The records that a step has loaded, by key.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    found: Vec<(Key, Option<Loaded>)>,
}

impl Facts {
    fn record(&self, key: &Key) -> Option<&Record> {
        let (_, loaded) = self.found.iter().find(|(known, _)| known == key)?;
        loaded.as_ref().map(|loaded| &loaded.record)
    }

    /// Facts that were not loaded just now.
    pub(crate) fn from_records(found: impl Iterator<Item = (Key, Option<Record>)>) -> Self {
        let commit = CommitId::from_bytes([0; 16]);
        let loaded = |record: Option<Record>| record.map(|record| Loaded { commit, record });
        Self { found: found.map(|(key, record)| (key, loaded(record))).collect() }
    }

    /// Every record that was asked for, and what was there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, Option<&Record>)> {
        self.found.iter().map(|(key, loaded)| (key, loaded.as_ref().map(|found| &found.record)))
    }

    pub(crate) fn client(&self, id: Option<&ClientId>) -> Option<&Client> {
        match self.record(&Key::client(id?))? {
            Record::Client(client) => Some(client),
            _ => None,
        }
    }

    pub(crate) fn grant(&self, key: &Key) -> Option<&Grant> {
        match self.record(key)? {
            Record::Grant(grant) => Some(grant),
            _ => None,
        }
    }

    pub(crate) fn consent(&self, key: &Key) -> Option<&Consent> {
        match self.record(key)? {
            Record::Consent(consent) => Some(consent),
            _ => None,
        }
    }

    pub(crate) fn revoked_subject(&self, subject: Option<&Subject>) -> Option<&RevokedSubject> {
        match self.record(&Key::revoked_subject(subject?))? {
            Record::RevokedSubject(revoked) => Some(revoked),
            _ => None,
        }
    }

    pub(crate) fn session(&self, key: &Key) -> Option<&Session> {
        match self.record(key)? {
            Record::Session(session) => Some(session),
            _ => None,
        }
    }
}

impl AuthorizationServer {
    pub(super) fn attempts(&self) -> Attempts {
        Attempts { left: MAX_ATTEMPTS }
    }

    pub(super) fn entropy(&self) -> Result<Entropy, Unavailable> {
        self.inner.entropy.seed().map(Entropy::from_seed).ok_or(Unavailable::Entropy)
    }

    /// A secret that belongs to no record.
    pub(crate) fn new_secret(&self) -> Result<Secret, Unavailable> {
        Ok(self.entropy()?.secret())
    }

    /// Loads records in one call to the store.
    pub(super) async fn load(&self, keys: &[Key]) -> Result<Facts, Unavailable> {
        let mut facts = Facts::default();
        self.load_more(&mut facts, keys).await?;
        Ok(facts)
    }

    /// Loads what is not known yet.
    pub(super) async fn load_more(
        &self,
        facts: &mut Facts,
        keys: &[Key],
    ) -> Result<(), Unavailable> {
        let mut wanted: Vec<Key> = Vec::with_capacity(keys.len());
        for key in keys {
            let known = facts.found.iter().any(|(known, _)| known == key) || wanted.contains(key);
            if !known {
                wanted.push(key.clone());
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let found = self.inner.storage.load(&wanted).await?;
        for (key, stored) in wanted.into_iter().zip(found) {
            let loaded = stored.map(|stored| Loaded::decode(&key, &stored)).transpose()?;
            facts.found.push((key, loaded));
        }
        Ok(())
    }

    /// The account of whoever the grant belongs to, if it still stands.
    pub(super) async fn account(
        &self,
        subject: Option<&Subject>,
    ) -> Result<Option<Account>, Unavailable> {
        match subject {
            Some(subject) => Ok(self.inner.authenticator.account(subject).await?),
            None => Ok(None),
        }
    }

    /// Makes a decision durable. `None`: the record was changed by somebody else meanwhile, so the
    /// decision is void and the step starts over.
    pub(super) async fn commit<T, E: std::fmt::Debug>(
        &self,
        attempts: &mut Attempts,
        facts: &Facts,
        decision: Decision<T, E>,
        entropy: &mut Entropy,
    ) -> Result<Option<Result<T, E>>, Unavailable> {
        if let Some(record) = decision.write {
            let key = record.key();
            let replaces = facts.found.iter().find(|(known, _)| *known == key);
            let replaces = replaces.and_then(|(_, loaded)| loaded.as_ref());
            let commit = Commit {
                key,
                expect: replaces.map(|loaded| loaded.commit),
                id: entropy.commit_id(),
                record: record.to_new_record(replaces.map(|loaded| &loaded.record))?,
            };
            if commit_or_repeat(&*self.inner.storage, commit).await? == CommitOutcome::Conflict {
                attempts.left = attempts.left.saturating_sub(1);
                return if attempts.left == 0 { Err(Unavailable::Contention) } else { Ok(None) };
            }
        }
        let now = self.now();
        for event in &decision.events {
            self.inner.audit.record(now, event).await;
        }
        Ok(Some(decision.outcome))
    }

    /// A whole step whose facts are the records under these keys.
    pub(super) async fn step<T>(
        &self,
        keys: &[Key],
        decide: impl Fn(&Facts, Context<'_>, &mut Entropy) -> Decision<T>,
    ) -> Result<Result<T, Refusal>, Unavailable> {
        let mut attempts = self.attempts();
        loop {
            let facts = self.load(keys).await?;
            let mut entropy = self.entropy()?;
            let decision = decide(&facts, self.context(), &mut entropy);
            let done = self.commit(&mut attempts, &facts, decision, &mut entropy).await?;
            if let Some(outcome) = done {
                return Ok(outcome);
            }
        }
    }

    /// What a decision came to, where somebody wants to know.
    pub(super) fn decided(&self, of: impl FnOnce() -> Decided) -> Option<Decided> {
        let sink = self.inner.traces.as_ref()?;
        let decided = of();
        sink.wants(decided.is_refusal()).then_some(decided)
    }

    /// Records a decision, once it is durable.
    pub(super) async fn trace(
        &self,
        decided: Option<Decided>,
        question: Question<'_>,
        facts: &Facts,
        account: Option<&Account>,
        ctx: Context<'_>,
    ) {
        if let (Some(sink), Some(decided)) = (&self.inner.traces, decided)
            && let Some(seed) = self.inner.entropy.seed()
        {
            let seed = Secret::from_bytes(seed);
            sink.record(&Trace::new(question, facts, account, ctx, decided, &seed)).await;
        }
    }

    pub(crate) async fn emit(&self, event: crate::protocol::Event) {
        self.inner.audit.record(self.now(), &event).await;
    }
}
