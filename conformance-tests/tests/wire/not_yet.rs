//! What the specifications of this suite ask for and no test here shows, with the reason.

/// Requirements or attacks, and why no request to this server shows them.
const NOT_YET: [(&[&str], &str); 23] = [
    (
        &["6749-011"],
        "the authorization endpoint's own address has no query: it is the issuer's with a path added",
    ),
    (&["6749-019"], "only one response type is supported, and it has one value"),
    (
        &["6749-031", "8414-014"],
        "TLS and its versions end in front of this function; an issuer that is not https is refused at start",
    ),
    (
        &["6750-011", "8414-005", "ATTACKS B05", "ATTACKS K09"],
        "access tokens are opaque: nothing is signed, no keys are published, no signer can be slow",
    ),
    (
        &["6750-014", "9700-030", "ATTACKS D08", "ATTACKS F07"],
        "audience restriction needs resource indicators (RFC 8707)",
    ),
    (&["7662-010"], "there is no helper for resource servers that caches answers"),
    (&["8252-011"], "embedded user agents are not detected: a user-agent string proves nothing"),
    (
        &["8414-006", "9700-013", "OA21-005"],
        "asymmetric client authentication needs private_key_jwt (RFC 7523): no assertion is accepted",
    ),
    (
        &["ATTACKS E05", "ATTACKS E06", "ATTACKS E07", "ATTACKS E08"],
        "there are no client assertions to replay, to address wrongly or to sign with the wrong key",
    ),
    (
        &["ATTACKS E09", "ATTACKS E10", "ATTACKS E11", "ATTACKS E12"],
        "no JWT, no key set and no foreign issuer is ever read",
    ),
    (&["9207-004"], "no ID token is ever in an authorization response"),
    (
        &["9700-009", "ATTACKS F08", "ATTACKS F09"],
        "sender-constrained tokens need DPoP (RFC 9449) or mutual TLS (RFC 8705); there is no token exchange",
    ),
    (
        &["9700-011"],
        "its part about audiences needs resource indicators; that scope is no wider than asked is shown",
    ),
    (
        &["HTTP-006", "ATTACKS J07", "ATTACKS J13"],
        "timeouts, connection caps and framing belong to the connections, which an adapter holds",
    ),
    (
        &["ATTACKS C06"],
        "no other grant carries a code: there is no device flow and no pushed request yet",
    ),
    (&["ATTACKS C07", "ATTACKS K17"], "these are mistakes of clients"),
    (&["ATTACKS G13"], "there is no federation, so no account is linked by itself"),
    (
        &[
            "ATTACKS H01",
            "ATTACKS H02",
            "ATTACKS H03",
            "ATTACKS H04",
            "ATTACKS H05",
            "ATTACKS H06",
            "ATTACKS H07",
            "ATTACKS H08",
            "ATTACKS H09",
        ],
        "the device flow (RFC 8628) does not exist",
    ),
    (
        &[
            "ATTACKS I01",
            "ATTACKS I02",
            "ATTACKS I03",
            "ATTACKS I05",
            "ATTACKS I06",
            "ATTACKS I07",
            "ATTACKS I09",
        ],
        "there is no dynamic registration, and no address of a client is ever fetched",
    ),
    (
        &["ATTACKS J08"],
        "there are no regular expressions, and no hash map holds names from outside",
    ),
    (
        &["ATTACKS K03", "ATTACKS K05", "ATTACKS K07"],
        "files, failover and replicas belong to a store: its crash campaigns show them",
    ),
    (&["ATTACKS K11"], "what a restored backup brings back is the operator's to revoke"),
    (
        &["ATTACKS K12"],
        "secrets are compared as hashes in constant time; time is not measured in a test",
    ),
];

#[test]
fn each_has_a_reason_and_stands_here_once() {
    let mut names: Vec<&str> = NOT_YET.iter().flat_map(|(names, _)| *names).copied().collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(NOT_YET.iter().all(|(_, reason)| reason.len() > 20));
}
