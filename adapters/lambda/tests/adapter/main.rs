//! The flow that runs through every adapter, behind a gateway that speaks of requests as API Gateway does.

#![expect(clippy::expect_used, reason = "tests report by panicking, also in their helpers")]

mod gateway;

use std::convert::Infallible;

use bytes::Bytes;
use grantor::model::Subject;
use grantor::resource::ValidToken;
use grantor::wire::PeerAddr;
use grantor_conformance::adapter::{
    CalendarWrite, FORWARDED_FOR, READ, SIGNED_IN, Site, forwarded_for,
};
use grantor_lambda::{Grantor, RequireScope, ResponseBody};
use http::{Method, StatusCode};
use lambda_http::tower::{Layer as _, service_fn};
use lambda_http::{Request, Response, Service as _};

use crate::gateway::Gateway;

/// Behind an HTTP API, or the URL of a function, which has the same events.
fn serve(site: Site) {
    gateway::serve(site, Gateway::Http);
}

grantor_conformance::adapter_suite!(serve, joined_headers);

/// Behind a REST API, which hands over headers one by one, and the query in pieces: so its answers to odd
/// queries are not compared.
mod rest_api {
    use grantor_conformance::adapter;

    use super::*;

    fn serve(site: Site) {
        gateway::serve(site, Gateway::Rest);
    }

    #[test]
    fn the_whole_flow() {
        adapter::the_whole_flow(serve);
    }

    #[test]
    fn repeated_headers_stay_repeated() {
        adapter::repeated_headers_stay_repeated(serve);
    }

    #[test]
    fn the_peer_is_the_one_of_the_connection() {
        adapter::the_peer_is_the_one_of_the_connection(serve);
    }
}

/// The function.
async fn function(site: Site, mut request: Request) -> Result<Response<ResponseBody>, Infallible> {
    // The host's session: whom it has signed in.
    let header = request.headers().get(SIGNED_IN).and_then(|value| value.to_str().ok());
    if let Some(authentication) = header.and_then(|header| site.signed_in(header)) {
        request.extensions_mut().insert(authentication);
    }
    let header = request.headers().get(FORWARDED_FOR).and_then(|value| value.to_str().ok());
    if let Some(peer) = header.and_then(forwarded_for) {
        request.extensions_mut().insert(PeerAddr(peer));
    }
    if Some(request.uri().path()) == site.guard.metadata_path() {
        return Ok(site.guard.metadata().unwrap_or_default().map(ResponseBody::new));
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/events") => {
            let layer = RequireScope::new(site.guard, READ.parse().expect("a scope"));
            layer.layer(service_fn(list)).call(request).await
        }
        (&Method::POST, "/events") => {
            let (headers, uri) = (request.headers(), request.uri());
            let checked = site.guard.check_for::<CalendarWrite>(headers, uri).await;
            Ok(checked.map_or_else(|answer| answer.map(ResponseBody::new), |token| subject(&token)))
        }
        (&Method::GET, "/unguarded") => list(request).await,
        _ => Grantor::new(site.server).call(request).await,
    }
}

async fn list(request: Request) -> Result<Response<ResponseBody>, Infallible> {
    Ok(request.extensions().get::<ValidToken>().map_or_else(
        || {
            let mut response = Response::new(ResponseBody::default());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        },
        subject,
    ))
}

fn subject(token: &ValidToken) -> Response<ResponseBody> {
    let subject = token.subject.as_ref().map_or("nobody", Subject::as_str);
    Response::new(Bytes::copy_from_slice(subject.as_bytes()).into())
}
