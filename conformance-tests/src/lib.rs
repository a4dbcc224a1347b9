//! The conformance suites of Grantor: what its parts must do, as tests that others can run.
//!
//! * [`storage`]: for authors of storage backends.

#![expect(clippy::expect_used, clippy::panic, reason = "a suite reports by panicking")]

pub mod storage;
