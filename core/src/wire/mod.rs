//! HTTP: a request to a [`Call`], an answer to a response. Synchronous and total: every request has
//! an answer, whatever its bytes.
//!
//! | path below the issuer | methods | answer |
//! |---|---|---|
//! | `/authorize` | GET, POST | a redirect, or a page |
//! | `/interaction` | GET; POST `/interaction/login`, `/interaction/consent` | the pages in between |
//! | `/token`, `/revoke`, `/introspect` | POST | JSON |
//! | `/apps` | GET; POST `/apps/login`, `/apps/withdraw`, `/apps/logout` | connected apps |
//! | `/style.css` | GET | the style of the pages |
//! | `/.well-known/oauth-authorization-server` | GET | metadata (RFC 8414) |
//!
//! # Pages that the host draws
//!
//! With [`Builder::interaction_page`](crate::engine::Builder::interaction_page) a person is sent to a
//! page of the host, with the parameter `interaction`. The program behind it (a single-page app, a native
//! app) asks `/interaction?interaction=...` with `Accept: application/json`, and posts JSON to where the
//! answer says. Each answer names what is to be done, in `next`:
//!
//! | `next` | other members | what to do |
//! |---|---|---|
//! | `sign_in` | `action`, `fields`, `client`, `username`, `again`, `problem`, `retry_after_seconds` | ask for name and password; post `fields` with `username` and `password` to `action` |
//! | `consent` | `action`, `fields`, `client`, `destination`, `username`, `scopes`, `lifetime_days` | ask; post `fields` with `decision` (`allow` or `deny`) and `scope` (a list) to `action` |
//! | `redirect` | `location` | send the browser there: to the client, or to the host's own sign-in page |
//! | `error` | `kind`, `error`, `error_description` | tell the user; there is no way on |
//! | `connections` | `action`, `sign_out`, `fields`, `username`, `connections`, `withdrawn` | `/apps`: show; post `fields` with `client_id` to `action`, or `fields` to `sign_out` |
//! | `signed_out` | `sign_in` | |
//!
//! Requests must carry cookies and come from the issuer's own origin. Redirects between these paths are
//! followed as they come (`fetch` does). All texts are to be shown as text; the names of apps are clean
//! of characters that cannot be seen. What is checked, and where a code may go, is the same as for the pages.

mod bearer;
mod client;
mod cookie;
pub(crate) mod error;
mod form;
mod language;
pub(crate) mod login;
pub(crate) mod reply;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};

use self::form::Form;
use crate::authenticator::Credentials;
use crate::engine::{AuthorizationServer, Browser, Parameters, TokenRequest};
use crate::model::{Authentication, ClientId, Handle, Issuer, ScopeSet, SecretString};
use crate::protocol::authorize::{AuthorizationRequest, parse_interaction};
use crate::protocol::client_auth::PresentedClient;
use crate::protocol::client_credentials::ClientCredentialsRequest;
use crate::protocol::code::{self, RedeemRequest};
use crate::protocol::consent::{ConsentAnswer, ConsentRequest};
use crate::protocol::extension;
use crate::protocol::metadata::path;
use crate::protocol::refresh::{self, RefreshRequest};
use crate::protocol::{Refusal, session};

pub use self::bearer::{Challenge, presented_token};
pub use self::login::LoginRequest;

/// The largest request body that any endpoint reads, in bytes. An adapter stops reading there and
/// hands over [`BodyTooLarge`].
pub const MAX_BODY_LEN: usize = 64 * 1024;
/// The longest request target, in bytes.
const MAX_URI_LEN: usize = 16 * 1024;
const JSON: &str = "application/json";
/// When to come back, in seconds, to a server that is away for an unknown time.
const RETRY_AFTER_SECONDS: u32 = 2;

/// Put into a request's extensions by an adapter that stopped reading its body.
#[derive(Clone, Copy, Debug)]
pub struct BodyTooLarge;

/// Put into a request's extensions by an adapter that knows where the connection comes from. Only
/// the transport may say so: headers can be made up (ATTACKS K16).
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub std::net::IpAddr);

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Call {
    Token {
        client: PresentedClient,
        request: TokenRequest,
    },
    Extension {
        client: PresentedClient,
        grant_type: String,
        parameters: Parameters,
    },
    Revoke {
        client: PresentedClient,
        token: SecretString,
    },
    Introspect {
        client: PresentedClient,
        token: SecretString,
    },
    Metadata,
    Stylesheet {
        signed_out: bool,
    },
    /// A CORS preflight of an endpoint that answers scripts of other origins.
    Preflight,
    /// What a person asks for, which is larger than all that programs do.
    Visit(Box<Visit>),
}

/// What a browser asks for in the name of a person.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it only exists in a box")]
pub(crate) enum Visit {
    Authorize { request: AuthorizationRequest, browser: Browser },
    Interaction { handle: Handle, browser: Browser },
    Login { handle: Handle, credentials: Credentials, browser: Browser },
    Consent { request: ConsentRequest, browser: Browser },
    Connections { browser: Browser, withdrawn: bool },
    ConnectionsLogin { credentials: Credentials, browser: Browser },
    Withdraw { client_id: ClientId, browser: Browser },
    SignOut { browser: Browser },
}

impl From<Visit> for Call {
    fn from(visit: Visit) -> Self {
        Self::Visit(Box::new(visit))
    }
}

/// A request that asks for nothing that can be given.
#[derive(Debug)]
pub(crate) enum Unserved {
    NotFound,
    MethodNotAllowed { allow: &'static str },
    Refused { refusal: Refusal, surface: Surface },
}

/// Who reads the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// A program.
    Json,
    /// A person.
    Page,
}

/// The paths below the issuer, and who reads their answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Authorize,
    Interaction,
    InteractionLogin,
    InteractionConsent,
    Token,
    Revoke,
    Introspect,
    Apps,
    AppsLogin,
    AppsWithdraw,
    AppsLogout,
    Stylesheet,
    Metadata,
}

pub(crate) const INTERACTION: &str = "/interaction";
pub(crate) const INTERACTION_LOGIN: &str = "/interaction/login";
pub(crate) const INTERACTION_CONSENT: &str = "/interaction/consent";
pub(crate) const APPS: &str = "/apps";
pub(crate) const APPS_LOGIN: &str = "/apps/login";
pub(crate) const APPS_WITHDRAW: &str = "/apps/withdraw";
pub(crate) const APPS_LOGOUT: &str = "/apps/logout";
pub(crate) const STYLESHEET: &str = "/style.css";
/// Added to it by the page that says that the user is signed out.
pub(crate) const SIGNED_OUT: &str = "?signed-out";

const ROUTES: [(&str, Route); 12] = [
    (path::AUTHORIZE, Route::Authorize),
    (INTERACTION, Route::Interaction),
    (INTERACTION_LOGIN, Route::InteractionLogin),
    (INTERACTION_CONSENT, Route::InteractionConsent),
    (path::TOKEN, Route::Token),
    (path::REVOKE, Route::Revoke),
    (path::INTROSPECT, Route::Introspect),
    (APPS, Route::Apps),
    (APPS_LOGIN, Route::AppsLogin),
    (APPS_WITHDRAW, Route::AppsWithdraw),
    (APPS_LOGOUT, Route::AppsLogout),
    (STYLESHEET, Route::Stylesheet),
];

/// Every path that the server answers, for an adapter that routes by path.
pub(crate) fn paths(issuer: &Issuer) -> Vec<String> {
    let below = ROUTES.iter().map(|(path, _)| format!("{}{path}", issuer.path()));
    below.chain([issuer.metadata_path()]).collect()
}

impl Route {
    pub(crate) fn of(path: &str, issuer: &Issuer) -> Option<Self> {
        let below = path.strip_prefix(issuer.path());
        let known = below.and_then(|below| ROUTES.iter().find(|(known, _)| *known == below));
        match known {
            Some((_, route)) => Some(*route),
            None => (path == issuer.metadata_path()).then_some(Self::Metadata),
        }
    }

    const fn allow(self) -> &'static str {
        match self {
            Self::Authorize => "GET, POST",
            Self::Interaction | Self::Apps => "GET",
            Self::Metadata => "GET, HEAD, OPTIONS",
            Self::Stylesheet => "GET, HEAD",
            Self::Token | Self::Revoke => "POST, OPTIONS",
            Self::Introspect => "POST",
            Self::InteractionLogin
            | Self::InteractionConsent
            | Self::AppsLogin
            | Self::AppsWithdraw
            | Self::AppsLogout => "POST",
        }
    }

    const fn surface(self) -> Surface {
        if self.is_for_programs() { Surface::Json } else { Surface::Page }
    }

    /// Whether no person ever comes to it.
    pub(crate) const fn is_for_programs(self) -> bool {
        matches!(self, Self::Token | Self::Revoke | Self::Introspect | Self::Metadata)
    }

    /// Whether scripts of other origins may read its answers.
    pub(crate) const fn is_shared(self) -> bool {
        matches!(self, Self::Token | Self::Revoke | Self::Metadata)
    }

    /// Whether it takes a password.
    const fn takes_password(self) -> bool {
        matches!(self, Self::InteractionLogin | Self::AppsLogin)
    }

    /// Whether it changes something on behalf of a user who is there by cookie.
    const fn is_form_of_ours(self) -> bool {
        matches!(
            self,
            Self::InteractionLogin
                | Self::InteractionConsent
                | Self::AppsLogin
                | Self::AppsWithdraw
                | Self::AppsLogout
        )
    }
}

/// Reads a request. Where the host has a sign-in page of its own, ours is not there: it would be a
/// second door.
pub(crate) fn parse(
    server: &AuthorizationServer,
    route: Option<Route>,
    request: &Request<Bytes>,
) -> Result<Call, Unserved> {
    let issuer = server.issuer();
    let host_signs_in = server.login_page().is_some();
    let Some(route) = route.filter(|route| !(host_signs_in && route.takes_password())) else {
        return Err(Unserved::NotFound);
    };
    let allow = route.allow();
    if !allow.split(", ").any(|method| method == request.method().as_str()) {
        return Err(Unserved::MethodNotAllowed { allow });
    }
    if request.method() == Method::OPTIONS {
        return Ok(Call::Preflight);
    }
    let json_too = server.interaction_page().is_some() && route.is_form_of_ours();
    read(route, issuer, json_too, request)
        .map_err(|refusal| Unserved::Refused { refusal, surface: route.surface() })
}

fn read(
    route: Route,
    issuer: &Issuer,
    json_too: bool,
    request: &Request<Bytes>,
) -> Result<Call, Refusal> {
    let (headers, query) = (request.headers(), request.uri().query().unwrap_or_default());
    if query.len() + request.uri().path().len() > MAX_URI_LEN {
        return Err(Refusal::UriTooLong);
    }
    if request.extensions().get::<BodyTooLarge>().is_some() || request.body().len() > MAX_BODY_LEN {
        return Err(Refusal::BodyTooLarge);
    }
    let query = Form::parse(query.as_bytes())?;
    let form = if request.method() == Method::POST {
        posted(headers, json_too, request.body())?
    } else {
        Form::default()
    };
    if route.is_form_of_ours() {
        check_origin(headers, issuer)?;
    }
    let browser = || Browser {
        secret: cookie::browser(headers, issuer),
        session: cookie::session(headers, issuer),
        authentication: request.extensions().get::<Authentication>().cloned(),
    };
    Ok(match route {
        Route::Authorize => {
            // A form of parameters may be posted; a query beside it is a second request
            // (requirement 6749-017).
            let source = if request.method() == Method::POST { &form } else { &query };
            let mut request = authorization_request(source);
            let both = if std::ptr::eq(source, &form) { Some(&query) } else { None };
            request.faulty.extend(both.into_iter().flat_map(repeated_in));
            Visit::Authorize { request, browser: browser() }.into()
        }
        Route::Interaction => {
            Visit::Interaction { handle: interaction(&query)?, browser: browser() }.into()
        }
        Route::InteractionLogin => Visit::Login {
            handle: interaction(&form)?,
            credentials: credentials(&form, request)?,
            browser: browser(),
        }
        .into(),
        Route::InteractionConsent => {
            Visit::Consent { request: consent_request(&form)?, browser: browser() }.into()
        }
        Route::Token => {
            let client = client::presented(headers, &query, &form)?;
            match form.require("grant_type")? {
                name if extension::is_name(name) => Call::Extension {
                    client,
                    grant_type: name.to_owned(),
                    parameters: Parameters::new(form.iter()),
                },
                name => Call::Token { client, request: token_request(name, &form)? },
            }
        }
        Route::Revoke => {
            let client = client::presented(headers, &query, &form)?;
            form.get("token_type_hint")?;
            Call::Revoke { client, token: SecretString::new(form.require("token")?) }
        }
        Route::Introspect => {
            let client = client::presented(headers, &query, &form)?;
            form.get("token_type_hint")?;
            Call::Introspect { client, token: SecretString::new(form.require("token")?) }
        }
        Route::Apps => Visit::Connections {
            browser: browser(),
            withdrawn: query.values("withdrawn").next().is_some(),
        }
        .into(),
        Route::AppsLogin => {
            let browser = browser();
            check_form_token(&form, &browser)?;
            Visit::ConnectionsLogin { credentials: credentials(&form, request)?, browser }.into()
        }
        Route::AppsWithdraw => {
            let browser = browser();
            check_form_token(&form, &browser)?;
            let client_id = ClientId::parse(form.require("client_id")?);
            let client_id = client_id.map_err(|_| Refusal::ConsentUnknown)?;
            Visit::Withdraw { client_id, browser }.into()
        }
        Route::AppsLogout => {
            let browser = browser();
            check_form_token(&form, &browser)?;
            Visit::SignOut { browser }.into()
        }
        Route::Stylesheet => {
            Call::Stylesheet { signed_out: query.values("signed-out").next().is_some() }
        }
        Route::Metadata => Call::Metadata,
    })
}

/// The form in a body that says it is one; the same as a JSON object, where the host draws the pages.
fn posted<'a>(headers: &HeaderMap, json_too: bool, body: &'a Bytes) -> Result<Form<'a>, Refusal> {
    let media_type = media_type(headers).ok_or(Refusal::FormExpected)?;
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Form::parse(body)
    } else if json_too && media_type.eq_ignore_ascii_case(JSON) {
        Form::from_json(body)
    } else {
        Err(Refusal::FormExpected)
    }
}

/// Whether the body is JSON.
fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|media_type| media_type.eq_ignore_ascii_case(JSON))
}

/// What the body is, if that is said once and the text is UTF-8.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (first, second) = (types.next(), types.next());
    let content_type = first.filter(|_| second.is_none())?.to_str().ok()?;
    let (media_type, parameter) = content_type.split_once(';').unwrap_or((content_type, ""));
    let charset = parameter.trim();
    ["", "charset=utf-8", "charset=\"utf-8\""]
        .iter()
        .any(|accepted| charset.eq_ignore_ascii_case(accepted))
        .then(|| media_type.trim())
}

/// Refuses what a page of another site posted (ATTACKS G02, G03).
///
/// The cookies are `SameSite=Lax` and every form holds a secret of its own; this is the third
/// fence, and the one that the browser itself keeps up.
fn check_origin(headers: &HeaderMap, issuer: &Issuer) -> Result<(), Refusal> {
    if let Some(site) = headers.get("sec-fetch-site") {
        // `none` is the user: a reload of the answer to a form.
        let ours = site == "same-origin" || site == "none";
        return if ours { Ok(()) } else { Err(Refusal::CrossSiteRequest) };
    }
    match headers.get(header::ORIGIN).map(|origin| origin.as_bytes()) {
        // Our own pages send no referrer, and older browsers then say `null`.
        None | Some(b"null") => Ok(()),
        Some(origin) if origin == issuer.origin().as_bytes() => Ok(()),
        Some(_) => Err(Refusal::CrossSiteRequest),
    }
}

fn check_form_token(form: &Form<'_>, browser: &Browser) -> Result<(), Refusal> {
    let shown = crate::model::Secret::parse(form.require("form_token")?);
    let secret = browser.secret.as_ref().ok_or(Refusal::CrossSiteRequest)?;
    if shown.is_some_and(|shown| session::is_form_token(&shown, secret, browser.session.as_ref())) {
        Ok(())
    } else {
        Err(Refusal::CrossSiteRequest)
    }
}

fn interaction(form: &Form<'_>) -> Result<Handle, Refusal> {
    parse_interaction(form.get("interaction")?.ok_or(Refusal::InteractionUnknown)?)
}

fn credentials(form: &Form<'_>, request: &Request<Bytes>) -> Result<Credentials, Refusal> {
    let username = form.get("username")?.unwrap_or_default();
    let password = form.get("password")?.unwrap_or_default();
    if username.len() > 256 {
        return Err(Refusal::ParameterTooLong("username"));
    }
    if password.len() > 1024 {
        return Err(Refusal::ParameterTooLong("password"));
    }
    Ok(Credentials {
        username: username.to_owned(),
        password: SecretString::new(password),
        source: request.extensions().get::<PeerAddr>().map(|peer| peer.0),
    })
}

fn consent_request(form: &Form<'_>) -> Result<ConsentRequest, Refusal> {
    let answer = match form.require("decision")? {
        "allow" => {
            let mut scopes = form.values("scope").collect::<Vec<_>>();
            scopes.sort_unstable();
            scopes.dedup();
            let scope = ScopeSet::parse(&scopes.join(" "));
            ConsentAnswer::Allow(scope.map_err(|_| Refusal::ScopeMalformed)?)
        }
        "deny" => ConsentAnswer::Deny,
        _ => return Err(Refusal::ParameterMalformed("decision")),
    };
    Ok(ConsentRequest {
        interaction: interaction(form)?,
        ticket: SecretString::new(form.require("ticket")?),
        answer,
    })
}

fn token_request(grant_type: &str, form: &Form<'_>) -> Result<TokenRequest, Refusal> {
    let scope = form.get("scope")?.map(str::to_owned);
    match grant_type {
        "authorization_code" => Ok(TokenRequest::AuthorizationCode(RedeemRequest {
            redirect_uri: form.get("redirect_uri")?.map(str::to_owned),
            code_verifier: form.get("code_verifier")?.map(str::to_owned),
            code: code::parse(form.require("code")?),
        })),
        "refresh_token" => Ok(TokenRequest::RefreshToken(RefreshRequest {
            refresh_token: refresh::parse(form.require("refresh_token")?),
            scope,
        })),
        "client_credentials" => {
            Ok(TokenRequest::ClientCredentials(ClientCredentialsRequest { scope }))
        }
        _ => Err(Refusal::GrantTypeUnsupported),
    }
}

/// The parameters that the authorization endpoint knows.
const AUTHORIZATION_PARAMETERS: [&str; 14] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "login_hint",
    "ui_locales",
    "request",
    "request_uri",
];

fn repeated_in<'f>(other: &'f Form<'_>) -> impl Iterator<Item = (&'static str, Refusal)> + 'f {
    AUTHORIZATION_PARAMETERS
        .into_iter()
        .filter(|name| other.values(name).next().is_some())
        .map(|name| (name, Refusal::ParameterRepeated(name)))
}

fn authorization_request(form: &Form<'_>) -> AuthorizationRequest {
    let mut faulty = Vec::new();
    let mut read = |name: &'static str| {
        form.get(name).map(|value| value.map(str::to_owned)).unwrap_or_else(|refusal| {
            faulty.push((name, refusal));
            None
        })
    };
    let request = AuthorizationRequest {
        client_id: read("client_id"),
        redirect_uri: read("redirect_uri"),
        response_type: read("response_type"),
        response_mode: read("response_mode"),
        scope: read("scope"),
        state: read("state"),
        code_challenge: read("code_challenge"),
        code_challenge_method: read("code_challenge_method"),
        prompt: read("prompt"),
        max_age: read("max_age"),
        login_hint: read("login_hint"),
        ui_locales: read("ui_locales"),
        request: read("request"),
        request_uri: read("request_uri"),
        faulty: Vec::new(),
    };
    AuthorizationRequest { faulty, ..request }
}
