//! A store with a fault: one that keeps the contract, wrapped in something that does not.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use async_trait::async_trait;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Cursor, Key, Kind, Listing, NewRecord, Page, Promises,
    Storage, StorageError, Stored, Swept,
};
use grantor_conformance::storage::{Backend, Processes};
use tokio::task::yield_now;

use crate::journal::Home;
use crate::memory::Memory;

/// What goes wrong. What is not overridden is done right.
#[async_trait]
pub(crate) trait Fault: fmt::Debug + Send + Sync {
    /// Something has gone wrong already when the store is open.
    fn opened(&self, _address: &str) {}

    fn promises(&self, promised: Promises) -> Promises {
        promised
    }

    async fn load(
        &self,
        store: &dyn Storage,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        store.load(keys).await
    }

    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        store.commit(commit).await
    }

    async fn list(
        &self,
        store: &dyn Storage,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        store.list(listing, after, limit).await
    }

    async fn sweep(
        &self,
        store: &dyn Storage,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        store.sweep(now, after, budget).await
    }
}

/// A store with a fault. It gives way before and after each call, so that others get in between.
#[derive(Debug)]
pub(crate) struct Faulty {
    store: Box<dyn Storage>,
    fault: Box<dyn Fault>,
    shared: bool,
}

#[async_trait]
impl Storage for Faulty {
    fn promises(&self) -> Promises {
        self.fault.promises(Promises { shared: self.shared, ..self.store.promises() })
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        yield_now().await;
        let found = self.fault.load(&*self.store, keys).await;
        yield_now().await;
        found
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        yield_now().await;
        let outcome = self.fault.commit(&*self.store, commit).await;
        yield_now().await;
        outcome
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        yield_now().await;
        let page = self.fault.list(&*self.store, listing, after, limit).await;
        yield_now().await;
        page
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        yield_now().await;
        let swept = self.fault.sweep(&*self.store, now, after, budget).await;
        yield_now().await;
        swept
    }

    async fn ready(&self) -> Result<(), StorageError> {
        self.store.ready().await
    }
}

/// What is around the store with a fault: how many processes it is for, and what is within.
pub(crate) trait Around: Send + Sync + 'static {
    type Within: Backend;
    const PROCESSES: Processes;
}

/// A store in memory.
#[derive(Debug)]
pub(crate) struct InMemory;

impl Around for InMemory {
    type Within = Memory;
    const PROCESSES: Processes = Processes::Private;
}

/// A journal that says that it is for one process.
#[derive(Debug)]
pub(crate) struct ForOne;

impl Around for ForOne {
    type Within = Home;
    const PROCESSES: Processes = Processes::Exclusive;
}

/// A journal.
#[derive(Debug)]
pub(crate) struct ForMany;

impl Around for ForMany {
    type Within = Home;
    const PROCESSES: Processes = Processes::Shared;
}

/// The backend of stores with a fault: which one, the test says before it runs.
#[derive(Debug)]
pub(crate) struct Place<A: Around>(A::Within, PhantomData<A>);

thread_local! {
    /// The name of the fault of the test that runs on this thread.
    pub(crate) static FAULT: RefCell<String> = RefCell::default();
}

impl<A: Around> Backend for Place<A> {
    type Store = Faulty;
    const PROCESSES: Processes = A::PROCESSES;

    async fn create() -> Self {
        Self(A::Within::create().await, PhantomData)
    }

    /// With the name of the fault, so that another process has it too.
    fn address(&self) -> String {
        format!("{} {}", FAULT.with_borrow(String::clone), self.0.address())
    }

    async fn open(address: &str) -> Result<Faulty, Box<dyn Error + Send + Sync>> {
        let (fault, address) = address.split_once(' ').ok_or("an address names a fault")?;
        let fault = crate::fault(fault);
        let store = Box::new(A::Within::open(address).await?);
        fault.opened(address);
        Ok(Faulty { store, fault, shared: A::PROCESSES == Processes::Shared })
    }

    fn files(&self) -> Vec<PathBuf> {
        self.0.files()
    }
}

// ------------------------------------------------------ what a store within is made to do

/// Gives way so often that somebody else gets in between.
pub(crate) async fn linger() {
    for _ in 0..300 {
        yield_now().await;
    }
}

/// The record under one key.
pub(crate) async fn get(store: &dyn Storage, key: &Key) -> Result<Option<Stored>, StorageError> {
    Ok(store.load(std::slice::from_ref(key)).await?.pop().flatten())
}

/// Writes without looking at what is there.
pub(crate) async fn overwrite(store: &dyn Storage, commit: &Commit) -> Result<(), StorageError> {
    loop {
        let mut forced = commit.clone();
        forced.expect = get(store, &commit.key).await?.map(|stored| stored.commit);
        if store.commit(forced).await? == CommitOutcome::Applied {
            return Ok(());
        }
    }
}

/// Removes a record before its time, with its entries.
pub(crate) async fn remove(store: &dyn Storage, key: &Key) -> Result<(), StorageError> {
    let Some(stored) = get(store, key).await? else { return Ok(()) };
    let commit = Commit {
        key: key.clone(),
        expect: None,
        id: not(stored.commit),
        record: NewRecord {
            value: stored.value,
            purge_at: Timestamp::from_millis(i64::MIN),
            indexes: vec![],
        },
    };
    overwrite(store, &commit).await?;
    let mut after = None;
    loop {
        let now = Timestamp::from_millis(i64::MIN);
        match store.sweep(now, after.as_ref(), 1_000).await?.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// The commit that writes what is stored once more, under another id.
pub(crate) fn again(key: &Key, stored: Stored) -> Commit {
    let record = NewRecord { value: stored.value, purge_at: stored.purge_at, indexes: vec![] };
    Commit { key: key.clone(), expect: None, id: stored.commit, record }
}

/// An id that nobody else uses.
pub(crate) fn not(id: CommitId) -> CommitId {
    CommitId::from_bytes(id.as_bytes().map(|byte| !byte))
}

/// Every key of a listing.
pub(crate) async fn all(store: &dyn Storage, listing: &Listing) -> Result<Vec<Key>, StorageError> {
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(listing, after.as_ref(), 1_000).await?;
        keys.extend(page.keys);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(keys),
        }
    }
}

/// Every key of every kind.
pub(crate) async fn everything(store: &dyn Storage) -> Result<Vec<Key>, StorageError> {
    let mut keys = Vec::new();
    for kind in Kind::ALL {
        keys.extend(all(store, &Listing::Kind(kind)).await?);
    }
    Ok(keys)
}

/// A page of keys that are all known.
pub(crate) fn page(
    keys: impl IntoIterator<Item = Key>,
    after: Option<&Cursor>,
    limit: usize,
) -> Page {
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort();
    keys.retain(|key| after.is_none_or(|after| key.to_bytes() > after.0));
    keys.truncate(limit.max(1));
    let next = keys.last().filter(|_| keys.len() == limit.max(1));
    let next = next.map(|key| Cursor(key.to_bytes()));
    Page { keys, next }
}
