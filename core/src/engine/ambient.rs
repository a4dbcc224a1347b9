//! The outside world, as arguments: the clock, the random source, the audit log.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::protocol::Event;
use crate::trace::Trace;

/// Where the engine reads the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The operating system's clock. Needs the feature `system`.
#[cfg(feature = "system")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(feature = "system")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
        let now = std::time::SystemTime::now();
        let millis =
            |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        })
    }
}

/// Where the engine gets its random seeds.
pub trait EntropySource: fmt::Debug + Send + Sync + 'static {
    /// 256 fresh random bits; `None` when there are none to be had, which refuses the request.
    fn seed(&self) -> Option<[u8; 32]>;
}

impl<E: EntropySource + ?Sized> EntropySource for Arc<E> {
    fn seed(&self) -> Option<[u8; 32]> {
        (**self).seed()
    }
}

/// The operating system's random source. Needs the feature `system`.
#[cfg(feature = "system")]
#[derive(Debug)]
pub struct SystemEntropy(ring::rand::SystemRandom);

#[cfg(feature = "system")]
impl Default for SystemEntropy {
    fn default() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where randomness comes from")]
        Self(ring::rand::SystemRandom::new())
    }
}

#[cfg(feature = "system")]
impl EntropySource for SystemEntropy {
    fn seed(&self) -> Option<[u8; 32]> {
        use ring::rand::SecureRandom as _;

        let mut seed = [0; 32];
        self.0.fill(&mut seed).ok()?;
        Some(seed)
    }
}

/// The clock that is used when no other is named.
pub(super) fn default_clock() -> Option<Arc<dyn Clock>> {
    #[cfg(feature = "system")]
    return Some(Arc::new(SystemClock));
    #[cfg(not(feature = "system"))]
    None
}

/// The random source that is used when no other is named.
pub(super) fn default_entropy() -> Option<Arc<dyn EntropySource>> {
    #[cfg(feature = "system")]
    return Some(Arc::new(SystemEntropy::default()));
    #[cfg(not(feature = "system"))]
    None
}

/// Where audit events go.
///
/// An event is emitted once what it tells is durable, and before it is answered. A sink that is
/// slow slows the request; one that can fail keeps that to itself.
#[async_trait]
pub trait AuditSink: fmt::Debug + Send + Sync + 'static {
    /// Takes an event.
    async fn record(&self, at: Timestamp, event: &Event);
}

/// Where recorded decisions go; see [`trace`](crate::trace).
///
/// A trace is recorded once its decision is durable, and before it is answered. A sink that is slow
/// slows the request; one that can fail keeps that to itself.
#[async_trait]
pub trait TraceSink: fmt::Debug + Send + Sync + 'static {
    /// Whether a decision is to be recorded. Recording one costs as much as deciding it, and some
    /// copies.
    fn wants(&self, refused: bool) -> bool;

    /// Takes a trace.
    async fn record(&self, trace: &Trace);
}
