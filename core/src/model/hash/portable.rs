//! In Rust alone.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Digest as _;

/// SHA-256 of parts, one after the other.
pub(crate) struct Sha256(sha2::Sha256);

impl Sha256 {
    pub(crate) fn new() -> Self {
        Self(sha2::Sha256::new())
    }

    pub(crate) fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// SHA-256 of one text.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// HMAC-SHA256 under one key.
pub(crate) struct HmacSha256(Hmac<sha2::Sha256>);

impl HmacSha256 {
    pub(crate) fn new(key: &[u8]) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "HMAC takes a key of any length (RFC 2104 section 2)"
        )]
        Self(Hmac::new_from_slice(key).expect("any length"))
    }

    /// Of the parts, one after the other.
    pub(crate) fn of(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}
