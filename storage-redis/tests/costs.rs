//! How many commands a request costs, and how often it waits for the network: counted between the
//! store and a real server, not timed.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test reports by panicking")]
#![expect(clippy::print_stdout, reason = "the figures are for people")]

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use grantor::model::{Account, Authentication, GrantType, Subject};
use grantor::protocol::register::Registration;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_conformance::redis::{FaultProxy, Fsync, Server};
use grantor_redis::{Confirmation, RedisConfig};
use http::{Method, Request, StatusCode};

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

/// A server on a Redis that is reached through a proxy which counts.
struct World {
    server: AuthorizationServer,
    proxy: FaultProxy,
    client_id: String,
    basic: String,
    _redis: Vec<Server>,
}

/// What one request cost.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    round_trips: u64,
    commands: String,
}

impl World {
    async fn new(cache: Duration, confirmation: Confirmation) -> Self {
        let options = || Server::options().append_only(Fsync::EverySecond);
        let redis = options().start();
        let proxy = FaultProxy::to(&redis);
        let mut servers = vec![redis];
        if confirmation != Confirmation::Local {
            let replica = options().replica_of(&servers[0]).start();
            servers[0].wait_for_replicas(1);
            servers.push(replica);
        }
        let storage = RedisConfig::new(&proxy.url()).expect("an address");
        let storage = storage.confirmation(confirmation).open().await.expect("it opens");
        let server = AuthorizationServer::builder("https://as.example".parse().expect("an issuer"))
            .storage(storage)
            .authenticator(Everybody)
            .client_cache(cache)
            .scope("read", "Read")
            .scope("write", "Write")
            .build()
            .expect("a server");
        let registration = Registration {
            skip_consent: true,
            resource_server: true,
            grant_types: GrantType::ALL.to_vec(),
            ..Registration::confidential("x", CALLBACK, server.policy().known_scope())
        };
        let registered = server.register_client(&registration).await.expect("registered");
        let secret = registered.client_secret.expect("a secret");
        let pair = format!("{}:{}", registered.client.id, secret.expose());
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        let client_id = registered.client.id.to_string();
        Self { server, proxy, client_id, basic, _redis: servers }
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

    /// The answer, and what it cost. What the store asks by itself every second is left out; where that
    /// happened meanwhile, fewer round trips may be counted than there were.
    async fn ask(&self, request: Request<Bytes>) -> (Bytes, Cost) {
        self.proxy.reset_counts();
        let response = self.server.handle(request).await;
        let round_trips = self.proxy.round_trips();
        let counts: BTreeMap<_, _> = self.proxy.counts();
        assert!(response.status().is_success() || response.status() == StatusCode::SEE_OTHER);
        let own = ["ROLE", "TIME", "INFO", "CONFIG"];
        let asked = own.iter().filter(|name| counts.contains_key(**name)).count();
        let commands = counts.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        let commands: Vec<_> = commands.map(|(name, count)| format!("{count} {name}")).collect();
        let asked = u64::try_from(asked).expect("a few");
        let cost =
            Cost { round_trips: round_trips.saturating_sub(asked), commands: commands.join(", ") };
        let location = response.headers().get("location").cloned();
        let body = location.map_or_else(
            || response.into_body(),
            |location| Bytes::copy_from_slice(location.as_bytes()),
        );
        (body, cost)
    }

    async fn tokens(&self, request: Request<Bytes>) -> (serde_json::Value, Cost) {
        let (body, cost) = self.ask(request).await;
        (serde_json::from_slice(&body).expect("JSON"), cost)
    }

    async fn code(&self) -> (String, Cost) {
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
        let subject = Subject::parse("alice").expect("a subject");
        let authentication = Authentication { subject, auth_time: self.server.now() };
        let request = Request::builder()
            .uri(format!("/authorize?{query}"))
            .extension(authentication)
            .body(Bytes::new())
            .expect("a request");
        let (location, cost) = self.ask(request).await;
        let location = std::str::from_utf8(&location).expect("ASCII");
        let (_, query) = location.split_once('?').expect("a query");
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        (pairs.find(|(name, _)| name == "code").expect("a code").1.into_owned(), cost)
    }

    /// Every request of a client, once.
    async fn story(&self) -> Vec<(&'static str, Cost)> {
        let (code, authorize) = self.code().await;
        let redemption = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        let (tokens, redeem) = self.tokens(self.post("/token", &redemption)).await;
        let text = |tokens: &serde_json::Value, name: &str| {
            tokens.get(name).and_then(|text| text.as_str()).expect("a member").to_owned()
        };
        let first = text(&tokens, "refresh_token");
        let renewal = [("grant_type", "refresh_token"), ("refresh_token", first.as_str())];
        let (tokens, refresh) = self.tokens(self.post("/token", &renewal)).await;
        let credentials = [("grant_type", "client_credentials"), ("scope", "read")];
        let (_, credentials) = self.tokens(self.post("/token", &credentials)).await;
        let access = text(&tokens, "access_token");
        let (found, introspect) =
            self.tokens(self.post("/introspect", &[("token", &access)])).await;
        assert_eq!(found.get("active"), Some(&serde_json::Value::Bool(true)));
        let refresh_token = text(&tokens, "refresh_token");
        let (_, revoke) = self.ask(self.post("/revoke", &[("token", &refresh_token)])).await;
        vec![
            ("authorize, consent skipped", authorize),
            ("authorization_code", redeem),
            ("refresh_token", refresh),
            ("client_credentials", credentials),
            ("introspection", introspect),
            ("revocation", revoke),
        ]
    }
}

/// What the second story costs: scripts, connections and the client's record are known by then.
async fn costs(cache: Duration, confirmation: Confirmation) -> Vec<(&'static str, Cost)> {
    let world = World::new(cache, confirmation).await;
    world.story().await;
    let costs = world.story().await;
    println!("client cache {cache:?}, durability {confirmation}");
    for (request, Cost { round_trips, commands }) in &costs {
        println!("| {request} | {round_trips} | {commands} |");
    }
    costs
}

/// The commands that a request needs one after the other, which is all but those that are sent with
/// another one to be sure of it; and it did not wait for the network more often than that.
fn in_a_row(costs: &[(&str, Cost)]) -> Vec<u64> {
    let number = |(request, cost): &(&str, Cost)| {
        let commands = cost.commands.split(", ");
        let needed =
            commands.filter(|command| !command.ends_with("SET") && !command.ends_with("WAIT"));
        let needed =
            needed.filter_map(|command| command.split_once(' ')?.0.parse::<u64>().ok()).sum();
        assert!(cost.round_trips <= needed, "{request}: {cost:?}");
        needed
    };
    costs.iter().map(number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_request_costs_two_round_trips_and_one_that_needs_no_client_record_costs_one() {
    let cached = costs(Duration::from_secs(60), Confirmation::Local).await;
    assert_eq!(in_a_row(&cached), [5, 2, 2, 1, 1, 2]);
    let fresh = costs(Duration::ZERO, Confirmation::Local).await;
    assert_eq!(in_a_row(&fresh), [5, 2, 2, 2, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_replica_takes_no_round_trip_of_its_own() {
    let cached = costs(Duration::from_secs(60), Confirmation::Replicas(1)).await;
    assert_eq!(in_a_row(&cached), [5, 2, 2, 1, 1, 2]);
}
