//! A [`Guard`](grantor::resource::Guard) where the authorization server is another program: it is asked
//! what a token stands for (RFC 7662). The server may be Grantor or any other.
//!
//! Protecting resources is a chapter of [the book](grantor::guide::resources).
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use grantor::resource::Guard;
//! use grantor_introspection::Introspection;
//!
//! let validator = Introspection::at("https://auth.example.com/introspect")
//!     .client("calendar-api", &std::env::var("CLIENT_SECRET")?)
//!     .issuer("https://auth.example.com")
//!     .cache(Duration::from_secs(10), 10_000)
//!     .build()?;
//! let guard = Guard::new(validator).realm("calendar");
//! # Ok(())
//! # }
//! ```
//!
//! The client must be one that may introspect: at Grantor, one that is registered as a resource server
//! (`grantor client add --resource-server`).
//!
//! It needs a tokio runtime. A server that does not answer, or not sensibly, makes the guard answer 503:
//! no token is taken for dead, and none for alive.

mod answer;
mod cache;
mod transport;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grantor::engine::{Clock, SystemClock};
use grantor::model::ScopeSet;
use grantor::resource::{TokenError, TokenValidator, ValidToken};
use http::HeaderValue;
use url::{Host, Url};

use self::answer::Expected;
use self::cache::Cache;
use self::transport::Transport;

/// Asks an authorization server what a token stands for (RFC 7662).
pub struct Introspection {
    endpoint: Url,
    authorization: HeaderValue,
    expected: Expected,
    cache: Option<Cache>,
    clock: Arc<dyn Clock>,
    transport: Transport,
    patience: Duration,
    report: Report,
}

/// Told why a token could not be checked.
type Report = Arc<dyn Fn(&str) + Send + Sync>;

impl Introspection {
    /// Begins with the address of the introspection endpoint (`introspection_endpoint` in the metadata
    /// of the server, RFC 8414 section 2). It is `https`, or a loopback address for development
    /// (RFC 7662 section 2: the connection must be protected).
    pub fn at(endpoint: &str) -> Builder {
        Builder {
            endpoint: endpoint.to_owned(),
            authorization: None,
            expected: Expected::default(),
            cache: None,
            patience: Duration::from_secs(5),
            report: Arc::new(|_| ()),
            clock: Arc::new(SystemClock),
        }
    }

    async fn ask(&self, token: &str) -> Result<Option<ValidToken>, TokenError> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let reply = self.transport.post(&self.endpoint, &self.authorization, form).await?;
        self.expected.read(&reply, self.clock.now())
    }
}

#[async_trait]
impl TokenValidator for Introspection {
    async fn validate(&self, token: &str, _: &ScopeSet) -> Result<ValidToken, TokenError> {
        let found = async {
            match &self.cache {
                Some(cache) => cache.get_or_ask(token, &*self.clock, self.ask(token)).await,
                None => self.ask(token).await,
            }
        };
        // Around all of it: who waits for somebody else's question waits no longer than for its own.
        let found = tokio::time::timeout(self.patience, found)
            .await
            .unwrap_or_else(|_| Err(TokenError::unavailable("introspection took too long")));
        if let Err(TokenError::Unavailable(reason)) = &found {
            (self.report)(reason);
        }
        found?.ok_or_else(TokenError::inactive)
    }
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection")
            .field("endpoint", &self.endpoint.as_str())
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// Collects what is needed to ask.
#[must_use]
pub struct Builder {
    endpoint: String,
    authorization: Option<HeaderValue>,
    expected: Expected,
    cache: Option<(Duration, usize)>,
    patience: Duration,
    report: Report,
    clock: Arc<dyn Clock>,
}

impl Builder {
    /// As whom to ask: the server answers nobody that it does not know (RFC 7662 section 2.1). Sent
    /// with HTTP Basic (`client_secret_basic`, RFC 6749 section 2.3.1).
    pub fn client(mut self, client_id: &str, client_secret: &str) -> Self {
        let encode =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(client_id), encode(client_secret));
        self.authorization = sensitive(&format!("Basic {}", STANDARD.encode(pair)));
        self
    }

    /// As whom to ask, where the server wants a Bearer token for that (RFC 7662 section 2.1).
    pub fn bearer(mut self, token: &str) -> Self {
        self.authorization = sensitive(&format!("Bearer {token}"));
        self
    }

    /// Refuses tokens of which the server says that another one issued them (`iss`). Default: whoever
    /// the server vouches for.
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.expected.issuer = Some(issuer.to_owned());
        self
    }

    /// Refuses tokens that are not meant for this resource (`aud`, RFC 7662 section 2.2), and those of
    /// which the server does not say for whom they are. Default: tokens for anybody are taken. Set it
    /// where one server issues tokens for several resources, so that none of them can use at another what
    /// it was shown (RFC 9700 section 4.9.1). Grantor does not name audiences yet.
    pub fn audience(mut self, resource: &str) -> Self {
        self.expected.audience = Some(resource.to_owned());
        self
    }

    /// Remembers what the server said of a live token for `max_age`, and never past the token's own
    /// expiry; of `entries` tokens at most. Default: nothing is remembered.
    ///
    /// A token that is revoked goes on working here for that long (RFC 7662 section 4). Ten seconds save
    /// most of the questions about a busy token. Dead tokens are not remembered, and tokens are kept as
    /// hashes only. Answers of more than 4 KiB of JSON are asked for each time, which bounds an entry; an
    /// ordinary one takes about 1 KiB. Several requests with one token ask once.
    pub const fn cache(mut self, max_age: Duration, entries: usize) -> Self {
        self.cache = Some((max_age, entries));
        self
    }

    /// How long to wait for an answer, all in all. Default: 5 seconds.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Is told why a token could not be checked: the connection, the certificate, credentials that the
    /// server does not accept, an answer that is not understood. The request itself is answered 503. For
    /// a log; it holds no token. Default: nobody.
    pub fn on_unavailable(mut self, report: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.report = Arc::new(report);
        self
    }

    /// The clock. Default: the operating system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The validator, if everything fits together.
    pub fn build(self) -> Result<Introspection, BuildError> {
        let endpoint = Url::parse(&self.endpoint).map_err(|_| BuildError::Endpoint)?;
        let loopback = match endpoint.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let protected = endpoint.scheme() == "https" || (endpoint.scheme() == "http" && loopback);
        let plain = endpoint.username().is_empty() && endpoint.password().is_none();
        if !protected || !plain || endpoint.fragment().is_some() {
            return Err(BuildError::Endpoint);
        }
        Ok(Introspection {
            endpoint,
            authorization: self.authorization.ok_or(BuildError::Client)?,
            expected: self.expected,
            cache: self.cache.map(|(max_age, entries)| Cache::new(max_age, entries)),
            clock: self.clock,
            transport: Transport::new().map_err(BuildError::Certificates)?,
            patience: self.patience,
            report: self.report,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The endpoint is no address, or the connection to it would not be protected.
    #[error(
        "the introspection endpoint must be an https URL without user and fragment; http on a \
         loopback address for development"
    )]
    Endpoint,
    /// There is no client to ask as, or its credentials cannot stand in a header.
    #[error("say as which client to ask: client(id, secret) or bearer(token)")]
    Client,
    /// The certificates that the operating system trusts cannot be read.
    #[error("the trusted certificates cannot be read")]
    Certificates(#[source] std::io::Error),
}
