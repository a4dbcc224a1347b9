//! *`purge_at` is the earliest moment at which a record may vanish, by the `now` that a sweep is
//! given.*

use grantor::model::Timestamp;
use grantor::storage::{CommitOutcome, Kind, Listing, Storage as _};

use super::toolkit::{
    CommitExt as _, StorageExt as _, assert_same_keys, at, create, index, join, key, stored,
};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Expiry, and whose clock",
    why: "a record that vanishes early takes the memory of a used code with it; one that never does fills the disk.",
};

/// Sweeps with every `now` before the `purge_at` leave the record; one that is exactly due may take it.
pub async fn nothing_vanishes_before_its_purge_at<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let commit = create(&key(Kind::Grant, "grant"), "value").purge_at(1_000).indexed(&["user:1"]);
    store.apply(&commit).await;
    for now in [i64::MIN, -1, 0, 1, 999] {
        assert_eq!(
            store.sweep_all(now, 10).await,
            0,
            "nothing was due at {now}, and a sweep says that it removed something"
        );
        assert_eq!(
            store.get(&commit.key).await,
            Some(stored(&commit)),
            "at {now} a record vanished that was to be kept until 1000; a used code would \
             be forgotten"
        );
        assert_eq!(
            store.keys(&Listing::Index(index("user:1")), 10).await,
            std::slice::from_ref(&commit.key),
            "the entry of a record that exists was removed"
        );
    }
}

/// What is due goes, what is not stays.
pub async fn what_may_be_purged_is_swept<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let mut kept = Vec::new();
    for n in 0..100 {
        let due = n % 3 == 0;
        let key = key(Kind::Grant, format!("{n:03}"));
        let commit = create(&key, "value").purge_at(if due { 1_000 } else { 1_001 });
        store.apply(&commit).await;
        if !due {
            kept.push(key);
        }
    }
    // A store that expires by a clock of its own may have been first, so the count is no test.
    store.sweep_all(1_000, 7).await;
    assert_same_keys(
        &store.keys(&Listing::Kind(Kind::Grant), 9).await,
        &kept,
        "a sweep did not remove exactly what was due",
    );
}

/// The `purge_at` that counts is that of the stored record.
pub async fn a_replacement_that_lives_longer_stays<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let key = key(Kind::Grant, "grant");
    let short = create(&key, "short").purge_at(1_000);
    store.apply(&short).await;
    let long = create(&key, "long").after(short.id).purge_at(9_000);
    store.apply(&long).await;
    store.sweep_all(5_000, 10).await;
    assert_eq!(
        store.get(&key).await,
        Some(stored(&long)),
        "a record was removed by the purge_at of its predecessor"
    );
}

/// Records that are prolonged while a sweep runs: an acknowledged prolongation holds.
pub async fn a_record_replaced_during_the_sweep_stays<B: Backend>() {
    let backend = Opened::<B>::create().await;
    for round in 0..20 {
        let store = backend.store();
        let mut firsts = Vec::new();
        for n in 0..16 {
            let first = create(&key(Kind::Grant, format!("{round}.{n}")), "first").purge_at(1_000);
            store.apply(&first).await;
            firsts.push(first);
        }
        let sweeper = {
            let store = backend.store();
            tokio::spawn(async move { store.sweep_all(2_000, 3).await })
        };
        let writer = {
            let store = backend.store();
            tokio::spawn(async move {
                let mut applied = Vec::new();
                for first in firsts {
                    // So that some of them meet the sweep.
                    tokio::task::yield_now().await;
                    let longer = create(&first.key, "longer").after(first.id).purge_at(9_000);
                    if store.commit(longer.clone()).await.expect("healthy")
                        == CommitOutcome::Applied
                    {
                        applied.push(longer);
                    }
                }
                applied
            })
        };
        join(sweeper).await;
        for commit in join(writer).await {
            assert_eq!(
                store.get(&commit.key).await,
                Some(stored(&commit)),
                "a sweep removed a record that was not the one it examined"
            );
        }
    }
}

/// Instants at the ends of the range are compared, not computed with.
pub async fn the_ends_of_time_are_no_special_case<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let forever = create(&key(Kind::User, "forever"), "value").purge_at(i64::MAX);
    store.apply(&forever).await;
    store.sweep_until(Timestamp::from_millis(i64::MAX - 1), 10).await;
    let found = store.get(&forever.key).await;
    assert_eq!(
        found.map(|found| found.purge_at),
        Some(at(i64::MAX)),
        "a record without an end was removed, or its end was changed"
    );
}

/// Whatever the clock of the store says, these moments have passed. It may drop such a record at once,
/// and takes it all the same; what is not gone is whole, and a sweep takes it.
pub async fn what_is_due_when_it_is_written_may_be_gone<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    for (n, millis) in [i64::MIN, i64::MIN + 1, -1, 0, 1, 1_000].into_iter().enumerate() {
        let mut commit = create(&key(Kind::Grant, format!("{n}")), "value").indexed(&["user:1"]);
        commit.record.purge_at = Timestamp::from_millis(millis);
        store.apply(&commit).await;
        let found = store.get(&commit.key).await;
        assert!(
            found.is_none() || found == Some(stored(&commit)),
            "a record that may be removed since {millis} is neither whole nor gone: {found:?}"
        );
        let mut next = create(&commit.key, "next").indexed(&["user:1"]);
        next.expect = found.map(|found| found.commit);
        next.record.purge_at = Timestamp::from_millis(millis);
        if store.try_commit(&next).await == CommitOutcome::Conflict {
            assert_eq!(
                store.get(&commit.key).await,
                None,
                "a commit that expected what was stored was refused, and that is there"
            );
        }
    }
    store.sweep_all(0, 10).await;
    store.sweep_all(0, 10).await;
    assert_eq!(store.keys(&Listing::Kind(Kind::Grant), 10).await, [], "they are all due");
    assert_eq!(store.keys(&Listing::Index(index("user:1")), 10).await, [], "so are the entries");
}
