//! The Bearer token at a protected resource, and the challenge for a request without a good one
//! (RFC 6750).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};

use super::RETRY_AFTER_SECONDS;
use super::error::on_the_wire;
use super::form::Form;
use crate::model::{ScopeSet, SecretString};
use crate::protocol::Refusal;

/// The access token that a request presents.
///
/// In the `Authorization` header; in the query only where `query_too` says so (RFC 6750 section 2.3
/// advises against it), and otherwise what is there is not looked at.
pub fn presented_token(
    headers: &HeaderMap,
    uri: &Uri,
    query_too: bool,
) -> Result<SecretString, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let header = values.next();
    if values.next().is_some() {
        return Err(Refusal::SeveralTokens);
    }
    let in_header = match header {
        None => None,
        Some(value) => {
            let value = value.to_str().map_err(|_| Refusal::TokenMalformed)?;
            let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
            if !scheme.eq_ignore_ascii_case("bearer") {
                // Credentials of another kind are no Bearer credentials.
                return Err(Refusal::TokenMissing);
            }
            // token68, RFC 9110 section 11.2.
            let token68 = |b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
            let token = token.trim_matches(' ');
            if token.is_empty() || !token.bytes().all(token68) {
                return Err(Refusal::TokenMalformed);
            }
            Some(token)
        }
    };
    let query = uri.query().filter(|_| query_too).map(|query| Form::parse(query.as_bytes()));
    let query = query.transpose()?;
    let in_query = query.as_ref().map(|form| form.get("access_token")).transpose()?.flatten();
    match (in_header, in_query) {
        (Some(_), Some(_)) => Err(Refusal::SeveralTokens),
        (Some(token), None) | (None, Some(token)) => Ok(SecretString::new(token)),
        (None, None) => Err(Refusal::TokenMissing),
    }
}

/// What a challenge is made of (RFC 6750 section 3, RFC 9728 section 5.1).
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    /// Where the token is good (`realm`, RFC 9110 section 11.5).
    pub realm: &'a str,
    /// The address of the protected resource metadata (`resource_metadata`).
    pub resource_metadata: Option<&'a str>,
    /// What the request needs.
    pub scope: &'a ScopeSet,
}

impl Challenge<'_> {
    /// The answer to a request whose token is missing or not good enough.
    ///
    /// Where no token was sent there is no `error`: the client may simply not have known. Nothing that
    /// came with the request is in it.
    pub fn answer(&self, refusal: &Refusal) -> Response<Bytes> {
        let told = match refusal {
            Refusal::TemporarilyUnavailable => return later(),
            Refusal::TokenMissing
            | Refusal::TokenMalformed
            | Refusal::SeveralTokens
            | Refusal::ParameterRepeated(_)
            | Refusal::ParameterTooLong(_)
            | Refusal::TooManyParameters
            | Refusal::FormMalformed
            | Refusal::ScopeInsufficient => refusal,
            // Why a token is not active concerns its client and the operator.
            _ => &Refusal::TokenInactive,
        };
        let row = on_the_wire(told);
        let mut value = format!("Bearer realm=\"{}\"", quotable(self.realm));
        if *told != Refusal::TokenMissing {
            value.push_str(&format!(
                ", error=\"{}\", error_description=\"{}\"",
                row.code,
                row.description(told)
            ));
        }
        let scope_helps = matches!(told, Refusal::TokenMissing | Refusal::ScopeInsufficient);
        if scope_helps && !self.scope.is_empty() {
            value.push_str(&format!(", scope=\"{}\"", self.scope));
        }
        if let Some(address) = self.resource_metadata {
            value.push_str(&format!(", resource_metadata=\"{}\"", quotable(address)));
        }
        let mut response = empty(row.status);
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// Nobody can say now whether the token is good.
fn later() -> Response<Bytes> {
    let mut response = empty(503);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    response
}

fn empty(status: u16) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED);
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}

/// What may stand between quotes: the rest of a configured realm is dropped.
pub(super) fn quotable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='!' | '#'..='[' | ']'..='~')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        authorization: &[&'static str],
        uri: &'static str,
        query_too: bool,
    ) -> Result<String, Refusal> {
        let headers = authorization
            .iter()
            .map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value)))
            .collect();
        presented_token(&headers, &Uri::from_static(uri), query_too)
            .map(|token| token.expose().to_owned())
    }

    #[test]
    fn one_method_and_any_case_of_the_scheme() {
        // Requirements 6750-001, 6750-002, 6750-004, OA21-019; ATTACKS F10.
        for header in ["Bearer abc", "bearer abc", "BEARER abc", "Bearer  abc"] {
            assert_eq!(read(&[header], "/", false), Ok("abc".into()));
        }
        assert_eq!(read(&[], "/", false), Err(Refusal::TokenMissing));
        assert_eq!(read(&["Basic abc"], "/", false), Err(Refusal::TokenMissing));
        assert_eq!(read(&["Bearer"], "/", false), Err(Refusal::TokenMalformed));
        assert_eq!(read(&["Bearer a b"], "/", false), Err(Refusal::TokenMalformed));
        assert_eq!(read(&["Bearer a\"b"], "/", false), Err(Refusal::TokenMalformed));
        assert_eq!(read(&["Bearer a", "Bearer a"], "/", false), Err(Refusal::SeveralTokens));
        assert_eq!(read(&[], "/?access_token=abc", false), Err(Refusal::TokenMissing));
        assert_eq!(read(&[], "/?access_token=abc", true), Ok("abc".into()));
        assert_eq!(read(&["Bearer a"], "/?access_token=a", true), Err(Refusal::SeveralTokens));
        assert_eq!(read(&["Bearer a"], "/?access_token=b", false), Ok("a".into()));
    }

    #[test]
    fn challenges_are_those_of_rfc_6750() {
        // Requirements 6750-005, 6750-006, 6750-007, 6750-008, 6750-009.
        let scope = ScopeSet::parse("read").expect("scope");
        let header = |refusal| {
            let realm = "a \"realm\"\r\n";
            let challenge = Challenge { realm, resource_metadata: None, scope: &scope };
            let response = challenge.answer(&refusal);
            let value = response.headers().get(header::WWW_AUTHENTICATE).expect("challenge");
            (response.status().as_u16(), value.to_str().expect("ASCII").to_owned())
        };
        assert_eq!(
            header(Refusal::TokenMissing),
            (401, "Bearer realm=\"a realm\", scope=\"read\"".into())
        );
        let (status, value) = header(Refusal::TokenInactive);
        assert!(
            status == 401 && value.contains("error=\"invalid_token\"") && !value.contains("scope=")
        );
        let (status, value) = header(Refusal::AccountGone);
        assert!(
            status == 401
                && value.contains("error=\"invalid_token\"")
                && !value.contains("account")
        );
        let (status, value) = header(Refusal::ScopeInsufficient);
        assert!(
            status == 403
                && value.contains("insufficient_scope")
                && value.contains("scope=\"read\"")
        );
        let (status, value) = header(Refusal::SeveralTokens);
        assert!(status == 400 && value.contains("invalid_request"));
        for attribute in ["realm=", "error=", "scope="] {
            assert!(value.matches(attribute).count() <= 1);
        }
    }

    #[test]
    fn a_challenge_says_where_to_read_on() {
        // Requirement 9728-007.
        let scope = ScopeSet::parse("read").expect("scope");
        let resource_metadata = Some("https://api/.well-known/oauth-protected-resource");
        let challenge = Challenge { realm: "", resource_metadata, scope: &scope };
        let header = |refusal| {
            let response = challenge.answer(&refusal);
            let value = response.headers().get(header::WWW_AUTHENTICATE).cloned();
            value.map(|value| value.to_str().expect("ASCII").to_owned())
        };
        assert_eq!(
            header(Refusal::TokenMissing).as_deref(),
            Some(
                "Bearer realm=\"\", scope=\"read\", \
                 resource_metadata=\"https://api/.well-known/oauth-protected-resource\""
            )
        );
        for refusal in [Refusal::TokenInactive, Refusal::ScopeInsufficient] {
            assert!(header(refusal).is_some_and(|value| value.contains(", resource_metadata=\"")));
        }
        assert_eq!(header(Refusal::TemporarilyUnavailable), None);
    }
}
