//! The reference: the contract in its plainest form, for tests and for servers that may forget.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::{
    Commit, CommitOutcome, Cursor, Durability, Index, Key, Listing, Page, Promises, Storage,
    StorageError, Stored, Swept,
};
use crate::model::Timestamp;

/// A store that lives and dies with the process.
///
/// Records are spread over shards by key, each an ordered map behind its own lock. An ordered map
/// grows a node at a time, so no request ever waits for a table of millions to be rehashed.
pub struct MemoryStorage {
    shards: Box<[Mutex<Shard>]>,
    /// Index name to keys. Where both locks are held, this one was taken first.
    indexes: Mutex<BTreeMap<Index, BTreeSet<Key>>>,
}

type Shard = BTreeMap<Box<[u8]>, Slot>;

struct Slot {
    stored: Stored,
    /// The index entries that commits of this record introduced.
    indexes: Vec<Index>,
}

const SHARDS: usize = 64;

impl MemoryStorage {
    /// An empty store.
    pub fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), indexes: Mutex::default() }
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        let at = crc32fast::hash(key) as usize % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "there are SHARDS shards")]
        &self.shards[at]
    }

    /// Keys of all shards after `after`, `limit` at most, in order.
    fn keys_after(&self, after: &[u8], prefix: Option<u8>, limit: usize) -> Vec<Box<[u8]>> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let range = (Bound::Excluded(after), Bound::Unbounded);
            keys.extend(
                shard
                    .range::<[u8], _>(range)
                    .map(|(key, _)| key)
                    .take_while(|key| prefix.is_none_or(|byte| key.first() == Some(&byte)))
                    .take(limit)
                    .cloned(),
            );
        }
        keys.sort_unstable();
        keys.truncate(limit);
        keys
    }
}

impl fmt::Debug for MemoryStorage {
    /// Without the records: whoever prints a server would print them all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage").finish_non_exhaustive()
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

/// No code panics while it holds a lock; if one ever did, the map is still whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Storage for MemoryStorage {
    fn promises(&self) -> Promises {
        Promises { durability: Durability::None, linearizable: true, evicts: false, shared: false }
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        Ok(keys
            .iter()
            .map(|key| {
                let key = key.to_bytes();
                lock(self.shard(&key)).get(key.as_slice()).map(|slot| slot.stored.clone())
            })
            .collect())
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        let Commit { key, expect, id, record } = commit;
        // Held until the record is written, so that a sweep cannot take the entry in between.
        let mut indexes = (!record.indexes.is_empty()).then(|| lock(&self.indexes));
        let bytes = key.to_bytes();
        let mut shard = lock(self.shard(&bytes));
        let mut introduced = match shard.get_mut(bytes.as_slice()) {
            Some(slot) if slot.stored.commit == id => return Ok(CommitOutcome::Applied),
            found if found.as_ref().map(|slot| slot.stored.commit) != expect => {
                return Ok(CommitOutcome::Conflict);
            }
            Some(slot) => std::mem::take(&mut slot.indexes),
            None => Vec::new(),
        };
        if let Some(indexes) = &mut indexes {
            for index in record.indexes {
                indexes.entry(index.clone()).or_default().insert(key.clone());
                introduced.push(index);
            }
        }
        let stored = Stored { commit: id, value: record.value, purge_at: record.purge_at };
        shard.insert(bytes.into(), Slot { stored, indexes: introduced });
        Ok(CommitOutcome::Applied)
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let limit = limit.max(1);
        let after = after.map(|cursor| cursor.0.as_slice());
        let keys: Vec<Key> = match listing {
            Listing::Kind(kind) => {
                let start = [kind.as_byte()];
                self.keys_after(after.unwrap_or(&start), Some(kind.as_byte()), limit)
                    .iter()
                    .filter_map(|key| Key::from_bytes(key))
                    .collect()
            }
            Listing::Index(index) => {
                let indexes = lock(&self.indexes);
                let after = after.and_then(Key::from_bytes);
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                indexes
                    .get(index)
                    .map(|keys| keys.range((from, Bound::Unbounded)).take(limit).cloned().collect())
                    .unwrap_or_default()
            }
        };
        let next = if keys.len() < limit { None } else { keys.last() };
        let next = next.map(|key| Cursor(key.to_bytes()));
        Ok(Page { keys, next })
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        let budget = budget.max(1);
        let start = after.map_or(&[][..], |cursor| cursor.0.as_slice());
        let keys = self.keys_after(start, None, budget);
        let mut swept = Swept { examined: keys.len(), removed: 0, next: None };
        for key in &keys {
            let mut indexes = lock(&self.indexes);
            let mut shard = lock(self.shard(key));
            if !shard.get(key).is_some_and(|slot| slot.stored.purge_at.has_passed(now)) {
                continue;
            }
            swept.removed += 1;
            let Some((slot, key)) = shard.remove(key).zip(Key::from_bytes(key)) else {
                continue;
            };
            for index in slot.indexes {
                if let Entry::Occupied(mut entry) = indexes.entry(index) {
                    entry.get_mut().remove(&key);
                    if entry.get().is_empty() {
                        entry.remove();
                    }
                }
            }
        }
        if keys.len() == budget {
            swept.next = keys.last().map(|key| Cursor(key.to_vec()));
        }
        Ok(swept)
    }

    async fn ready(&self) -> Result<(), StorageError> {
        Ok(())
    }
}
