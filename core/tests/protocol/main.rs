//! The decisions of the protocol, by value and by property: no engine, no storage, no HTTP.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "tests report by panicking, also in their helpers"
)]

mod authorize;
mod bounds;
mod client_auth;
mod code;
mod consent;
mod extension;
mod introspect;
mod metadata;
mod refresh;
mod register;
mod revoke;
mod session;
mod texts;
mod world;
