//! A store in one file that any number of processes append to.
//!
//! Every call locks the file, reads what others have appended since, and appends what it does. A line
//! without its end was cut short by a kill, so nobody was told of it, and whoever has the lock next
//! removes it. What was written survives its process, and not a power cut: nothing is synced.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Cursor, Durability, Index, Key, Listing, Page, Promises,
    Storage, StorageError, Stored, Swept,
};
use grantor_conformance::storage::{Backend, Processes};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// A directory for one journal.
#[derive(Debug)]
pub(crate) struct Home(TempDir);

impl Backend for Home {
    type Store = Journal;
    const PROCESSES: Processes = Processes::Shared;

    async fn create() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    fn address(&self) -> String {
        self.0.path().join("journal").display().to_string()
    }

    async fn open(address: &str) -> Result<Journal, Box<dyn Error + Send + Sync>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(address)?;
        let state = State { file, read: 0, slots: BTreeMap::new() };
        Ok(Journal(Arc::new(Mutex::new(state))))
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.address().into()]
    }
}

pub(crate) struct Journal(Arc<Mutex<State>>);

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

/// The file, and what it says up to where it was read.
struct State {
    file: File,
    read: u64,
    slots: BTreeMap<Vec<u8>, Slot>,
}

struct Slot {
    stored: Stored,
    /// Every index that a commit of this record introduced: an entry comes and goes with its record.
    indexes: Vec<Index>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
enum Line {
    Written { key: Vec<u8>, id: [u8; 16], value: Vec<u8>, purge_at: i64, indexes: Vec<Index> },
    Removed { key: Vec<u8> },
}

impl State {
    /// Reads on; what is half written belongs to nobody.
    fn catch_up(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.read))?;
        let mut new = String::new();
        self.file.read_to_string(&mut new)?;
        let whole = new.rfind('\n').map_or(0, |at| at + 1);
        for line in new[..whole].lines() {
            self.apply(serde_json::from_str(line)?);
        }
        self.read += whole as u64;
        if whole < new.len() {
            self.file.set_len(self.read)?;
        }
        Ok(())
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Written { key, id, value, purge_at, indexes } => {
                let purge_at = Timestamp::from_millis(purge_at);
                let stored = Stored { commit: CommitId::from_bytes(id), value, purge_at };
                let mut known = self.slots.remove(&key).map_or(vec![], |slot| slot.indexes);
                known.extend(indexes);
                self.slots.insert(key, Slot { stored, indexes: known });
            }
            Line::Removed { key } => drop(self.slots.remove(&key)),
        }
    }

    fn append(&mut self, line: Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        self.file.write_all(&bytes)?;
        self.read += bytes.len() as u64;
        self.apply(line);
        Ok(())
    }

    fn commit(&mut self, commit: Commit) -> io::Result<CommitOutcome> {
        let key = commit.key.to_bytes();
        let current = self.slots.get(&key).map(|slot| slot.stored.commit);
        if current == Some(commit.id) {
            return Ok(CommitOutcome::Applied);
        }
        if current != commit.expect {
            return Ok(CommitOutcome::Conflict);
        }
        self.append(Line::Written {
            key,
            id: *commit.id.as_bytes(),
            value: commit.record.value,
            purge_at: commit.record.purge_at.as_millis(),
            indexes: commit.record.indexes,
        })?;
        Ok(CommitOutcome::Applied)
    }

    fn after<'a>(
        &'a self,
        after: Option<&'a Cursor>,
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a Slot)> {
        let start = after.map_or(Bound::Unbounded, |cursor| Bound::Excluded(cursor.0.as_slice()));
        self.slots.range::<[u8], _>((start, Bound::Unbounded))
    }

    fn list(&self, listing: &Listing, after: Option<&Cursor>, limit: usize) -> Page {
        let listed = |(key, slot): &(&Vec<u8>, &Slot)| match listing {
            Listing::Kind(kind) => key.first() == Some(&kind.as_byte()),
            Listing::Index(index) => slot.indexes.contains(index),
        };
        let keys: Vec<&[u8]> =
            self.after(after).filter(listed).map(|(key, _)| key.as_slice()).take(limit).collect();
        let next = keys.last().filter(|_| keys.len() == limit).map(|key| Cursor(key.to_vec()));
        Page { keys: keys.iter().filter_map(|key| Key::from_bytes(key)).collect(), next }
    }

    fn sweep(
        &mut self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> io::Result<Swept> {
        let examined: Vec<_> = self
            .after(after)
            .take(budget)
            .map(|(key, slot)| (key.clone(), slot.stored.purge_at.has_passed(now)))
            .collect();
        let next = examined.last().filter(|_| examined.len() == budget);
        let next = next.map(|(key, _)| Cursor(key.clone()));
        let mut swept = Swept { examined: examined.len(), removed: 0, next };
        for (key, _) in examined.into_iter().filter(|(_, due)| *due) {
            self.append(Line::Removed { key })?;
            swept.removed += 1;
        }
        Ok(swept)
    }
}

impl Journal {
    /// Does something to the file as it is now, alone.
    async fn with<T: Send + 'static>(
        &self,
        action: impl FnOnce(&mut State) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let state = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            let mut state = state.lock().expect("nobody panics with it");
            state.file.lock()?;
            let done = state.catch_up().and_then(|()| action(&mut state));
            state.file.unlock()?;
            done
        });
        // The errors of files name neither keys nor values.
        done.await.map_err(StorageError::unavailable)?.map_err(StorageError::unavailable)
    }
}

#[async_trait]
impl Storage for Journal {
    fn promises(&self) -> Promises {
        Promises {
            durability: Durability::Process,
            linearizable: true,
            evicts: false,
            shared: true,
        }
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        let keys: Vec<_> = keys.iter().map(Key::to_bytes).collect();
        self.with(move |state| {
            let stored = |key| state.slots.get(key).map(|slot: &Slot| slot.stored.clone());
            Ok(keys.iter().map(stored).collect())
        })
        .await
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        self.with(|state| state.commit(commit)).await
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let (listing, after) = (listing.clone(), after.cloned());
        self.with(move |state| Ok(state.list(&listing, after.as_ref(), limit.max(1)))).await
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        let after = after.cloned();
        self.with(move |state| state.sweep(now, after.as_ref(), budget.max(1))).await
    }

    async fn ready(&self) -> Result<(), StorageError> {
        self.with(|_| Ok(())).await
    }
}
