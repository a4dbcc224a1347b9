//! What is said to a program: requests as clients and browsers make them, and bytes as they are.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use grantor::protocol::register::Registered;
use http::header;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpSocket, TcpStream};

use super::stage::Stage;
use super::users::{NAME, PASSWORD};
use crate::runner::Secret;
use crate::runner::browser::{Browser, Filler, Landing, Plan, Shown};
use crate::runner::config::{Forms, User};
use crate::runner::probe::{Ask, Form, Line, basic};
use crate::runner::wire::{Call, Manners, Reply, Wire};

/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The other side of the connection: clients, and users with their browsers.
#[derive(Debug)]
pub(super) struct Visitor<'s> {
    stage: &'s Stage,
    wire: Arc<Wire>,
    user: User,
    forms: Forms,
}

impl<'s> Visitor<'s> {
    pub(super) fn of(stage: &'s Stage) -> Self {
        let manners =
            Manners { timeout: TIMEOUT, patience: Duration::ZERO, rate: None, authority: None };
        let wire = Wire::new(&manners).expect("a client");
        let user = User { username: Some(NAME.to_owned()), password: Some(Secret::new(PASSWORD)) };
        Self { stage, wire, user, forms: Forms::default() }
    }

    pub(super) async fn send(&self, call: Call) -> Reply {
        self.wire.send(&call).await.unwrap_or_else(|error| panic!("{call:?}: {error}"))
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send(Call::get(self.stage.url(path))).await
    }

    /// A request with a token.
    pub(super) async fn with_token(&self, method: http::Method, path: &str, token: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        let call = Call::new(method, self.stage.url(path));
        self.send(call.header(header::AUTHORIZATION, &bearer)).await
    }

    /// A form from a client with a secret.
    pub(super) async fn form(
        &self,
        client: &Registered,
        url: &str,
        form: &[(&str, &str)],
    ) -> Reply {
        let secret = client.client_secret.as_ref().expect("a secret");
        let authorization = basic(client.client.id.as_str(), secret.expose());
        let call = Call::form(url, &Form::new(form).0);
        self.send(call.header(header::AUTHORIZATION, &authorization)).await
    }

    pub(super) fn browser(&self) -> Browser {
        Browser::new(&[self.stage.url("/")])
    }

    fn filler(&self) -> Filler<'_> {
        Filler { user: &self.user, forms: &self.forms }
    }

    /// Follows an authorization request as far as planned.
    pub(super) async fn drive(&self, browser: &mut Browser, ask: &Ask, plan: Plan) -> Landing {
        let line = Line::new(&self.wire);
        let landed =
            browser.drive(&line, &ask.url(), &ask.redirect_uri, &self.filler(), plan).await;
        landed.unwrap_or_else(|stuck| panic!("{stuck}"))
    }

    /// One request of a browser.
    pub(super) async fn browse(&self, browser: &mut Browser, call: Call) -> Reply {
        browser.send(&Line::new(&self.wire), call).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The request that allows what is ticked on a consent page.
    pub(super) fn allow(&self, shown: &Shown) -> Call {
        self.filler().decide(shown, true).expect("a form")
    }

    /// The request that signs in as somebody, on the page of connected apps.
    pub(super) async fn sign_in_as(&self, name: &str, password: &str) -> Call {
        let mut browser = self.browser();
        let apps = Call::get(self.stage.site.server.issuer().endpoint("/apps"));
        let reply = self.browse(&mut browser, apps).await;
        let page = crate::runner::page::Page::parse(&reply.text());
        let form = page.forms.first().expect("the sign-in form").clone();
        let shown = Shown { reply, page, form };
        let call = self.filler().sign_in_as(&shown, name, password).expect("a form");
        browser.with_cookies(call)
    }
}

/// A request as bytes. The connection is closed after the answer.
pub(super) fn bytes_of(call: &Call) -> Vec<u8> {
    let url = url::Url::parse(&call.url).expect("an address");
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut bytes = format!("{} {}{query} HTTP/1.1\r\n", call.method, url.path()).into_bytes();
    for (name, value) in &call.headers {
        bytes.extend_from_slice(format!("{name}: ").as_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let rest = format!(
        "host: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        url.authority(),
        call.body.len()
    );
    bytes.extend_from_slice(rest.as_bytes());
    bytes.extend_from_slice(&call.body);
    bytes
}

/// A connection that comes from this address.
pub(super) async fn connect_from(source: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(source, 0)).expect("an address of this machine");
    socket.connect(to).await.expect("a connection")
}

/// Sends bytes as they are, keeps the connection open, and reads one answer.
///
/// A server that refuses what it has not read to its end may close before everything was written:
/// that is no error here.
pub(super) async fn say(stream: TcpStream, bytes: &[u8]) -> String {
    converse(stream, async |writing| writing.write_all(bytes).await).await
}

/// The same, and the client is gone after the last byte.
pub(super) async fn say_and_leave(stream: TcpStream, bytes: &[u8]) -> String {
    let leave = async |writing: &mut OwnedWriteHalf| {
        writing.write_all(bytes).await?;
        writing.shutdown().await
    };
    converse(stream, leave).await
}

/// The same, and after the first bytes others again and again, as long as they are taken.
pub(super) async fn say_without_end(stream: TcpStream, first: &[u8], then: &[u8]) -> String {
    let more = async |writing: &mut OwnedWriteHalf| {
        writing.write_all(first).await?;
        for _ in 0..PATIENCE {
            writing.write_all(then).await?;
        }
        panic!("a body of {PATIENCE} pieces is taken, and there would be more")
    };
    converse(stream, more).await
}

/// So many pieces of a body are more than any server waits for.
const PATIENCE: usize = 10_000;

/// What the other side says until it has said all of one answer, or goes.
async fn converse(
    stream: TcpStream,
    write: impl AsyncFnOnce(&mut OwnedWriteHalf) -> std::io::Result<()>,
) -> String {
    let (mut reading, mut writing) = stream.into_split();
    let mut answer = Vec::new();
    let write = async {
        // Where nothing more is taken, what was answered says why.
        let _ = write(&mut writing).await;
        std::future::pending::<()>().await;
    };
    let read = async {
        while !is_whole(&answer) && !matches!(reading.read_buf(&mut answer).await, Ok(0) | Err(_)) {
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Whether an answer has the length that it announces.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let announced = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    announced
        .and_then(|length| length.trim().parse().ok())
        .is_some_and(|length| body.len() >= length)
}

/// The status of an answer that was read as text; 0 if there is none.
pub(super) fn status(answer: &str) -> u16 {
    let code = answer.split(' ').nth(1).filter(|_| answer.starts_with("HTTP/1."));
    code.and_then(|code| code.parse().ok()).unwrap_or(0)
}
