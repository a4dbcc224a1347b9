//! The resource server's side.

use std::marker::PhantomData;

use grantor::model::ScopeSet;
use grantor::resource::{Guard, RequiredScope, ValidToken};
use poem::http::StatusCode;
use poem::{
    Endpoint, Error, FromRequest, IntoResponse as _, Middleware, Request, RequestBody, Response,
    Result,
};

use crate::response;

/// A middleware that lets a request pass when its Bearer token is active and has all of `scope`, and
/// answers with the challenge of RFC 6750 otherwise. The handler finds what the token stands for as
/// [`Token`].
///
/// The empty scope asks for an active token and no more. The guard is one of its own, or a
/// `&AuthorizationServer`.
pub fn require_scope(guard: impl Into<Guard>, scope: ScopeSet) -> RequireScope {
    RequireScope { guard: guard.into(), scope }
}

/// The middleware [`require_scope`].
#[derive(Clone, Debug)]
pub struct RequireScope {
    guard: Guard,
    scope: ScopeSet,
}

impl<E: Endpoint> Middleware<E> for RequireScope {
    type Output = Protected<E>;

    fn transform(&self, inner: E) -> Protected<E> {
        Protected { required: self.clone(), inner }
    }
}

/// An endpoint behind [`require_scope`].
#[derive(Clone, Debug)]
pub struct Protected<E> {
    required: RequireScope,
    inner: E,
}

impl<E: Endpoint> Endpoint for Protected<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let RequireScope { guard, scope } = &self.required;
        match guard.check(request.headers(), request.original_uri(), scope).await {
            Ok(token) => {
                request.extensions_mut().insert(token);
                Ok(self.inner.call(request).await?.into_response())
            }
            Err(challenge) => Ok(response(challenge)),
        }
    }
}

/// What the token of a request stands for, behind [`require_scope`].
#[derive(Clone, Debug)]
pub struct Token(pub ValidToken);

impl<'a> FromRequest<'a> for Token {
    /// Fails with 500 where the endpoint is not behind [`require_scope`]: that is a mistake of the
    /// program, and must not look like an open door.
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let token = request.data::<ValidToken>().cloned();
        token.map(Self).ok_or_else(|| Error::from_status(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

/// What the token of a request stands for, which is active and has the scope `S`; every other request
/// is answered with the challenge of RFC 6750.
///
/// The guard is data of the routes: `EndpointExt::data(Guard::from(&server))`. Without one every request
/// is answered with 500.
///
/// ```
/// use grantor::resource::RequiredScope;
/// use grantor_poem::Bearer;
/// use poem::handler;
///
/// struct CalendarWrite;
///
/// impl RequiredScope for CalendarWrite {
///     const SCOPE: &'static str = "calendar.write";
/// }
///
/// #[handler]
/// async fn add(Bearer(token, _): Bearer<CalendarWrite>) -> String {
///     format!("added by {:?}", token.subject)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Bearer<S>(pub ValidToken, pub PhantomData<S>);

impl<'a, S: RequiredScope> FromRequest<'a> for Bearer<S> {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let Some(guard) = request.data::<Guard>() else {
            return Err(Error::from_status(StatusCode::INTERNAL_SERVER_ERROR));
        };
        let checked = guard.check_for::<S>(request.headers(), request.original_uri()).await;
        match checked {
            Ok(token) => Ok(Self(token, PhantomData)),
            Err(challenge) => Err(Error::from_response(response(challenge))),
        }
    }
}
