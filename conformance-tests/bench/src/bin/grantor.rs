//! Grantor on axum: `grantor memory`, `grantor sled DIRECTORY` or `grantor redis URL`. What is not said is as it comes.

use axum::Router;
use axum::routing::get;
use grantor::engine::SystemClock;
use grantor::model::{Authentication, Subject};
use grantor::resource::Guard;
use grantor_axum::Bearer;
use grantor_bench::contender::{Fatal, Ready, SignedIn, serve};
use grantor_bench::embedded::{self, Read};

async fn resource(Bearer(token, _): Bearer<Read>) -> String {
    format!("{:?}", token.subject)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let storage = embedded::store(&mut std::env::args().skip(1)).await?;
    let (server, secret) = embedded::server(storage, SystemClock).await?;
    let auth_time = embedded::remember_consents(&server).await?;

    let who = move |SignedIn(user): SignedIn| {
        let subject = user.and_then(|user| Subject::parse(user).ok());
        let user = subject.map(|subject| Authentication { subject, auth_time });
        std::future::ready(Ok::<_, std::convert::Infallible>(user))
    };
    let resource = Router::new().route("/resource", get(resource)).with_state(Guard::from(&server));
    let browser = grantor_axum::router_with(server, who);
    serve(
        Router::new().merge(resource).merge(browser),
        Ready { secret: secret.expose().to_owned(), ..Ready::usual() },
    )
    .await
}
