//! The catalogue, the tests and the page that is written from both agree.

#![expect(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;

use grantor_conformance::requirements::{table, trace::Trace};

fn trace() -> Trace {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Trace::read(&root).expect("the sources")
}

#[test]
fn every_row_is_shown_by_a_test_or_says_why_not() {
    let defects = trace().defects();
    assert!(defects.is_empty(), "{} defects:\n{}", defects.len(), defects.join("\n"));
}

#[test]
fn the_page_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("REQUIREMENTS.md");
    let page = fs::read_to_string(page).expect("the page");
    for (at, (is, should)) in page.lines().zip(table(&trace()).lines()).enumerate() {
        let fix = "cargo run -p grantor-conformance --example requirements";
        assert_eq!(is, should, "REQUIREMENTS.md:{} is out of date: {fix}", at + 1);
    }
    assert_eq!(page, table(&trace()));
}
