//! Who is signed in at the host.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use grantor::model::Authentication;
use http::StatusCode;
use tower_service::Service;

/// A service that is told who is signed in.
pub(crate) struct Told<E, F, S> {
    who: F,
    asks: PhantomData<fn(E)>,
    inner: S,
}

impl<E, F, S> Told<E, F, S> {
    pub(crate) const fn new(who: F, inner: S) -> Self {
        Self { who, asks: PhantomData, inner }
    }
}

impl<E, F: Clone, S: Clone> Clone for Told<E, F, S> {
    fn clone(&self) -> Self {
        Self { who: self.who.clone(), asks: PhantomData, inner: self.inner.clone() }
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
        let who = self.who.clone();
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
