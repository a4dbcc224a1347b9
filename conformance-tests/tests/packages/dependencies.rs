//! What a package brings along.
//!
//! The core is meant for programs that have their own framework, database and runtime already, so everything that it
//! brings is listed here with the reason. A new dependency is a decision: add it with its reason, or do without.

use std::collections::{BTreeMap, BTreeSet};

use crate::cargo::{cargo, output, workspace};

/// A direct dependency of the core, why it is one, and what it brings that no row above it has brought.
struct Row {
    name: &'static str,
    #[expect(dead_code, reason = "for whoever reads or changes the row")]
    reason: &'static str,
    brings: &'static [&'static str],
}

/// On Linux. Elsewhere, what asks the system for the time and for randomness is other crates.
const CORE: &[Row] = &[
    Row {
        name: "async-trait",
        reason: "a storage, an authenticator and a sink are used as `dyn`",
        brings: &["proc-macro2", "quote", "syn", "unicode-ident"],
    },
    Row {
        name: "base64",
        reason: "handles, PKCE and Basic authentication are base64",
        brings: &[],
    },
    Row {
        name: "bytes",
        reason: "the bodies of requests and responses, as every server has them",
        brings: &[],
    },
    Row {
        name: "chrono",
        reason: "dates for people: in the pages, in traces, in logs",
        brings: &["num-traits"],
    },
    Row {
        name: "crc32fast",
        reason: "a handle with a typing error is refused without asking the storage",
        brings: &["cfg-if"],
    },
    Row { name: "form_urlencoded", reason: "queries and forms", brings: &["percent-encoding"] },
    Row {
        name: "http",
        reason: "requests and responses, as every framework has them or converts them",
        brings: &["itoa"],
    },
    Row { name: "memchr", reason: "forms are read eight and more bytes at once", brings: &[] },
    Row {
        name: "minijinja",
        reason: "the pages are templates that escape",
        brings: &["serde", "serde_core", "serde_derive"],
    },
    Row { name: "percent-encoding", reason: "paths and Basic authentication", brings: &[] },
    Row {
        name: "postcard",
        reason: "the form of records of which there may be millions",
        brings: &["cobs", "thiserror", "thiserror-impl"],
    },
    Row {
        name: "ring",
        reason: "SHA-256, HMAC and random numbers",
        brings: &["getrandom", "libc", "untrusted"],
    },
    Row { name: "rmp-serde", reason: "the form of the other records", brings: &["rmp"] },
    Row { name: "serde", reason: "records and answers are data", brings: &[] },
    Row { name: "serde_json", reason: "the answers of an OAuth server", brings: &["zmij"] },
    Row { name: "subtle", reason: "secrets are compared in constant time", brings: &[] },
    Row { name: "thiserror", reason: "errors are types", brings: &[] },
    Row {
        name: "url",
        reason: "redirect URIs and issuers mean to us what they mean to a browser",
        brings: &[
            // International domain names, which the standard of URLs includes.
            "displaydoc",
            "icu_collections",
            "icu_locale_core",
            "icu_normalizer",
            "icu_normalizer_data",
            "icu_properties",
            "icu_properties_data",
            "icu_provider",
            "idna",
            "idna_adapter",
            "litemap",
            "potential_utf",
            "smallvec",
            "stable_deref_trait",
            "synstructure",
            "tinystr",
            "utf8_iter",
            "utf_types",
            "writeable",
            "yoke",
            "yoke-derive",
            "zerofrom",
            "zerofrom-derive",
            "zerotrie",
            "zerovec",
            "zerovec-derive",
        ],
    },
    Row { name: "zeroize", reason: "secrets are wiped from memory", brings: &[] },
];

/// What a host has one of already, or wants to choose.
const HEAVY: &[(&str, &[&str])] = &[
    (
        "runtime",
        &[
            "actix-rt",
            "async-global-executor",
            "async-std",
            "embassy-executor",
            "futures-executor",
            "glommio",
            "monoio",
            "smol",
            "tokio",
        ],
    ),
    (
        "framework",
        &[
            "actix-http",
            "actix-web",
            "axum",
            "axum-core",
            "gotham",
            "hyper",
            "lambda_http",
            "lambda_runtime",
            "ntex",
            "poem",
            "rocket",
            "salvo",
            "tide",
            "tower",
            "warp",
        ],
    ),
    (
        "database",
        &[
            "deadpool",
            "diesel",
            "fjall",
            "heed",
            "mongodb",
            "mysql",
            "postgres",
            "redb",
            "redis",
            "rocksdb",
            "rusqlite",
            "sea-orm",
            "sled",
            "sqlx",
            "sqlx-core",
            "tokio-postgres",
        ],
    ),
    ("HTTP client", &["curl", "isahc", "reqwest", "ureq"]),
    ("TLS", &["aws-lc-rs", "native-tls", "openssl", "rustls"]),
    ("log", &["env_logger", "tracing-subscriber"]),
];

/// Which of these a package may bring, and nothing else.
const MAY_BRING: &[(&str, &[&str])] = &[
    ("grantor", &[]),
    ("grantor-actix-web", &["actix-http", "actix-rt", "actix-web", "tokio"]),
    ("grantor-axum", &["axum", "axum-core", "hyper", "tokio", "tower"]),
    // It is a client of HTTP.
    ("grantor-introspection", &["hyper", "rustls", "tokio"]),
    (
        "grantor-lambda",
        &["futures-executor", "hyper", "lambda_http", "lambda_runtime", "tokio", "tower"],
    ),
    ("grantor-poem", &["hyper", "poem", "tokio"]),
    // The driver of Redis needs a runtime, and its servers are reached over TLS.
    ("grantor-redis", &["redis", "rustls", "tokio"]),
    // Rocket names a subscriber for its own tests of interleavings, and never builds it.
    ("grantor-rocket", &["hyper", "rocket", "tokio", "tracing-subscriber"]),
    ("grantor-sled", &["sled"]),
    // Its service runs on the runtime that hyper's users have.
    ("grantor-tower", &["tokio"]),
];

/// Not libraries to build on: a program, and tests.
const PROGRAMS: &[&str] = &["grantor-conformance", "grantor-server"];

/// The crates that come with a package, by the direct dependency that brings them, in alphabetical order.
fn tree(package: &str, target: &str) -> Vec<(String, BTreeSet<String>)> {
    let arguments = ["tree", "-p", package, "--edges", "normal", "--target", target, "--locked"];
    let form = ["--all-features", "--no-dedupe", "--prefix", "depth", "--format", " {p}"];
    let text = output(cargo().args(arguments).args(form));
    let mut direct: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name)) = (words.next(), words.next()) else { continue };
        match (depth, direct.last_mut()) {
            ("0", _) => {}
            ("1", _) => direct.push((name.to_owned(), BTreeSet::new())),
            (_, Some((_, brings))) => drop(brings.insert(name.to_owned())),
            (_, None) => panic!("not a tree: {text}"),
        }
    }
    assert!(!direct.is_empty(), "no dependencies in {text:?}");
    direct
}

#[test]
fn the_core_brings_what_is_listed_and_nothing_else() {
    let mut seen = BTreeSet::new();
    let actual = tree("grantor", "x86_64-unknown-linux-gnu")
        .into_iter()
        .map(|(name, brings)| {
            seen.insert(name.clone());
            let fresh = brings.into_iter().filter(|one| seen.insert(one.clone())).collect();
            (name, fresh)
        })
        .collect::<BTreeMap<String, BTreeSet<String>>>();
    let listed: BTreeMap<String, BTreeSet<String>> = CORE
        .iter()
        .map(|row| (row.name.to_owned(), row.brings.iter().map(|&one| one.to_owned()).collect()))
        .collect();
    for (name, brings) in &actual {
        assert_eq!(
            listed.get(name),
            Some(brings),
            "left: what is listed for {name} in {}; right: what it brings. With a reason?",
            file!()
        );
    }
    assert_eq!(listed.len(), actual.len(), "listed, and no dependency: {listed:?}, {actual:?}");
}

/// On every platform, with every feature.
#[test]
fn no_package_brings_a_second_framework_runtime_or_database() {
    for package in workspace().packages {
        if PROGRAMS.contains(&package.name.as_str()) {
            continue;
        }
        let (_, may) = MAY_BRING
            .iter()
            .find(|(name, _)| *name == package.name)
            .unwrap_or_else(|| panic!("{}: say in {} what it may bring", package.name, file!()));
        let brings: BTreeSet<String> = tree(&package.name, "all")
            .into_iter()
            .flat_map(|(name, brings)| brings.into_iter().chain([name]))
            .collect();
        let heavy: BTreeMap<&str, &str> = HEAVY
            .iter()
            .flat_map(|(kind, names)| names.iter().map(move |name| (*name, *kind)))
            .filter(|(name, _)| brings.contains(*name))
            .collect();
        let may: BTreeSet<&str> = may.iter().copied().collect();
        assert!(
            heavy.keys().eq(&may),
            "{} may bring {may:?} and brings {heavy:?}: is that wanted? See {}",
            package.name,
            file!()
        );
    }
}
