//! Those who wait for the same barrier.
//!
//! Waking a task from another thread is dear: the runtime has to be told that there is something to do, by a
//! system call for each task. So when a barrier is through only one is woken, and it wakes the others, from a
//! thread of their runtime. Whoever is given up meanwhile passes it on as well, and one that is not polled holds
//! the others up until the keeper looks again, which is soon.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use grantor::storage::StorageError;

/// Those who wait for the same barrier.
#[derive(Debug, Default)]
pub(crate) struct Group(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How the barrier ended, once it has.
    outcome: Option<Result<(), Arc<str>>>,
    /// Those who do not know it yet, by their places; `None` has gone.
    wakers: Vec<Option<Waker>>,
}

impl Group {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody how the barrier ended, unless they have been told already.
    pub(crate) fn answer(&self, outcome: Result<(), &str>) {
        self.state().outcome.get_or_insert_with(|| outcome.map_err(Arc::from));
        self.wake_all();
    }

    /// Tells one that the barrier is through, who tells the others.
    pub(crate) fn answer_in_relay(&self) {
        let first = {
            let mut state = self.state();
            state.outcome.get_or_insert(Ok(()));
            state.wakers.iter_mut().find_map(Option::take)
        };
        if let Some(first) = first {
            first.wake();
        }
    }

    /// Whether nobody is left who has to be told.
    pub(crate) fn all_know(&self) -> bool {
        self.state().wakers.iter().all(Option::is_none)
    }

    /// Tells those who are left.
    pub(crate) fn wake_all(&self) {
        let wakers = std::mem::take(&mut self.state().wakers);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// A place in a group.
#[derive(Debug)]
pub(crate) struct Receipt {
    group: Arc<Group>,
    place: Option<usize>,
}

impl Receipt {
    pub(crate) const fn new(group: Arc<Group>) -> Self {
        Self { group, place: None }
    }
}

/// Ready when everything that was applied before is durable.
impl Future for Receipt {
    type Output = Result<(), StorageError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let group = Arc::clone(&self.group);
        let mut state = group.state();
        if let Some(outcome) = &state.outcome {
            let outcome = outcome.clone();
            drop(state);
            self.place = None;
            group.wake_all();
            return Poll::Ready(outcome.map_err(StorageError::unavailable));
        }
        let place = *self.place.get_or_insert(state.wakers.len());
        let waker = Some(context.waker().clone());
        let old = match state.wakers.get_mut(place) {
            Some(old) => std::mem::replace(old, waker),
            None => {
                state.wakers.push(waker);
                None
            }
        };
        // What it wakes may go with it, and that may hold another place here.
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut state = self.group.state();
        if state.outcome.is_some() {
            drop(state);
            return self.group.wake_all();
        }
        let waker = state.wakers.get_mut(place).and_then(Option::take);
        drop(state);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A waiter that has been polled, and how often it was woken.
    struct Waiter {
        receipt: Receipt,
        woken: Arc<Count>,
    }

    impl Waiter {
        fn in_group(group: &Arc<Group>) -> Self {
            let receipt = Receipt::new(Arc::clone(group));
            let mut waiter = Self { receipt, woken: Arc::default() };
            assert!(waiter.poll().is_pending());
            waiter
        }

        fn poll(&mut self) -> Poll<Result<(), StorageError>> {
            let waker = Arc::clone(&self.woken).into();
            Pin::new(&mut self.receipt).poll(&mut Context::from_waker(&waker))
        }
    }

    fn woken(waiters: &[Waiter]) -> Vec<usize> {
        waiters.iter().map(|waiter| waiter.woken.0.load(Ordering::Relaxed)).collect()
    }

    fn group_of_three() -> (Arc<Group>, Vec<Waiter>) {
        let group = Arc::default();
        let waiters = (0..3).map(|_| Waiter::in_group(&group)).collect();
        (group, waiters)
    }

    #[test]
    fn the_first_to_be_polled_wakes_the_others() {
        let (group, mut waiters) = group_of_three();
        assert!(waiters[1].poll().is_pending(), "polled twice, it has one place");
        group.answer_in_relay();
        assert_eq!(woken(&waiters), [1, 0, 0]);
        assert!(!group.all_know());
        assert!(matches!(waiters[0].poll(), Poll::Ready(Ok(()))));
        assert_eq!(woken(&waiters), [1, 1, 1]);
        assert!(group.all_know());
        let late = Receipt::new(Arc::clone(&group));
        waiters.push(Waiter { receipt: late, woken: Arc::default() });
        for waiter in &mut waiters[1..] {
            assert!(matches!(waiter.poll(), Poll::Ready(Ok(()))));
        }
    }

    #[test]
    fn whoever_is_given_up_passes_it_on() {
        let (group, mut waiters) = group_of_three();
        drop(waiters.remove(0));
        group.answer_in_relay();
        assert_eq!(woken(&waiters), [1, 0], "who has gone is not waited for");
        drop(waiters.remove(0));
        assert_eq!(woken(&waiters), [1], "the one that was woken was given up");
    }

    #[test]
    fn one_that_is_not_polled_does_not_hold_the_others_up_for_ever() {
        let (group, waiters) = group_of_three();
        group.answer_in_relay();
        group.wake_all();
        assert_eq!(woken(&waiters), [1, 1, 1]);
    }

    #[test]
    fn a_refusal_stands_and_reaches_everybody_at_once() {
        let (group, mut waiters) = group_of_three();
        group.answer(Err("no"));
        group.answer_in_relay();
        assert_eq!(woken(&waiters), [1, 1, 1]);
        for waiter in &mut waiters {
            assert!(matches!(waiter.poll(), Poll::Ready(Err(_))));
        }
    }
}
