//! Random histories against a model: what the other modules did not think of.

use std::collections::{BTreeMap, BTreeSet};

use grantor::storage::{Commit, CommitId, CommitOutcome, Key, Kind, Listing, Storage};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use super::{Backend, CommitExt as _, StorageExt as _, assert_same_keys, create, fresh_id, key};

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
    let mut backend = B::create().await;
    let mut model = Model::default();
    for (at, step) in steps.iter().enumerate() {
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
                assert_eq!(outcome, due, "step {at}: {step:?}");
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
            Step::Load => check_records(&*backend.store(), &model, at).await,
            Step::List { limit } => check_listings(&*backend.store(), &model, *limit, at).await,
            Step::Sweep { now, budget } => {
                backend.store().sweep_all(*now, *budget).await;
                model
                    .records
                    .retain(|_, commit| !commit.record.purge_at.has_passed(super::at(*now)));
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

async fn check_records(store: &impl Storage, model: &Model, at: usize) {
    for key in (0..KEYS).map(nth_key) {
        assert_eq!(
            store.get(&key).await,
            model.records.get(&key).map(super::stored),
            "step {at}: {key:?}"
        );
    }
}

async fn check_listings(store: &impl Storage, model: &Model, limit: usize, at: usize) {
    for kind in Kind::ALL {
        let expected: Vec<_> =
            model.records.keys().filter(|key| key.kind() == kind).cloned().collect();
        let listed = store.keys(&Listing::Kind(kind), limit).await;
        assert_same_keys(&listed, &expected, &format!("step {at}: {kind:?}"));
    }
    let none = BTreeSet::new();
    for name in INDEXES {
        let listing = Listing::Index(super::index(name));
        let listed = store.keys(&listing, limit).await;
        let found: BTreeSet<_> = listed.iter().cloned().collect();
        assert_eq!(found.len(), listed.len(), "step {at}: {name} lists a key twice");
        let must = model.entries.get(name).unwrap_or(&none);
        let may = model.ever.get(name).unwrap_or(&none);
        assert!(
            found.is_superset(must),
            "step {at}: {name} misses the entry of a record that exists: {found:?}, not {must:?}"
        );
        assert!(
            found.is_subset(may),
            "step {at}: {name} lists what was never committed with it: {found:?}, not {may:?}"
        );
    }
}

/// Sixty-four histories, the same in every run; a failing one is shortened before it is reported.
pub async fn random_histories_agree_with_the_model<B: Backend>() {
    let mut runner = TestRunner::new_with_rng(
        Config { failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let strategy = steps();
    for _ in 0..64 {
        let mut tree = strategy.new_tree(&mut runner).expect("the strategy rejects nothing");
        if holds::<B>(tree.current()).await {
            continue;
        }
        let mut shortest = tree.current();
        while tree.simplify() {
            loop {
                if !holds::<B>(tree.current()).await {
                    shortest = tree.current();
                    break;
                }
                if !tree.complicate() {
                    break;
                }
            }
        }
        eprint_history(&shortest);
        replay::<B>(&shortest).await;
        panic!("a history failed once and not again: the backend is not deterministic");
    }
}

async fn holds<B: Backend>(steps: Vec<Step>) -> bool {
    tokio::spawn(async move { replay::<B>(&steps).await }).await.is_ok()
}

#[expect(clippy::print_stderr, reason = "the shortest failing history is the report")]
fn eprint_history(steps: &[Step]) {
    eprintln!("the shortest failing history: {steps:#?}");
}
