//! What a record costs in the memory of Redis.

#![expect(clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

use grantor::model::{
    Account, Authentication, ClientAuthMethod, Handle, HandleKind, Issuer, Policy, ScopeDefinition,
    ScopeToken, Subject, Timestamp,
};
use grantor::protocol::authorize::{self, Answer, AuthorizationRequest, Outcome, Visitor};
use grantor::protocol::client_auth::{PresentedClient, authenticate};
use grantor::protocol::code::{self, RedeemRequest};
use grantor::protocol::refresh::{self, RefreshRequest};
use grantor::protocol::register::{self, Registered, Registration};
use grantor::protocol::{Context, Entropy};
use grantor::storage::{Commit, CommitOutcome, Record, Storage};
use grantor_conformance::redis::Server;
use grantor_redis::RedisStorage;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CALLBACK: &str = "https://client.example/cb";
/// So many that the tables of Redis itself, which double, are neither half empty nor missing.
const GRANTS: u64 = 8_000;
/// With `GRANTOR_FULL=1`.
const MANY: u64 = 100_000;

/// Everything that a grant goes through, as the server decides it.
struct Story<'a> {
    ctx: Context<'a>,
    client: &'a Registered,
    entropy: Entropy,
}

impl Story<'_> {
    /// The record of a user's grant after its code was redeemed, and after that was renewed.
    fn grant(&mut self, number: u64, renewed: bool) -> Record {
        // As long as a UUID, as most user tables have them.
        let subject = format!("{number:08}-1111-2222-3333-444444444444");
        let subject = Subject::parse(&subject).expect("a subject");
        let account = Account::new(subject.clone(), "alice");
        let authentication = Authentication { subject, auth_time: self.ctx.now };
        let visitor = Visitor {
            authentication: Some(&authentication),
            account: Some(&account),
            ..Visitor::default()
        };
        let registered = &self.client.client;
        let request = AuthorizationRequest {
            client_id: Some(registered.id.to_string()),
            redirect_uri: Some(CALLBACK.into()),
            response_type: Some("code".into()),
            scope: Some("read write".into()),
            code_challenge: Some(CHALLENGE.into()),
            code_challenge_method: Some("S256".into()),
            ..AuthorizationRequest::default()
        };
        let (ctx, entropy) = (self.ctx, &mut self.entropy);
        let begun = authorize::begin(&request, Some(registered), visitor, ctx, entropy);
        let Some(Record::Grant(grant)) = begun.write else { panic!("a grant") };
        let Ok(Outcome::Redirect(response)) = begun.outcome else { panic!("a redirect") };
        let Answer::Code(code) = response.answer else { panic!("a code") };
        let presented = PresentedClient {
            client_id: registered.id.to_string(),
            secret: self
                .client
                .client_secret
                .clone()
                .map(|s| (ClientAuthMethod::ClientSecretBasic, s)),
        };
        let client = authenticate(&presented, Some(registered), ctx.now).expect("the client");
        let redemption = RedeemRequest {
            code: Handle::parse(HandleKind::Code, code.expose()),
            redirect_uri: Some(CALLBACK.into()),
            code_verifier: Some(VERIFIER.into()),
        };
        let redeemed =
            code::redeem(&redemption, client, Some(&grant), Some(&account), ctx, entropy);
        let Some(Record::Grant(active)) = redeemed.write else { panic!("a grant") };
        if !renewed {
            return Record::Grant(active);
        }
        let tokens = redeemed.outcome.expect("tokens");
        let renewal = RefreshRequest {
            refresh_token: refresh::parse(tokens.refresh_token.expect("one").expose()),
            scope: None,
        };
        let mut renewed =
            refresh::refresh(&renewal, client, Some(&active), Some(&account), ctx, entropy);
        renewed.write.take().expect("a grant")
    }
}

/// Bytes that a grant takes in Redis.
struct Bytes {
    /// The value alone.
    value: u64,
    /// Its key with all that hangs on it, as `MEMORY USAGE` tells.
    record: u64,
    /// The index of a user who has only this grant.
    index: u64,
    /// All that Redis uses more than before, the share in its tables included.
    all: u64,
}

/// What an entry of the table of expiry times takes, which `MEMORY USAGE` leaves out.
const EXPIRY: u64 = 40;

async fn measure(renewed: bool) -> Bytes {
    let server = Server::start();
    let storage = RedisStorage::open(&server.url()).await.expect("it opens");
    let issuer = Issuer::parse("https://as.example").expect("an issuer");
    let mut policy = Policy::default();
    for name in ["read", "write"] {
        policy.scopes.insert(ScopeToken::parse(name).expect("a scope"), ScopeDefinition::new(name));
    }
    let now = Timestamp::from_millis(4_102_444_800_000);
    let ctx = Context { issuer: &issuer, policy: &policy, now };
    let mut entropy = Entropy::from_seed([1; 32]);
    let registration = Registration {
        skip_consent: true,
        ..Registration::confidential("x", CALLBACK, policy.known_scope())
    };
    let registered = register::register(&registration, None, ctx, &mut entropy);
    let registered = registered.outcome.expect("registered");
    let mut story = Story { ctx, client: &registered, entropy };
    let used =
        || server.info("memory").get("used_memory").and_then(|used| used.parse::<u64>().ok());
    let before = used().expect("a number");
    let grants = if std::env::var_os("GRANTOR_FULL").is_some() { MANY } else { GRANTS };
    for number in 0..grants {
        let record = story.grant(number, renewed);
        let commit = Commit {
            key: record.key(),
            expect: None,
            id: story.entropy.commit_id(),
            record: record.to_new_record(None).expect("it fits"),
        };
        assert_eq!(storage.commit(commit).await.expect("healthy"), CommitOutcome::Applied);
    }
    let all = (used().expect("a number") - before) / grants;
    let one_of = |pattern: &str| {
        let found = server.cli(&["SCAN", "0", "MATCH", pattern, "COUNT", "100000"]);
        found.split_whitespace().nth(1).expect("a key").to_owned()
    };
    let of = |command: &[&str]| server.cli(command).parse().expect("a number");
    let (record, index) = (one_of("grantor:g:*"), one_of("grantor:i:*"));
    Bytes {
        value: of(&["STRLEN", &record]),
        record: of(&["MEMORY", "USAGE", &record]),
        index: of(&["MEMORY", "USAGE", &index]),
        all,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_grant_with_refresh_and_one_access_token_takes_at_most_600_bytes() {
    for (what, renewed) in [("new", false), ("renewed, with two access tokens", true)] {
        let Bytes { value, record, index, all } = measure(renewed).await;
        let record = record + EXPIRY;
        println!(
            "{what}: {record} bytes, of which {value} are the value, {index} for the index of its \
             user, {all} in all"
        );
        assert!(renewed || record <= 600, "a grant takes {record} bytes");
    }
}
