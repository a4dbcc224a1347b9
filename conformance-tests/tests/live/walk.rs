//! A client, its user and the user's browser.

use std::collections::BTreeMap;

use base64::Engine as _;
use http::{Method, header};

use crate::connection::{Answer, Connection};
use crate::process::Server;

pub(crate) const CALLBACK: &str = "http://127.0.0.1/cb";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A registered confidential client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Client {
    pub(crate) fn basic(&self) -> String {
        let pair = format!("{}:{}", self.id, self.secret);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }

    pub(crate) async fn redeem(&self, connection: &mut Connection, code: &str) -> Option<Answer> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        connection.post("/token", &[("authorization", &self.basic())], &form).await
    }

    pub(crate) async fn refresh(&self, connection: &mut Connection, token: &str) -> Option<Answer> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        connection.post("/token", &[("authorization", &self.basic())], &form).await
    }

    pub(crate) async fn revoke(&self, connection: &mut Connection, token: &str) -> Option<Answer> {
        connection.post("/revoke", &[("authorization", &self.basic())], &[("token", token)]).await
    }

    /// Whether the server says that a token of this client is active.
    pub(crate) async fn is_active(&self, connection: &mut Connection, token: &str) -> Option<bool> {
        let headers = [("authorization", &*self.basic())];
        let answer = connection.post("/introspect", &headers, &[("token", token)]).await?;
        answer.json()["active"].as_bool()
    }
}

/// The user's browser, signed in, with the client's access remembered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Signs in and allows the client everything, so that later requests get a code at once.
    pub(crate) async fn connect(server: &Server, client: &Client) -> Self {
        let mut browser = Self::default();
        let mut connection = Connection::open(&server.address).await.expect("the server listens");
        let target = authorize_target(client);
        let page = browser.open(&mut connection, &target).await;
        let action = attribute(&page.body, "action");
        let form = [
            ("interaction", &*value_of(&page.body, "interaction")),
            ("username", "alice"),
            ("password", "wonderland"),
        ];
        let answer = browser.send(&mut connection, Method::POST, &action, &form).await;
        let page = browser.open(&mut connection, &answer.location()).await;
        let action = attribute(&page.body, "action");
        let form = [
            ("interaction", &*value_of(&page.body, "interaction")),
            ("ticket", &*value_of(&page.body, "ticket")),
            ("scope", "read"),
            ("scope", "write"),
            ("decision", "allow"),
        ];
        let answer = browser.send(&mut connection, Method::POST, &action, &form).await;
        assert!(answer.parameter("code").is_some(), "{answer:?}");
        browser
    }

    /// A new code; `None` if the connection broke.
    pub(crate) async fn code(
        &self,
        connection: &mut Connection,
        client: &Client,
    ) -> Option<String> {
        let cookie = self.header();
        let target = authorize_target(client);
        let answer = connection.send(Method::GET, &target, &[("cookie", &cookie)], &[]).await?;
        answer.parameter("code")
    }

    /// Takes this browser where a client sends it.
    pub(crate) async fn follow(&self, connection: &mut Connection, target: &str) -> Answer {
        let cookie = self.header();
        let answer = connection.send(Method::GET, target, &[("cookie", &cookie)], &[]).await;
        answer.expect("an answer")
    }

    fn header(&self) -> String {
        self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("; ")
    }

    async fn open(&mut self, connection: &mut Connection, target: &str) -> Answer {
        let mut answer = self.send(connection, Method::GET, target, &[]).await;
        while answer.location().starts_with('/') {
            let next = answer.location();
            answer = self.send(connection, Method::GET, &next, &[]).await;
        }
        answer
    }

    async fn send(
        &mut self,
        connection: &mut Connection,
        method: Method,
        target: &str,
        form: &[(&str, &str)],
    ) -> Answer {
        let cookie = self.header();
        let answer = connection.send(method, target, &[("cookie", &cookie)], form).await;
        let answer = answer.expect("an answer");
        for line in answer.headers.get_all(header::SET_COOKIE) {
            let (pair, _) = line.to_str().expect("ASCII").split_once(';').expect("attributes");
            let (name, value) = pair.split_once('=').expect("a pair");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }
}

fn authorize_target(client: &Client) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("client_id", &*client.id),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", "read write"),
            ("state", "s"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ])
        .finish();
    format!("/authorize?{query}")
}

/// The first attribute of this name on a page, with the one escape that our values contain undone.
fn attribute(page: &str, name: &str) -> String {
    let (_, rest) =
        page.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("{name}: {page}"));
    rest.split_once('"').expect("a value").0.replace("&#x2f;", "/")
}

/// The value of a hidden field.
fn value_of(page: &str, field: &str) -> String {
    let (_, rest) =
        page.split_once(&format!("name=\"{field}\"")).unwrap_or_else(|| panic!("{field}: {page}"));
    attribute(rest, "value")
}
