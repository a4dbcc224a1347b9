//! Who is signed in at the host.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use grantor::AuthorizationServer;
use grantor::model::Authentication;
use http::StatusCode;
use tower_layer::Layer;
use tower_service::Service;

/// A layer that tells Grantor who is signed in at the host: around [`router`](crate::router), and
/// inside of the layer that makes sessions.
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
/// let app: axum::Router =
///     grantor_axum::router(server.clone()).layer(grantor_axum::signed_in(&server, who));
/// # #[derive(Debug)]
/// # struct Nobody;
/// # #[async_trait::async_trait]
/// # impl grantor::Authenticator for Nobody {
/// #     async fn account(&self, _: &grantor::model::Subject)
/// #         -> Result<Option<grantor::model::Account>, grantor::AuthenticatorError> { Ok(None) }
/// # }
/// ```
pub fn signed_in<E, F, A, X>(server: &AuthorizationServer, who: F) -> SignedIn<E, F>
where
    E: FromRequestParts<()> + Send + 'static,
    F: Fn(E) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Option<Authentication>, X>> + Send + 'static,
    X: 'static,
{
    SignedIn { server: server.clone(), who, asks: PhantomData }
}

/// The layer that [`signed_in`] makes.
pub struct SignedIn<E, F> {
    server: AuthorizationServer,
    who: F,
    asks: PhantomData<fn(E)>,
}

impl<E, F: Clone> Clone for SignedIn<E, F> {
    fn clone(&self) -> Self {
        Self { server: self.server.clone(), who: self.who.clone(), asks: PhantomData }
    }
}

impl<E, F> std::fmt::Debug for SignedIn<E, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn").finish_non_exhaustive()
    }
}

impl<E, F: Clone, S> Layer<S> for SignedIn<E, F> {
    type Service = Told<E, F, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Told { by: self.clone(), inner }
    }
}

/// A service that is told who is signed in, by [`signed_in`].
#[derive(Debug)]
pub struct Told<E, F, S> {
    by: SignedIn<E, F>,
    inner: S,
}

impl<E, F: Clone, S: Clone> Clone for Told<E, F, S> {
    fn clone(&self) -> Self {
        Self { by: self.by.clone(), inner: self.inner.clone() }
    }
}

impl<E, F, A, X, S> Service<Request> for Told<E, F, S>
where
    E: FromRequestParts<()> + Send + 'static,
    F: Fn(E) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Option<Authentication>, X>> + Send + 'static,
    X: 'static,
    S: Service<Request, Error = Infallible> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if self.by.server.is_for_programs(request.uri().path()) {
            let answer = self.inner.call(request);
            return Box::pin(async move { answer.await.map(IntoResponse::into_response) });
        }
        let who = self.by.who.clone();
        // The one that was polled ready is the one to call.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let asked = match E::from_request_parts(&mut parts, &()).await {
                Ok(asked) => asked,
                Err(rejection) => return Ok(rejection.into_response()),
            };
            match who(asked).await {
                Ok(Some(authentication)) => {
                    parts.extensions.insert(authentication);
                }
                Ok(None) => {}
                Err(_) => return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response()),
            }
            inner.call(Request::from_parts(parts, body)).await.map(IntoResponse::into_response)
        })
    }
}
