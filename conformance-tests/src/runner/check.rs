//! A check: which requirements it shows, what it sends, what it expects.

use std::future::Future;
use std::pin::Pin;

use super::probe::Probe;
use super::verdict::Outcome;

pub(crate) type Run =
    for<'p, 'a> fn(&'p Probe<'a>) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'p>>;

/// What it takes to run a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing special.
    Plain,
    /// It waits until something has expired: `--patience`.
    Slow,
    /// It guesses secrets of its own client and user until the server stops it: `--intrusive`.
    Intrusive,
}

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// The requirements that it shows. Each gets a result of its own.
    pub ids: &'static [&'static str],
    /// What it sends.
    pub sends: &'static str,
    /// What it expects.
    pub expects: &'static str,
    /// What it takes to run.
    pub kind: Kind,
    pub(crate) run: Run,
}

/// The checks of one part of the server.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Its name, as reports show it.
    pub name: &'static str,
    /// Its checks.
    pub checks: &'static [Check],
}

macro_rules! check {
    ($kind:ident, $ids:expr, $run:path, $sends:expr, $expects:expr $(,)?) => {
        $crate::runner::check::Check {
            ids: &$ids,
            sends: $sends,
            expects: $expects,
            kind: $crate::runner::check::Kind::$kind,
            run: |probe| Box::pin($run(probe)),
        }
    };
    ($ids:expr, $run:path, $sends:expr, $expects:expr $(,)?) => {
        $crate::runner::check::check!(Plain, $ids, $run, $sends, $expects)
    };
}
pub(crate) use check;
