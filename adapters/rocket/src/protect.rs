//! The resource server's side.

use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use grantor::model::ScopeSet;
use grantor::resource::{Guard, RequiredScope, ValidToken};
use rocket::data::Data;
use rocket::fairing::{self, Fairing, Info, Kind};
use rocket::http::Status;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest, Request};
use rocket::route::{self, Handler, Route};
use rocket::{Build, Ignite, Response, Rocket, Sentinel};

use crate::convert;

/// Lets a request to these routes pass when its Bearer token is active and has all of `scope`, and
/// answers with the challenge of RFC 6750 otherwise. The handler finds what the token stands for as
/// [`Token`].
///
/// The empty scope asks for an active token and no more. The guard is one of its own, or a
/// `&AuthorizationServer`.
///
/// ```
/// # use grantor::model::InvalidScope;
/// use grantor::resource::Guard;
/// use grantor_rocket::{Token, require_scope};
/// use rocket::{Build, Rocket, get, routes};
///
/// #[get("/events")]
/// fn events(token: Token) -> String {
///     format!("{:?}", token.0.subject)
/// }
///
/// fn calendar(rocket: Rocket<Build>, guard: Guard) -> Result<Rocket<Build>, InvalidScope> {
///     let routes = require_scope(guard, "calendar.read".parse()?, routes![events]);
///     Ok(rocket.mount("/", routes))
/// }
/// ```
pub fn require_scope(
    guard: impl Into<Guard>,
    scope: ScopeSet,
    routes: impl Into<Vec<Route>>,
) -> Vec<Route> {
    let guard = guard.into();
    let mut routes = routes.into();
    for route in &mut routes {
        let inner = route.handler.clone();
        let (guard, scope) = (guard.clone(), scope.clone());
        route.handler = Box::new(Protected { guard, scope, inner });
    }
    routes
}

#[derive(Clone)]
struct Protected {
    guard: Guard,
    scope: ScopeSet,
    inner: Box<dyn Handler>,
}

#[rocket::async_trait]
impl Handler for Protected {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> route::Outcome<'r> {
        let Ok((headers, uri)) = convert::head(request) else {
            return Outcome::Error(Status::BadRequest);
        };
        match self.guard.check(&headers, &uri, &self.scope).await {
            Ok(token) => {
                *found(request) = Some(token);
                let outcome = self.inner.handle(request, data).await;
                if outcome.is_forward() {
                    // The next route has a guard of its own, or none.
                    *found(request) = None;
                }
                outcome
            }
            Err(challenge) => Outcome::Success(convert::response(challenge)),
        }
    }
}

/// Kept with a request that was let pass, while it is at the route that let it.
#[derive(Default)]
struct Found(Mutex<Option<ValidToken>>);

fn found<'r>(request: &'r Request<'_>) -> MutexGuard<'r, Option<ValidToken>> {
    request.local_cache(Found::default).0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the token of a request stands for, behind [`require_scope`].
#[derive(Clone, Debug)]
pub struct Token(pub ValidToken);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Token {
    type Error = ();

    /// Fails with 500 where the route is not behind [`require_scope`]: that is a mistake of the
    /// program, and must not look like an open door.
    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        match found(request).clone() {
            Some(token) => Outcome::Success(Self(token)),
            None => Outcome::Error((Status::InternalServerError, ())),
        }
    }
}

/// What the token of a request stands for, which is active and has the scope `S`; every other request
/// is answered with the challenge of RFC 6750.
///
/// A request guard has no say in the headers of an answer, so the fairing [`Challenges`] does it.
/// Without it Rocket does not launch.
///
/// ```
/// use grantor::resource::RequiredScope;
/// use grantor_rocket::Bearer;
/// use rocket::post;
///
/// struct CalendarWrite;
///
/// impl RequiredScope for CalendarWrite {
///     const SCOPE: &'static str = "calendar.write";
/// }
///
/// #[post("/events")]
/// fn add(token: Bearer<CalendarWrite>) -> String {
///     format!("added by {:?}", token.0.subject)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Bearer<S>(pub ValidToken, pub PhantomData<S>);

#[rocket::async_trait]
impl<'r, S: RequiredScope> FromRequest<'r> for Bearer<S> {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        let Some(guard) = request.rocket().state::<Guard>() else {
            return Outcome::Error((Status::InternalServerError, ()));
        };
        let Ok((headers, uri)) = convert::head(request) else {
            return Outcome::Error((Status::BadRequest, ()));
        };
        match guard.check_for::<S>(&headers, &uri).await {
            Ok(token) => Outcome::Success(Self(token, PhantomData)),
            Err(challenge) => {
                let status = Status::new(challenge.status().as_u16());
                *challenged(request) = Some(challenge);
                Outcome::Error((status, ()))
            }
        }
    }
}

impl<S> Sentinel for Bearer<S> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        rocket.state::<Guard>().is_none()
    }
}

/// Kept with a request until it is answered.
#[derive(Default)]
struct Challenged(Mutex<Option<http::Response<Bytes>>>);

fn challenged<'r>(request: &'r Request<'_>) -> MutexGuard<'r, Option<http::Response<Bytes>>> {
    request.local_cache(Challenged::default).0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The fairing that [`Bearer`] needs: it gives the guard to the application, and its challenges to the
/// clients, in place of what a catcher says to the same status.
///
/// ```
/// use grantor::resource::Guard;
/// use grantor_rocket::Challenges;
/// use rocket::{Build, Rocket};
///
/// fn calendar(rocket: Rocket<Build>, guard: Guard) -> Rocket<Build> {
///     rocket.attach(Challenges::of(guard))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Challenges(Guard);

impl Challenges {
    /// Of this guard: one of its own, or a `&AuthorizationServer`.
    pub fn of(guard: impl Into<Guard>) -> Self {
        Self(guard.into())
    }
}

#[rocket::async_trait]
impl Fairing for Challenges {
    fn info(&self) -> Info {
        Info { name: "Grantor", kind: Kind::Ignite | Kind::Response | Kind::Singleton }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> fairing::Result {
        Ok(rocket.manage(self.0.clone()))
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let challenge = challenged(request).take();
        // A handler that can do without a token has given an answer of its own.
        if let Some(challenge) =
            challenge.filter(|challenge| challenge.status().as_u16() == response.status().code)
        {
            *response = convert::response(challenge);
        }
    }
}
