//! Faults of expiry and of sweeps.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitOutcome, Cursor, Key, Kind, Listing, Storage, StorageError, Swept,
};
use std::time::Duration;

use crate::fault::{Fault, all, get, linger, remove};

/// Has a clock that is a second fast.
#[derive(Debug, Default)]
pub(crate) struct PurgesEarly;

#[async_trait]
impl Fault for PurgesEarly {
    async fn sweep(
        &self,
        store: &dyn Storage,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        store.sweep(now.plus(Duration::from_secs(1)), after, budget).await
    }
}

/// Never removes anything.
#[derive(Debug, Default)]
pub(crate) struct NeverPurges;

#[async_trait]
impl Fault for NeverPurges {
    async fn sweep(
        &self,
        _: &dyn Storage,
        _: Timestamp,
        _: Option<&Cursor>,
        _: usize,
    ) -> Result<Swept, StorageError> {
        Ok(Swept::default())
    }
}

/// Removes a record when the first version of it would have been due.
#[derive(Debug, Default)]
pub(crate) struct PurgesByTheFirstVersion(Mutex<BTreeMap<Key, Timestamp>>);

#[async_trait]
impl Fault for PurgesByTheFirstVersion {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let purge_at = commit.record.purge_at;
        self.0.lock().expect("lock").entry(commit.key.clone()).or_insert(purge_at);
        store.commit(commit).await
    }

    async fn sweep(
        &self,
        store: &dyn Storage,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        let due: Vec<_> = {
            let first = self.0.lock().expect("lock");
            first.iter().filter(|(_, at)| at.has_passed(now)).map(|(key, _)| key.clone()).collect()
        };
        for key in due {
            remove(store, &key).await?;
            self.0.lock().expect("lock").remove(&key);
        }
        store.sweep(now, after, budget).await
    }
}

/// Looks what is due, and removes it a little later, whatever it is then.
#[derive(Debug, Default)]
pub(crate) struct RemovesWhatWasDueBefore;

#[async_trait]
impl Fault for RemovesWhatWasDueBefore {
    async fn sweep(
        &self,
        store: &dyn Storage,
        now: Timestamp,
        _: Option<&Cursor>,
        _: usize,
    ) -> Result<Swept, StorageError> {
        let mut swept = Swept::default();
        for key in all(store, &Listing::Kind(Kind::Grant)).await? {
            if get(store, &key).await?.is_some_and(|stored| stored.purge_at.has_passed(now)) {
                linger().await;
                remove(store, &key).await?;
                (swept.examined, swept.removed) = (1, 1);
            }
        }
        Ok(swept)
    }
}

/// Does twice as much at once as it was told to.
#[derive(Debug, Default)]
pub(crate) struct ExceedsItsBudget;

#[async_trait]
impl Fault for ExceedsItsBudget {
    async fn sweep(
        &self,
        store: &dyn Storage,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        store.sweep(now, after, budget * 2).await
    }
}

/// Always has a place to go on.
#[derive(Debug, Default)]
pub(crate) struct NeverGetsThrough;

#[async_trait]
impl Fault for NeverGetsThrough {
    async fn sweep(
        &self,
        store: &dyn Storage,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        let mut swept = store.sweep(now, after, budget).await?;
        swept.next = swept.next.or(Some(Cursor(vec![])));
        Ok(swept)
    }
}

/// Says that it is through after its first budget.
#[derive(Debug, Default)]
pub(crate) struct GivesUpAfterItsBudget;

#[async_trait]
impl Fault for GivesUpAfterItsBudget {
    async fn sweep(
        &self,
        store: &dyn Storage,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        let mut swept = store.sweep(now, after, budget).await?;
        swept.next = None;
        Ok(swept)
    }
}

/// Hands `purge_at` to a command that takes no moment in the past.
#[derive(Debug, Default)]
pub(crate) struct RefusesWhatIsOver;

#[async_trait]
impl Fault for RefusesWhatIsOver {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        if commit.record.purge_at.as_millis() <= 0 {
            return Err(StorageError::unavailable("invalid expire time"));
        }
        store.commit(commit).await
    }
}
