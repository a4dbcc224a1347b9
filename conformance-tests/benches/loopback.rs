//! What a request costs over a real connection: the binary's own HTTP server on loopback, one
//! keep-alive connection, memory and sled.
//!
//! Absolute times mean little on a shared machine; compare the lines of one run.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark that cannot run says so"
)]

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use grantor::model::{
    Account, Authentication, GrantType, Policy, ScopeDefinition, ScopeToken, Subject,
};
use grantor::protocol::register::Registration;
use grantor::storage::{MemoryStorage, Storage};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_server::app::App;
use grantor_server::http::{Limits, serve};
use grantor_server::shutdown;
use grantor_sled::SledStorage;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CALLBACK: &str = "https://client.example/cb";

#[derive(Debug)]
struct Everybody;

#[async_trait]
impl Authenticator for Everybody {
    async fn verify(&self, _: &Credentials) -> Result<Verdict, AuthenticatorError> {
        Ok(Verdict::Refused)
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(Some(Account::new(subject.clone(), "alice")))
    }
}

struct World {
    runtime: Runtime,
    server: AuthorizationServer,
    connection: SendRequest<Full<Bytes>>,
    client_id: String,
    basic: String,
}

impl World {
    fn new(storage: Arc<dyn Storage>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut policy = Policy::default();
        for name in ["read", "write"] {
            let token = ScopeToken::parse(name).expect("scope");
            policy.scopes.insert(token, ScopeDefinition::new(name));
        }
        let server = AuthorizationServer::builder("http://127.0.0.1:8400".parse().expect("issuer"))
            .shared_storage(storage)
            .authenticator(Everybody)
            .policy(policy)
            .build()
            .expect("a server");
        let registration = Registration {
            skip_consent: true,
            resource_server: true,
            grant_types: GrantType::ALL.to_vec(),
            ..Registration::confidential("x", CALLBACK, server.policy().known_scope())
        };
        let registered = runtime.block_on(server.register_client(&registration)).expect("client");
        let secret = registered.client_secret.expect("a secret");
        let pair = format!("{}:{}", registered.client.id, secret.expose());
        let app = App::new(server.clone());
        let connection = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let (trigger, shutdown) = shutdown::channel();
            tokio::spawn(async move {
                let _held = trigger;
                serve(listener, app, Limits::default(), shutdown).await;
            });
            let stream = TcpStream::connect(address).await.expect("it listens");
            stream.set_nodelay(true).expect("TCP");
            let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
            tokio::spawn(connection);
            sender
        });
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        let client_id = registered.client.id.to_string();
        Self { runtime, server, connection, client_id, basic }
    }

    fn post(&mut self, path: &str, form: &[(&str, &str)]) -> serde_json::Value {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, "127.0.0.1")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::AUTHORIZATION, &self.basic)
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let body = self.runtime.block_on(async {
            self.connection.ready().await.expect("connected");
            let response = self.connection.send_request(request).await.expect("an answer");
            response.into_body().collect().await.expect("a body").to_bytes()
        });
        serde_json::from_slice(&body).expect("JSON")
    }

    /// A code, by way of the library: the browser is not what is measured.
    fn code(&self) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("client_id", self.client_id.as_str()),
                ("redirect_uri", CALLBACK),
                ("response_type", "code"),
                ("scope", "read write"),
                ("code_challenge", CHALLENGE),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        let subject = Subject::parse("alice").expect("subject");
        let request = Request::builder()
            .uri(format!("/authorize?{query}"))
            .extension(Authentication { subject, auth_time: self.server.now() })
            .body(Bytes::new())
            .expect("a request");
        let response = self.runtime.block_on(self.server.handle(request));
        let location = response.headers()["location"].to_str().expect("ASCII").to_owned();
        let (_, query) = location.split_once('?').unwrap_or_else(|| panic!("{location}"));
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == "code").expect("a code").1.into_owned()
    }

    fn redeem(&mut self, code: &str) -> serde_json::Value {
        self.post(
            "/token",
            &[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", CALLBACK),
                ("code_verifier", VERIFIER),
            ],
        )
    }
}

fn over_loopback(c: &mut Criterion) {
    let directory = tempfile::TempDir::new().expect("a directory");
    let sled = SledStorage::open(directory.path().join("data")).expect("a store");
    let stores: [(&str, Arc<dyn Storage>); 2] =
        [("memory", Arc::new(MemoryStorage::new())), ("sled, power-safe", Arc::new(sled))];
    let mut group = c.benchmark_group("loopback");
    for (name, storage) in stores {
        let mut world = World::new(storage);
        group.bench_function(BenchmarkId::new("client credentials", name), |b| {
            let form = [("grant_type", "client_credentials"), ("scope", "read")];
            b.iter(|| world.post("/token", &form));
        });
        group.bench_function(BenchmarkId::new("redeem code", name), |b| {
            b.iter_custom(|rounds| {
                let codes: Vec<String> = (0..rounds).map(|_| world.code()).collect();
                let begun = std::time::Instant::now();
                for code in &codes {
                    world.redeem(code);
                }
                begun.elapsed()
            });
        });
        let code = world.code();
        let tokens = world.redeem(&code);
        let mut refresh = tokens["refresh_token"].as_str().expect("refresh").to_owned();
        group.bench_function(BenchmarkId::new("refresh", name), |b| {
            b.iter(|| {
                let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
                let renewed = world.post("/token", &form);
                refresh = renewed["refresh_token"].as_str().expect("refresh").to_owned();
            });
        });
        let code = world.code();
        let access = world.redeem(&code)["access_token"].as_str().expect("access").to_owned();
        group.bench_function(BenchmarkId::new("introspect", name), |b| {
            b.iter(|| world.post("/introspect", &[("token", &access)]));
        });
    }
    group.finish();
}

criterion_group!(benches, over_loopback);
criterion_main!(benches);
