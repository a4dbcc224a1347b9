//! Grantor: an OAuth 2.1 authorization server to embed.

mod authenticator;
pub mod engine;
pub mod model;
pub mod pages;
pub mod protocol;
mod service;
pub mod storage;
pub mod wire;

pub use self::authenticator::{Authenticator, AuthenticatorError, Credentials, Verdict};
pub use self::engine::AuthorizationServer;
