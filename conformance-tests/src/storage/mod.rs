//! The storage contract as tests: one module a clause, one test a consequence.
//!
//! A backend runs all of them with a few lines in its own `tests/` directory:
//!
//! ```
//! use std::sync::Arc;
//!
//! use grantor::storage::MemoryStorage;
//! use grantor_conformance::storage::Backend;
//!
//! struct Memory(Arc<MemoryStorage>);
//!
//! impl Backend for Memory {
//!     type Store = MemoryStorage;
//!
//!     async fn create() -> Self {
//!         Self(Arc::new(MemoryStorage::new()))
//!     }
//!
//!     fn store(&self) -> Arc<MemoryStorage> {
//!         Arc::clone(&self.0)
//!     }
//!
//!     async fn reopen(self) -> Self {
//!         self
//!     }
//! }
//!
//! grantor_conformance::storage_suite!(Memory);
//! # fn main() {}
//! ```
//!
//! Nothing here sleeps or reads a clock, and nothing is skipped: a test that does not apply to what
//! a store [promises](grantor::storage::Promises) says so in its documentation. What a crash leaves
//! behind cannot be tested from inside a process; a backend that promises durability shows it by
//! killing a process of its own, as `grantor-sled` does.

pub mod atomicity;
pub mod cancellation;
pub mod conflict;
pub mod durability;
pub mod expiry;
pub mod history;
pub mod idempotence;
pub mod index;
pub mod isolation;
pub mod size;
pub mod sweep;
pub mod visibility;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Cursor, Index, Key, Kind, Listing, NewRecord, Storage, Stored,
};

/// A backend under test, with whatever its store needs around it: dropping it cleans up.
pub trait Backend: Sized + Send + 'static {
    /// The store.
    type Store: Storage;

    /// Makes an empty store that nothing else uses.
    fn create() -> impl Future<Output = Self> + Send;

    /// The store, to be shared by tasks.
    fn store(&self) -> Arc<Self::Store>;

    /// Closes the store and opens it again on the same data, as after a restart of the process. The
    /// suite has dropped all its references to the store. One that promises no durability returns
    /// itself.
    fn reopen(self) -> impl Future<Output = Self> + Send;
}

/// Makes a `#[test]` of every consequence of every clause, for one [`Backend`].
#[macro_export]
macro_rules! storage_suite {
    ($backend:ty) => {
        $crate::storage_suite! { @clauses $backend:
            atomicity {
                of_many_creations_one_is_applied
                of_many_replacements_one_is_applied
                a_chain_of_contended_replacements_loses_none
            }
            cancellation {
                a_dropped_commit_leaves_the_old_or_the_new_record
                a_dropped_commit_does_not_block_later_ones
                dropped_reads_have_no_effect
            }
            conflict {
                every_wrong_expectation_conflicts_and_writes_nothing
                a_purged_and_recreated_record_is_not_its_predecessor
            }
            durability {
                what_was_acknowledged_is_there_after_reopening
                a_conflict_leaves_nothing_to_reopen
            }
            expiry {
                nothing_vanishes_before_its_purge_at
                what_may_be_purged_is_swept
                a_replacement_that_lives_longer_stays
                a_record_replaced_during_the_sweep_stays
                the_ends_of_time_are_no_special_case
            }
            history {
                random_histories_agree_with_the_model
            }
            idempotence {
                a_repeated_commit_is_applied_once
                a_commit_may_be_repeated_after_reopening
                a_superseded_commit_is_not_applied_again
                repetitions_at_the_same_time_all_succeed
            }
            index {
                an_entry_outlives_the_commits_that_do_not_repeat_it
                an_entry_is_never_missing_under_concurrent_sweeps
                later_commits_may_add_entries
                entries_of_swept_records_are_swept
                indexes_do_not_mix
                a_listing_in_pages_is_complete_and_in_order
                a_listing_keeps_what_was_there_all_along
            }
            isolation {
                keys_and_kinds_do_not_mix
                a_load_answers_in_the_order_of_its_keys
                any_bytes_are_a_key
            }
            size {
                the_largest_of_everything_is_stored
                an_empty_value_is_a_value
                larger_values_are_refused_whole
            }
            sweep {
                a_sweep_keeps_to_its_budget_and_ends
                a_sweep_of_nothing_ends
                sweeping_is_idempotent
            }
            visibility {
                a_commit_is_seen_by_every_later_load
                nobody_sees_an_older_record_after_a_newer_one
            }
        }
    };
    (@clauses $backend:ty: $($clause:ident { $($test:ident)* })*) => {
        $(mod $clause {
            use super::*;
            $(#[test]
            fn $test() {
                $crate::storage::run($crate::storage::$clause::$test::<$backend>());
            })*
        })*
    };
}

/// Runs one test on a runtime of its own, with several threads.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(test);
}

/// A commit id that was not used before in this process.
pub fn fresh_id() -> CommitId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0xc1; 16];
    let (_, tail) = bytes.split_at_mut(8);
    tail.copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    CommitId::from_bytes(bytes)
}

/// The key of this kind and text.
pub fn key(kind: Kind, id: impl AsRef<[u8]>) -> Key {
    Key::new(kind, id.as_ref()).expect("a short key")
}

/// The index of this name.
pub fn index(name: &str) -> Index {
    Index::new(name).expect("the name of an index")
}

/// A moment, in milliseconds.
pub const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A commit that creates this record, to be adjusted.
pub fn create(key: &Key, value: impl AsRef<[u8]>) -> Commit {
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
pub trait CommitExt: Sized {
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
pub fn stored(commit: &Commit) -> Stored {
    Stored {
        commit: commit.id,
        value: commit.record.value.clone(),
        purge_at: commit.record.purge_at,
    }
}

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
            "Atomicity: nobody else was writing, and the stored record is the expected one"
        );
    }

    async fn get(&self, key: &Key) -> Option<Stored> {
        let mut found = self.load(std::slice::from_ref(key)).await.expect("a healthy store loads");
        assert_eq!(found.len(), 1, "a load answers once for each key");
        found.pop().flatten()
    }

    /// All keys of a listing, in pages of `limit`.
    async fn keys(&self, listing: &Listing, limit: usize) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut after = None;
        loop {
            let page =
                self.list(listing, after.as_ref(), limit).await.expect("a healthy store lists");
            assert!(
                page.keys.len() <= limit,
                "a page of at most {limit} holds {}",
                page.keys.len()
            );
            let progressed = !page.keys.is_empty();
            keys.extend(page.keys);
            match page.next {
                Some(next) => {
                    assert!(
                        progressed || after.as_ref() != Some(&next),
                        "a listing must get on: an empty page led to its own cursor"
                    );
                    after = Some(next);
                }
                None => return keys,
            }
        }
    }

    /// Sweeps the whole store in steps of `budget`; how many items were removed.
    async fn sweep_all(&self, now: i64, budget: usize) -> usize {
        let mut removed = 0;
        let mut after: Option<Cursor> = None;
        for _ in 0..100_000 {
            let swept =
                self.sweep(at(now), after.as_ref(), budget).await.expect("a healthy store sweeps");
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
