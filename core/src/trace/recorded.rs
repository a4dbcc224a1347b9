//! A question as it stands in a trace.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::redact::Redactor;
use super::{InvalidTrace, Question};
use crate::engine::{Browser, TokenRequest};
use crate::model::{
    Authentication, ClientAuthMethod, Handle, HandleKind, RecordId, ScopeSet, Secret, SecretString,
};
use crate::protocol::Refusal;
use crate::protocol::authorize::AuthorizationRequest;
use crate::protocol::client_auth::PresentedClient;
use crate::protocol::client_credentials::ClientCredentialsRequest;
use crate::protocol::code::RedeemRequest;
use crate::protocol::consent::{ConsentAnswer, ConsentRequest};
use crate::protocol::extension::{Authorized, ExtensionRequest};
use crate::protocol::refresh::RefreshRequest;

/// The request, under substitute secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum Recorded {
    Redeem {
        caller: Caller,
        code: Option<Opener>,
        redirect_uri: Option<String>,
        code_verifier: Option<String>,
    },
    Refresh {
        caller: Caller,
        refresh_token: Option<Opener>,
        scope: Option<String>,
    },
    ClientCredentials {
        caller: Caller,
        scope: Option<String>,
    },
    ExtensionGrant {
        caller: Caller,
        grant_type: String,
        scope: Option<String>,
        authorized: Option<Authorized>,
    },
    Revoke {
        caller: Caller,
        token: Option<Opener>,
    },
    Introspect {
        caller: Caller,
        token: Option<Opener>,
    },
    Bearer {
        token: Opener,
        scope: ScopeSet,
    },
    Authorize {
        parameters: BTreeMap<String, String>,
        /// Parameters that could not be used, and whether that is because there were several.
        faulty: Vec<Faulty>,
        browser: Visitor,
    },
    Resume {
        interaction: Opener,
        browser: Visitor,
    },
    Remember(Consent),
    Answer(Consent),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Caller {
    pub(super) client_id: String,
    pub(super) method: Option<ClientAuthMethod>,
    secret: Option<String>,
}

/// A handle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Opener {
    pub(super) kind: Kind,
    pub(super) record: RecordId,
    secret: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Interaction,
    Code,
    AccessToken,
    RefreshToken,
    Session,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Faulty {
    pub(super) name: String,
    pub(super) why: Fault,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    Repeated,
    TooLong,
    Malformed,
    NotUtf8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Visitor {
    secret: Option<String>,
    pub(super) session: Option<Opener>,
    pub(super) authentication: Option<Authentication>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Consent {
    pub(super) interaction: Opener,
    ticket: String,
    /// `None`: the user said no.
    pub(super) allowed: Option<ScopeSet>,
    pub(super) browser: Visitor,
}

/// The parameters of an authorization request, by name.
macro_rules! parameters {
    ($request:expr, $each:expr) => {
        parameters! { $request, $each,
            client_id redirect_uri response_type response_mode scope state code_challenge
            code_challenge_method prompt max_age login_hint ui_locales request request_uri }
    };
    ($request:expr, $each:expr, $($name:ident)*) => {
        $($each(stringify!($name), &mut $request.$name);)*
    };
}

impl Recorded {
    /// The question without its secrets.
    pub(super) fn of(question: Question<'_>, redactor: &mut Redactor<'_>) -> Self {
        match question {
            Question::Token { caller, request } => {
                let caller = Caller::of(caller, redactor);
                match request {
                    TokenRequest::AuthorizationCode(request) => Self::Redeem {
                        caller,
                        code: request.code.as_ref().map(|code| Opener::of(code, redactor)),
                        redirect_uri: request.redirect_uri.clone(),
                        code_verifier: request
                            .code_verifier
                            .as_ref()
                            .map(|text| redactor.verifier(text)),
                    },
                    TokenRequest::RefreshToken(request) => Self::Refresh {
                        caller,
                        refresh_token: request
                            .refresh_token
                            .as_ref()
                            .map(|token| Opener::of(token, redactor)),
                        scope: request.scope.clone(),
                    },
                    TokenRequest::ClientCredentials(request) => {
                        Self::ClientCredentials { caller, scope: request.scope.clone() }
                    }
                    TokenRequest::Extension(request) => Self::ExtensionGrant {
                        caller,
                        grant_type: request.grant_type.clone(),
                        scope: request.scope.clone(),
                        authorized: request.authorized.clone(),
                    },
                }
            }
            Question::Revoke { caller, token } => Self::Revoke {
                caller: Caller::of(caller, redactor),
                token: token.map(|token| Opener::of(token, redactor)),
            },
            Question::Introspect { caller, token } => Self::Introspect {
                caller: Caller::of(caller, redactor),
                token: token.map(|token| Opener::of(token, redactor)),
            },
            Question::Bearer { token, scope } => {
                Self::Bearer { token: Opener::of(token, redactor), scope: scope.clone() }
            }
            Question::Authorize { request, browser } => {
                let mut request = request.clone();
                // The latter two are refused whatever they say, and say what `state` says.
                for text in [&mut request.state, &mut request.request, &mut request.request_uri] {
                    *text = text.as_deref().map(Redactor::blank);
                }
                // With any other method the challenge may be the verifier itself.
                if request.code_challenge_method.as_deref() != Some("S256") {
                    request.code_challenge = request.code_challenge.as_deref().map(Redactor::blank);
                }
                let mut parameters = BTreeMap::new();
                parameters!(request, |name: &str, value: &mut Option<String>| {
                    parameters.extend(value.take().map(|value| (name.to_owned(), value)));
                });
                Self::Authorize {
                    parameters,
                    faulty: request.faulty.iter().map(Faulty::of).collect(),
                    browser: Visitor::of(browser, redactor),
                }
            }
            Question::Resume { interaction, browser } => Self::Resume {
                interaction: Opener::of(interaction, redactor),
                browser: Visitor::of(browser, redactor),
            },
            Question::Remember { request, browser } => {
                Self::Remember(Consent::of(request, browser, redactor))
            }
            Question::Answer { request, browser } => {
                Self::Answer(Consent::of(request, browser, redactor))
            }
        }
    }

    /// Asks `ask` the question again.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(Question<'_>) -> T) -> Result<T, InvalidTrace> {
        match self {
            Self::Redeem { caller, code, redirect_uri, code_verifier } => {
                let request = RedeemRequest {
                    code: Opener::read_optional(code.as_ref())?,
                    redirect_uri: redirect_uri.clone(),
                    code_verifier: code_verifier.clone(),
                };
                let request = &TokenRequest::AuthorizationCode(request);
                Ok(ask(Question::Token { caller: &caller.read(), request }))
            }
            Self::Refresh { caller, refresh_token, scope } => {
                let request = RefreshRequest {
                    refresh_token: Opener::read_optional(refresh_token.as_ref())?,
                    scope: scope.clone(),
                };
                let request = &TokenRequest::RefreshToken(request);
                Ok(ask(Question::Token { caller: &caller.read(), request }))
            }
            Self::ClientCredentials { caller, scope } => {
                let request = ClientCredentialsRequest { scope: scope.clone() };
                let request = &TokenRequest::ClientCredentials(request);
                Ok(ask(Question::Token { caller: &caller.read(), request }))
            }
            Self::ExtensionGrant { caller, grant_type, scope, authorized } => {
                let request = &TokenRequest::Extension(ExtensionRequest {
                    grant_type: grant_type.clone(),
                    scope: scope.clone(),
                    authorized: authorized.clone(),
                });
                Ok(ask(Question::Token { caller: &caller.read(), request }))
            }
            Self::Revoke { caller, token } => {
                let token = Opener::read_optional(token.as_ref())?;
                Ok(ask(Question::Revoke { caller: &caller.read(), token: token.as_ref() }))
            }
            Self::Introspect { caller, token } => {
                let token = Opener::read_optional(token.as_ref())?;
                Ok(ask(Question::Introspect { caller: &caller.read(), token: token.as_ref() }))
            }
            Self::Bearer { token, scope } => {
                Ok(ask(Question::Bearer { token: &token.read()?, scope }))
            }
            Self::Authorize { parameters, faulty, browser } => {
                let mut request = AuthorizationRequest::default();
                for fault in faulty {
                    let mut known = None;
                    parameters!(request, |name: &'static str, _: &mut Option<String>| {
                        known = known.or((name == fault.name).then_some(name));
                    });
                    let name = known.ok_or(InvalidTrace::Question)?;
                    request.faulty.push((name, fault.why.refusal(name)));
                }
                parameters!(request, |name: &str, value: &mut Option<String>| {
                    *value = parameters.get(name).cloned();
                });
                Ok(ask(Question::Authorize { request: &request, browser: &browser.read()? }))
            }
            Self::Resume { interaction, browser } => {
                let (interaction, browser) = (&interaction.read()?, &browser.read()?);
                Ok(ask(Question::Resume { interaction, browser }))
            }
            Self::Remember(consent) => {
                let (request, browser) = (&consent.read()?, &consent.browser.read()?);
                Ok(ask(Question::Remember { request, browser }))
            }
            Self::Answer(consent) => {
                let (request, browser) = (&consent.read()?, &consent.browser.read()?);
                Ok(ask(Question::Answer { request, browser }))
            }
        }
    }
}

impl Recorded {
    /// The client that the request names.
    pub(super) fn client_id(&self) -> Option<&str> {
        match self {
            Self::Redeem { caller, .. }
            | Self::Refresh { caller, .. }
            | Self::ClientCredentials { caller, .. }
            | Self::ExtensionGrant { caller, .. }
            | Self::Revoke { caller, .. }
            | Self::Introspect { caller, .. } => Some(&caller.client_id),
            Self::Authorize { parameters, .. } => parameters.get("client_id").map(String::as_str),
            Self::Bearer { .. } | Self::Resume { .. } | Self::Remember(_) | Self::Answer(_) => None,
        }
    }
}

impl Caller {
    fn of(caller: &PresentedClient, redactor: &mut Redactor<'_>) -> Self {
        let secret = caller.secret.as_ref();
        Self {
            client_id: caller.client_id.clone(),
            method: secret.map(|(method, _)| *method),
            secret: secret.map(|(_, secret)| redactor.text(secret.expose())),
        }
    }

    fn read(&self) -> PresentedClient {
        let secret = self.secret.as_deref().map(SecretString::new);
        PresentedClient { client_id: self.client_id.clone(), secret: self.method.zip(secret) }
    }
}

impl Opener {
    fn of(handle: &Handle, redactor: &mut Redactor<'_>) -> Self {
        Self::write(&redactor.handle(handle))
    }

    /// A handle whose secret was exchanged.
    fn write(handle: &Handle) -> Self {
        Self {
            kind: handle.kind.into(),
            record: handle.id,
            secret: SecretString::of(&handle.secret).expose().to_owned(),
        }
    }

    fn read(&self) -> Result<Handle, InvalidTrace> {
        Ok(Handle::new(self.kind.into(), self.record, read_secret(&self.secret)?))
    }

    fn read_optional(this: Option<&Self>) -> Result<Option<Handle>, InvalidTrace> {
        this.map(Self::read).transpose()
    }
}

impl From<HandleKind> for Kind {
    fn from(kind: HandleKind) -> Self {
        match kind {
            HandleKind::Interaction => Self::Interaction,
            HandleKind::Code => Self::Code,
            HandleKind::AccessToken => Self::AccessToken,
            HandleKind::RefreshToken => Self::RefreshToken,
            HandleKind::Session => Self::Session,
        }
    }
}

impl From<Kind> for HandleKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Interaction => Self::Interaction,
            Kind::Code => Self::Code,
            Kind::AccessToken => Self::AccessToken,
            Kind::RefreshToken => Self::RefreshToken,
            Kind::Session => Self::Session,
        }
    }
}

impl Faulty {
    fn of((name, refusal): &(&'static str, Refusal)) -> Self {
        let why = match refusal {
            Refusal::ParameterRepeated(_) => Fault::Repeated,
            Refusal::ParameterTooLong(_) => Fault::TooLong,
            Refusal::FormMalformed => Fault::NotUtf8,
            _ => Fault::Malformed,
        };
        Self { name: (*name).to_owned(), why }
    }
}

impl Fault {
    const fn refusal(self, name: &'static str) -> Refusal {
        match self {
            Self::Repeated => Refusal::ParameterRepeated(name),
            Self::TooLong => Refusal::ParameterTooLong(name),
            Self::Malformed => Refusal::ParameterMalformed(name),
            Self::NotUtf8 => Refusal::FormMalformed,
        }
    }
}

impl Visitor {
    fn of(browser: &Browser, redactor: &mut Redactor<'_>) -> Self {
        let secret = browser.secret.as_ref().map(|secret| redactor.secret(secret));
        Self {
            secret: secret.map(|secret| SecretString::of(&secret).expose().to_owned()),
            session: browser.session.as_ref().map(|session| Opener::of(session, redactor)),
            authentication: browser.authentication.clone(),
        }
    }

    fn read(&self) -> Result<Browser, InvalidTrace> {
        Ok(Browser {
            secret: self.secret.as_deref().map(read_secret).transpose()?,
            session: Opener::read_optional(self.session.as_ref())?,
            authentication: self.authentication.clone(),
        })
    }
}

impl Consent {
    fn of(request: &ConsentRequest, browser: &Browser, redactor: &mut Redactor<'_>) -> Self {
        let interaction = redactor.handle(&request.interaction);
        let real = &request.interaction.secret;
        Self {
            ticket: redactor.ticket(&request.ticket, real, &interaction.secret),
            allowed: match &request.answer {
                ConsentAnswer::Allow(scope) => Some(scope.clone()),
                ConsentAnswer::Deny => None,
            },
            browser: Visitor::of(browser, redactor),
            interaction: Opener::write(&interaction),
        }
    }

    fn read(&self) -> Result<ConsentRequest, InvalidTrace> {
        Ok(ConsentRequest {
            interaction: self.interaction.read()?,
            ticket: SecretString::new(self.ticket.as_str()),
            answer: self.allowed.clone().map_or(ConsentAnswer::Deny, ConsentAnswer::Allow),
        })
    }
}

fn read_secret(text: &str) -> Result<Secret, InvalidTrace> {
    Secret::parse(text).ok_or(InvalidTrace::Question)
}
