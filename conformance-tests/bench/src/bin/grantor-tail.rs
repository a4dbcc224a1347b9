//! Grantor on axum with what goes on beside requests: `grantor-tail STORE.. GRANTS [SECONDS]`.
//!
//! Before it listens it writes so many live grants. `POST /login` checks a password as the ready server does, with
//! its user directory. With `SECONDS` there are a tenth as many access tokens, of which one after the other expires
//! in this time, and it sweeps without end, as the ready server does when a walk is late.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Form, State};
use axum::routing::post;
use grantor::model::SecretString;
use grantor::{Authenticator as _, Credentials, Verdict};
use grantor_bench::contender::{Fatal, Ready, serve};
use grantor_bench::embedded::{self, StoppedClock};
use grantor_bench::fill::{Template, fill, issue_what_expires, made_in};
use grantor_bench::flow::Client;
use grantor_server::shutdown;
use grantor_server::sweep::Sweeper;
use grantor_server::users::{Directory, Sources};
use http::StatusCode;
use serde::Deserialize;

/// How long the record of an access token lasts.
const LASTS: Duration = Duration::from_secs(2 * 3600);
/// How often the clock is put forward.
const TICK: Duration = Duration::from_millis(1);

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

/// Lets so much time pass, within this.
async fn pass(clock: StoppedClock, time: Duration, within: Duration) {
    let step = time.mul_f64(TICK.as_secs_f64() / within.as_secs_f64());
    let mut ticks = tokio::time::interval(TICK);
    let mut passed = Duration::ZERO;
    while passed < time {
        ticks.tick().await;
        clock.advance(step);
        passed += step;
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

    let users = Directory::new(storage, Sources::Direct)?;
    // Where it is dropped the sweep ends.
    let (_trigger, shutdown) = shutdown::channel();
    if let Some(seconds) = arguments.next() {
        let seconds = Duration::from_secs(seconds.parse()?);
        // So that none has expired when the last is issued.
        let time = made_in(grants).min(LASTS * 2 / 3);
        issue_what_expires(&server, &client, &clock, grants, time).await?;
        clock.advance(LASTS.saturating_sub(time));
        tokio::spawn(pass(clock, time, seconds));
        let at_once = Duration::ZERO;
        let sweeper =
            Sweeper { step: at_once, rest: at_once, jitter: at_once, ..Sweeper::default() };
        tokio::spawn(sweeper.run(server.clone(), shutdown));
    }
    let login = Router::new().route("/login", post(login)).with_state(users);
    let app = login.merge(grantor_axum::router(server));
    serve(app, Ready { secret: secret.expose().to_owned(), ..Ready::usual() }).await
}
