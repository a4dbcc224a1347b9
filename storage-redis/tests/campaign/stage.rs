//! The servers of a campaign, and the processes that use them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grantor::storage::Storage;
use grantor_conformance::redis::{Cluster, ClusterOptions, Fsync, Network, Sentinels, Server};
use grantor_conformance::storage::crash::Victim;
use grantor_redis::{Confirmation, RedisStorage};
use tokio::runtime::Runtime;

/// How the servers stand.
#[derive(Debug)]
pub(crate) enum Stage {
    /// One, with an append-only file.
    Single(Box<Server>),
    /// A primary and one replica, so that `replicas(1)` waits for the one that takes over.
    Sentinel(Sentinels),
    /// Three primaries with one replica each.
    Cluster(Cluster),
    /// The same, each node at a place of its own in a network that falls apart.
    Parted(Cluster, Network),
}

/// Sooner than in production, so that there can be many rounds.
const DEAD_AFTER: Duration = Duration::from_millis(1500);

impl Stage {
    pub(crate) fn single() -> Option<Self> {
        Some(Self::Single(Box::new(Server::options().append_only(Fsync::Always).start())))
    }

    pub(crate) fn sentinel() -> Option<Self> {
        let servers = Server::options().append_only(Fsync::Always);
        let options = Sentinels::options().replicas(1).servers(servers);
        Some(Self::Sentinel(options.down_after(DEAD_AFTER).start()))
    }

    fn options() -> ClusterOptions {
        let servers = Server::options().append_only(Fsync::Always);
        Cluster::options().servers(servers).node_timeout(DEAD_AFTER)
    }

    pub(crate) fn cluster() -> Option<Self> {
        Some(Self::Cluster(Self::options().start()))
    }

    /// `None` where this machine has no such networks.
    pub(crate) fn parted() -> Option<Self> {
        match Network::new() {
            Ok(network) => {
                let cluster = Self::options().in_network(&network).start();
                Some(Self::Parted(cluster, network))
            }
            Err(why) => {
                println!("==== THE PARTITIONS WERE NOT MADE: {why} ====");
                None
            }
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Single(_) => "one server",
            Self::Sentinel(_) => "Sentinel",
            Self::Cluster(_) => "Cluster",
            Self::Parted(..) => "Cluster, network parted",
        }
    }

    pub(crate) fn address(&self, confirmation: Confirmation) -> String {
        let url = match self {
            Self::Single(server) => server.url(),
            Self::Sentinel(sentinels) => sentinels.url(),
            Self::Cluster(cluster) | Self::Parted(cluster, _) => cluster.url(),
        };
        format!("{url}?durability={confirmation}")
    }

    pub(crate) fn servers(&self) -> Vec<&Server> {
        match self {
            Self::Single(server) => vec![server],
            Self::Sentinel(sentinels) => sentinels.servers().iter().collect(),
            Self::Cluster(cluster) | Self::Parted(cluster, _) => cluster.nodes().iter().collect(),
        }
    }

    /// Who are the primaries, by their ports.
    pub(crate) fn primaries(&self) -> BTreeSet<u16> {
        match self {
            Self::Single(server) => BTreeSet::from([server.port()]),
            Self::Sentinel(sentinels) => BTreeSet::from([sentinels.primary().port()]),
            Self::Cluster(cluster) | Self::Parted(cluster, _) => {
                cluster.primaries().iter().map(|it| it.port()).collect()
            }
        }
    }

    /// Waits until every server is there and every replica has all that was answered before this call.
    pub(crate) fn wait_healthy(&self) {
        match self {
            Self::Single(_) => {}
            Self::Sentinel(sentinels) => sentinels.wait_healthy(),
            Self::Cluster(cluster) | Self::Parted(cluster, _) => cluster.wait_healthy(),
        }
    }
}

/// A process with the store open, and since when.
struct Process {
    victim: Victim,
    since: Instant,
}

/// Several processes with the store open, which are killed and started again.
pub(crate) struct Processes {
    address: String,
    all: Vec<Process>,
}

/// They end by themselves after two minutes.
const OLD: Duration = Duration::from_secs(70);

impl Processes {
    pub(crate) async fn start(address: &str, count: usize) -> Self {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(Self::one(address).await);
        }
        Self { address: address.to_owned(), all }
    }

    async fn one(address: &str) -> Process {
        Process { victim: Victim::start(address).await, since: Instant::now() }
    }

    pub(crate) fn stores(&self) -> Vec<Arc<dyn Storage>> {
        self.all.iter().map(|it| it.victim.store() as Arc<dyn Storage>).collect()
    }

    /// Kills those that are old, in the middle of what they do, and puts others in their place.
    pub(crate) async fn renew(&mut self, mut replace: impl FnMut(usize, Arc<dyn Storage>)) {
        for (n, process) in self.all.iter_mut().enumerate() {
            if process.since.elapsed() > OLD {
                let new = Self::one(&self.address).await;
                replace(n, new.victim.store());
                std::mem::replace(process, new).victim.kill();
            }
        }
    }
}

/// Opens the store in this process, for looks.
pub(crate) fn open(runtime: &Runtime, address: &str) -> Arc<RedisStorage> {
    let opened = runtime.block_on(RedisStorage::open(address));
    Arc::new(opened.unwrap_or_else(|error| panic!("the store does not open at {address}: {error}")))
}
