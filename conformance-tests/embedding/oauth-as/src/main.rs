//! A calendar that oauth-as guards. Signing in, the session, the consent page and its protection against forged
//! requests are the host's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Form, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use oauth_as::client::{Client, ClientAuth, ClientId};
use oauth_as::grant::GrantType;
use oauth_as::http::{ApprovalDecision, ApprovalRequest, Body, ServiceBuilder};
use oauth_as::scope::ScopeSet;
use oauth_as::server::{AuthorizationServer, ServerConfig};
use oauth_as::store::MemoryStorage;

const ISSUER: &str = "http://127.0.0.1:8400";

/// Who is signed in in a browser, what its forms must carry, and what was decided on which request, once.
struct Session {
    subject: String,
    form_token: String,
    decisions: HashMap<String, bool>,
}

struct App {
    server: Arc<AuthorizationServer<MemoryStorage>>,
    sessions: Mutex<HashMap<String, Session>>,
}

type Shared = Arc<App>;

impl App {
    fn with_session<T>(&self, headers: &HeaderMap, f: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
        let id = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="))?;
        self.sessions.lock().unwrap().get_mut(id).map(f)
    }

    fn approve(&self, request: &ApprovalRequest<'_>) -> ApprovalDecision {
        let address = request.uri.to_string();
        let decided = self.with_session(request.headers, |session| {
            session.decisions.remove(&address).ok_or_else(|| session.form_token.clone())
        });
        match decided {
            Some(Ok(true)) => ApprovalDecision::Approve,
            Some(Err(form_token)) => {
                let page = consent_page(request, &address, &form_token);
                let mut response = oauth_as::http::Response::new(Body::from(page));
                let html = "text/html; charset=utf-8".parse().unwrap();
                response.headers_mut().insert(header::CONTENT_TYPE, html);
                ApprovalDecision::Respond(Box::new(response))
            }
            Some(Ok(false)) | None => ApprovalDecision::Deny,
        }
    }
}

fn random() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Back to where the visitor came from, and nowhere else.
fn local(address: &str) -> Option<&str> {
    address.starts_with("/authorize?").then_some(address)
}

fn login_page(return_to: &str, problem: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><title>Sign in</title><p>{problem}</p><form method=post action=/login>\
         <input type=hidden name=return_to value=\"{}\"><input name=username>\
         <input name=password type=password><button>Sign in</button></form>",
        escape(return_to)
    ))
}

async fn login_form(Query(query): Query<HashMap<String, String>>) -> Response {
    match query.get("return_to").and_then(|address| local(address)) {
        Some(return_to) => login_page(return_to, "").into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn login(State(app): State<Shared>, Form(form): Form<HashMap<String, String>>) -> Response {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let Some(return_to) = local(field("return_to")) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if (field("username"), field("password")) != ("alice", "wonderland") {
        let page = login_page(return_to, "That is not right.");
        return (StatusCode::UNAUTHORIZED, page).into_response();
    }
    let (id, form_token) = (random(), random());
    let session = Session { subject: "user-1".to_owned(), form_token, decisions: HashMap::new() };
    app.sessions.lock().unwrap().insert(id.clone(), session);
    let cookie = format!("session={id}; HttpOnly; SameSite=Lax; Path=/");
    ([(header::SET_COOKIE, cookie)], Redirect::to(return_to)).into_response()
}

fn consent_page(request: &ApprovalRequest<'_>, address: &str, form_token: &str) -> String {
    format!(
        "<!doctype html><title>Allow?</title><p>{} wants: {}</p><form method=post action=/consent>\
         <input type=hidden name=form_token value=\"{form_token}\">\
         <input type=hidden name=return_to value=\"{}\">\
         <button name=decision value=allow>Allow</button>\
         <button name=decision value=deny>Deny</button></form>",
        escape(request.client_id.as_str()),
        escape(&request.scope.to_string()),
        escape(address),
    )
}

async fn consent(
    State(app): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let Some(return_to) = local(field("return_to")) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let recorded = app.with_session(&headers, |session| {
        let ours = field("form_token") == session.form_token;
        ours.then(|| session.decisions.insert(return_to.to_owned(), field("decision") == "allow"))
    });
    match recorded.flatten() {
        Some(_) => Redirect::to(return_to).into_response(),
        None => StatusCode::FORBIDDEN.into_response(),
    }
}

/// The service refuses whoever is not signed in, so they are sent to sign in before they reach it.
async fn sign_in_first(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let known = app.with_session(request.headers(), |_| ()).is_some();
    if known || request.uri().path() != "/authorize" {
        return next.run(request).await;
    }
    let return_to: String =
        request.uri().to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    Redirect::to(&format!("/login?return_to={return_to}")).into_response()
}

async fn events(State(app): State<Shared>, headers: HeaderMap) -> Result<String, Response> {
    let challenge = |status: StatusCode, challenge: &'static str| {
        (status, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
    };
    let credentials = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = credentials.and_then(|value| value.strip_prefix("Bearer ")) else {
        return Err(challenge(StatusCode::UNAUTHORIZED, "Bearer"));
    };
    match app.server.introspect(token).await {
        Ok(Some(token)) if token.scope.iter().any(|scope| scope.as_str() == "calendar.read") => {
            Ok(format!("lunch of {:?}", token.subject))
        }
        Ok(Some(_)) => {
            let wanted = "Bearer error=\"insufficient_scope\", scope=\"calendar.read\"";
            Err(challenge(StatusCode::FORBIDDEN, wanted))
        }
        Ok(None) => Err(challenge(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\"")),
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE.into_response()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = ServerConfig::new(ISSUER.to_owned(), format!("{ISSUER}/device"));
    let server = Arc::new(AuthorizationServer::new(config, MemoryStorage::new()));
    let scope = ScopeSet::from_tokens(["calendar.read"])?;
    server
        .register_client(Client {
            client_id: ClientId::new("calendar-app"),
            auth: ClientAuth::Public,
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            redirect_uris: vec!["http://127.0.0.1:8917/cb".to_owned()],
            allowed_scopes: scope.clone(),
            default_scopes: scope,
            name: Some("Calendar App".to_owned()),
            registration: None,
        })
        .await?;
    let app = Arc::new(App { server: Arc::clone(&server), sessions: Mutex::default() });
    let (subjects, approvals) = (Arc::clone(&app), Arc::clone(&app));
    let service = ServiceBuilder::new(server)
        .with_subject_resolver(move |headers| {
            subjects.with_session(headers, |session| session.subject.clone())
        })
        .with_approval_resolver(move |request| approvals.approve(request))
        .build()?;
    let app = Router::new()
        .route("/login", get(login_form).post(login))
        .route("/consent", post(consent))
        .route("/events", get(events))
        .with_state(Arc::clone(&app))
        .merge(Router::from(service))
        .layer(middleware::from_fn_with_state(app, sign_in_first));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8400").await?;
    Ok(axum::serve(listener, app).await?)
}
