//! A backend that processes share keeps the contract: the worked example of one.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

#[path = "backends/journal.rs"]
mod journal;

grantor_conformance::storage_suite!(crate::journal::Home);
