//! The storage contract: what Grantor needs of a store, in six methods.
//!
//! Grantor keeps every authorization in **one record** and moves it forward by **replacing the
//! record whose last commit was X**. A store that can do that atomically for one key can be a
//! backend: an embedded tree, Redis, one SQL row, a cloud key-value store. The values are opaque.
//!
#![doc = include_str!("../../docs/storage-contract.md")]

mod id;
mod memory;
pub(crate) mod moment;
mod record;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use self::id::Id;
pub use self::memory::MemoryStorage;
pub use self::record::{Loaded, Record};
use crate::model::{Timestamp, read_text};

/// A store of records. See the [module documentation](self) for the contract, clause by clause.
///
/// There are no default bodies: a backend answers for each method.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// What this store, as configured, can promise. The engine refuses to start on less than its
    /// policy demands.
    fn promises(&self) -> Promises;

    /// The records under these keys, in the order of the keys; `None` where there is none.
    ///
    /// *Visibility*: a record that a completed [`commit`](Self::commit) wrote is seen by every load
    /// that begins afterwards, on every node.
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError>;

    /// Replaces one record, if the stored one is still the one that `commit.expect` names.
    ///
    /// *Atomicity*: of several commits that expect the same predecessor, exactly one is applied.
    /// *Idempotence*: if the stored record was written by this very commit, the answer is
    /// [`CommitOutcome::Applied`] again.
    /// *Durability on return*: when this returns [`CommitOutcome::Applied`], the record survives a
    /// crash. *Index freshness*: every name in `commit.record.indexes` lists the key from before the
    /// record can be loaded; an index entry may dangle, it may never be missing.
    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError>;

    /// Keys, `limit` at most, from `after` on. A page may be empty and not the last.
    ///
    /// A key that was there from the first page to the last is returned; one that came or went
    /// meanwhile may or may not be. Keys of [`Listing::Index`] come once and in a stable order; they
    /// may dangle or no longer belong to the index: the caller loads and looks. Keys of
    /// [`Listing::Kind`] may come more than once, and in any order; a store that cannot tell any more
    /// whether it walked everything answers [`StorageError::Unavailable`], and the caller begins
    /// again.
    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError>;

    /// Examines at most `budget` records (or index entries) from `after` on and removes those whose
    /// `purge_at` is not after `now`. A record is removed only as it was examined: one that was
    /// replaced meanwhile stays. A step may find nothing to examine and not be the last. What the store
    /// knows not to be due it need not examine, and one that knows where to go on may ignore `after`.
    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError>;

    /// Whether the store can serve now; the answer of a readiness probe.
    async fn ready(&self) -> Result<(), StorageError>;
}

/// What a record is. The number is the first byte of its key in every backend and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// A registered client.
    Client = 1,
    /// One authorization, from request to revocation.
    Grant = 2,
    /// What a user allowed a client.
    Consent = 3,
    /// A browser session.
    Session = 4,
    /// A record of the embedder's user directory.
    User = 5,
    /// A user of whom everything was once revoked.
    RevokedSubject = 6,
    /// How often something was tried lately, where several processes count it together.
    Throttle = 7,
    /// The memory that an assertion was used.
    Replay = 8,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Client,
        Self::Grant,
        Self::Consent,
        Self::Session,
        Self::User,
        Self::RevokedSubject,
        Self::Throttle,
        Self::Replay,
    ];

    /// The number of the kind.
    pub const fn as_byte(self) -> u8 {
        self as u8
    }

    /// The kind with this number.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_byte() == byte)
    }
}

/// The name of one record: its kind and at most 128 bytes that Grantor chose or encoded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    kind: Kind,
    id: Id,
}

impl Key {
    /// The longest identifier, in bytes.
    pub const MAX_ID_LEN: usize = 128;

    /// The key of a record. `id` beyond [`Key::MAX_ID_LEN`] bytes is not accepted.
    pub fn new(kind: Kind, id: impl AsRef<[u8]>) -> Option<Self> {
        let id = id.as_ref();
        (!id.is_empty() && id.len() <= Self::MAX_ID_LEN).then(|| Self::of(kind, id))
    }

    /// For identifiers whose type already bounds them.
    pub(crate) fn of(kind: Kind, id: &[u8]) -> Self {
        Self { kind, id: Id::of(id) }
    }

    /// What the record is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The identifier within its kind.
    pub fn id(&self) -> &[u8] {
        self.id.as_bytes()
    }

    /// The whole key as bytes: the kind, then the identifier. Keys sort by it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let id = self.id();
        let mut bytes = Vec::with_capacity(1 + id.len());
        bytes.push(self.kind.as_byte());
        bytes.extend_from_slice(id);
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, id) = bytes.split_first()?;
        Self::new(Kind::from_byte(*kind)?, id)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.kind, self.id().escape_ascii())
    }
}

/// The name of a secondary index, such as "the grants of this user".
///
/// At most 96 bytes of `a-z 0-9 :` and hexadecimal digits: never text that came from outside.
///
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Index(Arc<str>);

impl Index {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 96;

    /// Checks and wraps the name of an index.
    pub fn new(name: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b':';
        (!name.is_empty() && name.len() <= Self::MAX_LEN && name.bytes().all(allowed))
            .then(|| Self(name.into()))
    }

    /// For names that are made here.
    pub(crate) fn of(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Index {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Index {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, |text| Self::new(text).ok_or("not the name of an index"))
    }
}

/// The identity of one commit attempt: 128 random bits.
///
/// It is also the version of the record that it wrote: "replace what commit X wrote" can be neither
/// fooled by a record that was purged and created again, nor confused about whose write it sees
/// after a timeout. A writer that does not know whether its commit happened loads the record and
/// looks for its own id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId([u8; 16]);

impl CommitId {
    /// The identity made of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, as a backend stores them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// What a record holds, as the store sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// Opaque, at most [`NewRecord::MAX_VALUE_LEN`] bytes; no secret in the clear.
    pub value: Vec<u8>,
    /// When the record may be removed. Its *meaning* expired earlier: that is decided on every
    /// read, by the server's clock, and never by the store.
    pub purge_at: Timestamp,
    /// The index entries that this commit introduces. They outlive the commit: later commits of
    /// the same record do not repeat them.
    pub indexes: Vec<Index>,
}

impl NewRecord {
    /// The largest value that the engine writes, in bytes.
    pub const MAX_VALUE_LEN: usize = 16 * 1024;
}

/// One conditional write of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Commit {
    /// Where.
    pub key: Key,
    /// The commit that must have written the stored record; `None`: there must be no record.
    pub expect: Option<CommitId>,
    /// The identity of this commit.
    pub id: CommitId,
    /// What to write.
    pub record: NewRecord,
}

/// One commit, and once more if its outcome is unknown: sending it again is harmless, since a store
/// recognises a commit that it has already applied by its id.
pub(crate) async fn commit_or_repeat(
    storage: &dyn Storage,
    commit: &Commit,
) -> Result<CommitOutcome, StorageError> {
    match storage.commit(commit.clone()).await {
        Err(StorageError::Unavailable { .. }) => storage.commit(commit.clone()).await,
        answer => answer,
    }
}

/// What became of a [`Commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CommitOutcome {
    /// The record was replaced, durably.
    Applied,
    /// The stored record is not the expected one; nothing was written.
    Conflict,
}

/// A record as it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The commit that wrote it.
    pub commit: CommitId,
    /// What that commit wrote.
    pub value: Vec<u8>,
    /// When the store may remove it.
    pub purge_at: Timestamp,
}

/// What to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// A walk over every record of a kind: each at least once, in any order. For what is listed
    /// exactly there is an index.
    Kind(Kind),
    /// Every key that was ever committed with this index: each once, in a stable order.
    Index(Index),
}

/// Where a listing or a sweep goes on: opaque to everybody but the store that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub Vec<u8>);

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Page {
    /// The keys; there may be none although there are more to come.
    pub keys: Vec<Key>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Swept {
    /// Records and index entries that were looked at.
    pub examined: usize,
    /// Records and index entries that were removed.
    pub removed: usize,
    /// Where to go on; `None` when nothing is left that may be due.
    pub next: Option<Cursor>,
}

/// What a store promises as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promises {
    /// What an acknowledged commit survives.
    pub durability: Durability,
    /// Whether a load sees every commit that completed before it, on whichever node.
    pub linearizable: bool,
    /// Whether the store may drop live records on its own, for instance under memory pressure.
    pub evicts: bool,
    /// Whether other processes may have the same store open at the same time. What has to count
    /// across all of them, such as wrong secrets, is then kept in the store.
    pub shared: bool,
}

/// What an acknowledged commit survives, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Durability {
    /// Nothing: it may be gone with the process, or the node, that holds it (a failover without
    /// waiting for replicas).
    None,
    /// The end of the process, not the end of the machine.
    Process,
    /// A power cut.
    Power,
}

/// Why a store did not answer.
///
/// Whatever the variant, a commit that was under way may or may not have happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The store is away, full or too slow: the same request may succeed later.
    #[error("the storage is unavailable: {reason}")]
    Unavailable {
        /// For the operator's log; holds no secret and no key.
        reason: String,
    },
    /// The store holds something that cannot be read: damaged, or written by a newer version.
    #[error("the storage is damaged: {reason}")]
    Damaged {
        /// For the operator's log; holds no secret and no key.
        reason: String,
    },
}

impl StorageError {
    /// The store is away, full or too slow.
    pub fn unavailable(reason: impl fmt::Display) -> Self {
        Self::Unavailable { reason: reason.to_string() }
    }

    /// The store holds something that cannot be read.
    pub fn damaged(reason: impl fmt::Display) -> Self {
        Self::Damaged { reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_survive_their_bytes() {
        let key = Key::new(Kind::Grant, *b"0123456789ab").expect("short");
        assert_eq!(Key::from_bytes(&key.to_bytes()), Some(key));
        assert_eq!(Key::new(Kind::User, vec![0; 129]), None);
        assert_eq!(Key::new(Kind::User, vec![]), None);
        assert_eq!(Key::from_bytes(&[99, 1]), None);
        assert_eq!(Key::from_bytes(&[]), None);
    }

    #[test]
    fn an_index_name_cannot_hold_text_from_outside() {
        // ATTACKS I08.
        for bad in ["", "a b", "a{b}", "A", "a/b", "a\0", &"a".repeat(97)] {
            assert_eq!(Index::new(bad), None, "{bad:?}");
        }
        assert!(Index::new("grants:0af9").is_some());
    }
}
