//! Answers as HTTP responses.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use super::cookie::Cookie;
use super::error::{on_the_wire, retry_after};
use super::login::Then;
use super::{
    APPS, APPS_LOGIN, APPS_LOGOUT, APPS_WITHDRAW, INTERACTION_CONSENT, INTERACTION_LOGIN,
    RETRY_AFTER_SECONDS, SIGNED_OUT, STYLESHEET, Surface, Unserved, bearer, language,
};
use crate::engine::{AuthorizationServer, Connection};
use crate::model::{Account, ClientId, Handle, ScopeSet, Secret, SecretString, Subject};
use crate::pages::{
    Body, ConnectionRow, ConnectionsPage, ConsentPage, ErrorKind, ErrorPage, Frame, Page, ScopeRow,
    SignInPage, SignInProblem, SignedOutPage,
};
use crate::protocol::authorize::{Answer, AuthorizationResponse, ConsentPrompt, Interaction};
use crate::protocol::introspect::Introspection;
use crate::protocol::token::TokenResponse;
use crate::protocol::{Refusal, session};

type Reply = Response<Bytes>;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// As long as the answer with two tokens and some scopes is, in bytes.
const USUAL_BODY_LEN: usize = 320;
/// Our own on an answer in JSON, and the length that the server adds.
const USUAL_HEADERS: usize = 6;
/// The same for pages and what leads to them, with a cookie.
const USUAL_HEADERS_OF_PAGES: usize = 12;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A successful token response (RFC 6749 section 5.1).
#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    scope: &'a ScopeSet,
}

/// What is told of an active token (RFC 7662 section 2.2).
#[derive(Serialize)]
struct ActiveBody<'a> {
    active: bool,
    scope: &'a ScopeSet,
    client_id: &'a ClientId,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    exp: i64,
    iat: i64,
    /// A client that acts for itself is no user, and is not shown where a user would be
    /// (RFC 9700 section 4.15.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a Subject>,
    iss: &'a str,
}

/// The answers to one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replies<'a> {
    server: &'a AuthorizationServer,
    headers: &'a HeaderMap,
    /// Whether a program draws the pages.
    json: bool,
}

impl<'a> Replies<'a> {
    pub(crate) fn to(server: &'a AuthorizationServer, headers: &'a HeaderMap) -> Self {
        Self { server, headers, json: speaks_json(server, headers) }
    }

    // ---- JSON -----------------------------------------------------------------------------

    pub(crate) fn tokens(self, tokens: &TokenResponse) -> Reply {
        json_reply(
            StatusCode::OK,
            &TokenBody {
                access_token: tokens.access_token.expose(),
                token_type: "Bearer",
                // Whole seconds, and never zero: a client may take zero for "unknown".
                expires_in: tokens.expires_in.as_secs().max(1),
                refresh_token: tokens.refresh_token.as_ref().map(SecretString::expose),
                scope: &tokens.scope,
            },
        )
    }

    pub(crate) fn revoked(self) -> Reply {
        json_reply(StatusCode::OK, &json!({}))
    }

    pub(crate) fn introspection(self, introspection: &Introspection) -> Reply {
        let (token, is_access_token) = match introspection {
            Introspection::Inactive => {
                return json_reply(StatusCode::OK, &json!({"active": false}));
            }
            Introspection::AccessToken(token) => (token, true),
            Introspection::RefreshToken(token) => (token, false),
        };
        let body = ActiveBody {
            active: true,
            scope: &token.scope,
            client_id: &token.client_id,
            username: token.username.as_deref(),
            token_type: is_access_token.then_some("Bearer"),
            exp: token.expires_at.as_seconds(),
            iat: token.issued_at.as_seconds(),
            sub: token.subject.as_ref(),
            iss: self.server.issuer().as_str(),
        };
        if token.claims.is_empty() {
            return json_reply(StatusCode::OK, &body);
        }
        // What the server says of the token stands above what the host says of the user.
        let mut all = token.claims.clone();
        if let Ok(Value::Object(ours)) = serde_json::to_value(&body) {
            all.extend(ours);
        }
        json_reply(StatusCode::OK, &all)
    }

    pub(crate) fn metadata(self) -> Reply {
        let (issuer, policy) = (self.server.issuer(), self.server.policy());
        let languages = self.server.pages().languages();
        let metadata = crate::protocol::metadata::metadata(
            issuer,
            policy,
            self.server.extension_grants(),
            &languages,
        );
        let body = serde_json::to_value(metadata).unwrap_or_default();
        let mut reply = json_reply(StatusCode::OK, &body);
        let cache = HeaderValue::from_static("public, max-age=300");
        reply.headers_mut().insert(header::CACHE_CONTROL, cache);
        reply.headers_mut().remove(header::PRAGMA);
        reply
    }

    pub(crate) fn json_error(self, refusal: &Refusal) -> Reply {
        let row = on_the_wire(refusal);
        let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::BAD_REQUEST);
        let description = row.description(refusal);
        let body = json!({ "error": row.code, "error_description": description });
        let mut reply = json_reply(status, &body);
        if status == StatusCode::UNAUTHORIZED {
            let realm = bearer::quotable(self.server.issuer().as_str());
            let value = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
            if let Ok(value) = HeaderValue::from_str(&value) {
                reply.headers_mut().insert(header::WWW_AUTHENTICATE, value);
            }
        }
        wait(reply, retry_after(refusal))
    }

    pub(crate) fn preflight(self) -> Reply {
        let mut reply = empty(StatusCode::NO_CONTENT);
        let headers = reply.headers_mut();
        let fixed = [
            ("access-control-allow-methods", "GET, POST"),
            ("access-control-allow-headers", "authorization, content-type"),
            ("access-control-max-age", "86400"),
        ];
        for (name, value) in fixed {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        reply
    }

    // ---- Redirects ------------------------------------------------------------------------

    /// Sends the browser back to the client (RFC 6749 section 4.1.2, RFC 9207).
    pub(crate) fn to_client(self, response: &AuthorizationResponse) -> Reply {
        let uri = &response.redirect_uri;
        let mut target = String::with_capacity(uri.len() + USUAL_BODY_LEN);
        target.push_str(uri);
        match uri.split_once('?') {
            None => target.push('?'),
            Some((_, "")) => {}
            Some(_) => target.push('&'),
        }
        let begin = target.len();
        let mut parameters = form_urlencoded::Serializer::for_suffix(target, begin);
        match &response.answer {
            Answer::Code(code) => {
                parameters.append_pair("code", code.expose());
            }
            Answer::Error(refusal) => {
                let row = on_the_wire(refusal);
                parameters.append_pair("error", row.code);
                parameters.append_pair("error_description", &row.description(refusal));
            }
        }
        if let Some(state) = &response.state {
            parameters.append_pair("state", state);
        }
        parameters.append_pair("iss", &response.iss);
        self.away(&parameters.finish())
    }

    /// Sends the browser to the page of a pending authorization.
    pub(crate) fn to_interaction(self, interaction: &Interaction) -> Reply {
        let reply = self.see_other(&self.target(&Then::Interaction(&interaction.handle)));
        self.with_browser(reply, &interaction.browser)
    }

    /// Sends the browser to the host's own sign-in page.
    pub(crate) fn to_login_page(
        self,
        login_page: &str,
        then: &Then<'_>,
        again: bool,
        asked: Option<&Interaction>,
    ) -> Reply {
        self.away(&self.server.login_address(login_page, then, again, asked))
    }

    pub(crate) fn signed_in(self, session: &Handle, then: &Then<'_>) -> Reply {
        let target = self.target(then);
        self.with_cookie(
            self.see_other(&target),
            Cookie::Session.set(&session.encode(), self.server.issuer()),
        )
    }

    pub(crate) fn withdrawn(self) -> Reply {
        self.see_other(&format!("{}?withdrawn", self.path(APPS)))
    }

    /// The next step here: for a person on the host's page, if it has one.
    fn target(self, then: &Then<'_>) -> String {
        match then {
            Then::Connections => self.path(APPS),
            Then::Interaction(handle) => {
                let drawn = self.server.interaction_address(handle).filter(|_| !self.json);
                drawn.unwrap_or_else(|| self.server.interaction_path(handle))
            }
        }
    }

    /// Sends the browser elsewhere. A program is told the address: it cannot follow to another site,
    /// and its browser has to.
    fn away(self, target: &str) -> Reply {
        if self.json {
            let reply =
                json_reply(StatusCode::OK, &json!({ "next": "redirect", "location": target }));
            return self.guarded(reply, "'none'");
        }
        self.see_other(target)
    }

    /// 303 and nothing else: a browser must never post the user's password on (RFC 9700 section
    /// 4.12).
    fn see_other(self, target: &str) -> Reply {
        let mut reply = self.guarded(empty(StatusCode::SEE_OTHER), "'none'");
        match HeaderValue::from_str(target) {
            Ok(mut value) => {
                value.set_sensitive(true);
                reply.headers_mut().insert(header::LOCATION, value);
                reply
            }
            // Redirect targets are ASCII without control characters by their types.
            Err(_) => self.page_error(&Refusal::RedirectUriNotRegistered),
        }
    }

    // ---- Pages ----------------------------------------------------------------------------

    pub(crate) fn sign_in(
        self,
        interaction: &Interaction,
        again: bool,
        username: Option<&str>,
        problem: Option<&Refusal>,
    ) -> Reply {
        if self.is_drawn_elsewhere() {
            return self.to_interaction(interaction);
        }
        let handle = interaction.handle.encode();
        let action = self.path(INTERACTION_LOGIN);
        let username = username.or(interaction.login_hint.as_deref()).unwrap_or_default();
        let body = Body::SignIn(SignInPage {
            action: &action,
            hidden: vec![("interaction", handle.expose())],
            client: Some(&interaction.client),
            username,
            again,
            problem: problem.and_then(sign_in_problem),
        });
        let forms = format!("'self' {}", interaction.destination.csp_source());
        let ui_locales = interaction.ui_locales.as_deref();
        let reply = self.page(body, problem, ui_locales, &forms);
        self.with_browser(reply, &interaction.browser)
    }

    pub(crate) fn consent(self, prompt: &ConsentPrompt) -> Reply {
        let policy = self.server.policy();
        let interaction = &prompt.interaction;
        if self.is_drawn_elsewhere() {
            return self.to_interaction(interaction);
        }
        let language = self.language(interaction.ui_locales.as_deref());
        let handle = interaction.handle.encode();
        let action = self.path(INTERACTION_CONSENT);
        let scopes = prompt.scope.iter().map(|scope| ScopeRow {
            name: &scope.name,
            description: self.describe(&scope.name, language),
            allowed_before: scope.allowed_before,
        });
        let body = Body::Consent(ConsentPage {
            action: &action,
            hidden: vec![("interaction", handle.expose()), ("ticket", prompt.ticket.expose())],
            client: &interaction.client,
            destination: &interaction.destination,
            username: &prompt.account.username,
            scopes: scopes.collect(),
            lifetime_days: policy
                .refresh
                .filter(|_| prompt.renewable)
                .map(|refresh| refresh.absolute_lifetime.as_secs().div_ceil(86_400)),
        });
        let forms = format!("'self' {}", interaction.destination.csp_source());
        let reply = self.page(body, None, interaction.ui_locales.as_deref(), &forms);
        self.with_browser(reply, &interaction.browser)
    }

    pub(crate) fn connections_sign_in(
        self,
        browser: &Secret,
        username: &str,
        problem: Option<&Refusal>,
        session: Option<&Handle>,
    ) -> Reply {
        let token = SecretString::of(&session::form_token(browser, session));
        let action = self.path(APPS_LOGIN);
        let body = Body::SignIn(SignInPage {
            action: &action,
            hidden: vec![("form_token", token.expose())],
            client: None,
            username,
            again: false,
            problem: problem.and_then(sign_in_problem),
        });
        self.with_browser(self.page(body, problem, None, "'self'"), browser)
    }

    pub(crate) fn connections(
        self,
        browser: &Secret,
        session: Option<&Handle>,
        account: &Account,
        connections: &[Connection],
        withdrawn: bool,
    ) -> Reply {
        let token = SecretString::of(&session::form_token(browser, session));
        let language = self.language(None);
        let rows = connections.iter().map(|connection| ConnectionRow {
            client_id: connection.client_id.as_str(),
            client_name: &connection.client_name,
            scopes: connection.scope.iter().map(|s| self.describe(s.as_str(), language)).collect(),
            since: connection.granted_at.to_string().chars().take(10).collect(),
        });
        let (action, sign_out) = (self.path(APPS_WITHDRAW), self.path(APPS_LOGOUT));
        let body = Body::Connections(ConnectionsPage {
            action: &action,
            // Where the host signs users in, there is no session here that could be ended.
            sign_out: self.server.login_page().is_none().then_some(&sign_out),
            hidden: vec![("form_token", token.expose())],
            username: &account.username,
            connections: rows.collect(),
            withdrawn,
        });
        self.with_browser(self.page(body, None, None, "'self'"), browser)
    }

    pub(crate) fn signed_out(self) -> Reply {
        let sign_in = self.path(APPS);
        let body = Body::SignedOut(SignedOutPage { sign_in: &sign_in });
        let reply = self.page(body, None, None, "'none'");
        self.with_cookie(reply, Cookie::Session.clear(self.server.issuer()))
    }

    pub(crate) fn page_error(self, refusal: &Refusal) -> Reply {
        let detail = refusal.to_string();
        let kind = on_the_wire(refusal).kind;
        let body = Body::Error(ErrorPage { kind, detail: &detail });
        self.page(body, Some(refusal), None, "'none'")
    }

    pub(crate) fn stylesheet(self, signed_out: bool) -> Reply {
        let mut reply = Response::new(Bytes::from(self.server.pages().stylesheet().to_owned()));
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if signed_out {
            // Browsers keep whole pages for their back button, `no-store` or not. The page that signs out
            // cannot have them cleared itself: the one that it replaces is not among them yet.
            let kept = HeaderName::from_static("clear-site-data");
            headers.insert(kept, HeaderValue::from_static("\"cache\""));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        reply
    }

    // ---- What went wrong ------------------------------------------------------------------

    pub(crate) fn unserved(self, unserved: &Unserved) -> Reply {
        match unserved {
            Unserved::Refused { refusal, surface: Surface::Json } => self.json_error(refusal),
            Unserved::Refused { refusal, surface: Surface::Page } => self.page_error(refusal),
            Unserved::NotFound => {
                let body =
                    Body::Error(ErrorPage { kind: ErrorKind::NotFound, detail: "not found" });
                let mut reply = self.page(body, None, None, "'none'");
                *reply.status_mut() = StatusCode::NOT_FOUND;
                reply
            }
            Unserved::MethodNotAllowed { allow } => {
                let mut reply = empty(StatusCode::METHOD_NOT_ALLOWED);
                reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
                reply
            }
        }
    }

    /// The server cannot answer now.
    pub(crate) fn unavailable(self, surface: Surface) -> Reply {
        let refusal = Refusal::TemporarilyUnavailable;
        let reply = match surface {
            Surface::Json => self.json_error(&refusal),
            Surface::Page => self.page_error(&refusal),
        };
        wait(reply, Some(RETRY_AFTER_SECONDS))
    }

    // ---- What they share ------------------------------------------------------------------

    fn page(
        self,
        body: Body<'_>,
        refusal: Option<&Refusal>,
        ui_locales: Option<&str>,
        forms: &str,
    ) -> Reply {
        let mut stylesheet = self.path(STYLESHEET);
        if matches!(body, Body::SignedOut(_)) {
            stylesheet.push_str(SIGNED_OUT);
        }
        let origin = self.server.issuer().origin();
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        let status = refusal.map_or(200, |refusal| on_the_wire(refusal).page_status());
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        if self.json {
            let mut view = crate::pages::json(&body);
            if let (Some(refusal), Value::Object(members)) = (refusal, &mut view) {
                let row = on_the_wire(refusal);
                members.insert("error".into(), row.code.into());
                members.insert("error_description".into(), row.description(refusal).into());
            }
            let reply = wait(json_reply(status, &view), refusal.and_then(retry_after));
            return self.guarded(reply, "'none'");
        }
        let page = Page { frame: Frame { stylesheet: &stylesheet, host }, body };
        let html = self.server.pages().render(&page, self.language(ui_locales));
        let mut reply = Response::new(Bytes::from(html));
        *reply.status_mut() = status;
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        reply.headers_mut().insert(header::CONTENT_TYPE, html);
        let reply = wait(reply, refusal.and_then(retry_after));
        self.guarded(reply, forms)
    }

    /// The headers that every page and every redirect of ours carries: no script, no frame, nothing
    /// from elsewhere, no referrer, no copy kept.
    fn guarded(self, mut reply: Reply, forms: &str) -> Reply {
        let policy = [
            "default-src 'none'; style-src 'self'; form-action ",
            forms,
            "; frame-ancestors 'none'; base-uri 'none'",
        ]
        .concat();
        let headers = reply.headers_mut();
        headers.reserve(USUAL_HEADERS_OF_PAGES);
        if let Ok(policy) = HeaderValue::try_from(policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        let fixed = [
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            (
                HeaderName::from_static("permissions-policy"),
                "camera=(), geolocation=(), microphone=()",
            ),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        if self.server.issuer().is_secure() {
            let value = HeaderValue::from_static("max-age=63072000");
            headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
        }
        reply
    }

    fn with_browser(self, reply: Reply, browser: &Secret) -> Reply {
        let known = super::cookie::browser(self.headers, self.server.issuer());
        let same = known.is_some_and(|known| crate::model::SecretHash::of(&known).matches(browser));
        if same {
            return reply;
        }
        self.with_cookie(
            reply,
            Cookie::Browser.set(&SecretString::of(browser), self.server.issuer()),
        )
    }

    fn with_cookie(self, mut reply: Reply, cookie: Option<HeaderValue>) -> Reply {
        if let Some(cookie) = cookie {
            reply.headers_mut().append(header::SET_COOKIE, cookie);
        }
        reply
    }

    /// Whether a person should see a page of the host here.
    fn is_drawn_elsewhere(self) -> bool {
        !self.json && self.server.interaction_page().is_some()
    }

    fn path(self, path: &str) -> String {
        format!("{}{path}", self.server.issuer().path())
    }

    fn language(self, ui_locales: Option<&str>) -> &'a str {
        language::negotiate(&self.server.pages().languages(), ui_locales, self.headers)
    }

    fn describe<'s>(self, scope: &'s str, language: &str) -> &'s str
    where
        'a: 's,
    {
        let mut scopes = self.server.policy().scopes.iter();
        let found = scopes.find(|(token, _)| token.as_str() == scope);
        found.map_or(scope, |(_, definition)| definition.describe(language))
    }
}

/// Whether the answer is for a program that draws the pages itself: the host has such pages, and the
/// request is in JSON, or accepts JSON and not HTML. A program that forgets to say what it accepts must
/// not be redirected: it would follow with the code to the client.
fn speaks_json(server: &AuthorizationServer, headers: &HeaderMap) -> bool {
    if server.interaction_page().is_none() {
        return false;
    }
    let accepts = |wanted: &str| {
        let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let mut types = lines.flat_map(|line| line.split(',')).filter_map(|t| t.split(';').next());
        types.any(|media_type| media_type.trim().eq_ignore_ascii_case(wanted))
    };
    super::is_json(headers) || (accepts("application/json") && !accepts("text/html"))
}

fn sign_in_problem(refusal: &Refusal) -> Option<SignInProblem> {
    match refusal {
        Refusal::WrongCredentials => Some(SignInProblem::WrongCredentials),
        Refusal::TooManySignIns { retry_after_seconds } => {
            Some(SignInProblem::TooManyAttempts { retry_after_seconds: *retry_after_seconds })
        }
        _ => None,
    }
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = status;
    reply
}

fn json_reply(status: StatusCode, body: &impl Serialize) -> Reply {
    let mut text = Vec::with_capacity(USUAL_BODY_LEN);
    // Texts, numbers and lists of them, written to memory: that cannot fail.
    let _ = serde_json::to_writer(&mut text, body);
    let mut reply = Response::new(Bytes::from(text));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.reserve(USUAL_HEADERS);
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// Lets scripts of any origin read the answer. No cookie is looked at here, so there is nothing
/// that a script could borrow (RFC 9700 section 2.6).
pub(crate) fn share(reply: &mut Reply) {
    let any = HeaderValue::from_static("*");
    reply.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
}

fn wait(mut reply: Reply, seconds: Option<u32>) -> Reply {
    if let Some(seconds) = seconds {
        reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    reply
}
