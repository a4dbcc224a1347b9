//! Faults of single commands and single servers, each at the one moment at which it would do harm.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use std::time::Duration;

use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Index, Key, Kind, Listing, NewRecord, Storage as _,
    StorageError,
};
use grantor_conformance::redis::{Cluster, Fault, FaultProxy, Fsync, Sentinels, Server, slot_of};
use grantor_redis::{RedisConfig, RedisStorage};

/// 2100-01-01.
const LATER: i64 = 4_102_444_800_000;

fn key(id: &str) -> Key {
    Key::new(Kind::Grant, id.as_bytes()).expect("short")
}

fn index() -> Index {
    Index::new("grants:1").expect("a name")
}

fn commit(id: &str, expect: Option<CommitId>, number: u8) -> Commit {
    Commit {
        key: key(id),
        expect,
        id: CommitId::from_bytes([number; 16]),
        record: NewRecord {
            value: b"value".to_vec(),
            purge_at: Timestamp::from_millis(LATER),
            indexes: vec![],
        },
    }
}

fn listed(id: &str, number: u8) -> Commit {
    let mut commit = commit(id, None, number);
    commit.record.indexes.push(index());
    commit
}

/// `id` as it stands in a key.
fn name(id: &str) -> String {
    use base64::Engine as _;
    format!("grantor:g:{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id))
}

async fn apply(storage: &RedisStorage, commit: Commit) {
    assert_eq!(storage.commit(commit).await.expect("healthy"), CommitOutcome::Applied);
}

async fn sweep_all(storage: &RedisStorage) -> Result<(), StorageError> {
    let now = Timestamp::from_millis(LATER / 2);
    let mut swept = storage.sweep(now, None, 100).await?;
    while let Some(next) = swept.next {
        swept = storage.sweep(now, Some(&next), 100).await?;
    }
    Ok(())
}

/// The host of a Sentinel, often that of the primary too, is gone without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_is_silent_is_in_nobodys_way() {
    let sentinels = Sentinels::options().replicas(1).down_after(Duration::from_secs(30)).start();
    let storage = RedisStorage::open(&sentinels.url()).await.expect("it opens");
    apply(&storage, commit("before", None, 1)).await;
    sentinels.sentinels()[0].freeze();
    let another = RedisStorage::open(&sentinels.url()).await.expect("two of three answer");
    apply(&another, commit("after", None, 2)).await;
    apply(&storage, commit("again", None, 3)).await;
    sentinels.sentinels()[0].thaw();
}

/// A slot that is half moved, key by key: what is at the new place is asked for there, what is at the
/// old one here, wherever the key is that is written to learn that the replicas follow.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_on_its_way_is_served_and_confirmed_from_both_places() {
    let servers = Server::options().append_only(Fsync::EverySecond);
    let cluster = Cluster::options().servers(servers).start();
    let url = format!("{}?durability=replicas(1)&deadline_ms=6000", cluster.url());
    let storage = RedisStorage::open(&url).await.expect("it opens");
    let slot = slot_of(name("first"));
    let mut ids = vec!["first".to_owned()];
    let more = (0..).map(|n| n.to_string()).filter(|id| slot_of(name(id)) == slot);
    ids.extend(more.take(2));
    let mut number = 1;
    for id in &ids {
        apply(&storage, commit(id, None, number)).await;
    }
    let from = cluster.primary_of_slot(slot);
    let to = cluster.primaries().into_iter().find(|it| it.port() != from.port()).expect("more");
    let moving = cluster.begin_move(slot, to);
    loop {
        for id in &ids {
            let loaded = storage.load(&[key(id)]).await;
            let loaded = loaded.unwrap_or_else(|error| {
                panic!("{id} with {} keys at the old place: {error}", moving.remaining())
            });
            assert!(loaded[0].is_some(), "{id}");
            let expect = Some(CommitId::from_bytes([number; 16]));
            apply(&storage, commit(id, expect, number + 1)).await;
        }
        number += 1;
        if moving.migrate(1) == 0 {
            break;
        }
    }
    moving.finish();
    assert!(storage.load(&[key("first")]).await.expect("moved")[0].is_some());
}

/// Where the first reply is lost and another commit came before the second try, nobody can know any
/// more whether the first one was applied.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_may_have_been_applied_does_not_conflict() {
    let server = Server::start();
    let proxy = FaultProxy::to(&server);
    let far = RedisStorage::open(&proxy.url()).await.expect("it opens");
    let near = RedisStorage::open(&server.url()).await.expect("it opens");
    apply(&far, commit("warm", None, 9)).await;

    let lost = proxy.inject("EVALSHA", 1, Fault::DropReply);
    let again = proxy.hold_request("EVALSHA", 2);
    let first = tokio::spawn(async move { far.commit(commit("x", None, 1)).await });
    again.struck().await;
    assert!(lost.has_struck());
    apply(&near, commit("x", Some(CommitId::from_bytes([1; 16])), 2)).await;
    again.release();
    let answer = first.await.expect("no panic");
    assert!(matches!(answer, Err(StorageError::Unavailable { .. })), "{answer:?}");
}

/// The first try to mark an entry is held up on its way and arrives when the entry was added again.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_comes_late_does_not_cost_an_entry() {
    let server = Server::start();
    let proxy = FaultProxy::to(&server);
    let near = RedisStorage::open(&server.url()).await.expect("it opens");
    apply(&near, listed("x", 1)).await;
    assert_eq!(server.cli(&["DEL", &name("x")]), "1");
    let url = format!("{}?deadline_ms=8000", proxy.url());
    let far = RedisStorage::open(&url).await.expect("it opens");

    let mark = proxy.hold_request("ZADD", 1);
    let sweeping = tokio::spawn(async move { sweep_all(&far).await });
    mark.struck().await;
    // The tombstone, then the removal. Scripts the server does not know come as EVAL.
    let buried = proxy.hold_reply("EVAL", 1);
    buried.answered().await;
    let removal = proxy.hold_request("EVALSHA", 1);
    buried.release();
    removal.struck().await;
    apply(&near, listed("x", 2)).await;
    mark.release();
    mark.answered().await;
    removal.release();
    sweeping.await.expect("no panic").expect("healthy");
    let page = near.list(&Listing::Index(index()), None, 10).await.expect("healthy");
    assert_eq!(page.keys, [key("x")]);
}

/// The last node is replaced by one whose name comes before that of one that is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_does_not_end_before_a_node_that_took_over_behind_it() {
    let name_of = |node: &Server| node.addr().to_string();
    // As the names are drawn, it may be that there is no such node.
    let mut drawn = (0..10).map(|_| Cluster::options().primaries(3).replicas(1).start());
    let fits = |cluster: &Cluster| {
        let mut names: Vec<_> = cluster.primaries().into_iter().map(name_of).collect();
        names.sort();
        let last = cluster.primaries().into_iter().find(|node| name_of(node) == names[2]);
        name_of(cluster.replicas_of(last.expect("a primary"))[0]) < names[1]
    };
    let cluster = drawn.find(fits).expect("one of ten");
    let storage = RedisStorage::open(&cluster.url()).await.expect("it opens");
    for number in 0..40 {
        apply(&storage, commit(&format!("{number}"), None, number)).await;
    }
    let mut nodes = cluster.primaries();
    nodes.sort_by_key(|node| name_of(node));
    let on_last = |key: &Key| {
        let id = std::str::from_utf8(key.id()).expect("a number");
        cluster.primary_of(name(id)).port() == nodes[2].port()
    };
    let mut left: Vec<_> = (0..40).map(|number| key(&number.to_string())).collect();
    let walk = Listing::Kind(Kind::Grant);
    let mut after = None;
    while !left.iter().all(on_last) {
        let page = storage.list(&walk, after.as_ref(), 1).await.expect("healthy");
        left.retain(|key| !page.keys.contains(key));
        after = Some(page.next.expect("not the end"));
    }
    assert!(!left.is_empty());
    cluster.promote(cluster.replicas_of(nodes[2])[0]);
    // Until the store has noticed.
    let somewhere = std::str::from_utf8(left[0].id()).expect("a number").to_owned();
    let id = CommitId::from_bytes([somewhere.parse().expect("a number"); 16]);
    apply(&storage, commit(&somewhere, Some(id), 50)).await;
    let end = loop {
        match storage.list(&walk, after.as_ref(), 1).await {
            Ok(page) => {
                left.retain(|key| !page.keys.contains(key));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break Ok(()),
                }
            }
            Err(error) => break Err(error),
        }
    };
    let said = matches!(end, Err(StorageError::Unavailable { .. }));
    assert!(said || left.is_empty(), "{end:?}, without {left:?}");
}

/// More than may be under way at a time.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_long_is_done_in_parts() {
    let server = Server::start();
    let config = RedisConfig::new(&server.url()).expect("an address").max_waiting(200);
    let storage = config.open().await.expect("it opens");
    for number in 0..1_000 {
        apply(&storage, listed(&format!("{number}"), 1)).await;
    }
    let walk = Listing::Kind(Kind::Grant);
    let page = storage.list(&walk, None, 1_000).await.expect("healthy");
    assert!(page.keys.len() > 200, "{}", page.keys.len());
    let many: Vec<_> = page.keys.iter().map(|key| String::from_utf8_lossy(key.id())).collect();
    for id in many.iter().take(600) {
        server.cli(&["DEL", &name(id)]);
    }
    let now = Timestamp::from_millis(i64::MAX);
    let mut swept = storage.sweep(now, None, 5_000).await.expect("healthy");
    while let Some(next) = swept.next {
        swept = storage.sweep(now, Some(&next), 5_000).await.expect("healthy");
    }
    sweep_all(&storage).await.expect("healthy");
    let page = storage.list(&Listing::Index(index()), None, 10).await.expect("healthy");
    assert_eq!(page.keys, []);
}

/// A time that nobody can wait is a long one.
#[tokio::test(flavor = "multi_thread")]
async fn no_deadline_is_too_long() {
    let server = Server::start();
    let config = RedisConfig::new(&server.url()).expect("an address");
    let endless = config.deadline(Duration::MAX).open_deadline(Duration::MAX);
    let storage = endless.replica_deadline(Duration::MAX).open().await.expect("it opens");
    apply(&storage, commit("x", None, 1)).await;
}
