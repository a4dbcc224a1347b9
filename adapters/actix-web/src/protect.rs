//! The resource server's side.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::error::{Error, ErrorBadRequest, ErrorInternalServerError};
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError};
use bytes::Bytes;
use grantor::model::ScopeSet;
use grantor::resource::{Guard, RequiredScope, ValidToken};
use http::Response;

use crate::convert;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// The answer of a [`Guard`] to a request whose token does not open what was asked for, as an error
/// of a handler.
#[derive(Debug)]
pub struct Challenge(pub Response<Bytes>);

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the request was challenged with status {}", self.0.status())
    }
}

impl ResponseError for Challenge {
    fn status_code(&self) -> StatusCode {
        let status = StatusCode::from_u16(self.0.status().as_u16());
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        convert::response(self.0.clone())
    }
}

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

impl<S, B> Transform<S, ServiceRequest> for RequireScope
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody,
{
    type Response = ServiceResponse<EitherBody<B, BoxBody>>;
    type Error = Error;
    type Transform = Protected<S>;
    type InitError = ();
    type Future = Ready<Result<Protected<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(Protected { required: self.clone(), inner: Rc::new(inner) }))
    }
}

/// A service behind [`require_scope`].
#[derive(Debug)]
pub struct Protected<S> {
    required: RequireScope,
    inner: Rc<S>,
}

impl<S, B> Service<ServiceRequest> for Protected<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody,
{
    type Response = ServiceResponse<EitherBody<B, BoxBody>>;
    type Error = Error;
    type Future = BoxFuture<Result<Self::Response, Error>>;

    forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (required, inner) = (self.required.clone(), Rc::clone(&self.inner));
        Box::pin(async move {
            let (headers, uri) = convert::head(request.head()).map_err(ErrorBadRequest)?;
            match required.guard.check(&headers, &uri, &required.scope).await {
                Ok(token) => {
                    request.extensions_mut().insert(token);
                    Ok(inner.call(request).await?.map_into_left_body())
                }
                Err(challenge) => {
                    let response = request.into_response(convert::response(challenge));
                    Ok(response.map_into_right_body())
                }
            }
        })
    }
}

/// What the token of a request stands for, behind [`require_scope`].
#[derive(Clone, Debug)]
pub struct Token(pub ValidToken);

impl FromRequest for Token {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    /// Fails with 500 where the route is not behind [`require_scope`]: that is a mistake of the
    /// program, and must not look like an open door.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let token = request.extensions().get::<ValidToken>().cloned();
        ready(token.map(Self).ok_or_else(|| ErrorInternalServerError("")))
    }
}

/// What the token of a request stands for, which is active and has the scope `S`; every other request
/// is answered with the challenge of RFC 6750.
///
/// The guard is the application's: `App::app_data(Guard::from(&server))`. Without one every request is
/// answered with 500.
///
/// ```
/// use grantor::resource::RequiredScope;
/// use grantor_actix_web::Bearer;
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
/// ```
#[derive(Clone, Debug)]
pub struct Bearer<S>(pub ValidToken, pub PhantomData<S>);

impl<S: RequiredScope> FromRequest for Bearer<S> {
    type Error = Error;
    type Future = BoxFuture<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let Some(guard) = request.app_data::<Guard>() else {
                return Err(ErrorInternalServerError(""));
            };
            let (headers, uri) = convert::head(request.head()).map_err(ErrorBadRequest)?;
            let token = guard.check_for::<S>(&headers, &uri).await.map_err(Challenge)?;
            Ok(Self(token, PhantomData))
        })
    }
}
