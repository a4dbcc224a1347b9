//! Requests that are sent when they are due, whatever became of the ones before.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grantor_bench::contender::{CONFIDENTIAL, Fatal, Ready, SCOPE};
use serde::Deserialize;

/// How long an answer may take until there is something wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ClientCredentials,
    Refresh,
    /// The same as the first, and nobody looks how long it takes.
    Beside,
    /// A name and a password.
    Login,
}

/// The answer to one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    /// When it was there.
    pub(crate) at: Instant,
    pub(crate) latency: Duration,
    /// It was 503.
    pub(crate) refused: bool,
}

/// One connection, and what is sent on it.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    /// The head of its requests, up to the length of their body.
    head: String,
    /// Of grants of its own, by turns.
    tokens: VecDeque<String>,
    /// Of users who try to sign in.
    number: u64,
    /// Between two requests.
    pub(crate) interval: Duration,
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
    /// Whether 503 is an answer.
    pub(crate) may_be_refused: bool,
}

#[derive(Deserialize)]
struct Refreshed {
    refresh_token: String,
}

impl Sender {
    pub(crate) fn new(kind: Kind, ready: &Ready, tokens: VecDeque<String>, number: u64) -> Self {
        let pair = STANDARD.encode(format!("{CONFIDENTIAL}:{}", ready.secret));
        let path = if kind == Kind::Login { "/login" } else { ready.token.as_str() };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Basic {pair}\r\ncontent-type: \
             application/x-www-form-urlencoded\r\ncontent-length: "
        );
        let now = Instant::now();
        Self {
            kind,
            port: ready.port,
            head,
            tokens,
            number,
            interval: Duration::ZERO,
            begin: now,
            end: now,
            may_be_refused: false,
        }
    }

    fn body(&mut self) -> Result<String, Fatal> {
        Ok(match self.kind {
            Kind::ClientCredentials | Kind::Beside => {
                format!("grant_type=client_credentials&scope={SCOPE}")
            }
            Kind::Refresh => {
                let token = self.tokens.front().ok_or("no refresh token")?;
                format!("grant_type=refresh_token&refresh_token={token}")
            }
            // Nobody is so called: it costs as much as a wrong password, and the next is somebody else, whom
            // nobody has guessed at too often.
            Kind::Login => {
                self.number += 1_000_000;
                format!("username=nobody{}&password=correct-horse-battery-staple", self.number)
            }
        })
    }

    /// Sends until the end. Latency is counted from when a request was due, if the connection was waiting for an
    /// answer then, and from when it was sent otherwise: how late this thread wakes up is not the server's.
    pub(crate) fn run(mut self) -> Result<Vec<Sample>, Fatal> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut samples = Vec::new();
        let mut due = self.begin;
        while due < self.end {
            let early = due.saturating_duration_since(Instant::now());
            let from = if early > Duration::ZERO {
                std::thread::sleep(early);
                Instant::now()
            } else {
                due
            };
            let body = self.body()?;
            let request = format!("{}{}\r\n\r\n{body}", self.head, body.len());
            stream.write_all(request.as_bytes())?;
            let (status, body) = answer(&mut stream)?;
            let at = Instant::now();
            let refused = self.check(status, &body)?;
            let latency = at.saturating_duration_since(from);
            samples.push(Sample { kind: self.kind, at, latency, refused });
            due += self.interval;
        }
        Ok(samples)
    }

    /// Whether the request was refused for now. A refresh that was is tried again, with the same token.
    fn check(&mut self, status: u16, body: &[u8]) -> Result<bool, Fatal> {
        let wrong = || format!("{:?}: {status} {}", self.kind, String::from_utf8_lossy(body));
        match (status, self.kind) {
            (503, _) if self.may_be_refused => return Ok(true),
            (403, Kind::Login) => {}
            (200, Kind::ClientCredentials | Kind::Beside) => {
                if memchr::memmem::find(body, b"\"access_token\":\"").is_none() {
                    return Err(wrong().into());
                }
            }
            (200, Kind::Refresh) => {
                let refreshed: Refreshed = serde_json::from_slice(body).map_err(|_| wrong())?;
                self.tokens.pop_front();
                self.tokens.push_back(refreshed.refresh_token);
            }
            _ => return Err(wrong().into()),
        }
        Ok(false)
    }
}

/// Reads one answer: its status and its body.
fn answer(stream: &mut TcpStream) -> Result<(u16, Vec<u8>), Fatal> {
    let (mut received, mut room) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut room)? {
            0 => return Err("the connection was closed".into()),
            count => received.extend_from_slice(room.get(..count).unwrap_or_default()),
        }
        let mut headers = [httparse::EMPTY_HEADER; 48];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(start) = head.parse(&received)? else { continue };
        let mut lengths = head.headers.iter();
        let length = lengths.find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = std::str::from_utf8(length.ok_or("no content-length")?.value)?;
        let length: usize = length.parse()?;
        if let Some(body) = received.get(start..start + length) {
            return Ok((head.code.unwrap_or_default(), body.to_vec()));
        }
    }
}
