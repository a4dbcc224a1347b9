//! The flow that runs through every adapter.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use grantor::model::{Authentication, Subject};
use grantor::resource::ValidToken;
use grantor_conformance::adapter::{
    CalendarWrite, FORWARDED_FOR, READ, SIGNED_IN, Site, forwarded_for,
};
use grantor_rocket::{Bearer, Challenges, Token, require_scope, resource_metadata, routes_with};
use rocket::config::{Config, LogLevel, Shutdown};
use rocket::fairing::AdHoc;
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::{Request, get, post, routes};

fn serve(site: Site) {
    let config = Config {
        address: site.address.ip(),
        port: site.address.port(),
        log_level: LogLevel::Off,
        shutdown: Shutdown { ctrlc: false, ..Shutdown::default() },
        ..Config::debug_default()
    };
    let read = READ.parse().expect("a scope");
    let rocket = rocket::custom(config)
        .attach(Challenges::of(site.guard.clone()))
        .attach(AdHoc::on_request("The proxy that the host trusts", |request, _| {
            Box::pin(async move {
                let header = request.headers().get_one(FORWARDED_FOR);
                if let Some(peer) = header.and_then(forwarded_for) {
                    request.set_remote((peer, 0).into());
                }
            })
        }))
        .mount("/", routes_with::<HostUser>(&site.server))
        .mount("/", resource_metadata(&site.guard))
        .mount("/", require_scope(site.guard.clone(), read, routes![list]))
        .mount("/", routes![add, unguarded])
        .manage(site);
    rocket::execute(rocket.launch()).expect("a server");
}

/// The host's session: whom it has signed in.
struct HostUser(Authentication);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for HostUser {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let header = request.headers().get_one(SIGNED_IN);
        let site = request.rocket().state::<Site>().expect("the site");
        match header.and_then(|header| site.signed_in(header)) {
            Some(authentication) => Outcome::Success(Self(authentication)),
            None => Outcome::Forward(Status::Unauthorized),
        }
    }
}

impl From<HostUser> for Authentication {
    fn from(user: HostUser) -> Self {
        user.0
    }
}

fn subject(token: &ValidToken) -> String {
    token.subject.as_ref().map_or("nobody", Subject::as_str).to_owned()
}

#[get("/events")]
fn list(token: Token) -> String {
    subject(&token.0)
}

#[get("/unguarded")]
fn unguarded(token: Token) -> String {
    subject(&token.0)
}

#[post("/events")]
fn add(token: Bearer<CalendarWrite>) -> String {
    subject(&token.0)
}

grantor_conformance::adapter_suite!(serve);
