//! A Redis Cluster.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::network::Network;
use super::options::Options;
use super::proxy::FaultProxy;
use super::server::{Server, fields};
use super::slots::{SLOTS, SlotMove, slot_of};
use crate::ground::{BUS, wait_for};

/// How a Cluster is to be: [`Cluster::options`].
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    primaries: usize,
    replicas: usize,
    node_timeout: Duration,
    server: Options,
    proxies: bool,
    network: Option<Network>,
}

impl ClusterOptions {
    /// So many primaries, instead of three. With fewer nobody takes the place of one that died: they
    /// decide by majority.
    #[must_use]
    pub fn primaries(mut self, primaries: usize) -> Self {
        self.primaries = primaries;
        self
    }

    /// So many replicas of each primary, instead of one.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// For how long a node must be silent before the others take it for dead
    /// (`cluster-node-timeout`), instead of two seconds.
    #[must_use]
    pub fn node_timeout(mut self, time: Duration) -> Self {
        self.node_timeout = time;
        self
    }

    /// All nodes are to be like this.
    #[must_use]
    pub fn servers(mut self, options: Options) -> Self {
        self.server = options;
        self
    }

    /// Each node stands behind a [`FaultProxy`], whose address is what the nodes tell clients in `MOVED`,
    /// `ASK`, `CLUSTER SLOTS` and so on. Replicas go through it too, unharmed except by
    /// [`FaultProxy::stall`]; what the nodes say to each other does not.
    #[must_use]
    pub fn behind_proxies(mut self) -> Self {
        self.proxies = true;
        self
    }

    /// Each node is at a place of its own in that network.
    #[must_use]
    pub fn in_network(mut self, network: &Network) -> Self {
        self.network = Some(network.clone());
        self
    }

    /// Starts all nodes, makes them a Cluster, and waits until it is [healthy](Cluster::wait_healthy).
    ///
    /// # Panics
    /// When it is not in time.
    #[must_use]
    pub fn start(self) -> Cluster {
        let count = self.primaries * (1 + self.replicas);
        let node = || {
            let options = self.server.clone();
            let options = match &self.network {
                Some(network) => options.at(&network.site()),
                None => options,
            };
            let options = options
                .config("cluster-enabled", "yes")
                .config("cluster-config-file", "nodes.conf")
                .config("cluster-node-timeout", &self.node_timeout.as_millis().to_string())
                // What a test finds must be its own doing: no replica moves to another primary.
                .config("cluster-allow-replica-migration", "no");
            match self.proxies {
                true => {
                    let (node, proxy) = options.start_behind_proxy();
                    (node, Some(proxy))
                }
                false => (options.start(), None),
            }
        };
        let (nodes, proxies): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..count).map(|_| scope.spawn(node)).collect();
            starts.into_iter().map(|start| start.join().expect("a node")).unzip()
        });
        let ids = nodes.iter().map(|node: &Server| node.cli(&["CLUSTER", "MYID"])).collect();
        let proxies = proxies.into_iter().flatten().collect();
        let cluster = Cluster { nodes, proxies, ids, primaries: self.primaries };
        cluster.found();
        cluster
    }
}

/// A Cluster of three primaries with one replica each, all on the loopback interface.
///
/// ```no_run
/// use grantor_conformance::redis::Cluster;
///
/// let cluster = Cluster::start();
/// let old = cluster.primary_of("some key");
/// old.kill_9();
/// let new = cluster.wait_for_failover(old);
/// old.restart();
/// cluster.wait_healthy(); // what was the primary is a replica now
/// cluster.move_slots(new, cluster.primaries()[0], 100);
/// ```
///
/// All nodes are killed, frozen and so on by themselves. How slots move is in [`begin_move`](Self::begin_move).
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
    /// In the order of the nodes, or none at all.
    proxies: Vec<FaultProxy>,
    /// In the order of the nodes.
    ids: Vec<String>,
    /// How many of the nodes, the first ones, were primaries at the start.
    primaries: usize,
}

/// A node as another one sees it: a line of `CLUSTER NODES`.
#[derive(Debug)]
struct Sight {
    id: String,
    flags: BTreeSet<String>,
    /// Whose replica it is.
    primary: Option<String>,
    epoch: u64,
    connected: bool,
    /// First and last.
    slots: Vec<(u16, u16)>,
}

/// The part of a node: its id, whose replica it is, and its slots.
type Part = (String, Option<String>, Vec<(u16, u16)>);

impl Sight {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let mut word = || words.next();
        let id = word()?.to_owned();
        word()?;
        let flags = word()?.split(',').map(str::to_owned).collect();
        let primary = word().filter(|primary| *primary != "-").map(str::to_owned);
        word()?;
        word()?;
        let epoch = word()?.parse().ok()?;
        let connected = word()? == "connected";
        let range = |word: &str| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        // What is in brackets is a slot on the move.
        let slots = words.filter(|word| !word.starts_with('[')).filter_map(range).collect();
        Some(Self { id, flags, primary, epoch, connected, slots })
    }

    fn is_primary_of_slots(&self) -> bool {
        self.is("master") && !self.slots.is_empty()
    }

    /// Nothing is the matter with it.
    fn is_well(&self) -> bool {
        let ailing = ["fail", "fail?", "handshake", "noaddr"].iter().any(|flag| self.is(flag));
        (self.connected || self.is("myself")) && !ailing
    }

    fn is(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }
}

impl Cluster {
    /// Three primaries and three replicas.
    ///
    /// # Panics
    /// As [`ClusterOptions::start`].
    #[must_use]
    pub fn start() -> Self {
        Self::options().start()
    }

    /// How it is to be.
    #[must_use]
    pub fn options() -> ClusterOptions {
        ClusterOptions {
            primaries: 3,
            replicas: 1,
            node_timeout: Duration::from_secs(2),
            server: Options::default(),
            proxies: false,
            network: None,
        }
    }

    /// The first of the nodes become primaries, each with an equal part of the slots; the others become
    /// replicas in turn.
    fn found(&self) {
        let primaries = self.primaries;
        let share = |n: usize| n * usize::from(SLOTS) / primaries;
        for (n, node) in self.nodes.iter().enumerate() {
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
            if n < primaries {
                let mut command = vec!["CLUSTER".to_owned(), "ADDSLOTS".to_owned()];
                command.extend((share(n)..share(n + 1)).map(|slot| slot.to_string()));
                let words: Vec<_> = command.iter().map(String::as_str).collect();
                node.cli(&words);
            }
        }
        for (n, node) in self.nodes.iter().enumerate() {
            // Each meets each: gossip would take a second or more.
            for other in self.nodes.iter().skip(n + 1) {
                node.cli(&[
                    "CLUSTER",
                    "MEET",
                    &other.host().to_string(),
                    &other.announced_port().to_string(),
                    &(other.port() + BUS).to_string(),
                ]);
            }
        }
        for (n, replica) in self.nodes.iter().enumerate().skip(primaries) {
            let primary = self.ids.get(n % primaries).expect("a primary");
            wait_for(
                "a replica knows its primary",
                || replica.if_awake(&["CLUSTER", "REPLICATE", primary]),
                || self.diagnosis(),
            );
        }
        self.wait_healthy();
    }

    /// All nodes: first those that were primaries at the start.
    #[must_use]
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The proxy before a node, with [`ClusterOptions::behind_proxies`].
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn proxy(&self, node: &Server) -> &FaultProxy {
        let place = self.nodes.iter().position(|it| it.port() == node.port());
        place.and_then(|place| self.proxies.get(place)).expect("a node behind a proxy")
    }

    /// The URLs of all nodes, separated by commas; or of their proxies.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<_> = match self.proxies.is_empty() {
            true => self.nodes.iter().map(Server::url).collect(),
            false => self.proxies.iter().map(FaultProxy::url).collect(),
        };
        urls.join(",")
    }

    /// The id of a node in the Cluster.
    ///
    /// # Panics
    /// When it is not one of [`nodes`](Self::nodes).
    #[must_use]
    pub fn id(&self, node: &Server) -> &str {
        let place = self.nodes.iter().position(|it| it.port() == node.port());
        place.and_then(|place| self.ids.get(place)).expect("a node of this Cluster")
    }

    fn node(&self, id: &str) -> Option<&Server> {
        self.nodes.get(self.ids.iter().position(|it| it == id)?)
    }

    /// All nodes as that one sees them, if it can be asked.
    fn seen_by(node: &Server) -> Option<Vec<Sight>> {
        let reply = node.if_awake(&["CLUSTER", "NODES"])?;
        Some(reply.text()?.lines().filter_map(Sight::read).collect())
    }

    /// What each node that can be asked sees in itself, which is where its claims are.
    fn claims(&self) -> Vec<(&Server, Sight)> {
        let own = |node| {
            let sights = Self::seen_by(node)?;
            Some((node, sights.into_iter().find(|sight| sight.is("myself"))?))
        };
        self.nodes.iter().filter_map(own).collect()
    }

    /// The primary that has this slot: of those who say so, the one who became it last.
    ///
    /// # Panics
    /// When for long no node that can be asked says so.
    #[must_use]
    pub fn primary_of_slot(&self, slot: u16) -> &Server {
        let look = || {
            let has = |sight: &Sight| {
                sight.is("master") && sight.slots.iter().any(|(a, b)| (*a..=*b).contains(&slot))
            };
            let claims = self.claims().into_iter().filter(|(_, sight)| has(sight));
            claims.max_by_key(|(_, sight)| sight.epoch).map(|(node, _)| node)
        };
        wait_for(&format!("some node has slot {slot}"), look, || self.diagnosis())
    }

    /// The primary that has this key.
    ///
    /// # Panics
    /// As [`primary_of_slot`](Self::primary_of_slot).
    #[must_use]
    pub fn primary_of(&self, key: impl AsRef<[u8]>) -> &Server {
        self.primary_of_slot(slot_of(key))
    }

    /// The nodes that hold themselves for primaries.
    #[must_use]
    pub fn primaries(&self) -> Vec<&Server> {
        let claims = self.claims().into_iter();
        claims.filter(|(_, sight)| sight.is("master")).map(|(node, _)| node).collect()
    }

    /// The nodes that hold themselves for replicas of that one.
    ///
    /// # Panics
    /// As [`id`](Self::id).
    #[must_use]
    pub fn replicas_of(&self, primary: &Server) -> Vec<&Server> {
        let id = self.id(primary);
        let follows = |sight: &Sight| sight.primary.as_deref() == Some(id);
        let claims = self.claims().into_iter();
        claims.filter(|(_, sight)| follows(sight)).map(|(node, _)| node).collect()
    }

    /// The slots of a primary, as it says itself: first and last of each range.
    ///
    /// # Panics
    /// As [`id`](Self::id).
    #[must_use]
    pub fn slots_of(&self, node: &Server) -> Vec<(u16, u16)> {
        let id = self.id(node);
        let own = self.claims().into_iter().find(|(_, sight)| sight.id == id);
        own.map(|(_, sight)| sight.slots).unwrap_or_default()
    }

    /// Makes a replica the primary in agreement with the present one, with nothing lost
    /// (`CLUSTER FAILOVER`), and waits until all nodes that can be asked see it so.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub fn promote(&self, replica: &Server) {
        self.fail_over(replica, None);
    }

    /// Makes a replica the primary although nobody agrees (`CLUSTER FAILOVER TAKEOVER`), as where a
    /// data centre is lost; what the primary had and the replica had not is lost.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub fn take_over(&self, replica: &Server) {
        self.fail_over(replica, Some("TAKEOVER"));
    }

    fn fail_over(&self, replica: &Server, how: Option<&str>) {
        let mut command = vec!["CLUSTER", "FAILOVER"];
        command.extend(how);
        let id = self.id(replica);
        let mut asked: Option<Instant> = None;
        wait_for(
            "the replica is the primary",
            || {
                let primary = |sights: Vec<Sight>| {
                    sights.iter().any(|it| it.id == id && it.is_primary_of_slots())
                };
                if self.nodes.iter().filter_map(Self::seen_by).all(primary) {
                    return Some(());
                }
                // It gives up by itself when the primary does not stop for it within five seconds.
                if asked.is_none_or(|at| at.elapsed() > Duration::from_secs(6))
                    && replica.if_awake(&command).is_some()
                {
                    asked = Some(Instant::now());
                }
                None
            },
            || self.diagnosis(),
        );
    }

    /// Waits until most nodes, and itself, hold another one than `old` for the primary in its place, and
    /// gives it back. Those who are on the wrong side of a partition cannot be waited for.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub fn wait_for_failover(&self, old: &Server) -> &Server {
        let family = self.family(old);
        let old = self.id(old);
        let heir = |view: Vec<Sight>| {
            let is_heir = |it: &Sight| {
                it.id != old && family.contains(&it.id.as_str()) && it.is_primary_of_slots()
            };
            view.into_iter().find(is_heir).map(|it| it.id)
        };
        wait_for(
            "another node is the primary",
            || {
                let heirs: Vec<_> =
                    self.nodes.iter().map(|node| Self::seen_by(node).and_then(heir)).collect();
                let knows = |id: &str| heirs.iter().flatten().filter(|it| *it == id).count();
                let claims = |(id, seen): &(&String, &Option<String>)| seen.as_ref() == Some(id);
                let mut claimants = self.ids.iter().zip(&heirs).filter(claims);
                let most = self.nodes.len() / 2;
                let (new, _) = claimants.find(|(id, _)| knows(id) > most)?;
                self.node(new)
            },
            || self.diagnosis(),
        )
    }

    /// The ids of those who take each other's place: it was so at the start, and no replica changes sides.
    fn family(&self, node: &Server) -> Vec<&str> {
        let id = self.id(node);
        let of = self.ids.iter().position(|it| it == id).unwrap_or_default() % self.primaries;
        self.ids.iter().skip(of).step_by(self.primaries).map(String::as_str).collect()
    }

    /// Waits until all is as it should be: all nodes run, say `cluster_state:ok`, see all others, of no
    /// failure and the same primary for each slot, and all replicas are connected and up to date.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn wait_healthy(&self) {
        wait_for(
            "the Cluster is healthy",
            || {
                let mut views = self.nodes.iter().map(|node| self.content(node));
                let first = views.next()??;
                views.all(|view| view.as_ref() == Some(&first)).then_some(())
            },
            || self.diagnosis(),
        );
        for primary in self.primaries() {
            primary.wait_for_replicas(self.replicas_of(primary).len());
        }
    }

    /// Who has which slots and who follows whom, for a node that has nothing to complain about.
    fn content(&self, node: &Server) -> Option<BTreeSet<Part>> {
        let info = fields(&node.if_awake(&["CLUSTER", "INFO"])?.text()?);
        let is = |name: &str, value: &str| info.get(name).is_some_and(|it| it == value);
        let sights = Self::seen_by(node)?;
        let well = is("cluster_state", "ok")
            && is("cluster_slots_ok", &SLOTS.to_string())
            && sights.len() == self.nodes.len()
            && sights.iter().all(Sight::is_well);
        let link_up = || {
            let info = fields(&node.if_awake(&["INFO", "replication"])?.text()?);
            Some(info.get("master_link_status").is_none_or(|status| status == "up"))
        };
        (well && link_up()?).then(|| {
            sights.into_iter().map(|sight| (sight.id, sight.primary, sight.slots)).collect()
        })
    }

    /// Starts all nodes again, one after the other, as an upgrade does: replicas first, and each primary
    /// after a replica has taken its place, so that nothing is lost without persistence too. The Cluster
    /// is healthy after each step.
    ///
    /// # Panics
    /// When it does not become so in time.
    pub fn rolling_restart(&self) {
        for node in &self.nodes {
            if let Some(replica) = self.replicas_of(node).first() {
                self.promote(replica);
                self.wait_healthy();
            }
            node.restart();
            self.wait_healthy();
        }
    }

    /// Begins to move a slot to another primary.
    ///
    /// # Panics
    /// When the Cluster refuses.
    pub fn begin_move<'a>(&'a self, slot: u16, to: &'a Server) -> SlotMove<'a> {
        SlotMove::begin(self, slot, to)
    }

    /// Moves a slot with all its keys to another primary.
    ///
    /// # Panics
    /// When the Cluster refuses.
    pub fn move_slot(&self, slot: u16, to: &Server) {
        self.begin_move(slot, to).finish();
    }

    /// Moves the first `count` slots of a primary, with all their keys, to another one, one by one while
    /// the Cluster serves.
    ///
    /// # Panics
    /// When the Cluster refuses, or when it has not so many.
    pub fn move_slots(&self, from: &Server, to: &Server, count: usize) {
        let slots: Vec<_> =
            self.slots_of(from).into_iter().flat_map(|(a, b)| a..=b).take(count).collect();
        assert_eq!(slots.len(), count, "{} has not so many slots", from.addr());
        for slot in slots {
            self.move_slot(slot, to);
        }
    }

    fn diagnosis(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            for what in ["INFO", "NODES"] {
                let said = node.if_awake(&["CLUSTER", what]).and_then(|said| said.text());
                text += &format!("{} says of {what}:\n{}\n", node.addr(), said.unwrap_or_default());
            }
        }
        for node in &self.nodes {
            text += &node.log_tail();
            text.push('\n');
        }
        text
    }
}
