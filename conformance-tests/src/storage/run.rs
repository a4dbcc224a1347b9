//! Running a test of the suite: its runtime, its deadline, and the words of its failure.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::{Backend, process};

/// A heading of the storage contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clause {
    /// The heading, as it stands in the contract.
    pub heading: &'static str,
    /// What goes wrong in OAuth where it is not kept.
    pub why: &'static str,
}

/// A test of the suite, for those who do not run it by [`storage_suite!`](crate::storage_suite).
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// The clause that it shows to be kept.
    pub clause: &'static Clause,
    /// `clause::consequence`.
    pub name: &'static str,
    #[doc(hidden)]
    pub body: fn(&str),
}

impl Test {
    /// Runs the test; panics if the clause is not kept.
    ///
    /// `path` is the full path of the `#[test]` function that calls this, with the name of the crate:
    /// the suite starts the test program again with its name where it needs another process. That
    /// process must get to this call too, with this backend, before anything else happens.
    pub fn run(&self, path: &str) {
        (self.body)(path);
    }
}

/// All tests of the suite for one backend, in the order of the contract.
pub fn tests<B: Backend>() -> Vec<Test> {
    crate::__storage_clauses! { __storage_list (B) }
}

/// Whether the campaigns run at full size.
pub(crate) fn full_size() -> bool {
    std::env::var_os("GRANTOR_FULL").is_some()
}

/// So many, and so many at full size.
pub(crate) fn sized(small: u64, full: u64) -> u64 {
    if full_size() { full } else { small }
}

/// How long a test may take. What it does takes seconds; this is for a store that does not answer.
pub(crate) fn deadline() -> Duration {
    Duration::from_secs(sized(120, 7_200))
}

/// Runs one test on a runtime of its own, with several threads. `path` as for [`Test::run`].
pub fn run<B: Backend>(clause: &Clause, path: &str, test: impl Future<Output = ()>) {
    process::serve_if_asked::<B>();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(process::PATH.scope(path.to_owned(), async {
            if tokio::time::timeout(deadline(), test).await.is_err() {
                panic!("no end after {:?}: a call of the store did not return", deadline());
            }
        }));
    }));
    // Not waiting for tasks that a store may hold up for ever.
    runtime.shutdown_background();
    if let Err(payload) = outcome {
        let Clause { heading, why } = clause;
        let seen = in_words(message(&*payload));
        let report = format!("The storage contract, {heading:?}: {seen}\nWhy it matters: {why}");
        eprint(&report);
        resume_unwind(Box::new(report));
    }
}

#[expect(clippy::print_stderr, reason = "the report of a failed test")]
fn eprint(report: &str) {
    eprintln!("\n{report}\n");
}

/// What a panic said.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
}

/// The longest that is shown of a value that differs.
const SHOWN: usize = 400;

/// What a failed comparison says, in the words of a report.
pub(crate) fn in_words(said: &str) -> String {
    let parts = said.strip_prefix("assertion `left == right` failed: ").and_then(|said| {
        let (what, values) = said.split_once("\n  left: ")?;
        Some((what, values.split_once("\n right: ")?))
    });
    let cut = |value: &str| match value.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{} ...", value.get(..at).unwrap_or_default()),
        None => value.to_owned(),
    };
    match parts {
        Some((what, (seen, due))) => {
            format!("{what}\n      seen: {}\n  expected: {}", cut(seen), cut(due))
        }
        None => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_reported_as_what_was_seen_and_expected() {
        let said = catch_unwind(|| assert_eq!("x".repeat(900), "due", "a record changed"));
        let said = said.expect_err("they differ");
        let report = in_words(message(&*said));
        assert!(report.starts_with("a record changed\n      seen: \"xxx"), "{report}");
        assert!(report.ends_with(" ...\n  expected: \"due\""), "{report}");
        assert_eq!(in_words("anything else"), "anything else");
    }
}
