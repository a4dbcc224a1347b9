//! The reference: the contract in its plainest form, for tests and for servers that may forget.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::{
    Commit, CommitId, CommitOutcome, Cursor, Durability, Index, Key, Kind, Listing, Page, Promises,
    Storage, StorageError, Stored, Swept,
};
use crate::model::{Timestamp, digest};

/// A store that lives and dies with the process.
///
/// Records are spread over shards by key, each an ordered map behind its own lock. An ordered map
/// grows a node at a time, so no request ever waits for a table of millions to be rehashed; there are so
/// many shards that each stays flat.
pub struct MemoryStorage {
    shards: Box<[Mutex<Shard>]>,
    /// Where this lock and that of a shard are both held, this one was taken first.
    indexes: Mutex<BTreeSet<(Name, Key)>>,
}

type Shard = BTreeMap<Place, Slot>;

/// A key, ordered by its kind and then from its end: identifiers begin with the time, and the nodes of a
/// tree that only grows at its end stay half empty.
#[derive(PartialEq, Eq)]
struct Place(Key);

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let (this, other) = (&self.0, &other.0);
        let kinds = this.kind().cmp(&other.kind());
        kinds.then_with(|| this.id().iter().rev().cmp(other.id().iter().rev()))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Slot {
    commit: CommitId,
    purge_at: Timestamp,
    value: Box<[u8]>,
    indexes: Introduced,
}

/// Half of the SHA-256 of an index's name, which is a quarter of what names take.
type Name = [u8; 16];

fn name(index: &Index) -> Name {
    let mut name = Name::default();
    name.copy_from_slice(digest(&[index.as_str().as_bytes()]).split_at(16).0);
    name
}

/// The index entries that commits of a record introduced: hardly ever more than one.
#[derive(Default)]
enum Introduced {
    #[default]
    None,
    One(Name),
    Several(Box<[Name]>),
}

impl Introduced {
    fn as_slice(&self) -> &[Name] {
        match self {
            Self::None => &[],
            Self::One(index) => std::slice::from_ref(index),
            Self::Several(indexes) => indexes,
        }
    }

    fn and(&self, more: &[Name]) -> Self {
        let mut all = [self.as_slice(), more].concat();
        match (all.pop(), all.is_empty()) {
            (None, _) => Self::None,
            (Some(only), true) => Self::One(only),
            (Some(last), false) => {
                all.push(last);
                Self::Several(all.into())
            }
        }
    }
}

const SHARDS: u16 = 1024;

impl MemoryStorage {
    /// An empty store.
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, indexes: Mutex::default() }
    }

    fn shard(&self, key: &Key) -> &Mutex<Shard> {
        let at = crc32fast::hash(key.id()) as usize % usize::from(SHARDS);
        #[expect(clippy::indexing_slicing, reason = "there are SHARDS shards")]
        &self.shards[at]
    }

    /// Goes over keys, `limit` at most, shard by shard and in order within each, from where `after`
    /// says. Returns where to go on.
    fn walk(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        mut visit: impl FnMut(&mut Vec<Key>, &Shard, Bound<&Place>, usize),
    ) -> (Vec<Key>, Option<Cursor>) {
        let step = after.and_then(Step::read);
        let (first, mut after) = step.map_or((0, None), |step| (step.shard, step.after));
        let mut keys = Vec::new();
        for (number, shard) in (0..SHARDS).zip(&self.shards).skip(usize::from(first)) {
            let from = after.take().map(Place);
            let from = from.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let room = limit.saturating_sub(keys.len());
            let before = keys.len();
            visit(&mut keys, &lock(shard), from, room);
            if keys.len() - before == room {
                let next = Step { shard: number, after: keys.last().cloned() };
                return (keys, Some(next.write()));
            }
        }
        (keys, None)
    }
}

/// How far a walk is.
struct Step {
    shard: u16,
    /// The last key that was visited there.
    after: Option<Key>,
}

impl Step {
    fn read(cursor: &Cursor) -> Option<Self> {
        let (shard, key) = cursor.0.split_first_chunk()?;
        Some(Self { shard: u16::from_be_bytes(*shard), after: Key::from_bytes(key) })
    }

    fn write(&self) -> Cursor {
        let mut bytes = self.shard.to_be_bytes().to_vec();
        bytes.extend(self.after.iter().flat_map(Key::to_bytes));
        Cursor(bytes)
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
        let load = |key| {
            let shard = lock(self.shard(key));
            let Slot { commit, value, purge_at, .. } = shard.get(&Place(key.clone()))?;
            Some(Stored { commit: *commit, value: value.to_vec(), purge_at: *purge_at })
        };
        Ok(keys.iter().map(load).collect())
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        let Commit { key, expect, id, record } = commit;
        let names: Vec<Name> = record.indexes.iter().map(name).collect();
        // Held until the record is written, so that a sweep cannot take the entry in between.
        let mut indexes = (!names.is_empty()).then(|| lock(&self.indexes));
        let mut shard = lock(self.shard(&key));
        let place = Place(key.clone());
        let found = shard.get_mut(&place);
        match &found {
            Some(slot) if slot.commit == id => return Ok(CommitOutcome::Applied),
            found if found.as_ref().map(|slot| slot.commit) != expect => {
                return Ok(CommitOutcome::Conflict);
            }
            _ => {}
        }
        if let Some(indexes) = &mut indexes {
            indexes.extend(names.iter().map(|name| (*name, key.clone())));
        }
        let (value, purge_at) = (record.value.into(), record.purge_at);
        match found {
            Some(slot) => {
                if !names.is_empty() {
                    slot.indexes = slot.indexes.and(&names);
                }
                (slot.commit, slot.purge_at, slot.value) = (id, purge_at, value);
            }
            None => {
                let indexes = Introduced::None.and(&names);
                shard.insert(place, Slot { commit: id, purge_at, value, indexes });
            }
        }
        Ok(CommitOutcome::Applied)
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let limit = limit.max(1);
        match listing {
            Listing::Kind(kind) => {
                let (keys, next) = self.walk(after, limit, |keys, shard, from, room| {
                    let begin = Place(Key::of(*kind, &[]));
                    let from = if matches!(from, Bound::Unbounded) {
                        Bound::Included(&begin)
                    } else {
                        from
                    };
                    let found = shard.range((from, Bound::Unbounded)).map(|(Place(key), _)| key);
                    keys.extend(found.take_while(|key| key.kind() == *kind).take(room).cloned());
                });
                Ok(Page { keys, next })
            }
            Listing::Index(index) => {
                let after = after.and_then(|cursor| Key::from_bytes(&cursor.0));
                // Before every key.
                let after = after.unwrap_or_else(|| Key::of(Kind::Client, &[]));
                let indexes = lock(&self.indexes);
                let name = name(index);
                let from = (Bound::Excluded((name, after)), Bound::Unbounded);
                let found = indexes.range(from).take_while(|(other, _)| *other == name);
                let keys: Vec<Key> = found.take(limit).map(|(_, key)| key.clone()).collect();
                let next = if keys.len() < limit { None } else { keys.last() };
                let next = next.map(|key| Cursor(key.to_bytes()));
                Ok(Page { keys, next })
            }
        }
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        let mut expired = Vec::new();
        let (examined, next) = self.walk(after, budget.max(1), |keys, shard, from, room| {
            for (Place(key), slot) in shard.range((from, Bound::Unbounded)).take(room) {
                keys.push(key.clone());
                if slot.purge_at.has_passed(now) {
                    expired.push(key.clone());
                }
            }
        });
        let mut swept = Swept { examined: examined.len(), removed: 0, next };
        for key in expired {
            let mut indexes = lock(&self.indexes);
            let mut shard = lock(self.shard(&key));
            // It may have been replaced since.
            let place = Place(key);
            let stands = shard.get(&place).is_none_or(|slot| !slot.purge_at.has_passed(now));
            let Some(slot) = (if stands { None } else { shard.remove(&place) }) else { continue };
            let Place(key) = place;
            swept.removed += 1;
            for name in slot.indexes.as_slice() {
                indexes.remove(&(*name, key.clone()));
            }
        }
        Ok(swept)
    }

    async fn ready(&self) -> Result<(), StorageError> {
        Ok(())
    }
}
