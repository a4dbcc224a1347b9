//! What the answer means (RFC 7662 section 2.2).

use grantor::model::{ClientId, ScopeSet, Subject, Timestamp};
use grantor::resource::{TokenError, ValidToken};
use http::StatusCode;
use serde_json::{Map, Value};

use crate::transport::Reply;

/// What a token must be besides active.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
}

impl Expected {
    /// What the token stands for; `None`: it opens nothing here.
    ///
    /// An answer that is not understood is nobody's fault but the server's: no token is taken for dead
    /// because of it, and none for alive.
    pub(crate) fn read(
        &self,
        reply: &Reply,
        now: Timestamp,
    ) -> Result<Option<ValidToken>, TokenError> {
        if reply.status != StatusCode::OK {
            let status = reply.status;
            return Err(TokenError::unavailable(format!("introspection was answered {status}")));
        }
        let mut members: Map<String, Value> =
            serde_json::from_slice(&reply.body).map_err(|_| {
                TokenError::unavailable("the answer of introspection is no JSON object")
            })?;
        match members.remove("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Ok(None),
            _ => return Err(not_understood("active")),
        }
        let expires_at = instant(&mut members, "exp")?;
        let issued_at = instant(&mut members, "iat")?;
        let not_before = instant(&mut members, "nbf")?;
        let issuer = text(&mut members, "iss")?;
        let token_type = text(&mut members, "token_type")?;
        // A token that is bound to a key is no Bearer token, and must not be taken for one by somebody
        // who did not look for the proof (RFC 9449 section 7.1, RFC 8705 section 3).
        let bearer = token_type.is_none_or(|name| name.eq_ignore_ascii_case("bearer"))
            && !members.contains_key("cnf");
        let alive = expires_at.is_none_or(|end| !end.has_passed(now))
            && not_before.is_none_or(|begin| begin.has_passed(now));
        let ours = self.issuer.is_none() || self.issuer == issuer;
        if !bearer || !alive || !ours || !self.is_audience(members.remove("aud")) {
            return Ok(None);
        }
        let scope = text(&mut members, "scope")?.unwrap_or_default();
        let subject = text(&mut members, "sub")?;
        let subject = subject.map(Subject::parse).transpose().map_err(|_| not_understood("sub"))?;
        Ok(Some(ValidToken {
            // Another server may have names that are none here; they stay among the claims.
            client_id: members
                .get("client_id")
                .and_then(Value::as_str)
                .and_then(|name| ClientId::parse(name).ok())
                .inspect(|_| drop_member(&mut members, "client_id")),
            subject,
            username: text(&mut members, "username")?,
            scope: ScopeSet::parse(&scope).map_err(|_| not_understood("scope"))?,
            issued_at,
            expires_at,
            claims: members,
        }))
    }

    /// `aud` is a text or a list of texts (RFC 7519 section 4.1.3).
    fn is_audience(&self, audience: Option<Value>) -> bool {
        let Some(expected) = &self.audience else { return true };
        match audience {
            Some(Value::String(name)) => name == *expected,
            Some(Value::Array(names)) => names.iter().any(|name| name == expected.as_str()),
            _ => false,
        }
    }
}

fn drop_member(members: &mut Map<String, Value>, name: &str) {
    members.remove(name);
}

fn text(
    members: &mut Map<String, Value>,
    name: &'static str,
) -> Result<Option<String>, TokenError> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(not_understood(name)),
    }
}

/// Seconds since the epoch; some servers send fractions (`NumericDate`, RFC 7519 section 2).
fn instant(
    members: &mut Map<String, Value>,
    name: &'static str,
) -> Result<Option<Timestamp>, TokenError> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let seconds = value.as_i64().or_else(|| {
                let seconds = value.as_f64().filter(|seconds| seconds.abs() < 1e12)?;
                #[expect(clippy::cast_possible_truncation, reason = "bounded, and rounded down")]
                Some(seconds as i64)
            });
            let seconds = seconds.ok_or_else(|| not_understood(name))?;
            Ok(Some(Timestamp::from_millis(seconds.saturating_mul(1000))))
        }
    }
}

fn not_understood(name: &str) -> TokenError {
    TokenError::unavailable(format!("the member {name} of the answer of introspection is odd"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const NOW_SECONDS: i64 = NOW.as_seconds();

    fn read(expected: &Expected, body: &str) -> Result<Option<ValidToken>, TokenError> {
        let body = Bytes::from(body.to_owned());
        expected.read(&Reply { status: StatusCode::OK, body }, NOW)
    }

    fn is_active(expected: &Expected, mut members: Value) -> bool {
        members["active"] = true.into();
        read(expected, &members.to_string()).expect("understood").is_some()
    }

    #[test]
    fn a_whole_answer_is_read() {
        // Requirement 7662-004.
        let body = json!({
            "active": true, "scope": "read write", "client_id": "app", "username": "alice",
            "token_type": "Bearer", "exp": NOW_SECONDS + 60, "iat": 5.5, "sub": "user-1",
            "iss": "https://auth.example.com", "email": "alice@example.com", "aud": ["x"],
        });
        let token = read(&Expected::default(), &body.to_string()).expect("read").expect("active");
        assert_eq!(token.client_id.as_ref().map(ClientId::as_str), Some("app"));
        assert_eq!(token.subject.as_ref().map(Subject::as_str), Some("user-1"));
        assert_eq!(token.username.as_deref(), Some("alice"));
        assert_eq!(token.scope.to_string(), "read write");
        assert_eq!(token.issued_at, Some(Timestamp::from_millis(5_000)));
        assert_eq!(token.expires_at.map(Timestamp::as_seconds), Some(NOW_SECONDS + 60));
        assert_eq!(Value::Object(token.claims), json!({"email": "alice@example.com"}));
        let odd = json!({"active": true, "client_id": "api://x"});
        let token = read(&Expected::default(), &odd.to_string()).expect("read").expect("active");
        assert_eq!((token.client_id, token.subject, token.expires_at), (None, None, None));
        assert_eq!(Value::Object(token.claims), json!({"client_id": "api://x"}));
    }

    #[test]
    fn what_is_not_for_here_opens_nothing() {
        // Requirements 7662-005, 9449-020; ATTACKS F07: a token of another kind, time, issuer or audience.
        let any = Expected::default();
        assert!(read(&any, r#"{"active":false,"exp":"odd"}"#).expect("understood").is_none());
        assert!(is_active(&any, json!({})));
        assert!(!is_active(&any, json!({"exp": NOW_SECONDS})));
        assert!(is_active(&any, json!({"exp": NOW_SECONDS + 1})));
        assert!(!is_active(&any, json!({"nbf": NOW_SECONDS + 1})));
        assert!(!is_active(&any, json!({"token_type": "DPoP"})));
        assert!(!is_active(&any, json!({"token_type": "bearer", "cnf": {"jkt": "x"}})));
        let issuer = Some("https://auth.example.com".to_owned());
        let strict = Expected { issuer, ..Expected::default() };
        assert!(is_active(&strict, json!({"iss": "https://auth.example.com"})));
        assert!(!is_active(&strict, json!({"iss": "https://auth.example.com/"})));
        assert!(!is_active(&strict, json!({})));
        let audience = Some("https://api.example.com".to_owned());
        let strict = Expected { audience, ..Expected::default() };
        assert!(is_active(&strict, json!({"aud": "https://api.example.com"})));
        assert!(is_active(&strict, json!({"aud": ["x", "https://api.example.com"]})));
        for other in [json!("x"), json!(["x"]), json!([]), json!(1), Value::Null] {
            assert!(!is_active(&strict, json!({"aud": other})));
        }
        assert!(!is_active(&strict, json!({})));
    }

    #[test]
    fn an_answer_that_is_not_understood_is_neither_yes_nor_no() {
        for body in [
            "",
            "[]",
            "true",
            "{}",
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":true,"exp":"soon"}"#,
            r#"{"active":true,"exp":1e300}"#,
            r#"{"active":true,"scope":["read"]}"#,
            r#"{"active":true,"scope":"a\"b"}"#,
            r#"{"active":true,"sub":""}"#,
            r#"{"active":true} x"#,
        ] {
            let answer = read(&Expected::default(), body);
            assert!(matches!(answer, Err(TokenError::Unavailable(_))), "{body}: {answer:?}");
        }
        for status in [StatusCode::UNAUTHORIZED, StatusCode::FOUND, StatusCode::BAD_GATEWAY] {
            let body = Bytes::from_static(br#"{"active":true}"#);
            let answer = Expected::default().read(&Reply { status, body }, NOW);
            assert!(matches!(answer, Err(TokenError::Unavailable(_))), "{status}");
        }
    }
}
