//! Removing what is past its time, in the background.

use std::time::Duration;

use grantor::AuthorizationServer;
use grantor::storage::Cursor;

use crate::shutdown::Shutdown;

/// How the store is swept: a little at a time, so that no request waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Sweeper {
    /// The time between two steps of a walk through the store.
    pub step: Duration,
    /// The time between the end of a walk and the next one.
    pub rest: Duration,
    /// How many records one step looks at.
    pub budget: usize,
}

impl Default for Sweeper {
    /// A thousand records a second, and a minute of rest: a store of a million is walked in a
    /// quarter of an hour, while records outlive their meaning by an hour anyway.
    fn default() -> Self {
        Self { step: Duration::from_secs(1), rest: Duration::from_secs(60), budget: 1000 }
    }
}

impl Sweeper {
    /// Sweeps until the shutdown. A store that is away is tried again; nothing depends on it but
    /// the size of the store.
    pub async fn run(self, server: AuthorizationServer, mut shutdown: Shutdown) {
        let mut cursor: Option<Cursor> = None;
        let mut removed = 0;
        loop {
            let pause = match cursor {
                // Where much is removed much was made: the store must not grow faster than it is swept.
                Some(_) if removed > self.budget / 10 => Duration::ZERO,
                Some(_) => self.step,
                None => self.rest,
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
        let sweeper =
            Sweeper { step: Duration::from_secs(1), rest: Duration::from_secs(60), budget: 10 };
        let (trigger, shutdown) = shutdown::channel();
        let sweeping = tokio::spawn(sweeper.run(server, shutdown));
        // The clock is the test's: this takes no time.
        tokio::time::sleep(Duration::from_millis(60_500)).await;
        assert_eq!(count(&*storage).await, 99, "one step");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(count(&*storage).await, 95, "one walk");
        trigger.stop();
        sweeping.await.expect("ends");
    }
}
