//! Features: few, and each only adds.

use std::collections::BTreeSet;

use crate::cargo::workspace;

/// All of them: whoever adds one says here what it is for.
const FEATURES: &[(&str, &str, &str)] = &[
    ("grantor", "default", "`system`"),
    ("grantor", "system", "the clock and the random source of the operating system"),
    ("grantor-conformance", "adapter", "one flow through an adapter for a web framework"),
    (
        "grantor-conformance",
        "postgres",
        "real PostgreSQL for tests: servers, and what goes wrong with them",
    ),
    (
        "grantor-conformance",
        "redis",
        "real Redis for tests: servers, and what goes wrong with them",
    ),
    ("grantor-conformance", "runner", "the binary that tests servers over HTTP"),
];

#[test]
fn the_features_are_those_that_are_listed() {
    let workspace = workspace();
    let actual: BTreeSet<(&str, &str)> = workspace
        .packages
        .iter()
        .flat_map(|package| package.features.keys().map(|name| (&*package.name, &**name)))
        .collect();
    let listed: BTreeSet<(&str, &str)> =
        FEATURES.iter().map(|(package, name, _)| (*package, *name)).collect();
    assert_eq!(actual, listed, "left: what there is; right: what is listed in {}", file!());
}
