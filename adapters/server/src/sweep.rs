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
        Self {
            step: Duration::from_secs(1),
            rest: Duration::from_secs(60),
            budget: 1000,
        }
    }
}

impl Sweeper {
    /// Sweeps until the shutdown. A store that is away is tried again; nothing depends on it but
    /// the size of the store.
    pub async fn run(self, server: AuthorizationServer, mut shutdown: Shutdown) {
        let mut cursor: Option<Cursor> = None;
        loop {
            let pause = match cursor {
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
                    cursor = swept.next;
                }
                Err(error) => tracing::warn!(%error, "the store could not be swept"),
            }
        }
    }
}
