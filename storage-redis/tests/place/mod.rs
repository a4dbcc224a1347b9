//! Where the stores of the suites live.

use std::error::Error;
use std::path::PathBuf;

use grantor_conformance::redis::{Fsync, Server};
use grantor_conformance::storage::{Backend, Processes};
use grantor_redis::RedisStorage;

type Opened = Result<RedisStorage, Box<dyn Error + Send + Sync>>;

/// One server, which nothing else uses.
pub(crate) struct Single(Server);

impl Backend for Single {
    type Store = RedisStorage;
    const PROCESSES: Processes = Processes::Shared;

    async fn create() -> Self {
        Self(Server::options().append_only(Fsync::EverySecond).start())
    }

    fn address(&self) -> String {
        self.0.url()
    }

    async fn open(address: &str) -> Opened {
        Ok(RedisStorage::open(address).await?)
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.directory().to_owned()]
    }
}
