//! *An entry is written before the record that introduces it: it may dangle, it is never missing.*

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantor::storage::{CommitOutcome, Kind, Listing, Storage as _};

use super::crash::{Loss, survives_kills};
use super::toolkit::{CommitExt as _, StorageExt as _, create, index, join, key, stored};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Index freshness",
    why: "\"withdraw everything this user allowed\" walks an index; a missing entry is a token that outlives its consent.",
};

/// Commits after the first do not name the entries, and they stay, also through sweeps.
pub async fn an_entry_outlives_the_commits_that_do_not_repeat_it<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let key = key(Kind::Grant, "grant");
    let listing = Listing::Index(index("user:1"));
    let first = create(&key, "0").indexed(&["user:1"]).purge_at(1_000);
    store.apply(&first).await;
    let mut last = first.id;
    for round in 1..30_i64 {
        // Each lives longer than the one that introduced the entry.
        let commit = create(&key, round.to_string()).after(last).purge_at(1_000 + round * 1_000);
        store.apply(&commit).await;
        last = commit.id;
        store.sweep_all(round * 1_000, 10).await;
        assert_eq!(
            store.keys(&listing, 10).await,
            std::slice::from_ref(&key),
            "the entry is gone and the record is there, after commit {round}"
        );
    }
}

/// Records are created, swept, and created again, while others sweep: at every moment at which a
/// record can be loaded, and no commit of it is under way, the index lists it.
pub async fn an_entry_is_never_missing_under_concurrent_sweeps<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let listing = Listing::Index(index("user:1"));
    let done = Arc::new(AtomicBool::new(false));
    let sweepers: Vec<_> = (0..2)
        .map(|_| {
            let (store, done) = (backend.store(), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    store.sweep_all(2_000, 5).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, listing) = (backend.store(), listing.clone());
            tokio::spawn(async move {
                let key = key(Kind::Grant, format!("grant {writer}"));
                for round in 0..60 {
                    let short =
                        create(&key, format!("short {round}")).indexed(&["user:1"]).purge_at(1_000);
                    // The long-lived one of the round before is still there.
                    let expect = store.get(&key).await.map(|found| found.commit);
                    let short = expect.map_or(short.clone(), |expect| short.after(expect));
                    store.apply(&short).await;
                    // The sweepers may take it, and its entry, from here on.
                    let long =
                        create(&key, format!("long {round}")).indexed(&["user:1"]).purge_at(9_000);
                    let prolonged = long.clone().after(short.id);
                    let long = match store.commit(prolonged.clone()).await.expect("healthy") {
                        CommitOutcome::Applied => prolonged,
                        CommitOutcome::Conflict => {
                            store.apply(&long).await;
                            long
                        }
                    };
                    assert_eq!(store.get(&key).await, Some(stored(&long)));
                    assert!(
                        store.keys(&listing, 3).await.contains(&key),
                        "a record that is there is missing in its index, in round \
                         {round}; withdrawing consent would miss a grant"
                    );
                }
            })
        })
        .collect();
    for writer in writers {
        join(writer).await;
    }
    done.store(true, Ordering::SeqCst);
    for sweeper in sweepers {
        join(sweeper).await;
    }
}

/// A commit is under way while somebody else looks: as soon as the record is seen, its index lists it.
pub async fn an_entry_is_there_before_its_record_can_be_loaded<B: Backend>() {
    let backend = Opened::<B>::create().await;
    for round in 0..200 {
        let name = format!("user:{round}");
        let commit = create(&key(Kind::Grant, &name), "value").indexed(&[&name]);
        let writer = {
            let (store, commit) = (backend.store(), commit.clone());
            tokio::spawn(async move { store.apply(&commit).await })
        };
        while backend.store().get(&commit.key).await.is_none() {
            tokio::task::yield_now().await;
        }
        assert!(
            !backend.store().keys(&Listing::Index(index(&name)), 10).await.is_empty(),
            "a record can be loaded while its commit is under way, and its index does not list it \
             yet"
        );
        join(writer).await;
    }
}

/// A process is killed while it writes: whichever records are there afterwards are in their indexes.
pub async fn an_entry_survives_a_kill_with_its_record<B: Backend>() {
    survives_kills::<B>(Loss::Entry).await;
}

/// A grant that finds its user later.
pub async fn later_commits_may_add_entries<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let key = key(Kind::Grant, "grant");
    let first = create(&key, "first").indexed(&["client:1"]);
    store.apply(&first).await;
    let second = create(&key, "second").after(first.id).indexed(&["user:1", "client:1"]);
    store.apply(&second).await;
    for name in ["client:1", "user:1"] {
        assert_eq!(
            store.keys(&Listing::Index(index(name)), 10).await,
            std::slice::from_ref(&key),
            "{name} was introduced by one of two commits, and does not list the key once"
        );
    }
}

/// Entries do not pile up.
pub async fn entries_of_swept_records_are_swept<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    for n in 0..30 {
        let commit =
            create(&key(Kind::Grant, format!("{n}")), "value").indexed(&["user:1"]).purge_at(1_000);
        store.apply(&commit).await;
    }
    store.sweep_all(1_000, 4).await;
    store.sweep_all(1_000, 4).await;
    assert_eq!(
        store.keys(&Listing::Index(index("user:1")), 10).await,
        [],
        "the records are gone, and two sweeps have left entries of them"
    );
}

/// Names that are prefixes of each other.
pub async fn indexes_do_not_mix<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let names = ["user:1", "user:11", "user:", "user", "user:1:1", "u"];
    for name in names {
        let commit = create(&key(Kind::Grant, name), "value").indexed(&[name]);
        store.apply(&commit).await;
    }
    for name in names {
        assert_eq!(
            store.keys(&Listing::Index(index(name)), 10).await,
            [key(Kind::Grant, name)],
            "{name} does not list exactly what was committed with it"
        );
    }
    assert_eq!(store.keys(&Listing::Index(index("user:2")), 10).await, []);
}
