//! Plain data: what an authorization server knows, with no rule about what may be done with it.

mod account;
mod client;
mod consent;
mod grant;
mod hash;
mod identifiers;
mod issuer;
mod pkce;
mod policy;
mod redirect_uri;
mod revoked_subject;
mod scope;
mod secret;
mod session;
mod time;

pub use self::account::{Account, Authentication};
pub use self::client::{
    ApplicationType, Client, ClientAuthMethod, ClientSecret, ClientType, GrantType,
};
pub use self::consent::{Consent, ConsentState};
pub use self::grant::{
    AccessToken, Active, CodeIssued, CodeProof, Grant, GrantState, PendingAuthorization,
    PreviousRefreshToken, Prompt, RefreshToken, Revocation, RevocationReason, SpentProof,
};
pub use self::identifiers::{ClientId, InvalidClientId, InvalidSubject, RecordId, Subject};
pub use self::issuer::{InvalidIssuer, Issuer};
pub use self::pkce::{CodeChallenge, CodeVerifier};
pub use self::policy::{InvalidPolicy, Policy, RefreshPolicy, Rotation, ScopeDefinition};
pub use self::redirect_uri::{InvalidRedirectUri, RedirectUri, RedirectUriKind};
pub use self::revoked_subject::RevokedSubject;
pub use self::scope::{InvalidScope, ScopeSet, ScopeToken};
pub use self::secret::{Handle, HandleKind, HashPrefix, Secret, SecretHash, SecretString};
pub use self::session::Session;
pub use self::time::Timestamp;

pub(crate) use self::redirect_uri::kind_of as redirect_uri_kind;
pub(crate) use self::secret::mac;

/// Fixed-size byte strings in one piece, which serde's own arrays are not.
pub(crate) mod bytes {
    use serde::de::{Error, SeqAccess, Visitor};

    pub(super) fn serialize<S: serde::Serializer, const N: usize>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        struct Bytes<const N: usize>;

        impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
            type Value = [u8; N];

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{N} bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
                bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
            }

            // Formats without a byte string (JSON) write a list of numbers.
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<[u8; N], A::Error> {
                let mut out = [0; N];
                for (at, slot) in out.iter_mut().enumerate() {
                    let byte = seq.next_element()?;
                    *slot = byte.ok_or_else(|| A::Error::invalid_length(at, &self))?;
                }
                Ok(out)
            }
        }

        deserializer.deserialize_bytes(Bytes::<N>)
    }
}

/// Reads what is one text in every format, without a copy of the text in between.
pub(crate) fn read_text<'de, D, T, E>(
    deserializer: D,
    parse: fn(&str) -> Result<T, E>,
) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    E: std::fmt::Display,
{
    struct Text<T, E>(fn(&str) -> Result<T, E>);

    impl<T, E: std::fmt::Display> serde::de::Visitor<'_> for Text<T, E> {
        type Value = T;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<F: serde::de::Error>(self, text: &str) -> Result<T, F> {
            (self.0)(text).map_err(F::custom)
        }
    }

    deserializer.deserialize_str(Text(parse))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    text.extend(nibbles.filter_map(|nibble| char::from_digit(u32::from(nibble), 16)));
    text
}

/// SHA-256 over length-prefixed parts: a fixed-length name for text that must not choose where a record
/// lies.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = hash::Sha256::new();
    for part in parts {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finish()
}
