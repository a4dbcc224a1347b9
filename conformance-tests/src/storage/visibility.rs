//! *A load that begins after a commit returned `Applied` sees that record or a later one.*

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use grantor::storage::{CommitId, Kind};

use super::toolkit::{CommitExt as _, StorageExt as _, create, join, key, stored};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Visibility",
    why: "a revocation that was answered must be seen by the next request, wherever it lands.",
};

/// One task commits, others load what was acknowledged.
pub async fn a_commit_is_seen_by_every_later_load<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let key = key(Kind::Grant, "grant");
    let mut last: Option<CommitId> = None;
    for round in 0..64_u64 {
        let mut commit = create(&key, round.to_be_bytes());
        commit.expect = last;
        backend.store().apply(&commit).await;
        last = Some(commit.id);
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (store, key) = (backend.store(), key.clone());
                tokio::spawn(async move { store.get(&key).await })
            })
            .collect();
        for reader in readers {
            assert_eq!(
                join(reader).await,
                Some(stored(&commit)),
                "a commit that was acknowledged is not seen by a later load; a token \
                 that was revoked would still be honoured"
            );
        }
    }
}

/// Readers that run beside a writer see the record only move forward, and never behind what was
/// acknowledged before they began.
pub async fn nobody_sees_an_older_record_after_a_newer_one<B: Backend>() {
    const LAST: u64 = 200;
    let backend = Opened::<B>::create().await;
    let key = key(Kind::Grant, "grant");
    let first = create(&key, 0_u64.to_be_bytes());
    backend.store().apply(&first).await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, key) = (backend.store(), key.clone());
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                let mut seen = 0;
                while seen < LAST {
                    let known = acknowledged.load(Ordering::SeqCst);
                    let found = store.get(&key).await.expect("nothing removes the record");
                    let round: [u8; 8] = found.value[..].try_into().expect("eight bytes");
                    let round = u64::from_be_bytes(round);
                    assert!(
                        round >= known && round >= seen,
                        "round {round} was loaded although {known} had been \
                         acknowledged and {seen} had been seen"
                    );
                    seen = round;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut last = first.id;
    for round in 1..=LAST {
        let commit = create(&key, round.to_be_bytes()).after(last);
        backend.store().apply(&commit).await;
        acknowledged.store(round, Ordering::SeqCst);
        last = commit.id;
    }
    for reader in readers {
        join(reader).await;
    }
}
