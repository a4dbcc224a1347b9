//! The embedded store of [`grantor`]: one directory, one process, power-safe.
//!
//! ```no_run
//! # fn main() -> Result<(), grantor_sled::OpenError> {
//! let storage = grantor_sled::SledStorage::open("/var/lib/grantor")?;
//! # Ok(()) }
//! ```
//!
//! Storage is a chapter of [the book](grantor::guide::storage). This keeps [the contract](grantor::storage) on [sled](https://docs.rs/sled/0.34.7) 0.34, whose own
//! promises are weaker than that. This is what is added, and why.
//!
//! # Atomicity
//!
//! A commit is one `compare_and_swap` of sled on the record's key, against the bytes that were read
//! and hold the expected commit id. The indexes that list a record stand in it; which records an index
//! lists is kept in memory, and collected from the records when the store opens.
//!
//! # Durability on return
//!
//! sled's `flush` writes the log with `sync_file_range`, which covers neither the size of the file
//! nor the cache of the disk: in a simulated power cut most acknowledged writes were lost. So a
//! commit returns after a flush *and* an `fdatasync` that began after it was applied. One thread does
//! this for all commits that wait (group commit); alone, a commit waits for exactly one barrier.
//!
//! sled's periodic flush is off: every write here is followed by a barrier, and the periodic one
//! logs a failed `fsync` and goes on. sled writes its snapshots only while it opens, synced; their
//! names are made durable before the store serves. Recovery needs the log and whichever snapshot is
//! there, so a lost snapshot costs time and no data.
//!
//! # What an unfinished commit shows
//!
//! Nothing. Between its application and the end of its barrier a power cut may still undo a commit,
//! so a load that finds one waits for the barrier too before it returns: an answer must not rest on
//! what may be gone, such as "revoked already", or the repeated answer to a refresh. Every version is
//! numbered, so a load of what has been durable for longer waits for nothing. (A commit that expects
//! an unfinished one need not wait: sled's log is ordered and recovered up to its first gap, so it
//! cannot survive alone.)
//!
//! # Failures
//!
//! * **A full disk.** Below [`SledConfig::min_free`] commits are refused while everything is loaded
//!   and served; there is room again, and they are not. If sled does run into the end of the disk, it
//!   refuses all writes until it is opened anew, and what it shows may never become durable: so
//!   everything is refused ([`StorageError::Unavailable`]), and the store opens sled again by itself
//!   once there is room.
//! * **A failed `fsync`.** The kernel forgets what it could not write, and a second `fsync` would
//!   succeed. Everything is refused from then on, reads too (they could show what is not on the
//!   disk), until the process starts again and everything is read from the disk.
//! * **A disk that does not answer** within [`SledConfig::patience`]: whoever waits for it is refused, and
//!   everybody else, until it does. What was under way may have happened or not. (A call that sled
//!   itself holds up is not freed by this.)
//! * **Damaged files.** [`SledStorage::open`] reads and checks everything, and checks that nothing is
//!   missing, which sled does not: see the source of `ledger`. It takes a few seconds for each
//!   million records.
//!
//! # Sweeping
//!
//! A sweep does not walk the store. When which records are due is kept in memory, for some dozens of neighbours
//! together and in 10 to 20 bytes for each, so it reads what is due, what lies beside it, and nothing where nothing is.
//!
//! # Blocking
//!
//! Loads are served from memory in about two microseconds and run on the calling task; with a cache
//! smaller than the data, some read a page from the disk. No async runtime is needed.

#[cfg(not(unix))]
compile_error!("grantor-sled needs file locks, permissions and fdatasync as Unix has them");

mod agenda;
mod engine;
mod envelope;
mod group;
mod keeper;
mod ledger;
mod names;
mod open;
mod state_file;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitOutcome, Cursor, Durability, Key, Listing, NewRecord, Page, Promises, Storage,
    StorageError, Stored, Swept,
};

use crate::engine::Applied;
use crate::keeper::Shared;
pub use crate::open::OpenError;

/// How a [`SledStorage`] uses memory, time and disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SledConfig {
    cache_capacity: u64,
    linger: Duration,
    min_free: u64,
    patience: Duration,
}

impl SledConfig {
    /// The longest accepted [`linger`](Self::linger).
    pub const MAX_LINGER: Duration = Duration::from_millis(10);

    /// 256 MiB of cache, 200 microseconds of linger, 16 MiB free, 30 seconds of patience.
    pub const fn new() -> Self {
        Self {
            cache_capacity: 256 * 1024 * 1024,
            linger: Duration::from_micros(200),
            min_free: 16 * 1024 * 1024,
            patience: Duration::from_secs(30),
        }
    }

    /// How many bytes of pages sled keeps in memory. The process needs more than that: sled counts
    /// neither its allocator's overhead nor its page table.
    #[must_use]
    pub const fn cache_capacity(mut self, bytes: u64) -> Self {
        self.cache_capacity = bytes;
        self
    }

    /// How long a barrier waits, at most, until as many commits are waiting as the one before served or found waiting.
    /// One that is alone does not wait, unless a crowd was there just before. At most [`SledConfig::MAX_LINGER`].
    ///
    /// It saves barriers and may cost latency: measure it on the host. Where a barrier is fast, commits also gather by
    /// themselves while the one before is under way.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger.min(Self::MAX_LINGER);
        self
    }

    /// How many bytes must be free on the disk for commits to be accepted.
    #[must_use]
    pub const fn min_free(mut self, bytes: u64) -> Self {
        self.min_free = bytes;
        self
    }

    /// How long the disk may take to make a commit durable before everything is refused, at least a
    /// millisecond. It is noticed at most a quarter later.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.max(Duration::from_millis(1));
        self
    }

    /// Opens or creates the store in this directory, see [`SledStorage::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<SledStorage, OpenError> {
        let directory = open::Directory::lock(path.as_ref())?;
        let engine = directory.open(&self)?;
        let shared = Arc::new(Shared::new(self, directory, engine));
        let failed = |source| OpenError::Io {
            action: "start the threads that sync",
            path: path.as_ref().to_owned(),
            source,
        };
        let mut storage = SledStorage { threads: Vec::new(), shared };
        storage.threads.push(keeper::start(&storage.shared).map_err(failed)?);
        storage.threads.push(keeper::watch(&storage.shared).map_err(failed)?);
        Ok(storage)
    }
}

impl Default for SledConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// A [`Storage`] in one directory of this machine. See the [crate documentation](crate).
///
/// Dropping it makes durable what is still under way, and frees the directory.
pub struct SledStorage {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl SledStorage {
    /// Opens or creates the store in this directory, with the default [`SledConfig`].
    ///
    /// Reads and checks everything that is stored. Waits up to five seconds for another process that
    /// has the directory open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        SledConfig::new().open(path)
    }
}

impl fmt::Debug for SledStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStorage").finish_non_exhaustive()
    }
}

impl Drop for SledStorage {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // The keeper catches its own panics, the watch has none.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Storage for SledStorage {
    fn promises(&self) -> Promises {
        Promises { durability: Durability::Power, linearizable: true, evicts: false, shared: false }
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        let (found, durable) = self.shared.with(|engine| engine.load(keys))?;
        if !durable {
            self.shared.enqueue().await?;
        }
        Ok(found)
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        let len = commit.record.value.len();
        if len > NewRecord::MAX_VALUE_LEN {
            return Err(StorageError::unavailable(format_args!(
                "a value has {len} bytes, and at most {} are stored",
                NewRecord::MAX_VALUE_LEN
            )));
        }
        self.shared.check_room()?;
        match self.shared.with(|engine| engine.apply(&commit))? {
            Applied::Yes => self.shared.enqueue().await?,
            Applied::Conflict => return Ok(CommitOutcome::Conflict),
        }
        Ok(CommitOutcome::Applied)
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        self.shared.with(|engine| engine.list(listing, after, limit))
    }

    async fn sweep(
        &self,
        now: Timestamp,
        _after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        self.shared.with(|engine| engine.sweep(now, budget))
    }

    async fn ready(&self) -> Result<(), StorageError> {
        self.shared.check_room()?;
        self.shared.check_trouble()?;
        self.shared.with(|_| Ok(()))
    }
}

#[cfg(test)]
mod tests;
