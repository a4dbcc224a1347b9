//! Putting a server together.

use std::sync::Arc;
use std::time::Duration;

use super::client_cache::ClientCache;
use super::{
    AuditSink, AuthorizationServer, Clock, EntropySource, ExtensionGrant, Inner, RateLimit,
    TokenFormat, TraceSink, ambient, tokens,
};
use crate::authenticator::Authenticator;
use crate::model::{InvalidPolicy, InvalidScope, Issuer, Policy, ScopeDefinition, ScopeToken};
use crate::pages::{DefaultPages, Pages};
use crate::protocol::extension;
use crate::storage::Storage;
use crate::wire;

/// Collects what a server is made of. A storage and an authenticator are needed; everything else
/// has a default.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    issuer: Issuer,
    policy: Policy,
    scopes: Result<(), InvalidScope>,
    storage: Option<Arc<dyn Storage>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    audit: Option<Arc<dyn AuditSink>>,
    traces: Option<Arc<dyn TraceSink>>,
    clock: Option<Arc<dyn Clock>>,
    entropy: Option<Arc<dyn EntropySource>>,
    pages: Option<Arc<dyn Pages>>,
    login_page: Option<String>,
    interaction_page: Option<String>,
    extension_grants: Vec<Box<dyn ExtensionGrant>>,
    token_format: Option<Box<dyn TokenFormat>>,
    client_cache: Duration,
}

impl Builder {
    /// The longest [`client_cache`](Self::client_cache). The record of a removed client stays for longer
    /// than this, so that nobody registers one of the same name while the old one is remembered.
    pub const MAX_CLIENT_CACHE: Duration = Duration::from_secs(3600);

    pub(super) fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            policy: Policy::default(),
            scopes: Ok(()),
            storage: None,
            authenticator: None,
            audit: None,
            traces: None,
            clock: ambient::default_clock(),
            entropy: ambient::default_entropy(),
            pages: None,
            login_page: None,
            interaction_page: None,
            extension_grants: Vec::new(),
            token_format: None,
            client_cache: Duration::ZERO,
        }
    }

    /// Where the records are kept.
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.storage = Some(Arc::new(storage));
        self
    }

    /// The same, for a store that is shared with the rest of the program.
    pub fn shared_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// The user database.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// The whole policy at once. Scopes that were added before are kept.
    pub fn policy(mut self, policy: Policy) -> Self {
        let mut scopes = std::mem::take(&mut self.policy.scopes);
        self.policy = policy;
        scopes.append(&mut self.policy.scopes);
        self.policy.scopes = scopes;
        self
    }

    /// Adds a scope, with the words in which the consent page describes it.
    pub fn scope(self, name: &str, description: &str) -> Self {
        self.scope_definition(name, ScopeDefinition::new(description))
    }

    /// Adds a scope that is described in several languages.
    pub fn scope_definition(mut self, name: &str, definition: ScopeDefinition) -> Self {
        match ScopeToken::parse(name) {
            Ok(token) => {
                self.policy.scopes.insert(token, definition);
            }
            Err(error) => self.scopes = Err(error),
        }
        self
    }

    /// The audit log. Default: none.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.audit = Some(Arc::new(sink));
        self
    }

    /// Where decisions are recorded, to be explained later. Default: nowhere.
    pub fn traces(mut self, sink: impl TraceSink) -> Self {
        self.traces = Some(Arc::new(sink));
        self
    }

    /// The clock. Default: the operating system's, where there is the feature `system`.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// The random source. Default: the operating system's, where there is the feature `system`.
    pub fn entropy(mut self, source: impl EntropySource) -> Self {
        self.entropy = Some(Arc::new(source));
        self
    }

    /// The pages that users see. Default: [`DefaultPages`].
    pub fn pages(mut self, pages: impl Pages) -> Self {
        self.pages = Some(Arc::new(pages));
        self
    }

    /// The host's own sign-in page, as a URL or a path. Default: none, and Grantor asks for name and
    /// password itself.
    ///
    /// A visitor who has to sign in is sent there, and the host reads with
    /// [`login_request`](AuthorizationServer::login_request) what is wanted and where the visitor goes
    /// on. The host says who somebody is, and when they last proved it, by putting an
    /// [`Authentication`](crate::model::Authentication) into the request's extensions.
    pub fn login_page(mut self, address: impl Into<String>) -> Self {
        self.login_page = Some(address.into());
        self
    }

    /// The host's own page for sign-in and consent, as a URL or a path at the issuer's origin. Default:
    /// none, and Grantor shows [`pages`](Self::pages) of its own.
    ///
    /// A browser that has something to answer is sent there with the parameter `interaction`; the
    /// program behind the page asks and answers in JSON, as [`wire`](crate::wire) says. It never
    /// handles `state`, redirects or forged requests: those stay here.
    pub fn interaction_page(mut self, address: impl Into<String>) -> Self {
        self.interaction_page = Some(address.into());
        self
    }

    /// Adds a grant type (RFC 6749 section 4.5). Clients use it that are registered for it
    /// ([`Registration::extension_grants`](crate::protocol::register::Registration::extension_grants)).
    pub fn extension_grant(mut self, grant: impl ExtensionGrant) -> Self {
        self.extension_grants.push(Box::new(grant));
        self
    }

    /// How access tokens look on the outside. Default: as Grantor makes them.
    pub fn token_format(mut self, format: impl TokenFormat) -> Self {
        self.token_format = Some(Box::new(format));
        self
    }

    /// How old, by this server's clock, the record of a client may be on which a request of that client
    /// or the check of a token is decided. Default: zero, and it is loaded for each request.
    ///
    /// It saves a call to the store for `client_credentials`, and where a token is checked. The price:
    /// the removal of a client, the end of its old secret, and the revocation of everything that it
    /// has are seen at most this much later by *other* processes on the same store; what one of them
    /// issues until then is dead as soon as they see it. This process sees its own changes at once.
    /// Nobody is refused on a record that is not fresh. The user's pages and administration do not use
    /// it. Ten to sixty seconds are sensible; [`MAX_CLIENT_CACHE`](Self::MAX_CLIENT_CACHE) at most.
    pub const fn client_cache(mut self, lifetime: Duration) -> Self {
        self.client_cache = lifetime;
        self
    }

    /// The path of an address at the issuer's origin.
    fn path_of<'p>(&self, page: &'p str) -> Option<&'p str> {
        let below = page.strip_prefix(self.issuer.origin()).unwrap_or(page);
        below.split('?').next().filter(|path| path.starts_with('/'))
    }

    /// Whether an address is one that the server answers itself: it would lead back to itself for ever.
    fn is_ours(&self, page: &str) -> bool {
        self.path_of(page).is_some_and(|path| wire::paths(&self.issuer).iter().any(|p| p == path))
    }

    /// The server, if everything fits together.
    pub fn build(self) -> Result<AuthorizationServer, BuildError> {
        self.scopes?;
        if !self.login_page.as_ref().is_none_or(|page| is_address(page) && !self.is_ours(page)) {
            return Err(BuildError::LoginPage);
        }
        // Its requests carry cookies, and are refused from elsewhere.
        let here =
            |page: &String| is_address(page) && self.path_of(page).is_some() && !self.is_ours(page);
        if !self.interaction_page.as_ref().is_none_or(here) {
            return Err(BuildError::InteractionPage);
        }
        let mut names: Vec<&str> = Vec::with_capacity(self.extension_grants.len());
        for grant in &self.extension_grants {
            let name = grant.grant_type();
            if !extension::is_name(name) || names.contains(&name) {
                return Err(BuildError::ExtensionGrant);
            }
            names.push(name);
        }
        if self.client_cache > Self::MAX_CLIENT_CACHE {
            return Err(BuildError::ClientCache);
        }
        let storage = self.storage.ok_or(BuildError::NoStorage)?;
        let authenticator = self.authenticator.ok_or(BuildError::NoAuthenticator)?;
        let clock = self.clock.ok_or(BuildError::NoClock)?;
        let entropy = self.entropy.ok_or(BuildError::NoEntropy)?;
        self.policy.validate(&storage.promises())?;
        let wrong_secrets = RateLimit::with(
            "grantor: wrong secret",
            tokens::WRONG_SECRETS,
            &storage,
            Arc::clone(&clock),
            Arc::clone(&entropy),
        );
        Ok(AuthorizationServer {
            inner: Arc::new(Inner {
                issuer: self.issuer,
                policy: self.policy,
                storage,
                authenticator,
                audit: self.audit,
                traces: self.traces,
                clock,
                entropy,
                pages: self.pages.unwrap_or_else(|| Arc::new(DefaultPages::new())),
                login_page: self.login_page,
                interaction_page: self.interaction_page,
                extension_grants: self.extension_grants,
                token_format: self.token_format,
                wrong_secrets,
                clients: ClientCache::new(self.client_cache),
            }),
        })
    }
}

/// Whether somebody can be sent there: a web address or a path, to which a query can be added. Two
/// slashes at the beginning would be a host.
fn is_address(page: &str) -> bool {
    let printable = page.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'\\');
    let web = |url: url::Url| matches!(url.scheme(), "https" | "http") && url.has_host();
    let path = page.starts_with('/') && !page.starts_with("//");
    printable && (path || url::Url::parse(page).is_ok_and(web))
}

/// Why a server cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// No storage was given.
    #[error("a storage is needed")]
    NoStorage,
    /// No authenticator was given.
    #[error("an authenticator is needed")]
    NoAuthenticator,
    /// No clock was given, and there is no feature `system` to bring one.
    #[error("a clock is needed")]
    NoClock,
    /// No random source was given, and there is no feature `system` to bring one.
    #[error("a random source is needed")]
    NoEntropy,
    /// The host's sign-in page is not an address.
    #[error(
        "the login page must be a web address or a path, without fragment, and not a path of this server"
    )]
    LoginPage,
    /// The host's page for sign-in and consent is not an address.
    #[error(
        "the interaction page must be a path at the issuer, without fragment, and not a path of this server"
    )]
    InteractionPage,
    /// An extension grant has a name that is not an absolute URI, or that another one has.
    #[error("an extension grant is named by an absolute URI of its own (RFC 6749 section 4.5)")]
    ExtensionGrant,
    /// Records of clients would be used for too long.
    #[error("the client cache must be an hour at most")]
    ClientCache,
    /// A scope has a name that is not one.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// The policy makes no sense, or the storage cannot keep it.
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
}
