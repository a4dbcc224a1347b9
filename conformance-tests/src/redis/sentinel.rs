//! A primary, its replicas, and three sentinels who decide which one is the primary.

use std::net::SocketAddr;
use std::time::Duration;

use super::network::Network;
use super::options::{OPERATOR, Options};
use super::proxy::FaultProxy;
use super::resp::Value;
use super::server::Server;
use crate::ground::{Port, wait_for};

/// The name under which the sentinels know the primary.
const NAME: &str = "mymaster";

/// What the sentinels do too seldom for a test. Only from 7.0, and only until a sentinel is started again.
const EAGER: [&str; 16] = [
    "SENTINEL",
    "DEBUG",
    "info-period",
    "500",
    "ping-period",
    "250",
    "ask-period",
    "250",
    "publish-period",
    "500",
    "min-link-reconnect-period",
    "500",
    "tilt-period",
    "2000",
    "slave-reconf-timeout",
    "3000",
];

/// How a primary with sentinels is to be: [`Sentinels::options`].
#[derive(Debug, Clone)]
pub struct SentinelOptions {
    replicas: usize,
    server: Options,
    down_after: Duration,
    proxies: bool,
    network: Option<Network>,
}

impl SentinelOptions {
    /// So many replicas, instead of two.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// The primary and its replicas are to be like this. Of TLS the sentinels have the same.
    #[must_use]
    pub fn servers(mut self, options: Options) -> Self {
        self.server = options;
        self
    }

    /// For how long a primary must be silent before a sentinel takes it for dead
    /// (`down-after-milliseconds`), instead of one second.
    #[must_use]
    pub fn down_after(mut self, time: Duration) -> Self {
        self.down_after = time;
        self
    }

    /// The primary and the replicas each stand behind a [`FaultProxy`], whose address is what the
    /// sentinels know of and tell clients. They and the replicas go through it too, unharmed except by
    /// [`FaultProxy::stall`].
    #[must_use]
    pub fn behind_proxies(mut self) -> Self {
        self.proxies = true;
        self
    }

    /// Each server and each sentinel is at a place of its own in that network.
    #[must_use]
    pub fn in_network(mut self, network: &Network) -> Self {
        self.network = Some(network.clone());
        self
    }

    /// Somewhere else than all others, if there is a network.
    fn somewhere(&self, options: Options) -> Options {
        match &self.network {
            Some(network) => options.at(&network.site()),
            None => options,
        }
    }

    /// Starts all, and waits until they are [healthy](Sentinels::wait_healthy).
    ///
    /// # Panics
    /// When they are not in time.
    #[must_use]
    pub fn start(self) -> Sentinels {
        let start = |options: Options| match self.proxies {
            true => {
                let (server, proxy) = options.start_behind_proxy();
                (server, Some(proxy))
            }
            false => (options.start(), None),
        };
        let server = || self.somewhere(self.server.clone());
        let primary = start(server());
        let replica = || start(server().replica_of(&primary.0));
        let replicas: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..self.replicas).map(|_| scope.spawn(replica)).collect();
            starts.into_iter().map(|start| start.join().expect("a replica")).collect()
        });
        let (servers, proxies): (Vec<_>, Vec<_>) = std::iter::once(primary).chain(replicas).unzip();
        let sentinels = self.sentinels(&servers);
        let proxies = proxies.into_iter().flatten().collect();
        let all = Sentinels { servers, sentinels, proxies };
        all.wait_healthy();
        all
    }

    /// They are told of each other and of the replicas, which they would find out within seconds.
    fn sentinels(&self, servers: &[Server]) -> Vec<Server> {
        let ids: Vec<_> = (1..=3).map(|n| format!("{n:040x}")).collect();
        loop {
            let planned: Vec<_> = ids
                .iter()
                .map(|_| (Port::free(), self.somewhere(self.sentinel(servers))))
                .collect();
            let addrs: Vec<_> = planned
                .iter()
                .map(|(port, options)| SocketAddr::new(options.host, port.number()))
                .collect();
            let start = |n: usize, port: Port, mut options: Options| {
                for (other, (id, addr)) in ids.iter().zip(&addrs).enumerate() {
                    let line = match other == n {
                        true => format!("myid {id}"),
                        false => {
                            format!("known-sentinel {NAME} {} {} {id}", addr.ip(), addr.port())
                        }
                    };
                    options = options.config("sentinel", &line);
                }
                Server::try_start(options, port)
            };
            let started: Result<Vec<_>, _> = planned
                .into_iter()
                .enumerate()
                .map(|(n, (port, options))| start(n, port, options))
                .collect();
            match started {
                Ok(sentinels) => return sentinels,
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("a sentinel ended before it answered\n{log}"),
            }
        }
    }

    fn sentinel(&self, servers: &[Server]) -> Options {
        let mut options = Options::default();
        options.sentinel = true;
        options.tls.clone_from(&self.server.tls);
        let (primary, replicas) = servers.split_first().expect("a primary");
        let down_after = self.down_after.as_millis();
        let mut lines = vec![
            format!("monitor {NAME} {} {} 2", primary.host(), primary.announced_port()),
            format!("down-after-milliseconds {NAME} {down_after}"),
            format!("failover-timeout {NAME} 4000"),
            format!("parallel-syncs {NAME} {}", replicas.len().max(1)),
            format!("auth-user {NAME} {OPERATOR}"),
            format!("auth-pass {NAME} {}", self.server.operator_password),
        ];
        lines.extend(replicas.iter().map(|replica| {
            format!("known-replica {NAME} {} {}", replica.host(), replica.announced_port())
        }));
        lines.iter().fold(options, |options, line| options.config("sentinel", line))
    }
}

/// A primary and its replicas with three sentinels, of whom two decide.
///
/// ```no_run
/// use grantor_conformance::redis::Sentinels;
///
/// let sentinels = Sentinels::start();
/// let old = sentinels.primary();
/// old.kill_9();
/// let new = sentinels.wait_for_failover(old);
/// old.restart();
/// sentinels.wait_healthy(); // what was the primary is a replica now
/// ```
///
/// All servers are killed, frozen and so on by themselves.
#[derive(Debug)]
pub struct Sentinels {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
    /// In the order of the servers, or none at all.
    proxies: Vec<FaultProxy>,
}

impl Sentinels {
    /// A primary, two replicas and three sentinels.
    ///
    /// # Panics
    /// As [`SentinelOptions::start`].
    #[must_use]
    pub fn start() -> Self {
        Self::options().start()
    }

    /// How they are to be.
    #[must_use]
    pub fn options() -> SentinelOptions {
        SentinelOptions {
            replicas: 2,
            server: Options::default(),
            down_after: Duration::from_secs(1),
            proxies: false,
            network: None,
        }
    }

    /// `redis+sentinel://host:port,host:port,host:port/mymaster`, with `rediss` for TLS, and with the
    /// password of the default user of the primary, if there is one.
    #[must_use]
    pub fn url(&self) -> String {
        let one = self.servers.first().map(Server::url).unwrap_or_default();
        let (scheme, rest) = one.split_once("://").unwrap_or_default();
        let user = rest.rsplit_once('@').map(|(user, _)| format!("{user}@")).unwrap_or_default();
        let hosts: Vec<_> = self.sentinels.iter().map(|it| it.addr().to_string()).collect();
        format!("{scheme}+sentinel://{user}{}/{NAME}", hosts.join(","))
    }

    /// The name under which the sentinels know the primary: `mymaster`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// The primary and the replicas; the first was the primary at the start.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// The proxy before a server, with [`SentinelOptions::behind_proxies`].
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn proxy(&self, server: &Server) -> &FaultProxy {
        let place = self.servers.iter().position(|it| it.port() == server.port());
        place.and_then(|place| self.proxies.get(place)).expect("a server behind a proxy")
    }

    /// Whom two sentinels hold for the primary.
    ///
    /// # Panics
    /// When they never come to agree.
    #[must_use]
    pub fn primary(&self) -> &Server {
        wait_for("two sentinels agree about the primary", || self.agreed(), || self.diagnosis())
    }

    /// All others.
    ///
    /// # Panics
    /// As [`primary`](Self::primary).
    #[must_use]
    pub fn replicas(&self) -> Vec<&Server> {
        let primary = self.primary().port();
        self.servers.iter().filter(|server| server.port() != primary).collect()
    }

    fn agreed(&self) -> Option<&Server> {
        let ask = |sentinel: &Server| {
            let reply = sentinel.if_awake(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
            u16::try_from(reply.list().get(1)?.integer()?).ok()
        };
        let votes: Vec<_> = self.sentinels.iter().filter_map(ask).collect();
        let votes_for =
            |server: &&Server| votes.iter().filter(|it| **it == server.announced_port()).count();
        self.servers.iter().find(|server| votes_for(server) >= 2)
    }

    /// Lets the sentinels make another one the primary although this one is alive
    /// (`SENTINEL FAILOVER`), waits until it is, and gives it back.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn promote(&self) -> &Server {
        let old = self.primary();
        wait_for(
            "a sentinel begins a failover",
            || {
                let asked = |sentinel: &Server| {
                    sentinel.if_awake(&["SENTINEL", "FAILOVER", NAME]).is_some()
                };
                self.sentinels.iter().any(asked).then_some(())
            },
            || self.diagnosis(),
        );
        self.wait_for_failover(old)
    }

    /// Waits until two sentinels hold another one than `old` for the primary and it takes writes, and
    /// gives it back.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub fn wait_for_failover(&self, old: &Server) -> &Server {
        wait_for(
            "there is another primary",
            || {
                let primary = self.agreed().filter(|primary| primary.port() != old.port())?;
                let role = primary.if_awake(&["ROLE"])?;
                (role.list().first()?.text()? == "master").then_some(primary)
            },
            || self.diagnosis(),
        )
    }

    /// Waits until all is as it should be: all processes run, all sentinels know of each other, of the
    /// same primary and of all replicas, and all replicas are up to date.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn wait_healthy(&self) {
        for sentinel in &self.sentinels {
            // Before 7.0 there is no such command; things take longer then.
            let _ = sentinel.try_call(&EAGER);
        }
        wait_for(
            "the primary, its replicas and the sentinels are healthy",
            || {
                let primary = self.agreed()?;
                let well = self.sentinels.iter().all(|it| self.is_content(it, primary).is_some());
                well.then_some(())
            },
            || self.diagnosis(),
        );
        self.primary().wait_for_replicas(self.servers.len() - 1);
    }

    fn is_content(&self, sentinel: &Server, primary: &Server) -> Option<()> {
        let text = |value: &Value, name: &str| value.field(name)?.text();
        let master = sentinel.if_awake(&["SENTINEL", "MASTER", NAME])?;
        let others = self.servers.len() - 1;
        let sees_it = text(&master, "port")? == primary.announced_port().to_string()
            && text(&master, "flags")? == "master"
            && text(&master, "num-slaves")? == others.to_string()
            && text(&master, "num-other-sentinels")? == (self.sentinels.len() - 1).to_string();
        let replicas = sentinel.if_awake(&["SENTINEL", "REPLICAS", NAME])?;
        let follows = |replica: &&Value| {
            text(replica, "flags").is_some_and(|flags| flags == "slave")
                && text(replica, "master-link-status").is_some_and(|status| status == "ok")
                && text(replica, "master-port") == Some(primary.announced_port().to_string())
        };
        let quorum = sentinel.if_awake(&["SENTINEL", "CKQUORUM", NAME])?;
        (sees_it
            && replicas.list().iter().filter(follows).count() == others
            && quorum.text()?.starts_with("OK"))
        .then_some(())
    }

    fn diagnosis(&self) -> String {
        let mut text = String::new();
        for sentinel in &self.sentinels {
            for what in ["MASTER", "REPLICAS", "SENTINELS"] {
                let said = sentinel.if_awake(&["SENTINEL", what, NAME]);
                text += &format!("{} says of {what}: {said:?}\n", sentinel.addr());
            }
        }
        for server in self.sentinels.iter().chain(&self.servers) {
            text += &server.log_tail();
            text.push('\n');
        }
        text
    }
}
