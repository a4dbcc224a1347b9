//! Grantor for everything that speaks [`tower_service::Service`] over `http::Request`.
//!
//! Embedding it is a chapter of [the book](grantor::guide::embedding).
//!
//! * [`GrantorService`]: the whole authorization server as one service.
//! * [`RequireScope`]: a layer for protected resources, which lets a request pass when its Bearer
//!   token is active and has a scope.
//!
//! Both only convert bodies and call the server; no rule of the protocol is here. Who is signed in at
//! the host is said by an [`Authentication`](grantor::model::Authentication) in the request's
//! extensions, where the request comes from by a [`SocketAddr`].
//!
// For pages that are written before those of this crate, and in its absence.
#![doc(html_root_url = "https://docs.rs/grantor-tower/latest")]
#![doc = concat!("```no_run\n", include_str!("../examples/embed.rs"), "\n```")]

mod to_the_end;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use grantor::AuthorizationServer;
use grantor::model::ScopeSet;
use grantor::resource::Guard;
use grantor::wire::{BodyTooLarge, MAX_BODY_LEN, PeerAddr};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tower_layer::Layer;
use tower_service::Service;

use self::to_the_end::ToTheEnd;

/// The body of every answer.
pub type ResponseBody = Full<Bytes>;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The whole authorization server as one service. It needs a tokio runtime.
///
/// A request is answered to its end even if the connection that asked for it is dropped, so that no
/// step of the protocol stops half-way.
#[derive(Clone, Debug)]
pub struct GrantorService {
    server: AuthorizationServer,
}

impl GrantorService {
    /// The service of this server.
    pub const fn new(server: AuthorizationServer) -> Self {
        Self { server }
    }
}

impl<B> Service<Request<B>> for GrantorService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = answer(&self.server, request);
        Box::pin(async move { Ok(answer.await.map(Full::new)) })
    }
}

/// Answers one request: all that an adapter does around
/// [`AuthorizationServer::handle`], for those that convert to and from the types of a framework.
///
/// The body is read up to [`MAX_BODY_LEN`] and no further. From then on the request is answered to its
/// end, even if the future that this returns is dropped, and a panic becomes a response with status
/// 500. It needs a tokio runtime.
///
/// Where it comes from is told by a [`SocketAddr`] in the request's extensions, or, where the connection is
/// that of a proxy which the host trusts, by a [`PeerAddr`], which counts for more; who is signed in at the
/// host by an [`Authentication`](grantor::model::Authentication).
pub fn answer<B>(
    server: &AuthorizationServer,
    request: Request<B>,
) -> impl Future<Output = Response<Bytes>> + use<B>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let server = server.clone();
    let (mut parts, body) = request.into_parts();
    let connection = parts.extensions.get::<SocketAddr>().copied();
    if let (None, Some(peer)) = (parts.extensions.get::<PeerAddr>(), connection) {
        parts.extensions.insert(PeerAddr(peer.ip()));
    }
    async move {
        // Reading stops at the bound.
        let body = match whole(Limited::new(body, MAX_BODY_LEN)).await {
            Ok(body) => body,
            Err(error) if error.is::<LengthLimitError>() => {
                parts.extensions.insert(BodyTooLarge);
                Bytes::new()
            }
            // The client went away, or lied about the length of its body.
            Err(_) => return plain(StatusCode::BAD_REQUEST),
        };
        let request = Request::from_parts(parts, body);
        let answer = ToTheEnd::new(server.handle(request)).await;
        answer.unwrap_or_else(|| plain(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

/// All of a body. Nearly all come in one piece, which is then not copied.
async fn whole<B: Body>(body: B) -> Result<Bytes, B::Error> {
    let mut body = pin!(body);
    let mut first = Bytes::new();
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame?.into_data() else { continue };
        if !first.is_empty() {
            let mut all = BytesMut::from(first);
            all.put(data);
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame?.into_data() {
                    all.put(data);
                }
            }
            return Ok(all.freeze());
        }
        first = data.copy_to_bytes(data.remaining());
    }
    Ok(first)
}

fn plain(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A layer that lets a request pass when its Bearer token is active and has all of a scope, and
/// answers with the challenge of RFC 6750 otherwise.
///
/// The inner service finds what the token stands for, as
/// [`ValidToken`](grantor::resource::ValidToken), in the request's extensions.
#[derive(Clone, Debug)]
pub struct RequireScope {
    guard: Guard,
    scope: ScopeSet,
}

impl RequireScope {
    /// Protects a service with this scope; the empty one asks for an active token and no more. The
    /// guard is one of its own, or an [`AuthorizationServer`].
    pub fn new(guard: impl Into<Guard>, scope: ScopeSet) -> Self {
        Self { guard: guard.into(), scope }
    }
}

impl<S> Layer<S> for RequireScope {
    type Service = Protected<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Protected { required: self.clone(), inner }
    }
}

/// A service behind [`RequireScope`].
#[derive(Clone, Debug)]
pub struct Protected<S> {
    required: RequireScope,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Protected<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let RequireScope { guard, scope } = self.required.clone();
        // The one that was polled ready is the one to call.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match guard.check(&parts.headers, &parts.uri, &scope).await {
                Ok(token) => {
                    parts.extensions.insert(token);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(challenge) => Ok(challenge.map(R::from)),
            }
        })
    }
}
