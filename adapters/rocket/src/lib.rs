//! Grantor for [Rocket](https://docs.rs/rocket) 0.5.
//!
//! Embedding it is a chapter of [the book](grantor::guide::embedding).
//!
//! * [`routes`]: the authorization server, to be mounted at `/`; [`routes_with`] where the host signs
//!   users in itself.
//! * [`require_scope`]: protects routes of a resource server, and [`Token`] for what it found.
//! * [`Bearer`]: a request guard that asks for a scope in the signature of a handler, with the fairing
//!   [`Challenges`].
//! * [`resource_metadata`]: where clients find out who issues tokens for a resource.
//!
//! Rocket reads only headers that are UTF-8, and takes a form that begins with the field `_method` for a
//! request of that method.
//!
#![doc = concat!("```no_run\n", include_str!("../examples/embed.rs"), "\n```")]

mod convert;
mod metadata;
mod protect;

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use grantor::AuthorizationServer;
use grantor::model::Authentication;
use grantor::wire::{BodyTooLarge, LoginRequest, MAX_BODY_LEN, PeerAddr};
use rocket::data::{ByteUnit, Data};
use rocket::http::{Method, Status};
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest, Request};
use rocket::route::{self, Handler, Route};

pub use self::metadata::resource_metadata;
pub use self::protect::{Bearer, Challenges, Token, require_scope};

/// The authorization server, to be mounted at `/`. Its paths follow from the issuer, so that the
/// metadata is right; every other path is left to the other routes.
///
/// Where a request comes from is told by the connection, never by a header. Behind a proxy that it trusts,
/// the host says it by a fairing that calls [`Request::set_remote`].
pub fn routes(server: &AuthorizationServer) -> Vec<Route> {
    routes_with::<Nobody>(server)
}

/// The same where the host signs users in itself: whom it has signed in is said by a request guard of
/// its own. Where that forwards, nobody is; an error of it is the answer.
pub fn routes_with<U>(server: &AuthorizationServer) -> Vec<Route>
where
    U: for<'r> FromRequest<'r> + Into<Authentication> + Send + Sync + 'static,
{
    let mounted =
        Mounted { server: server.clone(), paths: server.paths().into(), user: PhantomData::<U> };
    METHODS.map(|method| Route::ranked(BEFORE_ALL, method, "/<path..>", mounted.clone())).into()
}

/// What a visitor to the host's sign-in page brought along, see
/// [`AuthorizationServer::login_request`]. A form that another site has posted is answered 403.
pub fn login_request(
    server: &AuthorizationServer,
    request: &Request<'_>,
) -> Result<Option<LoginRequest>, Status> {
    let (headers, uri) = convert::head(request).map_err(|_| Status::BadRequest)?;
    let method = convert::method(request).map_err(|_| Status::BadRequest)?;
    server.login_request(&method, &headers, &uri).map_err(|_| Status::Forbidden)
}

/// All that Rocket knows.
const METHODS: [Method; 9] = [
    Method::Get,
    Method::Put,
    Method::Post,
    Method::Delete,
    Method::Options,
    Method::Head,
    Method::Trace,
    Method::Connect,
    Method::Patch,
];

/// Routes have -12 and more by default.
const BEFORE_ALL: isize = -100;

/// Whoever comes is not signed in at the host.
struct Nobody(Infallible);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Nobody {
    type Error = Infallible;

    async fn from_request(_: &'r Request<'_>) -> request::Outcome<Self, Infallible> {
        Outcome::Forward(Status::Unauthorized)
    }
}

impl From<Nobody> for Authentication {
    fn from(nobody: Nobody) -> Self {
        match nobody.0 {}
    }
}

struct Mounted<U> {
    server: AuthorizationServer,
    paths: Arc<[String]>,
    user: PhantomData<U>,
}

impl<U> Clone for Mounted<U> {
    fn clone(&self) -> Self {
        Self { server: self.server.clone(), paths: Arc::clone(&self.paths), user: PhantomData }
    }
}

#[rocket::async_trait]
impl<U> Handler for Mounted<U>
where
    U: for<'r> FromRequest<'r> + Into<Authentication> + Send + Sync + 'static,
{
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> route::Outcome<'r> {
        // Routes are matched with the decoded path, and could not be written for each issuer.
        if !self.paths.iter().any(|path| path == request.uri().path().as_str()) {
            return Outcome::Forward((data, Status::NotFound));
        }
        let Ok(body) = data.open(ByteUnit::from(MAX_BODY_LEN)).into_bytes().await else {
            return Outcome::Error(Status::BadRequest);
        };
        let complete = body.is_complete();
        if complete && convert::is_cut_off(request, &body) {
            return Outcome::Error(Status::BadRequest);
        }
        let Ok(mut asked) = convert::request(request, body.into_inner()) else {
            return Outcome::Error(Status::BadRequest);
        };
        if !complete {
            asked.extensions_mut().insert(BodyTooLarge);
        }
        if let Some(peer) = request.remote() {
            asked.extensions_mut().insert(PeerAddr(peer.ip()));
        }
        match request.guard::<U>().await {
            Outcome::Success(user) => drop(asked.extensions_mut().insert(user.into())),
            Outcome::Forward(_) => {}
            Outcome::Error((status, _)) => return Outcome::Error(status),
        }
        Outcome::Success(convert::response(grantor_tower::answer(&self.server, asked).await))
    }
}
