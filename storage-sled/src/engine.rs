//! The trees while they are open: reading, applying, listing, sweeping, and the barrier.
//!
//! Everything here blocks, and nothing waits for the disk but [`Engine::make_durable`] and a read of
//! a page that is not in the cache.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use grantor::model::Timestamp;
use grantor::storage::{Commit, Cursor, Index, Key, Listing, Page, StorageError, Stored, Swept};
use sled::{Db, IVec, Tree};

use crate::envelope::{Entry, Record, Stamp, entry_key, entry_prefix, entry_target};
use crate::ledger::{MAX_REMOVALS, Mark, Removal, Table};

/// Open trees, and the books over them.
#[derive(Debug)]
pub(crate) struct Engine {
    db: Quiet,
    records: Tree,
    entries: Tree,
    meta: Tree,
    barrier: Barrier,
    /// Shared while something is written, exclusive while a mark is made. Holds the last mark.
    mark: RwLock<Mark>,
    /// The number of the last version.
    seq: AtomicU64,
    /// The number up to which every version is durable.
    durable: AtomicU64,
    /// The sum of the weights of all current versions.
    sum: AtomicU64,
    /// Held from before an index entry is read until the record that introduces it is written.
    entry_writers: Mutex<()>,
}

/// sled's `Debug` prints every record.
struct Quiet(Db);

impl std::fmt::Debug for Quiet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Db")
    }
}

/// What makes sled's log durable once sled has written it.
#[derive(Debug)]
pub(crate) enum Barrier {
    /// sled's file, opened once: the kernel reports a write error once to each open file.
    File(File),
    /// A disk whose sync fails.
    #[cfg(test)]
    Failing,
    /// A disk whose sync ends when the other end is dropped.
    #[cfg(test)]
    Stalling(Mutex<std::sync::mpsc::Receiver<()>>),
}

impl Barrier {
    fn sync(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync_data(),
            #[cfg(test)]
            Self::Failing => Err(io::Error::from_raw_os_error(5)),
            #[cfg(test)]
            Self::Stalling(end) => {
                let _ = end.lock().unwrap_or_else(PoisonError::into_inner).recv();
                Ok(())
            }
        }
    }
}

/// Why a barrier failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// sled could not write its log.
    Sled(sled::Error),
    /// The system could not sync it.
    Sync(io::Error),
}

/// Why an operation failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// sled did.
    Sled(sled::Error),
    /// A checksum did not match.
    Mismatch(&'static str),
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        Self::Sled(error)
    }
}

impl From<Fault> for StorageError {
    fn from(fault: Fault) -> Self {
        match fault {
            // The display of sled's errors holds offsets and messages, never keys or values.
            Fault::Sled(error @ sled::Error::Io(_)) => Self::unavailable(error),
            Fault::Sled(error) => Self::damaged(error),
            Fault::Mismatch(tree) => {
                Self::damaged(format_args!("an item of tree {tree} does not match its checksum"))
            }
        }
    }
}

/// What a commit did to the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is in the log, and will be durable.
    Yes,
    /// Nothing was written.
    Conflict,
}

const SWEEP_RECORDS: u8 = 0;
const SWEEP_ENTRIES: u8 = 1;

impl Engine {
    pub(crate) fn new(
        db: Db,
        records: Tree,
        entries: Tree,
        meta: Tree,
        mark: Mark,
        barrier: Barrier,
    ) -> Self {
        Self {
            db: Quiet(db),
            records,
            entries,
            meta,
            barrier,
            seq: AtomicU64::new(mark.seq),
            durable: AtomicU64::new(0),
            sum: AtomicU64::new(mark.sum),
            mark: RwLock::new(mark),
            entry_writers: Mutex::new(()),
        }
    }

    #[cfg(test)]
    pub(crate) fn stall_barrier(&mut self) -> std::sync::mpsc::Sender<()> {
        let (sender, end) = std::sync::mpsc::channel();
        self.barrier = Barrier::Stalling(Mutex::new(end));
        sender
    }

    #[cfg(test)]
    pub(crate) fn break_barrier(&mut self) {
        self.barrier = Barrier::Failing;
    }

    /// The records, and whether all of what they show is durable.
    pub(crate) fn load(&self, keys: &[Key]) -> Result<(Vec<Option<Stored>>, bool), Fault> {
        let mut newest = 0;
        let found = keys.iter().map(|key| {
            let key = key.to_bytes();
            let Some(bytes) = self.records.get(&key)? else { return Ok(None) };
            let record = decode_record(&key, &bytes)?;
            newest = newest.max(record.stamp.seq);
            Ok(Some(record.to_stored()))
        });
        let found = found.collect::<Result<Vec<_>, Fault>>()?;
        Ok((found, newest <= self.durable.load(Ordering::Acquire)))
    }

    /// Puts a commit into the log.
    pub(crate) fn apply(&self, commit: &Commit) -> Result<Applied, Fault> {
        let mark = self.mark.read().unwrap_or_else(PoisonError::into_inner);
        let _entry_writer = (!commit.record.indexes.is_empty())
            .then(|| self.entry_writers.lock().unwrap_or_else(PoisonError::into_inner));
        let key = commit.key.to_bytes();
        let current = self.records.get(&key)?;
        let replaced = current.as_ref().map(|bytes| decode_record(&key, bytes)).transpose()?;
        let last = replaced.as_ref().map(|record| record.commit);
        if last == Some(commit.id) {
            // Its first attempt may still be waiting for the barrier, so this one waits as well.
            return Ok(Applied::Yes);
        }
        if last != commit.expect {
            return Ok(Applied::Conflict);
        }
        for index in &commit.record.indexes {
            self.introduce(&mark, index, &key, commit.record.purge_at)?;
        }
        let old = replaced.map(|record| record.stamp);
        let stamp = self.stamp(&mark, old);
        let bytes = Record {
            commit: commit.id,
            purge_at: commit.record.purge_at,
            stamp,
            value: &commit.record.value,
        }
        .encode(&key);
        match self.records.compare_and_swap(&key, current.as_ref(), Some(bytes))? {
            Ok(()) => {
                self.enter(old, stamp);
                Ok(Applied::Yes)
            }
            Err(race) => {
                let winner = race
                    .current
                    .map(|bytes| decode_record(&key, &bytes).map(|record| record.commit))
                    .transpose()?;
                // It may be the same attempt, sent twice at once.
                Ok(if winner == Some(commit.id) { Applied::Yes } else { Applied::Conflict })
            }
        }
    }

    /// Writes an index entry, unless there is one that lasts as long. The caller holds
    /// `entry_writers`.
    fn introduce(
        &self,
        mark: &Mark,
        index: &Index,
        record: &[u8],
        purge_at: Timestamp,
    ) -> Result<(), Fault> {
        let key = entry_key(index.as_str(), record);
        let old = self.entries.get(&key)?.map(|bytes| decode_entry(&key, &bytes)).transpose()?;
        if old.as_ref().is_some_and(|old| old.purge_at >= purge_at) {
            return Ok(());
        }
        let old = old.map(|old| old.stamp);
        let stamp = self.stamp(mark, old);
        self.entries.insert(&key, Entry { purge_at, stamp }.encode(&key))?;
        self.enter(old, stamp);
        Ok(())
    }

    fn stamp(&self, mark: &Mark, old: Option<Stamp>) -> Stamp {
        Stamp {
            seq: self.seq.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
            base: old.map_or(0, |old| old.weight_at(mark.seq)),
        }
    }

    fn enter(&self, old: Option<Stamp>, new: Stamp) {
        let change = new.weight().wrapping_sub(old.map_or(0, Stamp::weight));
        self.sum.fetch_add(change, Ordering::Relaxed);
    }

    /// The lock orders every write before or after the mark, the atomics need no order of their own.
    fn next_mark(&self, mark: &mut Mark, removals: Vec<Removal>) -> sled::Result<u64> {
        let next = Mark {
            number: mark.number.wrapping_add(1),
            seq: self.seq.load(Ordering::Relaxed),
            sum: self.sum.load(Ordering::Relaxed),
            removals,
        };
        next.write(&self.meta)?;
        *mark = next;
        Ok(mark.number)
    }

    /// Makes everything durable that was applied before; the number of the mark that says so.
    pub(crate) fn make_durable(&self) -> Result<u64, Failure> {
        let (number, seq) = {
            let mut mark = self.mark.write().unwrap_or_else(PoisonError::into_inner);
            (self.next_mark(&mut mark, Vec::new()).map_err(Failure::Sled)?, mark.seq)
        };
        self.db.0.flush().map_err(Failure::Sled)?;
        self.barrier.sync().map_err(Failure::Sync)?;
        self.durable.fetch_max(seq, Ordering::Release);
        Ok(number)
    }

    /// Whether the system reports that something sled wrote did not reach the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.barrier.sync()
    }

    pub(crate) fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, Fault> {
        let limit = limit.max(1);
        let (tree, prefix) = match listing {
            Listing::Kind(kind) => (&self.records, vec![kind.as_byte()]),
            Listing::Index(index) => (&self.entries, entry_prefix(index.as_str())),
        };
        let start = after.map_or(prefix.as_slice(), |cursor| cursor.0.as_slice());
        let mut keys = Vec::new();
        let mut last = None;
        for item in tree.range::<&[u8], _>((Bound::Excluded(start), Bound::Unbounded)) {
            let (found, _) = item?;
            if !found.starts_with(&prefix) {
                break;
            }
            if keys.len() == limit {
                let next = last.map(|last: IVec| Cursor(last.to_vec()));
                return Ok(Page { keys, next });
            }
            let key = match listing {
                Listing::Kind(_) => Some(&found[..]),
                Listing::Index(_) => entry_target(&found),
            };
            let key = key.and_then(Key::from_bytes).ok_or(Fault::Mismatch("records or entries"))?;
            keys.push(key);
            last = Some(found);
        }
        Ok(Page { keys, next: None })
    }

    pub(crate) fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, Fault> {
        let mut left = budget.max(1);
        let mut swept = Swept::default();
        let (phase, mut start) = match after.map(|cursor| cursor.0.split_first()) {
            None | Some(None) => (SWEEP_RECORDS, Vec::new()),
            Some(Some((phase, key))) => (*phase, key.to_vec()),
        };
        if phase == SWEEP_RECORDS {
            let due = |key: &[u8], bytes: &[u8]| {
                let record = decode_record(key, bytes)?;
                Ok(record.purge_at.has_passed(now).then_some(record.stamp))
            };
            let last = self.sweep_table(Table::Records, &start, &mut left, &mut swept, due)?;
            if let Some(last) = last {
                swept.next = Some(cursor(SWEEP_RECORDS, &last));
                return Ok(swept);
            }
            start = Vec::new();
        }
        let due = |key: &[u8], bytes: &[u8]| {
            let entry = decode_entry(key, bytes)?;
            let dangles = entry.purge_at.has_passed(now)
                && !entry_target(key)
                    .map(|record| self.records.contains_key(record))
                    .transpose()?
                    .unwrap_or(false);
            Ok(dangles.then_some(entry.stamp))
        };
        let last = self.sweep_table(Table::Entries, &start, &mut left, &mut swept, due)?;
        swept.next = last.map(|last| cursor(SWEEP_ENTRIES, &last));
        Ok(swept)
    }

    /// Walks one tree; the key to go on after, if the budget ended first.
    fn sweep_table(
        &self,
        table: Table,
        start: &[u8],
        left: &mut usize,
        swept: &mut Swept,
        due: impl Fn(&[u8], &[u8]) -> Result<Option<Stamp>, Fault>,
    ) -> Result<Option<IVec>, Fault> {
        let mut candidates = Vec::new();
        let mut last = None;
        for item in self.table(table).range::<&[u8], _>((Bound::Excluded(start), Bound::Unbounded))
        {
            let (key, bytes) = item?;
            if *left == 0 {
                break;
            }
            *left -= 1;
            swept.examined += 1;
            if due(&key, &bytes)?.is_some() {
                candidates.push((key.clone(), bytes));
                if candidates.len() == MAX_REMOVALS {
                    swept.removed += self.remove(table, &mut candidates, &due)?;
                }
            }
            last = Some(key);
        }
        swept.removed += self.remove(table, &mut candidates, &due)?;
        Ok(last.filter(|_| *left == 0))
    }

    /// Removes what is still as it was examined and still due. No commit is under way meanwhile, so
    /// that a record whose absence makes an index entry dangle cannot come back.
    fn remove(
        &self,
        table: Table,
        candidates: &mut Vec<(IVec, IVec)>,
        due: impl Fn(&[u8], &[u8]) -> Result<Option<Stamp>, Fault>,
    ) -> Result<usize, Fault> {
        if candidates.is_empty() {
            return Ok(0);
        }
        let tree = self.table(table);
        let mut mark = self.mark.write().unwrap_or_else(PoisonError::into_inner);
        let mut removals = Vec::with_capacity(candidates.len());
        let mut doomed = Vec::with_capacity(candidates.len());
        for (key, examined) in candidates.drain(..) {
            if tree.get(&key)?.as_ref() != Some(&examined) {
                continue;
            }
            if let Some(stamp) = due(&key, &examined)? {
                removals.push(Removal { table, weight: stamp.weight(), key: key.to_vec() });
                doomed.push((key, examined, stamp));
            }
        }
        self.next_mark(&mut mark, removals)?;
        let removed = doomed.into_iter().try_fold(0, |removed, (key, examined, stamp)| {
            let gone = tree.compare_and_swap(&key, Some(&examined), None::<IVec>)?;
            if gone.is_err() {
                return Ok(removed);
            }
            self.sum.fetch_sub(stamp.weight(), Ordering::Relaxed);
            Ok::<usize, Fault>(removed + 1)
        });
        // Also after a failure: a commit must not follow an announcement.
        self.next_mark(&mut mark, Vec::new())?;
        removed
    }

    const fn table(&self, table: Table) -> &Tree {
        match table {
            Table::Records => &self.records,
            Table::Entries => &self.entries,
        }
    }
}

fn cursor(phase: u8, key: &[u8]) -> Cursor {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(phase);
    bytes.extend_from_slice(key);
    Cursor(bytes)
}

fn decode_record<'a>(key: &[u8], bytes: &'a [u8]) -> Result<Record<'a>, Fault> {
    Record::decode(key, bytes).ok_or(Fault::Mismatch("records"))
}

fn decode_entry(key: &[u8], bytes: &[u8]) -> Result<Entry, Fault> {
    Entry::decode(key, bytes).ok_or(Fault::Mismatch("entries"))
}
