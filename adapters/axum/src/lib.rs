//! Grantor for [axum](https://docs.rs/axum).
//!
//! * [`router`]: the authorization server as a `Router`, to be merged into yours.
//! * [`require_scope`]: a layer for the routes of a resource server.
//! * [`Token`]: an extractor for what the layer found.
//!
#![doc = concat!("```no_run\n", include_str!("../examples/embed.rs"), "\n```")]

use axum::Router;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use grantor::AuthorizationServer;
use grantor::model::ScopeSet;
use grantor::resource::{Guard, ValidToken};
use grantor_tower::{GrantorService, RequireScope};
use http::StatusCode;
use http::request::Parts;
use std::net::SocketAddr;

/// The authorization server as a router of absolute paths: merge it, do not nest it. The paths
/// follow from the issuer, so that the metadata is right.
///
/// Serve with `into_make_service_with_connect_info::<SocketAddr>()` so that attempts to sign in can
/// be throttled by where they come from.
pub fn router<S>(server: AuthorizationServer) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let mut router = Router::new();
    for path in server.paths() {
        router = router.route_service(&path, GrantorService::new(server.clone()));
    }
    router.layer(middleware::from_fn(tell_peer))
}

async fn tell_peer(mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied()
    {
        request.extensions_mut().insert(peer);
    }
    next.run(request).await
}

/// A layer that lets a request pass when its Bearer token is active and has all of `scope`, and
/// answers with the challenge of RFC 6750 otherwise. The guard is one of its own, or a
/// `&AuthorizationServer`.
pub fn require_scope(guard: impl Into<Guard>, scope: ScopeSet) -> RequireScope {
    RequireScope::new(guard, scope)
}

/// What the token of a request stands for, behind [`require_scope`].
#[derive(Clone, Debug)]
pub struct Token(pub ValidToken);

impl<S: Sync> FromRequestParts<S> for Token {
    type Rejection = StatusCode;

    /// Rejects with 500 where the route is not behind [`require_scope`]: that is a mistake of the
    /// program, and must not look like an open door.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let token = parts.extensions.get::<ValidToken>().cloned();
        token.map(Self).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}
