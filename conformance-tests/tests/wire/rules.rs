//! What holds of every answer, whatever was asked. Every request of this suite is checked against
//! it, so each hostile request of the other modules is a test of this table too.

use grantor::AuthorizationServer;
use http::header;

use crate::world::Answer;

/// The paths whose answers scripts of other origins may read.
const SHARED: [&str; 3] = ["/token", "/revoke", "/.well-known/oauth-authorization-server"];

/// Requirements 6749-046, 6749-058, 6749-062, 6749-078, 6749-082, 9207-001, 9207-002, 9700-017,
/// 9700-021, 9700-022, 9700-032, 9700-040, OA21-002, OA21-007, OA21-009, HTTP-002, HTTP-004,
/// HTTP-007, MCP-004; ATTACKS B09, G05, G15, G16, J03, J10, J11, J12, K15.
#[track_caller]
pub(crate) fn check(server: &AuthorizationServer, path: &str, answer: &Answer) {
    let said = format!("{path}: {answer:?}");
    assert!(answer.status < 500 || answer.status == 503, "{said}");
    if [429, 503].contains(&answer.status) {
        let seconds: u32 = answer.header("retry-after").parse().expect("Retry-After");
        assert!(seconds > 0, "{said}");
    }
    if (300..400).contains(&answer.status) {
        assert_eq!(answer.status, 303, "{said}");
    }
    if answer.status == 405 {
        assert!(!answer.header("allow").is_empty(), "{said}");
        assert!(answer.body.is_empty(), "{said}");
    }
    let content_type = answer.header("content-type");
    if content_type.starts_with("text/html") {
        page(&said, answer);
    }
    if content_type.starts_with("text/html") || answer.status == 303 {
        guarded(server, &said, answer);
    }
    if content_type.starts_with("application/json") {
        json(server, path, &said, answer);
    }
    if answer.status == 303 && answer.location().contains("error=") {
        assert_eq!(answer.parameter("iss"), server.issuer().as_str(), "{said}");
        printable(&said, &answer.parameter("error"));
        printable(&said, &answer.parameter("error_description"));
    }
    let below = path.strip_prefix(server.issuer().path()).unwrap_or(path);
    let shared = SHARED.iter().any(|known| below.starts_with(known));
    let cors = answer.header("access-control-allow-origin");
    assert!(cors.is_empty() || (shared && cors == "*"), "{said}");
    assert_eq!(answer.header("access-control-allow-credentials"), "", "{said}");
    for line in answer.headers.get_all(header::SET_COOKIE) {
        cookie(server, line.to_str().expect("ASCII"));
    }
}

/// A page holds no script, nothing from elsewhere, and no link that leads away.
fn page(said: &str, answer: &Answer) {
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{said}");
    let body = answer.body.to_lowercase();
    for forbidden in ["<script", "http-equiv", "<iframe", "<img", "<object", "<base"] {
        assert!(!body.contains(forbidden), "{forbidden} in {said}");
    }
    for attribute in [" src=\"", " href=\"", " action=\""] {
        for (at, _) in body.match_indices(attribute) {
            let target = &body[at + attribute.len()..];
            let own = target.starts_with('/') || target.starts_with("&#x2f;");
            assert!(own && !target.starts_with("//"), "{attribute} in {said}");
        }
    }
}

/// What every page and every redirect carries.
fn guarded(server: &AuthorizationServer, said: &str, answer: &Answer) {
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), value, "{name} of {said}");
    }
    let policy = answer.header("content-security-policy");
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action "]
    {
        assert!(policy.contains(part), "{part} of {said}");
    }
    for part in ["unsafe", "script-src", "*"] {
        assert!(!policy.contains(part), "{part} of {said}");
    }
    let tls_only = answer.header("strict-transport-security");
    assert_eq!(!tls_only.is_empty(), server.issuer().is_secure(), "{said}");
}

fn json(server: &AuthorizationServer, path: &str, said: &str, answer: &Answer) {
    assert_eq!(answer.header("content-type"), "application/json", "{said}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{said}");
    if path != server.issuer().metadata_path() || answer.status != 200 {
        assert_eq!(answer.header("cache-control"), "no-store", "{said}");
        assert_eq!(answer.header("pragma"), "no-cache", "{said}");
    }
    let challenged = answer.header("www-authenticate").starts_with("Basic realm=\"");
    assert_eq!(challenged, answer.status == 401, "{said}");
    if answer.status == 200 && answer.body.is_empty() {
        return;
    }
    let body = answer.json();
    assert!(body.is_object(), "{said}");
    assert_eq!(body.get("error").is_some(), answer.status >= 400, "{said}");
    for name in ["error", "error_description"] {
        if let Some(text) = body.get(name) {
            printable(said, text.as_str().expect("text"));
        }
    }
}

/// The characters of RFC 6749 section 5.2.
fn printable(said: &str, text: &str) {
    let allowed = |b: u8| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(!text.is_empty() && text.bytes().all(allowed), "{text:?} of {said}");
}

/// Requirement HTTP-001, ATTACKS G04.
fn cookie(server: &AuthorizationServer, line: &str) {
    for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax"] {
        assert!(line.contains(attribute), "{line}");
    }
    let secure = server.issuer().is_secure();
    assert_eq!(line.starts_with("__Host-") && line.contains("; Secure"), secure, "{line}");
    assert!(!line.contains("Domain"), "{line}");
}
