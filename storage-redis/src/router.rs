//! Which node has a key.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::RedisConfig;
use crate::connect::{Credentials, Target, connection};
use crate::error::{Failure, OpenError};
use crate::node::{Node, Sending};
use crate::sentinel::Sentinels;
use crate::url::{Address, Topology};

/// The nodes of a store, and the way from a key to its node.
pub(crate) enum Router {
    /// One primary has everything.
    One(Arc<Node>),
    Cluster(Arc<Cluster>, #[expect(dead_code, reason = "dropped with the router")] Refresher),
}

const SLOTS: u16 = 16_384;
/// How often the map is read again though nobody complains.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// How soon after a reading the next one may come.
const REFRESH_PAUSE: Duration = Duration::from_millis(50);
const NODE_PATIENCE: Duration = Duration::from_millis(500);

impl Router {
    /// Begins to connect.
    pub(crate) fn start(config: &RedisConfig) -> Result<Self, OpenError> {
        let address = &config.address;
        let credentials = Arc::new(Credentials::load(address)?);
        let sending = Sending {
            confirmation: config.confirmation,
            replica_deadline: config.confirmation_deadline(),
            max_waiting: config.max_waiting,
        };
        let one = |target: &dyn Fn() -> RedisResult<Target>| {
            let node = Node::new(address.to_string(), &sending, target);
            Ok(Self::One(Arc::new(node.map_err(OpenError::Driver)?)))
        };
        match (address.topology, address.hosts.first()) {
            (Topology::Single, Some((host, port))) => {
                one(&|| credentials.client(host, *port).map(Target::Server))
            }
            (Topology::Single | Topology::Sentinel, _) => one(&|| {
                Sentinels::new(&credentials, &address.hosts, &address.service).map(Target::Sentinel)
            }),
            (Topology::Cluster, _) => {
                let cluster = Arc::new(Cluster {
                    map: RwLock::default(),
                    complaint: Notify::new(),
                    address: address.clone(),
                    credentials,
                    sending,
                });
                let task = tokio::spawn(Arc::clone(&cluster).keep());
                Ok(Self::Cluster(cluster, Refresher(task)))
            }
        }
    }

    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(..))
    }

    /// The node that a key is on, as far as is known.
    pub(crate) fn node(&self, key: &[u8]) -> Result<Arc<Node>, Failure> {
        match self {
            Self::One(node) => Ok(Arc::clone(node)),
            Self::Cluster(cluster, _) => {
                let slot = slot_of(key);
                let found = cluster.map().node(slot).map(Arc::clone);
                found.ok_or_else(|| {
                    cluster.complaint.notify_one();
                    Failure::NoNode(slot)
                })
            }
        }
    }

    /// The node at this address, to which another one has referred.
    pub(crate) fn at(&self, address: &str) -> Option<Arc<Node>> {
        match self {
            Self::One(_) => None,
            Self::Cluster(cluster, _) => cluster.at(address),
        }
    }

    /// A slot has moved to another node for good.
    pub(crate) fn moved(&self, key: &[u8], address: &str) {
        if let Self::Cluster(cluster, _) = self {
            if let Some(node) = cluster.at(address) {
                cluster.change(|map| {
                    map.assign(slot_of(key), &node);
                    map.settle();
                });
            }
            cluster.complaint.notify_one();
        }
    }

    /// A node did not do what was expected of it.
    pub(crate) fn complain(&self) {
        if let Self::Cluster(cluster, _) = self {
            cluster.complaint.notify_one();
        }
    }

    /// Every primary, in the order of their names; in a Cluster those that have slots.
    pub(crate) fn primaries(&self) -> Vec<Arc<Node>> {
        match self {
            Self::One(node) => vec![Arc::clone(node)],
            Self::Cluster(cluster, _) => cluster.map().primaries.clone(),
        }
    }

    /// The first slot of this node that is not before `from`, or else its first; `None`: it has none.
    pub(crate) fn slot_at(&self, node: &Node, from: u16) -> Option<u16> {
        match self {
            Self::One(_) => Some(0),
            Self::Cluster(cluster, _) => cluster.map().slot_at(node, from),
        }
    }

    /// Which primary has which slots, as far as is known, in one number.
    pub(crate) fn distribution(&self) -> u64 {
        match self {
            Self::One(_) => 0,
            Self::Cluster(cluster, _) => cluster.map().distribution,
        }
    }

    /// Why not every slot is served, if so.
    pub(crate) fn gap(&self) -> Option<String> {
        let Self::Cluster(cluster, _) = self else { return None };
        let map = cluster.map();
        let slot = map.uncovered()?;
        cluster.complaint.notify_one();
        let why = map.trouble.as_deref().unwrap_or("they are assigned to nobody");
        Some(format!(
            "slot {slot} of the Redis Cluster, and perhaps others, cannot be reached: {why}"
        ))
    }
}

/// A fence for every slot: a key that nobody reads. All of them together are one small key for each
/// slot of a Cluster.
#[derive(Default)]
pub(crate) struct Fences(OnceLock<Vec<u32>>);

impl Fences {
    /// The number of the fence in this slot.
    pub(crate) fn number(&self, slot: u16, name: impl Fn(u32) -> Vec<u8>) -> u32 {
        let numbers = self.0.get_or_init(|| numbers_by_slot(name));
        numbers.get(usize::from(slot)).copied().unwrap_or_default()
    }
}

fn numbers_by_slot(name: impl Fn(u32) -> Vec<u8>) -> Vec<u32> {
    let mut numbers = vec![None; usize::from(SLOTS)];
    let mut missing = SLOTS;
    for number in 0..u32::MAX {
        if let Some(free @ None) = numbers.get_mut(usize::from(slot_of(&name(number)))) {
            *free = Some(number);
            missing -= 1;
            if missing == 0 {
                break;
            }
        }
    }
    numbers.into_iter().map(Option::unwrap_or_default).collect()
}

/// The hash slot of a key without braces, which none of this store has.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(key) % SLOTS
}

/// Reads the map of a Cluster again and again, as long as it is there.
pub(crate) struct Refresher(JoinHandle<()>);

impl Drop for Refresher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) struct Cluster {
    map: RwLock<Arc<Map>>,
    complaint: Notify,
    address: Address,
    credentials: Arc<Credentials>,
    sending: Sending,
}

/// Which node has which slot.
#[derive(Clone, Default)]
struct Map {
    /// Why there is no better one.
    trouble: Option<String>,
    /// By address, with a place in `slots`.
    nodes: Vec<Arc<Node>>,
    /// One more than the index of the node; 0: none.
    slots: Vec<u16>,
    /// Who has slots, in the order of their names; see [`settle`](Self::settle).
    primaries: Vec<Arc<Node>>,
    /// Of all nodes and slots; see [`settle`](Self::settle).
    distribution: u64,
    /// Where else the map can be had: the replicas.
    others: BTreeSet<String>,
}

impl Map {
    fn node(&self, slot: u16) -> Option<&Arc<Node>> {
        let place = usize::from(*self.slots.get(usize::from(slot))?);
        self.nodes.get(place.checked_sub(1)?)
    }

    fn assign(&mut self, slot: u16, node: &Arc<Node>) {
        let place = match self.nodes.iter().position(|known| known.name() == node.name()) {
            Some(place) => place,
            None => {
                self.nodes.push(Arc::clone(node));
                self.nodes.len() - 1
            }
        };
        self.slots.resize(usize::from(SLOTS), 0);
        if let (Some(slot), Ok(place)) =
            (self.slots.get_mut(usize::from(slot)), u16::try_from(place + 1))
        {
            *slot = place;
        }
    }

    /// After changes.
    fn settle(&mut self) {
        let (mut hasher, mut before) = (DefaultHasher::new(), 0);
        let mut primaries = BTreeMap::new();
        for (slot, place) in self.slots.iter().enumerate() {
            if *place != before {
                let node = usize::from(*place).checked_sub(1).and_then(|n| self.nodes.get(n));
                (slot, node.map(|node| node.name())).hash(&mut hasher);
                primaries.extend(node.map(|node| (node.name().to_owned(), Arc::clone(node))));
                before = *place;
            }
        }
        self.distribution = hasher.finish();
        self.primaries = primaries.into_values().collect();
    }

    fn slot_at(&self, node: &Node, from: u16) -> Option<u16> {
        let place = self.nodes.iter().position(|known| known.name() == node.name())? + 1;
        let is_own = |found: &u16| usize::from(*found) == place;
        let behind = self.slots.iter().skip(usize::from(from)).position(is_own);
        let found = behind.map(|slot| slot + usize::from(from));
        u16::try_from(found.or_else(|| self.slots.iter().position(is_own))?).ok()
    }

    fn uncovered(&self) -> Option<u16> {
        if self.slots.is_empty() {
            return Some(0);
        }
        self.slots.iter().position(|place| *place == 0).and_then(|slot| u16::try_from(slot).ok())
    }
}

/// What a node says about its Cluster.
struct Reading {
    epoch: u64,
    ok: bool,
    /// First and last slot, and who serves them: the primary, then its replicas.
    ranges: Vec<(u16, u16, Vec<String>)>,
}

impl Cluster {
    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Map)) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut map));
    }

    fn at(&self, address: &str) -> Option<Arc<Node>> {
        if let Some(known) = self.map().nodes.iter().find(|node| node.name() == address) {
            return Some(Arc::clone(known));
        }
        let (host, port) = split(address)?;
        let target = || self.credentials.client(host, port).map(Target::Node);
        let node = Arc::new(Node::new(address.to_owned(), &self.sending, target).ok()?);
        // Somebody else may have made it meanwhile: there is one connection to a node.
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = map.nodes.iter().find(|node| node.name() == address) {
            return Some(Arc::clone(known));
        }
        Arc::make_mut(&mut map).nodes.push(Arc::clone(&node));
        Some(node)
    }

    async fn keep(self: Arc<Self>) {
        loop {
            match self.read().await {
                Ok(reading) => self.adopt(&reading),
                Err(why) => self.change(|map| map.trouble = Some(why)),
            }
            tokio::time::sleep(REFRESH_PAUSE).await;
            let _ = tokio::time::timeout(REFRESH_EVERY, self.complaint.notified()).await;
        }
    }

    /// What the Cluster looks like to the node that knows the most: one that is cut off from the
    /// others still tells what was.
    async fn read(&self) -> Result<Reading, String> {
        let map = self.map();
        let seeds = self.address.hosts.iter().map(|(host, port)| join(host, *port));
        let known = map.nodes.iter().map(|node| node.name().to_owned());
        let addresses: BTreeSet<String> =
            seeds.chain(known).chain(map.others.iter().cloned()).collect();
        let readings = addresses.iter().map(|address| self.read_from(address));
        let mut best = Err("no node is known".to_owned());
        for reading in futures_util::future::join_all(readings).await {
            let rank = |reading: &Reading| (reading.ok, reading.epoch);
            match (&best, &reading) {
                (Ok(known), Ok(found)) if rank(known) >= rank(found) => {}
                (Ok(_), Err(_)) => {}
                _ => best = reading,
            }
        }
        best
    }

    async fn read_from(&self, address: &str) -> Result<Reading, String> {
        let attempt = async {
            let (host, port) = split(address).ok_or("it is no address")?;
            let client = self.credentials.client(host, port).map_err(|error| error.to_string())?;
            let mut connection = connection(&client).await?;
            let (info, slots): (String, Value) = Pipeline::new()
                .add_command(cluster_command("INFO"))
                .add_command(cluster_command("SLOTS"))
                .query_async(&mut connection)
                .await
                .map_err(|error| error.to_string())?;
            let field = |name: &str| {
                info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            };
            let epoch = field("cluster_current_epoch").and_then(|epoch| epoch.parse().ok());
            Ok(Reading {
                epoch: epoch.ok_or("it does not tell its epoch")?,
                ok: field("cluster_state") == Some("ok"),
                ranges: parse_ranges(slots, host),
            })
        };
        match tokio::time::timeout(NODE_PATIENCE, attempt).await {
            Ok(reading) => reading.map_err(|why: String| format!("{address}: {why}")),
            Err(_) => Err(format!("{address}: it does not answer")),
        }
    }

    fn adopt(&self, reading: &Reading) {
        let mut next = Map::default();
        let known: BTreeMap<String, Arc<Node>> = {
            let map = self.map();
            map.nodes.iter().map(|node| (node.name().to_owned(), Arc::clone(node))).collect()
        };
        for (first, last, nodes) in &reading.ranges {
            let Some((primary, replicas)) = nodes.split_first() else { continue };
            next.others.extend(replicas.iter().cloned());
            let node = known.get(primary).map(Arc::clone).or_else(|| self.at(primary));
            if let Some(node) = node {
                for slot in *first..=*last {
                    next.assign(slot, &node);
                }
            }
        }
        if !next.nodes.is_empty() {
            next.settle();
            *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        }
    }
}

fn cluster_command(part: &str) -> Cmd {
    let mut cmd = redis::cmd("CLUSTER");
    cmd.arg(part);
    cmd
}

/// The reply to `CLUSTER SLOTS`: first slot, last slot, then for each node its host, port and more.
/// A node that does not know its own name answers for the one under which it was asked.
fn parse_ranges(slots: Value, asked: &str) -> Vec<(u16, u16, Vec<String>)> {
    let text = |value: &Value| match value {
        Value::BulkString(text) => String::from_utf8(text.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    };
    let number = |value: &Value| match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    };
    let node = |value: &Value| {
        let Value::Array(parts) = value else { return None };
        let host = parts.first().and_then(text).filter(|host| !host.is_empty() && host != "?");
        let port = parts.get(1).and_then(number)?;
        Some(join(host.as_deref().unwrap_or(asked), port))
    };
    let Value::Array(ranges) = slots else { return Vec::new() };
    let range = |value: Value| {
        let Value::Array(parts) = value else { return None };
        let (first, last) = (parts.first().and_then(number)?, parts.get(1).and_then(number)?);
        let nodes = parts.get(2..)?.iter().filter_map(node).collect();
        (last < SLOTS).then_some((first, last, nodes))
    };
    ranges.into_iter().filter_map(range).collect()
}

/// Host and port, as a node is named everywhere here. An IPv6 address stands without brackets, as in
/// the replies of Redis.
fn join(host: &str, port: u16) -> String {
    format!("{host}:{port}")
}

fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn slots_are_read_as_every_version_writes_them() {
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), bulk("id")]);
        let slots = Value::Array(vec![
            Value::Array(vec![
                Value::Int(0),
                Value::Int(8191),
                node(bulk("10.0.0.1"), 1),
                node(bulk("10.0.0.2"), 2),
            ]),
            Value::Array(vec![Value::Int(8192), Value::Int(16383), node(Value::Nil, 3)]),
            Value::Array(vec![Value::Int(8192), Value::Int(16384), node(Value::Nil, 3)]),
            Value::Array(vec![Value::Int(-1)]),
            Value::Nil,
        ]);
        assert_eq!(
            parse_ranges(slots, "asked"),
            [
                (0, 8191, vec!["10.0.0.1:1".to_owned(), "10.0.0.2:2".to_owned()]),
                (8192, 16383, vec!["asked:3".to_owned()]),
            ]
        );
        assert_eq!(parse_ranges(Value::Nil, "asked"), []);
    }
}
