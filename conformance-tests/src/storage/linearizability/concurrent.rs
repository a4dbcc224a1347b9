//! Random programs, run by several clients at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use grantor::storage::{Commit, CommitOutcome, Key, Kind, Listing, Storage, Stored};
use proptest::prelude::*;
use tokio::sync::Barrier;

use super::super::toolkit::{
    CommitExt as _, StorageExt as _, at, create, index, join, key, poll_times, stored,
};
use super::checker::Entries;
use super::{search, story};

/// How many clients run a program.
pub(crate) const CLIENTS: usize = 3;
pub(super) const KEYS: usize = 2;
const INDEXES: [&str; 2] = ["user:1", "user:2"];
/// The kind whose listing is part of a program.
const KIND: Kind = Kind::Grant;
/// After all that is due in a program.
const END: i64 = 100;

/// How often a program is run before it passes, and while it is shortened.
const RUNS: usize = 2;
const RUNS_OF_A_FAILURE: usize = 25;

/// One call. Whole numbers stand for keys and indexes, so that a program shrinks.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Replaces what this client last saw of the record. `polls`: dropped after so many.
    Commit {
        key: usize,
        purge_at: i64,
        entries: Entries,
        polls: Option<usize>,
    },
    /// Sends the last commit of any client again.
    Repeat {
        key: usize,
    },
    Load {
        keys: Vec<usize>,
    },
    ListKind {
        limit: usize,
    },
    ListIndex {
        index: usize,
        limit: usize,
    },
    Sweep {
        now: i64,
    },
}

type Program = Vec<Vec<Step>>;

fn program() -> impl Strategy<Value = Program> {
    let commit = (0..KEYS, 1..6_i64, 0..4_u8, prop::option::weighted(0.1, 0..3_usize))
        .prop_map(|(key, purge_at, entries, polls)| Step::Commit { key, purge_at, entries, polls });
    let step = prop_oneof![
        6 => commit,
        1 => (0..KEYS).prop_map(|key| Step::Repeat { key }),
        4 => prop::collection::vec(0..KEYS, 1..3).prop_map(|keys| Step::Load { keys }),
        1 => (1..4_usize).prop_map(|limit| Step::ListKind { limit }),
        1 => (0..INDEXES.len(), 1..4_usize)
            .prop_map(|(index, limit)| Step::ListIndex { index, limit }),
        1 => (1..6_i64).prop_map(|now| Step::Sweep { now }),
    ];
    prop::collection::vec(prop::collection::vec(step, 0..6), CLIENTS)
}

/// A call that was made, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) client: usize,
    pub(super) invoked: u64,
    /// `None`: it was dropped.
    pub(super) returned: Option<u64>,
    pub(super) did: Did,
}

/// Commits are numbered in the order in which they were made.
#[derive(Clone, Debug)]
pub(super) enum Did {
    Commit {
        number: usize,
        outcome: Option<CommitOutcome>,
        repeated: bool,
    },
    /// What was found, or that it is nothing that anybody wrote.
    Load(Vec<(usize, Result<Option<usize>, Stored>)>),
    ListKind(BTreeSet<usize>),
    ListIndex {
        index: usize,
        keys: BTreeSet<usize>,
    },
    Sweep {
        now: i64,
    },
}

/// What one run of a program showed.
#[derive(Debug)]
pub(super) struct History {
    pub(super) events: Vec<Event>,
    pub(super) commits: Vec<Made>,
}

/// A commit, in the numbers of its program.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) key: usize,
    pub(super) expect: Option<usize>,
    pub(super) entries: Entries,
    pub(super) purge_at: i64,
    commit: Commit,
}

/// One run: its keys, its clock that counts begins and answers, and the commits that were made.
struct Run {
    keys: Vec<Key>,
    clock: AtomicU64,
    commits: Mutex<Vec<Made>>,
}

/// Runs so many random programs on the store, as each client sees it; panics with a story if one of
/// them shows what no order explains.
pub(crate) fn explore(clients: &[Arc<impl Storage>], programs: u64) {
    let failed = AtomicBool::new(false);
    let found = search(programs, &program(), |program| {
        let runs = if failed.load(Ordering::Relaxed) { RUNS_OF_A_FAILURE } else { RUNS };
        for _ in 0..runs {
            if let Some(story) = run_once(clients, &program) {
                failed.store(true, Ordering::Relaxed);
                return Err(TestCaseError::fail(story));
            }
        }
        Ok(())
    });
    if let Err((story, _)) = found {
        panic!("{story}");
    }
}

/// Runs a program; its story, if nothing explains it.
fn run_once(clients: &[Arc<impl Storage>], program: &Program) -> Option<String> {
    let history = tokio::task::block_in_place(|| {
        let patience = Duration::from_secs(60);
        tokio::runtime::Handle::current()
            .block_on(async { tokio::time::timeout(patience, run(clients, program)).await })
    });
    match history {
        Ok(history) => story::of_what_is_broken(&history),
        Err(_) => Some(format!("a call did not return, in this program: {program:#?}")),
    }
}

async fn run(clients: &[Arc<impl Storage>], program: &Program) -> History {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let run = Arc::new(Run {
        keys: (0..KEYS).map(|n| key(KIND, format!("{number}.{n}"))).collect(),
        clock: AtomicU64::new(0),
        commits: Mutex::default(),
    });
    let start = Arc::new(Barrier::new(program.len()));
    let tasks: Vec<_> = program
        .iter()
        .zip(clients)
        .enumerate()
        .map(|(client, (steps, store))| {
            let (run, start) = (Arc::clone(&run), Arc::clone(&start));
            let (steps, store) = (steps.clone(), Arc::clone(store));
            tokio::spawn(async move {
                start.wait().await;
                let mut known = [None; KEYS];
                let mut events = Vec::new();
                for step in &steps {
                    let invoked = run.tick();
                    let did = run.take(&*store, step, &mut known).await;
                    let answered = !matches!(did, Did::Commit { outcome: None, .. });
                    let returned = answered.then(|| run.tick());
                    events.push(Event { client, invoked, returned, did });
                }
                events
            })
        })
        .collect();
    let mut events = Vec::new();
    for task in tasks {
        events.extend(join(task).await);
    }
    // At rest, everybody sees the same.
    for (client, store) in clients.iter().enumerate() {
        for step in [
            Step::Load { keys: (0..KEYS).collect() },
            Step::ListKind { limit: 2 },
            Step::ListIndex { index: 0, limit: 2 },
            Step::ListIndex { index: 1, limit: 2 },
        ] {
            let invoked = run.tick();
            let did = run.take(&**store, &step, &mut [None; KEYS]).await;
            events.push(Event { client, invoked, returned: Some(run.tick()), did });
        }
    }
    if let Some(store) = clients.first() {
        store.sweep_all(END, 16).await;
        store.sweep_all(END, 16).await;
    }
    events.sort_by_key(|event| event.invoked);
    let commits = run.commits.lock().unwrap_or_else(PoisonError::into_inner).clone();
    History { events, commits }
}

impl Run {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn commits(&self) -> std::sync::MutexGuard<'_, Vec<Made>> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, n: usize) -> &Key {
        self.keys.get(n).expect("a key of the program")
    }

    /// The keys of a listing that are ours: what runs before left may be there too.
    async fn list(&self, store: &impl Storage, listing: Listing, limit: usize) -> BTreeSet<usize> {
        let listed = store.keys(&listing, limit).await;
        listed.iter().filter_map(|key| self.keys.iter().position(|ours| ours == key)).collect()
    }

    async fn take(
        &self,
        store: &impl Storage,
        step: &Step,
        known: &mut [Option<usize>; KEYS],
    ) -> Did {
        match step {
            Step::Commit { key, purge_at, entries, polls } => {
                let known = known.get_mut(*key).expect("a key of the program");
                let (number, commit) = self.make(*key, *known, *purge_at, *entries);
                let polls = polls.unwrap_or(usize::MAX);
                let outcome = poll_times(store.commit(commit), polls).await;
                let outcome = outcome.map(|outcome| outcome.expect("a healthy store commits"));
                if outcome == Some(CommitOutcome::Applied) {
                    *known = Some(number);
                }
                Did::Commit { number, outcome, repeated: false }
            }
            Step::Repeat { key } => {
                let last = self.commits().iter().rposition(|made| made.key == *key);
                let Some(number) = last else { return Did::Load(vec![]) };
                let commit = self.commits().get(number).expect("it was found").commit.clone();
                let outcome = Some(store.try_commit(&commit).await);
                Did::Commit { number, outcome, repeated: true }
            }
            Step::Load { keys } => {
                let asked: Vec<_> = keys.iter().map(|n| self.key(*n).clone()).collect();
                let found = store.load(&asked).await.expect("a healthy store loads");
                assert_eq!(found.len(), asked.len(), "a load answers once for each key");
                let found = found.into_iter().map(|found| self.recognize(found));
                let found: Vec<_> = keys.iter().copied().zip(found).collect();
                for (key, found) in &found {
                    if let (Some(known), Ok(found)) = (known.get_mut(*key), found) {
                        *known = *found;
                    }
                }
                Did::Load(found)
            }
            Step::ListKind { limit } => {
                Did::ListKind(self.list(store, Listing::Kind(KIND), *limit).await)
            }
            Step::ListIndex { index: n, limit } => {
                let name = INDEXES.get(*n).expect("an index of the program");
                let keys = self.list(store, Listing::Index(index(name)), *limit).await;
                Did::ListIndex { index: *n, keys }
            }
            Step::Sweep { now } => {
                store.sweep_all(*now, 2).await;
                Did::Sweep { now: *now }
            }
        }
    }

    fn make(
        &self,
        key: usize,
        expect: Option<usize>,
        purge_at: i64,
        entries: Entries,
    ) -> (usize, Commit) {
        let names: Vec<_> = INDEXES
            .iter()
            .enumerate()
            .filter(|(n, _)| entries & (1 << n) != 0)
            .map(|(_, name)| *name)
            .collect();
        let mut commits = self.commits();
        let number = commits.len();
        let mut commit = create(self.key(key), number.to_string()).indexed(&names);
        commit.record.purge_at = at(purge_at);
        commit.expect = expect.and_then(|n| commits.get(n)).map(|made| made.commit.id);
        commits.push(Made { key, expect, entries, purge_at, commit: commit.clone() });
        (number, commit)
    }

    /// The commit that wrote this, whole.
    fn recognize(&self, found: Option<Stored>) -> Result<Option<usize>, Stored> {
        let Some(found) = found else { return Ok(None) };
        let wrote = self.commits().iter().position(|made| stored(&made.commit) == found);
        wrote.map(Some).ok_or(found)
    }
}
