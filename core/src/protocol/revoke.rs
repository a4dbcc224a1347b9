//! Revocation: by the client (RFC 7009), by the user, by the operator.

use crate::model::{
    Active, Client, Consent, Grant, GrantState, Handle, HandleKind, RevocationReason,
    RevokedSubject, Subject,
};
use crate::protocol::client_auth::VerifiedClient;
use crate::protocol::{Context, Decision, Event, Refusal, token};
use crate::storage::Record;

/// Reads a token that may be revoked or introspected: an access token or a refresh token. The hint
/// is not needed, since the token says what it is (RFC 7009 section 2.1).
pub fn parse(token: &str) -> Option<Handle> {
    Handle::parse(HandleKind::AccessToken, token)
        .or_else(|| Handle::parse(HandleKind::RefreshToken, token))
}

/// Decides a revocation request. A token that does not exist is revoked already (section 2.2).
pub fn by_client(
    token: &Handle,
    client: VerifiedClient<'_>,
    grant: Option<&Grant>,
    ctx: Context<'_>,
) -> Decision<()> {
    let Some(grant) = grant else {
        return Decision::answer(());
    };
    let GrantState::Active(active) = &grant.state else {
        return Decision::answer(());
    };
    let (client_id, id) = (grant.client_id.clone(), grant.id);
    let (next, event) = match token.kind {
        HandleKind::RefreshToken if is_refresh_token_of(active, token) => {
            // Whichever token of the family: the client wants the authorization to end, and with it
            // every access token (section 2.1).
            let reason = RevocationReason::Client;
            let next = token::revoked(grant, reason, ctx.now);
            (next, Event::GrantRevoked { client_id, grant: id, reason })
        }
        HandleKind::AccessToken => {
            let mut rest = active.clone();
            rest.access_tokens.retain(|kept| !kept.hash.matches(&token.secret));
            if rest.access_tokens.len() == active.access_tokens.len() {
                return Decision::answer(());
            }
            let mut next = grant.clone();
            next.state = GrantState::Active(rest);
            (next, Event::AccessTokenRevoked { client_id, grant: id })
        }
        _ => return Decision::answer(()),
    };
    // Only the holder of the token gets here, so the answer tells nobody anything new.
    if grant.client_id != client.client().id {
        return Decision::refuse(Refusal::TokenOfAnotherClient);
    }
    Decision::write(Record::Grant(next), event, ())
}

fn is_refresh_token_of(active: &Active, token: &Handle) -> bool {
    active.refresh.as_ref().is_some_and(|refresh| {
        refresh.hash.matches(&token.secret) || refresh.is_of_family(&token.secret)
    })
}

/// Ends one authorization for a reason of the server's own.
pub fn grant(grant: Option<&Grant>, reason: RevocationReason, ctx: Context<'_>) -> Decision<bool> {
    let Some(grant) = grant else {
        return Decision::answer(false);
    };
    if matches!(grant.state, GrantState::Revoked(_)) {
        return Decision::answer(false);
    }
    let event = Event::GrantRevoked { client_id: grant.client_id.clone(), grant: grant.id, reason };
    Decision::write(Record::Grant(token::revoked(grant, reason, ctx.now)), event, true)
}

/// Ends an authorization if it stands on an earlier consent than `consent` is now: what a
/// withdrawal does to every grant of its user.
pub fn withdrawn_grant(
    found: Option<&Grant>,
    consent: &Consent,
    ctx: Context<'_>,
) -> Decision<bool> {
    let stands_on_it = |grant: &&Grant| {
        grant.client_id == consent.client_id
            && grant.subject() == Some(&consent.subject)
            && grant.consent_epoch().is_some_and(|epoch| epoch < consent.epoch)
    };
    grant(found.filter(stands_on_it), RevocationReason::User, ctx)
}

/// Revokes everything that was ever issued to a client, in one write: every use of an
/// authorization compares its number with the client's.
pub fn everything_of_client(client: Option<&Client>) -> Decision<()> {
    let Some(client) = client else {
        return Decision::refuse(Refusal::ClientUnknown);
    };
    let mut next = client.clone();
    next.epoch = next.epoch.wrapping_add(1);
    let event = Event::ClientGrantsRevoked { client_id: client.id.clone() };
    Decision::write(Record::Client(next), event, ())
}

/// Begins to revoke everything of a user: what is under way sees it. The grants and sessions that
/// exist are ended next, one by one.
pub fn subject(
    subject: &Subject,
    revoked: Option<&RevokedSubject>,
    ctx: Context<'_>,
) -> Decision<()> {
    let epoch = revoked.map_or(0, |revoked| revoked.epoch).wrapping_add(1);
    let next = RevokedSubject { subject: subject.clone(), epoch, at: ctx.now };
    let event = Event::SubjectRevoked { subject: subject.clone() };
    Decision::write(Record::RevokedSubject(next), event, ())
}
