//! The resource server's side: a Bearer token and the scope it must have (RFC 6750).

use crate::model::{Handle, HandleKind, ScopeSet};
use crate::protocol::introspect::{ActiveToken, TokenFacts, access_token};
use crate::protocol::{Context, Refusal};

/// Reads the access token that a request presents. Its record can then be loaded.
pub fn parse(token: &str) -> Result<Handle, Refusal> {
    Handle::parse(HandleKind::AccessToken, token).ok_or(Refusal::TokenInactive)
}

/// Decides whether a request may pass: its token is active and has the whole of `scope`.
pub fn check(
    token: &Handle,
    scope: &ScopeSet,
    facts: TokenFacts<'_>,
    ctx: Context<'_>,
) -> Result<ActiveToken, Refusal> {
    let found = access_token(token, facts, ctx)?;
    require(scope, &found.scope)?;
    Ok(found)
}

/// Decides whether a token that has the scope `found` opens what needs the scope `needed`: all of it
/// must be there.
pub fn require(needed: &ScopeSet, found: &ScopeSet) -> Result<(), Refusal> {
    if needed.is_subset(found) { Ok(()) } else { Err(Refusal::ScopeInsufficient) }
}
