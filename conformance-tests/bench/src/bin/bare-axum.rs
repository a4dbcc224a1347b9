//! The limit: axum parses what the others parse, checks nothing, keeps nothing, and answers as long an answer.

use axum::extract::{Form, Query};
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use axum::{Json, Router};
use grantor_bench::contender::{Fatal, Ready, SignedIn, serve};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};

const TOKEN: &str = "gra_q7NTo1mhU7ZoDPlUQVt4Yz3Z8vXo5mXcV2r0sFJbq9Q";

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
    scope: Option<String>,
    client_id: Option<String>,
    code: Option<String>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
    refresh_token: Option<String>,
}

#[derive(Serialize)]
struct TokenAnswer {
    access_token: &'static str,
    token_type: &'static str,
    expires_in: u32,
    scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'static str>,
}

async fn token(headers: HeaderMap, Form(form): Form<TokenRequest>) -> impl IntoResponse {
    let known = headers.contains_key(header::AUTHORIZATION) || form.client_id.is_some();
    let user = match form.grant_type.as_str() {
        "client_credentials" => form.scope.is_none(),
        "refresh_token" => form.refresh_token.is_some(),
        _ => form.code.is_some() && form.redirect_uri.is_some() && form.code_verifier.is_some(),
    };
    let status = if known { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    let refresh_token = user.then_some(TOKEN);
    let answer = TokenAnswer {
        access_token: TOKEN,
        token_type: "Bearer",
        expires_in: 600,
        scope: "read",
        refresh_token,
    };
    let fresh = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
    (status, fresh, Json(answer))
}

#[derive(Serialize)]
struct ErrorAnswer {
    error: &'static str,
    error_description: &'static str,
}

/// What is answered to a retired refresh token.
async fn retired(headers: HeaderMap, Form(form): Form<TokenRequest>) -> impl IntoResponse {
    let known = headers.contains_key(header::AUTHORIZATION) && form.refresh_token.is_some();
    let status = if known { StatusCode::BAD_REQUEST } else { StatusCode::UNAUTHORIZED };
    let answer = ErrorAnswer {
        error: "invalid_grant",
        error_description: "the refresh token was used before; the grant has ended",
    };
    let fresh = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
    (status, fresh, Json(answer))
}

#[derive(Deserialize)]
struct Presented {
    token: String,
}

#[derive(Serialize)]
struct State {
    active: bool,
    scope: &'static str,
    client_id: &'static str,
    username: &'static str,
    token_type: &'static str,
    exp: u32,
    iat: u32,
    sub: &'static str,
}

async fn introspect(headers: HeaderMap, Form(form): Form<Presented>) -> impl IntoResponse {
    let active = headers.contains_key(header::AUTHORIZATION) && form.token == TOKEN;
    Json(State {
        active,
        scope: "read",
        client_id: "confidential",
        username: "alice",
        token_type: "Bearer",
        exp: 1_800_000_600,
        iat: 1_800_000_000,
        sub: "u17",
    })
}

async fn revoke(headers: HeaderMap, Form(form): Form<Presented>) -> StatusCode {
    let known = headers.contains_key(header::AUTHORIZATION) && !form.token.is_empty();
    if known { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
}

#[derive(Deserialize)]
struct AuthorizationRequest {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    scope: String,
    state: String,
    code_challenge: String,
    code_challenge_method: String,
}

async fn authorize(
    SignedIn(user): SignedIn,
    Query(query): Query<AuthorizationRequest>,
) -> Result<Redirect, StatusCode> {
    let right = query.response_type == "code"
        && query.code_challenge_method == "S256"
        && [query.client_id, query.scope, query.code_challenge].iter().all(|part| !part.is_empty());
    let user = user.filter(|_| right).ok_or(StatusCode::BAD_REQUEST)?;
    let (uri, state) = (query.redirect_uri, query.state);
    Ok(Redirect::to(&format!("{uri}?code={TOKEN}&state={state}&iss={user}")))
}

async fn resource(headers: HeaderMap) -> Result<&'static str, StatusCode> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    if token == Some(TOKEN) { Ok("lunch") } else { Err(StatusCode::UNAUTHORIZED) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let app = Router::new()
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .route("/retired", post(retired))
        .route("/introspect", post(introspect))
        .route("/revoke", post(revoke))
        .route("/resource", get(resource));
    serve(app, Ready { retired: Some("/retired".to_owned()), ..Ready::usual() }).await
}
