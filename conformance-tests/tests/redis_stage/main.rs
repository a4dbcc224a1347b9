//! The stage on which tests meet Redis does what it says.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cluster;
mod network;
mod proxy;
mod sentinel;
mod server;
