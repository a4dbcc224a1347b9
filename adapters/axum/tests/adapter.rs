//! The flow that runs through every adapter.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use grantor::model::Subject;
use grantor::resource::ValidToken;
use grantor::wire::PeerAddr;
use grantor_axum::{Bearer, Token, require_scope, resource_metadata, router};
use grantor_conformance::adapter::{
    CalendarWrite, FORWARDED_FOR, READ, SIGNED_IN, Site, forwarded_for,
};

#[tokio::main]
async fn serve(site: Site) {
    let read = require_scope(site.guard.clone(), READ.parse().expect("a scope"));
    let app = Router::new()
        .without_v07_checks()
        .route("/events", get(list).layer(read))
        .route("/events", post(add))
        .route("/unguarded", get(list))
        .with_state(site.guard.clone())
        .merge(resource_metadata(&site.guard))
        .merge(router(site.server.clone()))
        .layer(from_fn_with_state(site.clone(), known));
    let listener = tokio::net::TcpListener::bind(site.address).await.expect("the address is free");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await.expect("a server");
}

/// The host's session, whom it has signed in, and the proxy that it trusts.
async fn known(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(SIGNED_IN).and_then(|value| value.to_str().ok());
    if let Some(authentication) = header.and_then(|header| site.signed_in(header)) {
        request.extensions_mut().insert(authentication);
    }
    let header = request.headers().get(FORWARDED_FOR).and_then(|value| value.to_str().ok());
    if let Some(peer) = header.and_then(forwarded_for) {
        request.extensions_mut().insert(PeerAddr(peer));
    }
    next.run(request).await
}

fn subject(token: &ValidToken) -> String {
    token.subject.as_ref().map_or("nobody", Subject::as_str).to_owned()
}

async fn list(Token(token): Token) -> String {
    subject(&token)
}

async fn add(Bearer(token, _): Bearer<CalendarWrite>) -> String {
    subject(&token)
}

grantor_conformance::adapter_suite!(serve);
