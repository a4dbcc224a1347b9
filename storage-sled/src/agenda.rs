//! When which records may be due for removal.
//!
//! A sweep that walks the whole store, again and again, reads all of it from the disk where it is larger than the
//! cache, and what is in the cache makes room for what nobody asks for. So the keys are divided into ranges, of
//! each of which it is known when the first of its records is due, and a sweep looks at those whose time has come. They
//! are small: a record can only be removed with its page, which has some neighbours on it anyway.
//!
//! A time may be too early, where a record was given more of it, and is never too late. All of it is kept in memory, three
//! hundred bytes for a range, and made anew when the store opens, which reads all records anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use grantor::model::Timestamp;
use sled::IVec;

/// How many records a range has before another is begun behind it, and at most when two become one: two of sled's
/// pages.
const RANGE: usize = if cfg!(test) { 4 } else { 32 };

/// How many records of a range are looked at before the rest of it becomes another one. A range in which records are made
/// in no order grows without end until somebody looks.
pub(crate) const LOOK: usize = 2 * RANGE;

/// The ranges, and their order in time.
#[derive(Default)]
pub(crate) struct Agenda(Mutex<Ranges>);

#[derive(Default)]
struct Ranges {
    /// By their first key; each ends where the next begins. The first begins before every key.
    by_key: BTreeMap<IVec, Range>,
    by_time: BTreeSet<(Timestamp, IVec)>,
}

struct Range {
    /// Nothing is due before; `None`: nothing is there, or what is there is looked at just now.
    due: Option<Timestamp>,
    /// No key is behind this one.
    last: IVec,
    /// About how many records there are.
    len: usize,
}

/// A range whose time has come. It has none until the claim is settled or given back. There is one claim at a time.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) start: IVec,
    /// The first key that does not belong to it any more.
    pub(crate) end: Option<IVec>,
    due: Timestamp,
}

/// What is left in a range after somebody has looked.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// When the first of it is due.
    pub(crate) due: Option<Timestamp>,
    /// How many records.
    pub(crate) len: usize,
    /// The last key that was looked at, if there are more.
    pub(crate) stopped_at: Option<IVec>,
}

/// The keys are of the same kind as the records.
impl std::fmt::Debug for Agenda {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Agenda")
    }
}

impl Agenda {
    /// To be called for each version of a record, once it is there: whoever claimed its range before may not have seen
    /// it, and whoever claims it afterwards does.
    pub(crate) fn note(&self, key: &[u8], due: Timestamp, created: bool) {
        self.lock().note(key, due, created);
    }

    /// What has been due for longest.
    pub(crate) fn claim(&self, now: Timestamp) -> Option<Claim> {
        let mut ranges = self.lock();
        if !ranges.is_due(now) {
            return None;
        }
        let (due, start) = ranges.by_time.pop_first()?;
        let behind = (Bound::Excluded(&start), Bound::Unbounded);
        let end = ranges.by_key.range::<IVec, _>(behind).next().map(|(end, _)| end.clone());
        if let Some(range) = ranges.by_key.get_mut(&start) {
            range.due = None;
        }
        Some(Claim { start, end, due })
    }

    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.lock().is_due(now)
    }

    /// Everything in a range was looked at, and what was due is gone or was noted again.
    pub(crate) fn settle(&self, claim: &Claim, left: &Left) {
        let mut ranges = self.lock();
        match &left.stopped_at {
            Some(last) => ranges.split_behind(last, claim.due, left.len),
            None => {
                if let Some((_, range)) = ranges.containing(&claim.start) {
                    range.len = left.len;
                }
            }
        }
        if let Some(due) = left.due {
            ranges.bring_forward(&claim.start, due);
        }
        ranges.join(&claim.start);
        if let Some(end) = &claim.end {
            ranges.join(end);
        }
    }

    /// Nobody knows what is left in the range.
    pub(crate) fn give_back(&self, claim: &Claim) {
        self.lock().bring_forward(&claim.start, claim.due);
    }

    fn lock(&self) -> MutexGuard<'_, Ranges> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ranges {
    fn containing(&mut self, key: &[u8]) -> Option<(&IVec, &mut Range)> {
        self.by_key.range_mut::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.by_time.first().is_some_and(|(due, _)| due.has_passed(now))
    }

    fn note(&mut self, key: &[u8], due: Timestamp, created: bool) {
        let begins = match self.containing(key) {
            None => Some(IVec::default()),
            // Nothing is behind the end of a range, so the new one is known whole.
            Some((_, range)) if range.len >= RANGE && *range.last < *key => Some(key.into()),
            Some((_, range)) => {
                range.len += usize::from(created);
                if *range.last < *key {
                    range.last = key.into();
                }
                None
            }
        };
        if let Some(start) = begins {
            self.by_key.insert(start, Range { due: None, last: key.into(), len: 1 });
        }
        self.bring_forward(key, due);
    }

    /// Something in the range of `key` is due at this time.
    fn bring_forward(&mut self, key: &[u8], due: Timestamp) {
        let Some((start, range)) = self.containing(key) else { return };
        if range.due.is_some_and(|known| known <= due) {
            return;
        }
        let start = start.clone();
        if let Some(later) = range.due.replace(due) {
            self.by_time.remove(&(later, start.clone()));
        }
        self.by_time.insert((due, start));
    }

    /// Begins a range behind `last`. What is there is due at `due`, or when it was noted since.
    fn split_behind(&mut self, last: &[u8], mut due: Timestamp, len: usize) {
        let start = IVec::from([last, &[0]].concat());
        if !self.by_key.contains_key(&start)
            && let Some((_, range)) = self.containing(last)
        {
            due = range.due.map_or(due, |noted| noted.min(due));
            let behind = Range {
                due: None,
                last: mem::replace(&mut range.last, last.into()),
                len: range.len.saturating_sub(len),
            };
            range.len = len;
            self.by_key.insert(start.clone(), behind);
        }
        self.bring_forward(&start, due);
    }

    /// Makes one range of this one and the one before it, if they are small.
    fn join(&mut self, start: &IVec) {
        let Some(Range { due, last, len }) = self.by_key.get(start) else { return };
        let (due, last, len) = (*due, last.clone(), *len);
        let before = (Bound::Unbounded, Bound::Excluded(start));
        let Some((_, before)) = self.by_key.range_mut::<IVec, _>(before).next_back() else {
            return;
        };
        if before.len + len > RANGE {
            return;
        }
        before.len += len;
        if before.last < last {
            before.last = last;
        }
        self.by_key.remove(start);
        if let Some(due) = due {
            self.by_time.remove(&(due, start.clone()));
            self.bring_forward(start, due);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The records, as sled has them: when each is due.
    type Records = BTreeMap<IVec, Timestamp>;

    /// Somebody who has claimed a range, and looks at one record after the other.
    struct Sweeper {
        claim: Claim,
        budget: usize,
        next: Bound<IVec>,
        due: Vec<(IVec, Timestamp)>,
        left: Left,
    }

    #[derive(Default)]
    struct World {
        records: Records,
        agenda: Agenda,
        /// Records that are written and not yet noted.
        written: Vec<(IVec, Timestamp, bool)>,
        sweeper: Option<Sweeper>,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write { key: u16, due: i64 },
        Append { due: i64 },
        Note,
        Claim { now: i64, budget: usize },
        Look { now: i64 },
        Fail,
    }

    fn step() -> impl Strategy<Value = Step> {
        let due = 0..100_i64;
        prop_oneof![
            2 => (0..200_u16, due.clone()).prop_map(|(key, due)| Step::Write { key, due }),
            2 => due.clone().prop_map(|due| Step::Append { due }),
            3 => Just(Step::Note),
            2 => (due.clone(), 1..9_usize).prop_map(|(now, budget)| Step::Claim { now, budget }),
            9 => due.prop_map(|now| Step::Look { now }),
            1 => Just(Step::Fail),
        ]
    }

    impl World {
        fn write(&mut self, key: IVec, due: i64) {
            let due = Timestamp::from_millis(due);
            let created = self.records.insert(key.clone(), due).is_none();
            self.written.push((key, due, created));
        }

        fn note(&mut self) {
            if let Some((key, due, created)) = self.written.pop() {
                self.agenda.note(&key, due, created);
            }
        }

        fn claim(&mut self, now: Timestamp, budget: usize) -> bool {
            if self.sweeper.is_none() {
                self.sweeper = self.agenda.claim(now).map(|claim| Sweeper {
                    next: Bound::Included(claim.start.clone()),
                    claim,
                    budget,
                    due: Vec::new(),
                    left: Left::default(),
                });
            }
            self.sweeper.is_some()
        }

        fn look(&mut self, now: Timestamp) {
            let Some(mut at) = self.sweeper.take() else { return };
            let end = at.claim.end.clone().map_or(Bound::Unbounded, Bound::Excluded);
            match self.records.range((at.next.clone(), end)).next() {
                Some((key, due)) if at.budget > 0 => {
                    at.budget -= 1;
                    at.left.stopped_at = Some(key.clone());
                    at.next = Bound::Excluded(key.clone());
                    match due.has_passed(now) {
                        true => at.due.push((key.clone(), *due)),
                        false => at.left.due = at.left.due.into_iter().chain([*due]).min(),
                    }
                    at.left.len += 1;
                    self.sweeper = Some(at);
                    return;
                }
                Some(_) => {}
                None => at.left.stopped_at = None,
            }
            // What is removed is removed while nobody writes.
            while !at.due.is_empty() && !self.written.is_empty() {
                self.note();
            }
            for (key, due) in at.due {
                if self.records.get(&key) == Some(&due) {
                    self.records.remove(&key);
                    at.left.len -= 1;
                }
            }
            self.agenda.settle(&at.claim, &at.left);
        }

        fn make(&mut self, step: Step) {
            match step {
                // Keys of one byte and of two, so that there are some between others.
                Step::Write { key, due } => {
                    let key = key.to_be_bytes();
                    let key = if key[1] % 2 == 0 { &key[..] } else { &key[1..] };
                    self.write(key.into(), due);
                }
                Step::Append { due } => {
                    let last = self.records.keys().next_back();
                    let last = last.and_then(|last| last.first_chunk().copied());
                    let next = u16::from_be_bytes(last.unwrap_or_default()).saturating_add(1);
                    self.write(IVec::from(&next.to_be_bytes()), due);
                }
                Step::Note => self.note(),
                Step::Claim { now, budget } => {
                    self.claim(Timestamp::from_millis(now), budget);
                }
                Step::Look { now } => self.look(Timestamp::from_millis(now)),
                Step::Fail => {
                    if let Some(failed) = self.sweeper.take() {
                        self.agenda.give_back(&failed.claim);
                    }
                }
            }
        }

        /// Everybody comes to an end.
        fn rest(&mut self, now: Timestamp) {
            while !self.written.is_empty() {
                self.note();
            }
            while self.sweeper.is_some() {
                self.look(now);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn nothing_is_due_that_no_sweep_comes_to(
            steps in prop::collection::vec(step(), 0..200),
            now in 0..100_i64,
        ) {
            let mut world = World::default();
            for step in steps {
                world.make(step);
            }
            let now = Timestamp::from_millis(now);
            world.rest(now);
            for (key, due) in &world.records {
                let range = world.agenda.lock().containing(key).and_then(|(_, range)| range.due);
                prop_assert!(range.is_some_and(|range| range <= *due), "{key:?} at {due:?}");
            }
            while world.claim(now, 3) {
                world.rest(now);
            }
            prop_assert!(world.records.values().all(|due| !due.has_passed(now)));
            let ranges = world.agenda.lock();
            let dues = ranges.by_key.iter().map(|(start, range)| Some((range.due?, start.clone())));
            prop_assert_eq!(&dues.flatten().collect::<BTreeSet<_>>(), &ranges.by_time);
            drop(ranges);
            // What is empty becomes one.
            let end = Timestamp::from_millis(100);
            while world.claim(end, 3) {
                world.rest(end);
            }
            prop_assert!(world.records.is_empty());
            prop_assert!(world.agenda.lock().by_key.len() <= 1);
        }
    }
}
