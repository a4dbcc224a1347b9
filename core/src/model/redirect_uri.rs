//! Redirection URIs: what may be registered, and what matches what was registered.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

/// A registered redirection URI (RFC 6749 section 3.1.2).
///
/// It is kept and compared as the bytes that were registered; there is no normalisation anywhere
/// (RFC 9700 section 4.1.3). Registration refuses whatever a browser would not send back in
/// exactly the form it was written in, so that two spellings of one place never meet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedirectUri(String);

/// Where a redirection URI leads, in the terms of RFC 8252 section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectUriKind {
    /// `https`: a web site, or an app that has claimed an address of one (section 7.2).
    Https,
    /// `http` on `127.0.0.1`, `[::1]` or `localhost`: an app on the user's own machine (section 7.3).
    Loopback,
    /// A private-use scheme such as `com.example.app:` (section 7.1).
    PrivateUse,
}

const LOOPBACK_LITERALS: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];
const LOCALHOST: &str = "http://localhost";

/// Parameters of the authorization response: a registered URI that already holds one would make
/// the client read it twice (ATTACKS A07).
const RESPONSE_PARAMETERS: [&str; 8] =
    ["code", "state", "iss", "error", "error_description", "error_uri", "response", "id_token"];

impl RedirectUri {
    /// The longest accepted URI, in bytes.
    pub const MAX_LEN: usize = 2048;

    /// Checks a URI that a client wants to register.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidRedirectUri> {
        use InvalidRedirectUri as Bad;

        let text = text.into();
        if text.len() > Self::MAX_LEN {
            return Err(Bad::TooLong);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Bad::NotAscii);
        }
        if text.contains('#') {
            return Err(Bad::Fragment);
        }
        if text.contains(['*', '\\', '"', '<', '>', '`', '{', '}', '|', '^', '\'']) {
            return Err(Bad::ForbiddenCharacter);
        }
        let url = Url::parse(&text).map_err(|_| Bad::NotAbsolute)?;
        if has_userinfo(&text) {
            return Err(Bad::UserInfo);
        }
        if url.as_str() != text {
            return Err(Bad::NotCanonical);
        }
        if url.query_pairs().any(|(name, _)| RESPONSE_PARAMETERS.contains(&name.as_ref())) {
            return Err(Bad::ResponseParameter);
        }
        if !url.host_str().is_none_or(is_plain_host) {
            return Err(Bad::ForbiddenCharacter);
        }
        let after_scheme = text.split_once(':').map_or("", |(_, rest)| rest);
        match url.scheme() {
            // The canonical form always has a path, so "https://client.example" was refused above.
            "https" => {}
            "http" if is_loopback(&text) => {}
            "http" => return Err(Bad::PlainHttp),
            scheme if scheme.contains('.') => {
                if after_scheme.trim_start_matches('/').is_empty() || !after_scheme.starts_with('/')
                {
                    return Err(Bad::NoPath);
                }
            }
            _ => return Err(Bad::Scheme),
        }
        Ok(Self(text))
    }

    /// The URI as registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it leads.
    pub fn kind(&self) -> RedirectUriKind {
        kind_of(&self.0)
    }

    /// Whether `requested` is this URI: byte for byte, or, for a loopback IP literal, byte for byte
    /// but for the port (RFC 8252 section 7.3). `localhost_any_port` extends the port rule to
    /// `localhost` for a client that asked for it.
    pub fn matches(&self, requested: &str, localhost_any_port: bool) -> bool {
        if requested == self.0 {
            return true;
        }
        let localhost = localhost_any_port.then_some(LOCALHOST);
        LOOPBACK_LITERALS.into_iter().chain(localhost).any(|host| {
            match (without_port(&self.0, host), without_port(requested, host)) {
                (Some(registered), Some(requested)) => registered == requested,
                _ => false,
            }
        })
    }
}

/// Where a redirection URI that was matched against the registered ones leads.
pub(crate) fn kind_of(uri: &str) -> RedirectUriKind {
    if uri.starts_with("https://") {
        RedirectUriKind::Https
    } else if uri.starts_with("http://") {
        RedirectUriKind::Loopback
    } else {
        RedirectUriKind::PrivateUse
    }
}

fn has_userinfo(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("//") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    authority.contains('@')
}

/// A host name, or an address: the host ends up in a header of ours (`form-action`), where a
/// semicolon would begin something else.
fn is_plain_host(host: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    host.bytes().all(plain)
}

fn is_loopback(uri: &str) -> bool {
    LOOPBACK_LITERALS.into_iter().chain([LOCALHOST]).any(|host| without_port(uri, host).is_some())
}

/// What follows `host` and its port in `uri`, if `uri` is on `host` and its port is none or a
/// number from 1 to 65535 written without sign and leading zero.
fn without_port<'a>(uri: &'a str, host: &str) -> Option<&'a str> {
    let rest = uri.strip_prefix(host)?;
    let path = match rest.strip_prefix(':') {
        None => rest,
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (port, path) = rest.split_at(end);
            if port.starts_with('0') || port.parse::<u16>().is_err() {
                return None;
            }
            path
        }
    };
    path.starts_with('/').then_some(path)
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a redirection URI may not be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedirectUri {
    /// Longer than [`RedirectUri::MAX_LEN`].
    #[error("longer than 2048 bytes")]
    TooLong,
    /// Something other than printable ASCII; an international host is written in its `xn--` form.
    #[error("only printable ASCII without spaces is allowed; write an international host as xn--")]
    NotAscii,
    /// RFC 6749 section 3.1.2 forbids a fragment.
    #[error("a fragment is not allowed")]
    Fragment,
    /// Wildcards, backslashes, quotes and brackets have no place in an exact URI.
    #[error("wildcards, backslashes, quotes and brackets are not allowed")]
    ForbiddenCharacter,
    /// RFC 6749 section 3.1.2 wants an absolute URI.
    #[error("not an absolute URI")]
    NotAbsolute,
    /// `user@` is how a host is disguised.
    #[error("user information before the host is not allowed")]
    UserInfo,
    /// A browser would send back another spelling: upper case in the host, a default port, dot
    /// segments, a missing path.
    #[error("not in the form that a browser would send back (case, default port, path, dots)")]
    NotCanonical,
    /// The query already has a parameter of the authorization response.
    #[error("the query holds a parameter of the authorization response")]
    ResponseParameter,
    /// RFC 9700 section 2.6: `http` is for loopback only.
    #[error("http is allowed only for 127.0.0.1, [::1] and localhost")]
    PlainHttp,
    /// RFC 8252 section 7.1: a private-use scheme is a reversed domain name, with a period.
    #[error(
        "the scheme must be https, or a private-use scheme with a period such as com.example.app"
    )]
    Scheme,
    /// RFC 8252 section 8.4: the complete URI is registered.
    #[error("the URI has no path")]
    NoPath,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registered(text: &str) -> RedirectUri {
        RedirectUri::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn all_three_kinds_of_rfc_8252_can_be_registered() {
        // Requirements 8252-002, 6749-022.
        for (text, kind) in [
            ("https://a.test/cb", RedirectUriKind::Https),
            ("https://a.test/cb?x=1&y=%2F", RedirectUriKind::Https),
            ("https://a.test:8443/cb", RedirectUriKind::Https),
            ("http://127.0.0.1/cb", RedirectUriKind::Loopback),
            ("http://127.0.0.1:8401/cb", RedirectUriKind::Loopback),
            ("http://[::1]/cb", RedirectUriKind::Loopback),
            ("http://localhost/cb", RedirectUriKind::Loopback),
            ("com.example.app:/cb", RedirectUriKind::PrivateUse),
            ("com.example.app://callback/cb", RedirectUriKind::PrivateUse),
        ] {
            assert_eq!(registered(text).kind(), kind, "{text}");
        }
    }

    #[test]
    fn what_may_not_be_registered() {
        use InvalidRedirectUri as Bad;
        // Requirements 6749-020, 6749-022, 6749-023, 8252-007, 8252-008, 9700-016;
        // ATTACKS A02, A04, A05, A06, A07, A08, A09, A12, A13.
        for (text, why) in [
            ("", Bad::NotAbsolute),
            ("/cb", Bad::NotAbsolute),
            ("//host/cb", Bad::NotAbsolute),
            ("cb", Bad::NotAbsolute),
            ("https:/cb", Bad::NotCanonical),
            ("https://c/cb#x", Bad::Fragment),
            ("https://c/cb#", Bad::Fragment),
            ("http://example.com/cb", Bad::PlainHttp),
            ("http://127.0.0.1.evil/cb", Bad::PlainHttp),
            ("http://127.1/cb", Bad::NotCanonical),
            ("http://2130706433/cb", Bad::NotCanonical),
            ("http://0x7f000001/cb", Bad::NotCanonical),
            ("http://127.0.0.1./cb", Bad::NotCanonical),
            ("http://localhost./cb", Bad::PlainHttp),
            ("http://[::ffff:127.0.0.1]/cb", Bad::NotCanonical),
            ("http://[0:0:0:0:0:0:0:1]/cb", Bad::NotCanonical),
            ("http://127.0.0.1", Bad::NotCanonical),
            ("https://a.test", Bad::NotCanonical),
            ("HTTPS://a.test/cb", Bad::NotCanonical),
            ("https://A.test/cb", Bad::NotCanonical),
            ("https://a.test:443/cb", Bad::NotCanonical),
            ("https://a.test/./cb", Bad::NotCanonical),
            ("https://a.test/x/../cb", Bad::NotCanonical),
            ("https://a.test/%2e%2e/cb", Bad::NotCanonical),
            ("https://u:p@a.test/cb", Bad::UserInfo),
            ("https://@a.test/cb", Bad::UserInfo),
            ("https://*.a.test/cb", Bad::ForbiddenCharacter),
            ("https://a.test/*", Bad::ForbiddenCharacter),
            (".*", Bad::ForbiddenCharacter),
            ("https://a;script-src.example/cb", Bad::ForbiddenCharacter),
            ("https://a,b/cb", Bad::ForbiddenCharacter),
            ("https://a!b/cb", Bad::ForbiddenCharacter),
            ("com.example.app://a;b/cb", Bad::ForbiddenCharacter),
            ("https://a.test\\@evil", Bad::ForbiddenCharacter),
            ("https://\u{430}.test/cb", Bad::NotAscii),
            ("https://a.test/c b", Bad::NotAscii),
            ("https://a.test/cb\t", Bad::NotAscii),
            ("https://a.test/cb\0", Bad::NotAscii),
            (" https://a.test/cb", Bad::NotAscii),
            ("https://a.test/cb?code=1", Bad::ResponseParameter),
            ("https://a.test/cb?x=1&state=", Bad::ResponseParameter),
            ("https://a.test/cb?iss=x", Bad::ResponseParameter),
            ("https://a.test/cb?%65rror=x", Bad::ResponseParameter),
            ("javascript:alert(1)", Bad::Scheme),
            ("JaVaScRiPt:alert(1)", Bad::NotCanonical),
            ("java\tscript:alert(1)", Bad::NotAscii),
            ("data:text/html,x", Bad::Scheme),
            ("vbscript:x", Bad::Scheme),
            ("file:///etc/passwd", Bad::Scheme),
            ("blob:https://a.test/x", Bad::Scheme),
            ("about:blank", Bad::Scheme),
            ("view-source:https://a.test/", Bad::Scheme),
            ("intent://x", Bad::Scheme),
            ("mailto:a@a.test", Bad::Scheme),
            ("ftp://a.test/cb", Bad::Scheme),
            ("myapp:/cb", Bad::Scheme),
            ("com.example.app:", Bad::NoPath),
            ("com.example.app:/", Bad::NoPath),
            ("com.example.app:cb", Bad::NoPath),
        ] {
            assert_eq!(RedirectUri::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(
            RedirectUri::parse(format!("https://a.test/{}", "x".repeat(2048))),
            Err(Bad::TooLong)
        );
    }

    #[test]
    fn only_the_registered_bytes_match() {
        // Requirements 6749-028, 9700-001, 9700-019; ATTACKS A01 to A10, A12.
        let uri = registered("https://a.test/cb");
        assert!(uri.matches("https://a.test/cb", true));
        for other in [
            "https://a.test.evil/cb",
            "https://a.testevil/cb",
            "https://evil/https://a.test/cb",
            "https://a.test/cb2",
            "https://a.test@evil/cb",
            "https://a.test:443@evil/cb",
            "https://u:p@a.test/cb",
            "https://a.test/cb/../x",
            "https://a.test/cb/..;/x",
            "https://a.test/cb/%2e%2e/x",
            "https://a.test/cb/%252e%252e/x",
            "https://a.test/./cb",
            "https://a.test//cb",
            "https://axtest/cb",
            "HTTPS://a.test/cb",
            "https://A.test/cb",
            "https://a.test/CB",
            "https://a.test/cb/",
            "https://a.test:443/cb",
            "https://a.test/%63b",
            "https://a.test/cb%20",
            "https://a.test/cb?",
            "https://a.test/cb#",
            "https://a.test/cb?x=1",
            "https://a.test/cb#x",
            "https://a.test/cb%23x",
            "https://a.test\\@evil",
            "https:\\\\evil",
            " https://a.test/cb",
            "https://a.test/cb ",
            "https://a.test/cb\t",
            "https://a.test/cb\n",
            "https://a.test/cb\0",
            "https://a.test/cb%0d%0a",
            "https://\u{430}.test/cb",
            "https://a\u{3002}test/cb",
            "https://a.test./cb",
            "http://a.test/cb",
            "",
            "javascript:x",
        ] {
            assert!(!uri.matches(other, true), "{other:?}");
        }
    }

    #[test]
    fn only_the_port_of_a_loopback_literal_varies() {
        // Requirements 8252-003, 8252-004, 8252-005; ATTACKS A02, A10, A11.
        let plain = registered("http://127.0.0.1/cb");
        let with_port = registered("http://127.0.0.1:8401/cb");
        for uri in [&plain, &with_port] {
            for ok in [
                "http://127.0.0.1/cb",
                "http://127.0.0.1:1/cb",
                "http://127.0.0.1:65535/cb",
                "http://127.0.0.1:8401/cb",
            ] {
                assert!(uri.matches(ok, false), "{uri} {ok}");
            }
            for bad in [
                "http://127.0.0.1:0/cb",
                "http://127.0.0.1:65536/cb",
                "http://127.0.0.1:+80/cb",
                "http://127.0.0.1:08080/cb",
                "http://127.0.0.1:/cb",
                "http://127.0.0.1:8x/cb",
                "https://127.0.0.1:5/cb",
                "http://127.0.0.1:5/other",
                "http://127.0.0.1:5/cb?x=1",
                "http://u@127.0.0.1:5/cb",
                "http://127.0.0.1:80@evil/cb",
                "http://127.1/cb",
                "http://2130706433/cb",
                "http://0x7f000001/cb",
                "http://127.0.0.1./cb",
                "http://127.0.0.1.evil/cb",
                "http://[::1]:5/cb",
                "http://localhost:5/cb",
                "http://[::ffff:127.0.0.1]/cb",
                "http://[::1%25lo]/cb",
            ] {
                assert!(!uri.matches(bad, true), "{uri} {bad}");
            }
        }
        assert!(registered("http://[::1]/cb").matches("http://[::1]:9/cb", false));
        assert!(!registered("http://[::1]/cb").matches("http://[0:0:0:0:0:0:0:1]/cb", false));
        assert!(!registered("https://c.test/cb").matches("https://c.test:444/cb", true));
        let localhost = registered("http://localhost/cb");
        assert!(!localhost.matches("http://localhost:1/cb", false));
        assert!(localhost.matches("http://localhost:1/cb", true));
    }

    proptest! {
        /// Whatever is asked for: either it is the registered text, or the registered URI is a
        /// loopback literal and the two differ in nothing but a valid port.
        #[test]
        fn a_match_is_equality_but_for_a_loopback_port(
            base in prop_oneof![
                Just("https://a.test/cb"), Just("http://127.0.0.1/cb"), Just("http://[::1]:81/cb"),
                Just("com.example.app:/cb"), Just("http://localhost/cb"),
            ],
            at in 0..40_usize, insert in "[ -~]{0,6}", cut in 0..3_usize,
        ) {
            let uri = registered(base);
            let at = at.min(base.len());
            let end = (at + cut).min(base.len());
            let asked = format!("{}{insert}{}", &base[..at], &base[end..]);
            if uri.matches(&asked, false) && asked != base {
                let url = Url::parse(&asked).expect("a match is a URL");
                let same = Url::parse(base).expect("registered");
                prop_assert!(matches!(url.host_str(), Some("127.0.0.1" | "[::1]")), "{}", asked);
                prop_assert_eq!(url.host_str(), same.host_str());
                prop_assert_eq!((url.scheme(), url.path(), url.query()), ("http", same.path(), None));
                prop_assert_eq!(url.username(), "");
            }
        }
    }
}
