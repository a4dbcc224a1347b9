//! Who is signed in at the host.

use std::pin::Pin;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::ErrorServiceUnavailable;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, FromRequest, HttpMessage as _};
use grantor::model::Authentication;

/// An answer to come.
type Answer<B> = Pin<Box<dyn Future<Output = Result<ServiceResponse<B>, Error>>>>;

/// A middleware that tells Grantor who is signed in at the host: on the `App` that has
/// [`configure`](crate::configure), and inside of the middleware that makes sessions, which is
/// therefore wrapped after this one.
///
/// `who` gets what it asks for as handlers do, such as the session. `None` is an anonymous visitor. An
/// error is answered with 503: a host that does not know who is there does not take them for nobody.
///
/// ```
/// use actix_web::{App, HttpRequest};
/// use grantor::model::Authentication;
///
/// async fn who(request: HttpRequest) -> Result<Option<Authentication>, std::io::Error> {
///     Ok(None) // look the cookie up here
/// }
/// let app = App::new().wrap(grantor_actix_web::signed_in(who));
/// ```
pub fn signed_in<S, E, F, A, X, B>(
    who: F,
) -> impl Transform<S, ServiceRequest, Response = ServiceResponse<B>, Error = Error, InitError = ()>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    E: FromRequest + 'static,
    F: Fn(E) -> A + 'static,
    A: Future<Output = Result<Option<Authentication>, X>> + 'static,
    X: 'static,
    B: MessageBody + 'static,
{
    from_fn(move |asked: E, request: ServiceRequest, next: Next<B>| -> Answer<B> {
        let who = who(asked);
        Box::pin(async move {
            match who.await {
                Ok(Some(authentication)) => {
                    request.extensions_mut().insert(authentication);
                }
                Ok(None) => {}
                Err(_) => return Err(ErrorServiceUnavailable("")),
            }
            next.call(request).await
        })
    })
}
