//! The figures that the chapters name are those of the program.

use grantor::model::{Active, Client, Policy, ScopeSet};
use grantor::storage::NewRecord;
use grantor::wire::MAX_BODY_LEN;

const PRODUCTION: &str = include_str!("../../../core/docs/guide/production.md");
const CONCEPTS: &str = include_str!("../../../core/docs/guide/concepts.md");

#[test]
fn the_limits_are_those_of_the_program() {
    for (what, limit) in [
        ("the body of a request", format!("{} KiB", MAX_BODY_LEN / 1024)),
        ("scopes in a request, and in a policy", ScopeSet::MAX_COUNT.to_string()),
        ("redirect URIs of a client", Client::MAX_REDIRECT_URIS.to_string()),
        ("secrets of a client at once", Client::MAX_SECRETS.to_string()),
        ("live access tokens of one authorization", Active::MAX_ACCESS_TOKENS.to_string()),
        ("one record", format!("{} KiB", NewRecord::MAX_VALUE_LEN / 1024)),
    ] {
        let row = PRODUCTION.lines().find(|line| line.starts_with(&format!("| {what} | ")));
        let says = row.and_then(|row| row.split(" | ").nth(1)).unwrap_or_default();
        assert!(
            says == limit || says.starts_with(&format!("{limit};")),
            "{what}: {limit}, {row:?}"
        );
    }
}

#[test]
fn the_lifetimes_are_the_defaults() {
    let policy = Policy::default();
    assert_eq!(policy.access_token_lifetime.as_secs(), 3600);
    assert!(CONCEPTS.contains("means something only to this server; an hour |"));
    assert_eq!(policy.code_lifetime.as_secs(), 60);
    assert!(CONCEPTS.contains("good once (`grc_...`); a minute |"));
}
