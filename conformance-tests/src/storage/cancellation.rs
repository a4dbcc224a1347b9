//! *Dropping the future of `commit` at any point leaves the record as it was or as it should become,
//! and does not block or corrupt later calls.*
//!
//! Why: a client that hangs up drops the future of its request.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use grantor::storage::{Kind, Listing, Storage as _};

use super::{Backend, CommitExt as _, StorageExt as _, at, create, index, key, stored};

/// Polls a future at most so many times, then drops it; whether it ended.
async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
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

/// After no poll, one, two, and so on until the commit gets through.
pub async fn a_dropped_commit_leaves_the_old_or_the_new_record<B: Backend>() {
    let backend = B::create().await;
    let store = backend.store();
    for times in 0..200 {
        let key = key(Kind::Grant, format!("grant {times}"));
        let old = create(&key, "old");
        store.apply(&old).await;
        let new = create(&key, "new").after(old.id).indexed(&["user:1"]);
        let ended = poll_times(store.commit(new.clone()), times).await.is_some();
        let found = store.get(&key).await;
        let (was, becomes) = (Some(stored(&old)), Some(stored(&new)));
        assert!(
            if ended { found == becomes } else { found == was || found == becomes },
            "Cancellation: after {times} polls the record is neither the old nor the new one: \
             {found:?}"
        );
        if found == becomes {
            assert!(
                store.keys(&Listing::Index(index("user:1")), 10).await.contains(&key),
                "Index freshness: a commit that was dropped wrote its record and not its entry"
            );
        }
        if ended && times > 3 {
            break;
        }
    }
}

/// Many commits of one key, all dropped halfway, then one that is not.
pub async fn a_dropped_commit_does_not_block_later_ones<B: Backend>() {
    let backend = B::create().await;
    let store = backend.store();
    let key = key(Kind::Grant, "grant");
    for times in 0..64 {
        let _ =
            poll_times(store.commit(create(&key, "dropped").indexed(&["user:1"])), times % 4).await;
    }
    let expect = store.get(&key).await.map(|found| found.commit);
    let mut last = create(&key, "last");
    last.expect = expect;
    store.apply(&last).await;
    let backend = {
        drop(store);
        backend.reopen().await
    };
    assert_eq!(
        backend.store().get(&key).await,
        Some(stored(&last)),
        "Cancellation: dropped commits took an acknowledged one with them"
    );
}

/// Loads, listings and sweeps that nobody waits for.
pub async fn dropped_reads_have_no_effect<B: Backend>() {
    let backend = B::create().await;
    let store = backend.store();
    let commit = create(&key(Kind::Grant, "grant"), "value").indexed(&["user:1"]);
    store.apply(&commit).await;
    for times in 0..4 {
        let keys = [commit.key.clone()];
        let _ = poll_times(store.load(&keys), times).await;
        let listing = Listing::Index(index("user:1"));
        let _ = poll_times(store.list(&listing, None, 1), times).await;
        let _ = poll_times(store.sweep(at(0), None, 10), times).await;
        let _ = poll_times(store.ready(), times).await;
    }
    assert_eq!(
        store.get(&commit.key).await,
        Some(stored(&commit)),
        "Cancellation: dropping a read changed something"
    );
}
