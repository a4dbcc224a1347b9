//! A store that keeps the contract and is not the reference: it walks its kinds in no order, comes by
//! keys twice, has empty pages, loses its place at times and says so, has steps of a sweep that look
//! at nothing, and drops what is past by a clock of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitOutcome, Cursor, Key, Listing, MemoryStorage, Page, Promises, Storage,
    StorageError, Stored, Swept,
};

/// A store in memory that does only what it must.
#[derive(Debug, Default)]
pub(crate) struct Scans {
    inner: MemoryStorage,
    calls: AtomicU64,
}

/// By its own clock it is 2020; all moments that matter to a test of the contract are later.
const NOW: Timestamp = Timestamp::from_millis(1_577_836_800_000);

/// Where a key lies in a walk: in no order that means anything.
fn place(key: &Key) -> Vec<u8> {
    key.to_bytes().into_iter().rev().collect()
}

/// A page of a walk over these keys. The cursor: whether the last page was empty, and where it ended.
pub(crate) fn page(keys: Vec<Key>, after: Option<&Cursor>, limit: usize) -> Page {
    let (empty, start) = match after.and_then(|cursor| cursor.0.split_first()) {
        Some((empty, start)) => (*empty == 1, start),
        None => (false, &[][..]),
    };
    if !empty {
        let cursor = [&[1], start].concat();
        return Page { keys: vec![], next: Some(Cursor(cursor)) };
    }
    let mut places: Vec<_> = keys.into_iter().map(|key| (place(&key), key)).collect();
    places.sort();
    // A page that has room for it begins with the last key of the one before.
    places.retain(|(place, _)| place.as_slice() > start || (limit > 1 && place == start));
    let more = places.len() > limit;
    places.truncate(limit);
    let next = places.last().filter(|_| more).map(|(place, _)| [&[0], &place[..]].concat());
    Page { keys: places.into_iter().map(|(_, key)| key).collect(), next: next.map(Cursor) }
}

impl Scans {
    fn call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    async fn sweep_all(&self, now: Timestamp) -> Result<(), StorageError> {
        let mut after = None;
        loop {
            after = match self.inner.sweep(now, after.as_ref(), 1_000).await?.next {
                Some(next) => Some(next),
                None => return Ok(()),
            };
        }
    }
}

#[async_trait]
impl Storage for Scans {
    fn promises(&self) -> Promises {
        self.inner.promises()
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.inner.load(keys).await
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        let over = commit.record.purge_at.has_passed(NOW);
        let outcome = self.inner.commit(commit).await?;
        if over {
            self.sweep_all(NOW).await?;
        }
        Ok(outcome)
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        if matches!(listing, Listing::Index(_)) {
            return self.inner.list(listing, after, limit).await;
        }
        if after.is_some() && self.call().is_multiple_of(101) {
            return Err(StorageError::unavailable("the nodes changed; begin the walk again"));
        }
        let keys = self.inner.list(listing, None, usize::MAX).await?.keys;
        Ok(page(keys, after, limit))
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        if self.call().is_multiple_of(2) {
            let here = after.cloned().unwrap_or(Cursor(vec![]));
            return Ok(Swept { next: Some(here), ..Swept::default() });
        }
        self.inner.sweep(now, after, budget).await
    }

    async fn ready(&self) -> Result<(), StorageError> {
        self.inner.ready().await
    }
}
