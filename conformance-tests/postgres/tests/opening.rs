//! Opening the store, and how much of it there is to read.

use std::time::Duration;

use grantor::storage::Storage as _;
use grantor_conformance::postgres::shared_server;
use grantor_example_postgres::PostgresStorage;

const UNHURRIED: Duration = Duration::from_secs(30);

/// Servers that are started together on an empty database all make the table.
#[tokio::test(flavor = "multi_thread")]
async fn many_can_open_it_for_the_first_time_at_once() {
    for _ in 0..5 {
        let schema = shared_server().schema();
        let tasks = (0..8).map(|_| {
            let url = schema.url();
            tokio::spawn(async move { PostgresStorage::open(&url, UNHURRIED).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            let store = task.await.expect("no panic").expect("it opens");
            store.ready().await.expect("there is a table");
        }
    }
}

/// The store of one database is not in another, and neither is it found where no database is.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_says_why() {
    let patience = Duration::from_millis(300);
    let elsewhere = shared_server().url().replace("/postgres", "/nowhere");
    for (url, reason) in [(elsewhere.as_str(), "nowhere"), ("no address", "relative URL")] {
        let error = PostgresStorage::open(url, patience).await.expect_err("it cannot be opened");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

/// Lines that are neither blank nor comments.
fn lines(source: &str, comment: &str) -> usize {
    let lines = source.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with(comment)).count()
}

#[test]
fn it_is_small() {
    let code = lines(include_str!("../src/lib.rs"), "//");
    let schema = lines(include_str!("../src/schema.sql"), "--");
    assert!(code + schema < 250, "{code} lines of code and {schema} of the schema");
    let said = format!("{code} lines of Rust and {schema} of SQL");
    assert!(include_str!("../README.md").contains(&said), "README.md does not say: {said}");
}
