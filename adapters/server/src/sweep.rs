//! Removing what is past its time, in the background.

use std::time::Duration;

use grantor::AuthorizationServer;
use grantor::engine::{EntropySource as _, SystemEntropy};
use grantor::storage::{Cursor, Promises};

use crate::shutdown::Shutdown;

/// How the store is swept: a little at a time, so that no request waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Sweeper {
    /// The time between two steps of a walk through the store.
    pub step: Duration,
    /// The time between the end of a walk and the next one, and before the first.
    pub rest: Duration,
    /// Up to so much is added to each rest, at random: where several processes sweep one store, they
    /// do not all do so at the same time.
    pub jitter: Duration,
    /// How many records one step looks at.
    pub budget: usize,
}

impl Default for Sweeper {
    /// A thousand records a second, and a minute of rest: a store of a million is walked in a
    /// quarter of an hour, while records outlive their meaning by an hour anyway.
    fn default() -> Self {
        Self {
            step: Duration::from_secs(1),
            rest: Duration::from_secs(60),
            jitter: Duration::ZERO,
            budget: 1000,
        }
    }
}

impl Sweeper {
    /// How a store that promises this is swept.
    ///
    /// A store that several processes share is swept by each of them, since nobody knows of the
    /// others, and it expires records by itself: what is left to do is to take away the index entries
    /// of records that are gone, a hundred bytes each. So each process rests for an hour on average,
    /// between half an hour and one and a half. Ten processes on a million records then look at less
    /// than three thousand of them in a second, all together, which is a few percent of what Redis can
    /// do; and an entry that leads nowhere stays for about a tenth of an hour.
    pub fn of(promises: Promises) -> Self {
        let hour = Duration::from_secs(3600);
        match promises.shared {
            true => Self { rest: hour / 2, jitter: hour, ..Self::default() },
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
        let mut removed = 0;
        loop {
            let pause = match cursor {
                // Where much is removed much was made: the store must not grow faster than it is swept.
                Some(_) if removed > self.budget / 10 => Duration::ZERO,
                Some(_) => self.step,
                None => self.rest(&entropy),
            };
            tokio::select! {
                () = shutdown.requested() => return,
                () = tokio::time::sleep(pause) => {}
            }
            match server.sweep(cursor.as_ref(), self.budget).await {
                Ok(swept) => {
                    tracing::debug!(examined = swept.examined, removed = swept.removed, "swept");
                    removed = swept.removed;
                    cursor = swept.next;
                }
                Err(error) => tracing::warn!(%error, "the store could not be swept"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use grantor::model::{Account, Subject, Timestamp};
    use grantor::storage::{
        Commit, CommitId, CommitOutcome, Key, Kind, Listing, MemoryStorage, NewRecord, Storage,
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
