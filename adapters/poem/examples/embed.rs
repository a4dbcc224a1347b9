//! An authorization server and a protected resource in a poem program of its own.

use grantor::model::{Account, Subject};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_poem::{Grantor, Token, require_scope};
use poem::listener::TcpListener;
use poem::{EndpointExt as _, Route, Server, get, handler};

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

#[handler]
fn events(Token(token): Token) -> String {
    format!("{:?}", token.subject)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = AuthorizationServer::builder("http://127.0.0.1:8400".parse()?)
        .storage(grantor_sled::SledStorage::open("data")?)
        .authenticator(Users)
        .scope("calendar.read", "See your calendar")
        .build()?;

    let guard = require_scope(&server, "calendar.read".parse()?);
    let app = Route::new().at("/events", get(events).with(guard)).with(Grantor::new(&server));

    Ok(Server::new(TcpListener::bind("127.0.0.1:8400")).run(app).await?)
}
