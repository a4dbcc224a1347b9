//! Faults of index entries.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Mutex;

use async_trait::async_trait;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitOutcome, Cursor, Index, Key, Listing, Page, Storage, StorageError, Swept,
};

use crate::fault::{Fault, get, linger, page};

type Entries = std::collections::BTreeSet<(Index, Key)>;

/// Writes the record without its entries, every second time.
#[derive(Debug, Default)]
pub(crate) struct ForgetsEntries(std::sync::atomic::AtomicBool);

#[async_trait]
impl Fault for ForgetsEntries {
    async fn commit(
        &self,
        store: &dyn Storage,
        mut commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        if self.0.fetch_xor(true, std::sync::atomic::Ordering::Relaxed) {
            commit.record.indexes.clear();
        }
        store.commit(commit).await
    }
}

/// Writes entries with the first version of a record only.
#[derive(Debug, Default)]
pub(crate) struct IndexesFirstVersionsOnly;

#[async_trait]
impl Fault for IndexesFirstVersionsOnly {
    async fn commit(
        &self,
        store: &dyn Storage,
        mut commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        if commit.expect.is_some() {
            commit.record.indexes.clear();
        }
        store.commit(commit).await
    }
}

/// A store that keeps its index entries beside the records, with a bad habit.
#[derive(Debug, Default)]
pub(crate) struct Beside<H>(Mutex<Entries>, PhantomData<H>);

/// The habits of a store that keeps its index entries beside the records.
pub(crate) trait Habit: fmt::Debug + Default + Send + Sync + 'static {
    const WRITES: Writes;
    const SWEEPS: Sweeps;
}

/// When entries are written.
#[derive(PartialEq, Eq)]
pub(crate) enum Writes {
    BeforeTheRecord,
    AfterTheRecord,
    /// In the place of all that the record had.
    InsteadOfTheOld,
}

/// How entries are removed.
#[derive(PartialEq, Eq)]
pub(crate) enum Sweeps {
    Never,
    /// As soon as their record is not there.
    WithoutARecord,
    /// All, and those with a record are written again.
    AndRebuilds,
}

#[async_trait]
impl<H: Habit> Fault for Beside<H> {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let indexes = commit.record.indexes.iter();
        let entries: Entries = indexes.map(|index| (index.clone(), commit.key.clone())).collect();
        if H::WRITES == Writes::InsteadOfTheOld {
            self.0.lock().expect("lock").retain(|(_, key)| *key != commit.key);
        }
        if H::WRITES != Writes::AfterTheRecord {
            self.0.lock().expect("lock").extend(entries.clone());
        }
        linger().await;
        let outcome = store.commit(commit).await?;
        if H::WRITES == Writes::AfterTheRecord {
            linger().await;
            self.0.lock().expect("lock").extend(entries);
        }
        Ok(outcome)
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

    async fn sweep(
        &self,
        store: &dyn Storage,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        let swept = store.sweep(now, after, budget).await?;
        if H::SWEEPS == Sweeps::Never {
            return Ok(swept);
        }
        let before = self.0.lock().expect("lock").clone();
        if H::SWEEPS == Sweeps::AndRebuilds {
            self.0.lock().expect("lock").clear();
            linger().await;
        }
        for entry in before {
            if get(store, &entry.1).await?.is_some() {
                self.0.lock().expect("lock").insert(entry);
            } else {
                self.0.lock().expect("lock").remove(&entry);
            }
        }
        Ok(swept)
    }
}

/// Writes the record, and its entries afterwards.
#[derive(Debug, Default)]
pub(crate) struct Afterwards;

impl Habit for Afterwards {
    const WRITES: Writes = Writes::AfterTheRecord;
    const SWEEPS: Sweeps = Sweeps::Never;
}

/// Has the entries that the last commit of a record named, and no others.
#[derive(Debug, Default)]
pub(crate) struct OnlyTheLast;

impl Habit for OnlyTheLast {
    const WRITES: Writes = Writes::InsteadOfTheOld;
    const SWEEPS: Sweeps = Sweeps::Never;
}

/// Sweeps an entry because its record is not there, although it is about to be written.
#[derive(Debug, Default)]
pub(crate) struct TooSoon;

impl Habit for TooSoon {
    const WRITES: Writes = Writes::BeforeTheRecord;
    const SWEEPS: Sweeps = Sweeps::WithoutARecord;
}

/// Never removes an entry.
#[derive(Debug, Default)]
pub(crate) struct ForEver;

impl Habit for ForEver {
    const WRITES: Writes = Writes::BeforeTheRecord;
    const SWEEPS: Sweeps = Sweeps::Never;
}

/// Empties its indexes, and fills them again from what is left.
#[derive(Debug, Default)]
pub(crate) struct Rebuilt;

impl Habit for Rebuilt {
    const WRITES: Writes = Writes::BeforeTheRecord;
    const SWEEPS: Sweeps = Sweeps::AndRebuilds;
}
