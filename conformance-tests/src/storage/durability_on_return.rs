//! *When `commit` returns `Applied`, the record survives what the store promises.*
//!
//! Why: a consumed code that comes back after a restart works twice. For a store that promises
//! nothing beyond the process, reopening is no change, and the tests still hold.

use grantor::storage::{CommitOutcome, Kind, Listing};

use super::{
    Backend, CommitExt as _, StorageExt as _, assert_same_keys, create, index, key, stored,
};

/// Records, their last replacement, their index entries and their absence: all as acknowledged.
pub async fn what_was_acknowledged_is_there_after_reopening<B: Backend>() {
    let mut backend = B::create().await;
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
                "Durability: after reopening, {:?} is not as it was acknowledged; a used code \
                 would work again",
                commit.key
            );
        }
        let keys: Vec<_> = expected.iter().map(|commit| commit.key.clone()).collect();
        for listing in [Listing::Index(index("user:1")), Listing::Kind(Kind::Grant)] {
            assert_same_keys(
                &store.keys(&listing, 7).await,
                &keys,
                "Durability: an index is as complete after reopening as it was",
            );
        }
    }
}

/// The loser of a race left nothing behind that an opening could bring up.
pub async fn a_conflict_leaves_nothing_to_reopen<B: Backend>() {
    let backend = B::create().await;
    let key = key(Kind::Grant, "grant");
    let winner = create(&key, "winner");
    backend.store().apply(&winner).await;
    let loser = create(&key, "loser");
    assert_eq!(
        backend.store().try_commit(&loser).await,
        CommitOutcome::Conflict,
        "Conflict: the record exists"
    );
    let backend = backend.reopen().await;
    assert_eq!(
        backend.store().get(&key).await,
        Some(stored(&winner)),
        "Durability: a commit that was answered with a conflict came back"
    );
}
