//! Where an authorization request leads, as the host and its pages see it.

use crate::model::{
    Account, Client, Handle, RedirectUriKind, Secret, SecretString, redirect_uri_kind,
};
use crate::protocol::Refusal;

/// Where an error may be sent: to the client, since client and redirection URI were proven good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorDestination {
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
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
    pub(super) redirect_uri: String,
}

impl Destination {
    /// For a page that nobody is shown.
    pub(crate) fn sample(redirect_uri: &str) -> Self {
        Self { redirect_uri: redirect_uri.to_owned() }
    }

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
