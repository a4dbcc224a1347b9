//! What stands in a record: the model as bytes, and the bytes as model.
//!
//! What there may be millions of is [postcard](https://postcard.jamesmunns.com): fields in their order and
//! nothing between them. Any change of such a type, of the order of its fields or variants as well, is a new
//! format. Clients, which are few, are MessagePack, whose fields have names: one that is added does not need a
//! new format.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CommitId, Index, Key, Kind, NewRecord, StorageError, Stored};
use crate::model::{
    Client, ClientId, Consent, Grant, GrantState, RecordId, RevokedSubject, Session, Subject,
    Timestamp, digest, hex,
};

/// A record of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A registered client.
    Client(Client),
    /// An authorization.
    Grant(Grant),
    /// What a user allowed a client.
    Consent(Consent),
    /// A browser session.
    Session(Session),
    /// A user of whom everything was once revoked.
    RevokedSubject(RevokedSubject),
}

/// The first byte of every value. A reader refuses what is newer than itself, so it can never
/// write back a record that it understood only in part.
///
/// Traces have records in them: their format is raised with this one.
const FORMAT: u8 = 3;

/// The same for what nobody has signed in for: anybody can make these, so they go soon.
const SHORT_MARGIN: Duration = Duration::from_secs(600);

/// How long a record outlives its meaning. An answer about an expired code is then "expired", not
/// "unknown", and clocks that differ by less do no harm.
const MARGIN: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const FOREVER: Timestamp = Timestamp::from_millis(i64::MAX);

impl Record {
    /// Where it is kept.
    pub fn key(&self) -> Key {
        match self {
            Self::Client(client) => Key::client(&client.id),
            Self::Grant(grant) => Key::grant(grant.id),
            Self::Consent(consent) => Key::consent(&consent.subject, &consent.client_id),
            Self::Session(session) => Key::session(session.id),
            Self::RevokedSubject(revoked) => Key::revoked_subject(&revoked.subject),
        }
    }

    pub(crate) fn as_client(&self) -> Option<&Client> {
        match self {
            Self::Client(client) => Some(client),
            _ => None,
        }
    }

    /// When it may be removed from the store. Absence is always safe: no handle opens a record
    /// that is not there.
    pub fn purge_at(&self) -> Timestamp {
        match self {
            // Removal must outlast every write that was under way when it happened.
            Self::Client(client) => client.removed_at.map_or(FOREVER, |at| at.plus(DAY)),
            Self::Consent(_) | Self::RevokedSubject(_) => FOREVER,
            Self::Session(session) => session.expires_at.plus(MARGIN),
            Self::Grant(grant) => match &grant.state {
                GrantState::Pending(pending) => pending.expires_at.plus(SHORT_MARGIN),
                GrantState::CodeIssued(code) => code.expires_at.plus(MARGIN),
                GrantState::Active(active) => {
                    let refresh = active.refresh.as_ref();
                    let refresh = refresh.map(|r| r.idle_expires_at.min(r.expires_at));
                    let tokens = active.access_tokens.iter().map(|token| token.expires_at);
                    tokens.chain(refresh).max().unwrap_or(grant.created_at).plus(MARGIN)
                }
                GrantState::Revoked(revocation) => revocation.at.plus(DAY),
            },
        }
    }

    /// The index entries that this record must have, whichever commit introduces them.
    pub fn indexes(&self) -> Vec<Index> {
        match self {
            Self::Client(_) => vec![Index::clients()],
            Self::RevokedSubject(_) => vec![],
            Self::Grant(grant) => grant.subject().map(Index::grants_of).into_iter().collect(),
            Self::Consent(consent) => vec![Index::consents_of(&consent.subject)],
            Self::Session(session) => vec![Index::sessions_of(&session.subject)],
        }
    }

    /// Whether this record has the index entries that `other` must have.
    fn is_listed_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Grant(this), Self::Grant(other)) => {
                other.subject().is_none() || this.subject() == other.subject()
            }
            _ => self.indexes() == other.indexes(),
        }
    }

    /// The record as the store takes it. `replaces` is what is there now: only index entries that
    /// it did not have already are introduced.
    pub fn to_new_record(&self, replaces: Option<&Record>) -> Result<NewRecord, StorageError> {
        let indexes = match replaces {
            Some(replaces) if replaces.is_listed_as(self) => vec![],
            _ => self.indexes(),
        };
        let value = self.encode()?;
        if value.len() > NewRecord::MAX_VALUE_LEN {
            return Err(StorageError::unavailable("a record would exceed 16 KiB"));
        }
        Ok(NewRecord { value, purge_at: self.purge_at(), indexes })
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, StorageError> {
        match self {
            Self::Client(client) => {
                let mut value = vec![FORMAT];
                let written = rmp_serde::encode::write_named(&mut value, client);
                written.map(|()| value).map_err(StorageError::damaged)
            }
            Self::Grant(grant) => write(grant),
            Self::Consent(consent) => write(consent),
            Self::Session(session) => write(session),
            Self::RevokedSubject(revoked) => write(revoked),
        }
    }

    /// Reads the record that stands under `key`.
    pub fn decode(key: &Key, value: &[u8]) -> Result<Self, StorageError> {
        let kind = key.kind();
        let body = match value.split_first() {
            Some((&FORMAT, body)) => body,
            Some((format, _)) => {
                return Err(StorageError::damaged(format_args!(
                    "a record has format {format}; this version reads {FORMAT}"
                )));
            }
            None => return Err(StorageError::damaged("an empty record")),
        };
        match kind {
            Kind::Client => {
                let client = rmp_serde::from_slice(body);
                client.map(Self::Client).map_err(|error| damaged(kind, &error))
            }
            Kind::Grant => {
                let Ok(id) = key.id().try_into().map(RecordId::from_bytes) else {
                    return Err(StorageError::damaged("no authorization has such a key"));
                };
                read(kind, body).map(|grant| Self::Grant(Grant { id, ..grant }))
            }
            Kind::Consent => read(kind, body).map(Self::Consent),
            Kind::Session => read(kind, body).map(Self::Session),
            Kind::RevokedSubject => read(kind, body).map(Self::RevokedSubject),
            Kind::User => Err(StorageError::damaged("user records belong to the user directory")),
            Kind::Throttle | Kind::Replay => {
                Err(StorageError::damaged("a moment is no record of the protocol"))
            }
        }
    }
}

fn write(record: &impl Serialize) -> Result<Vec<u8>, StorageError> {
    let mut value = Vec::with_capacity(512);
    value.push(FORMAT);
    postcard::to_extend(record, value).map_err(StorageError::damaged)
}

/// All of `body`: what is left over was written by something else.
fn read<'a, T: Deserialize<'a>>(kind: Kind, body: &'a [u8]) -> Result<T, StorageError> {
    match postcard::take_from_bytes(body) {
        Ok((record, [])) => Ok(record),
        Ok(_) => Err(damaged(kind, &postcard::Error::DeserializeBadEncoding)),
        Err(error) => Err(damaged(kind, &error)),
    }
}

fn damaged(kind: Kind, error: &dyn std::fmt::Display) -> StorageError {
    StorageError::damaged(format_args!("a {kind:?} record: {error}"))
}

/// A record and the commit that wrote it: what the next commit must expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The commit that wrote the record.
    pub commit: CommitId,
    /// The record.
    pub record: Record,
}

impl Loaded {
    /// Reads what a store returned for `key`.
    pub fn decode(key: &Key, stored: &Stored) -> Result<Self, StorageError> {
        let record = Record::decode(key, &stored.value)?;
        Ok(Self { commit: stored.commit, record })
    }
}

impl Key {
    /// The key of a client.
    pub fn client(id: &ClientId) -> Self {
        Self::of(Kind::Client, id.as_str().as_bytes())
    }

    /// The key of an authorization.
    pub fn grant(id: RecordId) -> Self {
        Self::of(Kind::Grant, id.as_bytes())
    }

    /// The key of what `subject` allowed `client_id`.
    pub fn consent(subject: &Subject, client_id: &ClientId) -> Self {
        let (consent, _) = Self::consent_and_revoked_subject(subject, client_id);
        consent
    }

    /// [`consent`](Self::consent) and [`revoked_subject`](Self::revoked_subject), which have a hash in common.
    pub(crate) fn consent_and_revoked_subject(
        subject: &Subject,
        client_id: &ClientId,
    ) -> (Self, Self) {
        let subject = subject.digest();
        let client = digest(&[b"client", client_id.as_str().as_bytes()]);
        let mut pair = [0; 32];
        let (of_subject, of_client) = pair.split_at_mut(16);
        of_subject.copy_from_slice(subject.split_at(16).0);
        of_client.copy_from_slice(client.split_at(16).0);
        (Self::of(Kind::Consent, &pair), Self::of(Kind::RevokedSubject, &subject))
    }

    /// The key of the memory that everything of `subject` was revoked.
    pub fn revoked_subject(subject: &Subject) -> Self {
        Self::of(Kind::RevokedSubject, &subject.digest())
    }

    /// The key of a browser session.
    pub fn session(id: RecordId) -> Self {
        Self::of(Kind::Session, id.as_bytes())
    }
}

impl Index {
    /// All clients.
    pub fn clients() -> Self {
        Self::of("clients")
    }

    /// Half of the digest: a store that keeps its keys in memory keeps one of these for every user, and
    /// 128 bits tell all of them apart.
    fn of_subject(prefix: &str, subject: &Subject) -> Self {
        Self::of(&format!("{prefix}:{}", hex(subject.digest().split_at(16).0)))
    }

    /// The authorizations of a user.
    pub fn grants_of(subject: &Subject) -> Self {
        Self::of_subject("grants", subject)
    }

    /// The consents of a user.
    pub fn consents_of(subject: &Subject) -> Self {
        Self::of_subject("consents", subject)
    }

    /// The browser sessions of a user.
    pub fn sessions_of(subject: &Subject) -> Self {
        Self::of_subject("sessions", subject)
    }
}

#[cfg(test)]
mod tests;
