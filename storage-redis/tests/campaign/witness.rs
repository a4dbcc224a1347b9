//! Who sees every answer of the store, and says which of them no store may give.
//!
//! A commit names the one that it replaces, so the versions of a record are a chain, and each has a
//! place in it. From the moment at which a version was acknowledged, or shown, nothing may be shown or
//! replaced that stands before it. This holds over all processes and all failovers, and finds every
//! change that was answered and is not there any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Cursor, Index, Key, Kind, Listing, Page, Promises, Storage,
    StorageError, Stored, Swept,
};
use grantor_conformance::redis::slot_of;

/// Longer than the deadline of any call, with room for a machine that is busy.
const HANGS: Duration = Duration::from_secs(20);

/// A version in the chain of a record: its place, counted from one, and the commit that wrote it.
type Version = (u64, CommitId);

#[derive(Debug)]
struct Known {
    place: u64,
    replaces: Option<CommitId>,
    indexes: Vec<Index>,
    purge_at: Timestamp,
    /// Since when it was known not to have been applied.
    refused: Option<Instant>,
}

#[derive(Debug, Default)]
struct Chain {
    known: HashMap<CommitId, Known>,
    /// What was acknowledged or shown last, and when.
    floor: Option<(Version, Instant)>,
    /// The acknowledged commit in place of each.
    heirs: HashMap<Option<CommitId>, CommitId>,
}

impl Chain {
    fn place(&self) -> u64 {
        self.floor.map_or(0, |((place, _), _)| place)
    }

    fn learn(&mut self, version: Version) {
        if version.0 > self.place() {
            self.floor = Some((version, Instant::now()));
        }
    }
}

/// A change that was answered, and was not there at a later look.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    pub(crate) key: Key,
    /// When it was acknowledged or shown.
    pub(crate) known_at: Instant,
    /// When it was missed.
    pub(crate) missed_at: Instant,
    what: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

#[derive(Debug, Default)]
struct State {
    chains: HashMap<Key, Chain>,
    /// The entries that an index must have, and since when.
    entries: BTreeMap<Index, BTreeMap<Key, Instant>>,
    /// What was changed or seen since it was last looked at on purpose.
    dirty: BTreeSet<Key>,
    losses: Vec<Loss>,
    wrong: Vec<String>,
    recovery: Option<Recovery>,
}

#[derive(Debug)]
struct Recovery {
    since: Instant,
    /// Slots of a Cluster, first and last; empty: every key.
    slots: Vec<(u16, u16)>,
    after: Option<Duration>,
}

/// What all witnesses have seen.
#[derive(Debug, Default)]
pub(crate) struct Books {
    state: Mutex<State>,
    pub(crate) acknowledged: AtomicU64,
}

impl Books {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is watched when a commit is first acknowledged that was begun later.
    pub(crate) fn begin_recovery(&self, slots: Vec<(u16, u16)>) {
        self.state().recovery = Some(Recovery { since: Instant::now(), slots, after: None });
    }

    /// How long that took, once it did.
    pub(crate) fn recovered(&self) -> Option<Duration> {
        self.state().recovery.as_ref().and_then(|recovery| recovery.after)
    }

    /// What was found lost since the last time.
    pub(crate) fn take_losses(&self) -> Vec<Loss> {
        std::mem::take(&mut self.state().losses)
    }

    /// What no failover explains.
    pub(crate) fn take_wrong(&self) -> Vec<String> {
        std::mem::take(&mut self.state().wrong)
    }

    pub(crate) fn records(&self) -> usize {
        self.state().chains.len()
    }

    fn before_load(&self, key: &Key) -> Option<(Version, Instant)> {
        self.state().chains.get(key)?.floor
    }

    /// What a load showed that began at `began`, when `floor` was known.
    fn after_load(
        &self,
        key: &Key,
        began: Instant,
        floor: Option<(Version, Instant)>,
        shown: Option<CommitId>,
    ) {
        let mut guard = self.state();
        let State { chains, entries, losses, wrong, .. } = &mut *guard;
        let chain = chains.entry(key.clone()).or_default();
        let mut indexes = Vec::new();
        let place = match shown {
            None => 0,
            Some(id) => match chain.known.get(&id) {
                None => {
                    wrong.push(format!("{key:?} was shown with a commit that nobody sent"));
                    return;
                }
                Some(known) => {
                    if known.refused.is_some_and(|at| at < began) {
                        wrong.push(format!(
                            "{key:?} was shown with a commit that had been refused before"
                        ));
                    }
                    indexes.clone_from(&known.indexes);
                    known.place
                }
            },
        };
        if let Some(((floor_place, floor_id), known_at)) = floor
            && (place < floor_place || (place == floor_place && shown != Some(floor_id)))
        {
            let last = chain.known.get(&floor_id);
            if shown.is_none() && last.is_some_and(|last| last.purge_at.has_passed(now())) {
                return;
            }
            let what = format!(
                "{key:?} was shown at version {place} although version {floor_place} had been \
                 acknowledged or shown"
            );
            Self::lose(losses, chain, key, (floor_place, floor_id), known_at, what);
        }
        if let Some(id) = shown {
            chain.learn((place, id));
        }
        for index in indexes {
            entries.entry(index).or_default().entry(key.clone()).or_insert_with(Instant::now);
        }
    }

    /// Each loss is told once; from then on what is there counts.
    fn lose(
        losses: &mut Vec<Loss>,
        chain: &mut Chain,
        key: &Key,
        floor: Version,
        known_at: Instant,
        what: String,
    ) {
        if chain.floor.is_none_or(|(now, _)| now.0 < floor.0) {
            return;
        }
        chain.floor = None;
        chain.heirs.clear();
        losses.push(Loss { key: key.clone(), known_at, missed_at: Instant::now(), what });
    }

    fn before_commit(&self, commit: &Commit) -> Option<(Version, Instant)> {
        let mut state = self.state();
        state.dirty.insert(commit.key.clone());
        let chain = state.chains.entry(commit.key.clone()).or_default();
        let before = commit.expect.and_then(|id| chain.known.get(&id));
        let place = before.map_or(0, |known| known.place) + 1;
        chain.known.entry(commit.id).or_insert_with(|| Known {
            place,
            replaces: commit.expect,
            indexes: commit.record.indexes.clone(),
            purge_at: commit.record.purge_at,
            refused: None,
        });
        chain.floor
    }

    fn after_commit(
        &self,
        key: &Key,
        id: CommitId,
        began: Instant,
        floor: Option<(Version, Instant)>,
        outcome: CommitOutcome,
    ) {
        let mut guard = self.state();
        let State { chains, entries, losses, wrong, recovery, .. } = &mut *guard;
        let Some(chain) = chains.get_mut(key) else { return };
        let Some(known) = chain.known.get_mut(&id) else { return };
        if outcome == CommitOutcome::Conflict {
            known.refused.get_or_insert_with(Instant::now);
            return;
        }
        let (place, replaces, indexes) = (known.place, known.replaces, known.indexes.clone());
        if let Some(recovery) = recovery.as_mut()
            && recovery.after.is_none()
            && began > recovery.since
            && within(&recovery.slots, key)
        {
            recovery.after = Some(recovery.since.elapsed());
        }
        if let Some(((floor_place, floor_id), known_at)) = floor
            && (place < floor_place || (place == floor_place && id != floor_id))
        {
            let what = format!(
                "{key:?} was replaced by version {place} although version {floor_place} had been \
                 acknowledged or shown"
            );
            Self::lose(losses, chain, key, (floor_place, floor_id), known_at, what);
        }
        if let Some(other) = chain.heirs.insert(replaces, id)
            && other != id
        {
            wrong.push(format!("{key:?}: two commits were applied in the same place"));
        }
        chain.learn((place, id));
        for index in indexes {
            entries.entry(index).or_default().entry(key.clone()).or_insert_with(Instant::now);
        }
    }

    /// Looks at what was changed since the last time, and at the indexes, in `store`. `all`: at
    /// everything. The entries that are missing are what is wrong beside the losses.
    pub(crate) async fn audit(
        self: &Arc<Self>,
        store: &Arc<dyn Storage>,
        all: bool,
    ) -> Result<Vec<Loss>, StorageError> {
        let keys: Vec<Key> = {
            let mut state = self.state();
            let dirty = std::mem::take(&mut state.dirty);
            if all { state.chains.keys().cloned().collect() } else { dirty.into_iter().collect() }
        };
        let witness = Witness::new(Arc::clone(store), Arc::clone(self));
        for some in keys.chunks(64) {
            if let Err(error) = witness.load(some).await {
                self.state().dirty.extend(keys);
                return Err(error);
            }
        }
        let mut missing = Vec::new();
        let indexes: Vec<Index> = {
            let state = self.state();
            let touched =
                |of: &BTreeMap<Key, Instant>| all || keys.iter().any(|key| of.contains_key(key));
            let touched = state.entries.iter().filter(|(_, of)| touched(of));
            touched.map(|(index, _)| index.clone()).collect()
        };
        for index in indexes {
            let wanted = self.state().entries.get(&index).cloned().unwrap_or_default();
            let mut listed = BTreeSet::new();
            let mut after = None;
            loop {
                let listing = Listing::Index(index.clone());
                let page = store.list(&listing, after.as_ref(), 256).await?;
                listed.extend(page.keys);
                after = match page.next {
                    Some(next) => Some(next),
                    None => break,
                };
            }
            for (key, known_at) in wanted {
                if listed.contains(&key) {
                    continue;
                }
                // It may be gone with its record, which is told of there.
                let found = witness.load(std::slice::from_ref(&key)).await?;
                let is_there = found.iter().any(Option::is_some);
                if let Some(of) = self.state().entries.get_mut(&index) {
                    of.remove(&key);
                }
                if is_there {
                    missing.push(Loss {
                        what: format!("{key:?} is there, and {} does not list it", index.as_str()),
                        key,
                        known_at,
                        missed_at: Instant::now(),
                    });
                }
            }
        }
        Ok(missing)
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.ok().and_then(|since| i64::try_from(since.as_millis()).ok());
    Timestamp::from_millis(millis.unwrap_or_default())
}

fn within(slots: &[(u16, u16)], key: &Key) -> bool {
    if slots.is_empty() {
        return true;
    }
    if key.kind() != Kind::Grant {
        return false;
    }
    let slot = slot_of(format!("grantor:g:{}", URL_SAFE_NO_PAD.encode(key.id())));
    slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
}

/// A store with a witness.
pub(crate) struct Witness {
    store: Arc<dyn Storage>,
    books: Arc<Books>,
}

impl Witness {
    pub(crate) fn new(store: Arc<dyn Storage>, books: Arc<Books>) -> Self {
        Self { store, books }
    }

    /// Notes how a call went, and how long it took.
    fn note<T>(&self, what: &str, began: Instant, answer: &Result<T, StorageError>) {
        if began.elapsed() > HANGS {
            let took = began.elapsed();
            self.books.state().wrong.push(format!("a {what} took {took:?}"));
        }
        if let Err(error @ StorageError::Damaged { .. }) = answer {
            self.books.state().wrong.push(format!("a {what}: {error}"));
        }
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for Witness {
    fn promises(&self) -> Promises {
        self.store.promises()
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        let floors: Vec<_> = keys.iter().map(|key| self.books.before_load(key)).collect();
        let began = Instant::now();
        let answer = self.store.load(keys).await;
        self.note("load", began, &answer);
        let found = answer?;
        for ((key, floor), found) in keys.iter().zip(floors).zip(&found) {
            let shown = found.as_ref().map(|stored| stored.commit);
            self.books.after_load(key, began, floor, shown);
        }
        Ok(found)
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        let (key, id) = (commit.key.clone(), commit.id);
        let floor = self.books.before_commit(&commit);
        let began = Instant::now();
        let answer = self.store.commit(commit).await;
        self.note("commit", began, &answer);
        let outcome = answer?;
        if outcome == CommitOutcome::Applied {
            self.books.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.books.after_commit(&key, id, began, floor, outcome);
        Ok(outcome)
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let began = Instant::now();
        let answer = self.store.list(listing, after, limit).await;
        self.note("listing", began, &answer);
        answer
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        let began = Instant::now();
        let answer = self.store.sweep(now, after, budget).await;
        self.note("step of a sweep", began, &answer);
        answer
    }

    async fn ready(&self) -> Result<(), StorageError> {
        let began = Instant::now();
        let answer = self.store.ready().await;
        self.note("readiness", began, &answer);
        answer
    }
}
