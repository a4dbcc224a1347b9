//! A small HTTP/1.1 server with a bound on everything that a client can hold on to.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;

use crate::shutdown::Shutdown;

/// What a client may ask of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many connections are open at once; further ones wait to be accepted.
    pub connections: usize,
    /// How long the head of a request may take, and how long a connection may idle before it.
    pub header_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// How long a client may take no byte of an answer that is ready.
    pub write_timeout: Duration,
    /// How many bytes the head of a request may have.
    pub header_size: usize,
    /// How long requests that are under way at a shutdown may take.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Fits into the 1024 file descriptors that a process usually gets.
            connections: 960,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(30),
            header_size: 32 * 1024,
            grace: Duration::from_secs(10),
        }
    }
}

/// Between a failed accept (out of file descriptors, say) and the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the shutdown, then lets the requests under way finish, for the grace of the limits.
///
/// The service finds the client's `SocketAddr` in the request's extensions. Each answered request
/// is logged: method, path without query, status and microseconds. The query and the headers are
/// not: codes and tokens travel there.
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: Limits, mut shutdown: Shutdown)
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let free = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.requested() => break,
            accepted = accept(&listener, &free) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are small and whole: waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.write_timeout));
        let service = service.clone();
        let answer = service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(answer(service, request, peer, limits).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(limits.header_size)
            .serve_connection(TokioIo::new(Box::pin(stream)), answer);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a connection ended early");
            }
            drop(permit);
        });
    }
    // New clients are refused, rather than left waiting for a server that will not come back.
    drop(listener);
    if tokio::time::timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way were cut off: they took longer than the grace");
    }
    connections.shutdown().await;
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let permit = Arc::clone(free).acquire_owned().await;
    let permit = permit.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn answer<S, B>(
    mut service: S,
    request: Request<Incoming>,
    peer: SocketAddr,
    limits: Limits,
) -> Response<B>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
{
    let begun = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut request = request.map(|body| RequestBody::new(body, limits.body_timeout));
    request.extensions_mut().insert(peer);
    let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
    let Ok(response) = service.call(request).await;
    tracing::info!(
        target: "grantor::http",
        %method,
        path = uri.path(),
        status = response.status().as_u16(),
        micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request",
    );
    response
}

/// The body of a request, with a deadline that begins when it is first waited for.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    const fn new(incoming: Incoming, timeout: Duration) -> Self {
        Self { incoming, timeout, deadline: None }
    }
}

/// Why a body did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It took too long.
    #[error("the body of the request did not arrive in time")]
    TooSlow,
    /// The connection broke, or what came is not HTTP.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)));
        }
        let timeout = self.timeout;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::TooSlow)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
