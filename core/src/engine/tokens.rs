//! The endpoints that clients and resource servers call.

use std::time::Duration;

use super::AuthorizationServer;
use super::rate_limit::{RateLimited, seconds_to_wait};
use super::step::{Error, Facts, Unavailable};
use super::token_format::Issued;
use crate::model::{Account, Client, ClientId, Handle, ScopeSet, Subject};
use crate::protocol::bearer;
use crate::protocol::client_auth::{PresentedClient, VerifiedClient, authenticate};
use crate::protocol::client_credentials::{self, ClientCredentialsRequest};
use crate::protocol::code::{self, RedeemRequest};
use crate::protocol::extension::{self, ExtensionRequest};
use crate::protocol::introspect::{self, ActiveToken, Introspection, TokenFacts};
use crate::protocol::rate_limit::Limit;
use crate::protocol::refresh::{self, RefreshRequest};
use crate::protocol::token::TokenResponse;
use crate::protocol::{Context, Decision, Entropy, Event, Refusal, revoke};
use crate::storage::Key;
use crate::trace::{Decided, Question};

/// How often a client may be tried with a wrong secret (RFC 6749 section 2.3.1).
///
/// Only wrong secrets count, and a right one is always let through: a stranger who guesses must not be
/// able to lock the honest client out. That is safe because secrets are made here, with 256 bits: what
/// is bounded is the load and the noise, not the chance to guess.
pub(super) const WRONG_SECRETS: Limit = Limit { burst: 50, refill: Duration::from_secs(1) };

/// A token request, by its grant type (RFC 6749 section 3.2).
#[derive(Clone, Debug)]
pub enum TokenRequest {
    /// `authorization_code`.
    AuthorizationCode(RedeemRequest),
    /// `refresh_token`.
    RefreshToken(RefreshRequest),
    /// `client_credentials`.
    ClientCredentials(ClientCredentialsRequest),
    /// One of the host's own, after the host has looked at it.
    Extension(ExtensionRequest),
}

impl TokenRequest {
    fn grant_key(&self) -> Option<Key> {
        match self {
            Self::AuthorizationCode(request) => {
                request.code.as_ref().map(|code| Key::grant(code.id))
            }
            Self::RefreshToken(request) => {
                request.refresh_token.as_ref().map(|token| Key::grant(token.id))
            }
            Self::ClientCredentials(_) | Self::Extension(_) => None,
        }
    }

    /// In whose name it is made, if that does not stand in the authorization itself.
    const fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Extension(request) => match &request.authorized {
                Some(authorized) => authorized.subject.as_ref(),
                None => None,
            },
            _ => None,
        }
    }

    /// The decision about it, once it is clear who asks.
    pub(crate) fn decide(
        &self,
        client: VerifiedClient<'_>,
        facts: &Facts,
        account: Option<&Account>,
        ctx: Context<'_>,
        entropy: &mut Entropy,
    ) -> Decision<TokenResponse> {
        let grant = self.grant_key().and_then(|key| facts.grant(&key));
        match self {
            Self::AuthorizationCode(request) => {
                code::redeem(request, client, grant, account, ctx, entropy)
            }
            Self::RefreshToken(request) => {
                refresh::refresh(request, client, grant, account, ctx, entropy)
            }
            Self::ClientCredentials(request) => {
                client_credentials::issue(request, client, ctx, entropy)
            }
            Self::Extension(request) => extension::issue(request, client, account, ctx, entropy),
        }
    }

    /// What the audit log calls it.
    pub(crate) const fn step(&self) -> &'static str {
        match self {
            Self::AuthorizationCode(_) => "redeem",
            Self::RefreshToken(_) => "refresh",
            Self::ClientCredentials(_) => "client_credentials",
            Self::Extension(_) => "extension_grant",
        }
    }
}

impl AuthorizationServer {
    /// The token endpoint (RFC 6749 section 3.2).
    pub async fn token(
        &self,
        presented: &PresentedClient,
        request: &TokenRequest,
    ) -> Result<TokenResponse, Error> {
        Ok(self.dressed(self.issue(presented, request).await?)?)
    }

    pub(super) async fn issue(
        &self,
        presented: &PresentedClient,
        request: &TokenRequest,
    ) -> Result<Issued, Error> {
        let client_id = ClientId::parse(presented.client_id.as_str()).ok();
        let grant_key = request.grant_key();
        let mut attempts = self.attempts();
        loop {
            let facts = self.load_for(presented, client_id.as_ref(), grant_key.as_ref()).await?;
            let ctx = self.context();
            let client = facts.client(client_id.as_ref());
            let question = Question::Token { caller: presented, request };
            let client = self.verify(client, question, presented, &facts, ctx).await?;
            let grant = grant_key.as_ref().and_then(|key| facts.grant(key));
            let subject = grant.and_then(|grant| grant.subject()).or(request.subject());
            let account = self.account(subject).await?;
            let prepared = {
                let mut entropy = self.entropy()?;
                let decision = request.decide(client, &facts, account.as_ref(), ctx, &mut entropy);
                self.prepare(&facts, decision, &mut entropy)?
            };
            if self.commit(&mut attempts, &prepared).await? {
                let question = Question::Token { caller: presented, request };
                self.trace(prepared.decided, question, &facts, account.as_ref(), ctx).await;
                self.finish(request.step(), client_id.as_ref(), &prepared.outcome).await;
                let response = prepared.outcome.map_err(Error::Refused)?;
                return Ok(Issued { response, client_id, account, at: ctx.now });
            }
        }
    }

    /// The revocation endpoint (RFC 7009). A text that is no token is revoked already.
    pub async fn revoke_token(
        &self,
        presented: &PresentedClient,
        token: &str,
    ) -> Result<(), Error> {
        let client_id = ClientId::parse(presented.client_id.as_str()).ok();
        let token = self.undressed(token).and_then(|token| revoke::parse(&token));
        let grant_key = token.as_ref().map(|token| Key::grant(token.id));
        let question = Question::Revoke { caller: presented, token: token.as_ref() };
        let mut attempts = self.attempts();
        loop {
            let facts = self.load_for(presented, client_id.as_ref(), grant_key.as_ref()).await?;
            let ctx = self.context();
            let client = facts.client(client_id.as_ref());
            let client = self.verify(client, question, presented, &facts, ctx).await?;
            let Some((token, key)) = token.as_ref().zip(grant_key.as_ref()) else {
                return Ok(());
            };
            let prepared = {
                let mut entropy = self.entropy()?;
                let decision = revoke::by_client(token, client, facts.grant(key), ctx);
                self.prepare(&facts, decision, &mut entropy)?
            };
            if self.commit(&mut attempts, &prepared).await? {
                self.trace(prepared.decided, question, &facts, None, ctx).await;
                self.finish("revoke", client_id.as_ref(), &prepared.outcome).await;
                return prepared.outcome.map_err(Error::Refused);
            }
        }
    }

    /// The introspection endpoint (RFC 7662).
    pub async fn introspect_token(
        &self,
        presented: &PresentedClient,
        token: &str,
    ) -> Result<Introspection, Error> {
        let client_id = ClientId::parse(presented.client_id.as_str()).ok();
        let token = self.undressed(token).and_then(|token| revoke::parse(&token));
        let grant_key = token.as_ref().map(|token| Key::grant(token.id));
        let question = Question::Introspect { caller: presented, token: token.as_ref() };
        let mut facts = self.load_for(presented, client_id.as_ref(), grant_key.as_ref()).await?;
        let ctx = self.context();
        // Who asks is settled before anything is looked up for the answer.
        let caller = facts.loaded_client(client_id.as_ref());
        let caller = caller.as_ref().and_then(|loaded| loaded.record.as_client());
        let caller = self.verify(caller, question, presented, &facts, ctx).await?;
        let account = self.complete(&mut facts, grant_key.as_ref()).await?;
        let token_facts = TokenFacts::of(&facts, grant_key.as_ref(), account.as_ref());
        let answer = introspect::introspect(token.as_ref(), caller, token_facts, ctx);
        let decided = self.decided(|| Decided::of_answer(&answer));
        self.trace(decided, question, &facts, account.as_ref(), ctx).await;
        self.finish("introspect", client_id.as_ref(), &answer).await;
        answer.map_err(Error::Refused)
    }

    /// The resource server's check: whether this Bearer token is active and has all of `scope`
    /// (RFC 6750).
    pub async fn check_bearer(&self, token: &str, scope: &ScopeSet) -> Result<ActiveToken, Error> {
        let parsed = self.undressed(token).ok_or(Refusal::TokenInactive);
        let token: Handle = match parsed.and_then(|token| bearer::parse(&token)) {
            Ok(token) => token,
            Err(refusal) => {
                self.refused("bearer", None, &refusal).await;
                return Err(Error::Refused(refusal));
            }
        };
        let key = Key::grant(token.id);
        let mut facts = self.load(vec![key.clone()]).await?;
        let account = self.complete(&mut facts, Some(&key)).await?;
        let ctx = self.context();
        let token_facts = TokenFacts::of(&facts, Some(&key), account.as_ref());
        let answer = bearer::check(&token, scope, token_facts, ctx);
        let decided = self.decided(|| Decided::of_answer(&answer));
        let question = Question::Bearer { token: &token, scope };
        self.trace(decided, question, &facts, account.as_ref(), ctx).await;
        self.finish("bearer", token_facts.grant.map(|grant| &grant.client_id), &answer).await;
        answer.map_err(Error::Refused)
    }

    /// Loads what a token stands on: its client's record, its user's account.
    async fn complete(
        &self,
        facts: &mut Facts,
        grant_key: Option<&Key>,
    ) -> Result<Option<Account>, Error> {
        let found = grant_key.and_then(|key| Some((key, facts.grant(key)?)));
        let Some((grant_key, grant)) = found else { return Ok(None) };
        let subject = grant.subject().cloned();
        self.load_client_of(facts, grant_key).await?;
        Ok(self.account(subject.as_ref()).await?)
    }

    /// Whether the client is who it says.
    pub(super) async fn verify<'a>(
        &self,
        client: Option<&'a Client>,
        question: Question<'_>,
        presented: &PresentedClient,
        facts: &Facts,
        ctx: Context<'_>,
    ) -> Result<VerifiedClient<'a>, Error> {
        match authenticate(presented, client, ctx.now) {
            Ok(verified) => Ok(verified),
            // Hardly any request comes here, and none should carry the room for it.
            Err(refusal) => {
                Err(Box::pin(self.not_verified(refusal, question, presented, facts, ctx)).await)
            }
        }
    }

    async fn not_verified(
        &self,
        refusal: Refusal,
        question: Question<'_>,
        presented: &PresentedClient,
        facts: &Facts,
        ctx: Context<'_>,
    ) -> Error {
        let client_id = ClientId::parse(presented.client_id.as_str()).ok();
        let decided = self.decided(|| Decided::refused(&refusal));
        self.trace(decided, question, facts, None, ctx).await;
        // Whether the name is registered must not show in when the patience ends (E14).
        let guessed = presented.secret.is_some();
        let refusal = match client_id.as_ref().filter(|_| guessed) {
            Some(name) => match self.count_wrong_secret(name, refusal).await {
                Ok(refusal) => refusal,
                Err(cause) => return cause.into(),
            },
            None => refusal,
        };
        self.refused(question.step(), client_id, &refusal).await;
        Error::Refused(refusal)
    }

    /// A refusal for a wrong secret, or for one too many.
    async fn count_wrong_secret(
        &self,
        name: &ClientId,
        refusal: Refusal,
    ) -> Result<Refusal, Unavailable> {
        match self.inner.wrong_secrets.take(name.as_str().as_bytes()).await {
            Ok(()) => Ok(refusal),
            Err(RateLimited::Unavailable(cause)) => Err(cause),
            Err(RateLimited::Exceeded { retry_after }) => {
                let retry_after_seconds = seconds_to_wait(retry_after);
                Ok(Refusal::TooManyWrongSecrets { retry_after_seconds })
            }
        }
    }

    /// Tells of a refusal, if it is one.
    async fn finish<T>(
        &self,
        step: &'static str,
        client_id: Option<&ClientId>,
        outcome: &Result<T, Refusal>,
    ) {
        if let Err(refusal) = outcome {
            self.refused(step, client_id.cloned(), refusal).await;
        }
    }

    pub(crate) async fn refused(
        &self,
        step: &'static str,
        client_id: Option<ClientId>,
        refusal: &Refusal,
    ) {
        let Some(audit) = &self.inner.audit else { return };
        let (reason, clause) = (refusal.to_string(), refusal.clause());
        // Hardly any answer is one, and none should carry the room for it.
        let event = Box::new(Event::Refused { client_id, step, reason, clause });
        audit.record(self.now(), &event).await;
    }
}

impl<'a> TokenFacts<'a> {
    /// What was loaded, sorted.
    pub(crate) fn of(
        facts: &'a Facts,
        grant_key: Option<&Key>,
        account: Option<&'a Account>,
    ) -> Self {
        let grant = grant_key.and_then(|key| facts.grant(key));
        let client = facts.client(grant.map(|grant| &grant.client_id));
        Self { grant, client, account }
    }
}
