//! What a store is told.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::RedisStorage;
use crate::error::OpenError;
use crate::url::Address;

/// What a commit is executed for after it was begun is longer; see `COMMIT_LIVES`.
const LONGEST_CALL: Duration = Duration::from_secs(60);
const LONGEST_OPEN: Duration = Duration::from_secs(86_400);

const fn at_most(most: Duration, time: Duration) -> Duration {
    if time.as_nanos() > most.as_nanos() { most } else { time }
}

/// How to reach a Redis, and what is asked of it.
///
/// ```no_run
/// # async fn open() -> Result<(), grantor_redis::OpenError> {
/// use grantor_redis::{Confirmation, RedisConfig};
///
/// let storage = RedisConfig::new("rediss://grantor:secret@redis.example.com")?
///     .confirmation(Confirmation::Replicas(1))
///     .open()
///     .await?;
/// println!("{}", storage.report());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct RedisConfig {
    pub(crate) address: Address,
    pub(crate) prefix: String,
    pub(crate) confirmation: Confirmation,
    deadline: Option<Duration>,
    replica_deadline: Option<Duration>,
    pub(crate) open_deadline: Duration,
    pub(crate) max_waiting: usize,
}

impl RedisConfig {
    /// The Redis at this address; see [`Topology`](crate::Topology) for the forms. What the address
    /// says after a `?` is as if it was said by the methods of this type.
    pub fn new(url: &str) -> Result<Self, OpenError> {
        let address: Address = url.parse()?;
        let options = address.options.clone();
        let mut config = Self {
            address,
            prefix: "grantor:".to_owned(),
            confirmation: Confirmation::Local,
            deadline: None,
            replica_deadline: None,
            open_deadline: Duration::from_secs(10),
            max_waiting: 4096,
        };
        if let Some(prefix) = options.prefix {
            config.prefix = prefix;
        }
        if let Some(confirmation) = options.confirmation {
            config.confirmation = confirmation;
        }
        if let Some(millis) = options.deadline_ms {
            config.deadline = Some(Duration::from_millis(millis));
        }
        Ok(config)
    }

    /// Where it is, as it can be shown to anybody: without login and options.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What the keys begin with, for a Redis that is used for other things too. Default: `grantor:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Who has to have a change before it is answered. Default: [`Confirmation::Local`].
    pub const fn confirmation(mut self, confirmation: Confirmation) -> Self {
        self.confirmation = confirmation;
        self
    }

    /// How long a call may take, with all that is tried again in it: after that it fails as
    /// unavailable. Default: 2 s, with [`Confirmation::Fsynced`] 12 s. A single command is given up after
    /// half of it. At most a minute.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(at_most(LONGEST_CALL, deadline));
        self
    }

    /// How long replicas may take to confirm. Default: a quarter of [`deadline`](Self::deadline); with
    /// [`Confirmation::Fsynced`] that is what `appendfsync everysec` on both sides can take.
    pub const fn replica_deadline(mut self, deadline: Duration) -> Self {
        self.replica_deadline = Some(at_most(LONGEST_CALL, deadline));
        self
    }

    /// How long [`open`](Self::open) tries to reach Redis. Default: 10 s; at most a day.
    pub const fn open_deadline(mut self, deadline: Duration) -> Self {
        self.open_deadline = at_most(LONGEST_OPEN, deadline);
        self
    }

    /// How many commands may wait for one server at a time; more are refused as unavailable.
    /// Default: 4096.
    pub const fn max_waiting(mut self, commands: usize) -> Self {
        self.max_waiting = if commands == 0 { 1 } else { commands };
        self
    }

    pub(crate) fn call_deadline(&self) -> Duration {
        self.deadline.unwrap_or(match self.confirmation {
            Confirmation::Local | Confirmation::Replicas(_) => Duration::from_secs(2),
            Confirmation::Fsynced(_) => Duration::from_secs(12),
        })
    }

    pub(crate) fn confirmation_deadline(&self) -> Duration {
        self.replica_deadline.unwrap_or(self.call_deadline() / 4)
    }

    /// Connects, and looks whether this Redis can keep what it is asked to. Needs a Tokio runtime.
    pub async fn open(self) -> Result<RedisStorage, OpenError> {
        RedisStorage::open_with(self).await
    }
}

/// Who has to have a change before it is answered: in the configuration, `durability`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirmation {
    /// The primary: `local`. What it alone has is lost when it fails over to a replica, and what is
    /// not yet in its append-only file when its machine stops.
    #[default]
    Local,
    /// So many replicas have it in memory: `replicas(1)`. `WAIT` after every change and every look,
    /// so that nothing is answered that a failover to one of them undoes.
    Replicas(u32),
    /// The primary and so many replicas have it on disk: `fsynced(1)`. `WAITAOF`, which Redis has
    /// since 7.2. The wait is for the next `fsync` of each: with `appendfsync everysec` a second or two
    /// for every request, so it goes with `appendfsync always`.
    Fsynced(u32),
}

impl Confirmation {
    pub(crate) const fn replicas(self) -> u32 {
        match self {
            Self::Local => 0,
            Self::Replicas(replicas) | Self::Fsynced(replicas) => replicas,
        }
    }
}

impl FromStr for Confirmation {
    type Err = InvalidConfirmation;

    fn from_str(text: &str) -> Result<Self, InvalidConfirmation> {
        let count = |inner: &str| match inner.strip_suffix(')').and_then(|n| n.parse().ok()) {
            Some(count) if count > 0 && count < 100 => Ok(count),
            _ => Err(InvalidConfirmation),
        };
        match text.split_once('(') {
            None if text == "local" => Ok(Self::Local),
            Some(("replicas", inner)) => count(inner).map(Self::Replicas),
            Some(("fsynced", inner)) => count(inner).map(Self::Fsynced),
            _ => Err(InvalidConfirmation),
        }
    }
}

impl fmt::Display for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Replicas(count) => write!(f, "replicas({count})"),
            Self::Fsynced(count) => write!(f, "fsynced({count})"),
        }
    }
}

/// Not a [`Confirmation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write local, replicas(N) or fsynced(N)")]
pub struct InvalidConfirmation;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_is_read_as_it_is_written() {
        for text in ["local", "replicas(1)", "replicas(2)", "fsynced(1)"] {
            assert_eq!(text.parse::<Confirmation>().map(|c| c.to_string()).as_deref(), Ok(text));
        }
        for text in
            ["", "replicas", "replicas()", "replicas(0)", "replicas(1", "replicas(-1)", "all"]
        {
            assert_eq!(text.parse::<Confirmation>(), Err(InvalidConfirmation), "{text}");
        }
    }
}
