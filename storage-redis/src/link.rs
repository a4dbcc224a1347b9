//! One connection that is kept up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::connect::{Connected, Target};
use crate::driver::Places;
use crate::error::Failure;

/// How often a connection that nobody complains about is looked at.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How long after a failed attempt the next one comes: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// A connection that a task of its own makes, watches and makes again.
pub(crate) struct Link {
    name: String,
    state: watch::Receiver<State>,
    trouble: Arc<Trouble>,
    keeper: JoinHandle<()>,
}

#[derive(Clone)]
enum State {
    Up(Arc<Up>),
    Down { since: Instant, why: Arc<str> },
}

/// A connection, as it is used.
#[derive(Clone)]
pub(crate) struct Up {
    pub(crate) connected: Connected,
    generation: u64,
}

/// What users of a connection say about it.
#[derive(Default)]
struct Trouble {
    /// The youngest connection that somebody had trouble with.
    generation: AtomicU64,
    told: Notify,
}

impl Link {
    /// Begins to connect. `name` is what errors call the other end before it is known; `held_up` is how
    /// long what is sent on the connection may hold up what comes behind it.
    pub(crate) fn new(
        name: String,
        target: Target,
        held_up: Duration,
        places: Arc<Places>,
    ) -> Self {
        let why = Arc::from("no connection was made yet");
        let (sender, state) = watch::channel(State::Down { since: Instant::now(), why });
        let trouble = Arc::new(Trouble::default());
        let keeper = tokio::spawn(keep(target, held_up, places, sender, Arc::clone(&trouble)));
        Self { name, state, trouble, keeper }
    }

    /// The connection; waits for one until `deadline`, but not if there was none for long.
    pub(crate) async fn get(&self, deadline: Instant) -> Result<Arc<Up>, Failure> {
        if let State::Up(up) = &*self.state.borrow() {
            return Ok(Arc::clone(up));
        }
        // In a box, because every call of the store has room for what it may wait for.
        Box::pin(self.wait(deadline)).await
    }

    async fn wait(&self, deadline: Instant) -> Result<Arc<Up>, Failure> {
        let mut state = self.state.clone();
        let patience = deadline.saturating_duration_since(Instant::now());
        loop {
            let (since, why) = match &*state.borrow_and_update() {
                State::Up(up) => return Ok(Arc::clone(up)),
                State::Down { since, why } => (*since, why.to_string()),
            };
            let lasting = since.elapsed() > patience;
            let away = Failure::Away { node: self.name.clone(), why, lasting };
            if lasting {
                return Err(away);
            }
            match tokio::time::timeout_at(deadline, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(away),
            }
        }
    }

    /// Somebody had no answer on this connection: it is looked at now.
    pub(crate) fn suspect(&self, up: &Up) {
        self.trouble.generation.fetch_max(up.generation, Ordering::Relaxed);
        self.trouble.told.notify_one();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep(
    target: Target,
    held_up: Duration,
    places: Arc<Places>,
    state: watch::Sender<State>,
    trouble: Arc<Trouble>,
) {
    let mut generation = 0;
    let mut since = Instant::now();
    let mut backoff = BACKOFF.0;
    loop {
        let why = match target.connect(&places).await {
            Ok(connected) => {
                generation += 1;
                tracing::debug!(node = connected.node, "connected to Redis");
                let up = Up { connected, generation };
                state.send_replace(State::Up(Arc::new(up.clone())));
                let why = watch_over(&target, held_up, up.clone(), &trouble, &state).await;
                tracing::warn!(node = up.connected.node, %why, "the connection to Redis is given up");
                since = Instant::now();
                backoff = BACKOFF.0;
                why
            }
            Err(why) => {
                tracing::debug!(%why, "no connection to Redis");
                why
            }
        };
        state.send_replace(State::Down { since, why: why.into() });
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// Returns when the connection is no good any more, with the reason.
async fn watch_over(
    target: &Target,
    held_up: Duration,
    mut up: Up,
    trouble: &Trouble,
    state: &watch::Sender<State>,
) -> String {
    loop {
        let told = async {
            loop {
                trouble.told.notified().await;
                if trouble.generation.load(Ordering::Relaxed) == up.generation {
                    return;
                }
            }
        };
        // Whoever complains is not believed unseen: what was slow once may be well.
        let _ = tokio::time::timeout(PROBE_EVERY, told).await;
        match target.probe(&up.connected, held_up).await {
            // Its clock may have been set meanwhile.
            Ok(clock) => {
                up.connected.clock = clock;
                state.send_replace(State::Up(Arc::new(up.clone())));
            }
            Err(why) => return why,
        }
    }
}
