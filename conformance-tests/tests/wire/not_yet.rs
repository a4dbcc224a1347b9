//! What the specifications of this suite ask for and no test here shows, with the reason.

/// Requirement, and why it is not shown by a request to this server.
const NOT_YET: [(&str, &str); 18] = [
    (
        "6749-011",
        "the authorization endpoint's own address has no query: it is the issuer's with a path added",
    ),
    (
        "6749-019",
        "only one response type is supported, and it has one value",
    ),
    (
        "6749-031",
        "TLS ends in front of this function; an issuer that is not https is refused at start",
    ),
    (
        "6750-011",
        "access tokens are opaque, there is nothing self-contained to flip a byte of",
    ),
    (
        "6750-014",
        "audience restriction needs resource indicators (RFC 8707)",
    ),
    (
        "7662-010",
        "there is no helper for resource servers that caches answers",
    ),
    (
        "8252-011",
        "embedded user agents are not detected: a user-agent string proves nothing",
    ),
    ("8414-005", "no keys are published, since nothing is signed"),
    (
        "8414-006",
        "no client assertions, so no list of their algorithms",
    ),
    (
        "8414-014",
        "TLS ends in front of this function; its versions are the host's configuration",
    ),
    (
        "9207-004",
        "no ID token is ever in an authorization response",
    ),
    (
        "9700-009",
        "sender-constrained tokens need DPoP (RFC 9449) or mutual TLS (RFC 8705)",
    ),
    (
        "9700-011",
        "the part about audiences needs resource indicators; that scope is no wider than asked is shown",
    ),
    (
        "9700-013",
        "asymmetric client authentication needs private_key_jwt (RFC 7523)",
    ),
    (
        "9700-030",
        "audience restriction needs resource indicators (RFC 8707)",
    ),
    (
        "OA21-005",
        "client assertions are not accepted, so their audience is not looked at",
    ),
    (
        "HTTP-006",
        "timeouts and connection caps belong to the connections, which an adapter holds",
    ),
    (
        "ATTACKS B05",
        "nothing is signed, so no signer can be slow between a decision and its write",
    ),
];

#[test]
fn each_has_a_reason_and_stands_here_once() {
    let mut names: Vec<&str> = NOT_YET.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), NOT_YET.len());
    assert!(NOT_YET.iter().all(|(_, reason)| reason.len() > 20));
}
