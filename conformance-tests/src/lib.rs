//! The conformance suites of [Grantor](grantor): what its parts must do, as tests that others can run.
//!
//! * [`storage`]: for authors of storage backends: the contract, clause by clause.
//! * [`protocol`]: for authors of storage backends and for whoever embeds the server: random walks of
//!   clients, users and thieves, checked against a reference model.
//! * `adapter`, with the feature of that name: for authors of adapters for web frameworks: one flow through
//!   all of them.
//! * [`requirements`]: what is required of a server, by id, and which test shows it.
//! * `redis` and `postgres`, with the features of these names: for authors of stores on Redis or on
//!   PostgreSQL: real servers for tests, and what goes wrong with them.
//! * `runner`, with the feature of that name: the black-box runner, the binary `grantor-conformance`.
//!
//! Storage is a chapter of [the book](grantor::guide::storage); what a store must do is in [`grantor::storage`].

// For pages that are written before those of this crate, and in its absence.
#![doc(html_root_url = "https://docs.rs/grantor-conformance/latest")]
#![expect(clippy::expect_used, clippy::panic, reason = "a suite reports by panicking")]

#[cfg(feature = "adapter")]
pub mod adapter;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod ground;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod protocol;
#[cfg(feature = "redis")]
pub mod redis;
pub mod requirements;
// For the binary and its tests: no program builds on it.
#[cfg(feature = "runner")]
#[doc(hidden)]
pub mod runner;
pub mod storage;
