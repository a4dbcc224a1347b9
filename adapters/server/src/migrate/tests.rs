//! Stores that are not what they should be.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use grantor::model::{ClientId, Consent, ConsentState, ScopeSet, Subject, Timestamp};
use grantor::storage::{CommitId, Listing, MemoryStorage, Page, Promises, Record, Swept};

use super::*;

/// A store in memory that does to some calls what it should not.
#[derive(Debug, Default)]
struct Faulty {
    inner: MemoryStorage,
    commits: AtomicUsize,
    lists: AtomicUsize,
    fault: Option<Fault>,
    /// Somebody replaces a record right after it was read.
    is_changing: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It says so of the third commit, and does nothing.
    Loses,
    /// It writes another value, which cannot be read.
    Garbles,
    /// It writes another `purge_at`.
    Postpones,
    /// It forgets the index entries.
    ForgetsEntries,
    /// Each commit is answered at the second try only, and every walk loses its place once.
    Stumbles,
}

#[async_trait]
impl Storage for Faulty {
    fn promises(&self) -> Promises {
        self.inner.promises()
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        let loaded = self.inner.load(keys).await?;
        if let (Some(key), Some(Some(stored))) = (keys.first(), loaded.first())
            && self.is_changing.swap(false, Ordering::Relaxed)
        {
            let mut value = stored.value.clone();
            value.push(0);
            let mut commit = commit_of(key.clone(), 77, value, i64::MAX, vec![]);
            commit.expect = Some(stored.commit);
            assert_eq!(self.inner.commit(commit).await?, CommitOutcome::Applied);
        }
        Ok(loaded)
    }

    async fn commit(&self, mut commit: Commit) -> Result<CommitOutcome, StorageError> {
        let number = self.commits.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Some(Fault::Loses) if number == 2 => return Ok(CommitOutcome::Applied),
            Some(Fault::Garbles) if number == 2 => commit.record.value.push(0),
            Some(Fault::Postpones) if number == 2 => {
                commit.record.purge_at = Timestamp::from_millis(i64::MAX - 1);
            }
            Some(Fault::ForgetsEntries) => commit.record.indexes.clear(),
            Some(Fault::Stumbles) if number.is_multiple_of(2) => {
                // It did happen, and nobody was told.
                let _ = self.inner.commit(commit).await?;
                return Err(StorageError::unavailable("the reply was lost"));
            }
            _ => {}
        }
        self.inner.commit(commit).await
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let number = self.lists.fetch_add(1, Ordering::Relaxed);
        if self.fault == Some(Fault::Stumbles) && number % 5 == 1 {
            return Err(StorageError::unavailable("the place is lost"));
        }
        self.inner.list(listing, after, limit.min(3)).await
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        self.inner.sweep(now, after, budget).await
    }

    async fn ready(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

fn faulty(fault: Fault) -> Faulty {
    Faulty { fault: Some(fault), ..Faulty::default() }
}

fn commit_of(key: Key, id: u8, value: Vec<u8>, purge_at: i64, indexes: Vec<Index>) -> Commit {
    let record = NewRecord { value, purge_at: Timestamp::from_millis(purge_at), indexes };
    Commit { key, expect: None, id: CommitId::from_bytes([id; 16]), record }
}

fn consent(n: u8) -> Commit {
    let at = Timestamp::from_millis(1);
    let record = Record::Consent(Consent {
        subject: Subject::parse(format!("user-{}", n % 3)).expect("short"),
        client_id: ClientId::parse(format!("client-{n}")).expect("short"),
        scope: ScopeSet::parse("calendar.read").expect("a scope"),
        state: ConsentState::Allowed,
        epoch: 0,
        granted_at: at,
        updated_at: at,
        client_name: "App".to_owned(),
    });
    let new = record.to_new_record(None).expect("small");
    commit_of(record.key(), n, new.value, i64::MAX, new.indexes)
}

async fn filled(store: Faulty) -> Faulty {
    for n in 1..=10 {
        let outcome = store.inner.commit(consent(n)).await.expect("healthy");
        assert_eq!(outcome, CommitOutcome::Applied);
    }
    store
}

async fn migrated(source: &Faulty, target: &Faulty) -> Outcome {
    let migration = Migration::new(source, target, false, Progress::new(true));
    migration.run().await.expect("both stores answer")
}

#[tokio::test(start_paused = true)]
async fn everything_is_copied_once_whatever_stumbles() {
    let source = filled(faulty(Fault::Stumbles)).await;
    let target = faulty(Fault::Stumbles);
    // Neither what is over, nor what was left by nobody.
    let over = commit_of(Key::new(Kind::Replay, [1]).expect("short"), 99, vec![1], 1, vec![]);
    assert_eq!(source.inner.commit(over).await.expect("healthy"), CommitOutcome::Applied);
    for _ in 0..3 {
        let outcome = migrated(&source, &target).await;
        assert_eq!(outcome.verdict(), Verdict::Complete, "{outcome:#?}");
        let sides = outcome.kinds.get(&Kind::Consent).expect("there are some");
        assert_eq!((sides.target.records, outcome.entries), (10, 10));
        assert!(outcome.past >= 1);
        outcome.check().expect("complete");
    }
    for n in 1..=10 {
        let commit = consent(n);
        let found = target.inner.load(std::slice::from_ref(&commit.key)).await.expect("healthy");
        let found = found.into_iter().next().flatten().expect("there");
        assert_eq!((found.commit, found.value), (commit.id, commit.record.value));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_target_loses_or_changes_is_noticed() {
    let source = filled(Faulty::default()).await;
    for (fault, missing, same) in [
        (Fault::Loses, 0, false),
        (Fault::Garbles, 0, false),
        (Fault::Postpones, 0, true),
        (Fault::ForgetsEntries, 10, true),
    ] {
        let target = faulty(fault);
        let outcome = migrated(&source, &target).await;
        assert_eq!(outcome.verdict(), Verdict::Different, "{fault:?} {outcome:#?}");
        assert!(outcome.check().is_err());
        // An entry whose record was lost may be there or not.
        assert!(outcome.missing_entries >= missing, "{fault:?} {outcome:#?}");
        let sides = outcome.kinds.get(&Kind::Consent).expect("there are some");
        let same_count = sides.source.records == sides.target.records;
        assert_eq!(same_count, same, "{fault:?} {outcome:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_written_to_meanwhile_is_noticed() {
    let source = filled(Faulty::default()).await;
    source.is_changing.store(true, Ordering::Relaxed);
    let target = Faulty::default();
    let outcome = migrated(&source, &target).await;
    assert_eq!(outcome.verdict(), Verdict::Changed, "{outcome:#?}");
    // What is in the target now is another's, for all that is known.
    let outcome = migrated(&source, &target).await;
    assert_eq!((outcome.verdict(), outcome.foreign.count), (Verdict::Foreign, 1), "{outcome:#?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_others_is_touched_and_nothing_is_added_to_it() {
    let source = filled(Faulty::default()).await;
    let target = Faulty::default();
    let mut other = consent(3);
    other.id = CommitId::from_bytes([200; 16]);
    for commit in [other, consent(11)] {
        let outcome = target.inner.commit(commit).await.expect("healthy");
        assert_eq!(outcome, CommitOutcome::Applied);
    }
    let outcome = migrated(&source, &target).await;
    assert_eq!((outcome.verdict(), outcome.foreign.count), (Verdict::Foreign, 2), "{outcome:#?}");
    assert_eq!(target.commits.load(Ordering::Relaxed), 0, "nothing was written");
    let mut shown = Vec::new();
    text(&mut shown, &outcome).expect("written");
    let shown = String::from_utf8(shown).expect("text");
    assert!(shown.contains("In the target, and not from this source: 2"), "{shown}");
    assert!(shown.contains("it is another version of the record"), "{shown}");
    assert!(shown.contains("the source has no such record"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_version_wrote_is_reported_and_not_copied() {
    let source = filled(Faulty::default()).await;
    for (kind, value) in
        [(Kind::Grant, vec![99, 1]), (Kind::User, vec![]), (Kind::Client, vec![1, 0xc1])]
    {
        let key = Key::new(kind, [9]).expect("short");
        let commit = commit_of(key, 50, value, i64::MAX, vec![]);
        assert_eq!(source.inner.commit(commit).await.expect("healthy"), CommitOutcome::Applied);
    }
    let target = Faulty::default();
    let outcome = migrated(&source, &target).await;
    assert_eq!((outcome.verdict(), outcome.unreadable.count), (Verdict::Unreadable, 3));
    // The rest is there.
    let sides = outcome.kinds.get(&Kind::Consent).expect("there are some");
    assert_eq!((sides.source, sides.source.records), (sides.target, 10));
    assert_eq!(outcome.kinds.len(), 1, "{outcome:#?}");
    let mut shown = Vec::new();
    text(&mut shown, &outcome).expect("written");
    let shown = String::from_utf8(shown).expect("text");
    assert!(shown.contains("a record has format 99; this version reads"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_writes_nothing() {
    let source = filled(Faulty::default()).await;
    let target = Faulty::default();
    let migration = Migration::new(&source, &target, true, Progress::new(true));
    let outcome = migration.run().await.expect("both answer");
    assert_eq!(outcome.verdict(), Verdict::DryRun);
    let sides = outcome.kinds.get(&Kind::Consent).expect("there are some");
    assert_eq!((sides.source.records, sides.target.records), (10, 0));
    assert_eq!(target.commits.load(Ordering::Relaxed), 0);
}
