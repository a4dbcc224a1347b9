//! Counting attempts, in this process or, where the store is shared, in all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{AuthorizationServer, Clock, EntropySource, Unavailable};
#[cfg(feature = "system")]
use super::{SystemClock, SystemEntropy};
use crate::model::Timestamp;
use crate::protocol::Entropy;
use crate::protocol::rate_limit::Limit;
use crate::storage::{
    Commit, CommitOutcome, Key, NewRecord, Storage, StorageError, commit_or_repeat, moment,
};

/// Bounds how often something may be tried, each thing for itself: an account, an address, a client.
///
/// Where other processes may have the store open ([`Promises::shared`](crate::storage::Promises)), they
/// count together, in a record of that store for each thing that was tried lately; where not, in the
/// memory of this process. The record is named by a digest, so what is counted may be any text that a
/// stranger sends.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use grantor::engine::{RateLimit, RateLimited};
/// # use grantor::protocol::rate_limit::Limit;
/// # use grantor::storage::{MemoryStorage, Storage};
/// # async fn check(storage: Arc<dyn Storage>) -> Result<(), RateLimited> {
/// // Ten password resets for an account at once, then one in six minutes.
/// let limit = Limit { burst: 10, refill: Duration::from_secs(360) };
/// let resets = RateLimit::new("example: password reset", limit, storage);
/// resets.take(b"alice@example.com").await?;
/// # Ok(())
/// # }
/// ```
pub struct RateLimit {
    purpose: &'static str,
    limit: Limit,
    /// Where all processes count; `None`: there is only this one.
    shared: Option<Arc<dyn Storage>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn EntropySource>,
    /// Until when each bucket is filled, as far as this process knows.
    known: Mutex<BTreeMap<Key, Timestamp>>,
}

/// Why an attempt must not be made now.
#[derive(Debug, thiserror::Error)]
pub enum RateLimited {
    /// There were too many.
    #[error("too many attempts")]
    Exceeded {
        /// When another one is possible, if nobody else makes one before.
        retry_after: Duration,
    },
    /// Whether there were too many could not be found out.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A time to wait as `Retry-After` has it (RFC 9110 section 10.2.3): in seconds, and never too soon.
pub(super) fn seconds_to_wait(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

/// How many buckets a process remembers. Strangers choose what is counted, so of too many the emptier
/// half is forgotten: those that nobody insists on.
const MAX_KNOWN: usize = 100_000;

/// How often an attempt is counted anew because another one was counted first.
const MAX_RACES: u32 = 8;

/// How long the record of a bucket outlives it: longer than clocks differ.
const MARGIN: Duration = Duration::from_secs(60);

impl RateLimit {
    /// Limits of one purpose on one store count together, in all processes: give each its own name,
    /// such as `"example: password reset"`. Needs the feature `system`; without it there is
    /// [`AuthorizationServer::rate_limit`].
    #[cfg(feature = "system")]
    pub fn new(purpose: &'static str, limit: Limit, storage: Arc<dyn Storage>) -> Self {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy::default()));
        Self::with(purpose, limit, &storage, clock, entropy)
    }

    pub(super) fn with(
        purpose: &'static str,
        limit: Limit,
        storage: &Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn EntropySource>,
    ) -> Self {
        let shared = storage.promises().shared.then(|| Arc::clone(storage));
        Self { purpose, limit, shared, clock, entropy, known: Mutex::default() }
    }

    /// The clock. Default: the operating system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The random source. Default: the operating system's.
    #[must_use]
    pub fn entropy(mut self, source: impl EntropySource) -> Self {
        self.entropy = Arc::new(source);
        self
    }

    /// Counts an attempt at `what`, or says that it is one too many and counts nothing.
    ///
    /// What this process knows to be full is refused without a call to the store; everything else
    /// costs two calls where the store is shared, and none where it is not.
    pub async fn take(&self, what: &[u8]) -> Result<(), RateLimited> {
        let key = Key::throttle(self.purpose, what);
        let now = self.clock.now();
        self.take_here(&key, now)?;
        let Some(storage) = &self.shared else { return Ok(()) };
        for _ in 0..MAX_RACES {
            let found = storage.load(std::slice::from_ref(&key)).await;
            let found = found.map_err(Unavailable::from)?.pop().flatten();
            let filled_until = found.as_ref().map(|found| moment::decode(&found.value));
            let filled_until = filled_until.transpose().map_err(Unavailable::from)?;
            let next = self.limit.take(filled_until, now).map_err(|retry_after| {
                self.learn(&key, filled_until);
                RateLimited::Exceeded { retry_after }
            })?;
            let commit = Commit {
                key: key.clone(),
                expect: found.map(|found| found.commit),
                id: self.seed()?.commit_id(),
                record: NewRecord {
                    value: moment::encode(next).map_err(Unavailable::from)?,
                    purge_at: next.plus(MARGIN),
                    indexes: vec![],
                },
            };
            if commit_or_repeat(&**storage, &commit).await? == CommitOutcome::Applied {
                self.learn(&key, Some(next));
                return Ok(());
            }
        }
        // Each race was lost to an attempt that was counted, and this one is counted in this process:
        // of each process no more than a burst can get here. Nobody is refused for the crowd.
        Ok(())
    }

    fn seed(&self) -> Result<Entropy, Unavailable> {
        self.entropy.seed().map(Entropy::from_seed).ok_or(Unavailable::Entropy)
    }

    fn take_here(&self, key: &Key, now: Timestamp) -> Result<(), RateLimited> {
        let mut known = self.known();
        let taken = self.limit.take(known.get(key).copied(), now);
        let next = taken.map_err(|retry_after| RateLimited::Exceeded { retry_after })?;
        if known.len() >= MAX_KNOWN {
            known.retain(|_, until| !until.has_passed(now));
            if known.len() >= MAX_KNOWN / 2 {
                let mut fills: Vec<_> = known.values().copied().collect();
                let (_, median, _) = fills.select_nth_unstable(known.len() / 2);
                let median = *median;
                known.retain(|_, until| *until > median);
            }
        }
        known.insert(key.clone(), next);
        Ok(())
    }

    /// Takes over what all processes together know.
    fn learn(&self, key: &Key, filled_until: Option<Timestamp>) {
        if let Some(until) = filled_until
            && let Some(known) = self.known().get_mut(key)
        {
            *known = (*known).max(until);
        }
    }

    /// Nobody panics while holding it.
    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Timestamp>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RateLimit {
    /// Without what was counted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("purpose", &self.purpose)
            .field("limit", &self.limit)
            .field("shared", &self.shared.is_some())
            .finish_non_exhaustive()
    }
}

impl AuthorizationServer {
    /// A rate limit on this server's store, by its clock and its random source.
    pub fn rate_limit(&self, purpose: &'static str, limit: Limit) -> RateLimit {
        let inner = &self.inner;
        let (clock, entropy) = (Arc::clone(&inner.clock), Arc::clone(&inner.entropy));
        RateLimit::with(purpose, limit, &inner.storage, clock, entropy)
    }
}

impl From<StorageError> for RateLimited {
    fn from(error: StorageError) -> Self {
        Self::Unavailable(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Kind, MemoryStorage};

    #[derive(Debug)]
    struct At(i64);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0)
        }
    }

    #[test]
    fn of_too_many_buckets_the_emptier_are_forgotten() {
        // ATTACKS I04: names that strangers make up.
        let limit = Limit { burst: 3, refill: Duration::from_secs(1) };
        let storage = Arc::new(MemoryStorage::new());
        let rate = RateLimit::new("test", limit, storage).clock(At(1_800_000_000_000));
        let now = rate.clock.now();
        let full = Key::throttle("test", b"insisted on");
        for _ in 0..3 {
            rate.take_here(&full, now).expect("a burst");
        }
        for n in 0..2 * MAX_KNOWN {
            let key = Key::new(Kind::Throttle, n.to_be_bytes()).expect("short");
            rate.take_here(&key, now).expect("the first");
            assert!(n % 1000 != 0 || rate.known().len() <= MAX_KNOWN);
        }
        assert!(rate.take_here(&full, now).is_err(), "a full one is remembered");
    }
}
