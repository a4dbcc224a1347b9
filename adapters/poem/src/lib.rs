//! Grantor for [poem](https://docs.rs/poem) 3.
//!
//! Embedding it is a chapter of [the book](grantor::guide::embedding).
//!
//! * [`Grantor`]: the authorization server, as a middleware around your routes.
//! * [`require_scope`]: a middleware for the endpoints of a resource server, and [`Token`] for what it
//!   found.
//! * [`Bearer`]: an extractor that asks for a scope in the signature of a handler.
//! * [`ResourceMetadata`]: where clients find out who issues tokens for a resource.
//!
//! Who is signed in at the host is said by a middleware around [`Grantor`] that puts an
//! [`Authentication`](grantor::model::Authentication) into the request's extensions.
//!
#![doc = concat!("```no_run\n", include_str!("../examples/embed.rs"), "\n```")]

mod metadata;
mod protect;

use std::sync::Arc;

use bytes::Bytes;
use grantor::AuthorizationServer;
use grantor::wire::LoginRequest;
use poem::http::StatusCode;
use poem::{Endpoint, IntoResponse as _, Middleware, Request, Response, Result};

pub use self::metadata::{Described, ResourceMetadata};
pub use self::protect::{Bearer, Protected, RequireScope, Token, require_scope};

/// The authorization server, as a middleware that answers what is its own and leaves everything else
/// to the routes that it is around. Its paths follow from the issuer, so that the metadata is right.
///
/// Where a request comes from is told by the connection, never by a header. Behind a proxy that it trusts,
/// the host says it by a middleware that puts a [`PeerAddr`](grantor::wire::PeerAddr) into the request's
/// extensions.
#[derive(Clone, Debug)]
pub struct Grantor {
    server: AuthorizationServer,
    paths: Arc<[String]>,
}

impl Grantor {
    /// The middleware of this server.
    pub fn new(server: &AuthorizationServer) -> Self {
        Self { server: server.clone(), paths: server.paths().into() }
    }
}

impl<E: Endpoint> Middleware<E> for Grantor {
    type Output = Mounted<E>;

    fn transform(&self, routes: E) -> Mounted<E> {
        Mounted { grantor: self.clone(), routes }
    }
}

/// Routes with a [`Grantor`] around them.
#[derive(Clone, Debug)]
pub struct Mounted<E> {
    grantor: Grantor,
    routes: E,
}

impl<E: Endpoint> Endpoint for Mounted<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let Grantor { server, paths } = &self.grantor;
        // A pattern could not be written for each issuer.
        if !paths.iter().any(|path| path == request.original_uri().path()) {
            return Ok(self.routes.call(request).await?.into_response());
        }
        let peer = request.remote_addr().as_socket_addr().copied();
        let uri = request.original_uri().clone();
        let mut asked: http::Request<_> = request.into();
        *asked.uri_mut() = uri;
        if let Some(peer) = peer {
            asked.extensions_mut().insert(peer);
        }
        Ok(response(grantor_tower::answer(server, asked).await))
    }
}

/// What a visitor to the host's sign-in page brought along, see
/// [`AuthorizationServer::login_request`]. A form that another site has posted is answered 403.
pub fn login_request(
    server: &AuthorizationServer,
    request: &Request,
) -> Result<Option<LoginRequest>> {
    let login = server.login_request(request.method(), request.headers(), request.original_uri());
    login.map_err(|_| StatusCode::FORBIDDEN.into())
}

fn response(response: http::Response<Bytes>) -> Response {
    let (parts, body) = response.into_parts();
    let mut converted = Response::builder().status(parts.status).body(body);
    *converted.headers_mut() = parts.headers;
    converted
}
