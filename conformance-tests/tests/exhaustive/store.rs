//! The store as a value: one linearizable map from keys to records, and its indexes.
//!
//! It answers as [`MemoryStorage`](grantor::storage::MemoryStorage) does; the test
//! `the_store_of_the_world_is_the_reference` compares the two.

use grantor::model::Timestamp;
use grantor::storage::{Commit, CommitOutcome, Key, Listing};

use crate::tables::{Id, Row, Tables};

/// Everything that is durable. All lists are sorted, so that equal stores are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    rows: Vec<(Id, Id)>,
    entries: Vec<(Id, Id)>,
    /// What stood in a row before the last commit. Kept only for seeded bugs that read it.
    before: Vec<(Id, Id)>,
    /// What a crash takes away: the rows that were acknowledged before they were durable, oldest
    /// first, with what stood there. Filled only by the seeded bug that does so.
    undurable: Vec<(Id, Option<Id>)>,
    /// What was acknowledged before it was written. Filled only by the seeded bug that does so.
    promised: Vec<(Id, Id)>,
}

/// What a commit did to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) key: Id,
    pub(crate) before: Option<Id>,
    pub(crate) row: Id,
}

impl Store {
    /// The row under a key.
    pub(crate) fn row(&self, key: Id) -> Option<Id> {
        find(&self.rows, key)
    }

    /// The row that stood under a key before the one that stands there now.
    pub(crate) fn row_before(&self, key: Id) -> Option<Id> {
        find(&self.before, key)
    }

    /// Every key with its row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Id, Id)> {
        self.rows.iter().copied()
    }

    /// Replaces a row if the commit expects the one that is there.
    pub(crate) fn commit(
        &mut self,
        tables: &Tables,
        commit: &Commit,
    ) -> (CommitOutcome, Option<Written>) {
        let key = tables.keys.id(commit.key.clone());
        let found = self.row(key).map(|row| tables.rows.at(row).commit);
        if found == Some(commit.id) {
            return (CommitOutcome::Applied, None);
        }
        if found != commit.expect {
            return (CommitOutcome::Conflict, None);
        }
        (CommitOutcome::Applied, Some(self.write(tables, commit)))
    }

    /// Writes, whatever is there.
    pub(crate) fn write(&mut self, tables: &Tables, commit: &Commit) -> Written {
        let key = tables.keys.id(commit.key.clone());
        for index in &commit.record.indexes {
            let entry = (tables.indexes.id(index.clone()), key);
            if let Err(at) = self.entries.binary_search(&entry) {
                self.entries.insert(at, entry);
            }
        }
        let row = tables.rows.id(Row::of(commit));
        let before = self.row(key);
        put(&mut self.rows, key, row);
        Written { key, before, row }
    }

    /// The keys of a listing, in the order of the keys.
    pub(crate) fn list(&self, tables: &Tables, listing: &Listing) -> Vec<Id> {
        let mut keys: Vec<(Key, Id)> = match listing {
            Listing::Kind(kind) => {
                let keys = self.rows.iter().map(|(key, _)| ((*tables.keys.at(*key)).clone(), *key));
                keys.filter(|(key, _)| key.kind() == *kind).collect()
            }
            Listing::Index(index) => {
                let index = tables.indexes.id(index.clone());
                let of = self.entries.iter().filter(|(known, _)| *known == index);
                of.map(|(_, key)| ((*tables.keys.at(*key)).clone(), *key)).collect()
            }
        };
        keys.sort();
        keys.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether a sweep at this time may remove the row under a key.
    pub(crate) fn may_sweep(&self, tables: &Tables, key: Id, now: Timestamp) -> bool {
        self.row(key).is_some_and(|row| tables.rows.at(row).purge_at.has_passed(now))
    }

    /// Removes the row under a key and its index entries.
    pub(crate) fn remove(&mut self, key: Id) {
        self.rows.retain(|(known, _)| *known != key);
        self.entries.retain(|(_, known)| *known != key);
    }

    /// Forgets the index entries of a key.
    pub(crate) fn unlist(&mut self, key: Id) {
        self.entries.retain(|(_, known)| *known != key);
    }

    /// Remembers what stood in a row before.
    pub(crate) fn keep_before(&mut self, written: Written) {
        if let Some(before) = written.before {
            put(&mut self.before, written.key, before);
        }
    }

    /// A row that a crash may still take away.
    pub(crate) fn mark_undurable(&mut self, written: Written) {
        self.undurable.push((written.key, written.before));
    }

    /// Whether a seeded bug has left something undone.
    pub(crate) fn has_unfinished(&self) -> bool {
        !self.undurable.is_empty() || !self.promised.is_empty()
    }

    /// What was acknowledged too early is made true: all rows become durable, and the oldest promise
    /// is kept.
    pub(crate) fn catch_up(&mut self) {
        self.undurable.clear();
        if !self.promised.is_empty() {
            let (key, row) = self.promised.remove(0);
            put(&mut self.rows, key, row);
        }
    }

    /// What was not durable is gone.
    pub(crate) fn crash(&mut self) {
        while let Some((key, before)) = self.undurable.pop() {
            match before {
                Some(row) => put(&mut self.rows, key, row),
                None => self.remove(key),
            }
        }
    }

    /// Promises to write a row later.
    pub(crate) fn promise(&mut self, tables: &Tables, commit: &Commit) {
        let row = tables.rows.id(Row::of(commit));
        self.promised.push((tables.keys.id(commit.key.clone()), row));
    }
}

fn find(rows: &[(Id, Id)], key: Id) -> Option<Id> {
    rows.binary_search_by_key(&key, |(known, _)| *known).ok().map(|at| rows[at].1)
}

fn put(rows: &mut Vec<(Id, Id)>, key: Id, row: Id) {
    match rows.binary_search_by_key(&key, |(known, _)| *known) {
        Ok(at) => rows[at].1 = row,
        Err(at) => rows.insert(at, (key, row)),
    }
}
