//! *When `commit` returns `Applied`, the record survives what the store promises.*

use grantor::storage::{CommitOutcome, Kind, Listing};

use super::crash::{Loss, survives_kills};
use super::toolkit::{
    CommitExt as _, StorageExt as _, assert_same_keys, create, index, key, stored,
};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Durability on return",
    why: "a consumed code that comes back after a crash works twice, and a revoked token lives again.",
};

/// A process is killed while it writes, again and again: what it had acknowledged, or shown to a
/// load, is there when the store is opened again.
pub async fn what_was_acknowledged_survives_a_kill<B: Backend>() {
    survives_kills::<B>(Loss::Acknowledged).await;
}

/// Records, their last replacement, their index entries and their absence: all as acknowledged.
pub async fn what_was_acknowledged_is_there_after_reopening<B: Backend>() {
    let mut backend = Opened::<B>::create().await;
    let mut expected = Vec::new();
    for generation in 0..3 {
        let store = backend.store();
        for n in 0..40 {
            let key = key(Kind::Grant, format!("grant {generation}.{n}"));
            let first = create(&key, "first").indexed(&["user:1"]).purge_at(5_000);
            store.apply(&first).await;
            let last = create(&key, format!("last {n}")).after(first.id).purge_at(5_000);
            store.apply(&last).await;
            expected.push(last);
        }
        drop(store);
        backend = backend.reopen().await;
        let store = backend.store();
        for commit in &expected {
            assert_eq!(
                store.get(&commit.key).await,
                Some(stored(commit)),
                "after reopening, {:?} is not as it was acknowledged; a used code \
                 would work again",
                commit.key
            );
        }
        let keys: Vec<_> = expected.iter().map(|commit| commit.key.clone()).collect();
        for listing in [Listing::Index(index("user:1")), Listing::Kind(Kind::Grant)] {
            assert_same_keys(
                &store.keys(&listing, 7).await,
                &keys,
                "after reopening, an index or a kind does not list what was acknowledged",
            );
        }
    }
}

/// The loser of a race left nothing behind that an opening could bring up.
pub async fn a_conflict_leaves_nothing_to_reopen<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let key = key(Kind::Grant, "grant");
    let winner = create(&key, "winner");
    backend.store().apply(&winner).await;
    let loser = create(&key, "loser");
    assert_eq!(
        backend.store().try_commit(&loser).await,
        CommitOutcome::Conflict,
        "a creation was applied although the record exists"
    );
    let backend = backend.reopen().await;
    assert_eq!(
        backend.store().get(&key).await,
        Some(stored(&winner)),
        "a commit that was answered with a conflict came back"
    );
}
