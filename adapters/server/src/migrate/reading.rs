//! Reading a store that may be away for a while.

use std::time::Duration;

use grantor::storage::{
    Commit, CommitOutcome, Cursor, Index, Key, Kind, Listing, Page, Record, Storage, StorageError,
    Stored,
};

use crate::users;

/// How many records are looked at together.
pub(super) const PAGE: usize = 256;
/// Between two tries: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// So many tries take half a minute, beyond the deadlines of the store itself.
const TRIES: usize = 20;

/// Tries again what a store could not do for the moment.
async fn patiently<T>(what: impl AsyncFn() -> Result<T, StorageError>) -> Result<T, StorageError> {
    let mut pause = PAUSE.0;
    for _ in 1..TRIES {
        match what().await {
            Err(StorageError::Unavailable { reason }) => {
                tracing::warn!(reason, "trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
            answer => return answer,
        }
    }
    what().await
}

/// A walk over every record of a kind, which begins again when the store has lost the place.
pub(super) struct Walk<'a> {
    storage: &'a dyn Storage,
    kind: Kind,
    after: Option<Cursor>,
    is_over: bool,
    restarts: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(storage: &'a dyn Storage, kind: Kind) -> Self {
        Self { storage, kind, after: None, is_over: false, restarts: 0 }
    }

    /// More keys, perhaps none; `None` when there are no more.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Key>>, StorageError> {
        if self.is_over {
            return Ok(None);
        }
        let listing = Listing::Kind(self.kind);
        match self.storage.list(&listing, self.after.as_ref(), PAGE).await {
            Ok(Page { keys, next }) => {
                self.is_over = next.is_none();
                self.after = next;
                Ok(Some(keys))
            }
            Err(StorageError::Unavailable { reason }) if self.restarts < TRIES => {
                tracing::warn!(reason, kind = ?self.kind, "reading from the beginning again");
                self.restarts += 1;
                self.after = None;
                tokio::time::sleep(PAUSE.1).await;
                Ok(Some(Vec::new()))
            }
            Err(error) => Err(error),
        }
    }
}

/// What is under a key.
pub(super) enum Found {
    Record(Stored),
    Nothing,
    /// It cannot be read: why.
    Unreadable(String),
}

/// What is under each of these keys.
pub(super) async fn load(
    storage: &dyn Storage,
    keys: Vec<Key>,
) -> Result<Vec<(Key, Found)>, StorageError> {
    let found = |stored: Option<Stored>| stored.map_or(Found::Nothing, Found::Record);
    match patiently(async || storage.load(&keys).await).await {
        Ok(all) if all.len() == keys.len() => {
            return Ok(keys.into_iter().zip(all.into_iter().map(found)).collect());
        }
        Ok(_) => return Err(StorageError::damaged("it answered for another number of keys")),
        // One of them spoils the answer for all.
        Err(StorageError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut each = Vec::with_capacity(keys.len());
    for key in keys {
        let loaded = patiently(async || storage.load(std::slice::from_ref(&key)).await).await;
        let loaded = match loaded {
            Ok(mut one) => found(one.pop().flatten()),
            Err(StorageError::Damaged { reason }) => Found::Unreadable(reason),
            Err(error) => return Err(error),
        };
        each.push((key, loaded));
    }
    Ok(each)
}

/// The index entries that a record must have. A record that this version cannot read has none that it
/// knows of.
pub(super) fn indexes(key: &Key, stored: &Stored) -> Result<Vec<Index>, StorageError> {
    match key.kind() {
        Kind::User => users::indexes(&stored.value),
        // Counters and marks, which are found by their keys.
        Kind::Throttle | Kind::Replay => Ok(Vec::new()),
        _ => Ok(Record::decode(key, &stored.value)?.indexes()),
    }
}

/// Commits; whether it is known to have been done or not, it can be asked again.
pub(super) async fn commit(
    storage: &dyn Storage,
    commit: Commit,
) -> Result<CommitOutcome, StorageError> {
    patiently(async || storage.commit(commit.clone()).await).await
}

/// A page of an index.
pub(super) async fn list(
    storage: &dyn Storage,
    index: &Index,
    after: Option<&Cursor>,
) -> Result<Page, StorageError> {
    let listing = Listing::Index(index.clone());
    patiently(async || storage.list(&listing, after, PAGE).await).await
}
