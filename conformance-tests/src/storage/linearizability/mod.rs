//! *Under every interleaving, what is answered about one record is what some order of the calls
//! explains, each call at one moment between its begin and its answer.*
//!
//! Random programs are run by several clients at once, and what they were answered is checked against
//! the contract, key by key: a load of several keys is a load of each, and no snapshot.

mod checker;
mod concurrent;
mod sequential;
mod story;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::run::sized;
use super::{Backend, Clause, Opened};
pub(crate) use concurrent::{CLIENTS, explore};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Linearizability",
    why: "the engine decides by what it loads and trusts what it is answered; where no order of the \
          calls explains the answers, two requests have decided on different worlds.",
};

/// Sixty-four sequences of calls, the same in every run, with reopenings in between; a failing one is
/// shortened before it is reported.
pub async fn random_calls_one_after_another_agree_with_the_reference<B: Backend>() {
    sequential::explore::<B>(sized(64, 2_000));
}

/// Three clients at once. A failing program is run again and again while it is shortened, and its
/// story is told.
pub async fn random_concurrent_histories_have_an_order_that_explains_them<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let clients: Vec<_> = (0..CLIENTS).map(|_| backend.store()).collect();
    explore(&clients, sized(150, 5_000));
}

/// Tries so many random cases, the same in every run. One that fails is shortened, and comes back with
/// the reason.
fn search<S: Strategy>(
    cases: u64,
    strategy: &S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) -> Result<(), (String, S::Value)> {
    let config = Config {
        cases: u32::try_from(cases).expect("not so many"),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    match TestRunner::new_with_rng(config, rng).run(strategy, test) {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, case)) => Err((reason.to_string(), case)),
        Err(TestError::Abort(reason)) => panic!("the search ended: {reason}"),
    }
}
