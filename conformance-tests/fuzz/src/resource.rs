//! What a protected resource reads, and the challenge that it answers with.

use grantor::model::ScopeSet;
use grantor::wire::{Challenge, presented_token};
use http::{HeaderMap, HeaderValue, Uri, header};

/// A realm, an address and `Authorization` headers, a line each.
///
/// Requirements 6750-001, 6750-002, 6750-004, 6750-005, 6750-006, 6750-007, 6750-008, 6750-009, OA21-019;
/// ATTACKS F10, J03.
pub(crate) fn bearer(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let realm = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let Ok(uri) = Uri::try_from(lines.next().unwrap_or_default()) else {
        return;
    };
    let values: Vec<HeaderValue> =
        lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let headers: HeaderMap =
        values.iter().map(|value| (header::AUTHORIZATION, value.clone())).collect();
    let scope = ScopeSet::parse("read write").expect("a scope");
    for query_too in [false, true] {
        match presented_token(&headers, &uri, query_too) {
            Ok(token) => {
                let token = token.expose();
                assert!(!token.is_empty());
                match values.as_slice() {
                    [value] => {
                        let value = value.to_str().expect("visible");
                        let (scheme, sent) = value.split_once(' ').expect("two parts");
                        assert!(scheme.eq_ignore_ascii_case("bearer"), "{value}");
                        assert_eq!(sent.trim_matches(' '), token);
                    }
                    [] => assert!(query_too, "a token in a query is not looked at"),
                    _ => panic!("two headers were accepted"),
                }
            }
            Err(refusal) => {
                let resource_metadata = Some(realm.as_str());
                let challenge = Challenge { realm: &realm, resource_metadata, scope: &scope };
                let answer = challenge.answer(&refusal);
                let status = answer.status().as_u16();
                assert!([400, 401].contains(&status), "{status} for {refusal:?}");
                let value = answer.headers()[header::WWW_AUTHENTICATE].to_str().expect("visible");
                let attributes = attributes(value.strip_prefix("Bearer ").expect("the scheme"));
                let mut names: Vec<&str> = attributes.iter().map(|(name, _)| *name).collect();
                names.sort_unstable();
                let count = names.len();
                names.dedup();
                assert_eq!(names.len(), count, "{value}");
                assert!(names.contains(&"realm"), "{value}");
                assert_eq!(names.contains(&"error"), status != 401, "{value}");
            }
        }
    }
}

/// `name="value"` after `name="value"`, as RFC 6750 section 3 lets them be.
fn attributes(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"").expect("a name");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{text}");
        let (value, after) = after.split_once('"').expect("an end");
        assert!(
            value.bytes().all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
            "{text}"
        );
        found.push((name, value));
        match after.strip_prefix(", ") {
            Some(next) => rest = next,
            None => {
                assert_eq!(after, "", "{text}");
                return found;
            }
        }
    }
}
