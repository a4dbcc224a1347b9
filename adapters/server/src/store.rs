//! Opening the store.

use std::path::PathBuf;
use std::sync::Arc;

use grantor::storage::{MemoryStorage, Storage};
use grantor_redis::RedisStorage;
use grantor_sled::SledStorage;
use tokio::task::JoinError;

use crate::config::StorageSpec;

/// An open store.
#[derive(Clone, Debug)]
pub struct Store {
    /// The store.
    pub storage: Arc<dyn Storage>,
    /// The same, if it is a Redis.
    pub redis: Option<Arc<RedisStorage>>,
}

/// Why the store did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory.
    #[error(transparent)]
    Sled(#[from] grantor_sled::OpenError),
    /// The Redis.
    #[error("cannot use {address}: {source}")]
    Redis {
        /// Where it is.
        address: String,
        /// What is wrong with it.
        // Not a source: its own message says it already, and its sources would say it twice.
        source: Box<grantor_redis::OpenError>,
    },
    /// A thread did not run to its end.
    #[error("the store could not be opened")]
    Thread(#[from] JoinError),
}

impl Store {
    /// Opens the store. A directory that is not there is made.
    pub async fn open(spec: &StorageSpec) -> Result<Self, OpenError> {
        let storage: Arc<dyn Storage> = match spec {
            StorageSpec::Memory => Arc::new(MemoryStorage::new()),
            StorageSpec::Sled(directory) => {
                let directory: PathBuf = directory.clone();
                Arc::new(tokio::task::spawn_blocking(move || SledStorage::open(directory)).await??)
            }
            StorageSpec::Redis(config) => {
                let opened = config.as_ref().clone().open().await;
                let redis = Arc::new(opened.map_err(|source| OpenError::Redis {
                    address: config.address(),
                    source: Box::new(source),
                })?);
                return Ok(Self { storage: redis.clone(), redis: Some(redis) });
            }
        };
        Ok(Self { storage, redis: None })
    }
}
