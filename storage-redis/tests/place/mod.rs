//! Where the stores of the suites live.

use std::error::Error;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use grantor_conformance::redis::{Cluster, Fsync, Sentinels, Server, unique_prefix};
use grantor_conformance::storage::{Backend, Processes};
use grantor_redis::RedisStorage;

type Opened = Result<RedisStorage, Box<dyn Error + Send + Sync>>;

/// Nobody is to fail over only because this machine is busy, and no call to be given up.
const UNHURRIED: Duration = Duration::from_secs(30);
const OPTIONS: &str = "deadline_ms=30000&durability";

async fn open(address: &str) -> Opened {
    Ok(RedisStorage::open(address).await?)
}

/// One server, which nothing else uses.
pub(crate) struct Single(Server);

impl Backend for Single {
    type Store = RedisStorage;
    const PROCESSES: Processes = Processes::Shared;

    async fn create() -> Self {
        Self(Server::options().append_only(Fsync::EverySecond).start())
    }

    fn address(&self) -> String {
        format!("{}?{OPTIONS}=local", self.0.url())
    }

    async fn open(address: &str) -> Opened {
        open(address).await
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.directory().to_owned()]
    }
}

/// Behind Sentinels: keys of its own on servers that all places of this process share. Every answer
/// waits for a replica.
pub(crate) struct Watched(String);

impl Backend for Watched {
    type Store = RedisStorage;
    const PROCESSES: Processes = Processes::Shared;

    async fn create() -> Self {
        static SENTINELS: OnceLock<Sentinels> = OnceLock::new();
        let sentinels = SENTINELS.get_or_init(|| {
            let servers = Server::options().append_only(Fsync::EverySecond);
            Sentinels::options().replicas(1).servers(servers).down_after(UNHURRIED).start()
        });
        let (url, prefix) = (sentinels.url(), unique_prefix());
        Self(format!("{url}?{OPTIONS}=replicas(1)&prefix={prefix}"))
    }

    fn address(&self) -> String {
        self.0.clone()
    }

    async fn open(address: &str) -> Opened {
        open(address).await
    }

    /// They hold what other tests wrote as well; [`Single`] is searched.
    fn files(&self) -> Vec<PathBuf> {
        vec![]
    }
}

/// A Cluster of three primaries and three replicas, shared and waited for in the same way.
pub(crate) struct Spread(String);

impl Backend for Spread {
    type Store = RedisStorage;
    const PROCESSES: Processes = Processes::Shared;

    async fn create() -> Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        let cluster = CLUSTER.get_or_init(|| {
            let servers = Server::options().append_only(Fsync::EverySecond);
            Cluster::options().servers(servers).node_timeout(UNHURRIED).start()
        });
        let (url, prefix) = (cluster.url(), unique_prefix());
        Self(format!("{url}?{OPTIONS}=replicas(1)&prefix={prefix}"))
    }

    fn address(&self) -> String {
        self.0.clone()
    }

    async fn open(address: &str) -> Opened {
        open(address).await
    }

    /// As for [`Watched`].
    fn files(&self) -> Vec<PathBuf> {
        vec![]
    }
}
