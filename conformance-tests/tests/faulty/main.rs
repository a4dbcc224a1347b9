//! The suite itself: each of its tests can fail, each fault is found, and the clauses are those of the
//! contract.
//!
//! A fault is a store that keeps the contract, wrapped in one thing that does not. For each, the tests
//! that must find it are named; a test of the suite that no fault can fail is a defect of the suite.

#![expect(clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod commits;
mod fault;
mod indexes;
#[path = "../backends/journal.rs"]
mod journal;
mod listings;
#[path = "../backends/memory.rs"]
mod memory;
mod processes;
mod reads;
#[path = "../backends/scanning.rs"]
mod scanning;
mod sweeps;

use std::collections::BTreeSet;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use grantor_conformance::storage::{Backend, Clause, Processes, tests};

use crate::fault::{FAULT, Fault, ForMany, ForOne, InMemory, Place};
use crate::memory::Memory;
use crate::scanning::Scans;

/// Nothing goes wrong: what the faults are compared with.
#[derive(Debug, Default)]
struct NoFault;

impl Fault for NoFault {}

mod without_a_fault {
    grantor_conformance::storage_suite!(crate::fault::Place<crate::fault::InMemory>);
}

/// What a store may do that is not the reference is no fault.
mod within_the_contract {
    grantor_conformance::storage_suite!(crate::Scanning);
}

/// A place in memory.
#[derive(Debug)]
pub(crate) struct Scanning;

impl Backend for Scanning {
    type Store = Scans;
    const PROCESSES: Processes = Processes::Private;

    async fn create() -> Self {
        Self
    }

    fn address(&self) -> String {
        "memory".into()
    }

    async fn open(_: &str) -> Result<Scans, Box<dyn Error + Send + Sync>> {
        Ok(Scans::default())
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![]
    }
}

/// Makes a `#[test]` of each fault, and a table of what finds it.
macro_rules! faults {
    ($($name:ident: $fault:ty, $around:ident => [$($found_by:literal),* $(,)?];)*) => {
        $(#[test]
        fn $name() {
            is_found_by::<Place<$around>>(
                stringify!($name),
                concat!(module_path!(), "::", stringify!($name)),
                &[$($found_by),*],
            );
        })*

        /// The fault of this name.
        fn fault(name: &str) -> Box<dyn Fault> {
            match name {
                $(stringify!($name) => Box::new(<$fault>::default()),)*
                _ => Box::new(NoFault),
            }
        }

        const FOUND: &[(&str, &[&str])] = &[$((stringify!($name), &[$($found_by),*])),*];
    };
}

faults! {
    loses_a_write: commits::LosesAWrite, InMemory => [
        "atomicity::a_chain_of_contended_replacements_loses_none",
        "visibility::a_commit_is_seen_by_every_later_load",
        "linearizability::random_calls_one_after_another_agree_with_the_reference",
        "durability_on_return::what_was_acknowledged_is_there_after_reopening",
    ];
    reads_then_writes: commits::ReadsThenWrites, InMemory => [
        "atomicity::of_many_creations_one_is_applied",
        "atomicity::of_many_replacements_one_is_applied",
        "atomicity::a_chain_of_contended_replacements_loses_none",
        "linearizability::random_concurrent_histories_have_an_order_that_explains_them",
    ];
    writes_beside_the_conflict: commits::WritesBesideTheConflict, InMemory => [
        "conflict::every_wrong_expectation_conflicts_and_writes_nothing",
        "idempotence::a_superseded_commit_is_not_applied_again",
    ];
    refuses_the_right_one: commits::RefusesTheRightOne, InMemory => [
        "conflict::every_wrong_expectation_conflicts_and_writes_nothing",
        "linearizability::random_concurrent_histories_have_an_order_that_explains_them",
    ];
    knows_versions_by_their_value: commits::KnowsVersionsByTheirValue, InMemory => [
        "conflict::a_purged_and_recreated_record_is_not_its_predecessor",
    ];
    takes_a_repetition_for_another: commits::TakesARepetitionForAnother, InMemory => [
        "idempotence::a_repeated_commit_is_applied_once",
        "idempotence::repetitions_at_the_same_time_all_succeed",
        "linearizability::random_concurrent_histories_have_an_order_that_explains_them",
    ];
    confirms_what_was_replaced: commits::ConfirmsWhatWasReplaced, InMemory => [
        "idempotence::a_superseded_commit_is_not_applied_again",
    ];
    removes_then_writes: commits::RemovesThenWrites, InMemory => [
        "forbidden_answers::a_record_that_exists_is_never_denied",
        "index_freshness::an_entry_outlives_the_commits_that_do_not_repeat_it",
    ];
    writes_in_two_halves: commits::WritesInTwoHalves, InMemory => [
        "cancellation::a_dropped_commit_leaves_the_old_or_the_new_record",
        "linearizability::random_concurrent_histories_have_an_order_that_explains_them",
    ];
    locks_for_ever: commits::LocksForEver, InMemory => [
        "cancellation::a_dropped_commit_does_not_block_later_ones",
    ];
    reads_from_a_replica: reads::ReadsFromAReplica, InMemory => [
        "visibility::a_commit_is_seen_by_every_later_load",
        "visibility::nobody_sees_an_older_record_after_a_newer_one",
        "linearizability::random_concurrent_histories_have_an_order_that_explains_them",
    ];
    answers_in_its_own_order: reads::AnswersInItsOwnOrder, InMemory => [
        "isolation::a_load_answers_in_the_order_of_its_keys",
    ];
    takes_out_what_it_loads: reads::TakesOutWhatItLoads, InMemory => [
        "cancellation::dropped_loads_and_listings_have_no_effect",
    ];
    forgets_the_kind: reads::ForgetsTheKind, InMemory => [
        "isolation::keys_and_kinds_do_not_mix",
    ];
    takes_keys_for_text: reads::TakesKeysForText, InMemory => [
        "isolation::any_bytes_are_a_key",
    ];
    takes_empty_for_nothing: reads::TakesEmptyForNothing, InMemory => [
        "size::an_empty_value_is_a_value",
    ];
    evicts: reads::Evicts, InMemory => [
        "forbidden_answers::a_store_that_may_forget_is_not_a_store",
    ];
    prints_records: reads::PrintsRecords, InMemory => [
        "secrecy::nothing_of_a_record_is_printed",
    ];
    skips_at_the_end_of_a_page: listings::SkipsAtTheEndOfAPage, InMemory => [
        "listing::a_listing_in_pages_is_complete_and_in_order",
        "listing::a_walk_over_a_kind_is_complete",
    ];
    lists_by_number: listings::ListsByNumber, InMemory => [
        "listing::a_listing_keeps_what_was_there_all_along",
        "listing::a_walk_over_a_kind_keeps_what_was_there_all_along",
    ];
    scans_its_indexes: listings::ScansItsIndexes, InMemory => [
        "listing::a_listing_in_pages_is_complete_and_in_order",
        "listing::a_listing_keeps_what_was_there_all_along",
    ];
    lists_other_kinds: listings::ListsOtherKinds, InMemory => [
        "isolation::keys_and_kinds_do_not_mix",
        "listing::a_walk_over_a_kind_is_complete",
    ];
    walks_for_ever: listings::WalksForEver, InMemory => [
        "listing::a_walk_over_a_kind_is_complete",
        "listing::a_walk_over_a_kind_keeps_what_was_there_all_along",
    ];
    never_finds_its_place: listings::NeverFindsItsPlace, InMemory => [
        "listing::a_walk_over_a_kind_is_complete",
    ];
    misses_what_moved: listings::MissesWhatMoved, InMemory => [
        "listing::a_walk_over_a_kind_keeps_what_was_there_all_along",
    ];
    refuses_what_is_over: sweeps::RefusesWhatIsOver, InMemory => [
        "expiry::what_is_due_when_it_is_written_may_be_gone",
    ];
    lists_by_prefix: listings::ListsByPrefix, InMemory => [
        "index_freshness::indexes_do_not_mix",
    ];
    purges_early: sweeps::PurgesEarly, InMemory => [
        "expiry::nothing_vanishes_before_its_purge_at",
        "expiry::what_may_be_purged_is_swept",
        "expiry::the_ends_of_time_are_no_special_case",
    ];
    never_purges: sweeps::NeverPurges, InMemory => [
        "expiry::what_may_be_purged_is_swept",
        "sweep_within_its_budget::a_sweep_keeps_to_its_budget_and_ends",
    ];
    purges_by_the_first_version: sweeps::PurgesByTheFirstVersion, InMemory => [
        "expiry::a_replacement_that_lives_longer_stays",
    ];
    removes_what_was_due_before: sweeps::RemovesWhatWasDueBefore, InMemory => [
        "expiry::a_record_replaced_during_the_sweep_stays",
    ];
    exceeds_its_budget: sweeps::ExceedsItsBudget, InMemory => [
        "sweep_within_its_budget::a_sweep_keeps_to_its_budget_and_ends",
    ];
    never_gets_through: sweeps::NeverGetsThrough, InMemory => [
        "sweep_within_its_budget::a_sweep_of_nothing_ends",
    ];
    gives_up_after_its_budget: sweeps::GivesUpAfterItsBudget, InMemory => [
        "sweep_within_its_budget::sweeping_is_idempotent",
    ];
    forgets_entries: indexes::ForgetsEntries, InMemory => [
        "index_freshness::an_entry_is_never_missing_under_concurrent_sweeps",
        "index_freshness::indexes_do_not_mix",
        "linearizability::random_concurrent_histories_have_an_order_that_explains_them",
    ];
    indexes_first_versions_only: indexes::IndexesFirstVersionsOnly, InMemory => [
        "index_freshness::later_commits_may_add_entries",
    ];
    entries_afterwards: indexes::Beside<indexes::Afterwards>, InMemory => [
        "index_freshness::an_entry_is_there_before_its_record_can_be_loaded",
        "cancellation::a_dropped_commit_leaves_the_old_or_the_new_record",
    ];
    entries_only_the_last: indexes::Beside<indexes::OnlyTheLast>, InMemory => [
        "index_freshness::an_entry_outlives_the_commits_that_do_not_repeat_it",
    ];
    entries_too_soon: indexes::Beside<indexes::TooSoon>, InMemory => [
        "index_freshness::an_entry_is_never_missing_under_concurrent_sweeps",
    ];
    entries_for_ever: indexes::Beside<indexes::ForEver>, InMemory => [
        "index_freshness::entries_of_swept_records_are_swept",
    ];
    entries_rebuilt: indexes::Beside<indexes::Rebuilt>, InMemory => [
        "cancellation::a_dropped_sweep_removes_only_what_is_due",
    ];
    acknowledges_before_it_is_durable: processes::AcknowledgesBeforeItIsDurable, ForOne => [
        "durability_on_return::what_was_acknowledged_survives_a_kill",
        "durability_on_return::what_was_acknowledged_is_there_after_reopening",
    ];
    shows_before_it_is_durable: processes::ShowsBeforeItIsDurable, ForMany => [
        "durability_on_return::what_was_acknowledged_survives_a_kill",
    ];
    tears_a_record: processes::TearsARecord, ForMany => [
        "allowed_loss::after_a_kill_an_unanswered_commit_is_whole_or_not_there",
    ];
    writes_down_what_it_refuses: processes::WritesDownWhatItRefuses, ForOne => [
        "durability_on_return::a_conflict_leaves_nothing_to_reopen",
    ];
    forgets_repetitions: processes::ForgetsRepetitions, ForMany => [
        "idempotence::a_commit_may_be_repeated_after_reopening",
    ];
    keeps_its_indexes_in_memory: processes::KeepsItsIndexesInMemory, ForOne => [
        "index_freshness::an_entry_survives_a_kill_with_its_record",
    ];
    locks_its_own_process_only: processes::LocksItsOwnProcessOnly, ForMany => [
        "several_processes::of_contending_processes_one_replaces_each_version",
        "several_processes::what_several_processes_do_has_an_order_that_explains_it",
    ];
    caches_in_its_process: processes::CachesInItsProcess, ForMany => [
        "several_processes::what_several_processes_do_has_an_order_that_explains_it",
    ];
    lets_a_second_process_in: processes::LetsASecondProcessIn, ForOne => [
        "several_processes::a_second_process_is_let_in_or_refused_as_stated",
    ];
    promises_too_little: processes::PromisesTooLittle, ForOne => [
        "allowed_loss::a_store_says_what_it_promises",
        "durability_on_return::what_was_acknowledged_survives_a_kill",
    ];
    takes_itself_for_alone: processes::TakesItselfForAlone, ForMany => [
        "allowed_loss::a_store_says_what_it_promises",
    ];
    lets_others_read: processes::LetsOthersRead, ForMany => [
        "secrecy::no_secret_is_found_in_what_the_store_keeps",
    ];
    cuts_the_largest: reads::CutsTheLargest, InMemory => [
        "size::the_largest_of_everything_is_stored",
    ];
    cuts_what_is_too_large: reads::CutsWhatIsTooLarge, InMemory => [
        "size::larger_values_are_refused_whole",
    ];
}

/// The text of a panic of these tests.
fn text(payload: &(dyn std::any::Any + Send)) -> String {
    payload.downcast_ref::<String>().cloned().unwrap_or_default()
}

fn is_found_by<B: Backend>(fault: &str, path: &str, names: &[&str]) {
    FAULT.set(fault.to_owned());
    let tests = tests::<B>();
    for name in names {
        let test = tests.iter().find(|test| test.name == *name);
        let test = test.unwrap_or_else(|| panic!("{name} is no test of the suite"));
        let Err(payload) = catch_unwind(AssertUnwindSafe(|| test.run(path))) else {
            panic!("{name} passes on a store with this fault");
        };
        let Clause { heading, why } = test.clause;
        let said = text(&*payload);
        assert!(
            said.starts_with(&format!("The storage contract, {heading:?}: "))
                && said.ends_with(why),
            "{name} fails without saying which clause is broken and why that matters: {said}"
        );
    }
}

#[test]
fn every_test_of_the_suite_is_failed_by_some_fault() {
    let failed: BTreeSet<_> = FOUND.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let all: BTreeSet<_> = tests::<Memory>().iter().map(|test| test.name).collect();
    let never: Vec<_> = all.difference(&failed).collect();
    assert!(never.is_empty(), "no fault shows that these tests can fail: {never:#?}");
    let idle: Vec<_> = FOUND.iter().filter(|(_, names)| names.is_empty()).collect();
    assert!(idle.is_empty(), "no test finds these faults: {idle:?}");
}

/// The name of the module that is for a heading of the contract.
fn module(heading: &str) -> String {
    let (heading, _) = heading.split_once(',').unwrap_or((heading, ""));
    heading.to_lowercase().replace(' ', "_")
}

#[test]
fn the_clauses_of_the_suite_are_the_headings_of_the_contract() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path| std::fs::read_to_string(here.join(path)).expect("it is in the repository");
    let contract = read("../core/docs/storage-contract.md");
    let headings: Vec<_> = contract.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut clauses: Vec<_> = tests::<Memory>().iter().map(|test| test.clause.heading).collect();
    clauses.dedup();
    assert_eq!(clauses, headings, "each heading is tested, in the order of the contract");

    let guide = read("src/storage/mod.rs");
    for test in tests::<Memory>() {
        let (name, _) = test.name.split_once("::").expect("clause::consequence");
        assert_eq!(name, module(test.clause.heading), "a module is named after its heading");
        assert!(guide.contains(&format!("//! | [`{name}`] | ")), "{name} is not in the guide");
        assert!(!test.clause.why.is_empty(), "{name} does not say why it matters");
    }
}
