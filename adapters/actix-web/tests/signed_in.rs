//! Who is signed in at the host is told to Grantor, or nobody is answered.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, init_service, read_body, try_call_service};
use actix_web::{App, HttpMessage as _, HttpRequest, web};
use grantor::model::{Account, Authentication, Subject, Timestamp};
use grantor::storage::MemoryStorage;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer};
use grantor_actix_web::signed_in;

#[derive(Debug)]
struct Nobody;

#[async_trait::async_trait]
impl Authenticator for Nobody {
    async fn account(&self, _: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(None)
    }
}

/// By a header, which only a test may do.
async fn who(request: HttpRequest) -> Result<Option<Authentication>, &'static str> {
    match request.headers().get("who").map(|name| name.to_str().expect("text")) {
        None => Ok(None),
        Some("away") => Err("the store of the sessions is away"),
        Some(name) => {
            let subject = Subject::parse(name).expect("a subject");
            Ok(Some(Authentication { subject, auth_time: Timestamp::from_millis(7) }))
        }
    }
}

async fn told(request: HttpRequest) -> String {
    let found = request.extensions().get::<Authentication>().cloned();
    found.map_or("nobody".into(), |found| found.subject.to_string())
}

async fn ask(path: &str, name: Option<&str>) -> Result<String, StatusCode> {
    let server = AuthorizationServer::builder("http://localhost".parse().expect("loopback"))
        .storage(MemoryStorage::new())
        .authenticator(Nobody)
        .build()
        .expect("complete");
    let app = App::new().route(path, web::get().to(told)).wrap(signed_in(&server, who));
    let app = init_service(app).await;
    let mut request = TestRequest::get().uri(path);
    if let Some(name) = name {
        request = request.insert_header(("who", name));
    }
    let answer = try_call_service(&app, request.to_request()).await;
    let answer = answer.map_err(|error| error.as_response_error().status_code())?;
    let body = read_body(answer).await;
    Ok(String::from_utf8(body.to_vec()).expect("text"))
}

/// ATTACKS K04.
#[actix_web::test]
async fn the_host_says_who_it_is_or_that_it_does_not_know() {
    for path in ["/authorize", "/apps", "/a-page-of-the-host"] {
        assert_eq!(ask(path, Some("alice")).await, Ok("alice".into()));
        assert_eq!(ask(path, None).await, Ok("nobody".into()));
        assert_eq!(ask(path, Some("away")).await, Err(StatusCode::SERVICE_UNAVAILABLE));
    }
}

#[actix_web::test]
async fn it_is_not_asked_where_only_programs_call() {
    for path in ["/token", "/revoke", "/introspect"] {
        assert_eq!(ask(path, Some("away")).await, Ok("nobody".into()));
    }
}
