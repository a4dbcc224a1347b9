//! The storage contract as tests: for authors of backends.
//!
//! [The contract](grantor::storage) says what Grantor needs of a store. Here every heading of it is a
//! module, and every consequence that a test can decide is a test. A backend runs all of them with a
//! few lines in its own `tests/` directory.
//!
//! # What to write
//!
//! Add `grantor-conformance` to the dev-dependencies, implement [`Backend`] for the place where one
//! store lives, and name it to the macro:
//!
//! ```
//! use std::error::Error;
//! use std::path::PathBuf;
//!
//! use grantor::storage::MemoryStorage;
//! use grantor_conformance::storage::{Backend, Processes};
//!
//! struct Memory;
//!
//! impl Backend for Memory {
//!     type Store = MemoryStorage;
//!     const PROCESSES: Processes = Processes::Private;
//!
//!     async fn create() -> Self {
//!         Self
//!     }
//!
//!     fn address(&self) -> String {
//!         String::new()
//!     }
//!
//!     async fn open(_: &str) -> Result<MemoryStorage, Box<dyn Error + Send + Sync>> {
//!         Ok(MemoryStorage::new())
//!     }
//!
//!     fn files(&self) -> Vec<PathBuf> {
//!         vec![]
//!     }
//! }
//!
//! grantor_conformance::storage_suite!(Memory);
//! # fn main() {}
//! ```
//!
//! For a store on a disk, `Self` holds a temporary directory and the address is its path; for one
//! behind a connection, `Self` holds a database of its own and the address is how to reach it.
//! Dropping `Self` cleans up. `cargo test` then lists the tests as `clause::consequence`.
//!
//! # What is asked of the backend
//!
//! | module | a store fails it that |
//! |---|---|
//! | [`atomicity`] | lets two commits replace the same record |
//! | [`conflict`] | refuses the right commit, or writes something for the wrong one |
//! | [`idempotence`] | takes the repetition of a commit for another one |
//! | [`visibility`] | answers a load with what a commit had replaced before it began |
//! | [`linearizability`] | does any of this under some interleaving that nobody thought of |
//! | [`durability_on_return`] | loses what it acknowledged, or showed, when its process is killed |
//! | [`expiry`] | drops a record early, or never |
//! | [`sweep_within_its_budget`] | stops the server with its sweep, or never gets through |
//! | [`index_freshness`] | has a record that its index does not list |
//! | [`listing`] | lists in pages what is not the listing, or misses a record in a walk over its kind |
//! | [`isolation`] | mixes keys, kinds or the order of a load |
//! | [`several_processes`] | lets a second process in that does not see what the first one sees |
//! | [`allowed_loss`] | keeps a part of a commit that a kill cut short |
//! | [`forbidden_answers`] | says "no such record" when it does not know |
//! | [`secrecy`] | adds a secret to what it keeps, or prints what it keeps |
//! | [`cancellation`] | is left half way by a future that is dropped |
//! | [`size`] | cuts the largest record short |
//!
//! What a store does not promise is not asked of it, but it has to say so: one with
//! [`Durability::None`](grantor::storage::Durability::None) is not killed if
//! [no other process ever sees it](Processes::Private), and may not say so if it is for
//! [one process after another](Processes::Exclusive). No test is skipped.
//!
//! # Processes
//!
//! Some tests need a second process: one that is killed with SIGKILL after so many acknowledgements,
//! or several that contend. The suite starts the test program again, which opens the store at
//! [`Backend::address`] and does there what the test tells it to. It ends with the test, whatever
//! becomes of that.
//!
//! # How to read a failure
//!
//! ```text
//! The storage contract, "Index freshness": the entry is gone and the record is there, after commit 3
//! Why it matters: "withdraw everything this user allowed" walks an index; a missing entry is a token
//! that outlives its consent.
//! ```
//!
//! The heading is that of the contract. [`linearizability`] prints a story: who called what, when, and
//! what was answered; the shortest that still failed.
//!
//! # At full size
//!
//! By default everything takes seconds. `GRANTOR_FULL=1 cargo test --release` kills many hundred
//! times and tries thousands of histories. Nothing sleeps, nothing reads the clock of the machine
//! (but deadlines, which fail with a word on what was waited for), and all moments are in the year
//! 2100, so that a store which expires records by a clock of its own is tested with the others.

pub mod allowed_loss;
pub mod atomicity;
pub mod cancellation;
pub mod conflict;
pub mod crash;
pub mod durability_on_return;
pub mod expiry;
pub mod forbidden_answers;
pub mod idempotence;
pub mod index_freshness;
pub mod isolation;
pub mod linearizability;
pub mod listing;
mod process;
mod run;
pub mod secrecy;
pub mod several_processes;
pub mod size;
pub mod sweep_within_its_budget;
mod toolkit;
pub mod visibility;

use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use grantor::storage::Storage;

pub use self::process::serve_if_asked;
pub use self::run::{Clause, Test, run, tests};

/// A place where one store lives, and how to open the store there. Dropping it cleans up.
pub trait Backend: Sized + Send + Sync + 'static {
    /// The store.
    type Store: Storage;

    /// Which processes can have the same store open.
    const PROCESSES: Processes;

    /// Makes a place for an empty store that nothing else uses.
    fn create() -> impl Future<Output = Self> + Send;

    /// What another process needs to know to open this store: a path, a URL.
    fn address(&self) -> String;

    /// Opens the store at this address: for the first time, after it was closed, or after the process
    /// that had it open was killed.
    fn open(
        address: &str,
    ) -> impl Future<Output = Result<Self::Store, Box<dyn Error + Send + Sync>>> + Send;

    /// The files and directories in which the store keeps what it is given, to be searched for
    /// secrets; none if it has none, or none that the test can read.
    fn files(&self) -> Vec<PathBuf>;
}

/// Which processes can have the same store open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes {
    /// The one that made it: it lives in its memory.
    Private,
    /// One at a time; a second one is refused until the first has closed it.
    Exclusive,
    /// As many as there are.
    Shared,
}

/// A store at a place of its own, open.
#[derive(Debug)]
pub struct Opened<B: Backend> {
    // Before the place, so that it is closed before that is cleaned up.
    store: Arc<B::Store>,
    place: B,
}

impl<B: Backend> Opened<B> {
    /// An empty store.
    pub async fn create() -> Self {
        let place = B::create().await;
        let store = open::<B>(&place).await;
        Self { store, place }
    }

    /// The store, to be shared by tasks.
    pub fn store(&self) -> Arc<B::Store> {
        Arc::clone(&self.store)
    }

    /// Where it lives.
    pub const fn place(&self) -> &B {
        &self.place
    }

    /// Closes the store and opens it again, as a restart of the process does. Nobody else may hold a
    /// reference to it. A store that is gone with its process is left as it is.
    pub async fn reopen(self) -> Self {
        if B::PROCESSES == Processes::Private {
            return self;
        }
        let place = self.close();
        let store = open::<B>(&place).await;
        Self { store, place }
    }

    /// Closes the store and keeps its place.
    pub(crate) fn close(self) -> B {
        let Self { store, place } = self;
        drop(Arc::into_inner(store).expect("the suite holds no reference to the store"));
        place
    }
}

async fn open<B: Backend>(place: &B) -> Arc<B::Store> {
    match B::open(&place.address()).await {
        Ok(store) => Arc::new(store),
        Err(error) => panic!("the store does not open: {error}"),
    }
}

/// Makes a `#[test]` of every consequence of every clause, for one [`Backend`].
#[macro_export]
macro_rules! storage_suite {
    ($backend:ty) => {
        $crate::__storage_clauses! { __storage_tests ($backend) }
    };
}

/// The tests, clause by clause: the only list of them.
#[doc(hidden)]
#[macro_export]
macro_rules! __storage_clauses {
    ($callback:ident $arguments:tt) => {
        $crate::$callback! { $arguments
            atomicity {
                of_many_creations_one_is_applied
                of_many_replacements_one_is_applied
                a_chain_of_contended_replacements_loses_none
            }
            conflict {
                every_wrong_expectation_conflicts_and_writes_nothing
                a_purged_and_recreated_record_is_not_its_predecessor
            }
            idempotence {
                a_repeated_commit_is_applied_once
                a_commit_may_be_repeated_after_reopening
                a_superseded_commit_is_not_applied_again
                repetitions_at_the_same_time_all_succeed
            }
            visibility {
                a_commit_is_seen_by_every_later_load
                nobody_sees_an_older_record_after_a_newer_one
            }
            linearizability {
                random_calls_one_after_another_agree_with_the_reference
                random_concurrent_histories_have_an_order_that_explains_them
            }
            durability_on_return {
                what_was_acknowledged_survives_a_kill
                what_was_acknowledged_is_there_after_reopening
                a_conflict_leaves_nothing_to_reopen
            }
            expiry {
                nothing_vanishes_before_its_purge_at
                what_may_be_purged_is_swept
                a_replacement_that_lives_longer_stays
                a_record_replaced_during_the_sweep_stays
                the_ends_of_time_are_no_special_case
                what_is_due_when_it_is_written_may_be_gone
            }
            sweep_within_its_budget {
                a_sweep_keeps_to_its_budget_and_ends
                a_sweep_of_nothing_ends
                sweeping_is_idempotent
            }
            index_freshness {
                an_entry_outlives_the_commits_that_do_not_repeat_it
                an_entry_is_never_missing_under_concurrent_sweeps
                an_entry_is_there_before_its_record_can_be_loaded
                an_entry_survives_a_kill_with_its_record
                later_commits_may_add_entries
                entries_of_swept_records_are_swept
                indexes_do_not_mix
            }
            listing {
                a_listing_in_pages_is_complete_and_in_order
                a_walk_over_a_kind_is_complete
                a_listing_keeps_what_was_there_all_along
                a_walk_over_a_kind_keeps_what_was_there_all_along
            }
            isolation {
                keys_and_kinds_do_not_mix
                a_load_answers_in_the_order_of_its_keys
                any_bytes_are_a_key
            }
            several_processes {
                a_second_process_is_let_in_or_refused_as_stated
                of_contending_processes_one_replaces_each_version
                what_several_processes_do_has_an_order_that_explains_it
            }
            allowed_loss {
                after_a_kill_an_unanswered_commit_is_whole_or_not_there
                a_store_says_what_it_promises
            }
            forbidden_answers {
                a_record_that_exists_is_never_denied
                a_store_that_may_forget_is_not_a_store
            }
            secrecy {
                no_secret_is_found_in_what_the_store_keeps
                nothing_of_a_record_is_printed
            }
            cancellation {
                a_dropped_commit_leaves_the_old_or_the_new_record
                a_dropped_commit_does_not_block_later_ones
                dropped_loads_and_listings_have_no_effect
                a_dropped_sweep_removes_only_what_is_due
            }
            size {
                the_largest_of_everything_is_stored
                an_empty_value_is_a_value
                larger_values_are_refused_whole
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __storage_tests {
    (($backend:ty) $($clause:ident { $($test:ident)* })*) => {
        type BackendOfTheSuite = $backend;
        $(mod $clause {
            $(#[test]
            fn $test() {
                type Backend = super::BackendOfTheSuite;
                $crate::storage::run::<Backend>(
                    &$crate::storage::$clause::CLAUSE,
                    concat!(module_path!(), "::", stringify!($test)),
                    $crate::storage::$clause::$test::<Backend>(),
                );
            })*
        })*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __storage_list {
    (($backend:ty) $($clause:ident { $($test:ident)* })*) => {
        vec![$($($crate::storage::Test {
            clause: &$crate::storage::$clause::CLAUSE,
            name: concat!(stringify!($clause), "::", stringify!($test)),
            body: |program| $crate::storage::run::<$backend>(
                &$crate::storage::$clause::CLAUSE,
                program,
                $crate::storage::$clause::$test::<$backend>(),
            ),
        },)*)*]
    };
}
