//! The authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3, RFC 9207), and where it
//! goes from here.

mod outcome;
mod request;

use std::time::Duration;

pub use self::outcome::{
    Answer, AuthorizationError, AuthorizationResponse, ClientSummary, ConsentPrompt, Destination,
    ErrorDestination, Interaction, Outcome, RequestedScope,
};
pub use self::request::{AuthorizationRequest, MAX_STATE_LEN};
use self::request::{match_redirect_uri, validate};
use crate::model::{
    Account, Authentication, Client, ClientType, CodeIssued, Consent, Grant, GrantState, GrantType,
    Handle, HandleKind, PendingAuthorization, RedirectUriKind, RevokedSubject, ScopeSet, Secret,
    SecretString, redirect_uri_kind,
};
use crate::protocol::code::{self, Allowed};
use crate::protocol::{Context, Decision, Entropy, Event, Refusal};
use crate::storage::Record;

/// The user as far as this request shows one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visitor<'a> {
    /// The secret in the browser's cookie, if it has one.
    pub browser: Option<&'a Secret>,
    /// Who is signed in.
    pub authentication: Option<&'a Authentication>,
    /// That user's account, if it still stands.
    pub account: Option<&'a Account>,
    /// What that user has allowed this client so far.
    pub consent: Option<&'a Consent>,
    /// Whether everything of that user was once revoked.
    pub revoked: Option<&'a RevokedSubject>,
}

impl<'a> Visitor<'a> {
    /// How often everything of that user was revoked.
    pub(crate) fn subject_epoch(&self) -> u32 {
        subject_epoch(self.revoked)
    }

    /// Who is signed in to an account that stands.
    pub(crate) fn signed_in(&self) -> Option<(&'a Authentication, &'a Account)> {
        let (authentication, account) = self.authentication.zip(self.account)?;
        (account.subject == authentication.subject).then_some((authentication, account))
    }
}

/// Decides an authorization request that just arrived.
///
/// `client` is the record of the `client_id` in the request.
pub fn begin(
    request: &AuthorizationRequest,
    client: Option<&Client>,
    visitor: Visitor<'_>,
    ctx: Context<'_>,
    entropy: &mut Entropy,
) -> Decision<Outcome, AuthorizationError> {
    let (client, redirect) = match match_redirect_uri(request, client) {
        Ok(matched) => matched,
        Err(refusal) => return Decision::refuse(AuthorizationError::page(refusal)),
    };
    let destination = ErrorDestination {
        redirect_uri: redirect.uri.clone(),
        state: request.state.clone().filter(|state| state.len() <= MAX_STATE_LEN),
    };
    let to_client = |refusal| {
        let destination = Some(destination.clone());
        Decision::refuse(AuthorizationError { refusal, destination })
    };
    let interaction = entropy.secret();
    let browser = visitor.browser.cloned().unwrap_or_else(|| entropy.secret());
    let pending = match validate(request, client, redirect, &interaction, &browser, ctx) {
        Ok(pending) => pending,
        Err(refusal) => return to_client(refusal),
    };
    let grant = Grant {
        id: entropy.record_id(ctx.now),
        client_id: client.id.clone(),
        client_epoch: client.epoch,
        created_at: ctx.now,
        state: GrantState::Pending(pending.clone()),
    };
    let handle = Handle::new(HandleKind::Interaction, grant.id, interaction);
    let page = describe(handle, browser, &pending, client);
    match next(&pending, client, visitor, ctx) {
        Err(refusal) => to_client(refusal),
        // No page was shown, so no page can be sent twice: the code is as random as anything.
        Ok(Next::Issue(allowed)) => issue(grant, &pending, allowed, &entropy.secret(), ctx),
        Ok(question) => {
            let event =
                Event::AuthorizationRequested { client_id: client.id.clone(), grant: grant.id };
            Decision::write(Record::Grant(grant), event, question.ask(page, &pending, client))
        }
    }
}

/// Decides where a pending authorization goes now: the user has signed in, or reloads the page.
pub fn resume(
    handle: &Handle,
    grant: Option<&Grant>,
    client: Option<&Client>,
    visitor: Visitor<'_>,
    ctx: Context<'_>,
) -> Decision<Outcome, AuthorizationError> {
    let Open { grant, pending, client, browser } = match open(handle, grant, client, visitor, ctx) {
        Ok(opened) => opened,
        Err(refusal) => return Decision::refuse(AuthorizationError::page(refusal)),
    };
    let page = describe(handle.clone(), browser.clone(), pending, client);
    match next(pending, client, visitor, ctx) {
        Err(refusal) => Decision::refuse(AuthorizationError {
            refusal,
            destination: Some(destination_of(pending)),
        }),
        Ok(Next::Issue(allowed)) => {
            issue(grant.clone(), pending, allowed, &code_secret(&handle.secret), ctx)
        }
        Ok(question) => Decision::answer(question.ask(page, pending, client)),
    }
}

/// The secret of the code that an interaction leads to. It follows from the interaction's own
/// secret, so that a consent page that is sent twice gets the same code twice.
pub(crate) fn code_secret(interaction: &Secret) -> Secret {
    interaction.derive("grantor code", b"")
}

/// The page was made for this user.
pub(crate) fn ticket(interaction: &Secret, account: &Account) -> Secret {
    interaction.derive("grantor consent ticket", account.subject.as_str().as_bytes())
}

pub(crate) fn destination_of(pending: &PendingAuthorization) -> ErrorDestination {
    ErrorDestination { redirect_uri: pending.redirect_uri.clone(), state: pending.state.clone() }
}

/// A pending authorization that this browser may answer.
pub(crate) struct Open<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) pending: &'a PendingAuthorization,
    pub(crate) client: &'a Client,
    pub(crate) browser: &'a Secret,
}

/// Opens a pending authorization for the browser that began it, and for no other.
pub(crate) fn open<'a>(
    handle: &Handle,
    grant: Option<&'a Grant>,
    client: Option<&'a Client>,
    visitor: Visitor<'a>,
    ctx: Context<'_>,
) -> Result<Open<'a>, Refusal> {
    let grant = grant.ok_or(Refusal::InteractionUnknown)?;
    let pending = match &grant.state {
        GrantState::Pending(pending) => pending,
        GrantState::CodeIssued(_) | GrantState::Active(_) | GrantState::Revoked(_) => {
            return Err(Refusal::InteractionFinished);
        }
    };
    if !pending.interaction.matches(&handle.secret) {
        return Err(Refusal::InteractionUnknown);
    }
    let browser = visitor.browser.filter(|secret| pending.browser.matches(secret));
    let browser = browser.ok_or(Refusal::InteractionOfAnotherBrowser)?;
    if pending.expires_at.has_passed(ctx.now) {
        return Err(Refusal::InteractionExpired);
    }
    let client = client.filter(|client| client.id == grant.client_id);
    let client = client.ok_or(Refusal::ClientUnknown)?;
    if client.removed_at.is_some() || client.epoch != grant.client_epoch {
        return Err(Refusal::ClientRemoved);
    }
    // The registration may have changed while the page was open (ATTACKS A16).
    let registered = client
        .redirect_uris
        .iter()
        .any(|uri| uri.matches(&pending.redirect_uri, client.localhost_any_port));
    if !registered {
        return Err(Refusal::RedirectUriNotRegistered);
    }
    Ok(Open { grant, pending, client, browser })
}

/// The user's answer is in (or was, before): the authorization becomes a code.
pub(crate) fn issue(
    mut grant: Grant,
    pending: &PendingAuthorization,
    allowed: Allowed,
    secret: &Secret,
    ctx: Context<'_>,
) -> Decision<Outcome, AuthorizationError> {
    let event = Event::CodeIssued {
        client_id: grant.client_id.clone(),
        subject: allowed.subject.clone(),
        grant: grant.id,
        scope: allowed.scope.clone(),
    };
    let code = Handle::new(HandleKind::Code, grant.id, secret.clone()).encode();
    grant.state = GrantState::CodeIssued(code::issued(pending, allowed, secret, ctx));
    let response = AuthorizationResponse {
        redirect_uri: pending.redirect_uri.clone(),
        answer: Answer::Code(code),
        state: pending.state.clone(),
        iss: ctx.issuer.as_str().to_owned(),
    };
    Decision::write(Record::Grant(grant), event, Outcome::Redirect(response))
}

/// What is left to do.
enum Next<'a> {
    Login,
    Reauthenticate,
    Consent { account: &'a Account, consent: Option<&'a Consent> },
    Issue(Allowed),
}

fn next<'a>(
    pending: &PendingAuthorization,
    client: &Client,
    visitor: Visitor<'a>,
    ctx: Context<'_>,
) -> Result<Next<'a>, Refusal> {
    let unless_silent = |question, refusal| {
        if pending.prompt.none { Err(refusal) } else { Ok(question) }
    };
    let Some((authentication, account)) = visitor.signed_in() else {
        return unless_silent(Next::Login, Refusal::LoginRequired);
    };
    // A sign-in during this authorization satisfies whatever was asked, or `max_age=0` could never
    // be answered.
    let since_request = authentication.auth_time >= pending.requested_at;
    let age = ctx.now.since(authentication.auth_time);
    let stale = pending.max_age.is_some_and(|max| age > Duration::from_secs(max));
    if !since_request && (pending.prompt.login || pending.prompt.select_account || stale) {
        return unless_silent(Next::Reauthenticate, Refusal::LoginRequired);
    }
    let consent = visitor
        .consent
        .filter(|consent| consent.subject == account.subject && consent.client_id == client.id);
    let remembered = ctx.policy.remember_consent
        && consent.is_some_and(|consent| consent.covers(&pending.scope));
    if (client.skip_consent || remembered)
        && is_identity_assured(client, &pending.redirect_uri, ctx)
        && !pending.prompt.consent
    {
        return Ok(Next::Issue(Allowed {
            subject: account.subject.clone(),
            auth_time: authentication.auth_time,
            scope: pending.scope.clone(),
            consent_epoch: consent.map_or(0, |consent| consent.epoch),
            subject_epoch: visitor.subject_epoch(),
        }));
    }
    unless_silent(Next::Consent { account, consent }, Refusal::ConsentRequired)
}

/// Whether a request in this client's name can be trusted to come from it without asking the user
/// again (RFC 6749 section 10.2, RFC 8252 section 8.6).
fn is_identity_assured(client: &Client, redirect_uri: &str, ctx: Context<'_>) -> bool {
    match redirect_uri_kind(redirect_uri) {
        _ if client.proves_identity() => true,
        RedirectUriKind::Https => {
            ctx.policy.remember_public_https && client.client_type == ClientType::Public
        }
        RedirectUriKind::Loopback | RedirectUriKind::PrivateUse => false,
    }
}

fn describe(
    handle: Handle,
    browser: Secret,
    pending: &PendingAuthorization,
    client: &Client,
) -> Interaction {
    Interaction {
        handle,
        browser,
        client: client.into(),
        destination: Destination { redirect_uri: pending.redirect_uri.clone() },
        login_hint: pending.login_hint.clone(),
        ui_locales: pending.ui_locales.clone(),
    }
}

impl Next<'_> {
    fn ask(
        self,
        interaction: Interaction,
        pending: &PendingAuthorization,
        client: &Client,
    ) -> Outcome {
        match self {
            Self::Login => Outcome::LoginRequired(interaction),
            Self::Consent { account, consent } => {
                let before = consent.map(|consent| &consent.scope);
                let ticket = SecretString::of(&ticket(&interaction.handle.secret, account));
                Outcome::ConsentRequired(ConsentPrompt {
                    scope: requested(&pending.scope, before),
                    account: account.clone(),
                    ticket,
                    interaction,
                    renewable: client.may_use(GrantType::RefreshToken),
                })
            }
            Self::Reauthenticate | Self::Issue(_) => Outcome::ReauthenticationRequired(interaction),
        }
    }
}

fn requested(asked: &ScopeSet, before: Option<&ScopeSet>) -> Vec<RequestedScope> {
    let scope = |name: &str| RequestedScope {
        name: name.to_owned(),
        allowed_before: before.is_some_and(|before| before.contains(name)),
    };
    asked.iter().map(|token| scope(token.as_str())).collect()
}

/// The record that an interaction is about.
pub fn parse_interaction(handle: &str) -> Result<Handle, Refusal> {
    Handle::parse(HandleKind::Interaction, handle).ok_or(Refusal::InteractionUnknown)
}

/// Whether a code that is about to be handed out still stands on what it was issued on: the user's
/// session, the user's consent, and the user.
///
/// The code is written first and these are looked at again afterwards; a withdrawal marks the consent
/// first, and a revocation of everything the user, and each walks the grants afterwards. Whichever
/// comes first, one of the two sees the other. Stopping in between is safe: nobody has the code yet.
pub fn confirm(
    issued: &CodeIssued,
    signed_in: bool,
    consent: Option<&Consent>,
    revoked: Option<&RevokedSubject>,
) -> Result<(), Refusal> {
    if !signed_in {
        return Err(Refusal::SignInRequired);
    }
    if consent.map_or(0, |consent| consent.epoch) != issued.consent_epoch {
        return Err(Refusal::ConsentWithdrawn);
    }
    if subject_epoch(revoked) != issued.subject_epoch {
        return Err(Refusal::AccountGone);
    }
    Ok(())
}

pub(crate) fn subject_epoch(revoked: Option<&RevokedSubject>) -> u32 {
    revoked.map_or(0, |revoked| revoked.epoch)
}

/// What to tell the client when the server cannot answer: a browser cannot take a 503 to it (RFC 6749
/// section 4.1.2.1). `None`: client and redirection URI are not proven good, so it is a page.
pub fn unavailable(
    request: &AuthorizationRequest,
    client: Option<&Client>,
) -> Option<AuthorizationError> {
    let (_, redirect) = match_redirect_uri(request, client).ok()?;
    let state = request.state.clone().filter(|state| state.len() <= MAX_STATE_LEN);
    Some(AuthorizationError {
        refusal: Refusal::TemporarilyUnavailable,
        destination: Some(ErrorDestination { redirect_uri: redirect.uri, state }),
    })
}

/// The same for an authorization that was accepted earlier.
pub fn unavailable_later(grant: &Grant) -> Option<AuthorizationError> {
    match &grant.state {
        GrantState::Pending(pending) => Some(AuthorizationError {
            refusal: Refusal::TemporarilyUnavailable,
            destination: Some(destination_of(pending)),
        }),
        GrantState::CodeIssued(_) | GrantState::Active(_) | GrantState::Revoked(_) => None,
    }
}
