//! Public names of things: none of them is a secret, none of them proves anything.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Timestamp, read_text};

/// The public half of every handle: names one record, and says when it was made and nothing else.
///
/// The second in which the record was made, and 64 random bits. In a store that sorts its keys, what is
/// made together lies together, which saves it a third of the work of a new record. Uniqueness does not
/// rest on luck: a record is only ever created where none is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub(crate) [u8; Self::LEN]);

impl RecordId {
    /// Length in bytes.
    pub const LEN: usize = 12;

    /// The identifier made of these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) fn made(at: Timestamp, random: [u8; 8]) -> Self {
        let seconds = u32::try_from(at.as_seconds().max(0)).unwrap_or(u32::MAX);
        let mut id = [0; Self::LEN];
        let (front, back) = id.split_at_mut(4);
        front.copy_from_slice(&seconds.to_be_bytes());
        back.copy_from_slice(&random);
        Self(id)
    }

    /// Until what names the record has been looked at.
    pub(crate) const fn elsewhere() -> Self {
        Self([0; Self::LEN])
    }

    /// The bytes, as they stand in a storage key.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RecordId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            super::bytes::serialize(&self.0, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            read_text(deserializer, |text| Self::parse(text).ok_or("not a record id"))
        } else {
            super::bytes::deserialize(deserializer).map(Self)
        }
    }
}

/// A client identifier (RFC 6749 section 2.2): unique at this server, not a secret.
///
/// 1 to 128 characters of the unreserved set of RFC 3986 (`A-Z a-z 0-9 - . _ ~`), so that it can
/// stand in a form, a header, a log line and a storage key without being encoded.
///
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The longest accepted identifier, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Checks and wraps an identifier.
    pub fn parse(text: impl AsRef<str>) -> Result<Self, InvalidClientId> {
        let text = text.as_ref();
        let unreserved =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(unreserved) {
            return Err(InvalidClientId);
        }
        Ok(Self(text.into()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not a client identifier: it must be 1 to 128 of `A-Z a-z 0-9 - . _ ~`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client_id is 1 to 128 characters out of A-Z a-z 0-9 - . _ ~")]
pub struct InvalidClientId;

impl FromStr for ClientId {
    type Err = InvalidClientId;
    fn from_str(text: &str) -> Result<Self, InvalidClientId> {
        Self::parse(text)
    }
}

impl Serialize for ClientId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, Self::from_str)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The resource owner, as the embedder's [`Authenticator`](crate::Authenticator) names one: stable,
/// unique, never reassigned. It may be shown to resource servers as `sub`.
///
/// Any text of 1 to 255 bytes. It never enters a storage key as it stands.
///
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    /// The longest accepted subject, in bytes (OpenID Connect Core 1.0 section 2, `sub`).
    pub const MAX_LEN: usize = 255;

    /// Checks and wraps a subject.
    pub fn parse(text: impl AsRef<str>) -> Result<Self, InvalidSubject> {
        let text = text.as_ref();
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(InvalidSubject);
        }
        Ok(Self(text.into()))
    }

    /// The subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fixed-length name for storage keys and index names: the text is the embedder's, and must
    /// not choose where a record lies (ATTACKS I08).
    pub(crate) fn digest(&self) -> [u8; 32] {
        super::digest(&[b"subject", self.0.as_bytes()])
    }
}

/// A subject is 1 to 255 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subject is 1 to 255 bytes")]
pub struct InvalidSubject;

impl FromStr for Subject {
    type Err = InvalidSubject;
    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        Self::parse(text)
    }
}

impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, Self::from_str)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
