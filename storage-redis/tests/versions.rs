//! Two versions of Grantor on one Redis: each reads what it can, and damages nothing.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test reports by panicking")]

use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Index, Key, Kind, Listing, NewRecord, Storage as _,
    StorageError,
};
use grantor_conformance::redis::Server;
use grantor_redis::RedisStorage;

/// 2100-01-01.
const LATER: i64 = 4_102_444_800_000;

fn key(id: &str) -> Key {
    Key::new(Kind::Grant, id.as_bytes()).expect("short")
}

fn commit(id: &str, expect: Option<CommitId>, number: u8) -> Commit {
    Commit {
        key: key(id),
        expect,
        id: CommitId::from_bytes([number; 16]),
        record: NewRecord {
            value: b"value".to_vec(),
            purge_at: Timestamp::from_millis(LATER),
            indexes: vec![Index::new("grants:1").expect("a name")],
        },
    }
}

/// `id` as it stands in a key.
fn name(id: &str) -> String {
    use base64::Engine as _;
    format!("grantor:g:{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_version_is_neither_read_nor_replaced_nor_removed() {
    // 1 was before this version, 3 will be after it.
    for format in [1, 3] {
        a_record_is_left_alone(format).await;
    }
}

async fn a_record_is_left_alone(format: u8) {
    let server = Server::start();
    let older = RedisStorage::open(&server.url()).await.expect("it opens");
    let known = commit("known", None, 1);
    assert_eq!(older.commit(known.clone()).await.expect("healthy"), CommitOutcome::Applied);
    // Another version has written this one: its envelope has another format, and means what only that
    // version knows.
    assert_eq!(
        older.commit(commit("later", None, 2)).await.expect("healthy"),
        CommitOutcome::Applied
    );
    let later = [&[format][..], b"what this version does not know"].concat();
    let written = server.call(&[&b"SET"[..], name("later").as_bytes(), &later]);
    assert_eq!(written.error(), None);

    let damaged = |outcome: &StorageError| matches!(outcome, StorageError::Damaged { .. });
    let loaded = older.load(&[key("later")]).await;
    assert!(loaded.as_ref().is_err_and(damaged), "{loaded:?}");
    let said = loaded.expect_err("damaged").to_string();
    assert!(said.contains(&format!("has format {format}; this version reads 2")), "{said}");
    for expect in [None, Some(CommitId::from_bytes([2; 16]))] {
        let replaced = older.commit(commit("later", expect, 3)).await;
        assert!(replaced.as_ref().is_err_and(damaged), "{replaced:?}");
    }
    // What it does know it goes on with.
    assert!(older.load(&[key("known")]).await.expect("readable")[0].is_some());
    let renewed = commit("known", Some(known.id), 4);
    assert_eq!(older.commit(renewed).await.expect("healthy"), CommitOutcome::Applied);

    // Sweeps after everything is over remove what it knows, and that only.
    for _ in 0..2 {
        let now = Timestamp::from_millis(i64::MAX);
        let mut swept = older.sweep(now, None, 10).await.expect("healthy");
        while let Some(next) = swept.next {
            swept = older.sweep(now, Some(&next), 10).await.expect("healthy");
        }
    }
    assert!(older.load(&[key("known")]).await.expect("readable")[0].is_none());
    assert_eq!(server.call(&[&b"GET"[..], name("later").as_bytes()]).bytes(), Some(&later[..]));
    let grants = Listing::Index(Index::new("grants:1").expect("a name"));
    let listed = older.list(&grants, None, 10).await.expect("healthy");
    assert_eq!(listed.keys, [key("later")], "its index entry stays as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_only_a_later_version_has_is_left_alone() {
    let server = Server::start();
    let older = RedisStorage::open(&server.url()).await.expect("it opens");
    let known = commit("known", None, 1);
    assert_eq!(older.commit(known).await.expect("healthy"), CommitOutcome::Applied);
    server.cli(&["SET", "grantor:Z:AAAA", "unknown"]);
    let index = server.cli(&["KEYS", "grantor:i:*"]);
    let added = server.call(&[&b"ZADD"[..], index.as_bytes(), b"0", b"\xf0later"]);
    assert_eq!(added.integer(), Some(1));
    let now = Timestamp::from_millis(i64::MAX);
    for _ in 0..2 {
        let swept = older.sweep(now, None, 1_000).await.expect("healthy");
        assert!(swept.examined > 0);
    }
    assert_eq!(server.cli(&["GET", "grantor:Z:AAAA"]), "unknown");
    let grants = Listing::Index(Index::new("grants:1").expect("a name"));
    assert_eq!(older.list(&grants, None, 10).await.expect("healthy").keys, []);
    let left = server.call(&[&b"ZCARD"[..], index.as_bytes()]);
    assert_eq!(left.to_string(), "1", "the entry of the later version is still there");
}
