//! Grantor on axum with what goes on beside requests: `grantor-tail STORE.. GRANTS [sweep]`.
//!
//! Before it listens it writes so many live grants, and a tenth as many that are past their time. `POST /login` checks
//! a password as the ready server does, with its user directory. With `sweep` it sweeps without end, as the
//! ready server does when a walk is late.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Form, State};
use axum::routing::post;
use grantor::model::SecretString;
use grantor::{Authenticator as _, Credentials, Verdict};
use grantor_bench::contender::{Fatal, Ready, serve};
use grantor_bench::embedded::{self, StoppedClock};
use grantor_bench::fill::{Template, fill};
use grantor_bench::flow::{Client, wrong};
use grantor_server::shutdown;
use grantor_server::sweep::Sweeper;
use grantor_server::users::{Directory, Sources};
use http::StatusCode;
use serde::Deserialize;

/// Longer than an access token and its record last, shorter than a refresh token does.
const LATER: Duration = Duration::from_secs(3 * 3600);

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

async fn login(State(users): State<Directory>, Form(login): Form<Login>) -> StatusCode {
    let Login { username, password } = login;
    let credentials = Credentials { username, password: SecretString::new(password), source: None };
    match users.verify(&credentials).await {
        Ok(Verdict::Verified(_)) => StatusCode::OK,
        Ok(Verdict::Refused) => StatusCode::FORBIDDEN,
        Ok(Verdict::Throttled { .. }) => StatusCode::TOO_MANY_REQUESTS,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let mut arguments = std::env::args().skip(1);
    let storage = embedded::store(&mut arguments).await?;
    let grants: u64 = arguments.next().ok_or("how many grants?")?.parse()?;
    let clock = StoppedClock::new();
    let (server, secret) = embedded::server(Arc::clone(&storage), clock.clone()).await?;
    let client = Client::new(&secret);
    let template = Template::new(&server, &client).await?;
    fill(&storage, template, grants, grants, 256).await?;
    let mut issuers = tokio::task::JoinSet::new();
    for share in 0..64 {
        let (server, client) = (server.clone(), client.clone());
        issuers.spawn(async move {
            for _ in (share..grants / 10).step_by(64) {
                let answer = server.handle(client.client_credentials()?).await;
                if answer.status() != StatusCode::OK {
                    return Err(wrong(&answer));
                }
            }
            Ok(())
        });
    }
    while let Some(ended) = issuers.join_next().await {
        ended??;
    }
    clock.advance(LATER);

    let users = Directory::new(storage, Sources::Direct)?;
    // Where it is dropped the sweep ends.
    let (_trigger, shutdown) = shutdown::channel();
    if arguments.next().is_some_and(|argument| argument == "sweep") {
        let at_once = Duration::ZERO;
        let sweeper =
            Sweeper { step: at_once, rest: at_once, jitter: at_once, ..Sweeper::default() };
        tokio::spawn(sweeper.run(server.clone(), shutdown));
    }
    let login = Router::new().route("/login", post(login)).with_state(users);
    let app = login.merge(grantor_axum::router(server));
    serve(app, Ready { secret: secret.expose().to_owned(), ..Ready::usual() }).await
}
