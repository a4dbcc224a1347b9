//! *`None` for a record that exists, an old value after a new one, `Applied` for what can be undone:
//! when in doubt, a store says that it is unavailable.*

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantor::model::Policy;
use grantor::storage::{Kind, Storage as _};

use super::toolkit::{CommitExt as _, StorageExt as _, create, join, key};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Forbidden answers",
    why: "\"no such record\" is what an unknown token is answered with; said of a record that exists, \
          it forgets that a user's everything was revoked, or that a code was used.",
};

/// Records are replaced, and nothing that is due is near, while others load them one by one and
/// together, and while sweeps run.
pub async fn a_record_that_exists_is_never_denied<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let keys: Vec<_> = (0..4).map(|n| key(Kind::Grant, format!("{n}"))).collect();
    let mut last = Vec::new();
    for key in &keys {
        let first = create(key, "first").purge_at(9_000);
        backend.store().apply(&first).await;
        last.push(first.id);
    }
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (1..=3)
        .map(|together| {
            let (store, keys, done) = (backend.store(), keys.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    for keys in keys.chunks(together) {
                        let found = store.load(keys).await.expect("a healthy store loads");
                        assert!(
                            found.len() == keys.len() && found.iter().all(Option::is_some),
                            "a load of {keys:?} found {} records of {}, while they were replaced",
                            found.iter().flatten().count(),
                            keys.len()
                        );
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let sweeper = {
        let (store, done) = (backend.store(), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::SeqCst) {
                store.sweep_all(8_000, 3).await;
                tokio::task::yield_now().await;
            }
        })
    };
    for round in 0..100 {
        for (key, last) in keys.iter().zip(&mut last) {
            let next = create(key, format!("{round}")).after(*last).purge_at(9_000);
            backend.store().apply(&next).await;
            *last = next.id;
        }
        if readers.iter().any(tokio::task::JoinHandle::is_finished) {
            break;
        }
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        join(reader).await;
    }
    join(sweeper).await;
}

/// What the store says of itself is what the engine can build on: it neither drops records when it
/// likes, nor answers with what is stale.
///
/// ATTACKS K06.
pub async fn a_store_that_may_forget_is_not_a_store<B: Backend>() {
    let promised = Opened::<B>::create().await.store().promises();
    let policy = Policy { durability: promised.durability, ..Policy::default() };
    assert_eq!(
        policy.validate(&promised),
        Ok(()),
        "the store promises {promised:?}, and the engine does not start on it"
    );
}
