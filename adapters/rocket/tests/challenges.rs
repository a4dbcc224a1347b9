//! The fairing that gives a guard its say.

use async_trait::async_trait;
use grantor::model::ScopeSet;
use grantor::resource::{Guard, TokenError, TokenValidator, ValidToken};
use grantor_rocket::{Bearer, Challenges};
use rocket::http::Status;
use rocket::local::blocking::Client;
use rocket::{Build, Rocket, catch, catchers, error::ErrorKind, get, routes};

/// No token is active.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl TokenValidator for Nobody {
    async fn validate(&self, _: &str, _: &ScopeSet) -> Result<ValidToken, TokenError> {
        Err(TokenError::inactive())
    }
}

#[get("/must")]
fn must(token: Bearer<()>) -> String {
    format!("{:?}", token.0.subject)
}

#[get("/may")]
fn may(token: Option<Bearer<()>>) -> &'static str {
    if token.is_some() { "known" } else { "unknown" }
}

#[catch(401)]
fn unauthorized() -> &'static str {
    "a page of the host"
}

#[get("/own")]
fn own() -> Status {
    Status::Unauthorized
}

fn program() -> Rocket<Build> {
    rocket::build().mount("/", routes![must, may, own]).register("/", catchers![unauthorized])
}

#[test]
fn a_challenge_wins_over_a_catcher_and_over_nothing_else() {
    // Requirement 6750-005.
    let rocket = program().attach(Challenges::of(Guard::new(Nobody).realm("here")));
    let client = Client::debug(rocket).expect("a program");
    let challenged = client.get("/must").dispatch();
    assert_eq!(challenged.status(), Status::Unauthorized);
    assert_eq!(challenged.headers().get_one("www-authenticate"), Some("Bearer realm=\"here\""));
    let anybody = client.get("/may").dispatch();
    assert_eq!(anybody.status(), Status::Ok);
    assert_eq!(anybody.headers().get_one("www-authenticate"), None);
    assert_eq!(anybody.into_string().as_deref(), Some("unknown"));
    let own = client.get("/own").dispatch();
    assert_eq!(own.headers().get_one("www-authenticate"), None);
    assert_eq!(own.into_string().as_deref(), Some("a page of the host"));
}

#[test]
fn a_program_without_the_fairing_does_not_launch() {
    let error = Client::debug(program()).expect_err("no guard is there");
    assert!(matches!(error.kind(), ErrorKind::SentinelAborts(_)), "{error:?}");
}
