//! Grantor for [actix-web](https://docs.rs/actix-web) 4.
//!
//! Embedding it is a chapter of [the book](grantor::guide::embedding).
//!
//! * [`configure`]: the authorization server, for `App::configure`.
//! * [`require_scope`]: a middleware for the routes of a resource server, and [`Token`] for what it
//!   found.
//! * [`Bearer`]: an extractor that asks for a scope in the signature of a handler.
//! * [`resource_metadata`]: where clients find out who issues tokens for a resource.
//!
//! * [`signed_in`]: a middleware that says who is signed in at the host.
//!
#![doc = concat!("```no_run\n", include_str!("../examples/embed.rs"), "\n```")]

mod convert;
mod protect;
mod signed_in;

use std::future::ready;

use actix_web::error::{ErrorBadRequest, ErrorForbidden};
use actix_web::guard::{All, Any, Get, Head, fn_guard};
use actix_web::web::{self, Payload, ServiceConfig};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use grantor::AuthorizationServer;
use grantor::model::Authentication;
use grantor::resource::Guard;
use grantor::wire::{LoginRequest, PeerAddr};

pub use self::protect::{Bearer, Challenge, Protected, RequireScope, Token, require_scope};
pub use self::signed_in::signed_in;

/// The authorization server, for [`App::configure`](actix_web::App::configure). Its paths follow from
/// the issuer, so that the metadata is right; every other path is left to the routes after it.
///
/// Where a request comes from is told by the connection, never by a header. Behind a proxy that it trusts,
/// the host says it by a middleware that puts a [`PeerAddr`] into the request's extensions.
pub fn configure(
    server: &AuthorizationServer,
) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<> {
    let server = server.clone();
    move |config| {
        // A pattern would be matched with the decoded path, and could not be written for each issuer.
        let paths = server.paths();
        let ours = fn_guard(move |context| {
            let path = context.head().uri.path();
            paths.iter().any(|ours| ours == path)
        });
        let answer = move |request, body| answer(server.clone(), request, body);
        config.service(web::resource("/{path:.*}").guard(ours).to(answer));
    }
}

/// The metadata of what a guard protects (RFC 9728), for [`App::configure`](actix_web::App::configure).
/// There is none where the guard does not say what that is ([`Guard::resource`]).
pub fn resource_metadata(guard: &Guard) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<> {
    let guard = guard.clone();
    move |config| {
        let Some((path, metadata)) = guard.metadata_path().zip(guard.metadata()) else { return };
        let path = path.to_owned();
        let ours = fn_guard(move |context| context.head().uri.path() == path);
        let answer = move || ready(convert::response(metadata.clone()));
        let read = Any(Get()).or(Head());
        config.service(web::resource("/{path:.*}").guard(All(ours).and(read)).to(answer));
    }
}

/// What a visitor to the host's sign-in page brought along, see
/// [`AuthorizationServer::login_request`]. A form that another site has posted is answered 403.
pub fn login_request(
    server: &AuthorizationServer,
    request: &HttpRequest,
) -> actix_web::Result<Option<LoginRequest>> {
    let (headers, uri) = convert::head(request.head()).map_err(ErrorBadRequest)?;
    let method = convert::method(request).map_err(ErrorBadRequest)?;
    server.login_request(&method, &headers, &uri).map_err(ErrorForbidden)
}

async fn answer(server: AuthorizationServer, request: HttpRequest, body: Payload) -> HttpResponse {
    let Ok(mut asked) = convert::request(&request, body) else {
        return HttpResponse::BadRequest().finish();
    };
    if let Some(peer) = request.peer_addr() {
        asked.extensions_mut().insert(peer);
    }
    if let Some(authentication) = request.extensions().get::<Authentication>() {
        asked.extensions_mut().insert(authentication.clone());
    }
    if let Some(peer) = request.extensions().get::<PeerAddr>() {
        asked.extensions_mut().insert(*peer);
    }
    convert::response(grantor_tower::answer(&server, asked).await)
}
