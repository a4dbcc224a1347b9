//! The authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3, RFC 9207), and where it
//! goes from here.

use std::fmt;
use std::time::Duration;

use crate::model::{
    Account, Authentication, Client, ClientType, CodeChallenge, CodeIssued, Consent, Grant,
    GrantState, GrantType, Handle, HandleKind, PendingAuthorization, Prompt, RedirectUriKind,
    RevokedSubject, ScopeSet, Secret, SecretHash, SecretString, redirect_uri_kind,
};
use crate::protocol::client_credentials::requested_scope;
use crate::protocol::code::{self, Allowed};
use crate::protocol::{Context, Decision, Entropy, Event, Refusal};
use crate::storage::Record;

/// An authorization request as it arrived. A parameter that was sent empty is absent (RFC 6749
/// section 3.1); one that is not listed here is ignored.
#[derive(Clone, Default)]
#[expect(missing_docs, reason = "the fields are the parameters of their specifications")]
pub struct AuthorizationRequest {
    pub client_id: Option<String>,
    pub redirect_uri: Option<String>,
    pub response_type: Option<String>,
    pub response_mode: Option<String>,
    pub scope: Option<String>,
    pub state: Option<String>,
    pub code_challenge: Option<String>,
    pub code_challenge_method: Option<String>,
    pub prompt: Option<String>,
    pub max_age: Option<String>,
    pub login_hint: Option<String>,
    pub ui_locales: Option<String>,
    pub request: Option<String>,
    pub request_uri: Option<String>,
    /// The parameters among these that were there more than once, or that were not UTF-8. What is
    /// done about one depends on which it is.
    pub faulty: Vec<(&'static str, Refusal)>,
}

impl fmt::Debug for AuthorizationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `state` may be a secret of the client, and the rest may be anything at all.
        f.debug_struct("AuthorizationRequest")
            .field("client_id", &self.client_id)
            .field("redirect_uri", &self.redirect_uri)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// The longest `state` that is carried, in bytes.
pub const MAX_STATE_LEN: usize = 4096;
const MAX_HINT_LEN: usize = 512;

/// A redirection URI that was found among the registered ones. Only [`match_redirect_uri`] makes
/// one, and without one there is no way to send a browser anywhere.
#[derive(Clone, Debug)]
struct RedirectMatched {
    uri: String,
    sent: bool,
}

/// Where an error may be sent: to the client, since client and redirection URI were proven good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorDestination {
    redirect_uri: String,
    state: Option<String>,
}

/// An authorization request that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationError {
    /// Why.
    pub refusal: Refusal,
    /// Where to say so; `None`: on a page of this server, and nowhere else.
    pub destination: Option<ErrorDestination>,
}

impl AuthorizationError {
    pub(crate) const fn page(refusal: Refusal) -> Self {
        Self { refusal, destination: None }
    }

    /// The redirect that tells the client, where there is one.
    pub fn response(&self, issuer: &str) -> Option<AuthorizationResponse> {
        let ErrorDestination { redirect_uri, state } = self.destination.clone()?;
        let answer = Answer::Error(self.refusal.clone());
        Some(AuthorizationResponse { redirect_uri, answer, state, iss: issuer.to_owned() })
    }
}

impl From<Refusal> for AuthorizationError {
    fn from(refusal: Refusal) -> Self {
        Self::page(refusal)
    }
}

/// What happens next with an authorization.
///
/// The first three are answered by the host, later, in another request: the authorization is stored
/// and survives a restart. It carries the client's `state` itself.
#[derive(Clone, Debug)]
#[must_use = "the user's browser is waiting for what this says"]
pub enum Outcome {
    /// Nobody is signed in.
    LoginRequired(Interaction),
    /// Somebody is, but too long ago, or the client wants it done again.
    ReauthenticationRequired(Interaction),
    /// The user has to say what the client may have.
    ConsentRequired(ConsentPrompt),
    /// All is said: send the browser back to the client.
    Redirect(AuthorizationResponse),
}

/// A pending authorization, as the browser that began it knows it.
#[derive(Clone, Debug)]
pub struct Interaction {
    /// Names and opens the pending authorization; proof against forged forms, since no other site
    /// knows it.
    pub handle: Handle,
    /// Must be in a cookie of the browser, or the handle opens nothing.
    pub browser: Secret,
    /// Who asks.
    pub client: ClientSummary,
    /// Where the answer will go.
    pub destination: Destination,
    /// Whom the client believes to be signing in.
    pub login_hint: Option<String>,
    /// The languages that the client asks for.
    pub ui_locales: Option<String>,
}

/// What a page may say about a client. Everything in it was registered by the client: show it as
/// text, escaped, and load nothing from it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the registration")]
pub struct ClientSummary {
    pub name: String,
    pub client_uri: Option<String>,
    pub policy_uri: Option<String>,
    pub tos_uri: Option<String>,
}

impl From<&Client> for ClientSummary {
    fn from(client: &Client) -> Self {
        Self {
            name: client.name.clone(),
            client_uri: client.client_uri.clone(),
            policy_uri: client.policy_uri.clone(),
            tos_uri: client.tos_uri.clone(),
        }
    }
}

/// Where a code will be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The matched redirection URI.
    redirect_uri: String,
}

impl Destination {
    /// What kind of place it is.
    pub fn kind(&self) -> RedirectUriKind {
        redirect_uri_kind(&self.redirect_uri)
    }

    /// What the user should read: the host, or the scheme of an app.
    pub fn display(&self) -> &str {
        let (scheme, rest) = self.redirect_uri.split_once(':').unwrap_or_default();
        match self.kind() {
            RedirectUriKind::PrivateUse => scheme,
            RedirectUriKind::Https | RedirectUriKind::Loopback => {
                rest.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default()
            }
        }
    }

    /// The source expression that lets a form's answer be redirected there (`form-action`, CSP
    /// level 3 section 6.4.2). Browsers apply it to every step of a redirect.
    pub fn csp_source(&self) -> String {
        let (scheme, _) = self.redirect_uri.split_once(':').unwrap_or_default();
        let authority = self.display();
        match self.kind() {
            // There is no way to write an IPv6 literal in a source expression.
            RedirectUriKind::Loopback if authority.starts_with('[') => "http:".to_owned(),
            RedirectUriKind::PrivateUse => format!("{scheme}:"),
            RedirectUriKind::Https | RedirectUriKind::Loopback => format!("{scheme}://{authority}"),
        }
    }
}

/// A consent to ask for.
#[derive(Clone, Debug)]
pub struct ConsentPrompt {
    /// The authorization.
    pub interaction: Interaction,
    /// Who is signed in.
    pub account: Account,
    /// To be sent back with the decision: shows that the page was made for this user.
    pub ticket: SecretString,
    /// What is asked for, and whether the user has allowed it before.
    pub scope: Vec<RequestedScope>,
    /// Whether the client may renew its access without asking again.
    pub renewable: bool,
}

/// One scope of a consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedScope {
    /// The scope.
    pub name: String,
    /// Whether the user has already allowed it to this client.
    pub allowed_before: bool,
}

/// An authorization response: a redirect to the client (RFC 6749 section 4.1.2).
#[derive(Clone, Debug)]
pub struct AuthorizationResponse {
    /// The redirection URI, matched and byte for byte as the client sent it.
    pub redirect_uri: String,
    /// A code or an error.
    pub answer: Answer,
    /// The client's `state`, unchanged.
    pub state: Option<String>,
    /// This server (RFC 9207).
    pub iss: String,
}

/// What the client is told.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A code.
    Code(SecretString),
    /// Why there is none.
    Error(Refusal),
}

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
        id: entropy.record_id(),
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

/// Client and redirection URI: until both are proven good, an error is a page.
fn match_redirect_uri<'a>(
    request: &AuthorizationRequest,
    client: Option<&'a Client>,
) -> Result<(&'a Client, RedirectMatched), Refusal> {
    let faulty = |name| request.faulty.iter().find(|(faulty, _)| *faulty == name);
    if let Some((_, refusal)) = faulty("client_id").or_else(|| faulty("redirect_uri")) {
        return Err(refusal.clone());
    }
    if request.client_id.is_none() {
        return Err(Refusal::ParameterMissing("client_id"));
    }
    let client = client.ok_or(Refusal::ClientUnknown)?;
    if client.removed_at.is_some() {
        return Err(Refusal::ClientRemoved);
    }
    match (&request.redirect_uri, client.redirect_uris.as_slice()) {
        (Some(uri), registered) => {
            let matches =
                |known: &crate::model::RedirectUri| known.matches(uri, client.localhost_any_port);
            if !registered.iter().any(matches) {
                return Err(Refusal::RedirectUriNotRegistered);
            }
            Ok((client, RedirectMatched { uri: uri.clone(), sent: true }))
        }
        (None, [only]) => {
            Ok((client, RedirectMatched { uri: only.as_str().to_owned(), sent: false }))
        }
        (None, _) => Err(Refusal::RedirectUriMissing),
    }
}

/// Everything else in the request.
fn validate(
    request: &AuthorizationRequest,
    client: &Client,
    redirect: RedirectMatched,
    interaction: &Secret,
    browser: &Secret,
    ctx: Context<'_>,
) -> Result<PendingAuthorization, Refusal> {
    if let Some((_, refusal)) = request.faulty.first() {
        return Err(refusal.clone());
    }
    if request.request.is_some() {
        return Err(Refusal::RequestObjectUnsupported);
    }
    if request.request_uri.is_some() {
        return Err(Refusal::RequestUriUnsupported);
    }
    match request.response_type.as_deref() {
        Some("code") => {}
        Some(_) => return Err(Refusal::ResponseTypeUnsupported),
        None => return Err(Refusal::ParameterMissing("response_type")),
    }
    if request.response_mode.as_deref().is_some_and(|mode| mode != "query") {
        return Err(Refusal::ResponseModeUnsupported);
    }
    if !client.may_use(GrantType::AuthorizationCode) {
        return Err(Refusal::GrantTypeNotAllowed);
    }
    if request.state.as_ref().is_some_and(|state| state.len() > MAX_STATE_LEN) {
        return Err(Refusal::ParameterTooLong("state"));
    }
    for (name, value) in [("login_hint", &request.login_hint), ("ui_locales", &request.ui_locales)]
    {
        if value.as_ref().is_some_and(|value| value.len() > MAX_HINT_LEN) {
            return Err(Refusal::ParameterTooLong(name));
        }
    }
    Ok(PendingAuthorization {
        interaction: SecretHash::of(interaction),
        browser: SecretHash::of(browser),
        redirect_uri: redirect.uri,
        redirect_uri_sent: redirect.sent,
        state: request.state.clone(),
        challenge: challenge(request, client)?,
        scope: requested_scope(request.scope.as_deref(), &client.scope, ctx.policy)?,
        prompt: prompt(request.prompt.as_deref())?,
        max_age: max_age(request.max_age.as_deref())?,
        login_hint: request.login_hint.clone(),
        ui_locales: request.ui_locales.clone(),
        requested_at: ctx.now,
        expires_at: ctx.now.plus(ctx.policy.interaction_lifetime),
    })
}

/// PKCE is demanded of everybody but a confidential client whose registration says otherwise.
fn challenge(
    request: &AuthorizationRequest,
    client: &Client,
) -> Result<Option<CodeChallenge>, Refusal> {
    let optional = client.pkce_optional && client.proves_identity();
    match (&request.code_challenge, request.code_challenge_method.as_deref()) {
        (None, None) if optional => Ok(None),
        (None, _) => Err(Refusal::PkceRequired),
        (Some(text), Some("S256")) => {
            CodeChallenge::parse_s256(text).map(Some).ok_or(Refusal::PkceChallengeMalformed)
        }
        // No method means `plain` (RFC 7636 section 4.3), never S256 by kindness.
        (Some(_), _) => Err(Refusal::PkceMethodUnsupported),
    }
}

fn prompt(text: Option<&str>) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::default();
    let Some(text) = text else { return Ok(prompt) };
    for value in text.split(' ') {
        match value {
            "none" => prompt.none = true,
            "login" => prompt.login = true,
            "consent" => prompt.consent = true,
            "select_account" => prompt.select_account = true,
            _ => return Err(Refusal::ParameterMalformed("prompt")),
        }
    }
    if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
        return Err(Refusal::PromptContradictory);
    }
    Ok(prompt)
}

fn max_age(text: Option<&str>) -> Result<Option<u64>, Refusal> {
    let digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit());
    text.map(|text| {
        let seconds = Some(text).filter(digits).and_then(|text| text.parse().ok());
        seconds.ok_or(Refusal::ParameterMalformed("max_age"))
    })
    .transpose()
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
        && is_identity_assured(client, &pending.redirect_uri, ctx)
        && consent.is_some_and(|consent| consent.covers(&pending.scope));
    if client.skip_consent || (remembered && !pending.prompt.consent) {
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
