//! *A record is its key and nothing else: kinds, prefixes and byte values do not mix.*

use grantor::storage::{Key, Kind, Listing, Storage as _};

use super::toolkit::{StorageExt as _, assert_same_keys, create, key, stored};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Isolation",
    why: "a session that answers for a grant is an authorization that nobody gave.",
};

/// The same identifier in every kind, and identifiers that are prefixes of each other.
pub async fn keys_and_kinds_do_not_mix<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let ids = ["a", "aa", "ab", "b", "a:b", "a{b}", "*", "a*"];
    let mut commits = Vec::new();
    for kind in Kind::ALL {
        for id in ids {
            let key = key(kind, id);
            assert_eq!(store.get(&key).await, None, "{key:?} was never written");
            let commit = create(&key, format!("{kind:?} {id}"));
            store.apply(&commit).await;
            commits.push(commit);
        }
    }
    for commit in &commits {
        assert_eq!(
            store.get(&commit.key).await,
            Some(stored(commit)),
            "{:?} holds what was written under another key",
            commit.key
        );
    }
    for kind in Kind::ALL {
        let expected: Vec<_> = ids.iter().map(|id| key(kind, id)).collect();
        assert_same_keys(
            &store.keys(&Listing::Kind(kind), 3).await,
            &expected,
            "the listing of a kind is not that of its records",
        );
    }
}

/// Present and absent keys in any order, one of them twice, and none at all.
pub async fn a_load_answers_in_the_order_of_its_keys<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let (a, b) = (create(&key(Kind::Grant, "a"), "a"), create(&key(Kind::Session, "b"), "b"));
    store.apply(&b).await;
    store.apply(&a).await;
    let absent = key(Kind::Grant, "absent");
    let keys = [b.key.clone(), absent.clone(), a.key.clone(), b.key.clone(), absent];
    let (found_a, found_b) = (Some(stored(&a)), Some(stored(&b)));
    assert_eq!(
        store.load(&keys).await.expect("healthy"),
        [found_b.clone(), None, found_a, found_b, None],
        "a load did not answer once for each key, in the order of the keys"
    );
    assert_eq!(store.load(&[]).await.expect("healthy"), []);
}

/// Every byte value, and the longest identifier.
///
/// ATTACKS I08.
pub async fn any_bytes_are_a_key<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let mut ids: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    ids.push((0..128).collect());
    ids.push(vec![0; Key::MAX_ID_LEN]);
    ids.push(vec![u8::MAX; Key::MAX_ID_LEN]);
    let mut keys = Vec::new();
    for id in &ids {
        let commit = create(&key(Kind::Consent, id), id);
        store.apply(&commit).await;
        keys.push(commit.key);
    }
    for (key, id) in keys.iter().zip(&ids) {
        let found = store.get(key).await;
        assert_eq!(found.map(|found| found.value).as_ref(), Some(id), "{key:?}");
    }
    assert_same_keys(
        &store.keys(&Listing::Kind(Kind::Consent), 50).await,
        &keys,
        "keys of any bytes are not listed as they are",
    );
}
