//! A calendar that Grantor guards.

use axum::{Router, routing::get};
use grantor::model::{Account, ClientId, ScopeSet, Subject};
use grantor::protocol::register::Registration;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_axum::Token;

#[derive(Debug)]
struct Users;

#[async_trait::async_trait]
impl Authenticator for Users {
    async fn verify(&self, credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
        match credentials.username.as_str() {
            "alice" if credentials.password.expose() == "wonderland" => {
                let subject = Subject::parse("user-1").map_err(AuthenticatorError::unavailable)?;
                Ok(Verdict::Verified(Account::new(subject, "alice")))
            }
            _ => Ok(Verdict::Refused),
        }
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok((subject.as_str() == "user-1").then(|| Account::new(subject.clone(), "alice")))
    }
}

async fn events(Token(token): Token) -> String {
    format!("lunch of {:?}", token.subject)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(not(feature = "sled"))]
    let storage = grantor::storage::MemoryStorage::new();
    #[cfg(feature = "sled")]
    let storage = grantor_sled::SledStorage::open("data")?;
    let server = AuthorizationServer::builder("http://127.0.0.1:8400".parse()?)
        .storage(storage)
        .authenticator(Users)
        .scope("calendar.read", "See your calendar")
        .build()?;
    let scope: ScopeSet = "calendar.read".parse()?;
    let redirect_uri = "http://127.0.0.1:8917/cb";
    let mut client = Registration::public("Calendar App", redirect_uri, scope.clone());
    client.client_id = Some(ClientId::parse("calendar-app")?);
    server.register_client(&client).await?;

    let calendar = Router::new()
        .route("/events", get(events))
        .layer(grantor_axum::require_scope(&server, scope));
    let app = Router::new().merge(calendar).merge(grantor_axum::router(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8400").await?;
    let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
