//! An authorization server and a protected resource in a Lambda function of its own.

use std::convert::Infallible;

use bytes::Bytes;
use grantor::model::{Account, Subject};
use grantor::resource::ValidToken;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_lambda::{Grantor, RequireScope, ResponseBody};
use lambda_http::tower::{Layer as _, service_fn};
use lambda_http::{Request, Response, Service as _};

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

async fn events(request: Request) -> Result<Response<ResponseBody>, Infallible> {
    let subject = request.extensions().get::<ValidToken>().map(|token| &token.subject);
    Ok(Response::new(Bytes::from(format!("{subject:?}")).into()))
}

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let redis = grantor_redis::RedisStorage::open(&std::env::var("REDIS_URL")?).await?;
    let server = AuthorizationServer::builder(std::env::var("ISSUER")?.parse()?)
        .storage(redis)
        .authenticator(Users)
        .scope("calendar.read", "See your calendar")
        .build()?;

    let guard = RequireScope::new(&server, "calendar.read".parse()?);
    let (events, grantor) = (guard.layer(service_fn(events)), Grantor::new(server));

    lambda_http::run(service_fn(move |request: Request| match request.uri().path() {
        "/events" => events.clone().call(request),
        _ => grantor.clone().call(request),
    }))
    .await
}
