//! Load, commit, try again: what every step shares.

use std::sync::Arc;

use super::AuthorizationServer;
use super::client_cache::Begun;
use crate::authenticator::AuthenticatorError;
use crate::model::{
    Account, Client, ClientId, Consent, Grant, RevokedSubject, Secret, Session, Subject,
};
use crate::protocol::authorize::AuthorizationError;
use crate::protocol::client_auth::{PresentedClient, authenticate};
use crate::protocol::{Context, Decision, Entropy, Event, Refusal};
use crate::storage::{
    Commit, CommitId, CommitOutcome, Key, Kind, Loaded, Record, StorageError, Stored,
    commit_or_repeat,
};
use crate::trace::{Decided, Granted, Question, Refused, Trace};

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
    /// Whoever decides about a grant type of the host's did not answer.
    #[error("the grant type is unavailable: {0}")]
    ExtensionGrant(String),
    /// The host's token format made a token that nobody could use.
    #[error("the token format makes tokens that are too long, or not of the characters of a token")]
    TokenFormat,
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

/// A decision that goes to the store.
pub(super) struct Prepared<T, E> {
    commit: Option<Commit>,
    pub(super) outcome: Result<T, E>,
    events: Vec<Event>,
    pub(super) decided: Option<Box<Decided>>,
}

/// The records that a step has loaded, by key.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    found: Vec<(Key, Option<Arc<Loaded>>)>,
    /// Which of them were loaded a little while ago.
    cached: Vec<Key>,
}

impl Facts {
    fn loaded(&self, key: &Key) -> Option<&Arc<Loaded>> {
        let (_, loaded) = self.found.iter().find(|(known, _)| known == key)?;
        loaded.as_ref()
    }

    fn record(&self, key: &Key) -> Option<&Record> {
        self.loaded(key).map(|loaded| &loaded.record)
    }

    /// Whether the record of the grant's client is out of the cache, and not of the grant's time. One of
    /// the two has been overtaken by a revocation, and only a fresh record can tell which.
    fn may_be_outdated(&self, grant_key: &Key) -> Option<Key> {
        let grant = self.grant(grant_key)?;
        let client = self.client(Some(&grant.client_id))?;
        let key = Key::client(&client.id);
        (grant.client_epoch != client.epoch && self.cached.contains(&key)).then_some(key)
    }

    fn forget(&mut self, key: &Key) {
        self.found.retain(|(known, _)| known != key);
        self.cached.retain(|known| known != key);
    }

    /// Facts that were not loaded just now.
    pub(crate) fn from_records(found: impl Iterator<Item = (Key, Option<Record>)>) -> Self {
        let commit = CommitId::from_bytes([0; 16]);
        let loaded = |record| Arc::new(Loaded { commit, record });
        let found = found.map(|(key, record)| (key, record.map(loaded))).collect();
        Self { found, cached: Vec::new() }
    }

    /// Every record that was asked for, and what was there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, Option<&Record>)> {
        self.found.iter().map(|(key, loaded)| (key, loaded.as_ref().map(|found| &found.record)))
    }

    pub(crate) fn client(&self, id: Option<&ClientId>) -> Option<&Client> {
        self.record(&Key::client(id?))?.as_client()
    }

    /// The same, for whoever needs it longer than the other facts.
    pub(super) fn loaded_client(&self, id: Option<&ClientId>) -> Option<Arc<Loaded>> {
        self.loaded(&Key::client(id?)).cloned()
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
        self.revoked_subject_at(&Key::revoked_subject(subject?))
    }

    pub(crate) fn revoked_subject_at(&self, key: &Key) -> Option<&RevokedSubject> {
        match self.record(key)? {
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
    pub(super) async fn load(&self, keys: Vec<Key>) -> Result<Facts, Unavailable> {
        let mut facts = Facts::default();
        self.load_more(&mut facts, keys).await?;
        Ok(facts)
    }

    /// Loads what is not known yet.
    pub(super) async fn load_more(
        &self,
        facts: &mut Facts,
        mut wanted: Vec<Key>,
    ) -> Result<(), Unavailable> {
        wanted.retain(|key| facts.found.iter().all(|(known, _)| known != key));
        if wanted.is_empty() {
            return Ok(());
        }
        let begun = self.inner.clients.begin(|| self.now());
        let found = self.inner.storage.load(&wanted).await?;
        for (key, stored) in wanted.into_iter().zip(found) {
            let loaded = stored.map(|stored| self.read(&key, &stored, begun)).transpose()?;
            facts.found.push((key, loaded));
        }
        Ok(())
    }

    fn read(
        &self,
        key: &Key,
        stored: &Stored,
        begun: Option<Begun>,
    ) -> Result<Arc<Loaded>, Unavailable> {
        if key.kind() != Kind::Client {
            return Ok(Arc::new(Loaded::decode(key, stored)?));
        }
        let loaded = match self.inner.clients.read_before(key, stored) {
            // It is kept already, and nobody asks how old it is.
            Some(loaded) if begun.is_none() => return Ok(loaded),
            Some(loaded) => loaded,
            None => Arc::new(Loaded::decode(key, stored)?),
        };
        self.inner.clients.keep(key, &loaded, begun);
        Ok(loaded)
    }

    /// What a request of a client is decided on: its own record, and the grant that it names.
    ///
    /// Its own record may come out of the cache, if by that it is who it says. Nobody is refused on a
    /// record that is not fresh.
    pub(super) async fn load_for(
        &self,
        presented: &PresentedClient,
        client_id: Option<&ClientId>,
        grant_key: Option<&Key>,
    ) -> Result<Facts, Unavailable> {
        let mut facts = Facts::default();
        if let Some(client_id) = client_id {
            self.take_cached(&mut facts, &Key::client(client_id));
            let wrong = |client| authenticate(presented, Some(client), self.now()).is_err();
            if facts.client(Some(client_id)).is_some_and(wrong) {
                facts = Facts::default();
            }
        }
        let keys = client_id.map(Key::client).into_iter().chain(grant_key.cloned()).collect();
        self.load_more(&mut facts, keys).await?;
        if let Some(grant_key) = grant_key {
            self.replace_outdated(&mut facts, grant_key).await?;
        }
        Ok(facts)
    }

    /// The client of a grant that is loaded, out of the cache if that will do.
    pub(super) async fn load_client_of(
        &self,
        facts: &mut Facts,
        grant_key: &Key,
    ) -> Result<(), Unavailable> {
        let Some(key) = facts.grant(grant_key).map(|grant| Key::client(&grant.client_id)) else {
            return Ok(());
        };
        if facts.found.iter().any(|(known, _)| *known == key) {
            return Ok(());
        }
        self.take_cached(facts, &key);
        self.replace_outdated(facts, grant_key).await?;
        self.load_more(facts, vec![key]).await
    }

    fn take_cached(&self, facts: &mut Facts, key: &Key) {
        if let Some(loaded) = self.inner.clients.get(key, || self.now()) {
            facts.found.push((key.clone(), Some(loaded)));
            facts.cached.push(key.clone());
        }
    }

    async fn replace_outdated(
        &self,
        facts: &mut Facts,
        grant_key: &Key,
    ) -> Result<(), Unavailable> {
        let Some(key) = facts.may_be_outdated(grant_key) else { return Ok(()) };
        facts.forget(&key);
        self.load_more(facts, vec![key]).await
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

    /// Readies a decision, so that nothing larger than what goes to the store waits for it.
    pub(super) fn prepare<T: Granted, E: Refused>(
        &self,
        facts: &Facts,
        decision: Decision<T, E>,
        entropy: &mut Entropy,
    ) -> Result<Prepared<T, E>, Unavailable> {
        let decided = self.decided(|| Decided::of(&decision));
        Ok(Prepared { decided, ..self.prepare_untraced(facts, decision, entropy)? })
    }

    fn prepare_untraced<T, E>(
        &self,
        facts: &Facts,
        decision: Decision<T, E>,
        entropy: &mut Entropy,
    ) -> Result<Prepared<T, E>, Unavailable> {
        let Decision { write, outcome, events } = decision;
        let commit = write.map(|record| {
            let key = record.key();
            let replaces = facts.loaded(&key);
            Ok::<_, Unavailable>(Commit {
                key,
                expect: replaces.map(|loaded| loaded.commit),
                id: entropy.commit_id(),
                record: record.to_new_record(replaces.map(|loaded| &loaded.record))?,
            })
        });
        Ok(Prepared { commit: commit.transpose()?, outcome, events, decided: None })
    }

    /// Makes a decision durable. `false`: the record was changed by somebody else meanwhile, so the
    /// decision is void and the step starts over.
    pub(super) async fn commit<T, E>(
        &self,
        attempts: &mut Attempts,
        prepared: &Prepared<T, E>,
    ) -> Result<bool, Unavailable> {
        if let Some(commit) = &prepared.commit {
            // Until the outcome is known, or nobody asks for it any more.
            let client = (commit.key.kind() == Kind::Client).then(|| commit.key.clone());
            let _changing = client.map(|key| self.inner.clients.change(key));
            if commit_or_repeat(&*self.inner.storage, commit).await? == CommitOutcome::Conflict {
                attempts.left = attempts.left.saturating_sub(1);
                return if attempts.left == 0 { Err(Unavailable::Contention) } else { Ok(false) };
            }
        }
        if let Some(audit) = &self.inner.audit {
            let now = self.now();
            for event in &prepared.events {
                audit.record(now, event).await;
            }
        }
        Ok(true)
    }

    /// A whole step whose facts are the records under these keys.
    pub(super) async fn step<T>(
        &self,
        keys: &[Key],
        decide: impl Fn(&Facts, Context<'_>, &mut Entropy) -> Decision<T>,
    ) -> Result<Result<T, Refusal>, Unavailable> {
        let mut attempts = self.attempts();
        loop {
            let facts = self.load(keys.to_vec()).await?;
            let mut entropy = self.entropy()?;
            let decision = decide(&facts, self.context(), &mut entropy);
            let prepared = self.prepare_untraced(&facts, decision, &mut entropy)?;
            if self.commit(&mut attempts, &prepared).await? {
                return Ok(prepared.outcome);
            }
        }
    }

    /// What a decision came to, where somebody wants to know.
    pub(super) fn decided(&self, of: impl FnOnce() -> Decided) -> Option<Box<Decided>> {
        let sink = self.inner.traces.as_ref()?;
        let decided = Box::new(of());
        sink.wants(decided.is_refusal()).then_some(decided)
    }

    /// Records a decision, once it is durable.
    pub(super) async fn trace(
        &self,
        decided: Option<Box<Decided>>,
        question: Question<'_>,
        facts: &Facts,
        account: Option<&Account>,
        ctx: Context<'_>,
    ) {
        if let (Some(sink), Some(decided)) = (&self.inner.traces, decided)
            && let Some(seed) = self.inner.entropy.seed()
        {
            let seed = Secret::from_bytes(seed);
            // Hardly any request has one, and none should carry the room for it.
            let trace = Box::new(Trace::new(question, facts, account, ctx, *decided, &seed));
            sink.record(&trace).await;
        }
    }

    pub(crate) async fn emit(&self, event: Event) {
        if let Some(audit) = &self.inner.audit {
            audit.record(self.now(), &event).await;
        }
    }
}
