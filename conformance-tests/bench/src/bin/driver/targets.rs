//! What Grantor is to reach, at 32 connections: shares of the bare handler, multiples of node-oidc-provider on Redis.

use crate::contest::{BARE, MEMORY, NODE_REDIS, REDIS, SLED};
use grantor_bench::requests::Request;

/// What is to be reached; `None`: nothing is said about it.
pub(crate) fn target(contender: &str, request: Request) -> Option<f64> {
    let (memory, sled, redis) = match request {
        Request::CodeConfidential | Request::CodePublic => (0.65, 0.24, 15.0),
        Request::Refresh => (0.76, 0.24, 13.0),
        Request::ClientCredentials => (0.80, 0.24, 8.0),
        Request::Introspection => (0.92, 0.75, 8.0),
        Request::Reuse | Request::Revocation => (0.85, 0.24, 8.0),
        Request::Resource => (0.99, 0.90, 8.0),
        Request::Authorize => return None,
    };
    match contender {
        MEMORY => Some(memory),
        SLED => Some(sled),
        REDIS => Some(redis),
        _ => None,
    }
}

/// With whom a target compares, at which request. Reuse of a token has at node-oidc-provider the end of all tokens of a
/// user as its answer: revocation of one is the nearest that it has.
pub(crate) fn reference(contender: &str, request: Request) -> (&'static str, Request) {
    match (contender, request) {
        (REDIS, Request::Reuse) => (NODE_REDIS, Request::Revocation),
        (REDIS, _) => (NODE_REDIS, request),
        _ => (BARE, request),
    }
}

/// In milliseconds, what 99 of 100 requests are to be answered in.
pub(crate) fn p99(contender: &str) -> Option<f64> {
    match contender {
        MEMORY => Some(0.6),
        SLED => Some(3.0),
        REDIS => Some(2.0),
        _ => None,
    }
}
