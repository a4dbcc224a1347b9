//! The request as it arrived, and what is wrong with it.

use std::fmt;

use crate::model::{
    Client, CodeChallenge, GrantType, PendingAuthorization, Prompt, RedirectUri, Secret, SecretHash,
};
use crate::protocol::client_credentials::requested_scope;
use crate::protocol::{Context, Refusal};

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
pub(super) struct RedirectMatched {
    pub(super) uri: String,
    pub(super) sent: bool,
}

/// Client and redirection URI: until both are proven good, an error is a page.
pub(super) fn match_redirect_uri<'a>(
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
            let matches = |known: &RedirectUri| known.matches(uri, client.localhost_any_port);
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
pub(super) fn validate(
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
