//! Random sequences of calls, one after another, with sweeps and reopenings in between.

use std::collections::{BTreeMap, BTreeSet};

use grantor::storage::{Commit, CommitId, CommitOutcome, Key, Kind, Listing, Storage};
use proptest::prelude::*;
use tokio::runtime::Handle;

use super::super::run::{in_words, message};
use super::super::toolkit::{
    CommitExt as _, StorageExt as _, assert_same_keys, at, create, fresh_id, index, key, stored,
};
use super::super::{Backend, Opened};
use super::search;

const KEYS: usize = 6;
const INDEXES: [&str; 3] = ["user:1", "user:2", "client:1"];

/// One call. Whole numbers stand for keys, values and indexes, so that a history shrinks.
#[derive(Clone, Debug)]
enum Step {
    Commit { key: usize, expect: Expect, purge_at: i64, value: u8, indexes: Vec<usize> },
    Load,
    List { limit: usize },
    Sweep { now: i64, budget: usize },
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum Expect {
    Current,
    Nothing,
    Stranger,
    Former,
}

/// The contract, as plainly as it can be put.
#[derive(Default)]
struct Model {
    records: BTreeMap<Key, Commit>,
    former: BTreeMap<Key, CommitId>,
    /// The entries of records that exist: at least these are listed.
    entries: BTreeMap<&'static str, BTreeSet<Key>>,
    /// All keys that were ever committed with an index: at most these are listed.
    ever: BTreeMap<&'static str, BTreeSet<Key>>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let expect = prop_oneof![
        6 => Just(Expect::Current),
        2 => Just(Expect::Nothing),
        1 => Just(Expect::Stranger),
        1 => Just(Expect::Former),
    ];
    let commit =
        (0..KEYS, expect, 0..20_i64, any::<u8>(), prop::collection::vec(0..INDEXES.len(), 0..3))
            .prop_map(|(key, expect, purge_at, value, indexes)| Step::Commit {
                key,
                expect,
                purge_at,
                value,
                indexes,
            });
    let step = prop_oneof![
        20 => commit,
        4 => Just(Step::Load),
        4 => (1..9_usize).prop_map(|limit| Step::List { limit }),
        4 => (0..20_i64, 1..9_usize).prop_map(|(now, budget)| Step::Sweep { now, budget }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

fn nth_key(n: usize) -> Key {
    let kind = if n.is_multiple_of(2) { Kind::Grant } else { Kind::Session };
    key(kind, format!("key {n}"))
}

async fn replay<B: Backend>(steps: &[Step]) {
    let mut backend = Opened::<B>::create().await;
    let mut model = Model::default();
    for (n, step) in steps.iter().enumerate() {
        match step {
            Step::Commit { key, expect, purge_at, value, indexes } => {
                let key = nth_key(*key);
                let names: Vec<_> =
                    indexes.iter().filter_map(|n| INDEXES.get(*n).copied()).collect();
                let current = model.records.get(&key).map(|commit| commit.id);
                let mut commit = create(&key, [*value; 3]).purge_at(*purge_at).indexed(&names);
                commit.expect = match expect {
                    Expect::Current => current,
                    Expect::Nothing => None,
                    Expect::Stranger => Some(fresh_id()),
                    Expect::Former => model.former.get(&key).copied(),
                };
                let outcome = backend.store().try_commit(&commit).await;
                let due = if commit.expect == current {
                    CommitOutcome::Applied
                } else {
                    CommitOutcome::Conflict
                };
                assert_eq!(outcome, due, "step {n}: {step:?}");
                for name in &names {
                    // A commit that conflicts may have written its entries.
                    model.ever.entry(name).or_default().insert(key.clone());
                }
                if outcome == CommitOutcome::Applied {
                    for name in names {
                        model.entries.entry(name).or_default().insert(key.clone());
                    }
                    model.former.extend(current.map(|id| (key.clone(), id)));
                    model.records.insert(key, commit);
                }
            }
            Step::Load => check_records(&*backend.store(), &model, n).await,
            Step::List { limit } => check_listings(&*backend.store(), &model, *limit, n).await,
            Step::Sweep { now, budget } => {
                backend.store().sweep_all(*now, *budget).await;
                model.records.retain(|_, commit| !commit.record.purge_at.has_passed(at(*now)));
                let records = &model.records;
                for keys in model.entries.values_mut() {
                    keys.retain(|key| records.contains_key(key));
                }
            }
            Step::Reopen => backend = backend.reopen().await,
        }
    }
    check_records(&*backend.store(), &model, steps.len()).await;
    check_listings(&*backend.store(), &model, 3, steps.len()).await;
}

async fn check_records(store: &impl Storage, model: &Model, n: usize) {
    for key in (0..KEYS).map(nth_key) {
        assert_eq!(store.get(&key).await, model.records.get(&key).map(stored), "step {n}: {key:?}");
    }
}

async fn check_listings(store: &impl Storage, model: &Model, limit: usize, n: usize) {
    for kind in Kind::ALL {
        let expected: Vec<_> =
            model.records.keys().filter(|key| key.kind() == kind).cloned().collect();
        let listed = store.keys(&Listing::Kind(kind), limit).await;
        assert_same_keys(&listed, &expected, &format!("step {n}: {kind:?}"));
    }
    let none = BTreeSet::new();
    for name in INDEXES {
        let listing = Listing::Index(index(name));
        let listed = store.keys(&listing, limit).await;
        let found: BTreeSet<_> = listed.iter().cloned().collect();
        assert_eq!(found.len(), listed.len(), "step {n}: {name} lists a key twice");
        let must = model.entries.get(name).unwrap_or(&none);
        let may = model.ever.get(name).unwrap_or(&none);
        assert!(
            found.is_superset(must),
            "step {n}: {name} misses the entry of a record that exists: {found:?}, not {must:?}"
        );
        assert!(
            found.is_subset(may),
            "step {n}: {name} lists what was never committed with it: {found:?}, not {may:?}"
        );
    }
}

/// Replays so many sequences; panics with the shortest that fails.
pub(super) fn explore<B: Backend>(sequences: u64) {
    let found = search(sequences, &steps(), |steps| {
        let replayed = std::panic::catch_unwind(|| {
            tokio::task::block_in_place(|| Handle::current().block_on(replay::<B>(&steps)));
        });
        replayed.map_err(|payload| TestCaseError::fail(in_words(message(&*payload))))
    });
    if let Err((seen, steps)) = found {
        panic!("{seen}\nthe shortest sequence of calls that shows it: {steps:#?}");
    }
}
