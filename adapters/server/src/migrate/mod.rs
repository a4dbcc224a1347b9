//! `grantor migrate`: everything of one store into another.
//!
//! Every record is committed into the target as if it was new, **under the commit id that it has in the
//! source**. A store recognises a commit that it has applied by its id, so a run that was cut short at
//! any point, in any way, is simply done again. What is in the target under another id is somebody
//! else's, and is never touched: it is looked for before anything is written, and noticed once more by
//! the commit itself, which expects no record.
//!
//! At the end both stores are read again. What is compared is the number of records of each kind, and a
//! sum over key, commit id, value and `purge_at` in which their order does not matter, since the walk
//! over a kind has none, and may come by a record twice. Every index entry that a record must have is
//! looked for as well. The source is read before and after: nothing keeps a server from writing to a
//! Redis meanwhile, but it is noticed.
//!
//! How much memory this takes does not depend on the number of records: digests of them go into unnamed
//! temporary files, some fifty bytes for a record, and as much for each of its index entries.

mod progress;
mod reading;
mod show;
mod spill;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use grantor::engine::{Clock as _, SystemClock};
use grantor::storage::{
    Commit, CommitOutcome, Cursor, Index, Key, Kind, NewRecord, Storage, StorageError, Stored,
};

use self::progress::Progress;
use self::reading::{Found, Walk, commit, indexes, list, load};
pub use self::show::{json, text};
pub use self::tally::Sum;
use self::tally::{Entries, Sums, Tally};
use crate::cli::MigrateArgs;
use crate::config::StorageSpec;
use crate::store::{OpenError, Store};

/// Why not everything of the source is in the target.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// There is nothing to be moved.
    #[error("--from and --to are the same store")]
    Same,
    /// A new process has another memory.
    #[error("a storage in memory is gone with its process: there is nothing to migrate")]
    Memory,
    /// There is nothing there.
    #[error("there is no store in {}", directory.display())]
    NoStore {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A store did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The source cannot be read.
    #[error("the source: {0}; run the same command again")]
    Source(#[source] StorageError),
    /// The target cannot be written or read.
    #[error("the target: {0}; run the same command again")]
    Target(#[source] StorageError),
    /// What was read does not fit on the disk for temporary files.
    #[error("cannot use a temporary file")]
    Spill(#[from] io::Error),
    /// It is shown what.
    #[error("{}", match found {
        Verdict::Foreign => "the target holds what this migration did not write, and nothing was \
            written: empty it, or choose another",
        Verdict::Changed => "the source was changed while it was read: stop every server that uses it, \
            empty the target, and run the same command again",
        _ => "the target does not hold all of the source",
    })]
    Incomplete {
        /// What is wrong.
        found: Verdict,
    },
}

/// What a migration came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is in the target.
    Complete,
    /// What is in the target, or was before, is not from this source.
    Foreign,
    /// The source changed.
    Changed,
    /// Some records cannot be read by this version.
    Unreadable,
    /// Records, or index entries, are missing in the target, or other than in the source.
    Different,
    /// Nothing was to be written.
    DryRun,
}

/// What a migration did, and found at the end.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Whether nothing was to be written.
    pub dry_run: bool,
    /// What is in the source and in the target, by kinds.
    pub kinds: BTreeMap<Kind, Sides>,
    /// Records whose time is over, which were left out.
    pub past: u64,
    /// Index entries that the records must have.
    pub entries: u64,
    /// Those that the target does not have.
    pub missing_entries: u64,
    /// Records of the source that this version cannot read, and that were not copied.
    pub unreadable: Problems,
    /// Records of the target that are not from this source.
    pub foreign: Problems,
    /// The source was not the same at the end.
    pub changed: bool,
}

/// The same kind on both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// In the source.
    pub source: Sum,
    /// In the target.
    pub target: Sum,
}

/// Records with which something is wrong.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    /// How many there are; one that was come by twice may count twice.
    pub count: u64,
    /// The first of them, and what is wrong.
    pub first: Vec<(Key, String)>,
}

impl Problems {
    const SHOWN: usize = 10;

    fn add(&mut self, key: Key, what: impl Into<String>) {
        let is_known = self.first.iter().any(|(known, _)| *known == key);
        self.count += u64::from(!is_known);
        if !is_known && self.first.len() < Self::SHOWN {
            self.first.push((key, what.into()));
        }
    }
}

impl Outcome {
    /// What it came to. The worst comes first.
    pub fn verdict(&self) -> Verdict {
        let differ = self.kinds.values().any(|sides| sides.source != sides.target);
        if self.foreign.count > 0 {
            Verdict::Foreign
        } else if self.changed {
            Verdict::Changed
        } else if self.unreadable.count > 0 {
            Verdict::Unreadable
        } else if self.dry_run {
            Verdict::DryRun
        } else if differ || self.missing_entries > 0 {
            Verdict::Different
        } else {
            Verdict::Complete
        }
    }

    /// Whether it is what was asked for.
    pub fn check(&self) -> Result<(), MigrateError> {
        match self.verdict() {
            Verdict::Complete | Verdict::DryRun => Ok(()),
            found => Err(MigrateError::Incomplete { found }),
        }
    }
}

/// Opens both stores and migrates.
pub async fn migrate(args: &MigrateArgs) -> Result<Outcome, MigrateError> {
    for spec in [&args.from, &args.to] {
        if *spec == StorageSpec::Memory {
            return Err(MigrateError::Memory);
        }
    }
    if args.from == args.to {
        return Err(MigrateError::Same);
    }
    // Opening a directory makes it a store.
    let is_there = |spec: &StorageSpec| match spec {
        StorageSpec::Sled(directory) => directory.join("grantor.state").exists(),
        StorageSpec::Redis(_) | StorageSpec::Memory => true,
    };
    if let StorageSpec::Sled(directory) = &args.from
        && !is_there(&args.from)
    {
        return Err(MigrateError::NoStore { directory: directory.clone() });
    }
    let source = Store::open(&args.from).await?.storage;
    let target: Arc<dyn Storage> = match args.dry_run && !is_there(&args.to) {
        true => Arc::new(grantor::storage::MemoryStorage::new()),
        false => Store::open(&args.to).await?.storage,
    };
    let migration = Migration::new(&*source, &*target, args.dry_run, Progress::new(false));
    migration.run().await
}

/// How many commits are under way at a time.
const AT_ONCE: usize = 64;
/// How many indexes are listed at a time.
const LISTS_AT_ONCE: usize = 16;

struct Migration<'a> {
    source: &'a dyn Storage,
    target: &'a dyn Storage,
    progress: Progress,
    outcome: Outcome,
}

impl<'a> Migration<'a> {
    fn new(
        source: &'a dyn Storage,
        target: &'a dyn Storage,
        dry_run: bool,
        progress: Progress,
    ) -> Self {
        let outcome = Outcome { dry_run, ..Outcome::default() };
        Self { source, target, progress, outcome }
    }

    async fn run(mut self) -> Result<Outcome, MigrateError> {
        let total = self.count().await?;
        self.look_for_others().await?;
        if self.outcome.foreign.count > 0 {
            return Ok(self.outcome);
        }
        let mut before = Tally::new()?;
        self.progress.begin(if self.outcome.dry_run { "reading" } else { "copying" }, Some(total));
        for kind in Kind::ALL {
            self.copy(kind, &mut before).await?;
        }
        let mut entries = Entries::new()?;
        let mut after = Tally::new()?;
        if !self.outcome.dry_run {
            self.progress.begin("reading the source again", Some(total));
            self.read(self.source, &mut after, Some(&mut entries)).await?;
        }
        self.progress.begin("reading the target", Some(total));
        let mut there = Tally::new()?;
        self.read(self.target, &mut there, None).await?;
        if !self.outcome.dry_run {
            self.look_for_entries(entries).await?;
        }
        self.progress.end();
        self.compare(before, after, there)?;
        Ok(self.outcome)
    }

    /// How many records there are, about.
    async fn count(&mut self) -> Result<u64, MigrateError> {
        self.progress.begin("counting", None);
        let mut total = 0;
        for kind in Kind::ALL {
            let mut walk = Walk::new(self.source, kind);
            while let Some(keys) = walk.next().await.map_err(MigrateError::Source)? {
                total += keys.len() as u64;
                self.progress.add(keys.len() as u64);
            }
        }
        Ok(total)
    }

    /// Whether there is anything in the target that is not from the source.
    async fn look_for_others(&mut self) -> Result<(), MigrateError> {
        self.progress.begin("looking at the target", None);
        for kind in Kind::ALL {
            let mut walk = Walk::new(self.target, kind);
            while let Some(keys) = walk.next().await.map_err(MigrateError::Target)? {
                self.progress.add(keys.len() as u64);
                let there = load(self.target, keys.clone()).await.map_err(MigrateError::Target)?;
                let here = load(self.source, keys).await.map_err(MigrateError::Source)?;
                let now = SystemClock.now();
                for ((key, there), (_, here)) in there.into_iter().zip(here) {
                    let there = match there {
                        Found::Record(there) if !there.purge_at.has_passed(now) => there,
                        // What is over by now may have gone in the source.
                        Found::Record(_) | Found::Nothing => continue,
                        Found::Unreadable(why) => {
                            self.outcome.foreign.add(key, why);
                            continue;
                        }
                    };
                    match here {
                        Found::Record(here) if here.commit == there.commit => {}
                        Found::Record(_) | Found::Unreadable(_) => {
                            self.outcome.foreign.add(key, "it is another version of the record");
                        }
                        Found::Nothing => {
                            self.outcome.foreign.add(key, "the source has no such record");
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The records of a page that can be read, with their index entries.
    fn readable(
        unreadable: &mut Problems,
        page: Vec<(Key, Found)>,
    ) -> Vec<(Key, Stored, Vec<Index>)> {
        let mut readable = Vec::with_capacity(page.len());
        for (key, found) in page {
            match found {
                Found::Nothing => {}
                Found::Unreadable(why) => unreadable.add(key, why),
                Found::Record(stored) => match indexes(&key, &stored) {
                    Ok(indexes) => readable.push((key, stored, indexes)),
                    Err(
                        StorageError::Damaged { reason } | StorageError::Unavailable { reason },
                    ) => {
                        unreadable.add(key, reason);
                    }
                    Err(error) => unreadable.add(key, error.to_string()),
                },
            }
        }
        readable
    }

    async fn copy(&mut self, kind: Kind, tally: &mut Tally) -> Result<(), MigrateError> {
        let mut walk = Walk::new(self.source, kind);
        while let Some(keys) = walk.next().await.map_err(MigrateError::Source)? {
            let come_by = keys.len() as u64;
            let page = load(self.source, keys).await.map_err(MigrateError::Source)?;
            let mut commits = Vec::with_capacity(page.len());
            let now = SystemClock.now();
            for (key, stored, indexes) in Self::readable(&mut self.outcome.unreadable, page) {
                if stored.purge_at.has_passed(now) {
                    self.outcome.past += 1;
                    continue;
                }
                tally.add(&key, &stored)?;
                let Stored { commit: id, value, purge_at } = stored;
                let record = NewRecord { value, purge_at, indexes };
                commits.push(Commit { key, expect: None, id, record });
            }
            if !self.outcome.dry_run {
                self.write(commits).await?;
            }
            self.progress.add(come_by);
        }
        Ok(())
    }

    async fn write(&mut self, commits: Vec<Commit>) -> Result<(), MigrateError> {
        let target = self.target;
        let done = stream::iter(commits).map(|new| async move {
            let key = new.key.clone();
            commit(target, new).await.map(|outcome| (key, outcome))
        });
        let mut done = done.buffer_unordered(AT_ONCE);
        while let Some((key, outcome)) = done.try_next().await.map_err(MigrateError::Target)? {
            if outcome == CommitOutcome::Conflict {
                self.outcome.foreign.add(key, "it is another version of the record");
            }
        }
        Ok(())
    }

    async fn read(
        &mut self,
        storage: &dyn Storage,
        tally: &mut Tally,
        mut entries: Option<&mut Entries>,
    ) -> Result<(), MigrateError> {
        let is_source = entries.is_some();
        let failed = |error| match is_source {
            true => MigrateError::Source(error),
            false => MigrateError::Target(error),
        };
        // Those of the source are known, and in the target they are missing.
        let mut unreadable = Problems::default();
        for kind in Kind::ALL {
            let mut walk = Walk::new(storage, kind);
            while let Some(keys) = walk.next().await.map_err(failed)? {
                let come_by = keys.len() as u64;
                let page = load(storage, keys).await.map_err(failed)?;
                for (key, stored, indexes) in Self::readable(&mut unreadable, page) {
                    tally.add(&key, &stored)?;
                    // What is over need not be there any more.
                    if let Some(entries) = &mut entries
                        && !stored.purge_at.has_passed(SystemClock.now())
                    {
                        for index in &indexes {
                            entries.expect(index, &key)?;
                        }
                    }
                }
                self.progress.add(come_by);
            }
        }
        Ok(())
    }

    async fn look_for_entries(&mut self, entries: Entries) -> Result<(), MigrateError> {
        self.progress.begin("reading the indexes", None);
        let (names, mut listed) = entries.indexes();
        for names in names {
            let pages = names?.into_iter().map(|index| Box::pin(pages(self.target, index)));
            let mut pages = stream::iter(pages).flatten_unordered(LISTS_AT_ONCE);
            while let Some((index, keys)) = pages.try_next().await.map_err(MigrateError::Target)? {
                self.progress.add(keys.len() as u64);
                for key in &keys {
                    listed.add(&index, key)?;
                }
            }
        }
        (self.outcome.entries, self.outcome.missing_entries) = listed.missing()?;
        Ok(())
    }

    fn compare(&mut self, before: Tally, after: Tally, there: Tally) -> Result<(), MigrateError> {
        // Until now everything that is not due had to be there.
        let now = SystemClock.now();
        let before = before.sums(now)?;
        let source = match self.outcome.dry_run {
            true => before,
            false => {
                let after = after.sums(now)?;
                self.outcome.changed = before != after || after.moving;
                after
            }
        };
        let target = there.sums(now)?;
        for kind in Kind::ALL {
            let of = |sums: &Sums| sums.kinds.get(&kind).copied().unwrap_or_default();
            let sides = Sides { source: of(&source), target: of(&target) };
            if sides != Sides::default() {
                self.outcome.kinds.insert(kind, sides);
            }
        }
        Ok(())
    }
}

/// The pages of an index.
fn pages(
    storage: &dyn Storage,
    index: Index,
) -> impl Stream<Item = Result<(Index, Vec<Key>), StorageError>> {
    let first: Option<Option<Cursor>> = Some(None);
    stream::try_unfold((index, first), async move |(index, place)| {
        let Some(after) = place else { return Ok(None) };
        let page = list(storage, &index, after.as_ref()).await?;
        let next = page.next.map(Some);
        Ok(Some(((index.clone(), page.keys), (index, next))))
    })
}
