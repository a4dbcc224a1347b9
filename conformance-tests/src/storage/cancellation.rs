//! *Dropping the future of `commit` at any point leaves the record as it was or as it should become,
//! and does not block or corrupt later calls. Dropping any other future has no effect.*
//!
//! Each call is polled once, twice and so on, and dropped wherever it stands then, until it ends.

use std::future::Future;

use grantor::storage::{CommitOutcome, Kind, Listing, Storage as _};

use super::toolkit::{
    CommitExt as _, StorageExt as _, assert_same_keys, at, create, index, key, poll_times, stored,
};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Cancellation",
    why: "a client that hangs up drops the future of its request, at any moment; what it began must \
          neither be half there nor stand in the way of others.",
};

/// More polls than any call needs that gets on.
const PATIENCE: usize = 10_000;
/// Where a call stands after so many polls is not the same every time.
const TRIES: usize = 5;

/// The numbers of polls after which this sort of call is dropped: all until it ends.
async fn every_await<T, F: Future<Output = Option<T>>>(mut dropped_after: impl FnMut(usize) -> F) {
    for polls in 0..PATIENCE {
        let mut ended = true;
        for _ in 0..TRIES {
            ended &= dropped_after(polls).await.is_some();
        }
        if ended {
            return;
        }
    }
    panic!("a call was polled {PATIENCE} times and did not end");
}

/// A replacement that introduces an index entry.
pub async fn a_dropped_commit_leaves_the_old_or_the_new_record<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let mut round = 0;
    every_await(|polls| {
        round += 1;
        let (store, key) = (&store, key(Kind::Grant, format!("grant {round}")));
        async move {
            let old = create(&key, "old");
            store.apply(&old).await;
            let new = create(&key, "new").after(old.id).indexed(&["user:1"]);
            let ended = poll_times(store.commit(new.clone()), polls).await;
            let found = store.get(&key).await;
            let (was, becomes) = (Some(stored(&old)), Some(stored(&new)));
            assert!(
                found == becomes || ended.is_none() && found == was,
                "a commit was dropped after {polls} polls ({}), and the record is neither the old \
                 nor the new one: {found:?}",
                if ended.is_some() { "it had ended" } else { "it had not ended" },
            );
            if found == becomes {
                assert!(
                    store.keys(&Listing::Index(index("user:1")), 100).await.contains(&key),
                    "a commit was dropped after {polls} polls; its record is there, and its index \
                     entry is not"
                );
            }
            ended
        }
    })
    .await;
}

/// Commits of one key are dropped wherever they stand, and the next one goes through.
pub async fn a_dropped_commit_does_not_block_later_ones<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let key = key(Kind::Grant, "grant");
    let mut last = create(&key, "first");
    backend.store().apply(&last).await;
    let store = backend.store();
    every_await(|polls| {
        let (store, key) = (&store, &key);
        async move {
            let expect = store.get(key).await.expect("it was created").commit;
            let dropped = create(key, "dropped").after(expect).indexed(&["user:1"]);
            let ended = poll_times(store.commit(dropped.clone()), polls).await;
            // The dropped one may still happen, once.
            for _ in 0..2 {
                let expect = store.get(key).await.expect("nothing removes it").commit;
                let next = create(key, "next").after(expect);
                if store.try_commit(&next).await == CommitOutcome::Applied {
                    return ended;
                }
            }
            panic!(
                "after a commit that was dropped after {polls} polls nobody can commit any more"
            );
        }
    })
    .await;
    let expect = store.get(&key).await.expect("nothing removes it").commit;
    last = create(&key, "last").after(expect);
    store.apply(&last).await;
    drop(store);
    let backend = backend.reopen().await;
    assert_eq!(
        backend.store().get(&key).await,
        Some(stored(&last)),
        "dropped commits took an acknowledged one with them"
    );
}

/// Loads, listings and questions whether the store is ready.
pub async fn dropped_loads_and_listings_have_no_effect<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let mut last = create(&key(Kind::Grant, "grant"), "value").indexed(&["user:1"]);
    store.apply(&last).await;
    let keys = [last.key.clone(), key(Kind::Grant, "another")];
    let listings = [Listing::Index(index("user:1")), Listing::Kind(Kind::Grant)];
    every_await(|polls| poll_times(store.load(&keys), polls)).await;
    for listing in &listings {
        every_await(|polls| poll_times(store.list(listing, None, 1), polls)).await;
    }
    every_await(|polls| poll_times(store.ready(), polls)).await;
    for round in 0..3 {
        assert_eq!(
            store.get(&last.key).await,
            Some(stored(&last)),
            "loads and listings were dropped, and a record has changed"
        );
        for listing in &listings {
            assert_eq!(
                store.keys(listing, 10).await,
                [last.key.clone()],
                "loads and listings were dropped, and {listing:?} has changed"
            );
        }
        let next = create(&last.key, format!("{round}")).after(last.id);
        store.apply(&next).await;
        last = next;
    }
}

/// What is due may be gone, what is not stays, and the next sweep gets through.
pub async fn a_dropped_sweep_removes_only_what_is_due<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let mut stay = Vec::new();
    let mut round = 0;
    every_await(|polls| {
        round += 1;
        let mut commits = Vec::new();
        for n in 0..4 {
            let key = key(Kind::Grant, format!("{round}.{n}"));
            let due = n % 2 == 0;
            if !due {
                stay.push(key.clone());
            }
            let purge_at = if due { 1_000 } else { 9_000 };
            commits.push(create(&key, "value").purge_at(purge_at).indexed(&["user:1"]));
        }
        let store = &store;
        async move {
            for commit in &commits {
                store.apply(commit).await;
            }
            poll_times(store.sweep(at(5_000), None, 1_000), polls).await
        }
    })
    .await;
    for listing in [Listing::Kind(Kind::Grant), Listing::Index(index("user:1"))] {
        let listed = store.keys(&listing, 100).await;
        assert!(
            stay.iter().all(|key| listed.contains(key)),
            "sweeps were dropped, and {listing:?} misses a record that is not due"
        );
    }
    store.sweep_all(5_000, 7).await;
    store.sweep_all(5_000, 7).await;
    for listing in [Listing::Kind(Kind::Grant), Listing::Index(index("user:1"))] {
        assert_same_keys(
            &store.keys(&listing, 100).await,
            &stay,
            "after sweeps that were dropped, another one gets through, and removes what is due",
        );
    }
}
