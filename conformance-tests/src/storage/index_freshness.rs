//! *An entry is written before the record that introduces it: it may dangle, it is never missing.*
//!
//! Why: "withdraw everything this user allowed" walks an index. A missing entry is a token that
//! outlives its consent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantor::storage::{CommitOutcome, Kind, Listing, Storage as _};

use super::{
    Backend, CommitExt as _, StorageExt as _, assert_same_keys, create, index, key, stored,
};

/// Commits after the first do not name the entries, and they stay, also through sweeps.
pub async fn an_entry_outlives_the_commits_that_do_not_repeat_it<B: Backend>() {
    let backend = B::create().await;
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
            "Index freshness: the entry is gone and the record is there, after commit {round}"
        );
    }
}

/// Records are created, swept, and created again, while others sweep: at every moment at which a
/// record can be loaded, and no commit of it is under way, the index lists it.
pub async fn an_entry_is_never_missing_under_concurrent_sweeps<B: Backend>() {
    let backend = B::create().await;
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
                        "Index freshness: a record that is there is missing in its index, in round \
                         {round}; withdrawing consent would miss a grant"
                    );
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no entry is missing");
    }
    done.store(true, Ordering::SeqCst);
    for sweeper in sweepers {
        sweeper.await.expect("the sweeps end");
    }
}

/// A grant that finds its user later.
pub async fn later_commits_may_add_entries<B: Backend>() {
    let backend = B::create().await;
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
            "Index freshness: {name} was introduced and lists the key once"
        );
    }
}

/// Entries do not pile up.
pub async fn entries_of_swept_records_are_swept<B: Backend>() {
    let backend = B::create().await;
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
        "Index freshness: entries whose records are long gone are swept"
    );
}

/// Names that are prefixes of each other.
pub async fn indexes_do_not_mix<B: Backend>() {
    let backend = B::create().await;
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
            "Index freshness: {name} lists what was committed with it and nothing else"
        );
    }
    assert_eq!(store.keys(&Listing::Index(index("user:2")), 10).await, []);
}

/// Pages of every size put together are the listing, in one and the same order.
pub async fn a_listing_in_pages_is_complete_and_in_order<B: Backend>() {
    let backend = B::create().await;
    let store = backend.store();
    let mut expected = Vec::new();
    for n in 0..60 {
        // Neither in the order of the keys nor in one kind.
        let kind = if n % 2 == 0 { Kind::Grant } else { Kind::Session };
        let key = key(kind, format!("{:02}", (n * 37) % 60));
        store.apply(&create(&key, "value").indexed(&["user:1"])).await;
        expected.push(key);
    }
    let listings = [
        (Listing::Index(index("user:1")), expected.clone()),
        (
            Listing::Kind(Kind::Grant),
            expected.iter().filter(|key| key.kind() == Kind::Grant).cloned().collect(),
        ),
    ];
    for (listing, expected) in listings {
        let whole = store.keys(&listing, 1_000).await;
        assert_same_keys(&whole, &expected, "a listing is complete");
        for limit in [1, 2, 3, 7, 30, 59, 60, 61] {
            assert_eq!(
                store.keys(&listing, limit).await,
                whole,
                "a listing in pages of {limit} is the listing, in the same order"
            );
        }
    }
}

/// Keys come and go between the pages; those that stay are all listed, once.
pub async fn a_listing_keeps_what_was_there_all_along<B: Backend>() {
    let backend = B::create().await;
    let store = backend.store();
    let listing = Listing::Kind(Kind::Grant);
    let mut stay = Vec::new();
    for n in 0..40 {
        let key = key(Kind::Grant, format!("{n:02} stays"));
        store.apply(&create(&key, "value").purge_at(9_000)).await;
        stay.push(key);
        let goes = create(&super::key(Kind::Grant, format!("{n:02} goes")), "value");
        store.apply(&goes.purge_at(1_000)).await;
    }
    let mut listed = Vec::new();
    let mut after = None;
    for page_number in 0.. {
        let page = store.list(&listing, after.as_ref(), 5).await.expect("healthy");
        listed.extend(page.keys);
        if page_number == 2 {
            store.sweep_all(1_000, 10).await;
        }
        let comes = key(Kind::Grant, format!("{:02} comes", page_number % 40));
        let _ = store.commit(create(&comes, "value").purge_at(9_000)).await.expect("healthy");
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let found: Vec<_> = listed.into_iter().filter(|key| stay.contains(key)).collect();
    assert_eq!(
        found, stay,
        "a key that is there during the whole listing is listed once, whatever comes and goes"
    );
}
