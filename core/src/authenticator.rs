//! The embedder's user database.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use crate::model::{Account, SecretString, Subject};

/// The embedder's user database: who may sign in, and whose account still stands.
///
/// Each method is asked while a request waits; a slow one slows that request and no other. An
/// error is answered with 503, never with a wrong answer.
#[async_trait]
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// Whether these credentials are right.
    ///
    /// The answer for a wrong password and for an unknown user must be the same, and take as long
    /// (ATTACKS G11). Default: nobody is let in. That is right where the host has a sign-in page of its
    /// own ([`Builder::login_page`](crate::engine::Builder::login_page)): nothing is asked here then.
    async fn verify(&self, credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
        let _ = credentials;
        Ok(Verdict::Refused)
    }

    /// The account of `subject`, with its claims; `None` if it does not stand any more: removed,
    /// disabled, locked. Asked whenever something is issued or checked in the user's name, so that a
    /// disabled user has no live token from the next request on.
    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError>;
}

/// What a user typed into the sign-in page. Can be read from a form or from JSON with the members
/// `username` and `password`.
#[derive(Clone, Debug, Deserialize)]
pub struct Credentials {
    /// The name, as typed, 256 bytes at most.
    pub username: String,
    /// The password, 1024 bytes at most.
    pub password: SecretString,
    /// Where the request came from, if the adapter knows: for throttling. Never taken from a header,
    /// nor from what was typed.
    #[serde(skip)]
    pub source: Option<IpAddr>,
}

/// The answer of an [`Authenticator`].
#[derive(Clone, Debug)]
#[must_use]
pub enum Verdict {
    /// Right: this is who it is.
    Verified(Account),
    /// Wrong name, wrong password, or an account that does not stand: one answer for all.
    Refused,
    /// Too many attempts; nothing was checked.
    Throttled {
        /// When another attempt will be looked at.
        retry_after: Duration,
    },
}

/// The user database did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the user database is unavailable: {reason}")]
pub struct AuthenticatorError {
    reason: String,
}

impl AuthenticatorError {
    /// The user database did not answer, for this reason. It goes to the operator's log.
    pub fn unavailable(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_says_nothing_of_where_it_came_from() {
        // ATTACKS G12, K16.
        let typed = r#"{"username":"alice","password":"secret","source":"203.0.113.9"}"#;
        let credentials: Credentials = serde_json::from_str(typed).expect("credentials");
        assert_eq!((credentials.username.as_str(), credentials.source), ("alice", None));
        assert_eq!(credentials.password.expose(), "secret");
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
