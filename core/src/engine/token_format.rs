//! How access tokens look on the outside.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::AuthorizationServer;
use super::step::Unavailable;
use crate::model::{Account, ClientId, HandleKind, ScopeSet, SecretString, Subject, Timestamp};
use crate::protocol::token::TokenResponse;

/// How access tokens look on the outside: with a prefix that scanners for leaked secrets know, inside a
/// signed envelope for a gateway that reads claims, or encrypted.
///
/// The token of Grantor is inside, whole: it is found by it and revoked by it, and whoever reads the
/// outside holds it. What is done here is fast and cannot fail; keys are at hand when the server is
/// built. Refresh tokens stay as they are, since nobody but this server reads them.
///
/// A format may change while tokens are out if it still [`unwrap`](Self::unwrap)s the old ones.
pub trait TokenFormat: fmt::Debug + Send + Sync + 'static {
    /// The token that the client gets: 1 to [`IssuedToken::MAX_LEN`] of the characters of `b64token`
    /// (RFC 6750 section 2.1), `A-Z a-z 0-9 - . _ ~ + /`, and `=` at the end. Anything else is not handed
    /// out: the client is answered 503, and the operator is told.
    ///
    /// What it says, the client can read, whatever the scopes show to whom.
    fn wrap(&self, token: &IssuedToken<'_>) -> SecretString;

    /// What [`IssuedToken::token`] was when this token was wrapped; `None`: this format made no such
    /// token.
    fn unwrap<'t>(&self, presented: &'t str) -> Option<Cow<'t, str>>;
}

/// An access token that is about to be handed out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuedToken<'a> {
    /// Grantor's own.
    pub token: &'a SecretString,
    /// This server.
    pub issuer: &'a str,
    /// Whose token it is.
    pub client_id: &'a ClientId,
    /// The user who allowed it; `None`: the client acts for itself.
    pub subject: Option<&'a Subject>,
    /// What it opens.
    pub scope: &'a ScopeSet,
    /// The claims that the scope shows, see [`ScopeDefinition::claims`](crate::model::ScopeDefinition::claims).
    pub claims: Map<String, Value>,
    /// Now. An answer that is repeated for a client that did not get the first is dressed anew.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl IssuedToken<'_> {
    /// The longest token on the outside, in bytes: one that does not fit into a header or a form can be
    /// neither used nor revoked.
    pub const MAX_LEN: usize = 6 * 1024;
}

/// What a token request came to, as it is inside.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) response: TokenResponse,
    pub(super) client_id: Option<ClientId>,
    /// The user in whose name.
    pub(super) account: Option<Account>,
    pub(super) at: Timestamp,
}

impl AuthorizationServer {
    /// The response as the client gets it.
    pub(super) fn dressed(&self, issued: Issued) -> Result<TokenResponse, Unavailable> {
        let Issued { mut response, client_id, account, at } = issued;
        if let (Some(format), Some(client_id)) = (&self.inner.token_format, &client_id) {
            let (account, scope) = (account.as_ref(), &response.scope);
            let claims = account.map(|account| self.policy().claims_shown(scope, account));
            let dressed = format.wrap(&IssuedToken {
                token: &response.access_token,
                issuer: self.issuer().as_str(),
                client_id,
                subject: account.map(|account| &account.subject),
                scope,
                claims: claims.unwrap_or_default(),
                issued_at: at,
                expires_at: at.plus(response.expires_in),
            });
            if !is_token(dressed.expose()) {
                return Err(Unavailable::TokenFormat);
            }
            response.access_token = dressed;
        }
        Ok(response)
    }

    /// The token of Grantor in what was presented. Where access tokens are dressed, a naked one is
    /// none: one token has one spelling.
    pub(super) fn undressed<'t>(&self, presented: &'t str) -> Option<Cow<'t, str>> {
        let Some(format) = &self.inner.token_format else { return Some(Cow::Borrowed(presented)) };
        format.unwrap(presented).or_else(|| {
            let naked = presented.starts_with(HandleKind::AccessToken.prefix());
            (!naked).then_some(Cow::Borrowed(presented))
        })
    }
}

/// Whether a text can be used as a token, and revoked: `b64token` (RFC 6750 section 2.1).
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let b64 = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    !body.is_empty() && text.len() <= IssuedToken::MAX_LEN && body.bytes().all(b64)
}
