//! Faults that show when a process is killed, or when there are two.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use async_trait::async_trait;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Cursor, Durability, Index, Key, Listing, Page, Promises,
    Storage, StorageError, Stored,
};

use crate::commits::commit_in_halves;
use crate::fault::{Fault, get, linger, overwrite, page};

/// What this process has not written yet.
type Unwritten = BTreeMap<Key, Vec<Commit>>;

fn newest(unwritten: &Unwritten, key: &Key) -> Option<Stored> {
    let commit = unwritten.get(key)?.last()?;
    let record = commit.record.clone();
    Some(Stored { commit: commit.id, value: record.value, purge_at: record.purge_at })
}

/// Acknowledges what it keeps in memory, and writes every fiftieth commit with those before it.
#[derive(Debug, Default)]
pub(crate) struct AcknowledgesBeforeItIsDurable(tokio::sync::Mutex<(Unwritten, u64)>);

#[async_trait]
impl Fault for AcknowledgesBeforeItIsDurable {
    async fn load(
        &self,
        store: &dyn Storage,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        let buffer = self.0.lock().await;
        let found = store.load(keys).await?;
        let newer = keys.iter().zip(found);
        Ok(newer.map(|(key, found)| newest(&buffer.0, key).or(found)).collect())
    }

    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let mut buffer = self.0.lock().await;
        let current = match newest(&buffer.0, &commit.key) {
            Some(stored) => Some(stored.commit),
            None => get(store, &commit.key).await?.map(|stored| stored.commit),
        };
        if current == Some(commit.id) {
            return Ok(CommitOutcome::Applied);
        }
        if current != commit.expect {
            return Ok(CommitOutcome::Conflict);
        }
        buffer.0.entry(commit.key.clone()).or_default().push(commit);
        buffer.1 += 1;
        if buffer.1 % 50 == 0 {
            for commit in std::mem::take(&mut buffer.0).into_values().flatten() {
                overwrite(store, &commit).await?;
            }
        }
        Ok(CommitOutcome::Applied)
    }
}

/// Shows what it is about to write; it acknowledges nothing too soon.
#[derive(Debug, Default)]
pub(crate) struct ShowsBeforeItIsDurable(Mutex<Unwritten>);

#[async_trait]
impl Fault for ShowsBeforeItIsDurable {
    async fn load(
        &self,
        store: &dyn Storage,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        let found = store.load(keys).await?;
        let unwritten = self.0.lock().expect("lock");
        let newer = keys.iter().zip(found);
        Ok(newer.map(|(key, found)| newest(&unwritten, key).or(found)).collect())
    }

    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let key = commit.key.clone();
        let current = get(store, &key).await?.map(|stored| stored.commit);
        if current == commit.expect {
            let mut unwritten = self.0.lock().expect("lock");
            unwritten.entry(key.clone()).or_default().push(commit.clone());
        }
        linger().await;
        let outcome = store.commit(commit).await;
        self.0.lock().expect("lock").remove(&key);
        outcome
    }
}

/// Writes the first half of a value, and then all of it; a kill may come in between.
#[derive(Debug, Default)]
pub(crate) struct TearsARecord;

#[async_trait]
impl Fault for TearsARecord {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        commit_in_halves(store, commit).await
    }
}

/// Writes down what it refuses, and forgets that it did.
#[derive(Debug, Default)]
pub(crate) struct WritesDownWhatItRefuses(Mutex<BTreeMap<Key, Stored>>);

#[async_trait]
impl Fault for WritesDownWhatItRefuses {
    async fn load(
        &self,
        store: &dyn Storage,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        let found = store.load(keys).await?;
        let right = self.0.lock().expect("lock");
        let found = keys.iter().zip(found);
        Ok(found.map(|(key, found)| right.get(key).cloned().or(found)).collect())
    }

    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let outcome = store.commit(commit.clone()).await?;
        if outcome == CommitOutcome::Conflict
            && let Some(right) = get(store, &commit.key).await?
        {
            self.0.lock().expect("lock").insert(commit.key.clone(), right);
            overwrite(store, &commit).await?;
        }
        Ok(outcome)
    }
}

/// Knows a repetition as long as its process lives.
#[derive(Debug, Default)]
pub(crate) struct ForgetsRepetitions(Mutex<BTreeSet<CommitId>>);

#[async_trait]
impl Fault for ForgetsRepetitions {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let id = commit.id;
        let stored = get(store, &commit.key).await?.map(|stored| stored.commit);
        if stored == Some(id) && !self.0.lock().expect("lock").contains(&id) {
            return Ok(CommitOutcome::Conflict);
        }
        let outcome = store.commit(commit).await?;
        self.0.lock().expect("lock").insert(id);
        Ok(outcome)
    }
}

/// Has its index entries in memory.
#[derive(Debug, Default)]
pub(crate) struct KeepsItsIndexesInMemory(Mutex<BTreeSet<(Index, Key)>>);

#[async_trait]
impl Fault for KeepsItsIndexesInMemory {
    async fn commit(
        &self,
        store: &dyn Storage,
        mut commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let indexes = std::mem::take(&mut commit.record.indexes).into_iter();
        let entries = indexes.map(|index| (index, commit.key.clone()));
        self.0.lock().expect("lock").extend(entries);
        store.commit(commit).await
    }

    async fn list(
        &self,
        store: &dyn Storage,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let Listing::Index(index) = listing else { return store.list(listing, after, limit).await };
        let entries = self.0.lock().expect("lock").clone();
        let listed = entries.into_iter().filter(|(name, _)| name == index).map(|(_, key)| key);
        Ok(page(listed, after, limit))
    }
}

/// Locks against the tasks of its process, and not against other processes.
#[derive(Debug, Default)]
pub(crate) struct LocksItsOwnProcessOnly(tokio::sync::Mutex<()>);

#[async_trait]
impl Fault for LocksItsOwnProcessOnly {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let _alone = self.0.lock().await;
        let current = get(store, &commit.key).await?.map(|stored| stored.commit);
        if current == Some(commit.id) {
            return Ok(CommitOutcome::Applied);
        }
        if current != commit.expect {
            return Ok(CommitOutcome::Conflict);
        }
        linger().await;
        overwrite(store, &commit).await?;
        Ok(CommitOutcome::Applied)
    }
}

/// Shows what its process saw first, and later what its process wrote.
#[derive(Debug, Default)]
pub(crate) struct CachesInItsProcess(Mutex<BTreeMap<Key, Stored>>);

#[async_trait]
impl Fault for CachesInItsProcess {
    async fn load(
        &self,
        store: &dyn Storage,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        let found = store.load(keys).await?;
        let mut cache = self.0.lock().expect("lock");
        let found = keys.iter().zip(found);
        Ok(found
            .map(|(key, found)| {
                found.map(|found| cache.entry(key.clone()).or_insert(found).clone())
            })
            .collect())
    }

    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        self.0.lock().expect("lock").remove(&commit.key);
        store.commit(commit).await
    }
}

/// Is for one process at a time, and does not look whether it is alone.
#[derive(Debug, Default)]
pub(crate) struct LetsASecondProcessIn;

#[async_trait]
impl Fault for LetsASecondProcessIn {}

/// Promises nothing, although it outlives its process.
#[derive(Debug, Default)]
pub(crate) struct PromisesTooLittle;

#[async_trait]
impl Fault for PromisesTooLittle {
    fn promises(&self, promised: Promises) -> Promises {
        Promises { durability: Durability::None, ..promised }
    }
}

/// Takes itself for the only process that has it open.
#[derive(Debug, Default)]
pub(crate) struct TakesItselfForAlone;

#[async_trait]
impl Fault for TakesItselfForAlone {
    fn promises(&self, promised: Promises) -> Promises {
        Promises { shared: false, ..promised }
    }
}

/// Leaves its file open to all users of the machine.
#[derive(Debug, Default)]
pub(crate) struct LetsOthersRead;

impl Fault for LetsOthersRead {
    fn opened(&self, address: &str) {
        set_permissions(address, Permissions::from_mode(0o644)).expect("the file is ours");
    }
}
