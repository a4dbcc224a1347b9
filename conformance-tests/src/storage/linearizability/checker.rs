//! Whether some order of the calls explains the answers about one key.
//!
//! The search is that of Wing and Gong with the memory that Lowe added: a set of calls that have
//! happened, and the state that they led to, is tried once. Records are independent, so that each
//! key has a search of its own, over a few dozen calls. `stateright` has a tester of histories as
//! well; it keeps no such memory, takes an object whose answers follow from its state (a sweep or a
//! commit without an answer may have done this or that), and would come with its web server to every
//! author of a backend.

use std::collections::HashSet;

use grantor::storage::CommitOutcome;

/// A set of index entries, as bits.
pub(super) type Entries = u8;

/// A call, as far as it concerns one key.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) invoked: u64,
    /// `None`: it was dropped, and may happen at any time after it was invoked, or never.
    pub(super) returned: Option<u64>,
    pub(super) what: What,
}

/// What a call asked and was answered.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// Commits are numbered, through all keys.
    Commit {
        id: usize,
        expect: Option<usize>,
        entries: Entries,
        purge_at: i64,
        outcome: Option<CommitOutcome>,
        /// Whether it was sent before.
        repeated: bool,
    },
    /// A load, and the commit that it showed.
    Load(Option<usize>),
    /// A listing of the kind, and whether the key was in it.
    Listed(bool),
    /// A listing of these indexes that did not have the key.
    NotInIndex(Entries),
    /// A sweep: may have removed what was due.
    Sweep { now: i64 },
}

/// What the store holds under the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Record {
    id: usize,
    purge_at: i64,
    entries: Entries,
}

/// A set of demands that no order of the calls can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) heading: &'static str,
    pub(super) why: &'static str,
}

/// What of a call is taken into account.
type Demand = fn(&Call) -> Option<Call>;

/// The answers are taken into account step by step, from those that matter most, and the first step
/// without an explanation names the clause.
const STEPS: [(Broken, Demand); 6] = [
    (
        Broken {
            heading: "Atomicity",
            why: "two requests were told that they replaced the same record: both redeemed one code",
        },
        |call| match call.what {
            What::Commit { outcome: Some(CommitOutcome::Conflict), .. } => None,
            What::Commit { repeated: true, .. } => doubtful(call),
            What::Commit { .. } => Some(call.clone()),
            _ => lenient_sweep(call),
        },
    ),
    (
        Broken {
            heading: "Conflict",
            why: "a request was refused for a replacement that nobody made: an honest client is told \
                  that its code was used",
        },
        |call| match call.what {
            What::Commit { repeated: true, .. } => doubtful(call),
            What::Commit { .. } => Some(call.clone()),
            _ => lenient_sweep(call),
        },
    ),
    (
        Broken {
            heading: "Idempotence",
            why: "a commit that was sent twice was taken for two: our own retry looks like a thief",
        },
        |call| match call.what {
            What::Commit { .. } => Some(call.clone()),
            _ => lenient_sweep(call),
        },
    ),
    (
        Broken {
            heading: "Visibility",
            why: "a load did not see what was acknowledged before it began, or went back behind what \
                  was seen: a token that was revoked is still honoured",
        },
        |call| match call.what {
            What::Commit { .. } | What::Load(_) => Some(call.clone()),
            _ => lenient_sweep(call),
        },
    ),
    (
        Broken {
            heading: "Index freshness",
            why: "a record was there during a whole listing and is not in it: withdrawing consent \
                  misses a grant",
        },
        |call| match call.what {
            What::Sweep { .. } => lenient_sweep(call),
            _ => Some(call.clone()),
        },
    ),
    (
        Broken {
            heading: "Expiry, and whose clock",
            why: "a sweep removed a record that was not due, or not the one that it had examined: the \
                  memory of a used code is gone",
        },
        |call| Some(call.clone()),
    ),
];

/// The same call, as if it had not been answered.
fn doubtful(call: &Call) -> Option<Call> {
    let mut call = call.clone();
    call.returned = None;
    if let What::Commit { outcome, .. } = &mut call.what {
        *outcome = None;
    }
    Some(call)
}

/// Any sweep may have removed anything.
fn lenient_sweep(call: &Call) -> Option<Call> {
    match call.what {
        What::Sweep { .. } => Some(Call { what: What::Sweep { now: i64::MAX }, ..call.clone() }),
        _ => None,
    }
}

/// The clause that the answers about one key break, if they break any.
pub(super) fn broken(calls: &[Call]) -> Option<Broken> {
    STEPS.iter().find_map(|(broken, demand)| {
        let calls: Vec<_> = calls.iter().filter_map(demand).collect();
        (!is_explained(&calls)).then_some(*broken)
    })
}

/// Whether there is an order. At most 64 calls.
fn is_explained(calls: &[Call]) -> bool {
    let answered = bits(calls, |call| call.returned.is_some());
    let mut tried = HashSet::new();
    let mut next = vec![(0_u64, None::<Record>)];
    while let Some((happened, state)) = next.pop() {
        if happened & answered == answered {
            return true;
        }
        if !tried.insert((happened, state)) {
            continue;
        }
        // Whatever was invoked after another call's answer happens after that call.
        let missing = calls.iter().enumerate().filter(|(n, _)| happened & bit(*n) == 0);
        let horizon = missing.clone().filter_map(|(_, call)| call.returned).min();
        for (n, call) in missing {
            if horizon.is_none_or(|horizon| call.invoked < horizon) {
                let states = call.what.happen(state).into_iter().flatten();
                next.extend(states.map(|state| (happened | bit(n), state)));
            }
        }
    }
    false
}

fn bits(calls: &[Call], which: impl Fn(&Call) -> bool) -> u64 {
    calls.iter().enumerate().filter(|(_, call)| which(call)).fold(0, |set, (n, _)| set | bit(n))
}

fn bit(n: usize) -> u64 {
    assert!(n < 64, "a program is small");
    1 << n
}

impl What {
    /// The states that this can lead to, with the answer that it got.
    fn happen(&self, state: Option<Record>) -> [Option<Option<Record>>; 2] {
        let stays = |possible: bool| [possible.then_some(state), None];
        match *self {
            Self::Commit { id, expect, entries, purge_at, outcome, .. } => {
                let current = state.map(|record| record.id);
                let (answer, after) = if current == Some(id) {
                    (CommitOutcome::Applied, state)
                } else if current == expect {
                    let entries = entries | state.map_or(0, |record| record.entries);
                    (CommitOutcome::Applied, Some(Record { id, purge_at, entries }))
                } else {
                    (CommitOutcome::Conflict, state)
                };
                [outcome.is_none_or(|outcome| outcome == answer).then_some(after), None]
            }
            Self::Load(seen) => stays(seen == state.map(|record| record.id)),
            Self::Listed(seen) => stays(seen == state.is_some()),
            Self::NotInIndex(missing) => {
                stays(state.is_none_or(|record| record.entries & missing == 0))
            }
            Self::Sweep { now } => {
                let due = state.is_some_and(|record| record.purge_at <= now);
                [Some(state), due.then_some(None)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(invoked: u64, returned: u64, what: What) -> Call {
        Call { invoked, returned: Some(returned), what }
    }

    fn commit(id: usize, expect: Option<usize>, outcome: CommitOutcome) -> What {
        let outcome = Some(outcome);
        What::Commit { id, expect, entries: 1, purge_at: 5, outcome, repeated: false }
    }

    fn heading(calls: &[Call]) -> Option<&'static str> {
        broken(calls).map(|broken| broken.heading)
    }

    #[test]
    fn each_clause_is_told_from_the_others() {
        use CommitOutcome::{Applied, Conflict};
        let first = || call(0, 1, commit(1, None, Applied));
        assert_eq!(heading(&[first(), call(2, 3, commit(2, None, Applied))]), Some("Atomicity"));
        assert_eq!(heading(&[first(), call(2, 3, commit(2, None, Conflict))]), None);
        assert_eq!(heading(&[first(), call(2, 3, commit(2, Some(1), Conflict))]), Some("Conflict"));
        let mut again = first();
        (again.invoked, again.returned) = (2, Some(3));
        if let What::Commit { outcome, repeated, .. } = &mut again.what {
            (*outcome, *repeated) = (Some(Conflict), true);
        }
        assert_eq!(heading(&[first(), again]), Some("Idempotence"));
        assert_eq!(heading(&[first(), call(2, 3, What::Load(None))]), Some("Visibility"));
        let unlisted = [What::Listed(false), What::NotInIndex(1)];
        for what in unlisted {
            assert_eq!(heading(&[first(), call(2, 3, what)]), Some("Index freshness"));
        }
        assert_eq!(heading(&[first(), call(2, 3, What::NotInIndex(2))]), None);
        let swept = |now| [first(), call(2, 3, What::Sweep { now }), call(4, 5, What::Load(None))];
        assert_eq!(heading(&swept(4)), Some("Expiry, and whose clock"));
        assert_eq!(heading(&swept(5)), None);
    }

    #[test]
    fn calls_that_overlap_may_happen_in_either_order() {
        use CommitOutcome::Applied;
        let write = || call(1, 6, commit(1, None, Applied));
        for seen in [None, Some(1)] {
            assert_eq!(heading(&[write(), call(2, 5, What::Load(seen))]), None);
        }
        // But not back and forth.
        let back = [write(), call(2, 3, What::Load(Some(1))), call(4, 5, What::Load(None))];
        assert_eq!(heading(&back), Some("Visibility"));
    }

    #[test]
    fn a_dropped_commit_may_happen_late_or_never() {
        let mut dropped = call(0, 1, commit(1, None, CommitOutcome::Applied));
        dropped = doubtful(&dropped).expect("a call");
        for seen in [None, Some(1)] {
            assert_eq!(heading(&[dropped.clone(), call(8, 9, What::Load(seen))]), None);
        }
        let torn = [dropped, call(2, 3, What::Load(Some(1))), call(4, 5, What::Load(None))];
        assert_eq!(heading(&torn), Some("Visibility"));
    }
}
