//! The client: a web application that wants to see a calendar.
//!
//! It is written as a client is: it knows its identifier, its secret and the server's address, and
//! learns the rest from the metadata. What it keeps for each browser is in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use grantor::model::SecretString;
use grantor::protocol::register::Registered;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value as Json;

use super::transcript::{Exchange, Line, line, short};
use super::{Addresses, PASSWORD, READ, USERNAME, WRITE};

const COOKIE: &str = "planner";
const MAX_VISITS: usize = 1000;
const MAX_ANSWER: usize = 64 * 1024;

const BROWSER: &str = "your browser";
const PLANNER: &str = "Planner (client)";
const SERVER: &str = "authorization server";
const CALENDAR: &str = "calendar (resource server)";

/// The client.
#[derive(Clone, Debug)]
pub(super) struct Planner(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    addresses: Addresses,
    client_id: String,
    client_secret: SecretString,
    visits: Mutex<BTreeMap<String, Visit>>,
    http: Client<HttpConnector, Full<Bytes>>,
    random: SystemRandom,
    pages: Environment<'static>,
}

/// What the client keeps for one browser.
#[derive(Clone, Debug, Default)]
struct Visit {
    /// What it sent along, to recognise the answer by.
    state: Option<String>,
    /// The secret behind the code challenge.
    verifier: Option<String>,
    tokens: Option<Tokens>,
    transcript: Vec<Exchange>,
}

#[derive(Clone, Debug)]
struct Tokens {
    access: String,
    refresh: Option<String>,
    scope: String,
}

/// A message that the client sent and what came back.
struct Answer {
    status: StatusCode,
    challenge: String,
    body: String,
}

impl Planner {
    pub(super) fn new(addresses: Addresses, client: &Registered) -> Self {
        let mut pages = Environment::new();
        pages.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
        // Both are compiled in and rendered by a test; a mistake in one shows as an empty page.
        let _ = pages.add_template("page", include_str!("templates/planner.html"));
        Self(Arc::new(Inner {
            addresses,
            client_id: client.client.id.to_string(),
            client_secret: client.client_secret.clone().unwrap_or_default(),
            visits: Mutex::default(),
            http: Client::builder(TokioExecutor::new()).build_http(),
            random: SystemRandom::new(),
            pages,
        }))
    }

    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/", get(home))
            .route("/connect", post(connect))
            .route("/callback", get(callback))
            .route("/read", post(read))
            .route("/write", post(write))
            .route("/refresh", post(refresh))
            .route("/revoke", post(revoke))
            .route("/forget", post(forget))
            .route("/style.css", get(style))
            .with_state(self)
    }

    /// 256 random bits as text; `None` when there are none to be had.
    fn random_text(&self) -> Option<String> {
        let mut bytes = [0; 32];
        self.0.random.fill(&mut bytes).ok()?;
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn visit(&self, headers: &HeaderMap) -> Option<(String, Visit)> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs =
            cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, key) = pairs.find(|(name, _)| *name == COOKIE)?;
        let visits = self.0.visits.lock().unwrap_or_else(PoisonError::into_inner);
        visits.get(key).map(|visit| (key.to_owned(), visit.clone()))
    }

    fn keep(&self, key: &str, visit: Visit) {
        let mut visits = self.0.visits.lock().unwrap_or_else(PoisonError::into_inner);
        if visits.len() >= MAX_VISITS {
            visits.pop_first();
        }
        visits.insert(key.to_owned(), visit);
    }

    fn page(&self, visit: &Visit, heading: &str, text: &str) -> Response {
        let inner = &self.0;
        let page = inner.pages.get_template("page").and_then(|page| {
            page.render(context! {
                heading, text,
                connected => visit.tokens.is_some(),
                can_refresh => visit.tokens.as_ref().is_some_and(|tokens| tokens.refresh.is_some()),
                scope => visit.tokens.as_ref().map(|tokens| tokens.scope.clone()),
                transcript => Value::from(Serde(visit.transcript.iter().rev().collect::<Vec<_>>())),
                issuer => inner.addresses.issuer.as_str(),
                read => READ, write => WRITE, username => USERNAME, password => PASSWORD,
            })
        });
        let policy = format!(
            "default-src 'none'; style-src 'self'; form-action 'self' {}; frame-ancestors 'none'; base-uri 'none'",
            inner.addresses.issuer
        );
        let mut response = Html(page.unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        authorization: &str,
        form: &[(&str, &str)],
    ) -> Option<Answer> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::AUTHORIZATION, authorization)
            .body(Full::new(Bytes::from(body)))
            .ok()?;
        let response = self.0.http.request(request).await.ok()?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.ok()?.to_bytes();
        let challenge = parts.headers.get(header::WWW_AUTHENTICATE).and_then(|v| v.to_str().ok());
        Some(Answer {
            status: parts.status,
            challenge: challenge.unwrap_or_default().to_owned(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// Calls the token or the revocation endpoint as this client.
    async fn call_server(
        &self,
        path: &str,
        title: &str,
        form: &[(&'static str, &str)],
        notes: &[&'static str],
        visit: &mut Visit,
    ) -> Option<Answer> {
        let pair = format!("{}:{}", self.0.client_id, self.0.client_secret.expose());
        let basic = format!("Basic {}", STANDARD.encode(pair));
        let url = format!("{}{path}", self.0.addresses.issuer);
        let answer = self.send(Method::POST, &url, &basic, form).await?;
        let mut request = vec![
            line(format!("POST {path}"), ""),
            line(
                format!("Authorization: Basic {}", short(basic.trim_start_matches("Basic "))),
                "the client proves who it is",
            ),
        ];
        request.extend(form.iter().zip(notes).map(|((name, value), note)| {
            let shown = match *name {
                "grant_type" | "redirect_uri" => (*value).to_owned(),
                _ => short(value),
            };
            line(format!("{name}={shown}"), note)
        }));
        visit.transcript.push(Exchange {
            from: PLANNER,
            to: SERVER,
            title: title.to_owned(),
            request,
            response: shown(&answer),
            refused: !answer.status.is_success(),
        });
        Some(answer)
    }

    async fn call_calendar(
        &self,
        method: Method,
        title: &str,
        visit: &mut Visit,
    ) -> Option<Answer> {
        let token = visit.tokens.as_ref()?.access.clone();
        let url = format!("{}/events", self.0.addresses.calendar);
        let answer = self.send(method.clone(), &url, &format!("Bearer {token}"), &[]).await?;
        visit.transcript.push(Exchange {
            from: PLANNER,
            to: CALENDAR,
            title: title.to_owned(),
            request: vec![
                line(format!("{method} /events"), ""),
                line(
                    format!("Authorization: Bearer {}", short(&token)),
                    "the access token, and nothing else",
                ),
            ],
            response: shown(&answer),
            refused: !answer.status.is_success(),
        });
        Some(answer)
    }
}

/// An answer line by line, with its secrets shortened.
fn shown(answer: &Answer) -> Vec<Line> {
    let mut lines = vec![line(answer.status.to_string(), "")];
    if !answer.challenge.is_empty() {
        lines.push(line(format!("WWW-Authenticate: {}", answer.challenge), "says what is missing"));
    }
    let Ok(Json::Object(body)) = serde_json::from_str(&answer.body) else {
        return lines;
    };
    for (name, value) in &body {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let (text, note) = match name.as_str() {
            "access_token" => (short(&text), "opens the calendar for an hour"),
            "refresh_token" => (short(&text), "gets the next access token, once"),
            "scope" => (text, "what you allowed"),
            "expires_in" => (text, "seconds"),
            _ => (text, ""),
        };
        lines.push(line(format!("{name}: {text}"), note));
    }
    lines
}

fn unreachable_party(planner: &Planner, visit: &Visit) -> Response {
    let mut page =
        planner.page(visit, "Nobody answered", "A server of the demo could not be reached.");
    *page.status_mut() = StatusCode::BAD_GATEWAY;
    page
}

async fn home(State(planner): State<Planner>, headers: HeaderMap) -> Response {
    let (key, visit) = planner.visit(&headers).unwrap_or_default();
    let (heading, text) = if visit.tokens.is_some() {
        ("Planner is connected", "Try what the access token opens, and what it does not.")
    } else {
        (
            "Plan your week",
            "Planner would like to look into your calendar. It never sees your password.",
        )
    };
    let mut response = planner.page(&visit, heading, text);
    if key.is_empty()
        && let Some(key) = planner.random_text()
    {
        planner.keep(&key, Visit::default());
        let cookie = format!("{COOKIE}={key}; Path=/; HttpOnly; SameSite=Lax");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
    response
}

async fn connect(State(planner): State<Planner>, headers: HeaderMap) -> Response {
    let Some((key, mut visit)) = planner.visit(&headers) else {
        return Redirect::to("/").into_response();
    };
    let Some((state, verifier)) = planner.random_text().zip(planner.random_text()) else {
        return unreachable_party(&planner, &visit);
    };
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    let redirect_uri = format!("{}/callback", planner.0.addresses.planner);
    let scope = format!("{READ} {WRITE}");
    let parameters = [
        ("response_type", "code", ""),
        ("client_id", planner.0.client_id.as_str(), "who asks"),
        ("redirect_uri", &redirect_uri, "where to bring you back, exactly as registered"),
        ("scope", &scope, "what for"),
        ("state", &state, "to recognise the answer by"),
        ("code_challenge", &challenge, "the hash of a secret that Planner keeps"),
        ("code_challenge_method", "S256", ""),
    ];
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters.iter().map(|(name, value, _)| (name, value)))
        .finish();
    let mut request = vec![line("GET /authorize", "")];
    request.extend(parameters.iter().map(|(name, value, note)| {
        let shown = if matches!(*name, "state" | "code_challenge") {
            short(value)
        } else {
            (*value).to_owned()
        };
        line(format!("{name}={shown}"), note)
    }));
    visit.transcript = vec![Exchange {
        from: BROWSER,
        to: SERVER,
        title: "Planner sent your browser to ask for access".into(),
        request,
        response: vec![line(
            "303, to the page where you sign in",
            "Planner is not there to see it",
        )],
        refused: false,
    }];
    visit.state = Some(state);
    visit.verifier = Some(verifier);
    visit.tokens = None;
    planner.keep(&key, visit);
    Redirect::to(&format!("{}/authorize?{query}", planner.0.addresses.issuer)).into_response()
}

async fn callback(
    State(planner): State<Planner>,
    headers: HeaderMap,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    let Some((key, mut visit)) = planner.visit(&headers) else {
        return Redirect::to("/").into_response();
    };
    let parameter = |name: &str| parameters.get(name).map(String::as_str);
    let mut request = vec![line("GET /callback", "")];
    for (name, note) in [
        ("code", "works once, for a minute, and only together with the two secrets of Planner"),
        ("error", "why there is no code"),
        ("state", "the one that Planner sent: this answer is to its own question"),
        ("iss", "which server answered"),
    ] {
        request.extend(parameter(name).map(|value| {
            let shown =
                if name == "iss" || name == "error" { value.to_owned() } else { short(value) };
            line(format!("{name}={shown}"), note)
        }));
    }
    // What every client has to look at before it believes an answer (RFC 6749 section 10.12,
    // RFC 9207 section 2.4).
    let ours = visit.state.is_some() && parameter("state") == visit.state.as_deref();
    let from_server = parameter("iss") == Some(planner.0.addresses.issuer.as_str());
    let believed = ours && from_server;
    visit.transcript.push(Exchange {
        from: SERVER,
        to: BROWSER,
        title: "Your answer came back through your browser".into(),
        request,
        response: vec![line(
            if believed { "believed" } else { "not believed: state or iss is not right" },
            "",
        )],
        refused: !believed || parameter("error").is_some(),
    });
    if !believed {
        return planner.page(
            &visit,
            "That was not our question",
            "The answer does not belong to a question that Planner asked from this browser.",
        );
    }
    visit.state = None;
    let (Some(code), Some(verifier)) = (parameter("code"), visit.verifier.take()) else {
        planner.keep(&key, visit.clone());
        return planner.page(
            &visit,
            "You said no",
            "Planner got nothing, and knows no more than that.",
        );
    };
    let redirect_uri = format!("{}/callback", planner.0.addresses.planner);
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", &verifier),
    ];
    let notes = ["", "", "the same as before", "the secret behind the challenge"];
    let title = "Planner traded the code for tokens, behind your browser's back";
    let Some(answer) = planner.call_server("/token", title, &form, &notes, &mut visit).await else {
        return unreachable_party(&planner, &visit);
    };
    visit.tokens = tokens_of(&answer, None);
    planner.keep(&key, visit.clone());
    if visit.tokens.is_none() {
        return planner.page(&visit, "The code was refused", "See below what the server said.");
    }
    // The code is spent; a reload of this address would present it again.
    Redirect::to("/").into_response()
}

fn tokens_of(answer: &Answer, before: Option<&Tokens>) -> Option<Tokens> {
    let body: Json = serde_json::from_str(&answer.body).ok()?;
    let text = |name: &str| body.get(name).and_then(Json::as_str).map(str::to_owned);
    let kept = before.and_then(|tokens| tokens.refresh.clone());
    Some(Tokens {
        access: text("access_token")?,
        refresh: text("refresh_token").or(kept),
        scope: text("scope").unwrap_or_default(),
    })
}

async fn read(State(planner): State<Planner>, headers: HeaderMap) -> Response {
    ask_calendar(&planner, &headers, Method::GET, "Planner asked for your events").await
}

async fn write(State(planner): State<Planner>, headers: HeaderMap) -> Response {
    ask_calendar(&planner, &headers, Method::POST, "Planner tried to add an event").await
}

async fn ask_calendar(
    planner: &Planner,
    headers: &HeaderMap,
    method: Method,
    title: &str,
) -> Response {
    let Some((key, mut visit)) = planner.visit(headers) else {
        return Redirect::to("/").into_response();
    };
    if visit.tokens.is_none() {
        return Redirect::to("/").into_response();
    }
    let Some(answer) = planner.call_calendar(method, title, &mut visit).await else {
        return unreachable_party(planner, &visit);
    };
    planner.keep(&key, visit.clone());
    let (heading, text) = match answer.status {
        StatusCode::OK => ("The calendar answered", "The token was active and had the scope."),
        StatusCode::FORBIDDEN => {
            ("The calendar refused", "The token is active, but you did not allow this.")
        }
        StatusCode::UNAUTHORIZED => ("The calendar refused", "The token is not active any more."),
        _ => ("The calendar refused", "See below what it said."),
    };
    planner.page(&visit, heading, text)
}

async fn refresh(State(planner): State<Planner>, headers: HeaderMap) -> Response {
    let Some((key, mut visit)) = planner.visit(&headers) else {
        return Redirect::to("/").into_response();
    };
    let Some(token) = visit.tokens.as_ref().and_then(|tokens| tokens.refresh.clone()) else {
        return Redirect::to("/").into_response();
    };
    let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    let notes = ["", "used now, and retired by it"];
    let title = "Planner asked for a new access token, without you";
    let Some(answer) = planner.call_server("/token", title, &form, &notes, &mut visit).await else {
        return unreachable_party(&planner, &visit);
    };
    if let Some(tokens) = tokens_of(&answer, visit.tokens.as_ref()) {
        visit.tokens = Some(tokens);
    }
    planner.keep(&key, visit.clone());
    if answer.status.is_success() {
        planner.page(
            &visit,
            "Refreshed",
            "There are new tokens, and the old refresh token is retired.",
        )
    } else {
        planner.page(&visit, "The refresh was refused", "See below what the server said.")
    }
}

async fn revoke(State(planner): State<Planner>, headers: HeaderMap) -> Response {
    let Some((key, mut visit)) = planner.visit(&headers) else {
        return Redirect::to("/").into_response();
    };
    let Some(tokens) = visit.tokens.clone() else {
        return Redirect::to("/").into_response();
    };
    let token = tokens.refresh.unwrap_or(tokens.access);
    let form = [("token", token.as_str())];
    let notes = ["with it dies every access token of the same authorization"];
    let title = "Planner gave its access back";
    let Some(answer) = planner.call_server("/revoke", title, &form, &notes, &mut visit).await
    else {
        return unreachable_party(&planner, &visit);
    };
    planner.keep(&key, visit.clone());
    if answer.status.is_success() {
        planner.page(
            &visit,
            "Revoked",
            "Planner still holds the tokens, but they open nothing. Read the events to see.",
        )
    } else {
        planner.page(&visit, "The revocation was refused", "See below what the server said.")
    }
}

async fn forget(State(planner): State<Planner>, headers: HeaderMap) -> Response {
    if let Some((key, _)) = planner.visit(&headers) {
        planner.keep(&key, Visit::default());
    }
    Redirect::to("/").into_response()
}

async fn style() -> Response {
    let css = HeaderValue::from_static("text/css; charset=utf-8");
    ([(header::CONTENT_TYPE, css)], include_str!("templates/planner.css")).into_response()
}
