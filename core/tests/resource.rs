//! The guard of a resource server, before validators that lie, fail and answer.

#![expect(clippy::expect_used, reason = "tests")]

use async_trait::async_trait;
use bytes::Bytes;
use grantor::model::{ClientId, Issuer, ScopeSet};
use grantor::resource::{
    Guard, ProtectedResource, RequiredScope, TokenError, TokenValidator, ValidToken,
};
use http::{HeaderMap, HeaderValue, Response, Uri, header};

/// Knows one token; a second one makes it fail.
#[derive(Debug)]
struct Validator;

#[async_trait]
impl TokenValidator for Validator {
    async fn validate(&self, token: &str, _: &ScopeSet) -> Result<ValidToken, TokenError> {
        match token {
            "good" => Ok(ValidToken {
                client_id: ClientId::parse("app").ok(),
                scope: scope("read list"),
                ..ValidToken::default()
            }),
            "stuck" => Err(TokenError::unavailable("the directory is closed")),
            _ => Err(TokenError::inactive()),
        }
    }
}

struct Read;

impl RequiredScope for Read {
    const SCOPE: &'static str = "read";
}

struct Write;

impl RequiredScope for Write {
    const SCOPE: &'static str = "read write";
}

fn scope(text: &str) -> ScopeSet {
    ScopeSet::parse(text).expect("a scope")
}

fn presenting(token: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header");
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn challenge(response: &Response<Bytes>) -> (u16, String) {
    let value = response.headers().get(header::WWW_AUTHENTICATE);
    let value = value.map(|value| value.to_str().expect("ASCII").to_owned());
    (response.status().as_u16(), value.unwrap_or_default())
}

async fn knock(guard: &Guard, token: &str, needed: &str) -> Result<ValidToken, (u16, String)> {
    let uri = Uri::from_static("/");
    let found = guard.check(&presenting(token), &uri, &scope(needed)).await;
    found.map_err(|response| challenge(&response))
}

#[tokio::test]
async fn a_token_opens_what_its_scope_names() {
    // Requirements 6750-006, 6750-008, 6749-068: the guard reads the scope itself, whatever the
    // validator made of it.
    let guard = Guard::new(Validator).realm("calendar");
    let token = knock(&guard, "good", "read").await.expect("let through");
    assert_eq!(token.client_id.as_ref().map(ClientId::as_str), Some("app"));
    assert!(knock(&guard, "good", "").await.is_ok());
    let (status, value) = knock(&guard, "good", "read write").await.expect_err("refused");
    assert_eq!(status, 403);
    assert!(
        value.starts_with("Bearer realm=\"calendar\", error=\"insufficient_scope\""),
        "{value}"
    );
    assert!(value.ends_with("scope=\"read write\""), "{value}");
    let (status, value) = knock(&guard, "bad", "read").await.expect_err("refused");
    assert_eq!(status, 401);
    assert!(value.contains("error=\"invalid_token\""), "{value}");
}

#[tokio::test]
async fn a_scope_is_a_type_as_well() {
    let guard = Guard::new(Validator);
    let (headers, uri) = (presenting("good"), Uri::from_static("/"));
    assert!(guard.check_for::<Read>(&headers, &uri).await.is_ok());
    assert!(guard.check_for::<()>(&headers, &uri).await.is_ok());
    let refused = guard.check_for::<Write>(&headers, &uri).await.expect_err("refused");
    assert_eq!(refused.status(), 403);
}

#[tokio::test]
async fn a_validator_that_is_away_kills_no_token() {
    // Requirement HTTP-009; ATTACKS K04.
    let guard = Guard::new(Validator);
    let headers = presenting("stuck");
    let refused = guard.check(&headers, &Uri::from_static("/"), &scope("read")).await;
    let refused = refused.expect_err("away");
    assert_eq!(challenge(&refused), (503, String::new()));
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    assert!(refused.body().is_empty());
}

#[tokio::test]
async fn a_client_that_knows_nothing_is_told_where_to_read() {
    // Requirements 9728-003, 9728-007.
    let issuer = Issuer::parse("https://auth.example.com").expect("an issuer");
    let resource = ProtectedResource::new("https://api.example.com/mcp", &issuer).expect("valid");
    let guard = Guard::new(Validator);
    assert!(guard.metadata_path().is_none() && guard.metadata().is_none());
    let guard = guard.resource(resource);
    let uri = Uri::from_static("/mcp");
    let refused = guard.check(&HeaderMap::new(), &uri, &scope("read")).await.expect_err("no token");
    let (status, value) = challenge(&refused);
    let path = guard.metadata_path().expect("a path");
    assert_eq!(status, 401);
    assert!(
        value.ends_with(&format!("resource_metadata=\"https://api.example.com{path}\"")),
        "{value}"
    );
    assert_eq!(guard.metadata().expect("metadata").status(), 200);
}
