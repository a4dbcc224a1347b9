//! The refresh token (RFC 6749 section 6, RFC 9700 section 4.14.2).

use crate::model::{
    Account, Active, Grant, GrantState, GrantType, Handle, HandleKind, PreviousRefreshToken,
    RefreshPolicy, RefreshToken, RevocationReason, Rotation, ScopeSet, Secret, SecretHash,
};
use crate::protocol::client_auth::VerifiedClient;
use crate::protocol::token::{self, TokenResponse, check_standing, keep, mint};
use crate::protocol::{Context, Decision, Entropy, Event, Refusal};
use crate::storage::Record;

/// A token request with `grant_type=refresh_token`.
#[derive(Clone, Debug)]
pub struct RefreshRequest {
    /// The refresh token, already read as a handle with [`parse`]; `None`: the text was no refresh token.
    pub refresh_token: Option<Handle>,
    /// `scope`; `None`: all that was granted.
    pub scope: Option<String>,
}

/// Reads a `refresh_token`. Its record can then be loaded.
pub fn parse(refresh_token: &str) -> Option<Handle> {
    Handle::parse(HandleKind::RefreshToken, refresh_token)
}

/// Decides a refresh.
pub fn refresh(
    request: &RefreshRequest,
    client: VerifiedClient<'_>,
    grant: Option<&Grant>,
    account: Option<&Account>,
    ctx: Context<'_>,
    entropy: &mut Entropy,
) -> Decision<TokenResponse> {
    let policy = ctx.policy.refresh.filter(|_| client.client().may_use(GrantType::RefreshToken));
    let Some(policy) = policy else {
        return Decision::refuse(Refusal::GrantTypeNotAllowed);
    };
    let Some((grant, presented)) = grant.zip(request.refresh_token.as_ref()) else {
        return Decision::refuse(Refusal::RefreshTokenUnknown);
    };
    if grant.client_id != client.client().id {
        return Decision::refuse(Refusal::RefreshTokenOfAnotherClient);
    }
    let active = match &grant.state {
        GrantState::Active(active) => active,
        GrantState::Revoked(end) => return Decision::refuse(Refusal::GrantRevoked(end.reason)),
        GrantState::Pending(_) | GrantState::CodeIssued(_) => {
            return Decision::refuse(Refusal::RefreshTokenUnknown);
        }
    };
    let Some(token) = &active.refresh else {
        return Decision::refuse(Refusal::RefreshTokenUnknown);
    };
    if let Err(refusal) = check_standing(grant, client.client(), account) {
        return Decision::refuse(refusal);
    }
    let secret = &presented.secret;
    let step = Step { request, presented: secret, client, grant, active, token, policy, ctx };
    if token.hash.matches(secret) {
        return step.renew(entropy);
    }
    let previous = token.previous.as_ref().filter(|previous| previous.hash.matches(secret));
    match previous {
        Some(previous) if ctx.now.since(previous.rotated_at) < policy.retry_window => {
            step.repeat(previous)
        }
        Some(_) => step.reuse(),
        None if token.is_of_family(secret) => step.reuse(),
        None => Decision::refuse(Refusal::RefreshTokenUnknown),
    }
}

/// What a refresh looks at, once it is clear whose it is.
#[derive(Clone, Copy)]
struct Step<'a> {
    request: &'a RefreshRequest,
    presented: &'a Secret,
    client: VerifiedClient<'a>,
    grant: &'a Grant,
    active: &'a Active,
    token: &'a RefreshToken,
    policy: RefreshPolicy,
    ctx: Context<'a>,
}

impl Step<'_> {
    /// The current token: a new access token, and a new refresh token where the policy rotates.
    fn renew(self, entropy: &mut Entropy) -> Decision<TokenResponse> {
        let Self { presented, grant, token, policy, ctx, .. } = self;
        if token.idle_expires_at.has_passed(ctx.now) || token.expires_at.has_passed(ctx.now) {
            return Decision::refuse(Refusal::RefreshTokenExpired);
        }
        let scope = match self.scope() {
            Ok(scope) => scope,
            Err(refusal) => return Decision::refuse(refusal),
        };
        let rotates = match policy.rotation {
            Rotation::Always => true,
            Rotation::PublicClients => !self.client.client().proves_identity(),
        };
        let mut renewed = token.clone();
        renewed.idle_expires_at = ctx.now.plus(policy.idle_lifetime).min(token.expires_at);
        let (access_secret, refresh_token) = if rotates {
            let nonce = entropy.bytes();
            let successor = Successor::derive(presented, &token.family, &nonce);
            renewed.hash = SecretHash::of(&successor.refresh);
            let hash = SecretHash::of(presented);
            renewed.previous = Some(PreviousRefreshToken { hash, nonce, rotated_at: ctx.now });
            (successor.access, Some(successor.refresh))
        } else {
            (entropy.secret(), None)
        };
        let whole = &self.active.scope;
        let narrowed = (scope != *whole).then(|| scope.bits_in(whole));
        let lifetime = ctx.policy.access_token_lifetime;
        let (access_token, kept) = mint(grant.id, access_secret, narrowed, lifetime, ctx.now);
        let mut active = self.active.clone();
        active.refresh = Some(renewed);
        keep(&mut active, kept, ctx.now);
        let next = grant.moved_to(GrantState::Active(active));
        let (client_id, id) = (grant.client_id.clone(), grant.id);
        let event = Event::Refreshed { client_id, grant: id, rotated: rotates };
        let refresh_token =
            refresh_token.map(|secret| Handle::new(HandleKind::RefreshToken, id, secret).encode());
        let reply = TokenResponse { access_token, expires_in: lifetime, refresh_token, scope };
        Decision::write(Record::Grant(next), event, reply)
    }

    /// The predecessor of the current token, inside the window, and its successor was not used: the
    /// first answer was lost, or is on its way. The same answer again.
    fn repeat(self, previous: &PreviousRefreshToken) -> Decision<TokenResponse> {
        let Self { presented, grant, active, token, ctx, .. } = self;
        let successor = Successor::derive(presented, &token.family, &previous.nonce);
        let hash = SecretHash::of(&successor.access);
        let issued = active.access_tokens.iter().find(|token| token.hash.same(&hash));
        let Some(issued) = issued.filter(|issued| !issued.expires_at.has_passed(ctx.now)) else {
            // The client has revoked it meanwhile, so the answer did arrive.
            return Decision::refuse(Refusal::RetryDiffers);
        };
        let scope = active.scope_of(issued);
        if self.scope() != Ok(scope.clone()) {
            return Decision::refuse(Refusal::RetryDiffers);
        }
        let id = grant.id;
        let mut decision = Decision::answer(TokenResponse {
            access_token: Handle::new(HandleKind::AccessToken, id, successor.access).encode(),
            expires_in: issued.expires_at.since(ctx.now),
            refresh_token: Some(
                Handle::new(HandleKind::RefreshToken, id, successor.refresh).encode(),
            ),
            scope,
        });
        decision.events =
            vec![Event::RefreshRetried { client_id: grant.client_id.clone(), grant: id }];
        decision
    }

    /// A retired token: it is in two places, and the server cannot tell which is the honest one.
    fn reuse(self) -> Decision<TokenResponse> {
        let reason = RevocationReason::RefreshTokenReused;
        let (client_id, grant) = (self.grant.client_id.clone(), self.grant.id);
        let next = token::revoked(self.grant, reason, self.ctx.now);
        let event = Event::GrantRevoked { client_id, grant, reason };
        Decision::write_and_refuse(Record::Grant(next), event, Refusal::RefreshTokenReused)
    }

    /// What the new access token opens: what is asked for, never more than was granted, and never
    /// what the client may no longer have (ATTACKS D05).
    fn scope(&self) -> Result<ScopeSet, Refusal> {
        let granted = &self.active.scope;
        let asked = match &self.request.scope {
            Some(text) => ScopeSet::parse(text).map_err(|_| Refusal::ScopeMalformed)?,
            None => granted.clone(),
        };
        if asked.is_empty() || !asked.is_subset(granted) {
            return Err(Refusal::ScopeWidened);
        }
        let allowed = asked.intersection(&self.client.client().scope);
        if allowed.is_empty() { Err(Refusal::ScopeNotAllowed) } else { Ok(allowed) }
    }
}

/// The tokens that follow a presented one.
///
/// They are derived from the presented token's own secret and a random nonce that the record keeps.
/// So the server can repeat the answer without having stored it, and neither a copy of the store
/// (which lacks the secret) nor the retired token (without the nonce) yields them.
pub(crate) struct Successor {
    pub(crate) refresh: Secret,
    pub(crate) access: Secret,
}

impl Successor {
    pub(crate) fn derive(presented: &Secret, family: &[u8; 16], nonce: &[u8; 16]) -> Self {
        let labels = ["grantor next refresh token", "grantor next access token"];
        let [refresh, access] = presented.derive_each(labels, nonce);
        Self { refresh: RefreshToken::mark(family, &refresh), access }
    }
}
