//! What the listener answers: the authorization server, and the probes of whoever runs the process.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use grantor::AuthorizationServer;
use grantor_tower::{GrantorService, ResponseBody};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

use crate::http::RequestBody;

/// The authorization server, `/healthz` and `/readyz`.
///
/// The probes lie outside the issuer's paths: `/healthz` is 200 while the process runs, `/readyz`
/// is 200 while the store can serve and 503 otherwise.
#[derive(Clone, Debug)]
pub struct App {
    server: AuthorizationServer,
    service: GrantorService,
}

/// A probe that waits longer than this is answered "not ready".
const READY_PATIENCE: Duration = Duration::from_secs(2);

impl App {
    /// The service around this server.
    pub fn new(server: AuthorizationServer) -> Self {
        let service = GrantorService::new(server.clone());
        Self { server, service }
    }
}

impl Service<Request<RequestBody>> for App {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let probe = match request.uri().path() {
            "/healthz" => Probe::Health,
            "/readyz" => Probe::Readiness,
            _ => return self.service.call(request),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "");
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Box::pin(std::future::ready(Ok(response)));
        }
        let server = self.server.clone();
        Box::pin(async move {
            Ok(match probe {
                Probe::Health => plain(StatusCode::OK, "ok\n"),
                Probe::Readiness => readiness(&server).await,
            })
        })
    }
}

enum Probe {
    Health,
    Readiness,
}

async fn readiness(server: &AuthorizationServer) -> Response<ResponseBody> {
    match tokio::time::timeout(READY_PATIENCE, server.ready()).await {
        Ok(Ok(())) => plain(StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
        Err(_) => {
            tracing::warn!("not ready: the store does not answer");
            plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
