//! Faults of commits: who wins, who is told so, and what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use grantor::storage::{Commit, CommitId, CommitOutcome, Storage, StorageError};

use crate::fault::{Fault, get, linger, not, overwrite, remove};

/// Acknowledges every eighth commit, and does nothing.
#[derive(Debug, Default)]
pub(crate) struct LosesAWrite(AtomicU64);

#[async_trait]
impl Fault for LosesAWrite {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        if self.0.fetch_add(1, Ordering::Relaxed) % 8 == 7 {
            return Ok(CommitOutcome::Applied);
        }
        store.commit(commit).await
    }
}

/// Reads, compares, and then writes: somebody else may have written in between.
#[derive(Debug, Default)]
pub(crate) struct ReadsThenWrites;

#[async_trait]
impl Fault for ReadsThenWrites {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
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

/// Writes, and says afterwards whether it should have.
#[derive(Debug, Default)]
pub(crate) struct WritesBesideTheConflict;

#[async_trait]
impl Fault for WritesBesideTheConflict {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let outcome = store.commit(commit.clone()).await?;
        if outcome == CommitOutcome::Conflict {
            overwrite(store, &commit).await?;
        }
        Ok(outcome)
    }
}

/// Refuses every sixth commit, for no reason.
#[derive(Debug, Default)]
pub(crate) struct RefusesTheRightOne(AtomicU64);

#[async_trait]
impl Fault for RefusesTheRightOne {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        if self.0.fetch_add(1, Ordering::Relaxed) % 6 == 5 {
            return Ok(CommitOutcome::Conflict);
        }
        store.commit(commit).await
    }
}

/// Takes two versions for the same when they have the same value.
#[derive(Debug, Default)]
pub(crate) struct KnowsVersionsByTheirValue(Mutex<BTreeMap<CommitId, Vec<u8>>>);

#[async_trait]
impl Fault for KnowsVersionsByTheirValue {
    async fn commit(
        &self,
        store: &dyn Storage,
        mut commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        self.0.lock().expect("lock").insert(commit.id, commit.record.value.clone());
        let expected = commit.expect.and_then(|id| self.0.lock().expect("lock").get(&id).cloned());
        if let Some(current) = get(store, &commit.key).await?
            && Some(&current.value) == expected.as_ref()
        {
            commit.expect = Some(current.commit);
        }
        store.commit(commit).await
    }
}

/// Answers a commit that is repeated with a conflict.
#[derive(Debug, Default)]
pub(crate) struct TakesARepetitionForAnother(Mutex<BTreeSet<CommitId>>);

#[async_trait]
impl Fault for TakesARepetitionForAnother {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        if !self.0.lock().expect("lock").insert(commit.id) {
            return Ok(CommitOutcome::Conflict);
        }
        store.commit(commit).await
    }
}

/// Remembers what it applied, and confirms it although it was replaced since.
#[derive(Debug, Default)]
pub(crate) struct ConfirmsWhatWasReplaced(Mutex<BTreeSet<CommitId>>);

#[async_trait]
impl Fault for ConfirmsWhatWasReplaced {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let id = commit.id;
        if self.0.lock().expect("lock").contains(&id) {
            return Ok(CommitOutcome::Applied);
        }
        let outcome = store.commit(commit).await?;
        if outcome == CommitOutcome::Applied {
            self.0.lock().expect("lock").insert(id);
        }
        Ok(outcome)
    }
}

/// Removes the old record, and then writes the new one.
#[derive(Debug, Default)]
pub(crate) struct RemovesThenWrites(tokio::sync::Mutex<()>);

#[async_trait]
impl Fault for RemovesThenWrites {
    async fn commit(
        &self,
        store: &dyn Storage,
        mut commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let _alone = self.0.lock().await;
        let current = get(store, &commit.key).await?.map(|stored| stored.commit);
        if current.is_some() && current == commit.expect && current != Some(commit.id) {
            remove(store, &commit.key).await?;
            linger().await;
            commit.expect = None;
        }
        store.commit(commit).await
    }
}

/// Writes the first half of a value, and then all of it.
#[derive(Debug, Default)]
pub(crate) struct WritesInTwoHalves;

#[async_trait]
impl Fault for WritesInTwoHalves {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        commit_in_halves(store, commit).await
    }
}

/// Two commits of the store within, with time in between.
pub(crate) async fn commit_in_halves(
    store: &dyn Storage,
    mut commit: Commit,
) -> Result<CommitOutcome, StorageError> {
    if get(store, &commit.key).await?.map(|stored| stored.commit) == Some(commit.id) {
        return Ok(CommitOutcome::Applied);
    }
    let mut half = commit.clone();
    half.id = not(commit.id);
    half.record.value.truncate(commit.record.value.len() / 2);
    if store.commit(half.clone()).await? == CommitOutcome::Conflict {
        return Ok(CommitOutcome::Conflict);
    }
    linger().await;
    commit.expect = Some(half.id);
    store.commit(commit).await
}

/// Takes a lock that nobody frees when the future that took it is dropped.
#[derive(Debug, Default)]
pub(crate) struct LocksForEver(AtomicBool);

#[async_trait]
impl Fault for LocksForEver {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let mut tries = 0;
        while self.0.swap(true, Ordering::SeqCst) {
            tries += 1;
            if tries > 1_000 {
                return Err(StorageError::unavailable("locked"));
            }
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        let outcome = store.commit(commit).await;
        self.0.store(false, Ordering::SeqCst);
        outcome
    }
}
