//! What goes wrong with a real server: connections that are cut at any byte, a crash, a freeze, a row that
//! somebody else has locked, a standby, a database that forgets, a table that was damaged.
//!
//! Whatever it is, the store answers in time, with what is true or with `Unavailable`.

#![expect(clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

use std::sync::Arc;
use std::time::Duration;

use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Durability, Index, Key, Kind, Listing, NewRecord, Storage,
    StorageError,
};
use grantor_conformance::postgres::{Cut, FaultProxy, Server, shared_server};
use grantor_conformance::storage::crash::{Ledger, write};
use grantor_example_postgres::PostgresStorage;

/// For calls that are to be answered, however busy the machine is.
const UNHURRIED: Duration = Duration::from_secs(30);
/// For calls that nobody will answer.
const SHORT: Duration = Duration::from_millis(300);

async fn open(url: &str, patience: Duration) -> PostgresStorage {
    PostgresStorage::open(url, patience).await.expect("the store opens")
}

fn key(name: &str) -> Key {
    Key::new(Kind::Grant, name.as_bytes()).expect("a short key")
}

/// The commit with this number, which is also its value and its id.
fn commit(name: &str, number: u8, expect: Option<u8>) -> Commit {
    let id = |number| CommitId::from_bytes([number; 16]);
    let purge_at = Timestamp::from_millis(4_102_444_800_000);
    let indexes = vec![Index::new("user:1").expect("the name of an index")];
    let record = NewRecord { value: vec![number], purge_at, indexes };
    Commit { key: key(name), expect: expect.map(id), id: id(number), record }
}

async fn apply(store: &PostgresStorage, commit: Commit) {
    assert_eq!(store.commit(commit).await.expect("answered"), CommitOutcome::Applied);
}

async fn value(store: &PostgresStorage, name: &str) -> Option<Vec<u8>> {
    let mut found = store.load(&[key(name)]).await.expect("answered");
    found.pop().flatten().map(|stored| stored.value)
}

/// Which of the two sides of the wire is cut.
type Side = fn(usize) -> Cut;

/// The connection is cut at one byte after the other of what a commit takes: its outcome is then unknown, and
/// sent again as it is, it is applied, once. A second attempt by another is told that it lost.
///
/// ATTACKS K04, K08.
async fn a_cut_at_every_byte(side: Side, step: usize) -> (usize, usize) {
    let (server, schema) = (shared_server(), shared_server().schema());
    let proxy = FaultProxy::to(server);
    let through = format!("{}?options[search_path]={}", proxy.url(), schema.name());
    let (store, direct) = (open(&through, UNHURRIED).await, open(&schema.url(), UNHURRIED).await);
    // From here on nothing of it is said for the first time.
    for (number, expect) in [(1, None), (2, Some(1))] {
        apply(&store, commit("before", number, expect)).await;
    }
    let (mut cuts, mut applied_all_the_same) = (0, 0);
    for at in (0..).step_by(step) {
        let name = format!("at {at}");
        apply(&direct, commit(&name, 1, None)).await;
        proxy.cut(side(at));
        let wanted = commit(&name, 2, Some(1));
        let first = store.commit(wanted.clone()).await;
        let still_to_come = proxy.mend();
        match first {
            Ok(outcome) => assert_eq!(outcome, CommitOutcome::Applied, "cut at byte {at}"),
            Err(StorageError::Unavailable { .. }) => {
                let there = value(&direct, &name).await == Some(vec![2]);
                applied_all_the_same += usize::from(there);
            }
            Err(error) => panic!("cut at byte {at}: {error}"),
        }
        // As the engine does where it does not know.
        apply(&store, wanted).await;
        assert_eq!(value(&direct, &name).await, Some(vec![2]), "cut at byte {at}");
        let late = direct.commit(commit(&name, 3, Some(1))).await.expect("answered");
        assert_eq!(late, CommitOutcome::Conflict, "cut at byte {at}");
        if still_to_come {
            return (cuts, applied_all_the_same);
        }
        cuts += 1;
    }
    unreachable!("a commit takes so many bytes and no more")
}

/// Every byte with `GRANTOR_FULL=1`.
fn step() -> usize {
    if std::env::var_os("GRANTOR_FULL").is_some() { 1 } else { 7 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_cut_anywhere_can_be_sent_again() {
    let (cuts, _) = a_cut_at_every_byte(Cut::Request, step()).await;
    assert!(cuts > 10, "only {cuts} cuts");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_anywhere_can_be_asked_for_again() {
    let (cuts, applied) = a_cut_at_every_byte(Cut::Reply, 1).await;
    assert!(cuts > 10, "only {cuts} cuts");
    assert!(applied > 5, "only {applied} commits were applied whose answer was lost");
}

/// The server is killed while many write, and started again: all that was acknowledged or shown is there,
/// although this server would by default answer before it has written. The store that was open goes on.
///
/// ATTACKS K05.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_crash_of_the_server() {
    let server = Server::options().config("synchronous_commit", "off").start();
    let store = Arc::new(open(&server.url(), UNHURRIED).await);
    assert_eq!(store.promises().durability, Durability::Power);
    let mut ledger = Arc::new(Ledger::default());
    let rounds = if std::env::var_os("GRANTOR_FULL").is_some() { 40 } else { 3 };
    for round in 0..rounds {
        // All records are looked at after each crash, so not for ever more of them.
        if round > 0 && round % 5 == 0 {
            server.sql("TRUNCATE grantor");
            ledger = Arc::default();
        }
        let crash = ledger.acknowledged() + 50 + round * 97 % 500;
        // Those whose calls fail write no more; those who waited for a connection go on.
        let writers = tokio::spawn(write(store.clone(), Arc::clone(&ledger), crash + 100));
        while ledger.acknowledged() < crash {
            tokio::task::yield_now().await;
        }
        tokio::task::block_in_place(|| {
            server.kill_9();
            server.restart();
        });
        writers.await.expect("no writer saw anything wrong");
        let problems = ledger.check(&*store).await;
        assert!(problems.is_empty(), "after crash {round}: {problems:?}\n{}", server.log_tail());
    }
}

/// Nobody waits longer than was said, whatever the store is asked, and afterwards it is as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_unavailable_in_time_and_recovers() {
    let server = Server::start();
    let store = open(&server.url(), SHORT).await;
    apply(&store, commit("grant", 1, None)).await;
    tokio::task::block_in_place(|| server.freeze());
    // More than there are connections.
    for number in 0..12 {
        let refused = tokio::time::timeout(UNHURRIED, store.commit(commit("grant", 2, Some(1))));
        let refused = refused.await.expect("a call ends in time");
        assert!(matches!(refused, Err(StorageError::Unavailable { .. })), "{number}: {refused:?}");
    }
    let loaded = store.load(&[key("grant")]).await;
    assert!(matches!(loaded, Err(StorageError::Unavailable { .. })), "{loaded:?}");
    assert!(matches!(store.ready().await, Err(StorageError::Unavailable { .. })));
    tokio::task::block_in_place(|| server.thaw());
    let patient = open(&server.url(), UNHURRIED).await;
    // What was begun before the freeze may have been done since; a repetition is told so.
    apply(&patient, commit("grant", 2, Some(1))).await;
    assert_eq!(value(&patient, "grant").await, Some(vec![2]));
    until_ready(&store).await;
    assert_eq!(value(&store, "grant").await, Some(vec![2]));
}

/// Also a call that may take only a short time gets one on a busy machine, sooner or later.
async fn until_ready(store: &PostgresStorage) {
    for _ in 0..200 {
        if store.ready().await.is_ok() {
            return;
        }
    }
    panic!("the server is back, and the store is not");
}

/// Somebody has locked the row, by hand or in a backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_else_has_locked_is_not_waited_for_for_ever() {
    let schema = shared_server().schema();
    let store = open(&schema.url(), SHORT).await;
    apply(&store, commit("grant", 1, None)).await;
    let holder = sqlx::PgPool::connect(&schema.url()).await.expect("connected");
    let mut transaction = holder.begin().await.expect("begun");
    let locked = sqlx::query("SELECT FROM grantor FOR UPDATE").execute(&mut *transaction).await;
    assert_eq!(locked.expect("locked").rows_affected(), 1);
    let refused = store.commit(commit("grant", 2, Some(1))).await;
    assert!(matches!(refused, Err(StorageError::Unavailable { .. })), "{refused:?}");
    // Readers wait for nobody.
    assert_eq!(value(&store, "grant").await, Some(vec![1]));
    transaction.rollback().await.expect("given back");
    apply(&store, commit("grant", 2, Some(1))).await;
}

/// Without a server a call says so, in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_unavailable_and_found_again() {
    let server = Server::start();
    let store = open(&server.url(), SHORT).await;
    apply(&store, commit("grant", 1, None)).await;
    tokio::task::block_in_place(|| server.stop());
    let listed = store.list(&Listing::Kind(Kind::Grant), None, 10).await;
    assert!(matches!(listed, Err(StorageError::Unavailable { .. })), "{listed:?}");
    tokio::task::block_in_place(|| server.restart());
    until_ready(&store).await;
    assert_eq!(value(&store, "grant").await, Some(vec![1]));
}

/// A server that does not write through promises no more than it keeps.
///
/// ATTACKS K06.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_lose_what_it_answered_is_not_called_safe() {
    for setting in ["fsync", "full_page_writes"] {
        let server = Server::options().config(setting, "off").start();
        let store = open(&server.url(), UNHURRIED).await;
        assert_eq!(store.promises().durability, Durability::Process, "{setting}");
    }
}

/// Where somebody has made a stricter isolation the default, whoever loses a race is told so all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_isolation_level_does_not_depend_on_defaults() {
    let server = Server::options().config("default_transaction_isolation", "serializable").start();
    let store = Arc::new(open(&server.url(), UNHURRIED).await);
    apply(&store, commit("grant", 0, None)).await;
    let tasks = (1..=100).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(commit("grant", number, Some(0))).await })
    });
    let mut applied = 0;
    for task in tasks.collect::<Vec<_>>() {
        let outcome = task.await.expect("no panic").expect("a race is no error");
        applied += usize::from(outcome == CommitOutcome::Applied);
    }
    assert_eq!(applied, 1);
}

/// A standby may show what is old, so it is refused, although it answers.
///
/// ATTACKS K07.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_refused() {
    let server = Server::start();
    drop(open(&server.url(), UNHURRIED).await);
    server.stand_by();
    assert_eq!(server.sql("SELECT pg_is_in_recovery(), count(*) FROM grantor"), "t|0");
    let refused = PostgresStorage::open(&server.url(), SHORT).await.expect_err("a standby");
    assert!(matches!(refused, sqlx::Error::PoolTimedOut), "{refused}");
    server.sql("SELECT pg_promote()");
    open(&server.url(), UNHURRIED).await;
}

/// What is not ours is told apart from what is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_is_called_damaged() {
    let schema = shared_server().schema();
    let store = open(&schema.url(), UNHURRIED).await;
    apply(&store, commit("grant", 1, None)).await;
    let name = schema.name();
    shared_server().sql(&format!("UPDATE {name}.grantor SET version = '\\x00'"));
    let loaded = store.load(&[key("grant")]).await;
    assert!(matches!(loaded, Err(StorageError::Damaged { .. })), "{loaded:?}");
    let too_long = "decode(repeat('02', 130), 'hex')";
    shared_server()
        .sql(&format!("INSERT INTO {name}.grantor VALUES ({too_long}, '', '', 0, '{{}}')"));
    let listed = store.list(&Listing::Kind(Kind::Grant), None, 10).await;
    assert!(matches!(listed, Err(StorageError::Damaged { .. })), "{listed:?}");
    // Also the table may be gone; nobody is told what was in the statement.
    shared_server().sql(&format!("DROP TABLE {name}.grantor"));
    let refused = store.commit(commit("grant", 2, Some(1))).await.expect_err("there is no table");
    assert_eq!(refused.to_string(), "the storage is unavailable: PostgreSQL answered 42P01");
}
