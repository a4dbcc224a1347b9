//! *`sweep` examines at most `budget` items and says where to go on; followed to its end it has
//! removed all that was due.*

use grantor::storage::{Kind, Listing};

use super::toolkit::{CommitExt as _, StorageExt as _, create, index, key};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Sweep within its budget",
    why: "a sweep runs beside live requests; one that does not keep to its budget stops the server, one that does not get through fills the disk.",
};

/// With every budget, from one up.
pub async fn a_sweep_keeps_to_its_budget_and_ends<B: Backend>() {
    for budget in [1, 2, 3, 7, 64, 1_000] {
        let backend = Opened::<B>::create().await;
        let store = backend.store();
        for n in 0..50 {
            let commit = create(&key(Kind::Grant, format!("{n}")), "value")
                .indexed(&["user:1", "client:1"])
                .purge_at(if n % 2 == 0 { 1_000 } else { 3_000 });
            store.apply(&commit).await;
        }
        store.sweep_all(2_000, budget).await;
        assert_eq!(
            store.keys(&Listing::Kind(Kind::Grant), 10).await.len(),
            25,
            "with a budget of {budget}, all that is due is gone at the end, and nothing else"
        );
        store.sweep_all(3_000, budget).await;
        // The second pass finds the entries that the first could not yet know to dangle.
        store.sweep_all(3_000, budget).await;
        for listing in [
            Listing::Kind(Kind::Grant),
            Listing::Index(index("user:1")),
            Listing::Index(index("client:1")),
        ] {
            assert_eq!(
                store.keys(&listing, 10).await,
                [],
                "with a budget of {budget}, something is left of {listing:?}"
            );
        }
    }
}

/// An empty store, and a budget of nothing.
pub async fn a_sweep_of_nothing_ends<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    assert_eq!(store.sweep_all(i64::MAX, 1).await, 0);
    assert_eq!(store.keys(&Listing::Kind(Kind::Grant), 1).await, []);
    assert_eq!(store.keys(&Listing::Index(index("user:1")), 1).await, []);
}

/// A second sweep finds nothing more.
pub async fn sweeping_is_idempotent<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    for n in 0..20 {
        let commit = create(&key(Kind::Grant, format!("{n}")), "value").indexed(&["user:1"]);
        store.apply(&commit).await;
    }
    store.sweep_all(1_000, 6).await;
    store.sweep_all(1_000, 6).await;
    assert_eq!(store.sweep_all(1_000, 6).await, 0, "two passes leave nothing for a third");
}
