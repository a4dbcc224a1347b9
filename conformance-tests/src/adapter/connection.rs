//! What connections bring: where they come from, bodies without end, bytes that are no request,
//! clients that go away, and mistakes of the host's program.

use std::net::IpAddr;

use http::header::{self, HeaderName};
use http::{Method, StatusCode};
use tokio::io::AsyncWriteExt as _;

use super::exchange::{
    Visitor, bytes_of, connect_from, say, say_and_leave, say_without_end, status,
};
use super::stage::{Stage, on_stage};
use super::users::{PANIC, SLOW};
use super::{FORWARDED_FOR, Serve};
use crate::runner::wire::{Call, FORM};

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// A second address of this machine.
const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// Attempts to sign in are counted by where they come from, which no header can say.
pub fn the_peer_is_the_one_of_the_connection(serve: Serve) {
    // ATTACKS G12, K16.
    on_stage(serve, async |stage| {
        let visitor = Visitor::of(stage);
        for source in [AWAY, HOME] {
            let call = visitor
                .sign_in_as("mallory", "guess")
                .await
                .header(HeaderName::from_static("x-forwarded-for"), "203.0.113.9")
                .header(HeaderName::from_static("x-real-ip"), "203.0.113.9")
                .header(header::FORWARDED, "for=203.0.113.9");
            let stream = connect_from(source, stage.site.address).await;
            let answer = say(stream, &bytes_of(&call)).await;
            assert!(matches!(status(&answer), 200 | 400 | 401 | 403), "{answer}");
            assert_eq!(stage.users.sources().last(), Some(&Some(source)), "{answer}");
        }
    });
}

/// Where the connection is that of a proxy, only the host knows whom to believe.
pub fn the_peer_is_the_one_that_the_host_says(serve: Serve) {
    // ATTACKS G12.
    on_stage(serve, async |stage| {
        let visitor = Visitor::of(stage);
        let call = visitor.sign_in_as("mallory", "guess").await;
        let call = call.header(HeaderName::from_static(FORWARDED_FOR), "2001:db8::7");
        visitor.send(call).await;
        let source = "2001:db8::7".parse().expect("an address");
        assert_eq!(stage.users.sources(), [Some(source)]);
    });
}

/// A body is read up to the bound and no further, whether or not its length was announced.
pub fn no_body_is_read_without_end(serve: Serve) {
    // ATTACKS J10.
    on_stage(serve, async |stage| {
        let long = vec![b'x'; grantor::wire::MAX_BODY_LEN + 1];
        let announced = Call::new(Method::POST, stage.url("/token")).typed(FORM, long.clone());
        let answer = ask_in_bytes(stage, &bytes_of(&announced)).await;
        assert_eq!(status(&answer), 413, "{answer}");
        // In pieces, without an end.
        let stream = connect_from(HOME, stage.site.address).await;
        let head = format!(
            "POST /token HTTP/1.1\r\nhost: {}\r\ncontent-type: {FORM}\r\ntransfer-encoding: chunked\r\n\r\n",
            stage.site.address
        );
        let piece = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
        let answer = say_without_end(stream, head.as_bytes(), piece.as_bytes()).await;
        assert_eq!(status(&answer), 413, "{answer}");
        works(stage).await;
    });
}

/// Bytes that are no request, or half of one, are that connection's concern.
pub fn broken_requests_break_nothing(serve: Serve) {
    // ATTACKS J10.
    on_stage(serve, async |stage| {
        let host = stage.site.address;
        let requests: [Vec<u8>; 10] = [
            b"\0\0\0\0\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            b"GET\r\n\r\n".to_vec(),
            b"GET /authorize HTTP/9.9\r\n\r\n".to_vec(),
            format!("GET /auth\0rize HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes(),
            format!("GET /authorize HTTP/1.1\r\nhost: {host}\r\nx\r\n\r\n").into_bytes(),
            format!("POST /token HTTP/1.1\r\nhost: {host}\r\ncontent-length: -1\r\n\r\n").into_bytes(),
            format!("POST /token HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx").into_bytes(),
            format!("POST /token HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").into_bytes(),
            format!("GET /{} HTTP/1.1\r\nhost: {host}\r\n\r\n", "x".repeat(200_000)).into_bytes(),
        ];
        for request in &requests {
            let stream = connect_from(HOME, stage.site.address).await;
            let answer = say_and_leave(stream, request).await;
            let status = status(&answer);
            assert!(status == 0 || (400..500).contains(&status), "{answer}");
        }
        // A client that announces more than it sends: half a form is none.
        let call = Call::new(Method::POST, stage.url("/token")).typed(FORM, "grant_type=a");
        let mut half = bytes_of(&call);
        half.truncate(half.len() - 3);
        let stream = connect_from(HOME, stage.site.address).await;
        let answer = say_and_leave(stream, &half).await;
        assert!(matches!(status(&answer), 0 | 400), "{answer}");
        works(stage).await;
    });
}

/// A step of the protocol that has begun is not left half-way, whether or not anybody waits for it.
pub fn a_request_is_answered_to_its_end(serve: Serve) {
    on_stage(serve, async |stage| {
        let call = Visitor::of(stage).sign_in_as(SLOW, "anything").await;
        let mut stream = connect_from(HOME, stage.site.address).await;
        stream.write_all(&bytes_of(&call)).await.expect("sent");
        stage.users.entered().await;
        drop(stream);
        // Whatever the program does when a client goes away, it has done when it has answered others.
        for _ in 0..20 {
            works(stage).await;
        }
        stage.users.release();
        stage.users.ended().await;
        assert!(!stage.users.given_up(), "the request was given up with its connection");
    });
}

/// A mistake in the host's program is told as such, without details, and the next request is
/// answered.
pub fn a_panic_is_answered(serve: Serve) {
    on_stage(serve, async |stage| {
        let visitor = Visitor::of(stage);
        let call = visitor.sign_in_as(PANIC, "anything").await;
        let reply = visitor.send(call).await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{reply:?}");
        assert!(reply.body.is_empty(), "{reply:?}");
        assert_eq!(reply.header(header::CACHE_CONTROL), "no-store");
        works(stage).await;
    });
}

/// Says bytes on a connection of their own.
async fn ask_in_bytes(stage: &Stage, bytes: &[u8]) -> String {
    say(connect_from(HOME, stage.site.address).await, bytes).await
}

/// The server answers.
async fn works(stage: &Stage) {
    let call = Call::get(stage.url(&stage.site.server.issuer().metadata_path()));
    let answer = ask_in_bytes(stage, &bytes_of(&call)).await;
    assert_eq!(status(&answer), 200, "{answer}");
}
