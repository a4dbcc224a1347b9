//! A server with its clients, its users and their browsers, all in one process and one clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use grantor::engine::{AuditSink, Builder, Clock, TraceSink};
use grantor::model::{Account, Policy, ScopeSet, Subject, Timestamp};
use grantor::protocol::Event;
use grantor::protocol::register::{Registered, Registration};
use grantor::storage::{MemoryStorage, Storage};
use grantor::trace::Trace;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_conformance::protocol::http as http_of;
pub(crate) use grantor_conformance::protocol::http::{basic, encode, request};
use http::{HeaderMap, Method, Request, Response, header};
use serde_json::Value;

use crate::rules;

pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const CALLBACK: &str = "https://client.example/cb";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const PASSWORD: &str = "correct horse";

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(crate) struct StoppedClock(AtomicI64);

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Users whose password is [`PASSWORD`]; anybody can be disabled, and the database can be away.
#[derive(Debug, Default)]
pub(crate) struct Users {
    pub(crate) disabled: Mutex<BTreeSet<String>>,
    pub(crate) away: std::sync::atomic::AtomicBool,
}

impl Users {
    fn standing(&self, name: &str) -> Result<Option<Account>, AuthenticatorError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(AuthenticatorError::unavailable("switched off by the test"));
        }
        let known = ["alice", "mallory"].contains(&name);
        let standing = known && !self.disabled.lock().expect("lock").contains(name);
        Ok(standing.then(|| {
            let mut account = Account::new(Subject::parse(name).expect("subject"), name);
            account.claims.insert("email".into(), format!("{name}@users.example").into());
            account
        }))
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SharedUsers(Arc<Users>);

#[async_trait]
impl Authenticator for SharedUsers {
    async fn verify(&self, credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
        let account = self.0.standing(&credentials.username)?;
        let right = credentials.password.expose() == PASSWORD;
        Ok(account.filter(|_| right).map_or(Verdict::Refused, Verdict::Verified))
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        self.0.standing(subject.as_str())
    }
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<Event>>>);

#[async_trait]
impl AuditSink for Log {
    async fn record(&self, _: Timestamp, event: &Event) {
        self.0.lock().expect("lock").push(event.clone());
    }
}

/// Every decision of every test, made again from its trace.
#[derive(Debug, Clone, Default)]
struct Traces(Arc<Mutex<Vec<Trace>>>);

#[async_trait]
impl TraceSink for Traces {
    fn wants(&self, _: bool) -> bool {
        true
    }

    async fn record(&self, trace: &Trace) {
        let json = trace.to_json();
        assert!(trace.is_faithful(), "another decision without the secrets: {json}");
        let read = Trace::parse(&json).expect("its own text");
        let replay = read.replay().expect("a whole trace");
        assert!(replay.identical, "{json}\nis now {:?}", replay.decided);
        assert!(read.explain().expect("a whole trace").identical);
        self.0.lock().expect("lock").push(read);
    }
}

pub(crate) struct World {
    pub(crate) server: AuthorizationServer,
    pub(crate) users: Arc<Users>,
    pub(crate) storage: Arc<dyn Storage>,
    clock: Arc<StoppedClock>,
    log: Log,
    traces: Traces,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with_policy(change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = Policy::default();
        change(&mut policy);
        Self::with(|builder| builder.policy(policy))
    }

    pub(crate) fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        Self::at(ISSUER, Arc::new(MemoryStorage::new()), change)
    }

    pub(crate) fn at(
        issuer: &str,
        storage: Arc<dyn Storage>,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let clock = Arc::new(StoppedClock(AtomicI64::new(1_800_000_000_000)));
        Self::assemble(issuer, storage, clock, Arc::default(), Log::default(), change)
    }

    /// Another process on the same store: nothing of the first one's memory is left.
    pub(crate) fn restarted(&self) -> Self {
        self.another(|builder| builder)
    }

    /// The same, put together a little differently.
    pub(crate) fn another(&self, change: impl FnOnce(Builder) -> Builder) -> Self {
        let policy = self.server.policy().clone();
        Self::assemble(
            self.server.issuer().as_str(),
            Arc::clone(&self.storage),
            Arc::clone(&self.clock),
            Arc::clone(&self.users),
            self.log.clone(),
            |builder| change(builder.policy(policy)),
        )
    }

    fn assemble(
        issuer: &str,
        storage: Arc<dyn Storage>,
        clock: Arc<StoppedClock>,
        users: Arc<Users>,
        log: Log,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let traces = Traces::default();
        let builder = AuthorizationServer::builder(issuer.parse().expect("issuer"))
            .shared_storage(Arc::clone(&storage))
            .authenticator(SharedUsers(Arc::clone(&users)))
            .audit(log.clone())
            .traces(traces.clone())
            .clock(Arc::clone(&clock))
            .scope("read", "See your calendar")
            .scope("write", "Change your calendar")
            .scope("admin", "Administer");
        let server = change(builder).build().expect("a server");
        Self { server, users, storage, clock, log, traces }
    }

    pub(crate) fn pass(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).expect("a short time");
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    pub(crate) fn step_back(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).expect("a short time");
        self.clock.0.fetch_sub(millis, Ordering::SeqCst);
    }

    pub(crate) fn disable(&self, name: &str) {
        let mut disabled = self.users.disabled.lock().expect("lock");
        disabled.insert(name.to_owned());
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.log.0.lock().expect("lock").clone()
    }

    /// The decisions so far.
    pub(crate) fn traces(&self) -> Vec<Trace> {
        self.traces.0.lock().expect("lock").clone()
    }

    pub(crate) async fn register(&self, registration: &Registration) -> Registered {
        self.server.register_client(registration).await.expect("registered")
    }

    pub(crate) async fn confidential(&self) -> Registered {
        self.register(&Registration::confidential("Calendar", CALLBACK, scope("read write"))).await
    }

    pub(crate) async fn public(&self) -> Registered {
        self.register(&Registration::public("Phone", CALLBACK, scope("read write"))).await
    }

    /// A client that may use the plain RFC 6749 profile.
    pub(crate) async fn without_pkce(&self) -> Registered {
        let registration = Registration {
            pkce_optional: true,
            ..Registration::confidential("Old", CALLBACK, scope("read write"))
        };
        self.register(&registration).await
    }

    pub(crate) async fn service(&self) -> Registered {
        self.register(&Registration::service("Nightly job", scope("read write"))).await
    }

    pub(crate) async fn resource_server(&self) -> Registered {
        let registration = Registration {
            resource_server: true,
            ..Registration::service("Calendar API", scope("read"))
        };
        self.register(&registration).await
    }

    /// Sends a request. Whatever is asked, the answer keeps the rules of the house.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Answer {
        let path = request.uri().path().to_owned();
        let answer = Answer::of(self.server.handle(request).await);
        rules::check(&self.server, &path, &answer);
        answer
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send(request(Method::GET, target, &[], "")).await
    }

    /// Posts a form, with the client's credentials in the header where it has a secret.
    pub(crate) async fn call(
        &self,
        path: &str,
        client: &Registered,
        form: &[(&str, &str)],
    ) -> Answer {
        let mut form: Vec<(&str, &str)> = form.to_vec();
        let basic =
            client.client_secret.as_ref().map(|secret| basic(&client.client.id, secret.expose()));
        if basic.is_none() {
            form.push(("client_id", client.client.id.as_str()));
        }
        let headers: Vec<(&str, &str)> =
            basic.as_deref().map(|value| ("authorization", value)).into_iter().collect();
        self.post(path, &headers, &form).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        form: &[(&str, &str)],
    ) -> Answer {
        self.send(request(Method::POST, path, headers, &encode(form))).await
    }

    pub(crate) async fn redeem(&self, client: &Registered, code: &str) -> Answer {
        self.call("/token", client, &redemption(code)).await
    }

    pub(crate) async fn refresh(&self, client: &Registered, token: &str) -> Answer {
        self.call("/token", client, &renewal(token)).await
    }

    /// From the authorization request to a code, everything allowed.
    pub(crate) async fn code(&self, client: &Registered) -> String {
        let mut browser = Browser::default();
        browser.walk(self, &authorize_url(client, &[])).await.parameter("code")
    }

    /// From the authorization request to tokens.
    pub(crate) async fn tokens(&self, client: &Registered) -> Tokens {
        let code = self.code(client).await;
        let answer = self.redeem(client, &code).await;
        Tokens::of(&answer)
    }

    /// What a resource server learns about a token.
    pub(crate) async fn is_active(&self, token: &str) -> bool {
        let resource = self.resource_server().await;
        let answer = self.call("/introspect", &resource, &[("token", token)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["active"].as_bool().expect("7662-004: active is a boolean")
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

/// A response, read.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    fn of(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.to_vec()).expect("UTF-8");
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    /// A refusal for a program: this status and this code. The rest of its form is a rule of the
    /// house.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.error().as_str()), (status, code), "{self:?}");
    }

    /// A redirect to the client with this error, and without a code.
    #[track_caller]
    pub(crate) fn told(&self, code: &str) {
        assert_eq!(self.status, 303, "{self:?}");
        assert!(self.location().starts_with(CALLBACK), "{self:?}");
        assert_eq!(self.parameter("error"), code, "{self:?}");
        let names: Vec<String> = self.parameters().into_iter().map(|(name, _)| name).collect();
        assert!(!names.contains(&"code".to_owned()), "{self:?}");
    }

    /// A page that explains, and leads nowhere.
    #[track_caller]
    pub(crate) fn explained(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.is_error_page(), "{self:?}");
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    /// The parameters of the redirect, decoded; repeated ones show up as such.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        let query = self.location().split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    pub(crate) fn parameter(&self, name: &str) -> String {
        let found: Vec<_> =
            self.parameters().into_iter().filter(|(known, _)| known == name).collect();
        match found.as_slice() {
            [(_, value)] => value.clone(),
            _ => panic!("exactly one {name} expected: {self:?}"),
        }
    }

    /// An error page: nothing that leads anywhere (requirement 6749-029).
    pub(crate) fn is_error_page(&self) -> bool {
        let html = self.header("content-type").starts_with("text/html");
        html && (400..600).contains(&self.status)
            && !self.body.contains("<a ")
            && !self.body.contains("<form")
            && self.headers.get(header::LOCATION).is_none()
            && !self.body.to_lowercase().contains("http-equiv")
            && self.body.contains("id=\"error\"")
    }
}

/// The user's browser: keeps cookies, follows our own redirects, fills in forms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Browser {
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) async fn get(&mut self, world: &World, target: &str) -> Answer {
        self.send(world, Method::GET, target, &[], "").await
    }

    pub(crate) async fn post(
        &mut self,
        world: &World,
        path: &str,
        form: &[(&str, &str)],
    ) -> Answer {
        self.send(world, Method::POST, path, &[("sec-fetch-site", "same-origin")], &encode(form))
            .await
    }

    pub(crate) async fn send(
        &mut self,
        world: &World,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let cookie =
            self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("; ");
        let mut headers = headers.to_vec();
        headers.push(("cookie", &cookie));
        let answer = world.send(request(method, target, &headers, body)).await;
        for line in answer.headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().expect("ASCII");
            let (pair, attributes) = line.split_once(';').expect("attributes");
            let (name, value) = pair.split_once('=').expect("a pair");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Goes where a link leads, through our own redirects, to the first page or the first redirect
    /// to somebody else.
    pub(crate) async fn open(&mut self, world: &World, target: &str) -> Answer {
        let mut target = target.to_owned();
        for _ in 0..5 {
            let answer = self.get(world, &target).await;
            match answer.location().strip_prefix(ISSUER).unwrap_or(answer.location()) {
                next if next.starts_with('/') => target = next.to_owned(),
                _ => return answer,
            }
        }
        panic!("too many redirects: {target}");
    }

    /// A browser whose user is signed in here already.
    pub(crate) async fn of(world: &World, name: &str) -> Self {
        let mut browser = Self::default();
        let page = browser.get(world, "/apps").await;
        let page = browser.sign_in(world, &page, name, PASSWORD).await;
        assert!(page.body.contains("id=\"logout\""), "{page:?}");
        browser
    }

    /// Walks to the consent page of a request.
    pub(crate) async fn reach_consent(&mut self, world: &World, url: &str) -> Answer {
        let mut page = self.open(world, url).await;
        if page.body.contains("id=\"password\"") {
            page = self.sign_in(world, &page, "alice", PASSWORD).await;
        }
        assert!(page.body.contains("id=\"allow\""), "{page:?}");
        page
    }

    /// Submits the sign-in page that `page` is.
    pub(crate) async fn sign_in(
        &mut self,
        world: &World,
        page: &Answer,
        name: &str,
        password: &str,
    ) -> Answer {
        let mut form = hidden(page);
        form.push(("username".into(), name.into()));
        form.push(("password".into(), password.into()));
        let answer = self.post(world, &action(page), &borrowed(&form)).await;
        if answer.status == 303 && answer.location().starts_with('/') {
            let next = answer.location().to_owned();
            return self.open(world, &next).await;
        }
        answer
    }

    /// Submits the consent page that `page` is, with these scopes ticked.
    pub(crate) async fn decide(
        &mut self,
        world: &World,
        page: &Answer,
        scopes: &[&str],
        decision: &str,
    ) -> Answer {
        let mut form = hidden(page);
        form.extend(scopes.iter().map(|scope| ("scope".to_owned(), (*scope).to_owned())));
        form.push(("decision".into(), decision.into()));
        self.post(world, &action(page), &borrowed(&form)).await
    }

    /// The whole way as alice, allowing all that is asked for.
    pub(crate) async fn walk(&mut self, world: &World, url: &str) -> Answer {
        let mut answer = self.open(world, url).await;
        if answer.body.contains("id=\"password\"") {
            answer = self.sign_in(world, &answer, "alice", PASSWORD).await;
        }
        if answer.body.contains("id=\"allow\"") {
            let scopes = scopes_of(&answer);
            let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
            answer = self.decide(world, &answer, &scopes, "allow").await;
        }
        answer
    }
}

pub(crate) fn authorize_url(client: &Registered, change: &[(&str, Option<&str>)]) -> String {
    let mut parameters: Vec<(&str, &str)> = vec![
        ("client_id", client.client.id.as_str()),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "read write"),
        ("state", "a state"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in change {
        parameters.retain(|(known, _)| known != name);
        parameters.extend(value.map(|value| (*name, value)));
    }
    format!("/authorize?{}", encode(&parameters))
}

/// A request for a client credentials token.
pub(crate) const SERVICE: [(&str, &str); 2] =
    [("grant_type", "client_credentials"), ("scope", "read write")];

/// The form of a refresh.
pub(crate) fn renewal(token: &str) -> [(&'static str, &str); 2] {
    [("grant_type", "refresh_token"), ("refresh_token", token)]
}

pub(crate) fn redemption(code: &str) -> [(&'static str, &str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ]
}

pub(crate) fn scope(text: &str) -> ScopeSet {
    ScopeSet::parse(text).expect("scope")
}

pub(crate) fn borrowed(form: &[(String, String)]) -> Vec<(&str, &str)> {
    form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

pub(crate) fn action(page: &Answer) -> String {
    http_of::action(&page.body).unwrap_or_else(|| panic!("a form: {page:?}"))
}

pub(crate) fn hidden(page: &Answer) -> Vec<(String, String)> {
    http_of::hidden(&page.body)
}

pub(crate) fn scopes_of(page: &Answer) -> Vec<String> {
    http_of::values(&page.body, "scope")
}
