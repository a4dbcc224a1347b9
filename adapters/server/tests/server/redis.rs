//! The server on a store that others share: a real Redis.

use std::time::Instant;

use grantor_conformance::redis::{Cluster, Fsync, Sentinels, Server as Redis};
use serde_json::Value;

use crate::world::{Answer, Browser, CALLBACK, PATIENCE, Ran, Server, VERIFIER, World, text};

const SECRET: &str = "geheim/+&? and more";

fn redis() -> Redis {
    Redis::options().append_only(Fsync::Always).password(SECRET).start()
}

fn logged(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["message"].as_str().is_some_and(|m| m.contains(message))).collect()
}

/// Looks again and again, until it is so.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not in time");
    }
}

#[test]
fn several_processes_serve_and_administer_one_redis() {
    let redis = redis();
    let world = World::on(&redis.url());
    let servers = [world.serve(), world.serve()];
    assert!(!world.data().exists());
    // There is no socket: who administers has the store open too, as a third process.
    world.add_user("alice");
    let client = world.add_client(&[]);
    let [mut one, mut other] = servers.each_ref().map(Server::browser);
    let tokens = one.tokens(&client, "alice");
    assert!(other.is_active(&client, text(&tokens, "access_token")));
    let refreshed = other.refresh(&client, text(&tokens, "refresh_token")).json();
    assert!(one.is_active(&client, text(&refreshed, "access_token")));
    let grants = world.run(&["grant", "list", "--json"]).json();
    assert_eq!(grants[0]["username"], "alice");
    // ATTACKS K07: what is revoked in one process is revoked in all.
    world.run(&["grant", "revoke", text(&grants[0], "id")]).ok();
    for browser in [&mut one, &mut other] {
        assert!(!browser.is_active(&client, text(&refreshed, "access_token")));
    }

    // What is changed of a client by another process is seen, at the latest when the cache is over.
    world.run(&["client", "remove", text(&client, "client_id")]).ok();
    for browser in [&mut one, &mut other] {
        let form = [
            ("token", text(&refreshed, "access_token")),
            ("client_id", text(&client, "client_id")),
            ("client_secret", text(&client, "client_secret")),
        ];
        until("the client is gone", || {
            (browser.post("/introspect", &form).status == 401).then_some(())
        });
    }

    let ready = one.get("/readyz");
    assert_eq!(ready.status, 200);
    let said = "nothing that was answered can be lost while one copy survives";
    assert_eq!(ready.body, format!("ready\ndurability local: {said}\n"));
    let log = servers.map(Server::stop).concat();
    let listening = logged(&log, "listening");
    assert_eq!(listening.len(), 2);
    assert_eq!(listening[0]["storage"], format!("redis://{}", redis.addr()));
    assert_eq!((&listening[0]["shared"], &listening[0]["can_lose"]), (&true.into(), &said.into()));
    assert_eq!(listening[0]["durability"], "Power");
    assert!(!logged(&log, "durability local: nothing").is_empty(), "{log}");
    assert!(logged(&log, "no client and no user can be added").is_empty(), "{log}");
}

#[test]
fn no_secret_of_an_address_is_shown_however_much_is_logged() {
    // ATTACKS K02.
    let redis = redis();
    let url = redis.url();
    let escaped = url.split_once("://:").and_then(|(_, rest)| rest.split_once('@'));
    let (escaped, _) = escaped.expect("a password");
    let secrets = [SECRET, escaped, "geheim"];
    let world = World::on("memory:");
    let ran = |args: &[&str], storage: &str| {
        let mut command = world.command(args);
        command.env("GRANTOR_STORAGE", storage).env("RUST_LOG", "trace");
        Ran::of(command, "")
    };
    let mut said = Vec::new();
    let mut hear = |ran: Ran, code| {
        assert_eq!(ran.status.code(), Some(code), "{ran:#?}");
        said.push(ran.stdout + &ran.stderr);
    };
    hear(ran(&["serve", "--help"], &url), 0);
    hear(ran(&["check"], &url), 0);
    hear(ran(&["client", "list"], &url), 0);
    for wrong in ["/x", "?durability=geheim", "?geheim=1@h", ",,"] {
        hear(ran(&["check"], &format!("{url}{wrong}")), 2);
    }
    hear(ran(&["check"], "redis:geheim"), 2);
    let wrong_password = format!("redis://:geheim-und-falsch@{}?deadline_ms=100", redis.addr());
    hear(ran(&["client", "list"], &wrong_password), 1);
    for storage in [format!("{url}/x"), "geheim".to_owned()] {
        let file = format!("issuer = \"http://localhost\"\nstorage = {storage:?}\n");
        std::fs::write(world.config(), file).expect("written");
        let failed = world.run(&["serve"]);
        assert!(failed.stderr.contains("line 2: this is not a storage; "), "{failed:?}");
        hear(failed, 1);
    }
    let world = World::on(&url);
    let mut command = world.command(&["serve"]);
    command.env("RUST_LOG", "trace");
    let server = Server::start(command);
    let mut browser = server.browser();
    assert_eq!(browser.get("/readyz").status, 200);
    redis.kill_9();
    until("Redis is missed", || (browser.get("/readyz").status == 503).then_some(()));
    said.push(browser.get("/readyz").body);
    said.push(server.stop());
    for said in &said {
        for secret in secrets {
            assert!(!said.contains(secret), "{secret} in\n{said}");
        }
    }
    let help = said.first().expect("help");
    assert!(help.contains("GRANTOR_STORAGE") && help.contains("redis://HOST"), "{help}");
}

#[test]
fn the_address_and_the_durability_come_from_anywhere() {
    let world = World::on("memory:");
    let check = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = world.command(&["check", "--offline"]);
        command.args(args).envs(env.iter().copied());
        Ran::of(command, "")
    };
    let storage = |output: &str| {
        let line = output.lines().find(|line| line.starts_with("storage")).expect("shown");
        line.split_whitespace().nth(1).expect("a value").to_owned()
    };
    for (url, shown) in [
        ("redis://localhost", "redis://localhost:6379"),
        ("rediss://u:p@h:1/3", "rediss://h:1/3"),
        ("redis+sentinel://a,b/main", "redis+sentinel://a:26379,b:26379/main"),
        ("redis+cluster://a:1", "redis+cluster://a:1"),
        ("redis://a:1,b:2", "redis+cluster://a:1,b:2"),
    ] {
        assert_eq!(storage(&check(&["--storage", url], &[]).ok()), shown);
        assert_eq!(storage(&check(&[], &[("GRANTOR_STORAGE", url)]).ok()), shown);
        let file = format!("issuer = \"http://localhost\"\nstorage = \"{url}\"\n");
        std::fs::write(world.config(), file).expect("written");
        assert_eq!(storage(&check(&[], &[]).ok()), shown);
        check(&["--durability", "replicas(2)"], &[]).ok();
        check(&[], &[("GRANTOR_DURABILITY", "fsynced(1)")]).ok();
    }
    let redis = "redis://localhost";
    let cache = |output: &str| {
        let line = output.lines().find(|line| line.starts_with("client_cache")).expect("shown");
        line.split_whitespace().nth(1).expect("a value").to_owned()
    };
    assert_eq!(cache(&check(&[], &[]).ok()), "2s");
    assert_eq!(cache(&check(&["--storage=sled:data"], &[]).ok()), "0s");
    assert_eq!(check(&["--durability=2"], &[("GRANTOR_STORAGE", redis)]).status.code(), Some(2));
    let file = |more: &str, storage: &str| {
        let file = format!("issuer = \"http://localhost\"\nstorage = \"{storage}\"\n{more}");
        std::fs::write(world.config(), file).expect("written");
        check(&[], &[])
    };
    file("durability = \"replicas(1)\"", redis).ok();
    let failed = file("durability = \"all\"", redis).failed();
    let said = "line 3: this is not a durability; write local, replicas(N) or fsynced(N)";
    assert!(failed.contains(said), "{failed}");
    let failed = file("durability = \"replicas(1)\"", "sled:data").failed();
    assert!(failed.contains("durability is a matter of Redis; sled:data"), "{failed}");
    file("[policy]\nrequired_durability = \"power\"", "sled:data").ok();
    let failed = file("[policy]\nrequired_durability = \"process\"", "memory:").failed();
    let said = "line 4: the storage promises durability None, the policy demands Process; demand";
    assert!(failed.contains(said), "{failed}");
}

#[test]
fn a_redis_that_is_not_fit_is_not_served_from() {
    let evicting = Redis::options().max_memory(1 << 30, "allkeys-lru").start();
    let plain = Redis::start();
    let gone = Redis::start();
    gone.kill_9();
    let cases = [
        (&evicting, "", "maxmemory-policy is allkeys-lru"),
        (&plain, "?durability=replicas(1)", "durability is replicas(1) and appendonly is no"),
        (&gone, "", "did not answer within 10 s"),
    ];
    // Some wait for what may come, so they wait together.
    std::thread::scope(|scope| {
        for (redis, options, expected) in cases {
            for command in ["serve", "check"] {
                scope.spawn(move || {
                    let world = World::on(&format!("{}{options}", redis.url()));
                    let failed = world.run(&[command]).failed();
                    let address = format!("cannot use redis://{}: ", redis.addr());
                    assert!(failed.starts_with(&address) && failed.contains(expected), "{failed}");
                });
            }
        }
        scope.spawn(|| {
            // It has no append-only file, and the policy demands more than that.
            let world = World::on(&plain.url());
            world.configure("[policy]\nrequired_durability = \"process\"\n");
            for command in [&["serve"][..], &["check"], &["user", "list"]] {
                let failed = world.run(command);
                assert_eq!(failed.status.code(), Some(1), "{failed:#?}");
                // What it found is logged before it is judged.
                let error = failed.stderr.lines().last().expect("an error");
                let said = "the storage promises durability None, the policy demands Process";
                assert!(error.contains("line 6") && error.contains(said), "{error}");
            }
            assert!(world.run(&["check", "--offline"]).ok().contains("is fine"));
        });
    });
}

/// Every endpoint that needs the store, with a request that gets as far as that.
fn ask_everything(browser: &mut Browser, client: &Value, tokens: &Value) -> Vec<(String, Answer)> {
    let (id, secret) = (text(client, "client_id"), text(client, "client_secret"));
    let login = [("client_id", id), ("client_secret", secret)];
    let with = |more: &[(&'static str, &str)]| -> Vec<(String, String)> {
        let all = login.iter().chain(more);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let token = text(tokens, "access_token");
    let posts = [
        ("/token", with(&[("grant_type", "client_credentials"), ("scope", "calendar.read")])),
        (
            "/token",
            with(&[
                ("grant_type", "refresh_token"),
                ("refresh_token", text(tokens, "refresh_token")),
            ]),
        ),
        (
            "/token",
            with(&[
                ("grant_type", "authorization_code"),
                ("code", text(tokens, "code")),
                ("redirect_uri", CALLBACK),
                ("code_verifier", VERIFIER),
            ]),
        ),
        ("/introspect", with(&[("token", token)])),
        ("/revoke", with(&[("token", token)])),
    ];
    let mut answers = Vec::new();
    for (path, form) in posts {
        let form: Vec<_> = form.iter().map(|(name, value)| (&**name, &**value)).collect();
        answers.push((path.to_owned(), browser.post(path, &form)));
    }
    answers.push(("/authorize".to_owned(), browser.authorize(id)));
    answers.push(("/apps".to_owned(), browser.get("/apps")));
    answers
}

#[test]
fn a_redis_that_is_away_is_503_with_retry_after_and_back_by_itself() {
    let redis = redis();
    let world = World::on(&format!("{}?deadline_ms=500", redis.url()));
    let server = world.serve();
    world.add_user("alice");
    let client =
        world.add_client(&["--grant", "authorization_code,refresh_token,client_credentials"]);
    let mut browser = server.browser();
    let tokens = browser.tokens(&client, "alice");
    let mut pending = server.browser();
    let page = pending.authorize(text(&client, "client_id"));

    redis.kill_9();
    let not_ready = until("Redis is missed", || {
        Some(browser.get("/readyz")).filter(|answer| answer.status == 503)
    });
    assert_eq!(not_ready.body, "not ready\n", "where the store is, is for the log");
    assert_eq!(browser.get("/healthz").status, 200);
    for (path, answer) in ask_everything(&mut browser, &client, &tokens) {
        assert_eq!((answer.status, answer.retry_after), (503, Some(2)), "{path}: {}", answer.body);
    }
    let signed_in = pending.sign_in(&page, "alice", crate::world::PASSWORD);
    assert_eq!((signed_in.status, signed_in.retry_after), (503, Some(2)), "{}", signed_in.body);

    redis.restart();
    until("Redis is found again", || (browser.get("/readyz").status == 200).then_some(()));
    // Nothing that was refused has harmed anybody.
    assert!(browser.is_active(&client, text(&tokens, "access_token")));
    let refreshed = browser.refresh(&client, text(&tokens, "refresh_token"));
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    let signed_in = pending.sign_in(&page, "alice", crate::world::PASSWORD);
    assert!(signed_in.location.is_some(), "{} {}", signed_in.status, signed_in.body);
    let log = server.stop();
    let not_ready = logged(&log, "not ready");
    assert!(
        not_ready.iter().any(|line| line.to_string().contains("the storage is unavailable")),
        "{log}"
    );
}

#[test]
fn check_says_what_the_redis_is() {
    let redis = Redis::start();
    let world = World::on(&redis.url());
    let checked = world.run(&["check"]).ok();
    let lost = "durability local: a restart of a server loses everything since its last snapshot";
    assert!(checked.contains(lost), "{checked}");
    assert!(checked.contains("no append-only file, 0 replicas, eviction noeviction"), "{checked}");
    assert!(checked.ends_with("The configuration is fine.\n"));
    assert_eq!(redis.cli(&["DBSIZE"]), "0", "a question makes nothing");
}

#[test]
fn the_rule_of_the_page_is_enough_to_serve_and_to_administer() {
    let page = include_str!("../../../../storage-redis/docs/production.md");
    let rule = page.lines().find_map(|line| line.strip_prefix("user ")).expect("a rule");
    let redis = Redis::options().acl_user(rule).acl_user("default off").start();
    let world = World::on(&redis.url_as("grantor", "PASSWORD"));
    let server = world.serve();
    world.add_user("alice");
    let client = world.add_client(&[]);
    let mut browser = server.browser();
    let tokens = browser.tokens(&client, "alice");
    assert_eq!(browser.refresh(&client, text(&tokens, "refresh_token")).status, 200);
    assert_eq!(browser.get("/readyz").status, 200);
    world.run(&["grant", "list"]).ok();
    world.run(&["user", "remove", "alice"]).ok();
    world.run(&["client", "remove", text(&client, "client_id")]).ok();
    let directory = format!("sled:{}", world.data().display());
    let to = ["migrate", "--to", &directory];
    let mut migrate = world.command(&to);
    migrate.env("GRANTOR_MIGRATE_FROM", redis.url_as("grantor", "PASSWORD"));
    Ran::of(migrate, "").ok();
    server.stop();
    let denied = redis.cli(&["ACL", "LOG"]);
    assert!(denied.is_empty(), "{denied}");
}

#[test]
fn a_restored_backup_is_an_older_world_and_can_be_made_safe() {
    // ATTACKS B01, and what docs/production.md says to do.
    let redis = Redis::start();
    let world = World::on(&redis.url());
    let server = world.serve();
    world.add_user("alice");
    let client = world.add_client(&[]);
    let [mut honest, mut other] = [server.browser(), server.browser()];
    let kept = honest.tokens(&client, "alice");
    let revoked = other.tokens(&client, "alice");
    redis.cli(&["SAVE"]);
    let renewed = honest.refresh(&client, text(&kept, "refresh_token")).json();
    let grants = world.run(&["grant", "list", "--json"]).json();
    assert_eq!(grants.as_array().map(Vec::len), Some(2));
    world.run(&["grant", "revoke", "--user", "alice"]).ok();
    assert!(!honest.is_active(&client, text(&renewed, "access_token")));
    server.stop();

    // There is no other persistence: it comes back as it was saved.
    redis.kill_9();
    redis.restart();
    let server = world.serve();
    let mut browser = server.browser();
    assert!(browser.is_active(&client, text(&revoked, "access_token")), "the revocation is gone");
    assert!(browser.is_active(&client, text(&kept, "access_token")));
    let newer = browser.refresh(&client, text(&renewed, "refresh_token"));
    assert_eq!(newer.status, 400, "an honest client is taken for a thief: {}", newer.body);
    assert!(!browser.is_active(&client, text(&kept, "access_token")), "and its grant has ended");
    server.stop();

    world.run(&["grant", "revoke", "--client", text(&client, "client_id")]).ok();
    let server = world.serve();
    let mut browser = server.browser();
    for tokens in [&kept, &revoked] {
        assert!(!browser.is_active(&client, text(tokens, "access_token")));
        assert_eq!(browser.refresh(&client, text(tokens, "refresh_token")).status, 400);
    }
    // Whoever signs in again is served.
    let fresh = server.browser().tokens(&client, "alice");
    assert!(browser.is_active(&client, text(&fresh, "access_token")));
    server.stop();
}

#[test]
fn sentinels_and_a_cluster_are_served_from_and_a_failover_is_survived() {
    let servers = Redis::options().append_only(Fsync::EverySecond);
    let sentinels = Sentinels::options().replicas(1).servers(servers.clone()).start();
    let cluster = Cluster::options().servers(servers).start();
    for url in [sentinels.url(), cluster.url()] {
        let world = World::on(&url);
        world.configure("durability = \"replicas(1)\"\n");
        let server = world.serve();
        world.add_user("alice");
        let client = world.add_client(&[]);
        let mut browser = server.browser();
        let tokens = browser.tokens(&client, "alice");
        let ready = browser.get("/readyz");
        assert_eq!(ready.status, 200, "{}", ready.body);
        assert!(ready.body.starts_with("ready\ndurability replicas(1): "), "{}", ready.body);
        if url == sentinels.url() {
            let old = sentinels.primary();
            old.kill_9();
            sentinels.wait_for_failover(old);
            // It comes back as the replica that has to confirm.
            old.restart();
        } else {
            let old = cluster.primaries().into_iter().next().expect("three");
            old.kill_9();
            cluster.wait_for_failover(old);
            old.restart();
        }
        until("it serves again", || {
            let refreshed = browser.refresh(&client, text(&tokens, "refresh_token"));
            if refreshed.status == 503 {
                return None;
            }
            // ATTACKS B03: our own repetitions look like nobody's theft.
            assert_eq!(refreshed.status, 200, "{}", refreshed.body);
            Some(())
        });
        until("it is ready again", || (browser.get("/readyz").status == 200).then_some(()));
        assert!(browser.is_active(&client, text(&tokens, "access_token")));
        let copy = format!("sled:{}", world.data().display());
        let mut migrate = world.command(&["migrate", "--to", &copy, "--json"]);
        server.stop();
        migrate.env("GRANTOR_MIGRATE_FROM", &url);
        assert_eq!(Ran::of(migrate, "").json()["verdict"], "complete");
    }
}
