//! Grant types that the host adds (RFC 6749 section 4.5).

use std::fmt;

use async_trait::async_trait;

use super::AuthorizationServer;
use super::step::{Error, Unavailable};
use super::tokens::TokenRequest;
use crate::model::{Client, ClientId, Grant, RevocationReason, SecretString};
use crate::protocol::client_auth::PresentedClient;
use crate::protocol::extension::{self, Authorized, ExtensionRequest};
use crate::protocol::replay::NotAccepted;
use crate::protocol::token::TokenResponse;
use crate::protocol::{Context, Refusal, bearer, revoke, session};
use crate::storage::Key;
use crate::trace::Question;

/// A grant type of the host's: decides what a token request of that type stands for.
///
/// Who the client is, whether it is registered for the grant type, whether the user's account stands,
/// and which scopes exist and are the client's, is seen to by Grantor, as for every other grant.
#[async_trait]
pub trait ExtensionGrant: fmt::Debug + Send + Sync + 'static {
    /// `grant_type` on the wire: an absolute URI (RFC 6749 section 4.5).
    fn grant_type(&self) -> &str;

    /// On whose behalf, and for what, tokens may be issued because of these parameters.
    ///
    /// An assertion that may be used once is remembered with
    /// [`accept_once`](AuthorizationServer::accept_once) of `server`.
    async fn authorize(
        &self,
        parameters: &Parameters,
        client: &Client,
        server: &AuthorizationServer,
    ) -> Result<Authorized, ExtensionError>;
}

/// The parameters of a token request, without those that say who the client is.
#[derive(Clone)]
pub struct Parameters {
    pairs: Vec<(String, SecretString)>,
}

impl Parameters {
    pub(crate) fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let credentials =
            ["client_id", "client_secret", "client_assertion", "client_assertion_type"];
        let pairs = pairs.filter(|(name, _)| !credentials.contains(name));
        Self {
            pairs: pairs.map(|(name, value)| (name.to_owned(), SecretString::new(value))).collect(),
        }
    }

    /// The one value of a parameter. Sent empty it counts as absent, sent twice it is refused
    /// (RFC 6749 section 3.2).
    pub fn get(&self, name: &'static str) -> Result<Option<&str>, ExtensionError> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(Refusal::ParameterRepeated(name).into());
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// The one value of a parameter that has to be there.
    pub fn require(&self, name: &'static str) -> Result<&str, ExtensionError> {
        self.get(name)?.ok_or(Refusal::ParameterMissing(name).into())
    }

    /// All values of a parameter that may be repeated.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.expose())
    }
}

impl fmt::Debug for Parameters {
    /// The names: a value may be an assertion.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

/// Why an extension grant issues nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// The request is refused for this reason.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Whoever has to be asked does not answer: the client is told to come back.
    #[error("the grant type is unavailable: {0}")]
    Unavailable(String),
}

impl ExtensionError {
    /// The assertion, or whatever the client presents, is not good (`invalid_grant`, RFC 6749 section
    /// 5.2). The reason is for the audit log; the client is not told.
    pub fn invalid_grant(reason: impl fmt::Display) -> Self {
        Self::Refused(Refusal::ExtensionGrantRefused(reason.to_string()))
    }

    /// A parameter is not what it should be (`invalid_request`).
    pub const fn malformed(parameter: &'static str) -> Self {
        Self::Refused(Refusal::ParameterMalformed(parameter))
    }

    /// Whoever has to be asked does not answer. The reason is for the operator.
    pub fn unavailable(reason: impl fmt::Display) -> Self {
        Self::Unavailable(reason.to_string())
    }
}

impl From<Error<NotAccepted>> for ExtensionError {
    /// What [`accept_once`](AuthorizationServer::accept_once) said.
    fn from(error: Error<NotAccepted>) -> Self {
        match error {
            Error::Refused(why) => Self::invalid_grant(why),
            Error::Unavailable(cause) => Self::unavailable(cause),
        }
    }
}

impl AuthorizationServer {
    /// The extension grants that were added.
    pub fn extension_grants(&self) -> impl Iterator<Item = &str> {
        self.inner.extension_grants.iter().map(|grant| grant.grant_type())
    }

    /// A token request with a grant type of the host's (RFC 6749 section 4.5).
    pub async fn extension_token(
        &self,
        presented: &PresentedClient,
        grant_type: &str,
        parameters: &Parameters,
    ) -> Result<TokenResponse, Error> {
        let client_id = ClientId::parse(presented.client_id.as_str()).ok();
        let answer =
            self.ask_and_issue(presented, client_id.as_ref(), grant_type, parameters).await;
        match answer {
            Ok(answer) => Ok(answer),
            Err(Asked::Told(error)) => Err(error),
            Err(Asked::Host(ExtensionError::Refused(refusal))) => {
                self.refused(STEP, client_id, &refusal).await;
                Err(Error::Refused(refusal))
            }
            Err(Asked::Host(ExtensionError::Unavailable(reason))) => {
                Err(Unavailable::ExtensionGrant(reason).into())
            }
        }
    }

    async fn ask_and_issue(
        &self,
        presented: &PresentedClient,
        client_id: Option<&ClientId>,
        grant_type: &str,
        parameters: &Parameters,
    ) -> Result<TokenResponse, Asked> {
        let mut grants = self.inner.extension_grants.iter();
        let grant = grants.find(|grant| grant.grant_type() == grant_type);
        let grant = grant.ok_or(ExtensionError::Refused(Refusal::GrantTypeUnsupported))?;
        let mut request = ExtensionRequest {
            grant_type: grant_type.to_owned(),
            scope: parameters.get("scope")?.map(str::to_owned),
            authorized: None,
        };
        // The host is not asked on behalf of somebody who would get nothing in any case.
        let facts = self.load_for(presented, client_id, None).await.map_err(Error::from)?;
        let first = TokenRequest::Extension(request.clone());
        let question = Question::Token { caller: presented, request: &first };
        let client = facts.client(client_id);
        let client = self.verify(client, question, presented, &facts, self.context()).await?;
        extension::may_ask(grant_type, client).map_err(ExtensionError::Refused)?;
        let asked_at = self.now();
        let authorized = grant.authorize(parameters, client.client(), self).await?;

        let subject = authorized.subject.clone();
        request.authorized = Some(authorized);
        let user = subject.as_ref().map(Key::revoked_subject);
        let before = self.load(user.clone().into_iter().collect()).await.map_err(Error::from)?;
        extension::confirm(asked_at, before.revoked_subject(subject.as_ref()))
            .map_err(ExtensionError::Refused)?;
        let request = TokenRequest::Extension(request);
        let issued = self.issue(presented, &request).await?;
        // Everything of the user may have been revoked while the token was made, by somebody who did
        // not see it.
        if let Some(user) = user {
            let after = self.load(vec![user]).await.map_err(Error::from)?;
            let subject = subject.as_ref();
            let (before, after) = (before.revoked_subject(subject), after.revoked_subject(subject));
            if session::confirm(before, after).is_err() {
                let rule = |found: Option<&Grant>, ctx: Context<'_>| {
                    revoke::grant(found, RevocationReason::AccountChanged, ctx)
                };
                if let Ok(token) = bearer::parse(issued.response.access_token.expose()) {
                    let done = self.revoke_by_rule(&Key::grant(token.id), rule).await;
                    done.map_err(Error::from)?;
                }
                return Err(ExtensionError::Refused(Refusal::AccountGone).into());
            }
        }
        Ok(self.dressed(issued).map_err(Error::from)?)
    }
}

/// What the audit log calls it.
const STEP: &str = "extension_grant";

/// Why nothing was issued.
enum Asked {
    /// The audit log knows already.
    Told(Error),
    Host(ExtensionError),
}

impl From<Error> for Asked {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl From<ExtensionError> for Asked {
    fn from(error: ExtensionError) -> Self {
        Self::Host(error)
    }
}
