//! The conformance suites of Grantor: what its parts must do, as tests that others can run.
//!
//! * [`storage`]: for authors of storage backends.
//! * [`requirements`]: what is required of a server, by id, and which test shows it.

#![expect(clippy::expect_used, clippy::panic, reason = "a suite reports by panicking")]

pub mod requirements;
pub mod storage;
