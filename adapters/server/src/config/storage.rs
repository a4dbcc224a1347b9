//! Where the records are kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use grantor::storage::{Durability, Promises};
use grantor_redis::{Confirmation, OpenError, RedisConfig};

/// Where the records are kept: `sled:DIR`, `redis://HOST` and the other addresses of
/// [`grantor_redis::Topology`], or `memory:`.
///
/// What it shows of itself holds no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageSpec {
    /// In a directory of this machine, power-safe.
    Sled(PathBuf),
    /// In Redis, for as many processes as there are.
    Redis(Box<RedisConfig>),
    /// In this process: gone when it ends.
    Memory,
}

impl StorageSpec {
    /// The most that a store of this kind can promise. What a Redis does promise is known when it
    /// was looked at.
    pub(super) const fn promises(&self) -> Promises {
        Promises {
            durability: match self {
                Self::Sled(_) | Self::Redis(_) => Durability::Power,
                Self::Memory => Durability::None,
            },
            linearizable: true,
            evicts: false,
            shared: matches!(self, Self::Redis(_)),
        }
    }

    /// Who has to have a change before it is answered. `false`: nobody else can.
    pub(super) fn confirm(&mut self, confirmation: Confirmation) -> bool {
        match self {
            Self::Redis(config) => {
                **config = (**config).clone().confirmation(confirmation);
                true
            }
            Self::Sled(_) | Self::Memory => false,
        }
    }
}

impl FromStr for StorageSpec {
    type Err = InvalidStorageSpec;

    fn from_str(text: &str) -> Result<Self, InvalidStorageSpec> {
        match text.split_once(':') {
            Some(("sled", directory)) if !directory.is_empty() => {
                Ok(Self::Sled(PathBuf::from(directory)))
            }
            Some(("memory", "")) => Ok(Self::Memory),
            Some((scheme, rest)) if scheme.starts_with("redis") && rest.starts_with("//") => {
                match RedisConfig::new(text) {
                    Ok(config) => Ok(Self::Redis(Box::new(config))),
                    Err(error) => Err(InvalidStorageSpec::Redis(error)),
                }
            }
            _ => Err(InvalidStorageSpec::Form),
        }
    }
}

impl fmt::Display for StorageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sled(directory) => write!(f, "sled:{}", directory.display()),
            Self::Redis(config) => f.write_str(&config.address()),
            Self::Memory => f.write_str("memory:"),
        }
    }
}

/// Not a [`StorageSpec`]. It says nothing of the text, in which there may be a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidStorageSpec {
    /// None of the forms.
    #[error(
        "write sled:DIR for a directory that survives a restart, redis://HOST for a Redis that \
         several servers share, or memory: for what a restart forgets"
    )]
    Form,
    /// Not the address of a Redis.
    #[error(transparent)]
    Redis(OpenError),
}
