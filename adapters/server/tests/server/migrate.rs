//! `grantor migrate`, between directories and a real Redis.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;

use grantor::model::{ClientId, Consent, ConsentState, ScopeSet, Subject, Timestamp};
use grantor::storage::{Commit, CommitId, CommitOutcome, Record, Storage as _};
use grantor_conformance::redis::{Fsync, Server as Redis};
use grantor_sled::SledStorage;
use serde_json::Value;

use crate::world::{Browser, PASSWORD, Ran, World, grantor, text};

fn redis() -> Redis {
    Redis::options().append_only(Fsync::EverySecond).password("geheim").start()
}

fn sled(directory: &Path) -> String {
    format!("sled:{}", directory.display())
}

fn migrate(from: &str, to: &str, more: &[&str]) -> Ran {
    let mut command = grantor(&["migrate"]);
    command.args(more).env("GRANTOR_MIGRATE_FROM", from).env("GRANTOR_MIGRATE_TO", to);
    Ran::of(command, "")
}

#[track_caller]
fn migrated(from: &str, to: &str) -> Value {
    let outcome = migrate(from, to, &["--json"]).json();
    assert_eq!(outcome["verdict"], "complete", "{outcome:#}");
    outcome
}

/// What there was before, used on whatever it is now.
fn goes_on(world: &World, browser: &mut Browser, client: &Value, tokens: &Value) -> Value {
    let server = world.serve();
    browser.moved_to(server.address);
    assert!(browser.is_active(client, text(tokens, "access_token")));
    // The session and the consent: neither a sign-in nor a question.
    let again = browser.authorize(text(client, "client_id"));
    let location = again.location.unwrap_or_else(|| panic!("{} {}", again.status, again.body));
    assert!(location.contains("code="), "{location}");
    let refreshed = browser.refresh(client, text(tokens, "refresh_token"));
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    // The password, in a browser of which nothing is known.
    let mut fresh = server.browser();
    let page = fresh.authorize(text(client, "client_id"));
    let signed_in = fresh.sign_in(&page, "alice", PASSWORD);
    assert!(signed_in.location.is_some(), "{} {}", signed_in.status, signed_in.body);
    let users = world.run(&["user", "list", "--json"]).json();
    assert_eq!(users.as_array().map(Vec::len), Some(2), "{users}");
    let clients = world.run(&["client", "list", "--json"]).json();
    assert_eq!(clients.as_array().map(Vec::len), Some(1), "{clients}");
    assert!(!server.stop().contains("geheim"));
    let mut tokens = tokens.clone();
    for (name, value) in refreshed.json().as_object().expect("an object") {
        tokens[name] = value.clone();
    }
    tokens
}

#[test]
fn a_live_system_moves_to_redis_and_back() {
    let first = World::new();
    let server = first.serve();
    first.add_user("alice");
    first.add_user("bob");
    let client = first.add_client(&[]);
    let mut browser = server.browser();
    let tokens = browser.tokens(&client, "alice");
    let mut other = server.browser();
    let revoked = other.tokens(&client, "bob");
    first.run(&["grant", "revoke", "--user", "bob"]).ok();
    // While it is served nobody else can read it.
    let redis = redis();
    let refused = migrate(&sled(&first.data()), &redis.url(), &[]).failed();
    assert!(refused.contains("is in use by another process"), "{refused}");
    server.stop();

    let there = migrate(&sled(&first.data()), &redis.url(), &[]);
    let shown = there.stdout.clone();
    assert!(there.status.success() && shown.contains("Everything is there."), "{there:#?}");
    assert!(shown.lines().any(|line| line.starts_with("clients") && line.ends_with("same")));
    assert!(there.stderr.contains("copying: "), "{}", there.stderr);
    assert!(!(there.stderr + &shown).contains("geheim"));
    let second = World::on(&redis.url());
    let tokens = goes_on(&second, &mut browser, &client, &tokens);

    let third = World::new();
    let back = migrate(&redis.url(), &sled(&third.data()), &["--json"]);
    let warned = format!("Nothing keeps a server from writing to redis://{}", redis.addr());
    assert!(back.stderr.starts_with(&warned), "{}", back.stderr);
    assert_eq!(back.json()["verdict"], "complete");
    let tokens = goes_on(&third, &mut browser, &client, &tokens);

    let server = third.serve();
    browser.moved_to(server.address);
    assert!(!browser.is_active(&client, text(&revoked, "access_token")));
    // ATTACKS B01, B03: a used code is used on every store, and its replay ends what it issued.
    let replayed = browser.redeem(&client, text(&tokens, "code"));
    assert_eq!(replayed.status, 400, "{}", replayed.body);
    assert!(!browser.is_active(&client, text(&tokens, "access_token")));
    server.stop();
}

/// A store with so many consents, of a hundred users.
fn fill(directory: &Path, count: u32) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let storage = SledStorage::open(directory).expect("opened");
    runtime.block_on(async {
        let commits = (0..count).map(|n| {
            let at = Timestamp::from_millis(1);
            let record = Record::Consent(Consent {
                subject: Subject::parse(format!("user-{}", n % 100)).expect("short"),
                client_id: ClientId::parse(format!("client-{n}")).expect("short"),
                scope: ScopeSet::parse("calendar.read").expect("a scope"),
                state: ConsentState::Allowed,
                epoch: 0,
                granted_at: at,
                updated_at: at,
                client_name: "App".to_owned(),
            });
            let mut id = [7; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            storage.commit(Commit {
                key: record.key(),
                expect: None,
                id: CommitId::from_bytes(id),
                record: record.to_new_record(None).expect("small"),
            })
        });
        for outcome in futures_util::future::join_all(commits).await {
            assert_eq!(outcome.expect("healthy"), CommitOutcome::Applied);
        }
    });
}

/// Starts a migration and kills it as soon as it has said that it has copied something.
fn killed_on_the_way(from: &str, to: &str) {
    let mut command = grantor(&["migrate"]);
    command.env("GRANTOR_MIGRATE_FROM", from).env("GRANTOR_MIGRATE_TO", to);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let said = lines
        .map_while(Result::ok)
        .find(|line| line.strip_prefix("copying: ").is_some_and(|rest| !rest.starts_with("0 ")));
    child.kill().expect("it runs");
    let status = child.wait().expect("it ends");
    let mut stdout = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut stdout).expect("text");
    let said = said.expect("it copies something");
    assert!(status.code().is_none() && stdout.is_empty(), "{said} {status} {stdout}");
}

#[test]
fn a_migration_that_is_killed_is_done_again() {
    const COUNT: u32 = 10_000;
    let root = tempfile::TempDir::new().expect("a temporary directory");
    let [first, second] = ["first", "second"].map(|name| root.path().join(name));
    fill(&first, COUNT);
    let redis = redis();
    let size = || redis.cli(&["DBSIZE"]).parse::<u32>().expect("a number");

    let dry = migrate(&sled(&first), &redis.url(), &["--dry-run", "--json"]).json();
    assert_eq!((&dry["verdict"], size()), (&"dry_run".into(), 0));
    assert_eq!(dry["kinds"]["consents"]["from"]["records"], COUNT);
    for _ in 0..2 {
        killed_on_the_way(&sled(&first), &redis.url());
        let copied = size();
        assert!(copied > 0, "it was killed too early");
    }
    let there = migrated(&sled(&first), &redis.url());
    let consents = &there["kinds"]["consents"];
    assert_eq!((&consents["from"], &consents["to"]["records"]), (&consents["to"], &COUNT.into()));
    assert_eq!(
        (&there["index_entries"], &there["missing_index_entries"]),
        (&COUNT.into(), &0.into())
    );
    assert_eq!(size(), COUNT + 100, "the records, and an index for each user");

    killed_on_the_way(&redis.url(), &sled(&second));
    let back = migrated(&redis.url(), &sled(&second));
    assert_eq!(back["kinds"], there["kinds"]);
}

#[test]
fn what_is_in_the_way_is_reported_and_left_alone() {
    let root = tempfile::TempDir::new().expect("a temporary directory");
    let [first, second] = ["first", "second"].map(|name| root.path().join(name));
    fill(&first, 10);
    fill(&second, 11);
    let redis = redis();
    migrated(&sled(&second), &redis.url());
    let keys = || {
        let mut keys: Vec<_> = redis
            .cli(&["KEYS", "*"])
            .lines()
            .map(|key| (key.to_owned(), redis.call(&["DUMP", key])))
            .collect();
        keys.sort_by(|(a, _), (b, _)| a.cmp(b));
        keys
    };
    let before = keys();
    let refused = migrate(&sled(&first), &redis.url(), &[]);
    assert_eq!(refused.status.code(), Some(1));
    let said = "In the target, and not from this source: 1";
    assert!(refused.stdout.contains(said), "{refused:#?}");
    assert!(refused.stdout.contains("the source has no such record"), "{refused:#?}");
    assert!(refused.stderr.contains("nothing was written: empty it"), "{refused:#?}");
    assert_eq!(keys(), before);
    let dry = migrate(&sled(&first), &redis.url(), &["--dry-run"]);
    assert_eq!(dry.status.code(), Some(1), "{dry:#?}");

    for (from, to, said) in [
        ("memory:".to_owned(), redis.url(), "gone with its process"),
        (redis.url(), "memory:".to_owned(), "gone with its process"),
        (redis.url(), redis.url(), "are the same store"),
        (sled(&root.path().join("nothing")), redis.url(), "there is no store in"),
    ] {
        let refused = migrate(&from, &to, &[]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(refused.stderr.contains(said), "{refused:#?}");
    }
    assert!(!root.path().join("nothing").exists());
}

#[test]
fn what_cannot_be_read_is_reported_and_the_rest_is_copied() {
    let root = tempfile::TempDir::new().expect("a temporary directory");
    let [first, second] = ["first", "second"].map(|name| root.path().join(name));
    fill(&first, 10);
    let redis = redis();
    migrated(&sled(&first), &redis.url());
    // One by a version whose records are other, one by a version that keeps them in another way, one
    // of which only a part is left.
    let keys = redis.cli(&["KEYS", "grantor:a:*"]);
    let keys: Vec<_> = keys.lines().collect();
    redis.cli(&["SETRANGE", keys[0], "25", "\u{63}"]);
    redis.cli(&["SETRANGE", keys[1], "0", "\u{9}"]);
    redis.cli(&["SET", keys[2], "\u{2}short"]);
    let outcome = migrate(&redis.url(), &sled(&second), &["--json"]);
    assert_eq!(outcome.status.code(), Some(1), "{outcome:#?}");
    let outcome: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(
        (&outcome["verdict"], &outcome["unreadable"]["count"]),
        (&"unreadable".into(), &3.into())
    );
    assert_eq!(outcome["kinds"]["consents"]["to"]["records"], 7, "{outcome:#}");
    let why = outcome["unreadable"]["first"].to_string();
    for said in
        ["a record has format 99", "a record in Redis has format 9", "shorter than its header"]
    {
        assert!(why.contains(said), "{why}");
    }
    // They are still what they were.
    assert_eq!(redis.cli(&["GET", keys[2]]), "\u{2}short");
}
