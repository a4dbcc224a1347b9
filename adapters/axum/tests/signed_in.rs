//! Who is signed in at the host is told to Grantor, or nobody is answered.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use grantor::model::{Account, Authentication, Subject, Timestamp};
use grantor::storage::MemoryStorage;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer};
use grantor_axum::router_with;
use tower::ServiceExt as _;

#[derive(Debug)]
struct Somebody;

#[async_trait::async_trait]
impl Authenticator for Somebody {
    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(Some(Account::new(subject.clone(), subject.as_str())))
    }
}

/// By a header, which only a test may do.
async fn who(headers: HeaderMap) -> Result<Option<Authentication>, &'static str> {
    match headers.get("who").map(|name| name.to_str().expect("text")) {
        None => Ok(None),
        Some("away") => Err("the store of the sessions is away"),
        Some(name) => {
            let subject = Subject::parse(name).expect("a subject");
            Ok(Some(Authentication { subject, auth_time: Timestamp::from_millis(7) }))
        }
    }
}

/// What comes of a request without parameters, if it comes as far as the server.
async fn ask(path: &str, name: Option<&str>) -> StatusCode {
    let server = AuthorizationServer::builder("http://localhost".parse().expect("loopback"))
        .storage(MemoryStorage::new())
        .authenticator(Somebody)
        .login_page("/login")
        .build()
        .expect("complete");
    let app: Router = router_with(server, who);
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().expect("a path");
    if let Some(name) = name {
        request.headers_mut().insert("who", name.parse().expect("a value"));
    }
    app.oneshot(request).await.expect("answered").status()
}

/// ATTACKS K04.
#[tokio::test]
async fn the_host_says_who_it_is_or_that_it_does_not_know() {
    assert_eq!(ask("/apps", Some("alice")).await, StatusCode::OK, "what alice has allowed");
    assert_eq!(ask("/apps", None).await, StatusCode::SEE_OTHER, "to the page of the host");
    for path in ["/apps", "/authorize", "/interaction"] {
        assert_eq!(ask(path, Some("away")).await, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
}

#[tokio::test]
async fn it_is_not_asked_where_only_programs_call() {
    for path in ["/token", "/revoke", "/introspect"] {
        assert_eq!(ask(path, Some("away")).await, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}
