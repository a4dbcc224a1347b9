//! *Of any number of commits with the same key and the same `expect`, exactly one answers `Applied`.*

use std::sync::Arc;

use grantor::storage::{CommitId, CommitOutcome, Key, Kind, Storage as _};
use tokio::sync::Barrier;

use super::toolkit::{CommitExt as _, StorageExt as _, create, join, key, stored};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Atomicity",
    why: "a code is redeemed and a refresh token rotated by one commit; two winners are two token sets from one code.",
};

const CONTENDERS: usize = 64;

async fn one_winner<B: Backend>(
    backend: &Opened<B>,
    key: &Key,
    expect: Option<CommitId>,
) -> CommitId {
    let start = Arc::new(Barrier::new(CONTENDERS));
    let tasks: Vec<_> = (0..CONTENDERS)
        .map(|n| {
            let (store, start) = (backend.store(), Arc::clone(&start));
            let mut commit = create(key, format!("contender {n}"));
            commit.expect = expect;
            tokio::spawn(async move {
                start.wait().await;
                let outcome = store.try_commit(&commit).await;
                (commit, outcome)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        let (commit, outcome) = join(task).await;
        if outcome == CommitOutcome::Applied {
            winners.push(commit);
        }
    }
    let [winner] = winners.as_slice() else {
        panic!(
            "{} of {CONTENDERS} commits with one predecessor were applied, not one; a \
             code would be redeemed so many times",
            winners.len()
        );
    };
    assert_eq!(
        backend.store().get(key).await,
        Some(stored(winner)),
        "one commit was told that it is applied, and the record is not the one that it wrote"
    );
    winner.id
}

/// Many creations of one record: one is applied.
///
/// ATTACKS B02.
pub async fn of_many_creations_one_is_applied<B: Backend>() {
    let backend = Opened::<B>::create().await;
    for round in 0..8 {
        one_winner(&backend, &key(Kind::Grant, format!("grant {round}")), None).await;
    }
}

/// Many replacements of one record: one is applied, time after time.
///
/// ATTACKS D01.
pub async fn of_many_replacements_one_is_applied<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let key = key(Kind::Grant, "grant");
    let mut last = None;
    for _ in 0..8 {
        last = Some(one_winner(&backend, &key, last).await);
    }
}

/// Tasks that load and try again until they have replaced the record often enough: every applied
/// commit is counted in the value once.
pub async fn a_chain_of_contended_replacements_loses_none<B: Backend>() {
    const TASKS: u64 = 8;
    const EACH: u64 = 16;
    let backend = Opened::<B>::create().await;
    let key = key(Kind::Grant, "counter");
    backend.store().apply(&create(&key, 0_u64.to_be_bytes())).await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (store, key) = (backend.store(), key.clone());
            tokio::spawn(async move {
                let mut applied = 0;
                while applied < EACH {
                    let found = store.get(&key).await.expect("nothing removes the counter");
                    let count: [u8; 8] = found.value[..].try_into().expect("eight bytes");
                    let next = u64::from_be_bytes(count) + 1;
                    let commit = create(&key, next.to_be_bytes()).after(found.commit);
                    if store.commit(commit).await.expect("healthy") == CommitOutcome::Applied {
                        applied += 1;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        join(task).await;
    }
    let found = backend.store().get(&key).await.expect("the counter");
    assert_eq!(
        found.value,
        (TASKS * EACH).to_be_bytes(),
        "a commit that was applied was overwritten by one that did not expect it"
    );
}
