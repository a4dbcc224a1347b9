//! Faults of single commands and single servers, each at the one moment at which it would do harm.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use std::time::Duration;

use grantor::model::Timestamp;
use grantor::storage::{Commit, CommitId, CommitOutcome, Key, Kind, NewRecord, Storage as _};
use grantor_conformance::redis::Sentinels;
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
            indexes: vec![],
        },
    }
}

async fn apply(storage: &RedisStorage, commit: Commit) {
    assert_eq!(storage.commit(commit).await.expect("healthy"), CommitOutcome::Applied);
}

/// The host of a Sentinel, often that of the primary too, is gone without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_is_silent_is_in_nobodys_way() {
    let sentinels = Sentinels::options().replicas(1).down_after(Duration::from_secs(30)).start();
    let storage = RedisStorage::open(&sentinels.url()).await.expect("it opens");
    apply(&storage, commit("before", None, 1)).await;
    sentinels.sentinels()[0].freeze();
    let another = RedisStorage::open(&sentinels.url()).await.expect("two of three answer");
    apply(&another, commit("after", None, 2)).await;
    apply(&storage, commit("again", None, 3)).await;
    sentinels.sentinels()[0].thaw();
}
