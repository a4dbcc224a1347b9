//! An access token for the client itself (RFC 6749 section 4.4).

use crate::model::{Active, Grant, GrantState, GrantType, Policy, ScopeSet};
use crate::protocol::client_auth::VerifiedClient;
use crate::protocol::token::{TokenResponse, mint};
use crate::protocol::{Context, Decision, Entropy, Event, Refusal};
use crate::storage::Record;

/// A token request with `grant_type=client_credentials`.
#[derive(Clone, Debug, Default)]
pub struct ClientCredentialsRequest {
    /// `scope`; `None`: the default scope, as far as the client may have it.
    pub scope: Option<String>,
}

/// Decides a client credentials request. No refresh token is ever issued (section 4.4.3): the
/// client can ask again.
pub fn issue(
    request: &ClientCredentialsRequest,
    client: VerifiedClient<'_>,
    ctx: Context<'_>,
    entropy: &mut Entropy,
) -> Decision<TokenResponse> {
    if !client.is_authenticated() || !client.client().may_use(GrantType::ClientCredentials) {
        return Decision::refuse(Refusal::GrantTypeNotAllowed);
    }
    let client = client.client();
    let scope = match requested_scope(request.scope.as_deref(), &client.scope, ctx.policy) {
        Ok(scope) => scope,
        Err(refusal) => return Decision::refuse(refusal),
    };
    let id = entropy.record_id(ctx.now);
    let lifetime = ctx.policy.access_token_lifetime;
    let (access_token, kept) = mint(id, entropy.secret(), None, lifetime, ctx.now);
    let grant = Grant {
        id,
        client_id: client.id.clone(),
        client_epoch: client.epoch,
        created_at: ctx.now,
        state: GrantState::Active(Active {
            subject: None,
            auth_time: None,
            scope: scope.clone(),
            consent_epoch: 0,
            proof: None,
            refresh: None,
            access_tokens: vec![kept],
        }),
    };
    let event = Event::ClientCredentialsIssued {
        client_id: client.id.clone(),
        grant: id,
        scope: scope.clone(),
    };
    let reply = TokenResponse { access_token, expires_in: lifetime, refresh_token: None, scope };
    Decision::write(Record::Grant(grant), event, reply)
}

/// What a request asks for: scopes that exist and that the client may have (RFC 6749 section 3.3).
/// A request without scope asks for the default.
pub(crate) fn requested_scope(
    text: Option<&str>,
    allowed: &ScopeSet,
    policy: &Policy,
) -> Result<ScopeSet, Refusal> {
    let Some(text) = text else {
        let default = policy.default_scope.as_ref().ok_or(Refusal::ScopeMissing)?;
        let scope = default.intersection(allowed);
        return if scope.is_empty() { Err(Refusal::ScopeMissing) } else { Ok(scope) };
    };
    let scope = ScopeSet::parse(text).map_err(|_| Refusal::ScopeMalformed)?;
    if scope.is_empty() {
        return Err(Refusal::ScopeMissing);
    }
    if !scope.iter().all(|token| policy.scopes.contains_key(token)) {
        return Err(Refusal::ScopeUnknown);
    }
    if scope.is_subset(allowed) { Ok(scope) } else { Err(Refusal::ScopeNotAllowed) }
}
