//! *A commit that does not find what it expects answers `Conflict` and writes nothing.*

use grantor::storage::{CommitOutcome, Kind, Listing};

use super::toolkit::{CommitExt as _, StorageExt as _, create, fresh_id, key, stored};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Conflict",
    why: "a conflict means \"load and decide again\"; a write beside it is a decision on what was not there any more, such as a code that somebody else has redeemed meanwhile.",
};

/// There is none but it expects one, there is one but it expects none, and it expects another.
pub async fn every_wrong_expectation_conflicts_and_writes_nothing<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let key = key(Kind::Grant, "grant");

    let orphan = create(&key, "orphan").after(fresh_id());
    assert_eq!(
        store.try_commit(&orphan).await,
        CommitOutcome::Conflict,
        "a commit that expects a record was applied where there is none; a purged grant would be \
         brought back"
    );
    assert_eq!(store.get(&key).await, None, "the loser wrote its record");

    let first = create(&key, "first");
    store.apply(&first).await;
    let wrong = [
        create(&key, "second creation"),
        create(&key, "of another").after(fresh_id()),
        create(&key, "of itself").after(orphan.id),
    ];
    for commit in wrong {
        assert_eq!(
            store.try_commit(&commit).await,
            CommitOutcome::Conflict,
            "a commit that expects {:?}, which did not write the record, was applied",
            commit.expect
        );
        assert_eq!(store.get(&key).await, Some(stored(&first)), "the loser changed the record");
    }

    let second = create(&key, "second").after(first.id);
    store.apply(&second).await;
    assert_eq!(
        store.try_commit(&create(&key, "again").after(first.id)).await,
        CommitOutcome::Conflict,
        "one version was replaced twice; a refresh token would rotate twice"
    );
    assert_eq!(store.get(&key).await, Some(stored(&second)));
    assert_eq!(
        store.keys(&Listing::Kind(Kind::Grant), 10).await,
        [key],
        "a record that was written twice is not listed once"
    );
}

/// The version of a record is the id of its commit: one created anew under the same key with the same
/// content is another one.
pub async fn a_purged_and_recreated_record_is_not_its_predecessor<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let key = key(Kind::Grant, "grant");
    let before = create(&key, "same").purge_at(1_000);
    store.apply(&before).await;
    store.sweep_all(1_000, 10).await;
    let again = create(&key, "same").purge_at(1_000);
    store.apply(&again).await;
    assert_eq!(
        store.try_commit(&create(&key, "late").after(before.id)).await,
        CommitOutcome::Conflict,
        "a commit that was delayed past the purge replaced the new record"
    );
    assert_eq!(store.get(&key).await, Some(stored(&again)));
}
