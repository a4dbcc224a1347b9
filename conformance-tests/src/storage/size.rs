//! *An identifier has at most 128 bytes, an index name at most 96, a value at most 16 KiB.*

use grantor::storage::{Index, Key, Kind, Listing, NewRecord, Storage as _};

use super::toolkit::{CommitExt as _, StorageExt as _, create, index, key, stored};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Size",
    why: "the record of a long authorization holds many tokens; one that is cut short is a grant that can neither be used nor revoked.",
};

/// Many records with the longest of everything, replaced and opened again.
pub async fn the_largest_of_everything_is_stored<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let name = "i".repeat(Index::MAX_LEN);
    let mut commits = Vec::new();
    for n in 0..64_u8 {
        let mut id = [b'k'; Key::MAX_ID_LEN];
        id[Key::MAX_ID_LEN - 1] = n;
        let first = create(&key(Kind::Client, id), [n; NewRecord::MAX_VALUE_LEN]);
        let first = first.indexed(&[&name]);
        backend.store().apply(&first).await;
        let second = create(&first.key, [!n; NewRecord::MAX_VALUE_LEN]).after(first.id);
        backend.store().apply(&second).await;
        commits.push(second);
    }
    let backend = backend.reopen().await;
    for commit in &commits {
        assert_eq!(
            backend.store().get(&commit.key).await,
            Some(stored(commit)),
            "a value of {} bytes is stored whole",
            NewRecord::MAX_VALUE_LEN
        );
    }
    let listing = Listing::Index(index(&name));
    assert_eq!(backend.store().keys(&listing, 10).await.len(), 64);
}

/// Nothing is not the same as no record.
pub async fn an_empty_value_is_a_value<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let commit = create(&key(Kind::Session, "empty"), "");
    backend.store().apply(&commit).await;
    assert_eq!(
        backend.store().get(&commit.key).await,
        Some(stored(&commit)),
        "an empty value is a record"
    );
}

/// A store may refuse what is beyond the limit, or store it whole; never a part of it.
pub async fn larger_values_are_refused_whole<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let commit = create(&key(Kind::Client, "large"), vec![7; NewRecord::MAX_VALUE_LEN + 1]);
    let accepted = store.commit(commit.clone()).await.is_ok();
    assert_eq!(
        store.get(&commit.key).await,
        accepted.then(|| stored(&commit)),
        "a refused value leaves nothing, an accepted one is whole"
    );
}
