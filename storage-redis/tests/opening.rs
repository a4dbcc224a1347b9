//! What a store says of the Redis that it is opened on, and on which it does not open.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use std::time::Duration;

use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Durability, Key, Kind, NewRecord, Storage as _,
};
use grantor_conformance::redis::{Cluster, Fsync, Sentinels, Server};
use grantor_redis::{Confirmation, OpenError, RedisConfig, RedisStorage, Topology};

fn config(url: &str) -> RedisConfig {
    // Nobody is on the way who would change the answer.
    RedisConfig::new(url).expect("an address").open_deadline(Duration::from_millis(300))
}

async fn refusal(config: RedisConfig) -> String {
    match config.open().await {
        Err(error @ (OpenError::Unfit { .. } | OpenError::Away { .. })) => error.to_string(),
        Err(error) => format!("{error:?}"),
        Ok(_) => "it opened".to_owned(),
    }
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not said: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_drop_records_is_refused() {
    let server = Server::options().max_memory(100_000_000, "allkeys-lru").start();
    let said = refusal(config(&server.url())).await;
    assert_says(&said, &["maxmemory-policy is allkeys-lru", "noeviction"]);
    // And where that is changed under a store that is open, it is not ready any more.
    let evict = |policy| server.cli(&["CONFIG", "SET", "maxmemory-policy", policy]);
    evict("noeviction");
    let storage = RedisStorage::open(&server.url()).await.expect("fit");
    storage.ready().await.expect("ready");
    evict("volatile-lru");
    let said = storage.ready().await.expect_err("not ready").to_string();
    assert_says(&said, &["maxmemory-policy is volatile-lru"]);
    // What is written now may be gone at once.
    let commit = Commit {
        key: Key::new(Kind::Client, *b"client").expect("short"),
        expect: None,
        id: CommitId::from_bytes([1; 16]),
        record: NewRecord {
            value: b"value".to_vec(),
            purge_at: Timestamp::from_millis(i64::MAX),
            indexes: vec![],
        },
    };
    let refused = storage.commit(commit.clone()).await.expect_err("refused").to_string();
    assert_says(&refused, &["maxmemory-policy is volatile-lru"]);
    evict("noeviction");
    storage.ready().await.expect("ready again");
    assert_eq!(storage.commit(commit).await.expect("healthy"), CommitOutcome::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_not_there_cannot_confirm() {
    let server = Server::options().append_only(Fsync::EverySecond).start();
    let wanting = config(&server.url()).confirmation(Confirmation::Replicas(1));
    assert_says(&refusal(wanting.clone()).await, &["replicas(1)", "it has 0 replicas"]);
    let replica = Server::options().append_only(Fsync::EverySecond).replica_of(&server).start();
    server.wait_for_replicas(1);
    let storage = wanting.open().await.expect("one replica is enough");
    assert_eq!(storage.promises().durability, Durability::Process);
    assert_says(
        &storage.report().to_string(),
        &["durability replicas(1)", "if 2 machines stop at the same time", "1 replicas"],
    );
    drop(replica);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_restarts_empty_would_empty_its_replicas() {
    let server = Server::start();
    let _replica = Server::options().replica_of(&server).start();
    server.wait_for_replicas(1);
    let wanting = config(&server.url()).confirmation(Confirmation::Replicas(1));
    assert_says(&refusal(wanting).await, &["appendonly is no", "empties its replicas"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_disks_needs_a_redis_that_can() {
    let options = || Server::options().append_only(Fsync::Always);
    let server = options().start();
    let _replica = options().replica_of(&server).start();
    server.wait_for_replicas(1);
    let wanting = config(&server.url()).confirmation(Confirmation::Fsynced(1));
    // Which of the two it is depends on the Redis that is installed; both are shown.
    if server.version() < [7, 2, 0] {
        assert_says(&refusal(wanting).await, &["WAITAOF", "7.2 is needed"]);
    } else {
        let storage = wanting.open().await.expect("it has WAITAOF");
        assert_eq!(storage.promises().durability, Durability::Power);
        storage.ready().await.expect("confirmed on disk");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_lost_is_said_as_it_is() {
    let volatile = Server::start();
    let storage = RedisStorage::open(&volatile.url()).await.expect("it opens");
    assert_eq!(storage.promises().durability, Durability::None);
    assert_says(&storage.report().can_lose(), &["restart", "since its last snapshot"]);

    let second = Server::options().append_only(Fsync::EverySecond).start();
    let storage = RedisStorage::open(&second.url()).await.expect("it opens");
    assert_eq!(storage.promises().durability, Durability::Process);
    assert_says(&storage.report().can_lose(), &["a machine that stops", "two seconds"]);

    let always = Server::options().append_only(Fsync::Always).start();
    let storage = RedisStorage::open(&always.url()).await.expect("it opens");
    assert_eq!(storage.promises().durability, Durability::Power);
    assert_says(&storage.report().can_lose(), &["nothing that was answered can be lost"]);
    assert_eq!(storage.report().warnings(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_without_waiting_is_said_to_lose() {
    let servers = || Server::options().append_only(Fsync::Always);
    let sentinels = Sentinels::options().replicas(2).servers(servers()).start();
    let local = RedisStorage::open(&sentinels.url()).await.expect("it opens");
    assert_eq!(local.report().topology(), Topology::Sentinel);
    assert_eq!(local.promises().durability, Durability::None);
    assert_says(&local.report().can_lose(), &["a failover to a replica loses"]);
    let warned = local.report().warnings().join("\n");
    assert_says(&warned, &["cut off from its replicas", "min-replicas-to-write 1"]);
    // With one of two, the other one may be the one that is promoted.
    let one = config(&sentinels.url()).confirmation(Confirmation::Replicas(1)).open().await;
    assert_says(
        &one.expect("it opens").report().can_lose(),
        &["not among the 1 that confirmed", "a primary has 2 replicas"],
    );
    let both = config(&sentinels.url()).confirmation(Confirmation::Replicas(2)).open().await;
    let both = both.expect("it opens");
    assert_says(&both.report().can_lose(), &["nothing that was answered can be lost"]);
    assert_eq!(both.promises().durability, Durability::Process);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_primary_of_a_cluster_is_looked_at() {
    let cluster = Cluster::options().replicas(0).start();
    let storage = RedisStorage::open(&cluster.url()).await.expect("it opens");
    let report = storage.report();
    assert_eq!(report.topology(), Topology::Cluster);
    for node in cluster.primaries() {
        assert_says(&report.to_string(), &[&format!("{}: version", node.addr())]);
    }
    let alone = |warning: &&String| warning.contains("has no replica");
    assert_eq!(report.warnings().iter().filter(alone).count(), 3, "{report}");
    let alone = format!("redis://{}", cluster.primaries()[0].addr());
    assert_says(&refusal(config(&alone)).await, &["node of a Cluster", "redis+cluster://"]);
    // One of them is enough to be unfit.
    cluster.primaries()[1].cli(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    let said = refusal(config(&cluster.url())).await;
    assert_says(&said, &["volatile-ttl", &cluster.primaries()[1].addr().to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_with_what_was_tried() {
    let server = Server::start();
    let url = server.url();
    server.stop();
    assert_says(&refusal(config(&url)).await, &["did not answer", &server.port().to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_cluster_is_said_to_be_none() {
    let server = Server::start();
    let url = format!("redis+cluster://{}", server.addr());
    assert_says(&refusal(config(&url)).await, &["cluster support disabled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_and_not_shown() {
    let server = Server::options().password("right").start();
    let url = format!("redis://:wr0ng@{}", server.addr());
    let said = refusal(config(&url)).await;
    assert_says(&said, &["did not answer"]);
    assert!(!said.contains("wr0ng"), "{said}");
    let right = RedisStorage::open(&server.url()).await.expect("the right one");
    assert!(!format!("{right:?}").contains("right@"), "{right:?}");
    right.ready().await.expect("ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_no_place_to_write_to() {
    let server = Server::start();
    let replica = Server::options().replica_of(&server).start();
    server.wait_for_replicas(1);
    assert_says(&refusal(config(&replica.url())).await, &["is a replica"]);
}
