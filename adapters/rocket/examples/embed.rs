//! An authorization server and a protected resource in a Rocket program of its own.

use grantor::model::{Account, Subject};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_rocket::{Token, require_scope};
use rocket::{Config, get, routes};

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

#[get("/events")]
fn events(token: Token) -> String {
    format!("{:?}", token.0.subject)
}

#[rocket::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = AuthorizationServer::builder("http://127.0.0.1:8400".parse()?)
        .storage(grantor_sled::SledStorage::open("data")?)
        .authenticator(Users)
        .scope("calendar.read", "See your calendar")
        .build()?;

    let calendar = require_scope(&server, "calendar.read".parse()?, routes![events]);
    rocket::custom(Config::figment().merge(("port", 8400)))
        .mount("/", calendar)
        .mount("/", grantor_rocket::routes(&server))
        .launch()
        .await?;
    Ok(())
}
