//! *A listing has every key that was there from its beginning to its end, once, in a stable order.*

use grantor::storage::{Kind, Listing, Storage as _};

use super::toolkit::{self, CommitExt as _, StorageExt as _, assert_same_keys, create, index, key};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Listing",
    why: "whoever revokes page by page must not miss a grant because others came and went meanwhile.",
};

/// Pages of every size put together are the listing, in one and the same order.
pub async fn a_listing_in_pages_is_complete_and_in_order<B: Backend>() {
    let backend = Opened::<B>::create().await;
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
        assert_same_keys(&whole, &expected, "a listing does not have exactly what was committed");
        for limit in [1, 2, 3, 7, 30, 59, 60, 61] {
            assert_eq!(
                store.keys(&listing, limit).await,
                whole,
                "pages of {limit} put together are not the listing in its order"
            );
        }
    }
}

/// Keys come and go between the pages; those that stay are all listed, once.
pub async fn a_listing_keeps_what_was_there_all_along<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let listing = Listing::Kind(Kind::Grant);
    let mut stay = Vec::new();
    for n in 0..40 {
        let key = key(Kind::Grant, format!("{n:02} stays"));
        store.apply(&create(&key, "value").purge_at(9_000)).await;
        stay.push(key);
        let goes = create(&toolkit::key(Kind::Grant, format!("{n:02} goes")), "value");
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
        "not every key that was there during the whole listing was listed once, in order, while others \
         came and went"
    );
}
