//! Proof Key for Code Exchange (RFC 7636), method `S256` only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::HashPrefix;
use super::hash::sha256;

/// An S256 code challenge: SHA-256 of the verifier (RFC 7636 section 4.2).
///
/// `plain` does not exist here: OAuth 2.1 section 4.1.1 and RFC 7636 section 7.2 advise against
/// it, and what does not exist cannot be downgraded to (ATTACKS C04).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeChallenge(#[serde(with = "super::bytes")] [u8; 32]);

impl CodeChallenge {
    /// Reads a `code_challenge`: 43 characters of unpadded base64url.
    pub fn parse_s256(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The challenge for a verifier.
    pub fn of(verifier: &CodeVerifier<'_>) -> Self {
        Self(sha256(verifier.0.as_bytes()))
    }

    /// The bytes, as they stand in a record.
    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first half.
    pub(crate) fn prefix(&self) -> HashPrefix {
        HashPrefix::of(&self.0)
    }

    /// Whether this is the verifier that the challenge was made from, in constant time.
    pub fn verify(&self, verifier: &CodeVerifier<'_>) -> bool {
        Self::of(verifier).0.ct_eq(&self.0).into()
    }
}

/// A well-formed `code_verifier`: 43 to 128 unreserved characters (RFC 7636 section 4.1).
#[derive(Clone, Copy)]
pub struct CodeVerifier<'a>(&'a str);

impl<'a> CodeVerifier<'a> {
    /// The longest one, in characters.
    pub const MAX_LEN: usize = 128;

    /// Checks the form. A shorter verifier is refused even if its hash matches: it could be
    /// guessed (ATTACKS C05).
    pub fn parse(text: &'a str) -> Option<Self> {
        let unreserved =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        ((43..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(unreserved))
            .then_some(Self(text))
    }
}

impl std::fmt::Debug for CodeVerifier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeVerifier(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_rfc_7636_appendix_b() {
        // Requirement 7636-002.
        let verifier =
            CodeVerifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").expect("form");
        let challenge = CodeChallenge::parse_s256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!(challenge, Some(CodeChallenge::of(&verifier)));
        assert!(CodeChallenge::of(&verifier).verify(&verifier));
    }

    #[test]
    fn the_form_of_a_verifier_is_enforced() {
        // Requirement 7636-001.
        for bad in [
            "",
            &"a".repeat(42),
            &"a".repeat(129),
            &format!("{}=", "a".repeat(43)),
            &format!("{}+", "a".repeat(43)),
            &format!("{} ", "a".repeat(43)),
            &"\u{e9}".repeat(43),
        ] {
            assert!(CodeVerifier::parse(bad).is_none(), "{bad:?}");
        }
        assert!(CodeVerifier::parse(&"~".repeat(43)).is_some());
        assert!(CodeVerifier::parse(&"a".repeat(128)).is_some());
    }

    #[test]
    fn the_form_of_a_challenge_is_enforced() {
        // Requirement 7636-002: padding or another length is refused.
        for bad in
            ["", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=", &"a".repeat(42), &"a".repeat(44)]
        {
            assert!(CodeChallenge::parse_s256(bad).is_none(), "{bad:?}");
        }
    }
}
