//! The flow that runs through every adapter.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use std::convert::Infallible;

use bytes::Bytes;
use grantor::model::Subject;
use grantor::resource::ValidToken;
use grantor::wire::PeerAddr;
use grantor_conformance::adapter::{
    CalendarWrite, FORWARDED_FOR, READ, SIGNED_IN, Site, forwarded_for,
};
use grantor_tower::{GrantorService, RequireScope, ResponseBody};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tower_layer::Layer as _;
use tower_service::Service as _;

#[tokio::main]
async fn serve(site: Site) {
    let listener = TcpListener::bind(site.address).await.expect("the address is free");
    loop {
        let (stream, peer) = listener.accept().await.expect("a connection");
        let site = site.clone();
        let answer = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            answer(site.clone(), request)
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new());
        tokio::spawn(http.serve_connection(TokioIo::new(stream), answer));
    }
}

async fn answer(
    site: Site,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
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
            layer.layer(tower::service_fn(list)).call(request).await
        }
        (&Method::POST, "/events") => {
            let (headers, uri) = (request.headers(), request.uri());
            let checked = site.guard.check_for::<CalendarWrite>(headers, uri).await;
            Ok(checked.map_or_else(|answer| answer.map(ResponseBody::new), |token| subject(&token)))
        }
        (&Method::GET, "/unguarded") => list(request).await,
        _ => GrantorService::new(site.server).call(request).await,
    }
}

async fn list(request: Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
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

grantor_conformance::adapter_suite!(serve);
