//! Secrets, their hashes, and the handles that leave the server.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::hash::{HmacSha256, Sha256, sha256};
use super::identifiers::RecordId;

/// 256 secret bits. `Debug` never shows them, they are wiped when dropped, and the only comparison
/// offered is against a [`SecretHash`], in constant time.
#[derive(Clone)]
pub struct Secret([u8; Self::LEN]);

impl Secret {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The secret made of these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves: for sealing, deriving and encoding only.
    pub(crate) const fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// A secret that only the holder of this one (and of `context`) can compute:
    /// HMAC-SHA256 under this secret.
    #[must_use]
    pub(crate) fn derive(&self, label: &str, context: &[u8]) -> Secret {
        Secret(mac(&self.0, label, context))
    }

    /// The same for several labels.
    #[must_use]
    pub(crate) fn derive_each<const N: usize>(
        &self,
        labels: [&str; N],
        context: &[u8],
    ) -> [Secret; N] {
        let key = HmacSha256::new(&self.0);
        labels.map(|label| Secret(key.of(&[label.as_bytes(), &[0], context])))
    }

    /// The block with this number of the bytes that follow from this secret.
    #[must_use]
    pub(crate) fn expand(&self, label: &str, number: u32) -> Secret {
        let mut hash = Sha256::new();
        for part in [&self.0[..], label.as_bytes(), &number.to_be_bytes()] {
            hash.update(part);
        }
        Secret(hash.finish())
    }

    /// Reads the text form that [`SecretString::of`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// HMAC-SHA256 over `label`, a zero byte and `context`. Labels hold no zero byte, so two uses of
/// one key never meet.
pub(crate) fn mac(key: &[u8], label: &str, context: &[u8]) -> [u8; 32] {
    HmacSha256::new(key).of(&[label.as_bytes(), &[0], context])
}

/// SHA-256 of a secret: what a record keeps instead of it.
///
/// A plain fast hash is right here because every secret has 256 bits of our own making (there is
/// no dictionary to try), and it keeps the token path at a microsecond.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret.
    pub fn of(secret: &Secret) -> Self {
        Self::of_bytes(secret.expose())
    }

    /// The hash of a secret that is text to its holder, such as a `client_secret`.
    pub fn of_text(secret: &str) -> Self {
        Self::of_bytes(secret.as_bytes())
    }

    /// The bytes, as they stand in a record.
    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first half.
    pub fn prefix(&self) -> HashPrefix {
        HashPrefix::of(&self.0)
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }

    /// Whether `secret` is the one that was hashed, in constant time.
    pub fn matches(&self, secret: &Secret) -> bool {
        self.same(&Self::of(secret))
    }

    /// Whether the two hashes are of the same secret, in constant time.
    pub fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

// Test assertions and property tests compare records by value; the comparison stays constant-time.
impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

impl Serialize for SecretHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::bytes::deserialize(deserializer).map(Self)
    }
}

/// The first 128 bits of a hash, for what opens nothing: whoever matches a code that is spent can only
/// end what it led to.
#[derive(Clone, Copy)]
pub struct HashPrefix([u8; 16]);

impl HashPrefix {
    pub(crate) fn of(hash: &[u8; 32]) -> Self {
        let mut prefix = [0; 16];
        prefix.copy_from_slice(hash.split_at(16).0);
        Self(prefix)
    }

    /// Whether the two are of the same hash, in constant time.
    pub fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl PartialEq for HashPrefix {
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
    }
}

impl Eq for HashPrefix {}

impl fmt::Debug for HashPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashPrefix(..)")
    }
}

impl Serialize for HashPrefix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for HashPrefix {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::bytes::deserialize(deserializer).map(Self)
    }
}

/// Secret text on its way in or out: a token, a code, a `client_secret`, a password.
///
/// `Debug` redacts, there is no `Display` and no `Serialize`: whoever needs the text writes
/// [`expose`](Self::expose) and can be found by searching for it.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct SecretString(String);

impl SecretString {
    /// Wraps secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A secret as text (base64url, 43 characters).
    pub fn of(secret: &Secret) -> Self {
        Self(URL_SAFE_NO_PAD.encode(secret.expose()))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A new client secret: a recognisable prefix, 256 bits, a checksum.
    pub(crate) fn client_secret(secret: &Secret) -> Self {
        Self(encode::<{ Secret::LEN + SUM_LEN }>(CLIENT_SECRET_PREFIX, [secret.expose(), &[]]))
    }
}

impl Drop for SecretString {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretString(..)")
    }
}

const CLIENT_SECRET_PREFIX: &str = "grk_";
/// Of the CRC-32.
const SUM_LEN: usize = 4;

/// What a handle opens.
///
/// Each kind has its own prefix, so that a leaked one can be found by a scanner and named, and so
/// that a handle of one kind is never taken for another (ATTACKS D07, F06).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HandleKind {
    /// A pending authorization, as the user's browser holds it.
    Interaction,
    /// An authorization code (RFC 6749 section 1.3.1).
    Code,
    /// An access token (RFC 6749 section 1.4).
    AccessToken,
    /// A refresh token (RFC 6749 section 1.5).
    RefreshToken,
    /// A browser session at this server.
    Session,
}

impl HandleKind {
    /// The prefix of the text form.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Interaction => "gri_",
            Self::Code => "grc_",
            Self::AccessToken => "gra_",
            Self::RefreshToken => "grr_",
            Self::Session => "grs_",
        }
    }
}

/// Everything that leaves the server and opens something: the public id of one record and a
/// 256-bit secret of which the record keeps only the hash.
///
/// As text: a prefix of four characters, then 64 characters of base64url holding the id (12 bytes),
/// the secret (32) and a CRC-32 (4) by which typing errors and scanner false alarms are told apart
/// from tokens without asking the storage.
#[derive(Clone, Debug)]
pub struct Handle {
    /// What it opens.
    pub kind: HandleKind,
    /// The record it names.
    pub id: RecordId,
    /// The secret that must match.
    pub secret: Secret,
}

impl Handle {
    /// The length of the text form.
    pub const TEXT_LEN: usize = 4 + 64;
    const LEN: usize = RecordId::LEN + Secret::LEN + SUM_LEN;

    /// A handle of this kind.
    pub const fn new(kind: HandleKind, id: RecordId, secret: Secret) -> Self {
        Self { kind, id, secret }
    }

    /// The text form.
    pub fn encode(&self) -> SecretString {
        let parts = [&self.id.as_bytes()[..], &self.secret.expose()[..]];
        SecretString(encode::<{ Self::LEN }>(self.kind.prefix(), parts))
    }

    /// Reads a handle of exactly this kind; anything else is `None`.
    pub fn parse(kind: HandleKind, text: &str) -> Option<Self> {
        if text.len() != Self::TEXT_LEN {
            return None;
        }
        let body = text.strip_prefix(kind.prefix())?;
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        URL_SAFE_NO_PAD.decode_slice(body, &mut *bytes).ok()?;
        let (rest, sum) = bytes.split_last_chunk::<SUM_LEN>()?;
        if crc32fast::hash(rest) != u32::from_be_bytes(*sum) {
            return None;
        }
        let (id, secret) = rest.split_first_chunk::<{ RecordId::LEN }>()?;
        Some(Self::new(kind, RecordId(*id), Secret(secret.try_into().ok()?)))
    }
}

/// The text form of `parts`, a CRC-32 behind them; `LEN` bytes in all.
fn encode<const LEN: usize>(prefix: &str, parts: [&[u8]; 2]) -> String {
    let mut bytes = Zeroizing::new([0; LEN]);
    if let Some((body, sum)) = bytes.split_last_chunk_mut() {
        let (front, back) = body.split_at_mut(parts[0].len());
        front.copy_from_slice(parts[0]);
        back.copy_from_slice(parts[1]);
        *sum = crc32fast::hash(body).to_be_bytes();
    }
    let mut text = String::with_capacity(prefix.len() + LEN.div_ceil(3) * 4);
    text.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [HandleKind; 5] = [
        HandleKind::Interaction,
        HandleKind::Code,
        HandleKind::AccessToken,
        HandleKind::RefreshToken,
        HandleKind::Session,
    ];

    proptest! {
        #[test]
        fn a_handle_survives_its_text_form(id: [u8; 12], secret: [u8; 32], kind in 0..5_usize) {
            let handle = Handle::new(KINDS[kind], RecordId(id), Secret(secret));
            let text = handle.encode();
            prop_assert_eq!(text.expose().len(), Handle::TEXT_LEN);
            let read = Handle::parse(KINDS[kind], text.expose()).expect("its own text");
            prop_assert_eq!(read.id, handle.id);
            prop_assert_eq!(read.secret.expose(), handle.secret.expose());
            for other in KINDS.into_iter().filter(|k| *k != KINDS[kind]) {
                prop_assert!(Handle::parse(other, text.expose()).is_none(), "ATTACKS F06");
            }
        }

        /// Requirement 6749-073, ATTACKS B10: any change of any character is noticed.
        #[test]
        fn no_changed_character_goes_unnoticed(
            id: [u8; 12], secret: [u8; 32], at in 0..Handle::TEXT_LEN, to in "[A-Za-z0-9_-]",
        ) {
            let text = Handle::new(HandleKind::Code, RecordId(id), Secret(secret)).encode();
            let mut changed = text.expose().to_owned();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != text.expose());
            prop_assert!(Handle::parse(HandleKind::Code, &changed).is_none());
        }

        #[test]
        fn garbage_is_not_a_handle(text in "\\PC{0,90}") {
            prop_assert!(Handle::parse(HandleKind::AccessToken, &text).is_none());
        }
    }

    #[test]
    fn nothing_secret_is_shown_by_debug() {
        // ATTACKS K02.
        let secret = Secret([7; 32]);
        let handle = Handle::new(HandleKind::Code, RecordId([1; 12]), secret.clone());
        let shown = format!("{handle:?} {:?} {:?}", handle.encode(), SecretHash::of(&secret));
        assert!(!shown.contains(SecretString::of(&secret).expose()));
        assert!(!shown.contains("7, 7") && !shown.contains("0707"), "{shown}");
    }

    #[test]
    fn a_derived_secret_depends_on_key_label_and_context() {
        let key = Secret([1; 32]);
        let base = key.derive("a", b"x");
        assert_eq!(base.expose(), key.derive("a", b"x").expose());
        assert_ne!(base.expose(), key.derive("b", b"x").expose());
        assert_ne!(base.expose(), key.derive("a", b"y").expose());
        assert_ne!(base.expose(), Secret([2; 32]).derive("a", b"x").expose());
    }
}
