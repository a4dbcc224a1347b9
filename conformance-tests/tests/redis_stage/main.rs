//! The stage on which tests meet Redis does what it says.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod cluster;
mod sentinel;
mod server;
