//! What the tests are written with.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Cursor, Index, Key, Kind, Listing, NewRecord, Storage,
    StorageError, Stored,
};
use tokio::task::JoinHandle;

/// A commit id that was not used before in this process.
pub(crate) fn fresh_id() -> CommitId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0xc1; 16];
    let (_, tail) = bytes.split_at_mut(8);
    tail.copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    CommitId::from_bytes(bytes)
}

/// The key of this kind and text.
pub(crate) fn key(kind: Kind, id: impl AsRef<[u8]>) -> Key {
    Key::new(kind, id.as_ref()).expect("a short key")
}

/// The index of this name.
pub(crate) fn index(name: &str) -> Index {
    Index::new(name).expect("the name of an index")
}

/// 2100-01-01: no clock of a store gets there while a test runs.
const EPOCH: i64 = 4_102_444_800_000;

/// A moment, in milliseconds after the beginning of the test's time.
pub(crate) const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(EPOCH.saturating_add(millis))
}

/// What a task returned; its panic is that of the test.
pub(crate) async fn join<T>(task: JoinHandle<T>) -> T {
    match task.await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => resume_unwind(payload),
            Err(error) => panic!("a task of the test was lost: {error}"),
        },
    }
}

/// Polls a future at most so many times, whenever it asks to be, then drops it; its output, if it
/// ended.
pub(crate) async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// A commit that creates this record, to be adjusted.
pub(crate) fn create(key: &Key, value: impl AsRef<[u8]>) -> Commit {
    Commit {
        key: key.clone(),
        expect: None,
        id: fresh_id(),
        record: NewRecord {
            value: value.as_ref().to_vec(),
            purge_at: at(1_000),
            indexes: Vec::new(),
        },
    }
}

/// Readable adjustments of a [`Commit`].
pub(crate) trait CommitExt: Sized {
    /// Replaces what this commit wrote.
    fn after(self, expect: CommitId) -> Self;
    /// May be removed from then on.
    fn purge_at(self, millis: i64) -> Self;
    /// Introduces these index entries.
    fn indexed(self, names: &[&str]) -> Self;
}

impl CommitExt for Commit {
    fn after(mut self, expect: CommitId) -> Self {
        self.expect = Some(expect);
        self
    }

    fn purge_at(mut self, millis: i64) -> Self {
        self.record.purge_at = at(millis);
        self
    }

    fn indexed(mut self, names: &[&str]) -> Self {
        self.record.indexes = names.iter().map(|name| index(name)).collect();
        self
    }
}

/// What a load returns once this commit was applied.
pub(crate) fn stored(commit: &Commit) -> Stored {
    Stored {
        commit: commit.id,
        value: commit.record.value.clone(),
        purge_at: commit.record.purge_at,
    }
}

/// A store that cannot tell any more whether a walk came by everything: it is begun again.
#[derive(Debug)]
pub(crate) struct LostItsPlace;

/// How often a walk is begun until it gets to its end.
const MAX_WALKS: usize = 100;

/// How many pages without a new key, or steps of a sweep, are too many. A store that walks what others
/// keep beside it has many of them.
const MAX_IDLE: usize = 100_000;

/// Calls of the store that are expected to succeed.
pub(crate) trait StorageExt: Storage {
    async fn try_commit(&self, commit: &Commit) -> CommitOutcome {
        self.commit(commit.clone()).await.expect("a healthy store takes a commit")
    }

    async fn apply(&self, commit: &Commit) {
        let outcome = self.try_commit(commit).await;
        assert_eq!(
            outcome,
            CommitOutcome::Applied,
            "nobody else was writing, and the stored record is the expected one"
        );
    }

    async fn get(&self, key: &Key) -> Option<Stored> {
        let mut found = self.load(std::slice::from_ref(key)).await.expect("a healthy store loads");
        assert_eq!(found.len(), 1, "a load answers once for each key");
        found.pop().flatten()
    }

    /// All keys of a listing, in pages of `limit`: those of an index as they are listed, those of a
    /// kind sorted and once, since a walk may come by them in any order and more than once.
    async fn keys(&self, listing: &Listing, limit: usize) -> Vec<Key> {
        for _ in 0..MAX_WALKS {
            let Ok(mut keys) = self.walk(listing, limit).await else { continue };
            if matches!(listing, Listing::Kind(_)) {
                keys.sort();
                keys.dedup();
            }
            return keys;
        }
        panic!("a healthy store gets to the end of a walk, sooner or later");
    }

    /// The same as it is listed. `Err`: the store cannot tell whether it came by everything.
    async fn walk(&self, listing: &Listing, limit: usize) -> Result<Vec<Key>, LostItsPlace> {
        let mut keys = Vec::new();
        let mut known = BTreeSet::new();
        let mut after = None;
        let mut idle = 0;
        loop {
            let page = match (self.list(listing, after.as_ref(), limit).await, listing) {
                (Err(StorageError::Unavailable { .. }), Listing::Kind(_)) => {
                    return Err(LostItsPlace);
                }
                (page, _) => page.expect("a healthy store lists"),
            };
            assert!(
                page.keys.len() <= limit,
                "a page of at most {limit} holds {}",
                page.keys.len()
            );
            if let Listing::Kind(kind) = listing {
                let stranger = page.keys.iter().find(|key| key.kind() != *kind);
                assert_eq!(stranger, None, "a walk over {kind:?} came by a key of another kind");
            }
            idle += 1;
            for key in page.keys {
                if known.insert(key.clone()) {
                    idle = 0;
                    keys.push(key);
                } else {
                    assert!(
                        matches!(listing, Listing::Kind(_)),
                        "an index has a key once, and {key:?} was listed again"
                    );
                }
            }
            match page.next {
                Some(next) => {
                    assert!(
                        idle == 0 || after.as_ref() != Some(&next),
                        "a listing must get on: a page without a new key led to its own cursor"
                    );
                    assert!(idle < MAX_IDLE, "a listing must end: {idle} pages had no new key");
                    after = Some(next);
                }
                None => return Ok(keys),
            }
        }
    }

    /// Sweeps the whole store in steps of `budget`; how many items were removed.
    async fn sweep_all(&self, now: i64, budget: usize) -> usize {
        self.sweep_until(at(now), budget).await
    }

    async fn sweep_until(&self, now: Timestamp, budget: usize) -> usize {
        let mut removed = 0;
        let mut after: Option<Cursor> = None;
        for _ in 0..MAX_IDLE {
            let swept =
                self.sweep(now, after.as_ref(), budget).await.expect("a healthy store sweeps");
            assert!(
                swept.examined <= budget && swept.removed <= swept.examined,
                "a sweep with a budget of {budget} examined {} and removed {}: the budget is what \
                 keeps a sweep from stopping the server",
                swept.examined,
                swept.removed
            );
            removed += swept.removed;
            match swept.next {
                Some(next) => after = Some(next),
                None => return removed,
            }
        }
        panic!("a sweep of a store that nobody writes to must end");
    }
}

impl<S: Storage + ?Sized> StorageExt for S {}

/// Asserts that a listing holds each of these keys once.
pub(crate) fn assert_same_keys(listed: &[Key], expected: &[Key], why: &str) {
    let found: BTreeSet<_> = listed.iter().collect();
    assert_eq!(found.len(), listed.len(), "{why}: a key was listed twice");
    assert_eq!(found, expected.iter().collect(), "{why}");
}
