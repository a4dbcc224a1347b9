//! *A commit whose own id is the one that is stored has been applied already: the answer is `Applied`,
//! and nothing is written again.*

use std::sync::Arc;

use grantor::storage::{Commit, CommitOutcome, Kind, Listing};
use tokio::sync::Barrier;

use super::toolkit::{CommitExt as _, StorageExt as _, create, index, join, key, stored};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Idempotence",
    why: "clients of a remote store repeat commands, and time out on commands that ran; our own retry must never look like a second use of a code, which ends the whole authorization.",
};

async fn repeat<B: Backend>(backend: &Opened<B>, commit: &Commit) {
    for attempt in 1..4 {
        assert_eq!(
            backend.store().try_commit(commit).await,
            CommitOutcome::Applied,
            "repetition {attempt} of a commit that was applied is refused; the engine would take \
             its own retry for a thief"
        );
        assert_eq!(
            backend.store().get(&commit.key).await,
            Some(stored(commit)),
            "a repetition changed the record"
        );
    }
}

/// A creation and a replacement, each sent again as it is.
///
/// ATTACKS K08.
pub async fn a_repeated_commit_is_applied_once<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let key = key(Kind::Grant, "grant");
    let first = create(&key, "first").indexed(&["user:1"]);
    backend.store().apply(&first).await;
    repeat(&backend, &first).await;
    let second = create(&key, "second").after(first.id);
    backend.store().apply(&second).await;
    repeat(&backend, &second).await;
    let listing = Listing::Index(index("user:1"));
    assert_eq!(
        backend.store().keys(&listing, 10).await,
        [key],
        "an entry that was introduced by a commit that was repeated is not listed once"
    );
}

/// The store need not remember in its memory what it has stored.
pub async fn a_commit_may_be_repeated_after_reopening<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let commit = create(&key(Kind::Grant, "grant"), "value");
    backend.store().apply(&commit).await;
    let backend = backend.reopen().await;
    repeat(&backend, &commit).await;
}

/// Once something else has replaced the record, the repetition is a conflict: it is not there to be
/// confirmed, and it must not come back.
pub async fn a_superseded_commit_is_not_applied_again<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let key = key(Kind::Grant, "grant");
    let first = create(&key, "first");
    backend.store().apply(&first).await;
    let second = create(&key, "second").after(first.id);
    backend.store().apply(&second).await;
    assert_eq!(
        backend.store().try_commit(&first).await,
        CommitOutcome::Conflict,
        "a delayed repetition answered for a record that is not its own"
    );
    assert_eq!(
        backend.store().get(&key).await,
        Some(stored(&second)),
        "a delayed repetition undid a later commit; a used code would be fresh again"
    );
}

/// The same attempt, many times at once: all are told that it is applied.
pub async fn repetitions_at_the_same_time_all_succeed<B: Backend>() {
    const REPETITIONS: usize = 16;
    let backend = Opened::<B>::create().await;
    for round in 0..16 {
        let commit = create(&key(Kind::Grant, format!("{round}")), "value").indexed(&["user:1"]);
        let start = Arc::new(Barrier::new(REPETITIONS));
        let tasks: Vec<_> = (0..REPETITIONS)
            .map(|_| {
                let (store, start) = (backend.store(), Arc::clone(&start));
                let commit = commit.clone();
                tokio::spawn(async move {
                    start.wait().await;
                    store.try_commit(&commit).await
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(
                join(task).await,
                CommitOutcome::Applied,
                "of one attempt that was sent {REPETITIONS} times, some were told \
                 that it lost against itself"
            );
        }
        assert_eq!(backend.store().get(&commit.key).await, Some(stored(&commit)));
    }
}
