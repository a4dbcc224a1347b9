//! What stands in the record of a user.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::model::{Account, Subject, Timestamp};
use grantor::storage::{Index, Key, Kind, StorageError};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;

use super::User;

/// The first byte of every record. A reader refuses what is newer than itself, so it never writes
/// back a record that it understood only in part.
const FORMAT: u8 = 1;

/// What every subject begins with, and therefore no client may.
pub(crate) const SUBJECT_PREFIX: &str = "user-";

/// The record of a user. `Debug` is left out: it holds the hash of the password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UserRecord {
    pub(super) username: String,
    pub(super) subject: Subject,
    pub(super) password_hash: String,
    pub(super) disabled: bool,
    pub(super) created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) claims: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) removed_at: Option<Timestamp>,
}

impl UserRecord {
    pub(super) fn new(
        username: String,
        subject: Subject,
        password_hash: String,
        created_at: Timestamp,
    ) -> Self {
        Self {
            username,
            subject,
            password_hash,
            disabled: false,
            created_at,
            claims: Map::new(),
            removed_at: None,
        }
    }

    pub(super) const fn is_removed(&self) -> bool {
        self.removed_at.is_some()
    }

    /// Leaves a mark that nothing can be done with.
    pub(super) fn remove(&mut self, now: Timestamp) {
        self.removed_at = Some(now);
        self.password_hash.clear();
        self.claims.clear();
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, StorageError> {
        let mut value = vec![FORMAT];
        rmp_serde::encode::write_named(&mut value, self).map_err(StorageError::damaged)?;
        Ok(value)
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StorageError> {
        match value.split_first() {
            Some((&FORMAT, body)) => rmp_serde::from_slice(body)
                .map_err(|error| StorageError::damaged(format_args!("a user record: {error}"))),
            Some((format, _)) => Err(StorageError::damaged(format_args!(
                "a user record has format {format}; this version reads {FORMAT}"
            ))),
            None => Err(StorageError::damaged("an empty user record")),
        }
    }
}

impl From<UserRecord> for User {
    fn from(user: UserRecord) -> Self {
        Self {
            username: user.username,
            subject: user.subject,
            disabled: user.disabled,
            created_at: user.created_at,
        }
    }
}

impl From<UserRecord> for Account {
    fn from(user: UserRecord) -> Self {
        Self { subject: user.subject, username: user.username, claims: user.claims }
    }
}

/// The name of a user: as it was written, and in the one form in which names are compared.
pub(super) struct Name {
    pub(super) shown: String,
    compared: String,
}

impl Name {
    const MAX_CHARS: usize = 64;

    /// A name that somebody typed: any text.
    pub(super) fn typed(text: &str) -> Self {
        let shown: String = text.trim().nfkc().collect();
        Self {
            // Lower case can undo the normal form, so it is made twice.
            compared: shown.to_lowercase().nfkc().collect(),
            shown,
        }
    }

    /// A name that may be registered: nothing invisible in it, and nothing that divides words.
    pub(super) fn register(text: &str) -> Option<Self> {
        let name = Self::typed(text);
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
        let chars = name.shown.chars().count();
        (name.shown.chars().all(allowed) && (1..=Self::MAX_CHARS).contains(&chars)).then_some(name)
    }

    /// A fixed-length name for keys: the text came from outside, and must not choose where a
    /// record lies (ATTACKS I08).
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, self.compared.as_bytes()).as_ref());
        out
    }

    pub(super) fn key(&self) -> Result<Key, StorageError> {
        Key::new(Kind::User, self.digest()).ok_or_else(too_long)
    }
}

/// A subject that nobody had before: 128 random bits, of a shape of its own.
pub(super) fn new_subject(random: &[u8; 16]) -> Result<Subject, StorageError> {
    let text = format!("{SUBJECT_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    Subject::parse(text).map_err(|_| too_long())
}

/// Leads from a subject to the key of its user.
pub(super) fn index_of(subject: &Subject) -> Result<Index, StorageError> {
    use std::fmt::Write as _;

    let digest = digest(&SHA256, subject.as_str().as_bytes());
    let mut name = String::from("users:");
    for byte in digest.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    Index::new(&name).ok_or_else(too_long)
}

/// Lists every user.
pub(super) fn index_of_all() -> Result<Index, StorageError> {
    Index::new("users").ok_or_else(too_long)
}

/// The index entries that a record must have, whichever commit introduced them.
pub(crate) fn indexes(value: &[u8]) -> Result<Vec<Index>, StorageError> {
    let user = UserRecord::decode(value)?;
    Ok(vec![index_of_all()?, index_of(&user.subject)?])
}

/// Cannot happen: hashes have one length.
fn too_long() -> StorageError {
    StorageError::damaged("the name of a record exceeds its bound")
}
