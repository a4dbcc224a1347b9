//! The resource server's side: a [`Guard`] before everything that a token opens (RFC 6750).
//!
//! A guard asks a [`TokenValidator`] what the token of a request stands for. In the program that
//! runs the authorization server, that is the server itself:
//!
//! ```
//! # async fn example(server: grantor::AuthorizationServer, request: http::Request<()>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use grantor::resource::{Guard, RequiredScope};
//!
//! let guard = Guard::from(&server);
//! let (headers, uri) = (request.headers(), request.uri());
//!
//! // A scope as a value ...
//! match guard.check(headers, uri, &"calendar.read".parse()?).await {
//!     Ok(token) => println!("{:?} reads", token.subject),
//!     Err(challenge) => println!("to be answered as it is: {}", challenge.status()),
//! }
//!
//! // ... or as a type, which the compiler reads.
//! struct CalendarWrite;
//! impl RequiredScope for CalendarWrite {
//!     const SCOPE: &'static str = "calendar.write";
//! }
//! let token = guard.check_for::<CalendarWrite>(headers, uri).await;
//! # Ok(())
//! # }
//! ```
//!
//! Elsewhere it is `Introspection` of the crate `grantor-introspection` (RFC 7662, this server or
//! another), or a validator of your own. The adapters wrap a guard in the idiom of their framework.

mod guard;
mod protected;
mod scope;

use std::fmt;

use async_trait::async_trait;
use serde_json::{Map, Value};

pub use self::guard::Guard;
pub use self::protected::{InvalidResource, ProtectedResource};
pub use self::scope::RequiredScope;
use crate::engine::{AuthorizationServer, Error};
use crate::model::{ClientId, ScopeSet, Subject, Timestamp};
use crate::protocol::introspect::ActiveToken;
use crate::protocol::{Event, Refusal};

/// Says what an access token stands for.
#[async_trait]
pub trait TokenValidator: fmt::Debug + Send + Sync + 'static {
    /// What `token` stands for now.
    ///
    /// `needed` is what the request needs, for a log; whether the token has it is checked by the
    /// [`Guard`], whatever is answered.
    async fn validate(&self, token: &str, needed: &ScopeSet) -> Result<ValidToken, TokenError>;
}

/// An access token that is active, as a resource server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidToken {
    /// The client that it was issued to. Ours always says so; another server may not
    /// (RFC 7662 section 2.2).
    pub client_id: Option<ClientId>,
    /// The user who allowed it; `None`: the client acts for itself.
    pub subject: Option<Subject>,
    /// How the user is called.
    pub username: Option<String>,
    /// What it opens.
    pub scope: ScopeSet,
    /// What else is known about the user: the claims that the allowed scopes show, see
    /// [`ScopeDefinition::claims`](crate::model::ScopeDefinition::claims).
    pub claims: Map<String, Value>,
    /// When it was issued.
    pub issued_at: Option<Timestamp>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// Why a token opens nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It does not: answered as RFC 6750 section 3.1 says.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Nobody can say now: answered with 503. The reason is for the operator.
    #[error("the token cannot be checked now: {0}")]
    Unavailable(String),
}

impl TokenError {
    /// The token is expired, revoked, malformed, or nobody's: `invalid_token`.
    pub const fn inactive() -> Self {
        Self::Refused(Refusal::TokenInactive)
    }

    /// Nobody can say now, for this reason.
    pub fn unavailable(reason: impl fmt::Display) -> Self {
        Self::Unavailable(reason.to_string())
    }
}

impl From<ActiveToken> for ValidToken {
    fn from(token: ActiveToken) -> Self {
        Self {
            client_id: Some(token.client_id),
            subject: token.subject,
            username: token.username,
            scope: token.scope,
            claims: token.claims,
            issued_at: Some(token.issued_at),
            expires_at: Some(token.expires_at),
        }
    }
}

#[async_trait]
impl TokenValidator for AuthorizationServer {
    async fn validate(&self, token: &str, needed: &ScopeSet) -> Result<ValidToken, TokenError> {
        match self.check_bearer(token, needed).await {
            Ok(token) => Ok(token.into()),
            Err(Error::Refused(refusal)) => Err(TokenError::Refused(refusal)),
            Err(Error::Unavailable(cause)) => {
                let reason = cause.to_string();
                self.emit(Event::Unavailable { reason: reason.clone() }).await;
                Err(TokenError::Unavailable(reason))
            }
        }
    }
}
