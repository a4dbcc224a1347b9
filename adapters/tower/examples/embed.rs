//! An authorization server and a protected resource in a program on hyper.

use std::convert::Infallible;

use bytes::Bytes;
use grantor::model::{Account, Subject};
use grantor::resource::ValidToken;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_tower::{GrantorService, RequireScope, ResponseBody};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tower_layer::Layer as _;
use tower_service::Service as _;

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

async fn events(request: Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
    let subject = request.extensions().get::<ValidToken>().map(|token| &token.subject);
    Ok(Response::new(Bytes::from(format!("{subject:?}")).into()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = AuthorizationServer::builder("http://127.0.0.1:8400".parse()?)
        .storage(grantor_sled::SledStorage::open("data")?)
        .authenticator(Users)
        .scope("calendar.read", "See your calendar")
        .build()?;

    let guard = RequireScope::new(&server, "calendar.read".parse()?);
    let (events, grantor) = (guard.layer(tower::service_fn(events)), GrantorService::new(server));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8400").await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        let (events, grantor) = (events.clone(), grantor.clone());
        let answer = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            match request.uri().path() {
                "/events" => events.clone().call(request),
                _ => grantor.clone().call(request),
            }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new());
        tokio::spawn(http.serve_connection(TokioIo::new(stream), answer));
    }
}
