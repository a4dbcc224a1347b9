//! Between the server and the store: one call at a time, in an order that the walk chooses, with
//! the trouble that the walk wants.
//!
//! Every call to the store waits at a gate. When every request that is under way waits there, one of
//! them is let through, and its call runs to its end. So a walk is the same each time it runs, and a
//! request that waits long is one whose store is slow. A process dies by dropping all requests at a
//! call: before it, in the middle of it, or after it took effect.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use async_trait::async_trait;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitOutcome, Cursor, Key, Listing, Page, Promises, Storage, StorageError, Stored,
    Swept,
};

/// What goes wrong during one turn of a walk; calls to the store are counted from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are named in the sentence above them")]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// The process dies before this call.
    DiesBefore(u8),
    /// The process dies in the middle of this call.
    DiesDuring(u8),
    /// The process dies when this call has taken effect, before anybody hears of it.
    DiesAfter(u8),
    /// As many as `calls` from `at` on are answered "unavailable"; where `applied`, they take effect
    /// all the same.
    Away { at: u8, calls: u8, applied: bool },
    /// As many commits as `calls` from call `at` on are answered "unavailable" and take effect later, when
    /// other calls have come in between, or never if the record has changed.
    Late { at: u8, calls: u8 },
    /// The commits from this call on are sent twice, as by a client of the store that repeats itself.
    Twice(u8),
    /// The user database does not answer.
    Directory,
}

impl Trouble {
    /// Whether the process dies of it.
    pub const fn is_deadly(self) -> bool {
        matches!(self, Self::DiesBefore(_) | Self::DiesDuring(_) | Self::DiesAfter(_))
    }

    /// Whether a commit that was answered "unavailable" may have taken effect.
    pub const fn leaves_writes_open(self) -> bool {
        matches!(self, Self::Away { applied: true, .. } | Self::Late { .. })
    }

    /// Its name, for the table of what was reached.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::DiesBefore(_) => "the process dies before a call",
            Self::DiesDuring(_) => "the process dies during a call",
            Self::DiesAfter(_) => "the process dies after a call",
            Self::Away { applied: false, .. } => "unavailable, nothing written",
            Self::Away { applied: true, .. } => "unavailable, written all the same",
            Self::Late { .. } => "unavailable, written later",
            Self::Twice(_) => "a commit sent twice",
            Self::Directory => "the user database is away",
        }
    }
}

#[derive(Debug, Default)]
struct Inside {
    trouble: Trouble,
    /// The number of the next call.
    call: u8,
    /// The request that is being polled.
    current: usize,
    waiting: BTreeSet<usize>,
    let_through: Option<usize>,
    dead: bool,
    struck: bool,
    late: Vec<Commit>,
    /// No gate: calls go through at once.
    open: bool,
}

/// A store behind a gate.
#[derive(Debug)]
pub struct Gate {
    inner: Arc<dyn Storage>,
    inside: Mutex<Inside>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every request was answered.
    Answered,
    /// The process died.
    Died,
}

impl Gate {
    /// A gate in front of a store, open.
    pub fn new(inner: Arc<dyn Storage>) -> Arc<Self> {
        Arc::new(Self { inner, inside: Mutex::new(Inside { open: true, ..Inside::default() }) })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the trouble of this turn has come about.
    pub fn struck(&self) -> bool {
        self.inside().struck
    }

    /// How many calls this turn has made.
    pub fn calls(&self) -> usize {
        usize::from(self.inside().call)
    }

    /// Runs requests side by side to their end, or until the process dies. `order` says who goes
    /// first wherever several could.
    pub async fn turn(
        &self,
        requests: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>,
        order: &[u8],
        trouble: Trouble,
    ) -> Ended {
        *self.inside() = Inside { trouble, ..Inside::default() };
        let mut requests: BTreeMap<usize, _> = requests.into_iter().enumerate().collect();
        let mut choices = order.iter().copied().map(usize::from).cycle();
        let ended = poll_fn(|cx| {
            loop {
                let ready: Vec<usize> = {
                    let inside = self.inside();
                    requests.keys().copied().filter(|n| !inside.waiting.contains(n)).collect()
                };
                for n in ready {
                    self.inside().current = n;
                    let done = requests.get_mut(&n).map(|request| request.as_mut().poll(cx));
                    if done.is_some_and(|poll| poll.is_ready()) {
                        requests.remove(&n);
                    }
                    if self.inside().dead {
                        return Poll::Ready(Ended::Died);
                    }
                }
                if requests.is_empty() {
                    return Poll::Ready(Ended::Answered);
                }
                let mut inside = self.inside();
                if requests.keys().any(|n| !inside.waiting.contains(n)) {
                    // Somebody waits for the store itself, which wakes us.
                    return Poll::Pending;
                }
                let choice = choices.next().unwrap_or(0) % requests.len();
                let chosen = requests.keys().nth(choice).copied();
                inside.let_through = chosen;
                inside.waiting.retain(|n| Some(*n) != chosen);
            }
        })
        .await;
        drop(requests);
        self.deliver().await;
        self.inside().open = true;
        ended
    }

    /// Waits until it is this request's turn; the number of its call.
    async fn enter(&self) -> u8 {
        let mine = {
            let mut inside = self.inside();
            if inside.open {
                return u8::MAX;
            }
            let mine = inside.current;
            inside.waiting.insert(mine);
            mine
        };
        poll_fn(|_| {
            let mut inside = self.inside();
            if inside.let_through == Some(mine) {
                inside.let_through = None;
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let mut inside = self.inside();
        let call = inside.call;
        inside.call = call.saturating_add(1);
        call
    }

    /// Commits that were on their way arrive.
    async fn deliver(&self) {
        let late = std::mem::take(&mut self.inside().late);
        for commit in late {
            // Too late for whoever sent it, whatever the answer.
            let _ = self.inner.commit(commit).await;
        }
    }

    async fn die<T>(&self) -> T {
        {
            let mut inside = self.inside();
            inside.dead = true;
            inside.struck = true;
        }
        std::future::pending().await
    }

    fn strike(&self) -> Trouble {
        let mut inside = self.inside();
        inside.struck = true;
        inside.trouble
    }

    /// A call that may go wrong.
    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let at = self.enter().await;
        let trouble = self.inside().trouble;
        match trouble {
            Trouble::DiesBefore(n) if n == at => self.die().await,
            Trouble::DiesDuring(n) if n == at => {
                let mut call = pin!(call);
                poll_fn(|cx| {
                    let _ = call.as_mut().poll(cx);
                    Poll::Ready(())
                })
                .await;
                self.die().await
            }
            Trouble::DiesAfter(n) if n == at => {
                let _ = call.await;
                self.die().await
            }
            Trouble::Away { at: from, calls, applied }
                if (from..from.saturating_add(calls)).contains(&at) =>
            {
                self.strike();
                if applied {
                    let _ = call.await;
                }
                Err(away())
            }
            _ => call.await,
        }
    }
}

fn away() -> StorageError {
    StorageError::unavailable("switched off by the walk")
}

#[async_trait]
impl Storage for Gate {
    fn promises(&self) -> Promises {
        self.inner.promises()
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.call(self.inner.load(keys)).await
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        let trouble = self.inside().trouble;
        match trouble {
            Trouble::Late { at: from, calls } => {
                let at = self.enter().await;
                if (from..from.saturating_add(calls)).contains(&at) {
                    self.strike();
                    self.inside().late.push(commit);
                    return Err(away());
                }
                if at > from.saturating_add(calls) {
                    self.deliver().await;
                }
                self.inner.commit(commit).await
            }
            Trouble::Twice(from) => {
                if self.enter().await < from {
                    return self.inner.commit(commit).await;
                }
                self.strike();
                let _ = self.inner.commit(commit.clone()).await;
                self.inner.commit(commit).await
            }
            _ => self.call(self.inner.commit(commit)).await,
        }
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        self.call(self.inner.list(listing, after, limit)).await
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        self.call(self.inner.sweep(now, after, budget)).await
    }

    async fn ready(&self) -> Result<(), StorageError> {
        self.inner.ready().await
    }
}
