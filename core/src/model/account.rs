//! The resource owner as the embedder's user database describes one.

use serde::{Deserialize, Serialize};

use super::{Subject, Timestamp};

/// An account that stands, as [`Authenticator`](crate::Authenticator) returned it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The stable, never reassigned name.
    pub subject: Subject,
    /// How the user is called on pages and in introspection (`username`, RFC 7662 section 2.2).
    pub username: String,
    /// Further claims about the user. Resource servers are shown those that a scope that was allowed
    /// names, see [`ScopeDefinition::claims`](super::ScopeDefinition::claims); clients none.
    #[serde(default)]
    pub claims: serde_json::Map<String, serde_json::Value>,
}

impl Account {
    /// An account without further claims.
    pub fn new(subject: Subject, username: impl Into<String>) -> Self {
        Self { subject, username: username.into(), claims: serde_json::Map::new() }
    }
}

/// The fact that this user proved who they are, and when.
///
/// It comes from Grantor's own browser session, or from the embedder: a middleware that has already
/// identified the user puts this value into the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// Who.
    pub subject: Subject,
    /// When the user last proved it actively (`auth_time`, OpenID Connect Core 1.0 section 2).
    pub auth_time: Timestamp,
}
