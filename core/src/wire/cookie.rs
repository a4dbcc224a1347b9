//! The two cookies: which browser this is, and who is signed in with it.

use http::{HeaderMap, HeaderValue, header};

use crate::model::{Handle, HandleKind, Issuer, Secret, SecretString};

/// A cookie of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// Binds pending authorizations to the browser.
    Browser,
    /// The session.
    Session,
}

impl Cookie {
    /// The name. Over TLS it has the prefix that no sibling domain and no plain connection can set
    /// (RFC 6265bis section 4.1.3.2). On loopback it has the port, since browsers give a cookie to
    /// every port of a host.
    fn name(self, issuer: &Issuer) -> String {
        let name = match self {
            Self::Browser => "browser",
            Self::Session => "session",
        };
        if issuer.is_secure() {
            return format!("__Host-grantor-{name}");
        }
        let port = issuer.origin().rsplit_once(':').map_or("", |(_, port)| port);
        let port: String = port.chars().filter(char::is_ascii_digit).collect();
        format!("grantor-{name}-{port}")
    }

    fn read(self, headers: &HeaderMap, issuer: &Issuer) -> Option<String> {
        let name = self.name(issuer);
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs =
            lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(known, _)| known.trim() == name)?;
        Some(value.trim().to_owned())
    }

    /// The header that sets it. It ends with the browser, and is sent along when a client sends the
    /// user here, but not with anything that another site posts.
    pub(super) fn set(self, value: &SecretString, issuer: &Issuer) -> Option<HeaderValue> {
        self.header(value.expose(), "", issuer)
    }

    /// The header that takes it away.
    pub(super) fn clear(self, issuer: &Issuer) -> Option<HeaderValue> {
        self.header("", "; Max-Age=0", issuer)
    }

    fn header(self, value: &str, extra: &str, issuer: &Issuer) -> Option<HeaderValue> {
        let name = self.name(issuer);
        let secure = if issuer.is_secure() { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{extra}");
        let mut header = HeaderValue::from_str(&text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// The secret of the browser.
pub(super) fn browser(headers: &HeaderMap, issuer: &Issuer) -> Option<Secret> {
    Secret::parse(&Cookie::Browser.read(headers, issuer)?)
}

/// The session that the browser holds.
pub(super) fn session(headers: &HeaderMap, issuer: &Issuer) -> Option<Handle> {
    Handle::parse(HandleKind::Session, &Cookie::Session.read(headers, issuer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_tls_the_cookie_is_bound_to_the_host() {
        // Requirement HTTP-001, ATTACKS G04.
        let issuer = Issuer::parse("https://as.example").expect("issuer");
        let secret = SecretString::of(&Secret::from_bytes([1; 32]));
        let header = Cookie::Session.set(&secret, &issuer).expect("header");
        let text = header.to_str().expect("ASCII");
        assert!(text.starts_with("__Host-grantor-session="), "{text}");
        for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
            assert!(text.contains(attribute), "{text}");
        }
        assert!(!text.contains("Domain"));
        let cookie = format!("x=1; __Host-grantor-browser={}; y=2", secret.expose());
        let headers = HeaderMap::from_iter([(
            header::COOKIE,
            HeaderValue::from_str(&cookie).expect("header"),
        )]);
        assert!(browser(&headers, &issuer).is_some());
        // What a sibling domain could have planted without the prefix is not looked at.
        let planted = cookie.replace("__Host-", "");
        let headers = HeaderMap::from_iter([(
            header::COOKIE,
            HeaderValue::from_str(&planted).expect("header"),
        )]);
        assert!(browser(&headers, &issuer).is_none());
    }
}
