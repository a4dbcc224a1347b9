//! A store that goes wrong when it is told to: away before or after a write, slow, in conflict.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitOutcome, Cursor, Key, Listing, MemoryStorage, Page, Promises, Storage,
    StorageError, Stored, Swept,
};
use tokio::sync::Notify;

/// What goes wrong, counted in calls from when it was armed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// The calls from `from` to `until` are answered "unavailable"; where `applied`, commits among
    /// them are carried out all the same.
    Away { from: usize, until: usize, applied: bool },
    /// So many commits meet a conflict that is none.
    Conflicts(usize),
    /// This call waits until it is released.
    Held(usize),
    /// This load waits when it has found what it answers, until it is released.
    HeldWithAnswer(usize),
}

impl Trouble {
    /// A single call fails.
    pub(crate) fn once(at: usize, applied: bool) -> Self {
        Self::Away { from: at, until: at + 1, applied }
    }

    /// The store goes away at a call, and stays away.
    pub(crate) fn from(at: usize, applied: bool) -> Self {
        Self::Away { from: at, until: usize::MAX, applied }
    }
}

/// A memory store with [`Trouble`].
#[derive(Debug, Default)]
pub(crate) struct TroubledStorage {
    inner: MemoryStorage,
    trouble: Mutex<Trouble>,
    calls: AtomicUsize,
    conflicts: AtomicUsize,
    shared: bool,
    reached: Notify,
    released: Notify,
}

impl TroubledStorage {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// One that other processes may have open.
    pub(crate) fn shared() -> Arc<Self> {
        Arc::new(Self { shared: true, ..Self::default() })
    }

    /// How many calls this makes.
    pub(crate) async fn calls_of<T>(&self, what: impl Future<Output = T>) -> (usize, T) {
        self.arm(Trouble::None);
        let done = what.await;
        (self.heal(), done)
    }

    pub(crate) fn arm(&self, trouble: Trouble) {
        self.calls.store(0, Ordering::SeqCst);
        self.conflicts.store(0, Ordering::SeqCst);
        *self.trouble.lock().expect("lock") = trouble;
    }

    /// Ends the trouble; the number of calls since it began.
    pub(crate) fn heal(&self) -> usize {
        let calls = self.calls.load(Ordering::SeqCst);
        self.arm(Trouble::None);
        calls
    }

    /// Waits until somebody is held.
    pub(crate) async fn held(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn release(&self) {
        self.released.notify_one();
    }

    /// Whether this call fails, and if so whether it happens all the same.
    async fn enter(&self) -> Option<bool> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let trouble = *self.trouble.lock().expect("lock");
        match trouble {
            Trouble::Away { from, until, applied } if (from..until).contains(&call) => {
                Some(applied)
            }
            Trouble::Held(at) if at == call => {
                self.reached.notify_one();
                self.released.notified().await;
                None
            }
            _ => None,
        }
    }

    async fn pass(&self) -> Result<(), StorageError> {
        match self.enter().await {
            Some(_) => Err(away()),
            None => Ok(()),
        }
    }
}

fn away() -> StorageError {
    StorageError::unavailable("switched off by the test")
}

#[async_trait]
impl Storage for TroubledStorage {
    fn promises(&self) -> Promises {
        Promises { shared: self.shared, ..self.inner.promises() }
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        let call = self.calls.load(Ordering::SeqCst);
        self.pass().await?;
        let found = self.inner.load(keys).await;
        if *self.trouble.lock().expect("lock") == Trouble::HeldWithAnswer(call) {
            self.reached.notify_one();
            self.released.notified().await;
        }
        found
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        match self.enter().await {
            Some(true) => {
                let _ = self.inner.commit(commit).await?;
                return Err(away());
            }
            Some(false) => return Err(away()),
            None => {}
        }
        let conflicts = match *self.trouble.lock().expect("lock") {
            Trouble::Conflicts(conflicts) => conflicts,
            _ => 0,
        };
        if self.conflicts.fetch_add(1, Ordering::SeqCst) < conflicts {
            return Ok(CommitOutcome::Conflict);
        }
        self.inner.commit(commit).await
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        self.pass().await?;
        self.inner.list(listing, after, limit).await
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        self.pass().await?;
        self.inner.sweep(now, after, budget).await
    }

    async fn ready(&self) -> Result<(), StorageError> {
        self.pass().await
    }
}
