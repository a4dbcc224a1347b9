//! Whether what was answered can be true.
//!
//! Requests that were under way at once may have taken effect in any order that respects who was
//! answered before whom asked; those that were not answered, at any time since, or in part, or not at all.
//! The checker looks for all orders in which every answer agrees with the reference, and keeps every
//! world that such an order leads to. When there is none, the answers break an invariant.

use std::collections::{BTreeMap, BTreeSet};

use super::invariant::Invariant;
use super::model::{Judge, Phase, World};
use super::request::{Answer, Request};

/// A request with its answer, and when it was sent and answered, by a count of events.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// What was answered.
    pub answer: Answer,
    /// When it was sent.
    pub from: u32,
    /// When it was answered; `u32::MAX` where it is open whether it is over.
    pub until: u32,
}

/// What the checker found.
#[derive(Debug)]
pub struct Found {
    /// All that may be true now.
    pub worlds: BTreeSet<World>,
    /// What was checked and holds.
    pub upheld: BTreeSet<Invariant>,
}

/// A search that gets this far has gone astray.
const TOO_MANY: usize = 100_000;

/// Where a search stands: how far each request has got, in a world.
type State = (Vec<Progress>, World);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    At(Phase),
    Done,
}

/// Finds every world that agrees with these requests and answers, or the invariant that is broken.
pub fn check(worlds: &BTreeSet<World>, asked: &[Asked], now: u64) -> Result<Found, Invariant> {
    let beginning = vec![Progress::At(Phase::default()); asked.len()];
    let mut seen: BTreeSet<State> = BTreeSet::new();
    let mut open: Vec<State> =
        worlds.iter().map(|world| (beginning.clone(), world.clone())).collect();
    let mut found = Found { worlds: BTreeSet::new(), upheld: BTreeSet::new() };
    // What stood in the way, by how far the search had got.
    let mut broken: BTreeMap<usize, Vec<Invariant>> = BTreeMap::new();
    while let Some((progress, world)) = open.pop() {
        if !seen.insert((progress.clone(), world.clone())) {
            continue;
        }
        assert!(seen.len() < TOO_MANY, "there are too many ways to explain {asked:#?}");
        let is_done = |n: usize| progress.get(n) == Some(&Progress::Done);
        let answered = |asked: &Asked| !asked.answer.is_unknown();
        let waiting = |until: u32| {
            asked.iter().enumerate().any(|(n, a)| answered(a) && !is_done(n) && a.until < until)
        };
        if asked.iter().enumerate().all(|(n, a)| is_done(n) || !answered(a)) {
            found.worlds.extend(world.clone().at_rest());
        }
        for (n, one) in asked.iter().enumerate() {
            let Some(Progress::At(phase)) = progress.get(n) else { continue };
            if waiting(one.from) {
                continue;
            }
            let overlapping = asked
                .iter()
                .enumerate()
                .any(|(m, other)| m != n && other.from < one.until && one.from < other.until);
            let mut judge = Judge::new(now, &one.answer, overlapping);
            for (world, next) in world.moves(&one.request, *phase, &mut judge) {
                let mut progress = progress.clone();
                if let Some(slot) = progress.get_mut(n) {
                    *slot = next.map_or(Progress::Done, Progress::At);
                }
                open.push((progress, world));
            }
            found.upheld.append(&mut judge.upheld);
            let got = progress.iter().filter(|progress| **progress == Progress::Done).count();
            broken.entry(got).or_default().append(&mut judge.broken);
        }
    }
    if found.worlds.is_empty() {
        let furthest = broken.into_iter().rev().find_map(|(_, broken)| most(broken));
        return Err(furthest.unwrap_or(Invariant::NothingUnforeseen));
    }
    Ok(found)
}

/// The one that is there most often.
fn most(broken: Vec<Invariant>) -> Option<Invariant> {
    let mut counts: BTreeMap<Invariant, usize> = BTreeMap::new();
    for invariant in broken {
        *counts.entry(invariant).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(invariant, _)| invariant)
}
