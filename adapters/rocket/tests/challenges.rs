//! The fairing that gives a guard its say.

use async_trait::async_trait;
use grantor::model::{ScopeSet, Subject};
use grantor::resource::{Guard, TokenError, TokenValidator, ValidToken};
use grantor_rocket::{Bearer, Challenges, Token, require_scope};
use rocket::http::{Header, Status};
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

/// Says of every token that it is this user's.
#[derive(Debug)]
struct Everybody(&'static str);

#[async_trait]
impl TokenValidator for Everybody {
    async fn validate(&self, _: &str, needed: &ScopeSet) -> Result<ValidToken, TokenError> {
        let subject = Subject::parse(self.0).ok();
        Ok(ValidToken { subject, scope: needed.clone(), ..ValidToken::default() })
    }
}

#[get("/<_number>/<_place>")]
fn numbered(_number: u32, _place: &str, token: Token) -> String {
    format!("{:?}", token.0.subject)
}

#[get("/<_name>/open", rank = 2)]
fn open(_name: &str, token: Token) -> String {
    format!("{:?}", token.0.subject)
}

#[get("/<_name>/guarded", rank = 2)]
fn guarded(_name: &str, token: Token) -> String {
    format!("{:?}", token.0.subject)
}

#[test]
fn a_token_is_that_of_the_guard_in_front_of_the_route() {
    let scope = ScopeSet::parse("read").expect("a scope");
    let guard = |name| Guard::new(Everybody(name));
    let rocket = rocket::build()
        .mount("/", require_scope(guard("alice"), scope.clone(), routes![numbered]))
        .mount("/", routes![open])
        .mount("/", require_scope(guard("bob"), scope, routes![guarded]));
    let client = Client::debug(rocket).expect("a program");
    let get = |path: &'static str| {
        let header = Header::new("authorization", "Bearer any");
        let answer = client.get(path).header(header).dispatch();
        (answer.status(), answer.into_string().unwrap_or_default())
    };
    assert!(get("/1/open").1.contains("alice"));
    // The first route forwards what is no number, to one that nobody guards, and to one that another does.
    assert_eq!(get("/x/open").0, Status::InternalServerError);
    assert!(get("/x/guarded").1.contains("bob"));
}
