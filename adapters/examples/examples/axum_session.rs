//! An axum program that has sessions (`tower-sessions`) and a table of users in PostgreSQL (`sqlx`):
//! `users (id text, name text, password text, disabled boolean)`, with hashes of Argon2.
//!
//! Grantor sends a visitor whom it does not know to `/login`. This program finds out who it is and keeps
//! that in its session, as it always did.

use std::error::Error;

use argon2::{Argon2, PasswordVerifier as _};
use axum::BoxError;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use grantor::engine::Builder;
use grantor::model::{Account, Authentication, Subject};
use grantor::wire::LoginRequest;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials};
use grantor_axum::{Token, login_request};
use grantor_sled::SledStorage;
use sqlx::{PgPool, query_as, query_scalar};
use tokio::net::TcpListener;
use tokio::task::block_in_place;
use tower_sessions::cookie::SameSite;
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

/// Their table.
#[derive(Clone, Debug)]
pub struct Users(pub PgPool);

#[async_trait::async_trait]
impl Authenticator for Users {
    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        let query = query_scalar("SELECT name FROM users WHERE id = $1 AND NOT disabled");
        let name = query.bind(subject.as_str()).fetch_optional(&self.0).await;
        let name: Option<String> = name.map_err(AuthenticatorError::unavailable)?;
        Ok(name.map(|name| Account::new(subject.clone(), name)))
    }
}

/// Of no password. So an unknown name takes as long as a wrong password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IG5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAA";
/// The form is posted to the address of the page, and so with its query.
const PAGE: &str = r#"<!doctype html><title>Sign in</title><form method="post">
    <input name="username"><input name="password" type="password"><button>Sign in</button></form>"#;

async fn sign_in(
    State((server, users)): State<(AuthorizationServer, Users)>,
    session: Session,
    parts: Parts,
    Form(given): Form<Credentials>,
) -> Result<Response, StatusCode> {
    let login = login_request(&server, &parts)?;
    let found = query_as("SELECT id, password FROM users WHERE name = $1 AND NOT disabled");
    let found = found.bind(given.username).fetch_optional(&users.0).await.map_err(away)?;
    let (id, hash): (String, String) = found.unwrap_or(("nobody".into(), NOBODY.into()));
    let password = given.password.expose().as_bytes();
    if block_in_place(|| Argon2::default().verify_password(password, &*hash)).is_err() {
        return Ok((StatusCode::FORBIDDEN, Html(PAGE)).into_response());
    }
    let subject = Subject::parse(&id).map_err(away)?;
    session.cycle_id().await.map_err(away)?;
    let user = Authentication { subject, auth_time: server.now() };
    session.insert("user", user).await.map_err(away)?;
    Ok(Redirect::to(login.as_ref().map_or("/", LoginRequest::return_to)).into_response())
}

fn away(_: impl Error) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

/// The program: its pages, the authorization server, and a protected resource.
pub async fn run(listener: TcpListener, builder: Builder, users: Users) -> Result<(), BoxError> {
    let builder = builder.authenticator(users.clone()).login_page("/login");
    let server = builder.scope("profile", "See your name").build()?;
    let me = get(|Token(token): Token| async { token.username.unwrap_or_default() })
        .layer(grantor_axum::require_scope(&server, "profile".parse()?));
    // A visitor comes from another site, the client's: a strict cookie would stay at home.
    let sessions = SessionManagerLayer::new(MemoryStore::default()).with_same_site(SameSite::Lax);
    let sign_out = |session: Session| async move { session.flush().await.map_err(away) };
    let who = |session: Session| async move { session.get("user").await };
    let app = grantor_axum::router_with(server.clone(), who)
        .route("/login", get(Html(PAGE)).post(sign_in))
        .route("/logout", post(sign_out))
        .layer(sessions)
        .route("/me", me)
        .with_state((server, users));
    Ok(axum::serve(listener, app).await?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let users = Users(PgPool::connect(&std::env::var("DATABASE_URL")?).await?);
    let issuer = "http://127.0.0.1:8400".parse()?;
    let builder = AuthorizationServer::builder(issuer).storage(SledStorage::open("data")?);
    run(TcpListener::bind("127.0.0.1:8400").await?, builder, users).await
}
