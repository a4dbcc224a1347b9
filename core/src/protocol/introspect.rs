//! What a token means now (RFC 7662), for the introspection endpoint and for protected resources.

use serde_json::{Map, Value};

use crate::model::{
    Account, Client, ClientId, Grant, GrantState, Handle, HandleKind, RecordId, ScopeSet, Subject,
    Timestamp,
};
use crate::protocol::client_auth::VerifiedClient;
use crate::protocol::token::check_standing;
use crate::protocol::{Context, Refusal};

/// An access token that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveToken {
    /// The authorization that it belongs to.
    pub grant: RecordId,
    /// The client that it was issued to.
    pub client_id: ClientId,
    /// The user who allowed it; `None`: the client acts for itself.
    pub subject: Option<Subject>,
    /// What the user is called.
    pub username: Option<String>,
    /// What it opens.
    pub scope: ScopeSet,
    /// What else is said about the user, because a scope that was allowed says so.
    pub claims: Map<String, Value>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// The answer of the introspection endpoint (RFC 7662 section 2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Introspection {
    /// Not active, not known, or not for this caller: there is no telling which.
    Inactive,
    /// An active access token.
    AccessToken(ActiveToken),
    /// A refresh token that could be used now. Shown to nobody but its client.
    RefreshToken(ActiveToken),
}

/// The records that decide whether a token is active.
#[derive(Clone, Copy, Debug)]
pub struct TokenFacts<'a> {
    /// The authorization that the token names.
    pub grant: Option<&'a Grant>,
    /// The client that it was issued to.
    pub client: Option<&'a Client>,
    /// The user who allowed it, if the account still stands.
    pub account: Option<&'a Account>,
}

/// Decides what a caller learns about a token.
///
/// A client may ask about its own tokens; a client registered as resource server may ask about
/// every access token, and is the only one to learn the user's name and claims (section 5).
pub fn introspect(
    token: Option<&Handle>,
    caller: VerifiedClient<'_>,
    facts: TokenFacts<'_>,
    ctx: Context<'_>,
) -> Result<Introspection, Refusal> {
    if !caller.is_authenticated() {
        return Err(Refusal::IntrospectionNotAllowed);
    }
    let caller = caller.client();
    let answer = match token {
        Some(token) if token.kind == HandleKind::AccessToken => {
            access_token(token, facts, ctx).map(Introspection::AccessToken)
        }
        Some(token) if token.kind == HandleKind::RefreshToken => {
            refresh_token(token, facts, ctx).map(Introspection::RefreshToken)
        }
        _ => Err(Refusal::TokenInactive),
    };
    Ok(match answer {
        Ok(Introspection::AccessToken(mut found)) => {
            if caller.resource_server {
                Introspection::AccessToken(found)
            } else if found.client_id == caller.id {
                found.username = None;
                found.claims.clear();
                Introspection::AccessToken(found)
            } else {
                Introspection::Inactive
            }
        }
        Ok(Introspection::RefreshToken(mut found)) if found.client_id == caller.id => {
            found.username = None;
            Introspection::RefreshToken(found)
        }
        Ok(_) | Err(_) => Introspection::Inactive,
    })
}

/// Whether an access token is active: known, unexpired, unrevoked, and its client and user still
/// stand.
pub fn access_token(
    token: &Handle,
    facts: TokenFacts<'_>,
    ctx: Context<'_>,
) -> Result<ActiveToken, Refusal> {
    let TokenFacts { grant: Some(grant), client: Some(client), account } = facts else {
        return Err(Refusal::TokenInactive);
    };
    let active = match &grant.state {
        GrantState::Active(active) if token.kind == HandleKind::AccessToken => active,
        GrantState::Revoked(end) => return Err(Refusal::GrantRevoked(end.reason)),
        _ => return Err(Refusal::TokenInactive),
    };
    let found = active.access_tokens.iter().find(|kept| kept.hash.matches(&token.secret));
    let found = found.ok_or(Refusal::TokenInactive)?;
    if found.expires_at.has_passed(ctx.now) {
        return Err(Refusal::TokenInactive);
    }
    check_standing(grant, client, account)?;
    let scope = active.scope_of(found);
    let user = account.filter(|_| active.subject.is_some());
    Ok(ActiveToken {
        grant: grant.id,
        client_id: grant.client_id.clone(),
        subject: active.subject.clone(),
        username: user.map(|account| account.username.clone()),
        claims: user.map(|account| ctx.policy.claims_shown(&scope, account)).unwrap_or_default(),
        scope,
        issued_at: found.issued_at,
        expires_at: found.expires_at,
    })
}

fn refresh_token(
    token: &Handle,
    facts: TokenFacts<'_>,
    ctx: Context<'_>,
) -> Result<ActiveToken, Refusal> {
    let TokenFacts { grant: Some(grant), client: Some(client), account } = facts else {
        return Err(Refusal::TokenInactive);
    };
    let GrantState::Active(active) = &grant.state else {
        return Err(Refusal::TokenInactive);
    };
    let refresh = active.refresh.as_ref().filter(|refresh| refresh.hash.matches(&token.secret));
    let refresh = refresh.ok_or(Refusal::TokenInactive)?;
    let expires_at = refresh.idle_expires_at.min(refresh.expires_at);
    if expires_at.has_passed(ctx.now) {
        return Err(Refusal::RefreshTokenExpired);
    }
    check_standing(grant, client, account)?;
    Ok(ActiveToken {
        grant: grant.id,
        client_id: grant.client_id.clone(),
        subject: active.subject.clone(),
        username: None,
        claims: Map::new(),
        scope: active.scope.clone(),
        issued_at: grant.created_at,
        expires_at,
    })
}
