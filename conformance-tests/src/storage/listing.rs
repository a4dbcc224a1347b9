//! *A listing has every key that was there from its first page to its last; that of an index once, in a
//! stable order.*

use grantor::storage::{Key, Kind, Listing, Storage as _};

use super::toolkit::{self, CommitExt as _, StorageExt as _, assert_same_keys, create, index, key};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Listing",
    why: "whoever revokes page by page must not miss a grant because others came and went meanwhile.",
};

const LIMITS: [usize; 8] = [1, 2, 3, 7, 30, 59, 60, 61];

/// Records of two kinds in one index, committed neither in the order of the keys nor of the kinds.
async fn sixty<B: Backend>(backend: &Opened<B>) -> Vec<Key> {
    let mut keys = Vec::new();
    for n in 0..60 {
        let kind = if n % 2 == 0 { Kind::Grant } else { Kind::Session };
        let key = key(kind, format!("{:02}", (n * 37) % 60));
        backend.store().apply(&create(&key, "value").indexed(&["user:1"])).await;
        keys.push(key);
    }
    keys
}

/// Pages of every size put together are the index, in one and the same order.
pub async fn a_listing_in_pages_is_complete_and_in_order<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let expected = sixty(&backend).await;
    let store = backend.store();
    let listing = Listing::Index(index("user:1"));
    let whole = store.keys(&listing, 1_000).await;
    assert_same_keys(&whole, &expected, "an index does not list exactly what was committed");
    for limit in LIMITS {
        assert_eq!(
            store.keys(&listing, limit).await,
            whole,
            "pages of {limit} put together are not the listing in its order"
        );
    }
}

/// Pages of every size put together are the records of the kind, in whatever order and however often.
pub async fn a_walk_over_a_kind_is_complete<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let keys = sixty(&backend).await;
    for kind in Kind::ALL {
        let expected: Vec<_> = keys.iter().filter(|key| key.kind() == kind).cloned().collect();
        for limit in LIMITS {
            assert_same_keys(
                &backend.store().keys(&Listing::Kind(kind), limit).await,
                &expected,
                &format!("pages of {limit} put together are not the records of {kind:?}"),
            );
        }
    }
}

/// Keys come and go between the pages of an index; those that stay are all listed, once, in order.
pub async fn a_listing_keeps_what_was_there_all_along<B: Backend>() {
    let (before, stay, listed) = come_and_go::<B>(&Listing::Index(index("user:1"))).await;
    let of = |keys: Vec<Key>| keys.into_iter().filter(|key| stay.contains(key)).collect::<Vec<_>>();
    assert_eq!(
        of(listed),
        of(before),
        "not every key that was there during the whole listing was listed once, in order, while others \
         came and went"
    );
}

/// Keys come and go between the pages of a walk; it comes by all that stay.
pub async fn a_walk_over_a_kind_keeps_what_was_there_all_along<B: Backend>() {
    let (_, stay, listed) = come_and_go::<B>(&Listing::Kind(Kind::Grant)).await;
    let missed: Vec<_> = stay.into_iter().filter(|key| !listed.contains(key)).collect();
    assert_eq!(missed, [], "a walk did not come by what was there from its first page to its last");
}

/// What was listed before anything came or went, what stayed, and what was listed meanwhile.
async fn come_and_go<B: Backend>(listing: &Listing) -> (Vec<Key>, Vec<Key>, Vec<Key>) {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let mut stay = Vec::new();
    for n in 0..40 {
        let key = key(Kind::Grant, format!("{n:02} stays"));
        store.apply(&create(&key, "value").indexed(&["user:1"]).purge_at(9_000)).await;
        stay.push(key);
        let goes = create(&toolkit::key(Kind::Grant, format!("{n:02} goes")), "value");
        store.apply(&goes.indexed(&["user:1"]).purge_at(1_000)).await;
    }
    let before = store.keys(listing, 1_000).await;
    'walk: for walk in 0..100 {
        let mut listed = Vec::new();
        let mut after = None;
        for page_number in 0..10_000 {
            let page = match store.list(listing, after.as_ref(), 5).await {
                Ok(page) => page,
                // It lost its place, as it may where it walks over a kind.
                Err(_) if matches!(listing, Listing::Kind(_)) => continue 'walk,
                Err(error) => panic!("a healthy store lists: {error}"),
            };
            listed.extend(page.keys);
            if page_number == 2 {
                // The entries go when a second pass finds that their records are gone.
                store.sweep_all(1_000, 10).await;
                store.sweep_all(1_000, 10).await;
            }
            let comes = key(Kind::Grant, format!("{:02} comes {walk}", page_number % 40));
            let comes = create(&comes, "value").indexed(&["user:1"]).purge_at(9_000);
            let _ = store.commit(comes).await.expect("healthy");
            match page.next {
                Some(next) => after = Some(next),
                None => return (before, stay, listed),
            }
        }
        panic!("a listing must end, while what comes and goes is bounded");
    }
    panic!("a healthy store gets to the end of a walk, sooner or later");
}
