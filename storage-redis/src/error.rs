//! Why something did not work.

use std::time::Duration;

use grantor::storage::StorageError;

/// Why the store did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is not one.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The prefix of the keys has other characters than `A-Z a-z 0-9 : . _ -`, or more than 32.
    #[error("the prefix of the keys may have at most 32 characters out of A-Z a-z 0-9 : . _ -")]
    Prefix,
    /// A file of the TLS configuration cannot be read.
    #[error("cannot read {path}")]
    TlsFile {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The driver does not take the configuration.
    #[error("the Redis driver refuses the configuration: {0}")]
    Driver(#[source] redis::RedisError),
    /// Nobody answers.
    #[error("Redis did not answer within {}: {why}", seconds(*.patience))]
    Away {
        /// How long was waited.
        patience: Duration,
        /// The last that was heard.
        why: String,
    },
    /// Redis is not configured for what it is asked to keep. Each line says what, and what to do.
    #[error("Redis at {node} cannot keep what it is asked to: {problem}")]
    Unfit {
        /// Which server.
        node: String,
        /// What is wrong, and what to do about it.
        problem: String,
    },
}

fn seconds(patience: Duration) -> String {
    format!("{} s", patience.as_secs())
}

/// Not the address of a Redis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the address of a Redis ({0}); write redis://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/NAME or redis+cluster://HOST:PORT,HOST:PORT, or rediss for TLS"
)]
pub struct InvalidUrl(pub(crate) String);

/// Why a command has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection; `lasting`: for longer than a call takes.
    #[error("no connection to Redis at {node}: {why}")]
    Away { node: String, why: String, lasting: bool },
    /// No answer in time. The command may have been executed.
    #[error("Redis at {node} did not answer in time")]
    Timeout { node: String },
    /// Too much is under way.
    #[error("too many commands are waiting for Redis at {node}")]
    Busy { node: String },
    /// The connection was lost. The command may have been executed.
    #[error("the connection to Redis at {node} was lost: {why}")]
    Lost { node: String, why: String },
    /// Executed, and not on as many replicas as it has to be.
    #[error("{got} of {wanted} replicas of Redis at {node} confirmed in time")]
    TooFewReplicas { node: String, got: i64, wanted: u32 },
    /// Nobody serves this part of the Cluster.
    #[error("no node of the Redis Cluster serves slot {0}")]
    NoNode(u16),
}

impl Failure {
    /// Whether the same again may do better soon: on another connection, or another node.
    pub(crate) const fn is_passing(&self) -> bool {
        match self {
            // Who waits in vain is in the way of those who come when Redis is back.
            Self::Away { lasting, .. } => !*lasting,
            Self::Timeout { .. } | Self::Lost { .. } | Self::NoNode(_) => true,
            Self::Busy { .. } | Self::TooFewReplicas { .. } => false,
        }
    }

    /// Whether the command was sent, and perhaps executed, or will be.
    pub(crate) const fn may_be_executed(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Lost { .. } | Self::TooFewReplicas { .. } => true,
            Self::Away { .. } | Self::Busy { .. } | Self::NoNode(_) => false,
        }
    }
}

impl From<Failure> for StorageError {
    fn from(failure: Failure) -> Self {
        Self::unavailable(failure)
    }
}
