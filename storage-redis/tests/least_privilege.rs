//! The rules of docs/production.md by which a user of Redis may do what the store needs: all of it works
//! by them, and none of them is for nothing.

#![expect(clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use grantor::storage::{Key, Kind, Storage as _};
use grantor_conformance::redis::{Cluster, Fsync, Sentinels, Server, unique_prefix};
use grantor_conformance::storage::{Backend, Processes, serve_if_asked, tests};
use grantor_redis::{OpenError, RedisConfig, RedisStorage};

const PAGE: &str = include_str!("../docs/production.md");
const PASSWORD: &str = "PASSWORD";

/// The rule of the page: what stands behind `user` in a file of users.
fn rule() -> &'static str {
    let line = PAGE.lines().find_map(|line| line.strip_prefix("user "));
    line.expect("the page has a rule")
}

/// What the page adds to the rule for this, or says of others.
fn more(what: &str) -> &'static str {
    let mut rows = PAGE.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | `+"));
    let (_, rest) = rows.find(|(name, _)| *name == what).unwrap_or_else(|| panic!("no {what}"));
    let end = rest.find('`').expect("closed");
    let start = PAGE.find(rest).expect("of the page") - 1;
    &PAGE[start..start + 1 + end]
}

fn commands(rule: &str) -> BTreeSet<String> {
    rule.split_whitespace().filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect()
}

/// What these servers were asked since they were told to forget it, but for what the stage, replicas
/// and the nodes of a Cluster ask by themselves, and what needs no permission.
fn used(servers: &[&Server]) -> BTreeSet<String> {
    const OTHERS: [&str; 12] = [
        "auth",
        "acl|log",
        "acl|setuser",
        "config|resetstat",
        "config|set",
        "replconf",
        "psync",
        "sync",
        "cluster|setslot",
        "cluster|getkeysinslot",
        "cluster|myid",
        "migrate",
    ];
    let counts = servers.iter().flat_map(|server| server.command_counts());
    let asked = counts.filter(|(_, count)| *count > 0).map(|(name, _)| name);
    asked.filter(|name| !OTHERS.contains(&name.as_str())).collect()
}

fn forget(servers: &[&Server]) {
    for server in servers {
        server.cli(&["CONFIG", "RESETSTAT"]);
        server.cli(&["ACL", "LOG", "RESET"]);
    }
}

#[track_caller]
fn nothing_was_denied(servers: &[&Server]) {
    for server in servers {
        let denied = server.cli(&["ACL", "LOG"]);
        assert!(denied.is_empty(), "{denied}");
    }
}

/// Keys of its own on one server, by the rule.
struct Restricted(String);

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let options = Server::options().append_only(Fsync::EverySecond);
        options.acl_user(rule()).acl_user("default off").start()
    })
}

impl Backend for Restricted {
    type Store = RedisStorage;
    const PROCESSES: Processes = Processes::Shared;

    async fn create() -> Self {
        let url = server().url_as("grantor", PASSWORD);
        let prefix = format!("grantor:{}", unique_prefix());
        Self(format!("{url}?deadline_ms=30000&prefix={prefix}"))
    }

    fn address(&self) -> String {
        self.0.clone()
    }

    async fn open(address: &str) -> Result<RedisStorage, Box<dyn Error + Send + Sync>> {
        Ok(RedisStorage::open(address).await?)
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![]
    }
}

#[test]
fn the_whole_contract_is_kept_by_the_rule_and_all_of_it_is_needed() {
    serve_if_asked::<Restricted>();
    let server = server();
    forget(&[server]);
    // All but the longest: thousands of histories of the same calls.
    let histories = "linearizability::random_concurrent_histories_have_an_order_that_explains_them";
    let mut tests = tests::<Restricted>();
    let all = tests.len();
    tests.retain(|test| test.name != histories);
    assert_eq!(tests.len(), all - 1);
    let tests = Mutex::new(tests);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let next = tests.lock().expect("healthy").pop();
                    let Some(test) = next else { return };
                    test.run("the_whole_contract_is_kept_by_the_rule_and_all_of_it_is_needed");
                }
            });
        }
    });
    nothing_was_denied(&[server]);
    assert_eq!(used(&[server]), commands(rule()));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_waited_for_by_one_command_more() {
    let more = more("`replicas(N)`");
    let options = || {
        let rule = format!("{} {more}", rule());
        Server::options().append_only(Fsync::EverySecond).acl_user(&rule).acl_user("default off")
    };
    let primary = options().start();
    let _replica = options().replica_of(&primary).start();
    primary.wait_for_replicas(1);
    forget(&[&primary]);
    let url = primary.url_as("grantor", PASSWORD);
    let url = format!("{url}?deadline_ms=30000&durability=replicas(1)");
    let storage = RedisStorage::open(&url).await.expect("it is fit");
    let keys: Vec<_> = (0..3).map(|n| Key::new(Kind::Grant, [n]).expect("short")).collect();
    storage.load(&keys).await.expect("served");
    nothing_was_denied(&[&primary]);
    assert!(used(&[&primary]).is_superset(&commands(more)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_one_of_the_commands_something_is_denied() {
    // Of a rule from which one is left out the log of the server tells: the test above would notice.
    let server = Server::options().acl_user(&format!("{} -get", rule())).start();
    let url = server.url_as("grantor", PASSWORD);
    let storage = RedisStorage::open(&url).await.expect("it is fit");
    let key = Key::new(Kind::Grant, *b"1").expect("short");
    let failed = storage.load(&[key]).await.expect_err("it may not look");
    assert!(failed.to_string().contains("NoPerm"), "{failed}");
    let denied = server.cli(&["ACL", "LOG"]);
    assert!(denied.contains("get") && denied.contains("grantor"), "{denied}");
    // And of keys that are not the store's it gets nothing.
    let elsewhere = RedisStorage::open(&format!("{url}?prefix=other:")).await.expect("it is fit");
    let failed = elsewhere.load(&[Key::new(Kind::Grant, *b"1").expect("short")]).await;
    assert!(failed.expect_err("it may not look").to_string().contains("NoPerm"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_needs_the_permission_to_choose_it() {
    let rule = format!("{} {}", rule(), more("a database other than 0"));
    let server = Server::options().acl_user(&rule).start();
    let url = server.url_as("grantor", PASSWORD);
    let storage = RedisStorage::open(&format!("{url}/3")).await.expect("it is fit");
    storage.ready().await.expect("ready");
    nothing_was_denied(&[&server]);
    assert!(used(&[&server]).contains("select"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_needs_a_little_more() {
    let more = more("Cluster");
    let rule = format!("{} {more}", rule());
    let servers = Server::options().acl_user(&rule).acl_user("default off");
    // Nobody fails over because this machine is busy.
    let cluster = Cluster::options().servers(servers).node_timeout(Duration::from_secs(30)).start();
    let nodes: Vec<_> = cluster.nodes().iter().collect();
    forget(&nodes);
    let url = cluster.url();
    let (scheme, hosts) = url.split_once("://").expect("a URL");
    let hosts = hosts.rsplit_once('@').map_or(hosts, |(_, hosts)| hosts);
    let url = format!("{scheme}://grantor:{PASSWORD}@{hosts}?deadline_ms=30000");
    let storage = RedisStorage::open(&url).await.expect("it is fit");
    let keys: Vec<_> = (0..50).map(|n| Key::new(Kind::Grant, [n]).expect("short")).collect();
    storage.load(&keys).await.expect("served");
    // A key that is on its way is asked for where it goes.
    let from = cluster.primary_of("grantor:g:AA");
    let to = cluster.primaries().into_iter().find(|node| node.addr() != from.addr());
    let slot = from.cli(&["CLUSTER", "KEYSLOT", "grantor:g:AA"]).parse().expect("a number");
    let moving = cluster.begin_move(slot, to.expect("there are three"));
    storage.load(&keys).await.expect("served");
    moving.finish();
    for kind in Kind::ALL {
        let listing = grantor::storage::Listing::Kind(kind);
        let _ = storage.list(&listing, None, 10).await.expect("served");
    }
    nothing_was_denied(&nodes);
    let used = used(&nodes);
    assert!(used.is_superset(&commands(more)), "{more} {used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_are_asked_one_thing() {
    let unhurried = Duration::from_secs(30);
    let servers = Server::options().append_only(Fsync::EverySecond);
    let sentinels = Sentinels::options().replicas(1).servers(servers).down_after(unhurried).start();
    let set = |server: &Server, user: &str, rule: &str| {
        let words: Vec<_> = ["ACL", "SETUSER", user].into_iter().chain(rule.split(' ')).collect();
        server.cli(&words);
    };
    let watchers: Vec<_> = sentinels.sentinels().iter().collect();
    for server in sentinels.servers() {
        set(server, "grantor", rule().split_once(' ').expect("a name").1);
    }
    let asked = more("each Sentinel");
    for watcher in &watchers {
        set(watcher, "watcher", &format!("on >{PASSWORD} -@all {asked}"));
    }
    let url = sentinels.url();
    let (scheme, hosts) = url.split_once("://").expect("a URL");
    let login = format!("sentinel_user=watcher&sentinel_password={PASSWORD}");
    let url = format!("{scheme}://grantor:{PASSWORD}@{hosts}?{login}");
    let storage = RedisStorage::open(&url).await.expect("it is fit");
    storage.ready().await.expect("ready");
    nothing_was_denied(&watchers);
    nothing_was_denied(&[sentinels.primary()]);
    drop(storage);
    // And without it nobody is found.
    for watcher in &watchers {
        set(watcher, "watcher", &asked.replace('+', "-"));
    }
    let config = RedisConfig::new(&url).expect("an address");
    let refused = config.open_deadline(Duration::from_millis(300)).open().await;
    assert!(matches!(refused, Err(OpenError::Away { .. })), "{refused:?}");
}
