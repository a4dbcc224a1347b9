//! Where the promises of this store end, and that it says so: servers that were replaced and do not
//! know it, replicas that confirmed and are not promoted, and a primary that comes back with less.

#![expect(clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Key, Kind, NewRecord, Storage as _, StorageError,
};
use grantor_conformance::redis::{FaultProxy, Fsync, Options, Server};
use grantor_redis::{RedisConfig, RedisStorage};

fn server(fsync: Fsync) -> Options {
    Server::options().append_only(fsync)
}

async fn open(server: &Server, options: &str) -> RedisStorage {
    // A machine that is busy is given time; too few replicas is said at once.
    let url = format!("{}?deadline_ms=30000&{options}", server.url());
    RedisConfig::new(&url).expect("an address").open().await.expect("fit")
}

fn key() -> Key {
    Key::new(Kind::Grant, *b"a grant").expect("short")
}

fn commit(expect: Option<CommitId>) -> Commit {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let record = NewRecord {
        value: number.to_be_bytes().to_vec(),
        purge_at: Timestamp::from_millis(i64::MAX),
        indexes: Vec::new(),
    };
    let id = CommitId::from_bytes(u128::from(number).to_be_bytes());
    Commit { key: key(), expect, id, record }
}

/// A commit that gets through, if need be sent again as it is.
async fn applied(store: &RedisStorage, expect: Option<CommitId>) -> CommitId {
    again(store, commit(expect)).await
}

async fn again(store: &RedisStorage, commit: Commit) -> CommitId {
    for _ in 0..20 {
        if let Ok(outcome) = store.commit(commit.clone()).await {
            assert_eq!(outcome, CommitOutcome::Applied);
            return commit.id;
        }
    }
    panic!("the replicas never confirm");
}

async fn shown(store: &RedisStorage) -> Option<CommitId> {
    for _ in 0..20 {
        if let Ok(found) = stored(store).await {
            return found;
        }
    }
    panic!("the replicas never confirm");
}

async fn stored(store: &RedisStorage) -> Result<Option<CommitId>, StorageError> {
    let found = store.load(&[key()]).await?;
    Ok(found.into_iter().next().flatten().map(|found| found.commit))
}

/// A primary that was replaced while it was frozen, or cut off, goes on for those who still reach it. It
/// knows of an authorization that has been revoked meanwhile elsewhere. ATTACKS B02.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_replaced_answers_nothing_where_replicas_are_asked() {
    for asked in ["durability=replicas(1)", "durability=local"] {
        let old = server(Fsync::Always).start();
        let new = server(Fsync::Always).replica_of(&old).start();
        old.wait_for_replicas(1);
        let with_old = open(&old, asked).await;
        let issued = applied(&with_old, None).await;
        old.wait_for_replicas(1);
        new.cli(&["REPLICAOF", "NO", "ONE"]);
        let with_new = open(&new, "durability=local").await;
        let revoked = applied(&with_new, Some(issued)).await;

        let found = stored(&with_old).await;
        let committed = with_old.commit(commit(Some(issued))).await;
        if asked == "durability=local" {
            // What the report says: two worlds. This is what the others are kept from.
            assert_eq!(found.expect("an answer"), Some(issued));
            assert_eq!(committed.expect("an answer"), CommitOutcome::Applied);
        } else {
            assert!(matches!(found, Err(StorageError::Unavailable { .. })), "{found:?}");
            assert!(matches!(committed, Err(StorageError::Unavailable { .. })), "{committed:?}");
        }
        assert_eq!(shown(&with_new).await, Some(revoked));
    }
}

/// A commit that only the old primary has was never answered, so nobody may be shown it there either.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_replica_has_is_not_shown() {
    let primary = server(Fsync::Always).start();
    let replica = server(Fsync::Always).replica_of(&primary).start();
    primary.wait_for_replicas(1);
    let (one, other) = (
        open(&primary, "durability=replicas(1)").await,
        open(&primary, "durability=replicas(1)").await,
    );
    let first = applied(&one, None).await;
    replica.freeze();
    let unconfirmed = commit(Some(first));
    let second = unconfirmed.id;
    let answer = one.commit(unconfirmed.clone()).await;
    assert!(matches!(answer, Err(StorageError::Unavailable { .. })), "{answer:?}");
    let found = stored(&other).await;
    assert!(matches!(found, Err(StorageError::Unavailable { .. })), "{found:?}");
    // The same commit again, once it can be confirmed, is the same commit.
    replica.thaw();
    primary.wait_for_replicas(1);
    assert_eq!(again(&one, unconfirmed).await, second);
    assert_eq!(shown(&other).await, Some(second));
}

/// With more replicas than confirm, one that did not may be promoted. It is lost, and the report says so;
/// with as many as there are it is not answered. ATTACKS K05.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_did_not_confirm_does_not_have_it() {
    let primary = server(Fsync::Always).start();
    let _confirms = server(Fsync::Always).replica_of(&primary).start();
    let way = FaultProxy::to(&primary);
    let behind = format!("{} {}", way.addr().ip(), way.port());
    let lags = server(Fsync::Always).config("replicaof", &behind).start();
    primary.wait_for_replicas(2);
    let careless = open(&primary, "durability=replicas(1)").await;
    let careful = open(&primary, "durability=replicas(2)").await;
    let said = careless.report().can_lose();
    assert!(said.contains("a replica that was not among the 1"), "{said}");
    let said = careful.report().can_lose();
    assert!(!said.contains("not among"), "{said}");

    let first = applied(&careful, None).await;
    way.stall();
    let second = applied(&careless, Some(first)).await;
    let answer = careful.commit(commit(Some(second))).await;
    assert!(matches!(answer, Err(StorageError::Unavailable { .. })), "{answer:?}");
    primary.kill_9();
    lags.cli(&["REPLICAOF", "NO", "ONE"]);
    drop(way);
    let later = open(&lags, "durability=local").await;
    assert_eq!(shown(&later).await, Some(first), "what all had, and not what one had confirmed");
}

/// The newest file of the commands since the last rewriting.
fn append_only_file(server: &Server) -> PathBuf {
    let files = std::fs::read_dir(server.directory().join("appendonlydir")).expect("its directory");
    let files = files.map(|file| file.expect("a file").path());
    let mut files: Vec<_> =
        files.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).collect();
    files.sort();
    files.pop().expect("a file that grows")
}

/// How long the file is once that commit is in it: Redis writes it a little later if its disk is slow.
fn length_with(file: &Path, commit: CommitId) -> u64 {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let bytes = std::fs::read(file).expect("a file");
        if bytes.windows(16).any(|some| some == commit.as_bytes()) {
            return u64::try_from(bytes.len()).expect("a length");
        }
        assert!(Instant::now() < until, "the commit is not written to the append-only file");
    }
}

/// The power fails at a primary, and it is back before anybody takes its place, with what was on its disk.
/// Its replica, which has confirmed more, becomes a copy of it. The report says so; `always` excludes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_comes_back_with_less_takes_it_from_its_replica() {
    let primary = server(Fsync::EverySecond).start();
    let replica = server(Fsync::EverySecond).replica_of(&primary).start();
    primary.wait_for_replicas(1);
    let store = open(&primary, "durability=replicas(1)").await;
    let said = store.report().can_lose();
    assert!(said.contains("if a primary is back before a replica is promoted"), "{said}");
    let first = applied(&store, None).await;
    let file = append_only_file(&primary);
    let on_disk = length_with(&file, first);
    let second = applied(&store, Some(first)).await;
    assert_eq!(shown(&store).await, Some(second));
    primary.kill_9();
    OpenOptions::new().write(true).open(&file).and_then(|file| file.set_len(on_disk)).expect("cut");
    primary.restart();
    primary.wait_for_replicas(1);
    drop(store);
    let store = open(&primary, "durability=replicas(1)").await;
    assert_eq!(shown(&store).await, Some(first), "confirmed, and gone");
    drop(replica);

    let primary = server(Fsync::Always).start();
    let _replica = server(Fsync::Always).replica_of(&primary).start();
    primary.wait_for_replicas(1);
    let said = open(&primary, "durability=replicas(1)").await.report().can_lose();
    assert!(!said.contains("is back"), "{said}");
}
