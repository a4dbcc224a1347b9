//! Grants by the million, each the record that the flow of RFC 6749 section 4.1 leaves behind.
//!
//! One grant is made by that flow and is the template of all others. What differs from grant to grant is counted up
//! in [`Parts`]: identifier, user, hashes of secrets. Everything follows from the number of the grant, so that the
//! tokens of any of them can be made again to be presented.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::contender::Fatal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::AuthorizationServer;
use grantor::model::{
    Grant, GrantState, Handle, HandleKind, HashPrefix, RecordId, Secret, SecretHash, SecretString,
    Subject,
};
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Index, Key, Listing, Loaded, Record, Storage, StorageError,
    Stored,
};
use http::StatusCode;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::embedded::StoppedClock;
use crate::flow::{Client, Tokens, first_code, tokens_of, wrong};

/// How many users there are where there are few.
pub const FEW: u64 = 1000;

/// When the first grant is made, in Unix time: so late that no Redis takes any of them for expired.
pub(crate) const FIRST_MADE: u32 = 2_500_000_000;
/// How many are made in a second, as their identifiers say.
const IN_A_SECOND: u64 = 100;
/// For so many grants there is one access token that expires.
const FOR_EACH_THAT_EXPIRES: u64 = 10;

/// The time in which so many are made, as their identifiers say.
pub const fn made_in(grants: u64) -> Duration {
    Duration::from_secs(grants / IN_A_SECOND)
}

/// How often, and after what time, a commit is sent again.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// The random bytes of one grant, for one purpose.
fn random(number: u64, purpose: u8) -> [u8; 32] {
    Sha256::new().chain_update([purpose]).chain_update(number.to_be_bytes()).finalize().into()
}

fn head<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// Somebody, by number, with a name as long as those of the ready server's user directory.
pub fn user(number: u64) -> String {
    format!("usr_{}", URL_SAFE_NO_PAD.encode(head::<16>(&random(number, b'u'))))
}

fn id(number: u64) -> RecordId {
    let second = FIRST_MADE + u32::try_from(number / IN_A_SECOND).unwrap_or_default();
    let mut id = head::<{ RecordId::LEN }>(&random(number, b'i'));
    if let Some(begin) = id.first_chunk_mut() {
        *begin = second.to_be_bytes();
    }
    RecordId::from_bytes(id)
}

/// The access token of a grant.
pub fn access_token(number: u64) -> SecretString {
    let secret = Secret::from_bytes(random(number, b'a'));
    Handle::new(HandleKind::AccessToken, id(number), secret).encode()
}

/// The refresh token of a grant.
pub fn refresh_token(number: u64) -> SecretString {
    let secret = Secret::from_bytes(random(number, b'r'));
    Handle::new(HandleKind::RefreshToken, id(number), secret).encode()
}

/// What differs from grant to grant.
struct Parts {
    id: RecordId,
    subject: Subject,
    code: HashPrefix,
    refresh: SecretHash,
    family: [u8; 16],
    access: SecretHash,
}

impl Parts {
    fn of_number(number: u64, user_number: u64) -> Result<Self, Fatal> {
        let secret = |purpose| SecretHash::of(&Secret::from_bytes(random(number, purpose)));
        Ok(Self {
            id: id(number),
            subject: Subject::parse(user(user_number))?,
            code: secret(b'c').prefix(),
            refresh: secret(b'r'),
            family: head(&random(number, b'f')),
            access: secret(b'a'),
        })
    }

    fn of_grant(grant: &Grant) -> Option<Self> {
        let GrantState::Active(active) = &grant.state else { return None };
        let refresh = active.refresh.as_ref()?;
        let [access] = active.access_tokens.as_slice() else { return None };
        Some(Self {
            id: grant.id,
            subject: active.subject.clone()?,
            code: active.proof.as_ref()?.code,
            refresh: refresh.hash,
            family: refresh.family,
            access: access.hash,
        })
    }
}

/// A grant of the flow.
#[derive(Debug)]
pub struct Template(Grant);

/// The record of a grant that a user has just allowed.
async fn by_flow(
    server: &AuthorizationServer,
    client: &Client,
    user_number: u64,
) -> Result<(Stored, Grant), Fatal> {
    let code = first_code(server, &user(user_number)).await?;
    let tokens: Tokens = tokens_of(&server.handle(client.exchange(&code)?).await)?;
    let handle = Handle::parse(HandleKind::RefreshToken, &tokens.refresh).ok_or("no handle")?;
    let key = Key::grant(handle.id);
    let found = server.storage().load(std::slice::from_ref(&key)).await?.pop().flatten();
    let stored = found.ok_or("there is no record of a token")?;
    match Loaded::decode(&key, &stored)?.record {
        Record::Grant(grant) => Ok((stored, grant)),
        other => Err(format!("{:?} is no grant", other.key()).into()),
    }
}

impl Template {
    /// Makes two grants by the flow. The template is the one, if it makes the other out of its parts, to the byte.
    pub async fn new(server: &AuthorizationServer, client: &Client) -> Result<Self, Fatal> {
        let (_, grant) = by_flow(server, client, u64::MAX).await?;
        let template = Self(grant);
        let (expected, grant) = by_flow(server, client, u64::MAX - 1).await?;
        let parts = Parts::of_grant(&grant).ok_or("a grant of another form")?;
        let subject = parts.subject.clone();
        let made = template.make(parts)?;
        let key = made.key();
        let record = made.to_new_record(None)?;
        if (&record.value, record.purge_at) != (&expected.value, expected.purge_at) {
            return Err(format!(
                "what is made here is not what the flow made:\n{made:?}\n{grant:?}"
            )
            .into());
        }
        let index = Index::grants_of(&subject);
        let listing = Listing::Index(index.clone());
        let listed = server.storage().list(&listing, None, 100).await?.keys.contains(&key);
        if record.indexes != [index] || !listed {
            return Err("what is made here is in other indexes than what the flow made".into());
        }
        Ok(template)
    }

    fn make(&self, parts: Parts) -> Result<Record, Fatal> {
        let mut grant = self.0.clone();
        grant.id = parts.id;
        let GrantState::Active(active) = &mut grant.state else { return Err("not active".into()) };
        active.subject = Some(parts.subject);
        if let Some(proof) = &mut active.proof {
            proof.code = parts.code;
        }
        if let Some(refresh) = &mut active.refresh {
            (refresh.hash, refresh.family) = (parts.refresh, parts.family);
        }
        for token in &mut active.access_tokens {
            token.hash = parts.access;
        }
        Ok(Record::Grant(grant))
    }

    fn commit(&self, number: u64, users: u64) -> Result<Commit, Fatal> {
        let made = self.make(Parts::of_number(number, number % users)?)?;
        Ok(Commit {
            key: made.key(),
            expect: None,
            id: CommitId::from_bytes(head(&random(number, b'w'))),
            record: made.to_new_record(None)?,
        })
    }
}

/// A store that is filled as fast as it takes anything may say once that it is too busy. The same commit can be sent
/// again.
async fn patiently(storage: &dyn Storage, commit: &Commit) -> Result<CommitOutcome, StorageError> {
    for _ in 0..TRIES {
        match storage.commit(commit.clone()).await {
            Err(StorageError::Unavailable { .. }) => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
    storage.commit(commit.clone()).await
}

/// Writes grants 0 to `grants`, of `users` users by turns, so many at once.
pub async fn fill(
    storage: &Arc<dyn Storage>,
    template: Template,
    grants: u64,
    users: u64,
    at_once: usize,
) -> Result<(), Fatal> {
    let (template, next) = (Arc::new(template), Arc::new(AtomicU64::new(0)));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (storage, template, next) =
            (Arc::clone(storage), Arc::clone(&template), Arc::clone(&next));
        writers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= grants {
                    return Ok::<_, Fatal>(());
                }
                let outcome = patiently(&*storage, &template.commit(number, users)?).await?;
                if outcome != CommitOutcome::Applied {
                    return Err("a record was there already".into());
                }
                // The memory store is never waited for.
                if number.is_multiple_of(64) {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Issues access tokens that expire long before the grants do, a tenth as many as there are grants. In each second of this
/// time from now on it is as many, so that they lie among the grants that were made then. The answer is how many.
pub async fn issue_what_expires(
    server: &AuthorizationServer,
    client: &Client,
    clock: &StoppedClock,
    grants: u64,
    time: Duration,
) -> Result<u64, Fatal> {
    let seconds = time.as_secs().max(1);
    let each = grants / FOR_EACH_THAT_EXPIRES / seconds;
    for _ in 0..seconds {
        let mut issuers = JoinSet::new();
        for _ in 0..each {
            issuers.spawn(server.handle(client.client_credentials()?));
        }
        while let Some(answer) = issuers.join_next().await {
            let answer = answer?;
            if answer.status() != StatusCode::OK {
                return Err(wrong(&answer));
            }
        }
        clock.advance(Duration::from_secs(1));
    }
    Ok(each * seconds)
}
