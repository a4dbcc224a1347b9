//! A calendar that oxide-auth guards. Signing in, the session, the consent page and its protection against forged
//! requests are the host's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use oxide_auth::endpoint::{
    AccessTokenFlow, AuthorizationFlow, OwnerConsent, QueryParameter, RefreshFlow, ResourceFlow,
    Scope, Solicitation, WebResponse,
};
use oxide_auth::frontends::simple::endpoint::{FnSolicitor, Generic, Vacant};
use oxide_auth::frontends::simple::extensions::{AddonList, Extended, Pkce};
use oxide_auth::primitives::prelude::{AuthMap, Client, ClientMap, RandomGenerator, TokenMap};
use oxide_auth::primitives::registrar::{ExactUrl, RegisteredUrl};
use oxide_auth_axum::{OAuthRequest, OAuthResource, OAuthResponse, WebError};
use rand::RngCore;

/// Who is signed in in a browser, and what its forms must carry.
#[derive(Clone)]
struct Session {
    subject: String,
    form_token: String,
}

struct App {
    clients: Mutex<ClientMap>,
    codes: Mutex<AuthMap<RandomGenerator>>,
    tokens: Mutex<TokenMap<RandomGenerator>>,
    sessions: Mutex<HashMap<String, Session>>,
}

type Shared = Arc<App>;
type Endpoint<'a, S> = Extended<
    Generic<
        MutexGuard<'a, ClientMap>,
        MutexGuard<'a, AuthMap<RandomGenerator>>,
        MutexGuard<'a, TokenMap<RandomGenerator>>,
        S,
        Vec<Scope>,
    >,
    AddonList,
>;

impl App {
    fn endpoint<S>(&self, solicitor: S) -> Endpoint<'_, S> {
        let generic = Generic {
            registrar: self.clients.lock().unwrap(),
            authorizer: self.codes.lock().unwrap(),
            issuer: self.tokens.lock().unwrap(),
            solicitor,
            scopes: vec!["calendar.read".parse().unwrap()],
            response: Vacant,
        };
        let mut addons = AddonList::new();
        addons.push_code(Pkce::required());
        Extended::extend_with(generic, addons)
    }

    fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
        let id = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="))?;
        self.sessions.lock().unwrap().get(id).cloned()
    }
}

fn random() -> String {
    let mut bytes = [0; 32];
    rand::rngs::OsRng.fill_bytes(&mut bytes);
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
    let session = Session { subject: "user-1".to_owned(), form_token };
    app.sessions.lock().unwrap().insert(id.clone(), session);
    let cookie = format!("session={id}; HttpOnly; SameSite=Lax; Path=/");
    ([(header::SET_COOKIE, cookie)], Redirect::to(return_to)).into_response()
}

fn consent_page(uri: &Uri, session: &Session, solicitation: &Solicitation<'_>) -> OAuthResponse {
    let grant = solicitation.pre_grant();
    let page = format!(
        "<!doctype html><title>Allow?</title><p>{} wants: {}</p><form method=post action=\"{}\">\
         <input type=hidden name=form_token value=\"{}\">\
         <button name=decision value=allow>Allow</button>\
         <button name=decision value=deny>Deny</button></form>",
        escape(&grant.client_id),
        escape(&grant.scope.to_string()),
        escape(&uri.to_string()),
        session.form_token,
    );
    let mut response = OAuthResponse::default().body(&page).content_type("text/html").unwrap();
    response.ok().unwrap();
    response
}

/// Both the page and the answer to it.
async fn authorize(
    State(app): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    request: OAuthRequest,
) -> Result<Response, WebError> {
    let Some(session) = app.session(&headers) else {
        let return_to: String = uri.to_string().bytes().map(|b| format!("%{b:02X}")).collect();
        return Ok(Redirect::to(&format!("/login?return_to={return_to}")).into_response());
    };
    let solicitor = FnSolicitor(move |request: &mut OAuthRequest, asked: Solicitation<'_>| {
        let field = |name| request.body().and_then(|body| body.unique_value(name));
        if field("form_token").as_deref() != Some(session.form_token.as_str()) {
            return OwnerConsent::InProgress(consent_page(&uri, &session, &asked));
        }
        match field("decision").as_deref() {
            Some("allow") => OwnerConsent::Authorized(session.subject.clone()),
            _ => OwnerConsent::Denied,
        }
    });
    let mut flow = AuthorizationFlow::prepare(app.endpoint(solicitor))?;
    Ok(flow.execute(request)?.into_response())
}

async fn token(State(app): State<Shared>, request: OAuthRequest) -> Result<Response, WebError> {
    let grant_type = request.body().and_then(|body| body.unique_value("grant_type"));
    let response = match grant_type.as_deref() {
        Some("refresh_token") => RefreshFlow::prepare(app.endpoint(Vacant))?.execute(request)?,
        _ => {
            let mut flow = AccessTokenFlow::prepare(app.endpoint(Vacant))?;
            flow.allow_credentials_in_body(true);
            flow.execute(request)?
        }
    };
    Ok(response.into_response())
}

async fn events(State(app): State<Shared>, request: OAuthResource) -> Result<String, Response> {
    let flow = ResourceFlow::prepare(app.endpoint(Vacant));
    let mut flow = flow.map_err(|error| WebError::from(error).into_response())?;
    match flow.execute(request.into()) {
        Ok(grant) => Ok(format!("lunch of {}", grant.owner_id)),
        Err(Ok(challenge)) => Err(challenge.into_response()),
        Err(Err(error)) => Err(WebError::from(error).into_response()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let redirect_uri = ExactUrl::new("http://127.0.0.1:8917/cb".to_owned())?;
    let scope: Scope = "calendar.read".parse()?;
    let mut clients = ClientMap::new();
    clients.register_client(Client::public(
        "calendar-app",
        RegisteredUrl::Exact(redirect_uri),
        scope,
    ));
    let tokens = TokenMap::new(RandomGenerator::new(32));
    let app = App {
        clients: Mutex::new(clients),
        codes: Mutex::new(AuthMap::new(RandomGenerator::new(32))),
        tokens: Mutex::new(tokens),
        sessions: Mutex::default(),
    };
    let app = Router::new()
        .route("/login", get(login_form).post(login))
        .route("/authorize", get(authorize).post(authorize))
        .route("/token", post(token))
        .route("/events", get(events))
        .with_state(Arc::new(app));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8400").await?;
    Ok(axum::serve(listener, app).await?)
}
