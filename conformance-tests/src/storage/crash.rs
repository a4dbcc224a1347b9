//! Processes that die while they write, and books on what must be there afterwards.
//!
//! The suite kills with SIGKILL, see [`durability_on_return`](super::durability_on_return). A backend
//! that promises to survive more than that has campaigns of its own, as `grantor-sled` has for power
//! cuts: [`Victim`] is the process, [`write()`] the load on it, [`Ledger`] the books.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use grantor::storage::{
    Commit, CommitId, CommitOutcome, Durability, Key, Kind, Listing, Storage, StorageError, Stored,
};

use super::process::{Kill, Process};
use super::run::{full_size, sized};
use super::toolkit::{CommitExt as _, StorageExt as _, at, create, fresh_id, index, join, key};
use super::{Backend, Processes};

/// A process of its own that has a store open, to be killed.
#[derive(Debug)]
pub struct Victim(Process);

impl Victim {
    /// Starts a process that opens the store at this address. Its `main` or the test that it runs
    /// must get to [`serve_if_asked`](super::serve_if_asked), with the same backend.
    ///
    /// # Panics
    ///
    /// If the store does not open there.
    pub async fn start(address: &str) -> Self {
        match Process::start(address, Kill::Never).await {
            Ok(Some(process)) => Self(process),
            Ok(None) => panic!("nobody killed it"),
            Err(reason) => panic!("the store does not open: {reason}"),
        }
    }

    /// The store, as the process sees it. Once that is dead, all calls fail.
    pub fn store(&self) -> Arc<impl Storage + use<>> {
        self.0.store()
    }

    /// The number by which the system knows the process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL. All that it had answered is known when this returns.
    pub fn kill(self) {
        self.0.kill();
    }
}

/// Records that are created once, replaced by several writers, replaced by one, and swept: a kind each.
const CREATED: Kind = Kind::Grant;
const CONTENDED: Kind = Kind::Session;
const OWNED: Kind = Kind::Client;
const PURGED: Kind = Kind::Consent;
const USERS: usize = 4;

/// What writers were answered, and so what must be in the store.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: Mutex<BTreeMap<Key, Account>>,
    acknowledged: AtomicU64,
}

/// What is known of one record.
#[derive(Debug, Default)]
struct Account {
    /// The highest version that was acknowledged or shown.
    known: Option<Version>,
    /// Those whose outcome nobody knows, or not yet.
    open: BTreeSet<Version>,
}

/// A number that every replacement counts up, and the commit that wrote it.
type Version = (u64, CommitId);

impl Account {
    fn learn(&mut self, version: Version) {
        self.known = self.known.max(Some(version));
        self.open.retain(|open| open.0 > version.0);
    }
}

/// What is wrong with a store after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In which way.
    pub loss: Loss,
    /// With which record, and how that is known.
    pub what: String,
}

/// A way in which a crash can break the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// What was acknowledged or shown is not there.
    Acknowledged,
    /// There is something that nobody wrote, or that was refused, or half of something.
    Whole,
    /// A record is there, and its index entry is not.
    Entry,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Ledger {
    /// How many commits were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn account<T>(&self, key: &Key, enter: impl FnOnce(&mut Account) -> T) -> T {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        enter(accounts.entry(key.clone()).or_default())
    }

    /// Loads a record; what is shown must stay.
    async fn load(
        &self,
        store: &impl Storage,
        key: &Key,
    ) -> Result<Option<(u64, CommitId)>, StorageError> {
        let found = store.load(std::slice::from_ref(key)).await?;
        let Some(found) = found.into_iter().next().flatten() else { return Ok(None) };
        let number = number(&found).unwrap_or_else(|| {
            panic!("a load of {key:?} shows a value that no commit wrote whole")
        });
        self.account(key, |account| account.learn((number, found.commit)));
        Ok(Some((number, found.commit)))
    }

    /// Commits a version, and enters what became of it.
    async fn commit(
        &self,
        store: &impl Storage,
        number: u64,
        commit: Commit,
    ) -> Result<CommitOutcome, StorageError> {
        let (key, version) = (commit.key.clone(), (number, commit.id));
        self.account(&key, |account| account.open.insert(version));
        let outcome = store.commit(commit).await?;
        match outcome {
            CommitOutcome::Applied => {
                self.account(&key, |account| account.learn(version));
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            CommitOutcome::Conflict => {
                self.account(&key, |account| account.open.remove(&version));
            }
        }
        Ok(outcome)
    }

    /// What is wrong with the store now. Nobody may be writing.
    pub async fn check(&self, store: &impl Storage) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut indexed = BTreeSet::new();
        for user in 0..USERS {
            let listing = Listing::Index(index(&format!("user:{user}")));
            indexed.extend(store.keys(&listing, 500).await);
        }
        for kind in [CREATED, CONTENDED, OWNED, PURGED] {
            for key in store.keys(&Listing::Kind(kind), 500).await {
                self.account(&key, |_| ());
            }
        }
        let keys: Vec<_> = {
            let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            accounts.keys().cloned().collect()
        };
        for key in keys {
            let found = store.get(&key).await;
            let mut problem = |loss, what: String| {
                problems.push(Problem { loss, what: format!("{key:?} {what}") });
            };
            if found.is_some() && key.kind() == CREATED && !indexed.contains(&key) {
                problem(Loss::Entry, "is there, and its index does not list it".into());
            }
            self.account(&key, |account| {
                if let Err((loss, what)) = account.audit(&key, found.as_ref()) {
                    problem(loss, what);
                }
            });
        }
        problems
    }
}

impl Account {
    /// Compares the record with what is known of it; what was found is known from then on.
    fn audit(&mut self, key: &Key, found: Option<&Stored>) -> Result<(), (Loss, String)> {
        let Some(found) = found else {
            return match self.known {
                // A sweep may take them at any time.
                Some(version) if key.kind() != PURGED => Err((
                    Loss::Acknowledged,
                    format!("is gone, and {} had been acknowledged or shown", text(version)),
                )),
                _ => Ok(()),
            };
        };
        let Some(number) = number(found) else {
            return Err((Loss::Whole, "holds a value that no commit wrote whole".into()));
        };
        let version = (number, found.commit);
        match self.known {
            Some(known) if known == version => return Ok(()),
            Some(known) if number <= known.0 => {
                return Err((
                    Loss::Acknowledged,
                    format!(
                        "is back at {}, and {} had been acknowledged or shown",
                        text(version),
                        text(known)
                    ),
                ));
            }
            _ => {}
        }
        if !self.open.contains(&version) {
            let what = format!("is at {}, which nobody wrote or which was refused", text(version));
            return Err((Loss::Whole, what));
        }
        self.learn(version);
        Ok(())
    }
}

fn text((number, id): Version) -> String {
    format!("version {number} of commit {id:?}")
}

/// A value that tells its number, and shows whether it is whole.
fn value(number: u64, id: CommitId, len: usize) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    value.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    value.extend(id.as_bytes().iter().cycle().take(len));
    value
}

/// The number in a stored value, if that is whole.
fn number(stored: &Stored) -> Option<u64> {
    let (number, rest) = stored.value.split_first_chunk::<8>()?;
    let (len, _) = rest.split_first_chunk::<4>()?;
    let (number, len) = (u64::from_be_bytes(*number), u32::from_be_bytes(*len));
    let len = usize::try_from(len).ok()?;
    (len <= stored.value.len() && value(number, stored.commit, len) == stored.value)
        .then_some(number)
}

fn version(key: &Key, after: Option<Version>, len: usize) -> (u64, Commit) {
    let number = after.map_or(0, |(number, _)| number + 1);
    let mut commit = create(key, "").purge_at(i64::MAX);
    commit.expect = after.map(|(_, id)| id);
    commit.record.value = value(number, commit.id, len);
    (number, commit)
}

/// Commits from many tasks at once until a call of the store fails, or so many commits were
/// acknowledged in all.
///
/// Records are created with an index entry, replaced by several tasks, replaced by one task with
/// values of many lengths, and swept.
pub async fn write(store: Arc<impl Storage>, ledger: Arc<Ledger>, limit: u64) {
    let (creators, contenders, owners) = (16, 24, 8);
    let mut tasks = Vec::new();
    for task in 0..creators {
        let (store, ledger) = (Arc::clone(&store), Arc::clone(&ledger));
        tasks.push(tokio::spawn(async move {
            while ledger.acknowledged() < limit {
                let key = key(CREATED, format!("{:?}", fresh_id()));
                let (number, commit) = version(&key, None, 200);
                let commit = commit.indexed(&[&format!("user:{}", task % USERS)]);
                match ledger.commit(&*store, number, commit).await {
                    Ok(CommitOutcome::Applied) => {}
                    Ok(CommitOutcome::Conflict) => panic!("nobody else creates {key:?}"),
                    Err(_) => return,
                }
            }
        }));
    }
    for task in 0..contenders {
        let (store, ledger) = (Arc::clone(&store), Arc::clone(&ledger));
        tasks.push(tokio::spawn(async move {
            let key = key(CONTENDED, format!("{}", task % 8));
            while ledger.acknowledged() < limit {
                let Ok(found) = ledger.load(&*store, &key).await else { return };
                let (number, commit) = version(&key, found, 300);
                if ledger.commit(&*store, number, commit).await.is_err() {
                    return;
                }
            }
        }));
    }
    for task in 0..owners {
        let (store, ledger) = (Arc::clone(&store), Arc::clone(&ledger));
        tasks.push(tokio::spawn(async move {
            for round in 0.. {
                if ledger.acknowledged() >= limit {
                    return;
                }
                let key = key(OWNED, format!("{task}.{}", round % 16));
                let Ok(found) = ledger.load(&*store, &key).await else { return };
                let (number, commit) = version(&key, found, round * 131 % 5_000);
                match ledger.commit(&*store, number, commit).await {
                    Ok(CommitOutcome::Applied) => {}
                    Ok(CommitOutcome::Conflict) => panic!("nobody else writes {key:?}"),
                    Err(_) => return,
                }
            }
        }));
    }
    tasks.push(tokio::spawn(async move {
        while ledger.acknowledged() < limit {
            for _ in 0..20 {
                let key = key(PURGED, format!("{:?}", fresh_id()));
                let (number, commit) = version(&key, None, 100);
                let commit = commit.purge_at(0).indexed(&["purged"]);
                if ledger.commit(&*store, number, commit).await.is_err() {
                    return;
                }
            }
            let mut after = None;
            loop {
                let Ok(swept) = store.sweep(at(0), after.as_ref(), 500).await else { return };
                match swept.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
    }));
    for task in tasks {
        join(task).await;
    }
}

/// Kills processes that write, after more and more acknowledgements; fails with what is wrong
/// afterwards in this way.
///
/// A store that lives in its process is not killed; its promise is looked at. One that is shared is not
/// in the process that is killed, so it loses nothing, whatever it promises for its own nodes.
pub(crate) async fn survives_kills<B: Backend>(loss: Loss) {
    let place = B::create().await;
    let promised = match B::open(&place.address()).await {
        Ok(store) => store.promises().durability,
        Err(error) => panic!("the store does not open: {error}"),
    };
    if promised == Durability::None && B::PROCESSES != Processes::Shared {
        assert_eq!(
            B::PROCESSES,
            Processes::Private,
            "a store that another process can open outlives a process, and promises that"
        );
        return;
    }
    let (mut place, mut ledger) = (place, Arc::new(Ledger::default()));
    let (mut acknowledged, rounds) = (0, sized(6, 170));
    for round in 0..rounds {
        // Not for ever on the same files.
        if round > 0 && round.is_multiple_of(25) {
            (place, ledger) = (B::create().await, Arc::default());
        }
        let before = ledger.acknowledged();
        let kill = if round % 6 == 3 { Kill::Opening } else { Kill::At(1 + round * 97 % 1_000) };
        let problems = kill_and_check(&place, &ledger, kill).await;
        acknowledged += ledger.acknowledged() - before;
        let found: Vec<_> = problems.iter().filter(|problem| problem.loss == loss).collect();
        if let Some(first) = found.first() {
            let count = found.len();
            panic!("a process was killed {kill}, and afterwards {first} ({count} such records)");
        }
        if full_size() && round % 25 == 24 {
            progress(&format!("{} of {rounds} kills, {acknowledged} acknowledged", round + 1));
        }
    }
    assert!(acknowledged > rounds, "the writers never got to write");
    progress(&format!("{rounds} kills, {acknowledged} commits acknowledged, nothing wrong"));
}

/// What is wrong after one kill.
async fn kill_and_check<B: Backend>(place: &B, ledger: &Arc<Ledger>, kill: Kill) -> Vec<Problem> {
    match Process::start(&place.address(), kill).await {
        Ok(Some(victim)) => {
            write(victim.store(), Arc::clone(ledger), u64::MAX).await;
            victim.kill();
        }
        Ok(None) => {}
        Err(reason) => panic!("the store does not open after kills: {reason}"),
    }
    match B::open(&place.address()).await {
        Ok(store) => ledger.check(&store).await,
        Err(error) => panic!("a process was killed {kill}, and the store does not open: {error}"),
    }
}

#[expect(clippy::print_stdout, reason = "long campaigns say how far they are")]
fn progress(what: &str) {
    println!("{what}");
}
