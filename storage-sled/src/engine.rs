//! The trees while they are open: reading, applying, listing, sweeping, and the barrier.
//!
//! Everything here blocks, and nothing waits for the disk but [`Engine::make_durable`] and a read of
//! a page that is not in the cache.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use grantor::model::Timestamp;
use grantor::storage::{Commit, Cursor, Key, Listing, Page, StorageError, Stored, Swept};
use sled::{Db, IVec, Tree};

use crate::agenda::{Agenda, Claim, LOOK, Left};
use crate::envelope::{Record, Stamp};
use crate::ledger::{MAX_REMOVALS, Mark, Removal};
use crate::names::{NameId, Names, name_id};

/// A removal takes as long as so many more looks, in the budget of a step.
const REMOVAL: usize = 9;

/// Open trees, and the books over them.
#[derive(Debug)]
pub(crate) struct Engine {
    db: Quiet,
    records: Tree,
    meta: Tree,
    names: Names,
    agenda: Agenda,
    /// Held while the agenda is worked off.
    sweeping: Mutex<()>,
    barrier: Barrier,
    /// Shared while something is written, exclusive while a mark is made. Holds the last mark.
    mark: RwLock<Mark>,
    /// The number of the last version.
    seq: AtomicU64,
    /// The number up to which every version is durable.
    durable: AtomicU64,
    /// The sum of the weights of all current versions.
    sum: AtomicU64,
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
    /// A record is in more indexes than can be stored.
    TooManyNames,
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
            Fault::TooManyNames => Self::unavailable(format_args!(
                "a record is in more than {} indexes",
                Record::MAX_NAMES
            )),
        }
    }
}

/// What a sweep found in a range, and did.
#[derive(Debug, Default)]
struct Looked {
    examined: usize,
    removed: usize,
    left: Left,
}

/// What a commit did to the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is in the log, and will be durable.
    Yes,
    /// Nothing was written.
    Conflict,
}

impl Engine {
    pub(crate) fn new(
        db: Db,
        records: Tree,
        meta: Tree,
        names: Names,
        agenda: Agenda,
        mark: Mark,
        barrier: Barrier,
    ) -> Self {
        Self {
            db: Quiet(db),
            records,
            meta,
            names,
            agenda,
            sweeping: Mutex::new(()),
            barrier,
            seq: AtomicU64::new(mark.seq),
            durable: AtomicU64::new(0),
            sum: AtomicU64::new(mark.sum),
            mark: RwLock::new(mark),
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
            let record = decode(&key, &bytes)?;
            newest = newest.max(record.stamp.seq);
            Ok(Some(record.to_stored()))
        });
        let found = found.collect::<Result<Vec<_>, Fault>>()?;
        Ok((found, newest <= self.durable.load(Ordering::Acquire)))
    }

    /// Puts a commit into the log.
    pub(crate) fn apply(&self, commit: &Commit) -> Result<Applied, Fault> {
        let mark = self.mark.read().unwrap_or_else(PoisonError::into_inner);
        let introduced = &commit.record.indexes;
        let mut listing = (!introduced.is_empty()).then(|| self.names.write());
        let key = commit.key.to_bytes();
        // sled says what is there when it is not what was expected, so nothing needs no look.
        let mut current = match commit.expect {
            Some(_) => self.records.get(&key)?,
            None => None,
        };
        loop {
            let replaced = current.as_ref().map(|bytes| decode(&key, bytes)).transpose()?;
            let last = replaced.as_ref().map(|record| record.commit);
            if last == Some(commit.id) {
                // Its first attempt may still be waiting for the barrier, so this one waits as well.
                return Ok(Applied::Yes);
            }
            if last != commit.expect {
                return Ok(Applied::Conflict);
            }
            let mut names: Cow<'_, [NameId]> =
                replaced.as_ref().map_or(&[][..], |old| old.names).into();
            for name in introduced.iter().map(|index| name_id(index.as_str())) {
                if !names.contains(&name) {
                    names.to_mut().push(name);
                }
            }
            if names.len() > Record::MAX_NAMES {
                return Err(Fault::TooManyNames);
            }
            let old = replaced.as_ref().map(|record| record.stamp);
            let stamp = self.stamp(&mark, old);
            let bytes = Record {
                commit: commit.id,
                purge_at: commit.record.purge_at,
                stamp,
                names: &names,
                value: &commit.record.value,
            }
            .encode(&key);
            match self.records.compare_and_swap(&key, current.as_ref(), Some(bytes))? {
                Ok(()) => {
                    self.enter(old, stamp);
                    self.agenda.note(&key, commit.record.purge_at, old.is_none());
                    if let Some(listing) = &mut listing {
                        listing.list(&names, &key);
                    }
                    return Ok(Applied::Yes);
                }
                Err(race) => current = race.current,
            }
        }
    }

    fn stamp(&self, mark: &Mark, old: Option<Stamp>) -> Stamp {
        Stamp {
            seq: self.seq.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
            base: old.map_or(0, |old| old.at(mark.seq)),
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
        let mut found = match listing {
            Listing::Kind(kind) => self.of_kind(kind.as_byte(), after, limit)?,
            Listing::Index(index) => {
                let after = after.map_or(&[][..], |cursor| &cursor.0);
                self.names.after(name_id(index.as_str()), after, limit.saturating_add(1))
            }
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| Cursor(last.to_vec()));
        let key = |found: &IVec| Key::from_bytes(found).ok_or(Fault::Mismatch("records"));
        Ok(Page { keys: found.iter().map(key).collect::<Result<_, _>>()?, next })
    }

    /// The keys of a kind, one more than were asked for if there are more.
    fn of_kind(&self, kind: u8, after: Option<&Cursor>, limit: usize) -> sled::Result<Vec<IVec>> {
        let start = after.map_or(std::slice::from_ref(&kind), |cursor| &cursor.0);
        let keys =
            self.records.range::<&[u8], _>((Bound::Excluded(start), Bound::Unbounded)).keys();
        keys.take_while(|key| key.as_ref().map_or(true, |key| key.first() == Some(&kind)))
            .take(limit.saturating_add(1))
            .collect()
    }

    pub(crate) fn sweep(&self, now: Timestamp, budget: usize) -> Result<Swept, Fault> {
        let _alone = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let mut swept = Swept::default();
        let mut left = budget.max(1);
        while left > 0 {
            let Some(claim) = self.agenda.claim(now) else { return Ok(swept) };
            let looked = self.look_through(&claim, now, left.min(LOOK));
            if looked.is_err() {
                self.agenda.give_back(&claim);
            }
            let Looked { examined, removed, left: remains } = looked?;
            self.agenda.settle(&claim, &remains);
            swept.examined += examined;
            swept.removed += removed;
            // Where all is due a step takes no longer; and to find nothing is some work as well.
            left = left.saturating_sub((examined + REMOVAL * removed).max(1));
        }
        // Where to go on the agenda knows by itself.
        swept.next = self.agenda.is_due(now).then(|| Cursor(Vec::new()));
        Ok(swept)
    }

    /// Examines the records of a range, and removes those that are due.
    fn look_through(&self, claim: &Claim, now: Timestamp, budget: usize) -> Result<Looked, Fault> {
        let mut looked = Looked::default();
        let mut candidates = Vec::new();
        let mut last = None;
        let end = claim.end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        for item in self.records.range::<&IVec, _>((Bound::Included(&claim.start), end)) {
            if looked.examined == budget {
                looked.left.stopped_at = last;
                break;
            }
            let (key, bytes) = item?;
            looked.examined += 1;
            let due = decode(&key, &bytes)?.purge_at;
            last = Some(key.clone());
            if due.has_passed(now) {
                candidates.push((key, bytes));
                if candidates.len() == MAX_REMOVALS {
                    looked.removed += self.remove(&mut candidates)?;
                }
            } else {
                looked.left.due = Some(looked.left.due.map_or(due, |earliest| earliest.min(due)));
            }
        }
        looked.removed += self.remove(&mut candidates)?;
        looked.left.len = looked.examined - looked.removed;
        Ok(looked)
    }

    /// Removes what is still as it was examined. No commit is under way meanwhile.
    fn remove(&self, candidates: &mut Vec<(IVec, IVec)>) -> Result<usize, Fault> {
        if candidates.is_empty() {
            return Ok(0);
        }
        let mut mark = self.mark.write().unwrap_or_else(PoisonError::into_inner);
        let mut removals = Vec::with_capacity(candidates.len());
        let mut doomed = Vec::with_capacity(candidates.len());
        for (key, examined) in candidates.drain(..) {
            if self.records.get(&key)?.as_ref() == Some(&examined) {
                let weight = decode(&key, &examined)?.stamp.weight();
                removals.push(Removal { weight, key: key.to_vec() });
                doomed.push((key, examined));
            }
        }
        self.next_mark(&mut mark, removals)?;
        let removed = doomed.into_iter().try_fold(0, |removed, (key, examined)| {
            let gone = self.records.compare_and_swap(&key, Some(&examined), None::<IVec>)?;
            if gone.is_err() {
                return Ok(removed);
            }
            let record = decode(&key, &examined)?;
            self.sum.fetch_sub(record.stamp.weight(), Ordering::Relaxed);
            self.names.write().forget(record.names, &key);
            Ok::<usize, Fault>(removed + 1)
        });
        // Also after a failure: a commit must not follow an announcement.
        self.next_mark(&mut mark, Vec::new())?;
        removed
    }
}

fn decode<'a>(key: &[u8], bytes: &'a [u8]) -> Result<Record<'a>, Fault> {
    Record::decode(key, bytes).ok_or(Fault::Mismatch("records"))
}
