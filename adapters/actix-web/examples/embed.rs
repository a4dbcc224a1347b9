//! An authorization server and a protected resource in an actix-web program of its own.

use actix_web::{App, HttpServer, web};
use grantor::model::{Account, Subject};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_actix_web::{Token, require_scope};

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

async fn events(Token(token): Token) -> String {
    format!("{:?}", token.subject)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = AuthorizationServer::builder("http://127.0.0.1:8400".parse()?)
        .storage(grantor_sled::SledStorage::open("data")?)
        .authenticator(Users)
        .scope("calendar.read", "See your calendar")
        .build()?;

    let guard = require_scope(&server, "calendar.read".parse()?);
    let app = move || {
        App::new()
            .configure(grantor_actix_web::configure(&server))
            .service(web::resource("/events").get(events).wrap(guard.clone()))
    };
    Ok(HttpServer::new(app).bind("127.0.0.1:8400")?.run().await?)
}
