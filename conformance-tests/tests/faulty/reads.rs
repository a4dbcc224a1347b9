//! Faults of loads, of keys and values, and of what is printed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use grantor::storage::{
    Commit, CommitOutcome, Key, Kind, NewRecord, Promises, Storage, StorageError, Stored,
};

use crate::fault::{Fault, again, get, linger, remove};

/// Reads from a replica that learns of a commit when the next one comes.
#[derive(Debug, Default)]
pub(crate) struct ReadsFromAReplica(Mutex<BTreeMap<Key, Option<Stored>>>);

#[async_trait]
impl Fault for ReadsFromAReplica {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let before = get(store, &commit.key).await?;
        self.0.lock().expect("lock").insert(commit.key.clone(), before);
        store.commit(commit).await
    }

    async fn load(
        &self,
        store: &dyn Storage,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        let mut found = store.load(keys).await?;
        for (key, found) in keys.iter().zip(&mut found) {
            if let Some(stale) = self.0.lock().expect("lock").get(key) {
                found.clone_from(stale);
            }
        }
        Ok(found)
    }
}

/// Answers in the order of the keys, not in that of the question.
#[derive(Debug, Default)]
pub(crate) struct AnswersInItsOwnOrder;

#[async_trait]
impl Fault for AnswersInItsOwnOrder {
    async fn load(
        &self,
        store: &dyn Storage,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        let mut keys = keys.to_vec();
        keys.sort();
        store.load(&keys).await
    }
}

/// Takes a record out while it is loaded, and puts it back afterwards.
#[derive(Debug, Default)]
pub(crate) struct TakesOutWhatItLoads;

#[async_trait]
impl Fault for TakesOutWhatItLoads {
    async fn load(
        &self,
        store: &dyn Storage,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        let found = store.load(keys).await?;
        for (key, found) in keys.iter().zip(&found) {
            if let Some(found) = found {
                remove(store, key).await?;
                linger().await;
                let _ = store.commit(again(key, found.clone())).await?;
            }
        }
        Ok(found)
    }
}

/// Keeps the records of all kinds together, by identifier.
#[derive(Debug, Default)]
pub(crate) struct ForgetsTheKind;

fn kindless(key: &Key) -> Key {
    Key::new(Kind::Grant, key.id()).expect("it was a key")
}

#[async_trait]
impl Fault for ForgetsTheKind {
    async fn load(
        &self,
        store: &dyn Storage,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        store.load(&keys.iter().map(kindless).collect::<Vec<_>>()).await
    }

    async fn commit(
        &self,
        store: &dyn Storage,
        mut commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        commit.key = kindless(&commit.key);
        store.commit(commit).await
    }
}

/// Keeps identifiers as text.
#[derive(Debug, Default)]
pub(crate) struct TakesKeysForText;

fn as_text(key: &Key) -> Key {
    let mut text = String::from_utf8_lossy(key.id()).into_owned().into_bytes();
    text.truncate(Key::MAX_ID_LEN);
    Key::new(key.kind(), text).expect("short")
}

#[async_trait]
impl Fault for TakesKeysForText {
    async fn load(
        &self,
        store: &dyn Storage,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        store.load(&keys.iter().map(as_text).collect::<Vec<_>>()).await
    }

    async fn commit(
        &self,
        store: &dyn Storage,
        mut commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        commit.key = as_text(&commit.key);
        store.commit(commit).await
    }
}

/// Cuts values at so many bytes.
#[derive(Debug, Default)]
pub(crate) struct CutsValuesAt<const LEN: usize>;

#[async_trait]
impl<const LEN: usize> Fault for CutsValuesAt<LEN> {
    async fn commit(
        &self,
        store: &dyn Storage,
        mut commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        commit.record.value.truncate(LEN);
        store.commit(commit).await
    }
}

/// A column that is too short by half.
pub(crate) type CutsTheLargest = CutsValuesAt<{ NewRecord::MAX_VALUE_LEN / 2 }>;
/// One that is as long as it has to be, and cuts the rest.
pub(crate) type CutsWhatIsTooLarge = CutsValuesAt<{ NewRecord::MAX_VALUE_LEN }>;

/// Takes an empty value for no record.
#[derive(Debug, Default)]
pub(crate) struct TakesEmptyForNothing;

#[async_trait]
impl Fault for TakesEmptyForNothing {
    async fn load(
        &self,
        store: &dyn Storage,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        let found = store.load(keys).await?;
        Ok(found.into_iter().map(|found| found.filter(|found| !found.value.is_empty())).collect())
    }
}

/// Says that it may drop what it likes.
#[derive(Debug, Default)]
pub(crate) struct Evicts;

#[async_trait]
impl Fault for Evicts {
    fn promises(&self, promised: Promises) -> Promises {
        Promises { evicts: true, ..promised }
    }
}

/// Prints what it was given last.
#[derive(Default)]
pub(crate) struct PrintsRecords(Mutex<String>);

impl fmt::Debug for PrintsRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.lock().expect("lock"))
    }
}

#[async_trait]
impl Fault for PrintsRecords {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        *self.0.lock().expect("lock") = String::from_utf8_lossy(&commit.record.value).into_owned();
        store.commit(commit).await
    }
}
