//! What stands where in Redis.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `<prefix><kind>:<id>` | string | one record: [`Envelope`] |
//! | `<prefix>i:<digest>` | sorted set | the keys of an index, in byte order; all scores are 0 |
//! | `<prefix>f:<n>` | string | what is written to learn that the replicas follow |
//! | `<prefix>f:{<prefix>f:<n>}` | string | the same, for a moment, where the slot of `<prefix>f:<n>` is about to come to |
//!
//! `<kind>` is one letter. `<id>` is base64url, and so is `<digest>`, the beginning of the SHA-256 of the
//! name of the index: what comes from outside never enters a key as it is, so no name can reach into
//! another key, or choose the slot of a Cluster by braces.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::model::Timestamp;
use grantor::storage::{CommitId, Index, Key, Kind, StorageError, Stored};
use sha2::{Digest as _, Sha256};

/// The names of this store's keys: what they all begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    prefix: String,
}

/// What a key of Redis is to this store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Record(Key),
    Index,
    /// Neither: a fence, or something that a later version keeps.
    Other,
}

const INDEX: char = 'i';
/// 120 bits: nobody finds two names of indexes that share them, and whoever lists an index looks whether
/// its keys belong to it.
const INDEX_DIGEST: usize = 15;
const FENCE: char = 'f';

const fn letter(kind: Kind) -> char {
    match kind {
        Kind::Client => 'c',
        Kind::Grant => 'g',
        Kind::Consent => 'a',
        Kind::Session => 's',
        Kind::User => 'u',
        Kind::RevokedSubject => 'r',
        Kind::Throttle => 't',
        Kind::Replay => 'j',
    }
}

impl Names {
    pub(crate) fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    pub(crate) fn record(&self, key: &Key) -> Vec<u8> {
        let mut name = String::with_capacity(self.prefix.len() + 2 + key.id().len() * 4 / 3 + 3);
        name.push_str(&self.prefix);
        name.push(letter(key.kind()));
        name.push(':');
        URL_SAFE_NO_PAD.encode_string(key.id(), &mut name);
        name.into_bytes()
    }

    /// A digest, since most users have one grant, and then the name is most of what the index takes: with
    /// the default prefix it is as long as fits into 32 bytes of Redis.
    pub(crate) fn index(&self, index: &Index) -> Vec<u8> {
        let digest: [u8; 32] = Sha256::digest(index.as_str()).into();
        let (digest, _) = digest.split_at(INDEX_DIGEST);
        let mut name = format!("{}{INDEX}:", self.prefix);
        URL_SAFE_NO_PAD.encode_string(digest, &mut name);
        name.into_bytes()
    }

    pub(crate) fn fence(&self, number: u32) -> Vec<u8> {
        format!("{}{FENCE}:{number}", self.prefix).into_bytes()
    }

    /// One in the slot of that fence, for the node to which the slot is on its way. It is another key,
    /// because the fence itself may be about to be moved there, and must not be there already.
    pub(crate) fn passing_fence(&self, number: u32) -> Vec<u8> {
        let prefix = &self.prefix;
        format!("{prefix}{FENCE}:{{{prefix}{FENCE}:{number}}}").into_bytes()
    }

    /// A pattern for `SCAN` that all records of a kind match, or everything of this store.
    pub(crate) fn pattern(&self, kind: Option<Kind>) -> String {
        match kind {
            Some(kind) => format!("{}{}:*", self.prefix, letter(kind)),
            None => format!("{}*", self.prefix),
        }
    }

    pub(crate) fn parse(&self, name: &[u8]) -> Named {
        let Some(rest) = name.strip_prefix(self.prefix.as_bytes()) else { return Named::Other };
        let Some((&kind, id)) = rest.split_first() else { return Named::Other };
        let Some(id) = id.strip_prefix(b":") else { return Named::Other };
        if kind == INDEX as u8 {
            return Named::Index;
        }
        let kind = Kind::ALL.into_iter().find(|known| letter(*known) as u8 == kind);
        let id = URL_SAFE_NO_PAD.decode(id).ok();
        match kind.zip(id).and_then(|(kind, id)| Key::new(kind, id)) {
            Some(key) => Named::Record(key),
            None => Named::Other,
        }
    }
}

/// What the first byte of a value says.
///
/// A version that writes other envelopes, or whose index entries stand elsewhere, gives them another
/// number, which this one then neither reads nor replaces nor removes. Lua compares these numbers too;
/// see [`scripts`](crate::scripts). Format 1 had its index entries under the plain names of the indexes.
pub(crate) const FORMAT: u8 = 2;
/// No record: see [`sweep`](crate::sweep).
pub(crate) const TOMBSTONE: u8 = 0;

const COMMIT: usize = 1;
const PURGE_AT: usize = COMMIT + 16;

/// How a value begins, and what it is told from all others by: the format and the commit id, or those
/// of a tombstone and its token.
pub(crate) type Head = [u8; PURGE_AT];

pub(crate) fn head(format: u8, id: &[u8; 16]) -> Head {
    let mut head = [format; PURGE_AT];
    head[COMMIT..].copy_from_slice(id);
    head
}

/// Format, commit id, `purge_at`.
pub(crate) const HEADER_LEN: usize = PURGE_AT + 8;

/// The value of a record's key: the format, the commit that wrote it, `purge_at` as milliseconds
/// (signed, big-endian), and the bytes of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    Record {
        commit: CommitId,
        purge_at: Timestamp,
    },
    Tombstone,
    /// Written by a version that has another format.
    Other(u8),
}

impl Envelope {
    pub(crate) fn encode(commit: CommitId, purge_at: Timestamp, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + value.len());
        bytes.extend_from_slice(&head(FORMAT, commit.as_bytes()));
        bytes.extend_from_slice(&purge_at.as_millis().to_be_bytes());
        bytes.extend_from_slice(value);
        bytes
    }

    /// Reads the header; the rest may have been left out.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, StorageError> {
        let damaged = || StorageError::damaged("a record in Redis is shorter than its header");
        match bytes.first().ok_or_else(damaged)? {
            &TOMBSTONE => Ok(Self::Tombstone),
            &FORMAT => {
                let array = |from, to| bytes.get(from..to).ok_or_else(damaged);
                let commit = array(COMMIT, PURGE_AT)?.try_into().map_err(|_| damaged())?;
                let purge_at = array(PURGE_AT, HEADER_LEN)?.try_into().map_err(|_| damaged())?;
                Ok(Self::Record {
                    commit: CommitId::from_bytes(commit),
                    purge_at: Timestamp::from_millis(i64::from_be_bytes(purge_at)),
                })
            }
            other => Ok(Self::Other(*other)),
        }
    }

    /// The record in a whole value; `None` if there is none.
    pub(crate) fn open(mut bytes: Vec<u8>) -> Result<Option<Stored>, StorageError> {
        match Self::of(&bytes)? {
            Self::Tombstone => Ok(None),
            Self::Record { commit, purge_at } => {
                bytes.drain(..HEADER_LEN);
                Ok(Some(Stored { commit, value: bytes, purge_at }))
            }
            Self::Other(format) => Err(other(format)),
        }
    }
}

/// Why something is left alone.
pub(crate) fn other(format: u8) -> StorageError {
    StorageError::damaged(format_args!(
        "a record in Redis has format {format}; this version reads {FORMAT}"
    ))
}

/// When Redis may drop a record by itself, in milliseconds of its clock; `None`: never.
///
/// Redis goes by its own clock, which may be ahead of the server's. A record goes that much later
/// than it may, never sooner.
pub(crate) fn expires_at(purge_at: Timestamp) -> Option<i64> {
    /// Beyond it Redis does not count, and nobody is there to see.
    const FOREVER: i64 = 1 << 52;
    let at = purge_at.as_millis().saturating_add(MAX_CLOCK_SKEW_MILLIS).max(1);
    (at < FOREVER).then_some(at)
}

/// How far the clocks of Redis and of the server may be apart.
pub(crate) const MAX_CLOCK_SKEW_MILLIS: i64 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: Kind, id: &[u8]) -> Key {
        Key::new(kind, id).expect("short")
    }

    #[test]
    fn a_name_is_read_back_whatever_is_in_the_key() {
        // ATTACKS I08: nothing from outside enters a key as it is.
        let names = Names::new("grantor:");
        for kind in Kind::ALL {
            for id in [&b"plain"[..], b"{a}b", b"g:x\r\n*", &[0, 255], &[7; 128]] {
                let name = names.record(&key(kind, id));
                assert_eq!(names.parse(&name), Named::Record(key(kind, id)));
                let text = std::str::from_utf8(&name).expect("text");
                assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_".contains(&b)));
            }
        }
        let index = Index::new("grants:0af9").expect("a name");
        assert_eq!(names.index(&index), b"grantor:i:4YYAD4aMxfT_kZcIUqLV");
        assert_eq!(names.parse(&names.index(&index)), Named::Index);
        for other in ["grantor:f:1", "grantor:", "grantor:z:AA", "grantor:g:!", "grantor:g:", "x"] {
            assert_eq!(names.parse(other.as_bytes()), Named::Other, "{other}");
        }
    }

    #[test]
    fn an_envelope_is_read_back_and_one_of_another_format_is_left_alone() {
        let commit = CommitId::from_bytes([7; 16]);
        for purge_at in [0, 1, -1, i64::MIN, i64::MAX] {
            let purge_at = Timestamp::from_millis(purge_at);
            let bytes = Envelope::encode(commit, purge_at, b"value");
            assert_eq!(
                Envelope::of(&bytes[..HEADER_LEN]).ok(),
                Some(Envelope::Record { commit, purge_at })
            );
            let stored = Envelope::open(bytes).expect("whole");
            assert_eq!(stored, Some(Stored { commit, value: b"value".to_vec(), purge_at }));
        }
        assert_eq!(Envelope::open(vec![TOMBSTONE, 1, 2]).ok(), Some(None));
        for damaged in [vec![FORMAT - 1, 0], vec![FORMAT + 1, 0], vec![], vec![FORMAT, 1]] {
            assert!(matches!(Envelope::open(damaged), Err(StorageError::Damaged { .. })));
        }
    }

    #[test]
    fn redis_never_drops_a_record_before_it_may_go() {
        assert_eq!(expires_at(Timestamp::from_millis(1_000)), Some(601_000));
        assert_eq!(expires_at(Timestamp::from_millis(i64::MIN)), Some(1));
        assert_eq!(expires_at(Timestamp::from_millis(i64::MAX)), None);
    }
}
