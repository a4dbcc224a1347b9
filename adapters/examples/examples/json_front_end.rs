//! A program that has an API and no pages: its front end draws sign-in and consent from JSON, and so may be a
//! single-page app, as here, or a native app that keeps cookies.
//!
//! Grantor sends a visitor who has something to answer to `/app`, and asks and answers what the page shows.

use std::collections::HashMap;

use argon2::{Argon2, PasswordVerifier as _};
use axum::BoxError;
use axum::response::Html;
use axum::routing::get;
use grantor::engine::Builder;
use grantor::model::{Account, Subject};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_axum::{Token, require_scope};
use grantor_sled::SledStorage;
use tokio::net::TcpListener;
use tokio::task::block_in_place;

/// The hashes of the users' passwords, by name.
#[derive(Debug)]
pub struct Users(pub HashMap<String, String>);

/// Of no password. So an unknown name takes as long as a wrong password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IG5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAA";
const PAGE: &str = include_str!("json_front_end.html");

#[async_trait::async_trait]
impl Authenticator for Users {
    async fn verify(&self, given: &Credentials) -> Result<Verdict, AuthenticatorError> {
        let hash = self.0.get(&given.username).map_or(NOBODY, String::as_str);
        let password = given.password.expose().as_bytes();
        let right = block_in_place(|| Argon2::default().verify_password(password, hash)).is_ok();
        let user = Subject::parse(&given.username).ok().filter(|_| right);
        let user = user.map(|user| Account::new(user, &given.username));
        Ok(user.map_or(Verdict::Refused, Verdict::Verified))
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        let known = self.0.contains_key(subject.as_str());
        Ok(known.then(|| Account::new(subject.clone(), subject.as_str())))
    }
}

/// The program: its page, the authorization server, and a protected resource.
pub async fn run(listener: TcpListener, builder: Builder, users: Users) -> Result<(), BoxError> {
    let builder = builder.authenticator(users).interaction_page("/app");
    let server = builder.scope("profile", "See your name").build()?;
    let me = get(|Token(token): Token| async { token.username.unwrap_or_default() })
        .layer(require_scope(&server, "profile".parse()?));
    let app = grantor_axum::router(server).route("/app", get(Html(PAGE))).route("/me", me);
    Ok(axum::serve(listener, app).await?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let users = serde_json::from_slice(&std::fs::read("users.json")?)?;
    let issuer = "http://127.0.0.1:8400".parse()?;
    let builder = AuthorizationServer::builder(issuer).storage(SledStorage::open("data")?);
    run(TcpListener::bind("127.0.0.1:8400").await?, builder, Users(users)).await
}
