//! The `grantor` command as its users meet it: a process, a socket, an exit code.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod administration;
mod configuration;
mod limits;
mod migrate;
mod probes;
mod process;
mod redis;
mod traces;
mod world;
