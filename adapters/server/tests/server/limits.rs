//! What a client can hold on to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use grantor_server::http::{Limits, RequestBody, serve};
use grantor_server::shutdown::{self, Trigger};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::world::PATIENCE;

type Answer = Result<Response<Full<Bytes>>, Infallible>;

#[derive(Clone, Default)]
struct Echo {
    active: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl tower_service::Service<Request<RequestBody>> for Echo {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let now = this.active.fetch_add(1, Ordering::SeqCst) + 1;
            this.most.fetch_max(now, Ordering::SeqCst);
            assert!(request.extensions().get::<SocketAddr>().is_some());
            let answer = match request.into_body().collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) => Bytes::from(error.to_string()),
            };
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            this.active.fetch_sub(1, Ordering::SeqCst);
            Ok(Response::new(Full::new(answer)))
        })
    }
}

async fn start(limits: Limits) -> (SocketAddr, Echo, Trigger, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (trigger, shutdown) = shutdown::channel();
    let echo = Echo::default();
    let serving = tokio::spawn(serve(listener, echo.clone(), limits, shutdown));
    (address, echo, trigger, serving)
}

/// Sends, and reads until the server closes the connection.
async fn exchange(address: SocketAddr, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("listening");
    // The server may close before it has read everything.
    let _ = stream.write_all(sent).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    let _ = read.await.expect("the server closes in time");
    String::from_utf8(answer).expect("text")
}

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_head_that_does_not_come_and_a_connection_that_idles_are_given_up() {
    // Requirement HTTP-006; ATTACKS J07.
    let (address, _, _trigger, _serving) =
        start(Limits { header_timeout: SHORT, ..Limits::default() }).await;
    let slow = exchange(address, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    assert!(!slow.contains(" 200 "), "{slow}");
    assert_eq!(exchange(address, b"").await, "");
    let idle = exchange(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(idle.starts_with("HTTP/1.1 200 OK"), "{idle}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    // Requirement HTTP-006; ATTACKS J07.
    let (address, _, _trigger, _serving) =
        start(Limits { body_timeout: SHORT, ..Limits::default() }).await;
    let slow = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc";
    let answer = exchange(address, slow).await;
    assert!(answer.ends_with("did not arrive in time"), "{answer}");
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    // Requirement HTTP-005; ATTACKS J04.
    let (address, _, _trigger, _serving) = start(Limits::default()).await;
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(64 * 1024));
    let answer = exchange(address, long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: x\r\n".repeat(1000));
    let answer = exchange(address, many.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_connections_are_open_at_once() {
    // Requirement HTTP-006; ATTACKS J07.
    let (address, echo, _trigger, _serving) =
        start(Limits { connections: 2, ..Limits::default() }).await;
    let mut exchanges = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let request =
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
        exchanges.spawn(exchange(address, request));
    }
    for answer in exchanges.join_all().await {
        assert!(answer.ends_with("hi"), "{answer}");
    }
    assert!(echo.most.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn the_grace_of_a_shutdown_ends() {
    let (address, echo, trigger, serving) =
        start(Limits { grace: SHORT, ..Limits::default() }).await;
    let slow = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc";
    let cut_off = tokio::spawn(exchange(address, slow));
    while echo.active.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    trigger.stop();
    tokio::time::timeout(PATIENCE, serving).await.expect("it ends in time").expect("it ends well");
    assert_eq!(cut_off.await.expect("it ends"), "");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}
