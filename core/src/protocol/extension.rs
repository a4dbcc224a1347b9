//! Grant types that the host adds (RFC 6749 section 4.5).
//!
//! What the host has found out (whom an assertion speaks for, and what they allow) is an argument here;
//! what may be issued because of it is decided here.

use serde::{Deserialize, Serialize};

use crate::model::{
    Account, Active, Client, Grant, GrantState, RevokedSubject, ScopeSet, Subject, Timestamp,
};
use crate::protocol::client_auth::VerifiedClient;
use crate::protocol::client_credentials::requested_scope;
use crate::protocol::token::{TokenResponse, mint};
use crate::protocol::{Context, Decision, Entropy, Event, Refusal};
use crate::storage::Record;

/// The longest name of an extension grant, in bytes.
pub const MAX_NAME_LEN: usize = 256;

/// A token request with a grant type of the host's, after the host has looked at it.
#[derive(Clone, Debug)]
pub struct ExtensionRequest {
    /// `grant_type`: an absolute URI.
    pub grant_type: String,
    /// `scope`; `None`: the default scope, as far as it was allowed.
    pub scope: Option<String>,
    /// What the host has found out; `None`: it has not been asked.
    pub authorized: Option<Authorized>,
}

/// On whose behalf tokens may be issued, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorized {
    /// The user; `None`: the client acts for itself, which a public one cannot: anybody can use its name.
    pub subject: Option<Subject>,
    /// The most that may be issued. The client's own scope is a bound besides.
    pub scope: ScopeSet,
}

/// Whether `name` can be an extension grant: an absolute URI (section 4.5), so that it can never be
/// taken for a grant type of a specification.
pub fn is_name(name: &str) -> bool {
    let uri = name.split_once(':').is_some_and(|(scheme, rest)| {
        let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(letters)
            && !rest.is_empty()
    });
    uri && name.len() <= MAX_NAME_LEN && name.bytes().all(|b| b.is_ascii_graphic())
}

/// Decides whether the host is to be asked at all: the client is registered for this grant type.
pub fn may_ask(grant_type: &str, client: VerifiedClient<'_>) -> Result<(), Refusal> {
    if is_registered(client.client(), grant_type) {
        Ok(())
    } else {
        Err(Refusal::GrantTypeNotAllowed)
    }
}

fn is_registered(client: &Client, grant_type: &str) -> bool {
    client.extension_grants.iter().any(|known| known == grant_type)
}

/// Whether what the host has found out since `asked_at` still counts: it may be older than a revocation
/// that came in meanwhile. The host is not asked again: what it accepts once is used up.
pub(crate) fn confirm(
    asked_at: Timestamp,
    revoked: Option<&RevokedSubject>,
) -> Result<(), Refusal> {
    if revoked.is_some_and(|revoked| revoked.at >= asked_at) {
        return Err(Refusal::AccountGone);
    }
    Ok(())
}

/// Decides a token request with a grant type of the host's. No refresh token is issued: the client can
/// ask again.
pub fn issue(
    request: &ExtensionRequest,
    client: VerifiedClient<'_>,
    account: Option<&Account>,
    ctx: Context<'_>,
    entropy: &mut Entropy,
) -> Decision<TokenResponse> {
    if let Err(refusal) = may_ask(&request.grant_type, client) {
        return Decision::refuse(refusal);
    }
    let Some(Authorized { subject, scope: most }) = &request.authorized else {
        return Decision::refuse(Refusal::GrantTypeNotAllowed);
    };
    // A token for the client itself is for a client that has proved who it is, as in section 4.4.
    if subject.is_none() && !client.is_authenticated() {
        return Decision::refuse(Refusal::GrantTypeNotAllowed);
    }
    let client = client.client();
    if subject.is_some() && subject.as_ref() != account.map(|account| &account.subject) {
        return Decision::refuse(Refusal::AccountGone);
    }
    let allowed = most.intersection(&client.scope);
    let scope = match requested_scope(request.scope.as_deref(), &allowed, ctx.policy) {
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
            subject: subject.clone(),
            auth_time: None,
            scope: scope.clone(),
            consent_epoch: 0,
            proof: None,
            refresh: None,
            access_tokens: vec![kept],
        }),
    };
    let event = Event::ExtensionGrantIssued {
        client_id: client.id.clone(),
        grant_type: request.grant_type.clone(),
        subject: subject.clone(),
        grant: id,
        scope: scope.clone(),
    };
    let reply = TokenResponse { access_token, expires_in: lifetime, refresh_token: None, scope };
    Decision::write(Record::Grant(grant), event, reply)
}
