use std::collections::BTreeMap;

use futures_channel::oneshot;
use grantor::storage::{CommitId, Index, Kind};
use proptest::prelude::*;

use super::*;

/// A runtime is not needed: this waits for a future on the thread of the test.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        let mut context = std::task::Context::from_waker(&waker);
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}

fn creation(n: u8) -> Commit {
    Commit {
        key: Key::new(Kind::Grant, [n]).expect("a short key"),
        expect: None,
        id: CommitId::from_bytes([n; 16]),
        record: NewRecord {
            value: vec![n],
            purge_at: Timestamp::from_millis(1),
            indexes: Vec::new(),
        },
    }
}

#[test]
fn after_a_failed_fsync_nothing_is_served_until_the_store_is_opened_again() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let storage = SledStorage::open(directory.path()).expect("opens");
    let [durable, doubtful, late] = [1, 2, 3].map(creation);
    let outcome = block_on(storage.commit(durable.clone())).expect("healthy");
    assert_eq!(outcome, CommitOutcome::Applied);

    storage.shared.break_barrier();
    let refused = |error| matches!(error, StorageError::Unavailable { .. });
    let failed = block_on(storage.commit(doubtful.clone()));
    assert!(failed.is_err_and(refused), "its fsync failed");
    // Neither a second try nor a read may pretend that nothing happened.
    for _ in 0..3 {
        assert!(block_on(storage.commit(late.clone())).is_err_and(refused));
        assert!(block_on(storage.load(std::slice::from_ref(&durable.key))).is_err_and(refused));
        let listed = block_on(storage.list(&Listing::Kind(Kind::Grant), None, 10));
        assert!(listed.is_err_and(refused));
        assert!(block_on(storage.sweep(Timestamp::EPOCH, None, 10)).is_err_and(refused));
        assert!(block_on(storage.ready()).is_err_and(refused));
    }

    drop(storage);
    let storage = SledStorage::open(directory.path()).expect("opens again");
    let keys = [durable.key, doubtful.key, late.key];
    let found = block_on(storage.load(&keys)).expect("healthy");
    assert!(
        matches!(&found[..], [Some(_), _, None]),
        "what was acknowledged is there, what was doubtful may be, what was refused is not"
    );
}

/// Asks until there is an answer.
fn again<T>(ask: impl Fn() -> Result<T, StorageError>) -> T {
    let begun = std::time::Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(120), "{error}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_disk_that_does_not_answer_keeps_nobody_waiting() {
    // ATTACKS K04.
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let storage = SledConfig::new()
        .patience(Duration::from_millis(20))
        .open(directory.path())
        .expect("opens");
    let answers = storage.shared.stall_barrier();
    let unanswered = |error| matches!(error, StorageError::Unavailable { .. });
    assert!(block_on(storage.commit(creation(1))).is_err_and(unanswered));
    // Refused at once: nothing else comes near the disk.
    assert!(block_on(storage.commit(creation(2))).is_err_and(unanswered));
    assert!(block_on(storage.load(&[creation(1).key])).is_err_and(unanswered));
    assert!(block_on(storage.ready()).is_err_and(unanswered));

    drop(answers);
    // On a busy machine a barrier may be slower than this patience.
    let outcome = again(|| block_on(storage.commit(creation(2))));
    assert_eq!(outcome, CommitOutcome::Applied);
    let found = again(|| block_on(storage.load(&[creation(1).key])));
    assert!(found[0].is_some(), "what was under way did happen");
}

#[test]
fn what_is_not_durable_is_not_shown() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let storage = SledStorage::open(directory.path()).expect("opens");
    let commit = creation(1);
    // Applied, and its barrier not asked for yet.
    let applied = storage.shared.with(|engine| engine.apply(&commit)).expect("healthy");
    assert_eq!(applied, Applied::Yes);
    let shown = |durable| {
        let keys = std::slice::from_ref(&commit.key);
        let (found, known) = storage.shared.with(|engine| engine.load(keys)).expect("healthy");
        assert_eq!((found.len(), known), (1, durable));
    };
    shown(false);
    let found = block_on(storage.load(std::slice::from_ref(&commit.key))).expect("healthy");
    assert!(found[0].is_some());
    shown(true);

    let mut second = creation(1);
    (second.expect, second.id) = (Some(second.id), CommitId::from_bytes([9; 16]));
    storage.shared.break_barrier();
    storage.shared.with(|engine| engine.apply(&second)).expect("applied");
    let answer = block_on(storage.load(std::slice::from_ref(&commit.key)));
    assert!(answer.is_err(), "its barrier fails, so nobody may see it");
}

#[test]
fn every_waiter_is_answered_when_the_fsync_fails() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let storage = Arc::new(SledStorage::open(directory.path()).expect("opens"));
    storage.shared.break_barrier();
    let waiters: Vec<_> = (0..32)
        .map(|n| {
            let storage = Arc::clone(&storage);
            let (sender, receiver) = oneshot::channel();
            std::thread::spawn(move || {
                let _ = sender.send(block_on(storage.commit(creation(n))));
            });
            receiver
        })
        .collect();
    for waiter in waiters {
        let answer = block_on(waiter).expect("answered");
        assert!(answer.is_err(), "nothing may be called durable");
    }
}

/// Commits a few records, closes the store, changes it behind its back, and opens it again.
fn tampered(tamper: impl FnOnce(&Path)) -> Result<SledStorage, OpenError> {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let storage = SledStorage::open(directory.path()).expect("opens");
    for n in 0..10 {
        let mut commit = creation(n);
        commit.record.indexes = vec![Index::new("user:1").expect("a name")];
        let outcome = block_on(storage.commit(commit)).expect("healthy");
        assert_eq!(outcome, CommitOutcome::Applied);
    }
    drop(storage);
    tamper(directory.path());
    SledStorage::open(directory.path())
}

fn listed(storage: &SledStorage, name: &str) -> Vec<Key> {
    let index = Listing::Index(Index::new(name).expect("a name"));
    block_on(storage.list(&index, None, 10)).expect("healthy").keys
}

#[test]
fn the_indexes_of_a_record_last_as_long_as_it_does() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let storage = SledStorage::open(directory.path()).expect("opens");
    let apply = |storage: &SledStorage, commit| {
        let outcome = block_on(storage.commit(commit)).expect("healthy");
        assert_eq!(outcome, CommitOutcome::Applied);
    };
    let mut commit = creation(1);
    let key = commit.key.clone();
    for (id, names) in [(1, &["user:1"][..]), (2, &["user:1", "user:2"]), (3, &[])] {
        commit.expect = Some(commit.id).filter(|_| id > 1);
        commit.id = CommitId::from_bytes([id; 16]);
        commit.record.indexes = names.iter().filter_map(|name| Index::new(name)).collect();
        apply(&storage, commit.clone());
    }
    apply(&storage, creation(2));
    drop(storage);

    let storage = SledStorage::open(directory.path()).expect("opens again");
    for name in ["user:1", "user:2"] {
        assert_eq!(listed(&storage, name), std::slice::from_ref(&key), "{name}");
    }
    let swept = block_on(storage.sweep(Timestamp::from_millis(1), None, 10)).expect("healthy");
    assert_eq!((swept.examined, swept.removed), (2, 2));
    for name in ["user:1", "user:2"] {
        assert_eq!(listed(&storage, name), [], "{name}");
    }
}

#[test]
fn a_sweep_looks_where_something_is_due_and_at_little_else() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let create = |storage: &SledStorage, n: u8, due: i64| {
        let mut commit = creation(n);
        commit.record.purge_at = Timestamp::from_millis(due);
        let outcome = block_on(storage.commit(commit)).expect("healthy");
        assert_eq!(outcome, CommitOutcome::Applied);
    };
    let sweep = |storage: &SledStorage, now| sweep_all(storage, now, 3);
    let storage = SledStorage::open(directory.path()).expect("opens");
    // Made one after the other, and ten of them in the middle not for long.
    for n in 0..200 {
        create(&storage, n, if (90..100).contains(&n) { 1_000 } else { 5_000 + i64::from(n) });
    }
    assert_eq!(sweep(&storage, 999), (0, 0));
    let (examined, removed) = sweep(&storage, 1_000);
    assert_eq!(removed, 10);
    assert!(examined < 25, "{examined} of 200");

    // What one that was closed knew, one that opens finds out.
    create(&storage, 95, 2_000);
    drop(storage);
    let storage = SledStorage::open(directory.path()).expect("opens again");
    let (examined, removed) = sweep(&storage, 2_000);
    assert_eq!(removed, 1);
    assert!(examined < 10, "{examined} of 191");
    assert_eq!(sweep(&storage, 2_000), (0, 0));
    assert_eq!(sweep(&storage, 10_000).1, 190);
}

#[derive(Clone, Debug)]
enum Call {
    Write { key: u8, due: i64 },
    Sweep { now: i64, budget: usize },
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        5 => (0..60_u8, 0..100_i64).prop_map(|(key, due)| Call::Write { key, due }),
        1 => (0..100_i64, 1..40_usize).prop_map(|(now, budget)| Call::Sweep { now, budget }),
    ]
}

/// Sweeps to the end; how many records were examined, and how many removed.
fn sweep_all(storage: &SledStorage, now: i64, budget: usize) -> (usize, usize) {
    let now = Timestamp::from_millis(now);
    let (mut examined, mut removed) = (0, 0);
    let mut next = Some(Cursor(Vec::new()));
    while let Some(cursor) = next {
        let swept = block_on(storage.sweep(now, Some(&cursor), budget)).expect("healthy");
        examined += swept.examined;
        removed += swept.removed;
        next = swept.next;
    }
    (examined, removed)
}

fn keys(storage: &SledStorage) -> Vec<u8> {
    let listed = block_on(storage.list(&Listing::Kind(Kind::Grant), None, 1_000));
    let keys = listed.expect("healthy").keys;
    keys.iter().flat_map(|key| key.id().to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_due_is_removed_and_nothing_else(
        calls in prop::collection::vec(call(), 0..150),
    ) {
        let directory = tempfile::TempDir::new().expect("a temporary directory");
        let storage = SledStorage::open(directory.path()).expect("opens");
        let mut expected: BTreeMap<u8, (i64, CommitId)> = BTreeMap::new();
        for (number, call) in calls.into_iter().enumerate() {
            match call {
                Call::Write { key, due } => {
                    let mut commit = creation(key);
                    commit.id = CommitId::from_bytes((number as u128).to_be_bytes());
                    commit.record.purge_at = Timestamp::from_millis(due);
                    let before = expected.insert(key, (due, commit.id));
                    commit.expect = before.map(|(_, id)| id);
                    let outcome = block_on(storage.commit(commit)).expect("healthy");
                    prop_assert_eq!(outcome, CommitOutcome::Applied);
                }
                Call::Sweep { now, budget } => {
                    sweep_all(&storage, now, budget);
                    expected.retain(|_, (due, _)| *due > now);
                    let left: Vec<_> = expected.keys().copied().collect();
                    prop_assert_eq!(keys(&storage), left);
                }
            }
        }
        drop(storage);
        let storage = SledStorage::open(directory.path()).expect("opens again");
        sweep_all(&storage, 50, 7);
        expected.retain(|_, (due, _)| *due > 50);
        prop_assert_eq!(keys(&storage), expected.keys().copied().collect::<Vec<_>>());
        sweep_all(&storage, 100, 7);
        prop_assert!(keys(&storage).is_empty());
    }
}

fn with_sled(path: &Path, change: impl FnOnce(&sled::Db) -> sled::Result<()>) {
    let db =
        sled::Config::new().path(path).segment_size(open::SEGMENT_SIZE).open().expect("sled opens");
    change(&db).expect("sled changes");
    db.flush().expect("sled flushes");
}

fn first(tree: &sled::Tree) -> sled::Result<(sled::IVec, sled::IVec)> {
    tree.first().map(|found| found.expect("the tree is not empty"))
}

#[test]
fn what_sled_does_not_miss_the_ledger_does() {
    tampered(|_| ()).expect("nothing is missing");

    let missing_record = tampered(|path| {
        with_sled(path, |db| {
            let records = db.open_tree("records")?;
            let (key, _) = first(&records)?;
            records.remove(key).map(drop)
        });
    });
    let older_mark = tampered(|path| with_sled(path, |db| db.open_tree("meta")?.clear()));
    let everything = tampered(|path| {
        for file in std::fs::read_dir(path).expect("it is there") {
            let file = file.expect("it is there").path();
            if file.is_file() && !file.ends_with(state_file::NAME) {
                std::fs::remove_file(file).expect("it is ours");
            }
        }
    });
    let state_file = tampered(|path| {
        std::fs::remove_file(path.join(state_file::NAME)).expect("it is there");
    });
    for (what, opened) in [
        ("a record", missing_record),
        ("the mark", older_mark),
        ("everything of sled", everything),
        ("the state file", state_file),
    ] {
        assert!(
            matches!(opened, Err(OpenError::Damaged { .. })),
            "{what} is missing, and the store opens: {opened:?}"
        );
    }
}

#[test]
fn a_snapshot_that_was_cut_short_is_no_damage() {
    for left_behind in [&b""[..], b"half a snapshot, without its checksum"] {
        tampered(|path| {
            let name = "snap.FFFFFFFFFFFFFFFF.generating";
            std::fs::write(path.join(name), left_behind).expect("it is ours");
        })
        .expect("the snapshot before it is whole");
    }
}

#[test]
fn an_older_version_of_a_record_is_noticed() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let storage = SledStorage::open(directory.path()).expect("opens");
    let _ = block_on(storage.commit(creation(1))).expect("healthy");
    drop(storage);
    let mut old = None;
    with_sled(directory.path(), |db| {
        old = Some(first(&db.open_tree("records")?)?);
        Ok(())
    });
    let storage = SledStorage::open(directory.path()).expect("opens");
    let mut second = creation(1);
    (second.expect, second.id) = (Some(second.id), CommitId::from_bytes([9; 16]));
    let outcome = block_on(storage.commit(second)).expect("healthy");
    assert_eq!(outcome, CommitOutcome::Applied);
    drop(storage);
    with_sled(directory.path(), |db| {
        let (key, bytes) = old.expect("it was read");
        db.open_tree("records")?.insert(key, bytes).map(drop)
    });
    let opened = SledStorage::open(directory.path());
    assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{opened:?}");
}

fn in_format(format: u32) -> Result<SledStorage, OpenError> {
    tampered(|path| {
        let path = path.join(state_file::NAME);
        let mut bytes = std::fs::read(&path).expect("it is there");
        bytes[8..12].copy_from_slice(&format.to_be_bytes());
        let sum = crc32fast::hash(&bytes[..20]).to_be_bytes();
        bytes[20..].copy_from_slice(&sum);
        std::fs::write(path, bytes).expect("it is ours");
    })
}

#[test]
fn an_older_format_is_refused_as_such() {
    let opened = in_format(1);
    assert!(matches!(opened, Err(OpenError::Older { found: 1, .. })), "{opened:?}");
}

#[test]
fn a_newer_format_is_refused_as_such() {
    let opened = in_format(state_file::FORMAT + 1);
    assert!(
        matches!(opened, Err(OpenError::Newer { found, .. }) if found == state_file::FORMAT + 1),
        "{opened:?}"
    );
}

#[test]
fn a_creation_that_was_cut_short_is_finished() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join(state_file::NAME), b"gra").expect("it is ours");
    SledStorage::open(directory.path()).expect("there was nothing to lose");
}

#[test]
fn the_largest_values_stay_inside_the_log() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let storage = Arc::new(SledStorage::open(directory.path()).expect("opens"));
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let storage = Arc::clone(&storage);
            std::thread::spawn(move || {
                for n in 0..16 {
                    let mut commit = creation(writer * 16 + n);
                    commit.record.value = vec![n; NewRecord::MAX_VALUE_LEN];
                    let outcome = block_on(storage.commit(commit)).expect("healthy");
                    assert_eq!(outcome, CommitOutcome::Applied);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().expect("no writer panics");
    }
    let mut blobs = std::fs::read_dir(directory.path().join("blobs")).expect("sled makes it");
    assert!(blobs.next().is_none(), "sled does not sync the files in there");
}

#[test]
fn no_async_runtime_is_needed_and_dropping_frees_the_directory() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    for n in 0..5 {
        let storage = SledStorage::open(directory.path()).expect("free at once");
        let outcome = block_on(storage.commit(creation(n))).expect("healthy");
        assert_eq!(outcome, CommitOutcome::Applied);
    }
}
