//! The engine: load, decide, commit, answer.
//!
//! This is the only asynchronous code in the crate, and it holds no rule of the protocol. It loads
//! the records that a decision needs, asks [`protocol`](crate::protocol), replaces the one record that the
//! decision names, tells the audit log, and answers. If the record changed meanwhile, it starts over
//! with the record as it is now.

mod administration;
mod ambient;
mod authorization;
mod builder;
mod client_cache;
mod extension;
mod rate_limit;
mod replay;
mod step;
mod token_format;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::administration::{Connection, GrantSummary};
pub use self::ambient::{AuditSink, Clock, EntropySource, TraceSink};
#[cfg(feature = "system")]
pub use self::ambient::{SystemClock, SystemEntropy};
pub use self::authorization::Browser;
pub(crate) use self::authorization::Present;
pub use self::builder::{BuildError, Builder};
pub use self::extension::{ExtensionError, ExtensionGrant, Parameters};
pub use self::rate_limit::{RateLimit, RateLimited};
pub(crate) use self::step::Facts;
pub use self::step::{Error, Unavailable};
pub use self::token_format::{IssuedToken, TokenFormat};
pub use self::tokens::TokenRequest;
use crate::authenticator::Authenticator;
use crate::model::{Issuer, Policy, Timestamp};
use crate::pages::Pages;
use crate::protocol::Context;
use crate::storage::{Promises, Storage};

/// An authorization server: give it a [`Storage`] and an [`Authenticator`], mount it on the web
/// framework that is already there.
///
/// Cloning is cheap; the clones are one server.
#[derive(Clone)]
pub struct AuthorizationServer {
    inner: Arc<Inner>,
}

struct Inner {
    issuer: Issuer,
    policy: Policy,
    storage: Arc<dyn Storage>,
    authenticator: Arc<dyn Authenticator>,
    audit: Option<Arc<dyn AuditSink>>,
    traces: Option<Arc<dyn TraceSink>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn EntropySource>,
    pages: Arc<dyn Pages>,
    login_page: Option<String>,
    interaction_page: Option<String>,
    extension_grants: Vec<Box<dyn ExtensionGrant>>,
    token_format: Option<Box<dyn TokenFormat>>,
    wrong_secrets: RateLimit,
    clients: client_cache::ClientCache,
}

impl AuthorizationServer {
    /// Begins to build a server for this issuer.
    pub fn builder(issuer: Issuer) -> Builder {
        Builder::new(issuer)
    }

    /// This server's own address.
    pub fn issuer(&self) -> &Issuer {
        &self.inner.issuer
    }

    /// What it allows.
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// Its store, for what is kept beside the protocol's own records.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.inner.storage
    }

    /// What its store promises.
    pub fn promises(&self) -> Promises {
        self.inner.storage.promises()
    }

    /// How old the record of a client may be on which a request of that client is decided; zero:
    /// it is loaded for each.
    pub fn client_cache(&self) -> Duration {
        self.inner.clients.lifetime()
    }

    /// How its pages look.
    pub fn pages(&self) -> &dyn Pages {
        &*self.inner.pages
    }

    /// The host's own sign-in page, if it has one.
    pub fn login_page(&self) -> Option<&str> {
        self.inner.login_page.as_deref()
    }

    /// The host's own page for sign-in and consent, if it has one.
    pub fn interaction_page(&self) -> Option<&str> {
        self.inner.interaction_page.as_deref()
    }

    /// The time, by this server's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context { issuer: &self.inner.issuer, policy: &self.inner.policy, now: self.now() }
    }
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServer")
            .field("issuer", &self.inner.issuer.as_str())
            .field("storage", &self.inner.storage)
            .finish_non_exhaustive()
    }
}
