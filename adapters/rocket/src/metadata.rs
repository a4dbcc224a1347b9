//! What a resource server says about itself.

use grantor::resource::Guard;
use rocket::data::Data;
use rocket::http::{Method, Status};
use rocket::outcome::Outcome;
use rocket::request::Request;
use rocket::route::{self, Handler, Route};

use crate::{BEFORE_ALL, convert};

/// The metadata of what a guard protects (RFC 9728), to be mounted at `/`. There is none where the guard
/// does not say what that is ([`Guard::resource`]).
pub fn resource_metadata(guard: &Guard) -> Vec<Route> {
    let metadata = Metadata(guard.clone());
    // Rocket answers HEAD by GET, and the routes of the server are before all.
    vec![Route::ranked(BEFORE_ALL + 1, Method::Get, "/<path..>", metadata)]
}

#[derive(Clone)]
struct Metadata(Guard);

#[rocket::async_trait]
impl Handler for Metadata {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> route::Outcome<'r> {
        let ours = self.0.metadata_path() == Some(request.uri().path().as_str());
        match self.0.metadata().filter(|_| ours) {
            Some(metadata) => Outcome::Success(convert::response(metadata)),
            None => Outcome::Forward((data, Status::NotFound)),
        }
    }
}
