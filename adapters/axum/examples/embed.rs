//! An authorization server and a protected resource in an axum program of its own.

use axum::{Router, routing::get};
use grantor::model::{Account, Subject};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_axum::Token;

/// Your user database.
#[derive(Debug)]
struct Users;

#[async_trait::async_trait]
impl Authenticator for Users {
    async fn verify(&self, credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
        // Look the user up and verify the password hash here.
        match credentials.username.as_str() {
            "alice" if credentials.password.expose() == "wonderland" => {
                let subject = Subject::parse("user-1").map_err(AuthenticatorError::unavailable)?;
                Ok(Verdict::Verified(Account::new(subject, "alice")))
            }
            _ => Ok(Verdict::Refused),
        }
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        // A disabled or deleted user is `None`: every token dies with the account.
        Ok((subject.as_str() == "user-1").then(|| Account::new(subject.clone(), "alice")))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = AuthorizationServer::builder("http://127.0.0.1:8400".parse()?)
        .storage(grantor_sled::SledStorage::open("data")?)
        .authenticator(Users)
        .scope("calendar.read", "See your calendar")
        .build()?;

    let calendar = Router::new()
        .route("/events", get(|Token(token): Token| async move { format!("{:?}", token.subject) }))
        .layer(grantor_axum::require_scope(&server, "calendar.read".parse()?));
    let app = Router::new().merge(calendar).merge(grantor_axum::router(server));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8400").await?;
    let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
