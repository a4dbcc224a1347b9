//! Bytes that no well-behaved client sends, on a raw socket: the named error, and a server unharmed.

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::patience;
use crate::process::Server;

/// Writes bytes and reads what comes back until the server closes; at most a head's worth.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    patience::within("the end of a connection", answer(server, bytes)).await
}

async fn answer(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(&server.address).await.expect("the server listens");
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = stream.read(&mut buffer).await {
        answer.extend_from_slice(&buffer[..read]);
        if read == 0 || answer.len() > 4096 || answer.windows(4).any(|w| w == b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bytes_get_the_named_error_and_harm_nobody() {
    // ATTACKS J01 to J04, J10, J13; requirements HTTP-003, HTTP-005, 6749-084.
    let mut server = Server::start().await;
    let long = "x".repeat(100_000);
    let many = (0..300).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let form = "content-type: application/x-www-form-urlencoded\r\nconnection: close\r\n";
    for (name, bytes, expected) in [
        ("not HTTP", "hello\r\n\r\n".to_owned(), &[400][..]),
        ("a head without end", format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), &[414, 431]),
        ("a header too long", format!("GET / HTTP/1.1\r\nhost: x\r\na: {long}\r\n\r\n"), &[431]),
        ("too many headers", format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n"), &[431]),
        ("a folded header", "GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n".to_owned(), &[400]),
        ("two lengths", format!("POST /token HTTP/1.1\r\nhost: x\r\n{form}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"), &[400]),
        ("length and chunks", format!("POST /token HTTP/1.1\r\nhost: x\r\n{form}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), &[400, 401]),
        ("a length that is no number", format!("POST /token HTTP/1.1\r\nhost: x\r\n{form}content-length: -1\r\n\r\n"), &[400]),
        ("a body too large", format!("POST /token HTTP/1.1\r\nhost: x\r\n{form}content-length: 100000\r\n\r\n{long}"), &[413]),
        ("chunks too large", format!("POST /token HTTP/1.1\r\nhost: x\r\n{form}transfer-encoding: chunked\r\n\r\n186A0\r\n{long}\r\n0\r\n\r\n"), &[413]),
        ("no content type", "POST /token HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\na=b".to_owned(), &[415]),
        ("JSON", "POST /token HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}".to_owned(), &[415]),
        ("bad escapes", format!("POST /token HTTP/1.1\r\nhost: x\r\n{form}content-length: 8\r\n\r\na=%zz%ff"), &[400]),
        ("a null in the target", "GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &[400]),
        ("an unknown method", "BREW /token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), &[405]),
        ("nothing there", "GET /<script> HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), &[400, 404]),
    ] {
        let answer = raw(&server, bytes.as_bytes()).await;
        assert!(expected.contains(&status(&answer)), "{name}: {answer}");
        assert!(!answer.contains("<script>"), "{name}");
    }
    let not_utf8 =
        b"GET /authorize?client_id=\xff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&raw(&server, not_utf8).await), 400);

    // A client that goes away in the middle of its request, or of its answer, is nobody's problem.
    for bytes in [
        "POST /token HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\nabc",
        "GET /apps HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(&server.address).await.expect("listens");
            stream.write_all(bytes.as_bytes()).await.expect("written");
        }
    }
    assert!(server.is_running());
    let mut connection = server.connect().await;
    let ready = connection.send(Method::GET, "/readyz", &[], &[]).await.expect("an answer");
    assert_eq!(ready.status, StatusCode::OK);
}
