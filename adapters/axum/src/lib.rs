//! Grantor for [axum](https://docs.rs/axum).
//!
//! Embedding it is a chapter of [the book](grantor::guide::embedding).
//!
//! * [`router`]: the authorization server as a `Router`, to be merged into yours.
//! * [`require_scope`]: a layer for the routes of a resource server, and [`Token`] for what it found.
//! * [`Bearer`]: an extractor that asks for a scope in the signature of a handler.
//! * [`resource_metadata`]: where clients find out who issues tokens for a resource.
//!
//! * [`router_with`]: the same as [`router`] for a host that knows who is signed in, and [`login_request`] for its
//!   sign-in page.
//!
#![doc = concat!("```no_run\n", include_str!("../examples/embed.rs"), "\n```")]

mod signed_in;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRef, FromRequestParts, Request};
use axum::response::Response;
use axum::routing::get;
use grantor::AuthorizationServer;
use grantor::model::{Authentication, ScopeSet};
use grantor::resource::{Guard, RequiredScope, ValidToken};
use grantor::wire::{LoginRequest, PeerAddr};
use grantor_tower::{GrantorService, RequireScope, ResponseBody};
use http::StatusCode;
use http::request::Parts;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use tower_service::Service;

use self::signed_in::Told;

/// The authorization server as a router of absolute paths: merge it, do not nest it. The paths
/// follow from the issuer, so that the metadata is right.
///
/// Where a segment of the issuer's path begins with `:` or `*`, your router needs
/// [`without_v07_checks`](Router::without_v07_checks), or it panics when this one is merged.
///
/// Serve with `into_make_service_with_connect_info::<SocketAddr>()` so that attempts to sign in can
/// be throttled by where they come from. Behind a proxy that it trusts, the host says it by a layer that
/// puts a [`PeerAddr`] into the request's extensions.
pub fn router<S>(server: AuthorizationServer) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let routed = Routed(GrantorService::new(server.clone()));
    // The path of an issuer is no pattern, whatever its segments begin with.
    let router = Router::new().without_v07_checks();
    server.paths().iter().fold(router, |router, path| router.route_service(path, routed.clone()))
}

/// The same as [`router`], for a host that knows who is signed in. The layer that makes its sessions goes around it.
///
/// `who` gets what it asks for as handlers do, such as the session. `None` is an anonymous visitor. An
/// error is answered with 503: a host that does not know who is there does not take them for nobody.
/// It is not asked where only programs call, such as at the token endpoint
/// ([`AuthorizationServer::is_for_programs`]).
///
/// ```
/// use axum::http::HeaderMap;
/// use grantor::model::Authentication;
///
/// async fn who(headers: HeaderMap) -> Result<Option<Authentication>, std::io::Error> {
///     Ok(None) // look the cookie up here
/// }
/// # let server = grantor::AuthorizationServer::builder("https://auth.example.com".parse().unwrap())
/// #     .storage(grantor::storage::MemoryStorage::new()).authenticator(Nobody).build().unwrap();
/// let app: axum::Router = grantor_axum::router_with(server, who);
/// # #[derive(Debug)]
/// # struct Nobody;
/// # #[async_trait::async_trait]
/// # impl grantor::Authenticator for Nobody {
/// #     async fn account(&self, _: &grantor::model::Subject)
/// #         -> Result<Option<grantor::model::Account>, grantor::AuthenticatorError> { Ok(None) }
/// # }
/// ```
pub fn router_with<S, E, F, A, X>(server: AuthorizationServer, who: F) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    E: FromRequestParts<()> + Send + 'static,
    F: Fn(E) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Option<Authentication>, X>> + Send + 'static,
    X: 'static,
{
    let routed = Routed(GrantorService::new(server.clone()));
    let visited = Told::new(who, routed.clone());
    let router = Router::new().without_v07_checks();
    // A layer around all would also be in the way of programs: 6 % of the instructions of their requests.
    server.paths().iter().fold(router, |router, path| {
        if server.is_for_programs(path) {
            router.route_service(path, routed.clone())
        } else {
            router.route_service(path, visited.clone())
        }
    })
}

/// The server as a route of axum, which knows the peer by another name.
#[derive(Clone)]
struct Routed(GrantorService);

impl Service<Request> for Routed {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = <GrantorService as Service<Request>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let extensions = request.extensions_mut();
        let connection = extensions.get::<ConnectInfo<SocketAddr>>().copied();
        if let (None, Some(ConnectInfo(peer))) = (extensions.get::<PeerAddr>(), connection) {
            extensions.insert(PeerAddr(peer.ip()));
        }
        self.0.call(request)
    }
}

/// What a visitor to the host's sign-in page brought along, see
/// [`AuthorizationServer::login_request`]. A form that another site has posted is answered 403.
pub fn login_request(
    server: &AuthorizationServer,
    request: &Parts,
) -> Result<Option<LoginRequest>, StatusCode> {
    let login = server.login_request(&request.method, &request.headers, &request.uri);
    login.map_err(|_| StatusCode::FORBIDDEN)
}

/// A layer that lets a request pass when its Bearer token is active and has all of `scope`, and
/// answers with the challenge of RFC 6750 otherwise. The guard is one of its own, or a
/// `&AuthorizationServer`.
pub fn require_scope(guard: impl Into<Guard>, scope: ScopeSet) -> RequireScope {
    RequireScope::new(guard, scope)
}

/// The metadata of what a guard protects (RFC 9728), as a router to be merged into yours. It is empty
/// where the guard does not say what that is ([`Guard::resource`]).
pub fn resource_metadata<S>(guard: &Guard) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let Some((path, metadata)) = guard.metadata_path().zip(guard.metadata()) else {
        return Router::new();
    };
    let answer = async move || metadata.map(Body::from);
    Router::new().without_v07_checks().route(path, get(answer))
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

/// What the token of a request stands for, which is active and has the scope `R`; every other request
/// is answered with the challenge of RFC 6750.
///
/// The guard is in the state of the router, or is all of it.
///
/// ```
/// use axum::{Router, routing::post};
/// use grantor::resource::{Guard, RequiredScope};
/// use grantor_axum::Bearer;
///
/// struct CalendarWrite;
///
/// impl RequiredScope for CalendarWrite {
///     const SCOPE: &'static str = "calendar.write";
/// }
///
/// async fn add(Bearer(token, _): Bearer<CalendarWrite>) -> String {
///     format!("added by {:?}", token.subject)
/// }
///
/// fn calendar(guard: Guard) -> Router {
///     Router::new().route("/events", post(add)).with_state(guard)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Bearer<R>(pub ValidToken, pub PhantomData<R>);

impl<R, S> FromRequestParts<S> for Bearer<R>
where
    R: RequiredScope,
    S: Sync,
    Guard: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let checked = Guard::from_ref(state).check_for::<R>(&parts.headers, &parts.uri).await;
        checked.map(|token| Self(token, PhantomData)).map_err(|answer| answer.map(Body::from))
    }
}
