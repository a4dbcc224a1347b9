//! Who is signed in at the host is told to Grantor, or nobody is answered.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use grantor::model::{Account, Authentication, Subject, Timestamp};
use grantor::storage::MemoryStorage;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer};
use grantor_axum::signed_in;
use tower::ServiceExt as _;

#[derive(Debug)]
struct Nobody;

#[async_trait::async_trait]
impl Authenticator for Nobody {
    async fn account(&self, _: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(None)
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

async fn told(found: Option<Extension<Authentication>>) -> String {
    found.map_or("nobody".into(), |Extension(found)| found.subject.to_string())
}

async fn ask(path: &str, name: Option<&str>) -> (StatusCode, String) {
    let server = AuthorizationServer::builder("http://localhost".parse().expect("loopback"))
        .storage(MemoryStorage::new())
        .authenticator(Nobody)
        .build()
        .expect("complete");
    let app: Router = Router::new().route(path, get(told)).layer(signed_in(&server, who));
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().expect("a path");
    if let Some(name) = name {
        request.headers_mut().insert("who", name.parse().expect("a value"));
    }
    let answer = app.oneshot(request).await.expect("answered");
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1024).await.expect("a body");
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

/// ATTACKS K04.
#[tokio::test]
async fn the_host_says_who_it_is_or_that_it_does_not_know() {
    for path in ["/authorize", "/apps", "/a-page-of-the-host"] {
        assert_eq!(ask(path, Some("alice")).await, (StatusCode::OK, "alice".into()));
        assert_eq!(ask(path, None).await, (StatusCode::OK, "nobody".into()));
        let away = (StatusCode::SERVICE_UNAVAILABLE, String::new());
        assert_eq!(ask(path, Some("away")).await, away);
    }
}

#[tokio::test]
async fn it_is_not_asked_where_only_programs_call() {
    for path in ["/token", "/revoke", "/introspect"] {
        assert_eq!(ask(path, Some("away")).await, (StatusCode::OK, "nobody".into()));
    }
}
