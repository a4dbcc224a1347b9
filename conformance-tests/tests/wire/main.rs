//! The server as its callers meet it: HTTP requests in, HTTP responses out, nothing looked at inside.
//!
//! The requests go through [`AuthorizationServer::handle`](grantor::AuthorizationServer::handle), which is
//! all that an adapter calls; the clock is told what time it is. The same server over real connections is
//! in the tests `race`, `sockets` and `browser`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests report by panicking, also in their helpers"
)]

mod administration;
mod authorization;
mod bearer;
mod client_authentication;
mod client_cache;
mod concurrency;
mod connections;
mod customized;
mod drawn_by_host;
mod faults;
mod host;
mod interaction;
mod introspection;
mod metadata;
mod parsing;
mod pkce;
mod rate_limits;
mod redirect;
mod refresh;
mod regressions;
mod replay;
mod revocation;
mod rules;
#[path = "../backends/scanning.rs"]
mod scanning;
mod secrecy;
mod store;
mod token;
mod traces;
mod world;
