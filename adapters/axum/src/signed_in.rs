//! Who is signed in at the host.

use std::pin::Pin;

use axum::extract::{FromRequestParts, Request};
use axum::middleware::{self, FromFnLayer, Next};
use axum::response::{IntoResponse as _, Response};
use grantor::model::Authentication;
use http::StatusCode;

/// An answer to come.
type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A layer that tells Grantor who is signed in at the host: around [`router`](crate::router), and
/// inside of the layer that makes sessions.
///
/// `who` gets what it asks for as handlers do, such as the session. `None` is an anonymous visitor. An
/// error is answered with 503: a host that does not know who is there does not take them for nobody.
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
///     grantor_axum::router(server).layer(grantor_axum::signed_in(who));
/// # #[derive(Debug)]
/// # struct Nobody;
/// # #[async_trait::async_trait]
/// # impl grantor::Authenticator for Nobody {
/// #     async fn account(&self, _: &grantor::model::Subject)
/// #         -> Result<Option<grantor::model::Account>, grantor::AuthenticatorError> { Ok(None) }
/// # }
/// ```
pub fn signed_in<E, F, A, X>(
    who: F,
) -> FromFnLayer<impl Fn(E, Request, Next) -> Answer + Clone + Send + Sync, (), (E, Request)>
where
    E: FromRequestParts<()> + Send + 'static,
    F: Fn(E) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Option<Authentication>, X>> + Send + 'static,
    X: 'static,
{
    middleware::from_fn(move |asked: E, mut request: Request, next: Next| -> Answer {
        let who = who(asked);
        Box::pin(async move {
            match who.await {
                Ok(Some(authentication)) => {
                    request.extensions_mut().insert(authentication);
                }
                Ok(None) => {}
                Err(_) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }
            next.run(request).await
        })
    })
}
