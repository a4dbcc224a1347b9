//! What a resource server says about itself.

use grantor::resource::Guard;
use poem::http::Method;
use poem::{Endpoint, IntoResponse as _, Middleware, Request, Response, Result};

use crate::response;

/// The metadata of what a guard protects (RFC 9728), as a middleware that leaves everything else to the
/// routes that it is around. There is none where the guard does not say what that is
/// ([`Guard::resource`]).
#[derive(Clone, Debug)]
pub struct ResourceMetadata(Guard);

impl ResourceMetadata {
    /// What this guard protects.
    pub fn of(guard: &Guard) -> Self {
        Self(guard.clone())
    }
}

impl<E: Endpoint> Middleware<E> for ResourceMetadata {
    type Output = Described<E>;

    fn transform(&self, routes: E) -> Described<E> {
        Described { guard: self.0.clone(), routes }
    }
}

/// Routes with a [`ResourceMetadata`] around them.
#[derive(Clone, Debug)]
pub struct Described<E> {
    guard: Guard,
    routes: E,
}

impl<E: Endpoint> Endpoint for Described<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let ours = self.guard.metadata_path() == Some(request.original_uri().path())
            && [Method::GET, Method::HEAD].contains(request.method());
        match self.guard.metadata().filter(|_| ours) {
            Some(metadata) => Ok(response(metadata)),
            None => Ok(self.routes.call(request).await?.into_response()),
        }
    }
}
