//! Faults of listings.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use grantor::storage::{Commit, CommitOutcome, Cursor, Listing, Page, Storage, StorageError};

use crate::fault::{Fault, all, everything, page};
use crate::scanning;

/// Leaves out the last key of every full page.
#[derive(Debug, Default)]
pub(crate) struct SkipsAtTheEndOfAPage;

#[async_trait]
impl Fault for SkipsAtTheEndOfAPage {
    async fn list(
        &self,
        store: &dyn Storage,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let mut page = store.list(listing, after, limit).await?;
        if page.next.is_some() && limit > 1 {
            page.keys.pop();
        }
        Ok(page)
    }
}

/// Goes on at a number, whatever was removed before it meanwhile.
#[derive(Debug, Default)]
pub(crate) struct ListsByNumber;

#[async_trait]
impl Fault for ListsByNumber {
    async fn list(
        &self,
        store: &dyn Storage,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let mut keys = all(store, listing).await?;
        let start =
            after.map_or(0, |cursor| cursor.0.iter().fold(0, |n, b| n * 256 + usize::from(*b)));
        keys.drain(..start.min(keys.len()));
        let mut listed = page(keys, None, limit);
        let end = u32::try_from(start + listed.keys.len()).expect("a small test");
        listed.next = listed.next.map(|_| Cursor(end.to_be_bytes().to_vec()));
        Ok(listed)
    }
}

/// Lists an index with those whose name begins the same.
#[derive(Debug, Default)]
pub(crate) struct ListsByPrefix(Mutex<BTreeSet<grantor::storage::Index>>);

#[async_trait]
impl Fault for ListsByPrefix {
    async fn commit(
        &self,
        store: &dyn Storage,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        self.0.lock().expect("lock").extend(commit.record.indexes.iter().cloned());
        store.commit(commit).await
    }

    async fn list(
        &self,
        store: &dyn Storage,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let Listing::Index(index) = listing else { return store.list(listing, after, limit).await };
        let known = self.0.lock().expect("lock").clone();
        let mut keys = BTreeSet::new();
        for name in known.into_iter().filter(|name| name.as_str().starts_with(index.as_str())) {
            keys.extend(all(store, &Listing::Index(name)).await?);
        }
        Ok(page(keys, after, limit))
    }
}

/// Walks an index as it may walk a kind.
#[derive(Debug, Default)]
pub(crate) struct ScansItsIndexes;

#[async_trait]
impl Fault for ScansItsIndexes {
    async fn list(
        &self,
        store: &dyn Storage,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        Ok(scanning::page(all(store, listing).await?, after, limit))
    }
}

/// Takes what is filed beside a kind for records of it.
#[derive(Debug, Default)]
pub(crate) struct ListsOtherKinds;

#[async_trait]
impl Fault for ListsOtherKinds {
    async fn list(
        &self,
        store: &dyn Storage,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        match listing {
            Listing::Kind(_) => Ok(page(everything(store).await?, after, limit)),
            Listing::Index(_) => store.list(listing, after, limit).await,
        }
    }
}

/// Begins again at the end of a walk.
#[derive(Debug, Default)]
pub(crate) struct WalksForEver;

#[async_trait]
impl Fault for WalksForEver {
    async fn list(
        &self,
        store: &dyn Storage,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let mut page = store.list(listing, after, limit).await?;
        if let (Listing::Kind(kind), None) = (listing, &page.next) {
            page.next = Some(Cursor(vec![kind.as_byte()]));
        }
        Ok(page)
    }
}

/// Cannot tell where it was, every time.
#[derive(Debug, Default)]
pub(crate) struct NeverFindsItsPlace;

#[async_trait]
impl Fault for NeverFindsItsPlace {
    async fn list(
        &self,
        store: &dyn Storage,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        match (listing, after) {
            (Listing::Kind(_), Some(_)) => Err(StorageError::unavailable("the nodes changed")),
            _ => store.list(listing, after, limit).await,
        }
    }
}

/// Lost its place when records came or went, and does not say so.
#[derive(Debug, Default)]
pub(crate) struct MissesWhatMoved;

#[async_trait]
impl Fault for MissesWhatMoved {
    async fn list(
        &self,
        store: &dyn Storage,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let Listing::Kind(kind) = listing else { return store.list(listing, after, limit).await };
        let mut keys = all(store, &Listing::Kind(*kind)).await?;
        // Where a key lies depends on how many there are.
        let turn = keys.len() % 7;
        keys.rotate_left(turn);
        let start =
            after.map_or(0, |cursor| cursor.0.iter().fold(0, |n, b| n * 256 + usize::from(*b)));
        let found: Vec<_> = keys.iter().skip(start).take(limit).cloned().collect();
        let end = start + found.len();
        let next = (end < keys.len()).then(|| {
            let end = u32::try_from(end).expect("a small test");
            Cursor(end.to_be_bytes().to_vec())
        });
        Ok(Page { keys: found, next })
    }
}
