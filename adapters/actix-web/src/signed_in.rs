//! Who is signed in at the host.

use std::pin::Pin;
use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::ErrorServiceUnavailable;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, FromRequest, HttpMessage as _};
use grantor::AuthorizationServer;
use grantor::model::Authentication;

/// An answer to come.
type Answer<B> = Pin<Box<dyn Future<Output = Result<ServiceResponse<B>, Error>>>>;

/// A middleware that tells Grantor who is signed in at the host: on the `App` that has
/// [`configure`](crate::configure), and inside of the middleware that makes sessions, which is
/// therefore wrapped after this one.
///
/// `who` gets what it asks for as handlers do, such as the session. `None` is an anonymous visitor. An
/// error is answered with 503: a host that does not know who is there does not take them for nobody.
/// It is not asked where only programs call, such as at the token endpoint
/// ([`AuthorizationServer::is_for_programs`]).
///
/// ```
/// use actix_web::{App, HttpRequest};
/// use grantor::model::Authentication;
///
/// async fn who(request: HttpRequest) -> Result<Option<Authentication>, std::io::Error> {
///     Ok(None) // look the cookie up here
/// }
/// # let server = grantor::AuthorizationServer::builder("https://auth.example.com".parse().unwrap())
/// #     .storage(grantor::storage::MemoryStorage::new()).authenticator(Nobody).build().unwrap();
/// let app = App::new().wrap(grantor_actix_web::signed_in(&server, who));
/// # #[derive(Debug)]
/// # struct Nobody;
/// # #[async_trait::async_trait]
/// # impl grantor::Authenticator for Nobody {
/// #     async fn account(&self, _: &grantor::model::Subject)
/// #         -> Result<Option<grantor::model::Account>, grantor::AuthenticatorError> { Ok(None) }
/// # }
/// ```
pub fn signed_in<S, E, F, A, X, B>(
    server: &AuthorizationServer,
    who: F,
) -> impl Transform<S, ServiceRequest, Response = ServiceResponse<B>, Error = Error, InitError = ()>
+ use<S, E, F, A, X, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    E: FromRequest + 'static,
    F: Fn(E) -> A + 'static,
    A: Future<Output = Result<Option<Authentication>, X>> + 'static,
    X: 'static,
    B: MessageBody + 'static,
{
    let (server, who) = (server.clone(), Rc::new(who));
    from_fn(move |mut request: ServiceRequest, next: Next<B>| -> Answer<B> {
        if server.is_for_programs(request.path()) {
            return Box::pin(next.call(request));
        }
        let who = Rc::clone(&who);
        Box::pin(async move {
            let asked = request.extract::<E>().await.map_err(Into::into)?;
            match who(asked).await {
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
