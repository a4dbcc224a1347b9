//! What the listener answers: the authorization server, and the probes of whoever runs the process.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use grantor::AuthorizationServer;
use grantor_redis::RedisStorage;
use grantor_tower::{GrantorService, ResponseBody};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

use crate::http::RequestBody;

/// The authorization server, `/healthz` and `/readyz`.
///
/// The probes lie outside the issuer's paths: `/healthz` is 200 while the process runs, `/readyz`
/// is 200 while the store can serve and 503 otherwise, with the reason. Where the store can lose
/// something that was answered, the second line says what.
#[derive(Clone, Debug)]
pub struct App {
    server: AuthorizationServer,
    service: GrantorService,
    redis: Option<Arc<RedisStorage>>,
}

/// A probe that waits longer than this is answered "not ready".
///
/// A store that waits for disks, of Redis and its replicas, takes up to three seconds when all is well.
const READY_PATIENCE: Duration = Duration::from_secs(5);

impl App {
    /// The service around this server.
    pub fn new(server: AuthorizationServer) -> Self {
        let service = GrantorService::new(server.clone());
        Self { server, service, redis: None }
    }

    /// Says at `/readyz` too what this Redis, on which the server is, can lose.
    #[must_use]
    pub fn on_redis(mut self, redis: Arc<RedisStorage>) -> Self {
        self.redis = Some(redis);
        self
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
        let (server, redis) = (self.server.clone(), self.redis.clone());
        Box::pin(async move {
            Ok(match probe {
                Probe::Health => plain(StatusCode::OK, "ok\n"),
                Probe::Readiness => readiness(&server, redis.as_deref()).await,
            })
        })
    }
}

enum Probe {
    Health,
    Readiness,
}

async fn readiness(
    server: &AuthorizationServer,
    redis: Option<&RedisStorage>,
) -> Response<ResponseBody> {
    let reason = match tokio::time::timeout(READY_PATIENCE, server.ready()).await {
        Ok(Ok(())) => {
            // The first line says what can be lost; the others are for the log.
            let report = redis.map(|redis| redis.report().to_string()).unwrap_or_default();
            let lines = std::iter::once("ready").chain(report.lines().take(1));
            let text = lines.flat_map(|line| [line, "\n"]).collect::<String>();
            return plain(StatusCode::OK, text);
        }
        // Errors of a store hold neither secrets nor keys.
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the storage did not answer within {} s", READY_PATIENCE.as_secs()),
    };
    // Whoever reaches this address need not learn where the store is.
    tracing::warn!(reason, "not ready");
    plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
