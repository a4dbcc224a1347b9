//! The issuer identifier (RFC 8414 section 2) and the addresses derived from it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

/// The server's own address: `https`, no query, no fragment.
///
/// `http` is accepted for a loopback host only, for development. The text is kept exactly as given:
/// clients compare it byte by byte (RFC 9207 section 2.4).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Issuer {
    text: String,
    /// The path without its trailing slash: empty or `/tenant`.
    path: String,
    origin: String,
    secure: bool,
}

impl Issuer {
    /// Checks an issuer identifier.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidIssuer> {
        let text = text.into();
        if text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidIssuer::NotAUrl);
        }
        let url = Url::parse(&text).map_err(|_| InvalidIssuer::NotAUrl)?;
        if text.contains(['?', '#']) || !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidIssuer::Decorated);
        }
        let secure = match (url.scheme(), url.host_str()) {
            ("https", Some(_)) => true,
            ("http", Some("127.0.0.1" | "[::1]" | "localhost")) => false,
            _ => return Err(InvalidIssuer::NotHttps),
        };
        // The URL type writes a bare origin with a slash; an issuer may have it or not.
        if url.as_str() != text && url.as_str().strip_suffix('/') != Some(&text) {
            return Err(InvalidIssuer::NotCanonical);
        }
        Ok(Self {
            path: url.path().trim_end_matches('/').to_owned(),
            origin: url.origin().ascii_serialization(),
            secure,
            text,
        })
    }

    /// The identifier, byte for byte as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The path below which the endpoints lie: empty, or `/tenant` without a trailing slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is `https`; only a loopback issuer is not.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The absolute address of an endpoint, given as `/token`.
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.path)
    }

    /// The path of the metadata document: the well-known part goes between host and issuer path
    /// (RFC 8414 section 3).
    pub fn metadata_path(&self) -> String {
        format!("/.well-known/oauth-authorization-server{}", self.path)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Issuer {
    type Err = InvalidIssuer;
    fn from_str(text: &str) -> Result<Self, InvalidIssuer> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Issuer {
    type Error = InvalidIssuer;
    fn try_from(text: String) -> Result<Self, InvalidIssuer> {
        Self::parse(text)
    }
}

impl From<Issuer> for String {
    fn from(issuer: Issuer) -> Self {
        issuer.text
    }
}

/// Why a text is not an issuer identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuer {
    /// Not an absolute URL of printable ASCII.
    #[error("the issuer must be an absolute URL in printable ASCII")]
    NotAUrl,
    /// RFC 8414 section 2: no query, no fragment; and no user name either.
    #[error("the issuer must not have a query, a fragment or a user name (RFC 8414 section 2)")]
    Decorated,
    /// RFC 8414 section 2: `https`.
    #[error("the issuer must be https; http is accepted for 127.0.0.1, [::1] and localhost only")]
    NotHttps,
    /// Clients compare the issuer byte by byte, so it is written in its one canonical form.
    #[error(
        "the issuer must be written in canonical form: lower-case host, no default port, no dot segments"
    )]
    NotCanonical,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_rfc_8414() {
        // Requirements 8414-001, 6749-012, 6749-013; ATTACKS K14.
        for (text, why) in [
            ("https://h/t?x=1", InvalidIssuer::Decorated),
            ("https://h/t#x", InvalidIssuer::Decorated),
            ("https://u@h/t", InvalidIssuer::Decorated),
            ("http://h.example", InvalidIssuer::NotHttps),
            ("http://192.168.0.1", InvalidIssuer::NotHttps),
            ("ftp://h", InvalidIssuer::NotHttps),
            ("h.example", InvalidIssuer::NotAUrl),
            ("https://H.example", InvalidIssuer::NotCanonical),
            ("https://h.example:443", InvalidIssuer::NotCanonical),
            ("https://h/a/../b", InvalidIssuer::NotCanonical),
        ] {
            assert_eq!(Issuer::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn the_well_known_part_goes_between_host_and_path() {
        // Requirements 8414-008, 8414-009.
        let root = Issuer::parse("https://h.example").expect("valid");
        assert_eq!(root.metadata_path(), "/.well-known/oauth-authorization-server");
        assert_eq!(root.endpoint("/token"), "https://h.example/token");
        for text in ["https://h.example/t1", "https://h.example/t1/"] {
            let tenant = Issuer::parse(text).expect("valid");
            assert_eq!(tenant.metadata_path(), "/.well-known/oauth-authorization-server/t1");
            assert_eq!(tenant.endpoint("/token"), "https://h.example/t1/token");
            assert_eq!(tenant.as_str(), text);
        }
        assert!(!Issuer::parse("http://127.0.0.1:8400").expect("loopback").is_secure());
    }
}
