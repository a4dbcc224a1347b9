//! The guard in front of a resource, and an authorization server behind a connection.

#![expect(clippy::expect_used, reason = "tests")]

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use grantor::engine::{Clock, TokenRequest};
use grantor::model::ClientAuthMethod::ClientSecretBasic;
use grantor::model::{Account, ScopeSet, Subject, Timestamp};
use grantor::protocol::client_auth::PresentedClient;
use grantor::protocol::client_credentials::ClientCredentialsRequest;
use grantor::protocol::register::Registration;
use grantor::resource::{Guard, ValidToken};
use grantor::storage::MemoryStorage;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_introspection::{BuildError, Builder, Introspection};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// A clock that stands until it is moved.
#[derive(Clone, Debug)]
struct StoppedClock(Arc<AtomicI64>);

impl StoppedClock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000_000)))
    }

    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A server that says of every token what the test wants, and counts.
#[derive(Clone)]
struct Oracle {
    answer: Arc<Mutex<(StatusCode, String)>>,
    asked: Arc<AtomicUsize>,
    /// How many questions may be answered.
    open: Arc<Semaphore>,
}

impl Oracle {
    fn says(&self, status: StatusCode, body: &Value) {
        *self.answer.lock().expect("lock") = (status, body.to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn answer(State(oracle): State<Self>) -> (StatusCode, String) {
        oracle.asked.fetch_add(1, Ordering::SeqCst);
        oracle.open.acquire().await.expect("open").forget();
        oracle.answer.lock().expect("lock").clone()
    }

    /// Itself and its address.
    async fn start() -> (Self, String) {
        let body = json!({"active": true, "scope": "read"}).to_string();
        let oracle = Self {
            answer: Arc::new(Mutex::new((StatusCode::OK, body))),
            asked: Arc::default(),
            open: Arc::new(Semaphore::new(1_000_000)),
        };
        let router =
            Router::new().route("/introspect", post(Self::answer)).with_state(oracle.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        (oracle, format!("http://{address}/introspect"))
    }
}

fn asking(address: &str) -> Builder {
    Introspection::at(address).client("api", "a secret: %")
}

fn guard(builder: Builder) -> Guard {
    Guard::new(builder.build().expect("a validator"))
}

async fn knock(guard: &Guard, token: &str) -> Result<ValidToken, u16> {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header");
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    let scope = ScopeSet::parse("read").expect("a scope");
    let found = guard.check(&headers, &Uri::from_static("/"), &scope).await;
    found.map_err(|response| response.status().as_u16())
}

#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Authenticator for Nobody {
    async fn verify(&self, _: &Credentials) -> Result<Verdict, AuthenticatorError> {
        Ok(Verdict::Refused)
    }

    async fn account(&self, _: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_token_of_another_program_opens_until_it_is_revoked() {
    // Requirements 7662-003, 7662-009, 7662-010.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let issuer = format!("http://{}", listener.local_addr().expect("an address"));
    let clock = StoppedClock::new();
    let server = AuthorizationServer::builder(issuer.parse().expect("an issuer"))
        .storage(MemoryStorage::new())
        .authenticator(Nobody)
        .clock(clock.clone())
        .scope("read", "See your calendar")
        .scope("write", "Change your calendar")
        .build()
        .expect("a server");
    let scope = |text| ScopeSet::parse(text).expect("a scope");
    let job = Registration::service("Nightly job", scope("read write"));
    let job = server.register_client(&job).await.expect("registered");
    let api = Registration { resource_server: true, ..Registration::service("API", scope("read")) };
    let api = server.register_client(&api).await.expect("registered");
    let router = grantor_axum::router::<()>(server.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let presented = |asked: &'static str| {
        let client = PresentedClient {
            client_id: job.client.id.as_str().to_owned(),
            secret: job.client_secret.clone().map(|secret| (ClientSecretBasic, secret)),
        };
        let request = ClientCredentialsRequest { scope: Some(asked.to_owned()) };
        (client, TokenRequest::ClientCredentials(request))
    };
    let mut tokens = Vec::new();
    for asked in ["read", "write"] {
        let (client, request) = presented(asked);
        tokens.push(server.token(&client, &request).await.expect("a token"));
    }
    let [read, write] = tokens.as_slice() else { unreachable!() };
    let secret = api.client_secret.as_ref().expect("a secret").expose();
    let build = |secret: &str| {
        Introspection::at(&format!("{issuer}/introspect"))
            .client(api.client.id.as_str(), secret)
            .issuer(&issuer)
            .clock(clock.clone())
    };
    let plain = guard(build(secret));
    let cached = guard(build(secret).cache(Duration::from_secs(10), 100));
    for guard in [&plain, &cached] {
        let found = knock(guard, read.access_token.expose()).await.expect("open");
        assert_eq!(found.client_id.as_ref(), Some(&job.client.id));
        assert_eq!(found.expires_at, Some(clock.now().plus(Duration::from_secs(3600))));
        assert_eq!(knock(guard, write.access_token.expose()).await.err(), Some(403));
        assert_eq!(knock(guard, "nonsense").await.err(), Some(401));
    }
    // Credentials that are wrong here are a mistake of this program, and no dead token.
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let report = move |reason: &str| log.lock().expect("lock").push(reason.to_owned());
    let wrong = guard(build("wrong").on_unavailable(report));
    assert_eq!(knock(&wrong, read.access_token.expose()).await.err(), Some(503));
    let told = told.lock().expect("lock").clone();
    assert_eq!(told, ["introspection was answered 401 Unauthorized"]);
    let (client, _) = presented("read");
    server.revoke_token(&client, read.access_token.expose()).await.expect("revoked");
    assert_eq!(knock(&plain, read.access_token.expose()).await.err(), Some(401));
    assert!(knock(&cached, read.access_token.expose()).await.is_ok(), "remembered, as it says");
    clock.pass(10);
    assert_eq!(knock(&cached, read.access_token.expose()).await.err(), Some(401));
}

#[tokio::test]
async fn what_was_said_a_moment_ago_is_not_asked_again() {
    // Requirement 7662-010; ATTACKS F03.
    let (oracle, address) = Oracle::start().await;
    let clock = StoppedClock::new();
    let build = || asking(&address).cache(Duration::from_secs(10), 100).clock(clock.clone());
    let guard_of = |builder| guard(builder);
    let guard = guard_of(build());
    for _ in 0..3 {
        assert!(knock(&guard, "one").await.is_ok());
    }
    assert_eq!(oracle.asked(), 1);
    assert!(knock(&guard, "other").await.is_ok());
    assert_eq!(oracle.asked(), 2);
    clock.pass(9);
    assert!(knock(&guard, "one").await.is_ok());
    assert_eq!(oracle.asked(), 2);
    clock.pass(1);
    assert!(knock(&guard, "one").await.is_ok());
    assert_eq!(oracle.asked(), 3);
    // A clock that is set back makes nothing last.
    clock.pass(-3600);
    assert!(knock(&guard, "one").await.is_ok());
    assert_eq!(oracle.asked(), 4);
    // Never past the token's own expiry.
    let expiry = clock.now().as_seconds() + 3;
    oracle.says(StatusCode::OK, &json!({"active": true, "scope": "read", "exp": expiry}));
    assert!(knock(&guard, "short").await.is_ok());
    clock.pass(3);
    assert_eq!(knock(&guard, "short").await.err(), Some(401));
    assert_eq!(oracle.asked(), 6);
    // No, and what is no answer, is not remembered; neither is what is large.
    oracle.says(StatusCode::OK, &json!({"active": false}));
    assert_eq!(knock(&guard, "dead").await.err(), Some(401));
    oracle.says(StatusCode::BAD_GATEWAY, &json!({}));
    assert_eq!(knock(&guard, "dead").await.err(), Some(503));
    let large = json!({"active": true, "scope": "read", "roles": "x".repeat(5000)});
    oracle.says(StatusCode::OK, &large);
    assert!(knock(&guard, "dead").await.is_ok() && knock(&guard, "dead").await.is_ok());
    assert_eq!(oracle.asked(), 10);
    // Without a cache every request asks.
    let guard = guard_of(asking(&address));
    assert!(knock(&guard, "one").await.is_ok() && knock(&guard, "one").await.is_ok());
    assert_eq!(oracle.asked(), 12);
}

#[tokio::test]
async fn a_cache_has_a_bound_and_several_requests_ask_once() {
    let (oracle, address) = Oracle::start().await;
    let guard = guard(asking(&address).cache(Duration::from_secs(10), 20));
    for number in 0..200 {
        assert!(knock(&guard, &format!("token-{number}")).await.is_ok());
    }
    let shown = format!("{guard:?}");
    let entries = shown.split("entries: ").nth(1).and_then(|rest| rest.split([',', ' ']).next());
    let entries: usize = entries.expect("a number").parse().expect("a number");
    assert!((1..=20).contains(&entries), "{shown}");
    assert!(!shown.contains("secret") && !shown.contains("token-"), "{shown}");

    let asked = oracle.asked();
    oracle.open.forget_permits(usize::MAX >> 4);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let guard = guard.clone();
            tokio::spawn(async move { knock(&guard, "busy").await.is_ok() })
        })
        .collect();
    while oracle.asked() == asked {
        tokio::task::yield_now().await;
    }
    oracle.open.add_permits(100);
    for one in waiting {
        assert!(one.await.expect("no panic"));
    }
    assert_eq!(oracle.asked(), asked + 1);
}

#[tokio::test]
async fn dead_tokens_do_not_wait_for_each_other() {
    // A client that is told 503 does not refresh: a dead token must be told to be one, however many
    // requests come with it at once.
    let (oracle, address) = Oracle::start().await;
    oracle.says(StatusCode::OK, &json!({"active": false}));
    oracle.open.forget_permits(usize::MAX >> 4);
    let guard = guard(asking(&address).cache(Duration::from_secs(10), 20));
    let knocks: Vec<_> = (0..60)
        .map(|_| {
            let guard = guard.clone();
            tokio::spawn(async move { knock(&guard, "dead").await.err() })
        })
        .collect();
    while oracle.asked() == 0 {
        tokio::task::yield_now().await;
    }
    // One answer, and everybody else asks at once.
    oracle.open.add_permits(1);
    while oracle.asked() < 60 {
        tokio::task::yield_now().await;
    }
    oracle.open.add_permits(100);
    for one in knocks {
        assert_eq!(one.await.expect("no panic"), Some(401));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_holds_nobody_up_for_long() {
    // ATTACKS K04. The time passes as soon as everybody waits.
    let (oracle, address) = Oracle::start().await;
    oracle.open.forget_permits(usize::MAX >> 4);
    let patience = Duration::from_secs(2);
    let build = || asking(&address).patience(patience);
    for guard in [guard(build()), guard(build().cache(Duration::from_secs(10), 20))] {
        let begin = tokio::time::Instant::now();
        let knocks = (0..10).map(|_| {
            let guard = guard.clone();
            tokio::spawn(async move { knock(&guard, "stuck").await.err() })
        });
        for one in knocks.collect::<Vec<_>>() {
            assert_eq!(one.await.expect("no panic"), Some(503));
        }
        assert!(begin.elapsed() < patience * 2, "{:?}", begin.elapsed());
    }
    // Nobody is there at all.
    let guard = guard(asking("http://127.0.0.1:1/introspect"));
    assert_eq!(knock(&guard, "any").await.err(), Some(503));
}

#[tokio::test]
async fn what_cannot_be_asked_safely_is_not_asked() {
    // Requirement 7662-001.
    for address in [
        "",
        "auth",
        "http://auth.example.com/introspect",
        "ftp://x",
        "https://a@b/",
        "https://a/#b",
    ] {
        let built = Introspection::at(address).client("api", "x").build();
        assert!(matches!(built, Err(BuildError::Endpoint)), "{address}");
    }
    let built = Introspection::at("https://auth.example.com/introspect").build();
    assert!(matches!(built, Err(BuildError::Client)));
    let built = Introspection::at("https://auth.example.com/introspect").bearer("a\nb").build();
    assert!(matches!(built, Err(BuildError::Client)));
}
