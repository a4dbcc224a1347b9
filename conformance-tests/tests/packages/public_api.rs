//! What of the libraries can be used, as a listing that is reviewed when it changes, and whose types it is made of.
//!
//! `GRANTOR_WRITE_API=1 cargo test -p grantor-conformance --test packages` writes the listings again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::{env, fs};

use public_api::tokens::Token;
use public_api::{PublicApi, PublicItem};

use crate::cargo::{cargo, output, workspace};

/// Each library, and the crates whose types and traits stand in its public API: a new major version of one of them
/// breaks ours. The standard library and our own crates go without saying.
///
/// What every server speaks is `http` and `bytes`; what serialises is `serde_core`, by its traits alone.
const LIBRARIES: &[(&str, &[&str])] = &[
    // chrono: a `Timestamp` is made from its instants and gives them. serde_json: an account's claims are any JSON,
    // and so are the events of a trace.
    ("grantor", &["bytes", "chrono", "http", "serde_core", "serde_json"]),
    // Which depends on version 0.2 of http; ours is the one of the response that a `Challenge` is.
    ("grantor-actix-web", &["actix_http", "actix_service", "actix_web", "bytes", "http"]),
    ("grantor-axum", &["axum", "axum_core", "http"]),
    // proptest: walks are a strategy, which a test of one's own may combine.
    ("grantor-conformance", &["bytes", "http", "proptest", "serde_json"]),
    ("grantor-introspection", &[]),
    // Its requests are those of http, with the body of an event.
    (
        "grantor-lambda",
        &["aws_lambda_events", "bytes", "http", "http_body_util", "lambda_http", "tower_service"],
    ),
    ("grantor-poem", &["poem"]),
    // The driver's errors.
    ("grantor-redis", &["redis"]),
    ("grantor-rocket", &["rocket", "rocket_http"]),
    ("grantor-sled", &[]),
    (
        "grantor-tower",
        &["bytes", "http", "http_body", "http_body_util", "tower_layer", "tower_service"],
    ),
];

/// The parts of a program: what they make public is for its own tests.
const PROGRAMS: &[&str] = &["grantor-server"];

/// Where rustdoc has described every library of the workspace.
static DESCRIPTIONS: LazyLock<PathBuf> =
    LazyLock::new(|| describe("public-api", &["--workspace", "--all-features"]));

/// Lets rustdoc describe what is selected, and says where.
fn describe(place: &str, selection: &[&str]) -> PathBuf {
    let workspace = workspace();
    // Apart from the pages for people, and of the same compiled dependencies.
    let target = workspace.target_directory.join(place);
    output(
        cargo()
            .args(["doc", "--lib", "--no-deps", "--locked"])
            .args(selection)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_BUILD_BUILD_DIR", &workspace.build_directory)
            .env("RUSTDOC", concat!(env!("CARGO_MANIFEST_DIR"), "/public-api/rustdoc"))
            .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json"),
    );
    target.join("doc")
}

fn description(library: &str) -> PathBuf {
    DESCRIPTIONS.join(format!("{library}.json"))
}

/// The public API of a library, without what every type has.
fn items(description: &Path) -> PublicApi {
    public_api::Builder::from_rustdoc_json(description)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}\nThe form of such a description changes with the version of rustdoc, and the crate \
                 public-api reads one of them: {}",
                description.display(),
                output(cargo().args(["tree", "-p", "public-api", "--depth", "1", "--locked"]))
            )
        })
}

/// One item on each line. That a type implements a trait is one: the functions are those of the trait.
fn listing(description: &Path) -> String {
    let api = items(description);
    let line = |item: &PublicItem| item.to_string();
    let of_trait = |item: &&PublicItem| {
        let line = line(item);
        line.starts_with("impl") && line.contains(" for ")
    };
    let implementations: Vec<_> = api.items().filter(of_trait).map(PublicItem::id).collect();
    let implied = |item: &PublicItem| {
        item.parent_id().is_some_and(|parent| implementations.contains(&parent))
            && !line(item).starts_with("pub type ")
    };
    api.items().filter(|item| !implied(item)).map(|item| line(item) + "\n").collect()
}

#[test]
fn the_public_api_is_as_listed() {
    let listings = Path::new(env!("CARGO_MANIFEST_DIR")).join("public-api");
    let mut changes = String::new();
    let libraries: Vec<_> = workspace()
        .packages
        .into_iter()
        .filter(|package| !PROGRAMS.contains(&package.name.as_str()))
        .filter_map(|package| Some((package.library()?.to_owned(), package.name)))
        .collect();
    for (library, package) in &libraries {
        let path = listings.join(format!("{package}.txt"));
        let is = listing(&description(library));
        if env::var_os("GRANTOR_WRITE_API").is_some() {
            fs::write(&path, is).expect("the listing can be written");
            continue;
        }
        let should = fs::read_to_string(&path).unwrap_or_default();
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<String>>();
        let (is, should) = (lines(&is), lines(&should));
        for gone in should.difference(&is) {
            changes += &format!("- {gone}\n");
        }
        for new in is.difference(&should) {
            changes += &format!("+ {new}\n");
        }
    }
    assert!(
        changes.is_empty(),
        "the public API is not as listed in {}:\n{changes}If that is wanted, write it down:\n\
         GRANTOR_WRITE_API=1 cargo test -p grantor-conformance --test packages",
        listings.display()
    );
}

/// Whoever switches a feature on keeps everything that there was without it.
#[test]
fn features_only_add() {
    let mut added = 0;
    for package in workspace().packages.into_iter().filter(|package| !package.features.is_empty()) {
        let Some(library) = package.library() else { continue };
        let selection = ["--package", &package.name, "--no-default-features"];
        let bare = describe("public-api-without-features", &selection);
        let without = listing(&bare.join(format!("{library}.json")));
        let with = listing(&description(library));
        let lines = |text| str::lines(text).map(str::to_owned).collect::<BTreeSet<String>>();
        let lost: Vec<_> = lines(&without).difference(&lines(&with)).cloned().collect();
        assert!(lost.is_empty(), "{library} loses with its features: {lost:#?}");
        added += lines(&with).difference(&lines(&without)).count();
    }
    assert!(added > 0, "no feature of any package was looked at");
}

#[test]
fn no_listing_is_of_a_package_that_is_gone() {
    let packages: BTreeSet<String> =
        workspace().packages.into_iter().map(|package| format!("{}.txt", package.name)).collect();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/public-api")).expect("listed") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(!name.ends_with(".txt") || packages.contains(&name), "{name} is of no package");
    }
}

/// The crates that an item names: the first part of each path.
fn crates(item: &PublicItem) -> BTreeSet<String> {
    let tokens: Vec<&Token> = item.tokens().collect();
    let mut found = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let path = |at: usize| tokens.get(at).is_some_and(|token| token.text() == "::");
        let starts = at == 0 || !path(at - 1);
        if let Token::Identifier(name) | Token::Type(name) = token
            && starts
            && path(at + 1)
        {
            found.insert(name.clone());
        }
    }
    found
}

#[test]
fn the_public_api_is_made_of_types_of_these_crates() {
    for package in workspace().packages {
        let Some(library) = package.library() else { continue };
        if PROGRAMS.contains(&package.name.as_str()) {
            continue;
        }
        let (_, may) =
            LIBRARIES.iter().find(|(name, _)| *name == package.name).unwrap_or_else(|| {
                panic!("{}: say in {} whose types it may name", package.name, file!())
            });
        let ours = |name: &String| name == "grantor" || name.starts_with("grantor_");
        let standard = |name: &String| ["core", "alloc", "std"].contains(&name.as_str());
        let named: BTreeSet<String> = items(&description(library))
            .items()
            .flat_map(crates)
            .filter(|name| !ours(name) && !standard(name))
            .collect();
        let may: BTreeSet<String> = may.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(named, may, "left: the crates that {} names; right: those it may", package.name);
    }
}

/// Every library is met by somebody who has read nothing else.
#[test]
fn every_front_page_says_what_the_library_is_and_leads_to_the_guide() {
    for package in workspace().packages {
        let Some(library) = package.library().filter(|library| *library != "grantor") else {
            continue;
        };
        let text = fs::read_to_string(description(library)).expect("a description");
        let description: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let id = |value: &serde_json::Value| value.to_string();
        let root = &description["index"][id(&description["root"])];
        let page = root["docs"].as_str().unwrap_or_default();
        assert!(page.len() > 100, "{library} has hardly a front page: {page:?}");
        let to_guide = root["links"].as_object().is_some_and(|links| {
            links
                .values()
                .map(|link| &description["paths"][id(link)]["path"])
                .any(|path| path[0] == "grantor" && path[1] == "guide")
        });
        assert!(to_guide, "the front page of {library} has no link into `grantor::guide`");
    }
}
