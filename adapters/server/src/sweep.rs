//! Removing what is past its time, in the background.

use std::time::Duration;

use grantor::AuthorizationServer;
use grantor::engine::{EntropySource as _, SystemEntropy};
use grantor::storage::{Cursor, Promises, Swept};
use tokio::time::{Instant, sleep};

use crate::shutdown::Shutdown;

/// However late a walk is, requests come between two steps.
const BREATH: Duration = Duration::from_millis(1);

/// How the store is swept: a little at a time, so that no request waits for it.
///
/// A *round* is a rest and the walk through the whole store after it. The steps of a walk are spread
/// over what is left of its round; how many there will be is known from the walk before. What expires
/// must not come faster than it is removed, and where it lies is up to the store: one that sorts its
/// keys may have all that has expired in one place, and all that is new behind the walk. So what one
/// step finds says nothing of the rest, and
///
/// * a walk that is not through when its round is over goes on at once, a millisecond after each step:
///   nothing stays for longer than a round after it may go, or for two where the order is random;
/// * where more than a tenth of what was walked had expired the next round is shorter, by as much as it was
///   more: a tenth is where a busy store settles. (A store that only looks at what is due finds more than
///   that, and is swept after each rest.)
#[derive(Clone, Copy, Debug)]
pub struct Sweeper {
    /// The longest time between two steps of a walk.
    pub step: Duration,
    /// The time between the end of a walk and the next one, and before the first.
    pub rest: Duration,
    /// Up to so much is added to each rest, at random: where several processes sweep one store, they
    /// do not all do so at the same time.
    pub jitter: Duration,
    /// The longest time for a round, until it goes on at once.
    pub round: Duration,
    /// Whether a round is shorter where more than a tenth had expired. Where records go by themselves it
    /// brings nothing.
    pub hurries: bool,
    /// How many records one step looks at.
    pub budget: usize,
}

impl Default for Sweeper {
    /// A thousand records a second at least, a minute of rest, and a quarter of an hour for a round: in
    /// a store of a million there is a step every 0.8 seconds, in one of ten millions there are twelve
    /// in a second, of a millisecond or two each. (The first walk of a process has to find out how many there
    /// are: it begins with one in a second.) Records outlive their meaning by an hour anyway, and
    /// those that anybody can make by ten minutes.
    fn default() -> Self {
        Self {
            step: Duration::from_secs(1),
            rest: Duration::from_secs(60),
            jitter: Duration::ZERO,
            round: Duration::from_secs(15 * 60),
            hurries: true,
            budget: 1000,
        }
    }
}

/// A round, from the end of the walk before.
struct Round {
    began: Instant,
    time: Duration,
    expected_steps: u32,
    steps: u32,
    examined: u32,
    removed: u32,
}

impl Round {
    fn new(time: Duration, expected_steps: u32) -> Self {
        Self { began: Instant::now(), time, expected_steps, steps: 0, examined: 0, removed: 0 }
    }

    fn add(&mut self, swept: &Swept) {
        let more = |sum: u32, more| sum.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        self.steps = more(self.steps, 1);
        self.examined = more(self.examined, swept.examined);
        self.removed = more(self.removed, swept.removed);
    }

    fn pause(&self) -> Duration {
        let left = self.expected_steps.saturating_sub(self.steps).max(1);
        self.time.saturating_sub(self.began.elapsed()) / left
    }

    /// The round after this one: of the time in which a tenth of the store expires.
    fn next(&self, Sweeper { round: longest, hurries, .. }: Sweeper) -> Self {
        let time = match self.removed {
            removed if removed == 0 || !hurries => longest,
            removed => (self.began.elapsed() / removed).saturating_mul(self.examined / 10),
        };
        Self::new(time.min(longest), self.steps)
    }
}

impl Sweeper {
    /// How a store that promises this is swept.
    ///
    /// A store that several processes share is swept by each of them, since nobody knows of the
    /// others, and it expires records by itself: what is left to do is to take away the index entries
    /// of records that are gone, a hundred bytes each. So each process rests for an hour on average,
    /// between half an hour and one and a half, and has a quarter of a day for a round. Ten processes on
    /// a million records then look at less than three thousand of them in a second, all together, which
    /// is a few percent of what Redis can do; and an entry that leads nowhere stays for about a tenth of
    /// an hour.
    pub fn of(promises: Promises) -> Self {
        let hour = Duration::from_secs(3600);
        match promises.shared {
            true => Self {
                rest: hour / 2,
                jitter: hour,
                round: hour * 6,
                hurries: false,
                ..Self::default()
            },
            false => Self::default(),
        }
    }

    fn rest(&self, entropy: &SystemEntropy) -> Duration {
        // Without random numbers nothing else works either.
        let random = entropy.seed().unwrap_or_default();
        let random = random.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        self.rest + self.jitter.mul_f64(f64::from(random) / (f64::from(u32::MAX) + 1.0))
    }

    /// Sweeps until the shutdown. A store that is away is tried again; nothing depends on it but
    /// the size of the store.
    pub async fn run(self, server: AuthorizationServer, mut shutdown: Shutdown) {
        let entropy = SystemEntropy::default();
        let mut cursor: Option<Cursor> = None;
        let mut round = Round::new(self.round, 0);
        let mut pause = self.rest(&entropy);
        loop {
            tokio::select! {
                () = shutdown.requested() => return,
                () = sleep(pause) => {}
            }
            pause = match server.sweep(cursor.as_ref(), self.budget).await {
                Ok(swept) => {
                    tracing::debug!(examined = swept.examined, removed = swept.removed, "swept");
                    round.add(&swept);
                    cursor = swept.next;
                    match cursor {
                        Some(_) => round.pause().min(self.step).max(BREATH),
                        None => {
                            round = round.next(self);
                            self.rest(&entropy)
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the store could not be swept");
                    if cursor.is_some() { self.step } else { self.rest(&entropy) }
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;
    use std::sync::{Arc, Mutex};

    use grantor::engine::Clock;
    use grantor::model::{Account, Subject, Timestamp};
    use grantor::storage::{
        Commit, CommitId, CommitOutcome, Key, Kind, Listing, MemoryStorage, NewRecord, Page,
        Storage, StorageError, Stored,
    };
    use grantor::{Authenticator, AuthenticatorError, Credentials, Verdict};

    use super::*;
    use crate::shutdown;

    #[derive(Debug)]
    struct Nobody;

    #[async_trait::async_trait]
    impl Authenticator for Nobody {
        async fn verify(&self, _: &Credentials) -> Result<Verdict, AuthenticatorError> {
            Ok(Verdict::Refused)
        }

        async fn account(&self, _: &Subject) -> Result<Option<Account>, AuthenticatorError> {
            Ok(None)
        }
    }

    async fn count(storage: &dyn Storage) -> usize {
        let listed = storage.list(&Listing::Kind(Kind::User), None, 1000).await;
        listed.expect("healthy").keys.len()
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_is_walked_in_bounded_steps_until_the_shutdown() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        for n in 0..100_u8 {
            let commit = Commit {
                key: Key::new(Kind::User, [n]).expect("short"),
                expect: None,
                id: CommitId::from_bytes([n; 16]),
                record: NewRecord {
                    value: vec![],
                    purge_at: Timestamp::from_millis(if n % 20 == 0 { 1 } else { i64::MAX }),
                    indexes: vec![],
                },
            };
            let outcome = storage.commit(commit).await.expect("healthy");
            assert_eq!(outcome, CommitOutcome::Applied);
        }
        let server = AuthorizationServer::builder("http://localhost".parse().expect("loopback"))
            .shared_storage(Arc::clone(&storage))
            .authenticator(Nobody)
            .build()
            .expect("complete");
        let sweeper = Sweeper { budget: 10, ..Sweeper::default() };
        let (trigger, shutdown) = shutdown::channel();
        let sweeping = tokio::spawn(sweeper.run(server, shutdown));
        // The clock is the test's: this takes no time.
        tokio::time::sleep(Duration::from_millis(60_500)).await;
        assert!(count(&*storage).await > 95, "one step");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(count(&*storage).await, 95, "one walk");
        trigger.stop();
        sweeping.await.expect("ends");
    }

    /// The time of the test's runtime.
    #[derive(Clone, Copy, Debug)]
    struct Simulated(Instant);

    impl Clock for Simulated {
        fn now(&self) -> Timestamp {
            Timestamp::EPOCH.plus(self.0.elapsed())
        }
    }

    /// The keys of a store that is walked in their order, and when each may go.
    #[derive(Debug, Default)]
    struct InOrder {
        keys: Mutex<BTreeMap<u64, Timestamp>>,
        steps: Mutex<Vec<Instant>>,
    }

    #[async_trait::async_trait]
    impl Storage for InOrder {
        fn promises(&self) -> Promises {
            MemoryStorage::new().promises()
        }

        async fn load(&self, _: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
            unreachable!("only swept")
        }

        async fn commit(&self, _: Commit) -> Result<CommitOutcome, StorageError> {
            unreachable!("only swept")
        }

        async fn list(
            &self,
            _: &Listing,
            _: Option<&Cursor>,
            _: usize,
        ) -> Result<Page, StorageError> {
            unreachable!("only swept")
        }

        async fn sweep(
            &self,
            now: Timestamp,
            after: Option<&Cursor>,
            budget: usize,
        ) -> Result<Swept, StorageError> {
            self.steps.lock().expect("no panic").push(Instant::now());
            let mut keys = self.keys.lock().expect("no panic");
            let after = after.map_or(Bound::Unbounded, |Cursor(key)| {
                Bound::Excluded(u64::from_be_bytes(key.as_slice().try_into().expect("8 bytes")))
            });
            let walked: Vec<_> = keys.range((after, Bound::Unbounded)).take(budget).collect();
            let (examined, last) = (walked.len(), walked.last().map(|(key, _)| **key));
            let due = walked.into_iter().filter(|(_, purge_at)| purge_at.has_passed(now));
            let due: Vec<u64> = due.map(|(key, _)| *key).collect();
            due.iter().for_each(|key| assert!(keys.remove(key).is_some()));
            let next =
                last.filter(|_| examined == budget).map(|key| Cursor(key.to_be_bytes().into()));
            Ok(Swept { examined, removed: due.len(), next })
        }

        async fn ready(&self) -> Result<(), StorageError> {
            Ok(())
        }
    }

    /// One in a thousand: a step looks at one record.
    const SCALE: usize = 1000;

    fn swept(storage: &Arc<InOrder>) -> (shutdown::Trigger, tokio::task::JoinHandle<()>) {
        let storage: Arc<dyn Storage> = Arc::clone(storage) as _;
        let server = AuthorizationServer::builder("http://localhost".parse().expect("loopback"))
            .shared_storage(storage)
            .clock(Simulated(Instant::now()))
            .authenticator(Nobody)
            .build()
            .expect("complete");
        let (trigger, shutdown) = shutdown::channel();
        let usual = Sweeper::default();
        let sweeper = Sweeper { budget: usual.budget / SCALE, ..usual };
        (trigger, tokio::spawn(sweeper.run(server, shutdown)))
    }

    /// The key of the first record, the second, and so on, where keys begin with their time.
    fn by_time(number: u64) -> u64 {
        number
    }

    /// Where they are random. No two are the same: an odd factor and a rotation can be undone.
    fn at_random(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
    }

    /// Two thousand records a second that live for 20 minutes: a flood of what anybody can make.
    #[tokio::test(start_paused = true)]
    async fn a_busy_store_stays_small_in_any_order() {
        const RATE: u64 = 2000 / SCALE as u64;
        const LIFETIME: u64 = 20 * 60;
        const ALIVE: usize = (RATE * LIFETIME) as usize;
        for order in [by_time, at_random] {
            let storage = Arc::new(InOrder::default());
            let clock = Simulated(Instant::now());
            let (trigger, sweeping) = swept(&storage);
            // How many have expired, at most, in each lifetime from the second on.
            let mut expired = Vec::new();
            for second in 0..4 * LIFETIME {
                if second % LIFETIME == 0 {
                    expired.push(0);
                }
                let purge_at = clock.now().plus(Duration::from_secs(LIFETIME));
                let made = (second * RATE..(second + 1) * RATE).map(|n| (order(n), purge_at));
                storage.keys.lock().expect("no panic").extend(made);
                sleep(Duration::from_secs(1)).await;
                let all = storage.keys.lock().expect("no panic").len();
                let most = expired.last_mut().expect("begun");
                *most = all.saturating_sub(ALIVE).max(*most);
            }
            trigger.stop();
            sweeping.await.expect("ends");
            let steps = storage.steps.lock().expect("no panic");
            assert!(steps.windows(2).all(|two| two[1] - two[0] >= BREATH), "requests come between");
            // Nothing can have expired for so long that the first walks take all their time.
            assert!(expired.iter().all(|most| *most < ALIVE * 3 / 4), "{expired:?} of {ALIVE}");
            assert!(expired[3] < ALIVE / 5, "{expired:?} of {ALIVE}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_store_is_looked_at_gently() {
        for (millions, least) in [(1, 830), (10, 83)] {
            let storage = Arc::new(InOrder::default());
            let forever = Timestamp::from_millis(i64::MAX);
            let records = (0..millions * 1_000_000 / SCALE as u64).map(|n| (n, forever));
            storage.keys.lock().expect("no panic").extend(records);
            let (trigger, sweeping) = swept(&storage);
            // The first walk has to find out how large the store is.
            let minute = Duration::from_secs(60);
            sleep(20 * minute).await;
            storage.steps.lock().expect("no panic").clear();
            sleep(30 * minute).await;
            trigger.stop();
            sweeping.await.expect("ends");
            let steps = storage.steps.lock().expect("no panic");
            let pauses = steps.windows(2).map(|two| two[1] - two[0]).min();
            let least = Duration::from_millis(least);
            assert!(pauses.is_some_and(|pause| pause >= least), "{millions} millions: {pauses:?}");
            let walks = steps.len() * SCALE / (millions as usize * 1_000_000);
            assert!(walks >= 1, "{millions} millions: {} steps", steps.len());
        }
    }

    #[test]
    fn processes_that_share_a_store_do_not_sweep_it_at_the_same_time() {
        let alone = MemoryStorage::new().promises();
        let sweeper = Sweeper::of(Promises { shared: true, ..alone });
        let entropy = SystemEntropy::default();
        let rests: Vec<_> = (0..100).map(|_| sweeper.rest(&entropy)).collect();
        let (least, most) = (Duration::from_secs(1800), Duration::from_secs(5400));
        assert!(rests.iter().all(|rest| (least..most).contains(rest)), "{rests:?}");
        // Of a hundred some are in each quarter of the hour.
        for quarter in 0..4 {
            let from = least + Duration::from_secs(900 * quarter);
            let within = from..from + Duration::from_secs(900);
            assert!(rests.iter().any(|rest| within.contains(rest)), "{rests:?}");
        }
        assert_eq!(Sweeper::of(alone).rest(&entropy), Duration::from_secs(60));
    }
}
