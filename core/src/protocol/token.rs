//! What the token endpoint answers, whichever grant led there (RFC 6749 section 5.1), and the checks
//! that every use of an authorization shares.

use std::time::Duration;

use crate::model::{
    AccessToken, Account, Active, Client, Grant, GrantState, Handle, HandleKind, RecordId,
    Revocation, RevocationReason, ScopeSet, Secret, SecretHash, SecretString, Timestamp,
};
use crate::protocol::Refusal;

/// A successful token response (RFC 6749 section 5.1).
#[derive(Clone, Debug)]
#[must_use]
pub struct TokenResponse {
    /// The access token; its type is `Bearer` (RFC 6750).
    pub access_token: SecretString,
    /// How long it works from now on.
    pub expires_in: Duration,
    /// The refresh token to use from now on; `None`: none was issued, or the presented one stays.
    pub refresh_token: Option<SecretString>,
    /// What the access token opens.
    pub scope: ScopeSet,
}

/// A new access token and what the record keeps of it.
pub(crate) fn mint(
    grant: RecordId,
    secret: Secret,
    narrowed: Option<u64>,
    lifetime: Duration,
    now: Timestamp,
) -> (SecretString, AccessToken) {
    let hash = SecretHash::of(&secret);
    let text = Handle::new(HandleKind::AccessToken, grant, secret).encode();
    (text, AccessToken { hash, narrowed, issued_at: now, expires_at: now.plus(lifetime) })
}

/// Adds an access token, and drops what has expired or is over the bound.
pub(crate) fn keep(active: &mut Active, token: AccessToken, now: Timestamp) {
    active.access_tokens.retain(|token| !token.expires_at.has_passed(now));
    let over = (active.access_tokens.len() + 1).saturating_sub(Active::MAX_ACCESS_TOKENS);
    active.access_tokens.drain(..over);
    active.access_tokens.push(token);
}

/// Whether an authorization still stands on what it was built on: its client and its user.
pub(crate) fn check_standing(
    grant: &Grant,
    client: &Client,
    account: Option<&Account>,
) -> Result<(), Refusal> {
    if client.removed_at.is_some() {
        return Err(Refusal::ClientRemoved);
    }
    if grant.client_epoch != client.epoch {
        return Err(Refusal::ClientGrantsRevoked);
    }
    match (grant.subject(), account) {
        (None, _) => Ok(()),
        (Some(subject), Some(account)) if account.subject == *subject => Ok(()),
        (Some(_), _) => Err(Refusal::AccountGone),
    }
}

/// The authorization, ended. What ended before stays as it ended.
pub(crate) fn revoked(grant: &Grant, reason: RevocationReason, now: Timestamp) -> Grant {
    match &grant.state {
        GrantState::Revoked(_) => grant.clone(),
        _ => {
            let subject = grant.subject().cloned();
            grant.moved_to(GrantState::Revoked(Revocation { reason, at: now, subject }))
        }
    }
}
