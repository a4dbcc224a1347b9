//! Whole conversations: whatever is sent, in whatever order, with what earlier answers gave out put wherever the fuzzer
//! likes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use grantor::protocol::register::Registered;
use http::{HeaderName, HeaderValue, Method, Request};

use crate::shared::run;
use crate::world::{
    Answer, Browser, CALLBACK, PASSWORD, VERIFIER, World, action, authorize_url, borrowed, encode,
    hidden, redemption, renewal, scopes_of,
};

/// A conversation is no longer than this; the rest of the bytes is not read.
const STEPS: usize = 24;

/// A text to put somewhere: what was seen, what is known, or anything.
#[derive(Arbitrary, Debug)]
enum Text<'a> {
    Any(&'a str),
    Empty,
    Seen(u8),
    Client(u8),
    Secret(u8),
    Callback,
    Verifier,
    Absent,
}

/// A parameter whose value is another than it would be.
#[derive(Arbitrary, Debug)]
struct Change<'a> {
    name: u8,
    value: Text<'a>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Authorize { client: u8, changes: Vec<Change<'a>> },
    SignIn { who: u8, right: bool },
    Decide { allow: bool, scopes: u8 },
    Redeem { client: u8, code: u8, changes: Vec<Change<'a>> },
    Refresh { client: u8, token: u8, changes: Vec<Change<'a>> },
    Revoke { client: u8, token: u8 },
    Introspect { client: u8, token: u8 },
    Apps { path: u8, client: u8 },
    Post { path: u8, form: Vec<(Change<'a>, bool)> },
    Raw { method: u8, path: u8, query: &'a str, header: u8, value: &'a [u8], body: &'a [u8] },
    Pass { seconds: u16 },
    OtherBrowser,
    Restart,
}

const NAMES: [&str; 26] = [
    "client_id",
    "client_secret",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "login_hint",
    "ui_locales",
    "request",
    "request_uri",
    "grant_type",
    "code",
    "code_verifier",
    "refresh_token",
    "token",
    "token_type_hint",
    "interaction",
    "ticket",
    "decision",
    "form_token",
    "client_assertion",
];
const METHODS: [&str; 8] = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "X"];
const HEADERS: [&str; 10] = [
    "authorization",
    "cookie",
    "content-type",
    "origin",
    "sec-fetch-site",
    "accept-language",
    "host",
    "x-forwarded-host",
    "access-control-request-method",
    "referer",
];

/// A conversation.
///
/// Requirements 6749-029, 6749-036, 6749-042, 6749-044, 6749-064, 6749-065, 6749-073, 9700-002; ATTACKS B01, B06, D05, J10, K02.
pub(crate) fn session(data: &[u8]) {
    let mut unread = Unstructured::new(data);
    run(async {
        let mut talk = Talk::new().await;
        for _ in 0..STEPS {
            if unread.is_empty() {
                break;
            }
            let Ok(step) = Step::arbitrary(&mut unread) else {
                break;
            };
            talk.step(step).await;
        }
    });
}

struct Talk {
    world: World,
    clients: [Registered; 4],
    browsers: [Browser; 2],
    page: Option<Answer>,
    /// What answers gave out, in the order they did.
    seen: Vec<String>,
    /// The access tokens that each code was answered with.
    issued: BTreeMap<String, BTreeSet<String>>,
}

impl Talk {
    async fn new() -> Self {
        let world = World::new();
        let clients = [
            world.confidential().await,
            world.public().await,
            world.service().await,
            world.without_pkce().await,
        ];
        let (browsers, issued) = (Default::default(), BTreeMap::new());
        Self { world, clients, browsers, page: None, seen: Vec::new(), issued }
    }

    fn client(&self, at: u8) -> &Registered {
        &self.clients[usize::from(at) % self.clients.len()]
    }

    fn seen(&self, at: u8) -> String {
        let at = self.seen.len().checked_sub(1 + usize::from(at) % self.seen.len().max(1));
        at.map_or_else(String::new, |at| self.seen[at].clone())
    }

    fn text(&self, text: &Text<'_>) -> Option<String> {
        Some(match text {
            Text::Any(text) => (*text).to_owned(),
            Text::Empty => String::new(),
            Text::Seen(at) => self.seen(*at),
            Text::Client(at) => self.client(*at).client.id.as_str().to_owned(),
            Text::Secret(at) => self.client(*at).client_secret.as_ref()?.expose().to_owned(),
            Text::Callback => CALLBACK.to_owned(),
            Text::Verifier => VERIFIER.to_owned(),
            Text::Absent => return None,
        })
    }

    fn change(&self, form: &mut Vec<(String, String)>, changes: &[Change<'_>]) {
        for change in changes {
            let name = NAMES[usize::from(change.name) % NAMES.len()];
            form.retain(|(known, _)| known != name);
            // These two come back by design, so a secret in them would be the client's own mistake.
            let comes_back = ["state", "login_hint"].contains(&name);
            let secret = matches!(change.value, Text::Secret(_) | Text::Verifier);
            let value = self.text(&change.value).filter(|_| !(comes_back && secret));
            form.extend(value.map(|value| (name.to_owned(), value)));
        }
    }

    async fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Authorize { client, changes } => {
                let url = authorize_url(self.client(client), &[]);
                let (_, query) = url.split_once('?').expect("a query");
                let mut form = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
                self.change(&mut form, &changes);
                let target = format!("/authorize?{}", encode(&borrowed(&form)));
                self.open(&target).await;
            }
            Step::SignIn { who, right } => {
                let who = ["alice", "mallory", "nobody"][usize::from(who) % 3];
                let password = if right { PASSWORD } else { "a wrong one" };
                self.submit(&[("username", who), ("password", password)]).await;
            }
            Step::Decide { allow, scopes } => {
                let offered = self.page.as_ref().map(scopes_of).unwrap_or_default();
                let chosen =
                    offered.iter().enumerate().filter(|(at, _)| scopes & (1 << (at % 8)) != 0);
                let mut form: Vec<(&str, &str)> =
                    chosen.map(|(_, name)| ("scope", name.as_str())).collect();
                form.push(("decision", if allow { "allow" } else { "deny" }));
                self.submit(&form).await;
            }
            Step::Redeem { client, code, changes } => {
                let code = self.seen(code);
                let mut form = owned(&redemption(&code));
                self.change(&mut form, &changes);
                let redeems = form.contains(&("grant_type".into(), "authorization_code".into()));
                let answer = self.call("/token", client, &form).await;
                if answer.status == 200 && redeems {
                    let code =
                        form.iter().find(|(name, _)| name == "code").map(|(_, code)| code.clone());
                    let access = answer.json()["access_token"].as_str().expect("text").to_owned();
                    let all = self.issued.entry(code.expect("a code was sent")).or_default();
                    all.insert(access);
                    assert_eq!(all.len(), 1, "6749-042: one code, two token sets");
                }
            }
            Step::Refresh { client, token, changes } => {
                let token = self.seen(token);
                let mut form = owned(&renewal(&token));
                self.change(&mut form, &changes);
                self.call("/token", client, &form).await;
            }
            Step::Revoke { client, token } => {
                let form = owned(&[("token", &self.seen(token))]);
                let answer = self.call("/revoke", client, &form).await;
                assert!([200, 401, 400].contains(&answer.status), "{answer:?}");
            }
            Step::Introspect { client, token } => {
                let form = owned(&[("token", &self.seen(token))]);
                let answer = self.call("/introspect", client, &form).await;
                if answer.status == 200 && answer.json()["active"] == false {
                    assert_eq!(answer.body, "{\"active\":false}", "7662-006");
                }
            }
            Step::Apps { path, client } => match path % 4 {
                0 => self.open("/apps").await,
                1 => {
                    let id = self.client(client).client.id.as_str().to_owned();
                    self.submit(&[("client_id", &id)]).await;
                }
                _ => self.submit(&[]).await,
            },
            Step::Post { path, form } => {
                let path = self.path(path);
                let mut fields = Vec::new();
                for (change, repeated) in &form {
                    let name = NAMES[usize::from(change.name) % NAMES.len()];
                    let value = self.text(&change.value).unwrap_or_default();
                    fields.extend(repeated.then(|| (name.to_owned(), value.clone())));
                    fields.push((name.to_owned(), value));
                }
                let body = encode(&borrowed(&fields));
                self.browse(Method::POST, &path, &[("sec-fetch-site", "same-origin")], &body).await;
            }
            Step::Raw { method, path, query, header, value, body } => {
                let target = format!("{}?{query}", self.path(path));
                let method = METHODS[usize::from(method) % METHODS.len()];
                let Ok(mut request) = Request::builder()
                    .method(method)
                    .uri(target)
                    .body(Bytes::copy_from_slice(body))
                else {
                    return;
                };
                let name = HEADERS[usize::from(header) % HEADERS.len()];
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    request.headers_mut().insert(HeaderName::from_static(name), value);
                }
                let answer = self.world.send(request).await;
                self.look(&answer);
            }
            Step::Pass { seconds } => self.world.pass(Duration::from_secs(u64::from(seconds) * 60)),
            Step::OtherBrowser => self.browsers.swap(0, 1),
            Step::Restart => self.world = self.world.restarted(),
        }
    }

    fn path(&self, at: u8) -> String {
        let paths = self.world.server.paths();
        paths[usize::from(at) % paths.len()].clone()
    }

    /// Opens an address of ours and follows our own redirects.
    async fn open(&mut self, target: &str) {
        let mut target = target.to_owned();
        for _ in 0..4 {
            let answer = self.browse(Method::GET, &target, &[], "").await;
            match answer.location() {
                own if own.starts_with('/') => target = own.to_owned(),
                _ => return,
            }
        }
    }

    /// Submits the form of the page that is open, with these fields.
    async fn submit(&mut self, fields: &[(&str, &str)]) {
        let Some(page) = self.page.clone().filter(|page| page.body.contains("<form")) else {
            return;
        };
        // The first form, where a page has several with fields of the same names.
        let mut form = owned(fields);
        for (name, value) in hidden(&page) {
            if !form.iter().any(|(known, _)| *known == name) {
                form.push((name, value));
            }
        }
        let headers = [("sec-fetch-site", "same-origin")];
        let answer =
            self.browse(Method::POST, &action(&page), &headers, &encode(&borrowed(&form))).await;
        if answer.location().starts_with('/') {
            let target = answer.location().to_owned();
            self.open(&target).await;
        }
    }

    async fn browse(
        &mut self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let answer = self.browsers[0].send(&self.world, method, target, headers, body).await;
        self.look(&answer);
        if answer.header("content-type").starts_with("text/html") {
            self.page = Some(answer.clone());
        }
        answer
    }

    async fn call(&mut self, path: &str, client: u8, form: &[(String, String)]) -> Answer {
        let client = self.clients[usize::from(client) % self.clients.len()].clone();
        let answer = self.world.call(path, &client, &borrowed(form)).await;
        self.look(&answer);
        answer
    }

    /// Keeps what an answer gives out, and holds it against what no answer may do.
    fn look(&mut self, answer: &Answer) {
        let secrets = self.clients.iter().filter_map(|client| client.client_secret.as_ref());
        let secrets = secrets.map(|secret| secret.expose()).chain([PASSWORD, VERIFIER]);
        for secret in secrets {
            assert!(!answer.body.contains(secret), "a secret is in {answer:?}");
            assert!(!answer.location().contains(secret), "a secret is in {answer:?}");
        }
        let location = answer.location();
        if !location.is_empty() {
            let own = location.starts_with('/') && !location.starts_with("//");
            let registered = location.starts_with(&format!("{CALLBACK}?"));
            assert!(own || registered, "6749-029: {answer:?}");
            let codes = answer.parameters().into_iter().filter(|(name, _)| name == "code");
            self.seen.extend(codes.map(|(_, code)| code));
        }
        if answer.header("content-type") == "application/json"
            && let Ok(body) = serde_json::from_str::<serde_json::Value>(&answer.body)
        {
            for name in ["access_token", "refresh_token"] {
                self.seen.extend(body[name].as_str().map(str::to_owned));
            }
            if let (Some(_), Some(scope)) = (body["access_token"].as_str(), body["scope"].as_str())
            {
                let known = |name: &str| ["read", "write"].contains(&name);
                assert!(scope.split(' ').all(known), "6749-065: {answer:?}");
            }
        }
    }
}

fn owned(form: &[(&str, &str)]) -> Vec<(String, String)> {
    form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
