//! What a step costs: the pure decision, then the engine around it on the memory backend, then the
//! whole server from request bytes to response bytes.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark that cannot run says so"
)]

use std::hint::black_box;

use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use grantor::model::{
    Account, Authentication, ClientAuthMethod, Handle, HandleKind, Issuer, Policy, ScopeDefinition,
    ScopeToken, Subject, Timestamp,
};
use grantor::protocol::authorize::{self, Answer, AuthorizationRequest, Outcome, Visitor};
use grantor::protocol::client_auth::{PresentedClient, authenticate};
use grantor::protocol::client_credentials::{self, ClientCredentialsRequest};
use grantor::protocol::code::{self, RedeemRequest};
use grantor::protocol::refresh::{self, RefreshRequest};
use grantor::protocol::register::{self, Registration};
use grantor::protocol::{Context, Entropy};
use grantor::storage::{MemoryStorage, Record};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use http::{Method, Request, StatusCode};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CALLBACK: &str = "https://client.example/cb";

fn policy() -> Policy {
    let mut policy = Policy::default();
    for name in ["read", "write"] {
        policy.scopes.insert(ScopeToken::parse(name).expect("scope"), ScopeDefinition::new(name));
    }
    policy
}

fn decisions(c: &mut Criterion) {
    let (issuer, policy) = (Issuer::parse("https://as.example").expect("issuer"), policy());
    let now = Timestamp::from_millis(1_800_000_000_000);
    let ctx = Context { issuer: &issuer, policy: &policy, now };
    let scope = policy.known_scope();
    let registration = Registration {
        skip_consent: true,
        ..Registration::confidential("x", CALLBACK, scope.clone())
    };
    let mut entropy = Entropy::from_seed([1; 32]);
    let registered =
        register::register(&registration, None, ctx, &mut entropy).outcome.expect("registered");
    let service = register::register(&Registration::service("y", scope), None, ctx, &mut entropy)
        .outcome
        .expect("registered");
    let presented = |registered: &register::Registered| PresentedClient {
        client_id: registered.client.id.to_string(),
        secret: registered.client_secret.clone().map(|s| (ClientAuthMethod::ClientSecretBasic, s)),
    };
    let subject = Subject::parse("alice").expect("subject");
    let account = Account::new(subject.clone(), "alice");
    let authentication = Authentication { subject, auth_time: now };
    let visitor = Visitor {
        authentication: Some(&authentication),
        account: Some(&account),
        ..Visitor::default()
    };
    let request = AuthorizationRequest {
        client_id: Some(registered.client.id.to_string()),
        redirect_uri: Some(CALLBACK.into()),
        response_type: Some("code".into()),
        scope: Some("read write".into()),
        code_challenge: Some(CHALLENGE.into()),
        code_challenge_method: Some("S256".into()),
        ..AuthorizationRequest::default()
    };
    let begun = authorize::begin(&request, Some(&registered.client), visitor, ctx, &mut entropy);
    let Some(Record::Grant(grant)) = begun.write else { panic!("a grant") };
    let Ok(Outcome::Redirect(response)) = begun.outcome else { panic!("a redirect") };
    let Answer::Code(code_text) = response.answer else { panic!("a code") };
    let redemption = RedeemRequest {
        code: Handle::parse(HandleKind::Code, code_text.expose()),
        redirect_uri: Some(CALLBACK.into()),
        code_verifier: Some(VERIFIER.into()),
    };
    let client =
        authenticate(&presented(&registered), Some(&registered.client), now).expect("client");
    let redeemed =
        code::redeem(&redemption, client, Some(&grant), Some(&account), ctx, &mut entropy);
    let Some(Record::Grant(active)) = redeemed.write else { panic!("a grant") };
    let tokens = redeemed.outcome.expect("tokens");
    let renewal = RefreshRequest {
        refresh_token: refresh::parse(tokens.refresh_token.expect("refresh").expose()),
        scope: None,
    };

    let mut group = c.benchmark_group("decide");
    group.bench_function("authenticate client", |b| {
        let presented = presented(&registered);
        b.iter(|| authenticate(black_box(&presented), Some(&registered.client), now).is_ok());
    });
    group.bench_function("authorize, consent skipped", |b| {
        b.iter(|| {
            let mut entropy = Entropy::from_seed([2; 32]);
            authorize::begin(
                black_box(&request),
                Some(&registered.client),
                visitor,
                ctx,
                &mut entropy,
            )
        });
    });
    group.bench_function("redeem code", |b| {
        b.iter(|| {
            let mut entropy = Entropy::from_seed([2; 32]);
            code::redeem(
                black_box(&redemption),
                client,
                Some(&grant),
                Some(&account),
                ctx,
                &mut entropy,
            )
        });
    });
    group.bench_function("refresh", |b| {
        b.iter(|| {
            let mut entropy = Entropy::from_seed([2; 32]);
            refresh::refresh(
                black_box(&renewal),
                client,
                Some(&active),
                Some(&account),
                ctx,
                &mut entropy,
            )
        });
    });
    group.bench_function("client credentials", |b| {
        let presented = presented(&service);
        let client = authenticate(&presented, Some(&service.client), now).expect("client");
        let request = ClientCredentialsRequest { scope: Some("read".into()) };
        b.iter(|| {
            let mut entropy = Entropy::from_seed([2; 32]);
            client_credentials::issue(black_box(&request), client, ctx, &mut entropy)
        });
    });
    group.finish();
}

#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Authenticator for Nobody {
    async fn verify(&self, _: &Credentials) -> Result<Verdict, AuthenticatorError> {
        Ok(Verdict::Refused)
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(Some(Account::new(subject.clone(), "alice")))
    }
}

struct World {
    runtime: tokio::runtime::Runtime,
    server: AuthorizationServer,
    client_id: String,
    basic: String,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let server = AuthorizationServer::builder("https://as.example".parse().expect("issuer"))
            .storage(MemoryStorage::new())
            .authenticator(Nobody)
            .policy(policy())
            .build()
            .expect("a server");
        let scope = server.policy().known_scope();
        let registration = Registration {
            skip_consent: true,
            resource_server: true,
            grant_types: grantor::model::GrantType::ALL.to_vec(),
            ..Registration::confidential("x", CALLBACK, scope)
        };
        let registered =
            runtime.block_on(server.register_client(&registration)).expect("registered");
        let secret = registered.client_secret.expect("secret");
        let pair = format!("{}:{}", registered.client.id, secret.expose());
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        Self { runtime, server, client_id: registered.client.id.to_string(), basic }
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> Request<Bytes> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", &self.basic)
            .body(Bytes::from(body))
            .expect("a request")
    }

    fn answer(&self, request: Request<Bytes>) -> (StatusCode, Bytes) {
        let response = self.runtime.block_on(self.server.handle(request));
        (response.status(), response.into_body())
    }

    fn member(&self, request: Request<Bytes>, name: &str) -> String {
        let (status, body) = self.answer(request);
        assert_eq!(status, StatusCode::OK, "{body:?}");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        body[name].as_str().expect("a member").to_owned()
    }

    fn redemption(&self) -> Request<Bytes> {
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
        let authentication = Authentication {
            subject: Subject::parse("alice").expect("subject"),
            auth_time: self.server.now(),
        };
        let request = Request::builder()
            .uri(format!("/authorize?{query}"))
            .extension(authentication)
            .body(Bytes::new())
            .expect("a request");
        let response = self.runtime.block_on(self.server.handle(request));
        let location = response.headers()["location"].to_str().expect("ASCII").to_owned();
        let (_, query) = location.split_once('?').expect("a query");
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let code = pairs.find(|(name, _)| name == "code").expect("a code").1.into_owned();
        self.post(
            "/token",
            &[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", CALLBACK),
                ("code_verifier", VERIFIER),
            ],
        )
    }
}

fn server_in_process(c: &mut Criterion) {
    let world = World::new();
    let mut group = c.benchmark_group("handle, memory");
    group.bench_function("client credentials", |b| {
        b.iter_batched(
            || world.post("/token", &[("grant_type", "client_credentials"), ("scope", "read")]),
            |request| world.answer(request),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("redeem code", |b| {
        b.iter_batched(
            || world.redemption(),
            |request| world.answer(request),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("refresh", |b| {
        b.iter_batched(
            || {
                let token = world.member(world.redemption(), "refresh_token");
                world.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", &token)])
            },
            |request| world.answer(request),
            BatchSize::SmallInput,
        );
    });
    let token = world.member(world.redemption(), "access_token");
    group.bench_function("introspect", |b| {
        b.iter_batched(
            || world.post("/introspect", &[("token", &token)]),
            |request| world.answer(request),
            BatchSize::SmallInput,
        );
    });
    let scope = "read".parse().expect("scope");
    group.bench_function("check bearer", |b| {
        b.iter(|| world.runtime.block_on(world.server.check_bearer(&token, &scope)).is_ok());
    });
    group.finish();
}

criterion_group!(benches, decisions, server_in_process);
criterion_main!(benches);
