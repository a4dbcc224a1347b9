//! Whether this Redis can keep what it is asked to, and what it can lose.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use grantor::storage::{Durability, Promises, StorageError};
use redis::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::calls::Redis;
use crate::config::{Confirmation, RedisConfig};
use crate::error::OpenError;
use crate::layout::MAX_CLOCK_SKEW_MILLIS;
use crate::node::Node;
use crate::url::Topology;

/// How often the servers are looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What a Redis is and does, and what that means for what is kept in it.
///
/// Its [`Display`](fmt::Display) is what an operator has to know: one line for each fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    topology: Topology,
    confirmation: Confirmation,
    nodes: Vec<NodeReport>,
}

/// What one primary says about itself. What it does not let us see is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NodeReport {
    name: String,
    version: (u32, u32),
    cluster: bool,
    eviction: Option<String>,
    append_only: bool,
    /// `always`, `everysec`, `no`.
    fsync: Option<String>,
    fsync_pauses: bool,
    replicas: u32,
    min_replicas_to_write: Option<u32>,
    clock_skew_millis: i64,
    last_write_failed: bool,
}

impl NodeReport {
    fn evicts(&self) -> bool {
        self.eviction.as_deref().is_some_and(|policy| policy != "noeviction")
    }
}

impl Report {
    /// How the servers stand together.
    pub const fn topology(&self) -> Topology {
        self.topology
    }

    /// Who has to have a change before it is answered.
    pub const fn confirmation(&self) -> Confirmation {
        self.confirmation
    }

    pub(crate) fn promises(&self) -> Promises {
        Promises {
            durability: self.durability(),
            linearizable: true,
            shared: true,
            evicts: self.nodes.iter().any(NodeReport::evicts),
        }
    }

    fn all(&self, what: impl Fn(&NodeReport) -> bool) -> bool {
        self.nodes.iter().all(what)
    }

    fn fsyncs_always(&self) -> bool {
        let always = |node: &NodeReport| node.fsync.as_deref() == Some("always");
        self.all(|node| node.append_only && always(node) && !node.fsync_pauses)
    }

    fn durability(&self) -> Durability {
        let append_only = self.all(|node| node.append_only);
        match (self.confirmation, self.topology) {
            (Confirmation::Fsynced(_), _) if append_only => Durability::Power,
            (Confirmation::Replicas(_), _) if append_only => Durability::Process,
            (Confirmation::Local, Topology::Single) if self.fsyncs_always() => Durability::Power,
            (Confirmation::Local, Topology::Single) if append_only => Durability::Process,
            // A replica that takes over does not have what it had not yet heard of.
            _ => Durability::None,
        }
    }

    /// What of that which was answered can be lost, and when.
    pub fn can_lose(&self) -> String {
        let failover = match (self.topology, self.confirmation) {
            (Topology::Single, Confirmation::Local) => None,
            (_, Confirmation::Local) => Some(
                "a failover to a replica loses the changes that it had not received yet".to_owned(),
            ),
            (_, Confirmation::Replicas(wanted) | Confirmation::Fsynced(wanted)) => {
                let most = self.nodes.iter().map(|node| node.replicas).max().unwrap_or_default();
                (most > wanted).then(|| {
                    format!(
                        "a failover to a replica that was not among the {wanted} that confirmed \
                         loses what it had not received yet (a primary has {most} replicas)"
                    )
                })
            }
        };
        let append_only = self.all(|node| node.append_only);
        let crash = match self.confirmation {
            _ if !append_only => {
                Some("a restart of a server loses everything since its last snapshot".to_owned())
            }
            Confirmation::Fsynced(_) => None,
            _ if self.fsyncs_always() => None,
            // What a server does not tell is taken for the worst.
            _ if self.all(|node| matches!(node.fsync.as_deref(), Some("always" | "everysec"))) => Some(
                "a machine that stops, or a server that is killed while its disk is slow, loses what \
                 it wrote in the last two seconds"
                    .to_owned(),
            ),
            _ => Some(
                "a machine that stops loses what its server wrote in the last half minute".to_owned(),
            ),
        };
        let crash = match self.confirmation {
            // Another machine has it, and gives it up to a primary that is back with less.
            Confirmation::Replicas(wanted) => crash.map(|loss| {
                format!(
                    "if a primary is back before a replica is promoted, or if {} machines stop at \
                     the same time: {loss}",
                    wanted + 1
                )
            }),
            Confirmation::Local | Confirmation::Fsynced(_) => crash,
        };
        let losses: Vec<_> = failover.into_iter().chain(crash).collect();
        match losses.is_empty() {
            true => "nothing that was answered can be lost while one copy survives".to_owned(),
            false => losses.join("; "),
        }
    }

    /// What an operator should change, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for node in &self.nodes {
            let name = &node.name;
            if node.eviction.is_none() {
                warnings.push(format!(
                    "{name} does not say whether it evicts keys: see to maxmemory-policy noeviction"
                ));
            }
            if node.fsync_pauses {
                warnings.push(format!("{name} does not sync its append-only file while it is rewritten: set no-appendfsync-on-rewrite no"));
            }
            if node.last_write_failed {
                warnings.push(format!("{name} could not write its append-only file"));
            }
            if self.topology != Topology::Single
                && self.confirmation == Confirmation::Local
                && node.min_replicas_to_write == Some(0)
            {
                warnings.push(format!(
                    "{name} goes on taking changes while it is cut off from its replicas, and loses \
                     them when one takes over: set min-replicas-to-write 1, or durability replicas(1)"
                ));
            }
            if self.topology != Topology::Single && node.replicas == 0 {
                warnings.push(format!("{name} has no replica: nobody can take over"));
            }
        }
        warnings
    }

    /// Why nothing may be written to this Redis as it is now, if so. That replicas are away or late is
    /// left to those who wait for them.
    pub(crate) fn forbids_commits(&self) -> Option<String> {
        let volatile =
            |node: &NodeReport| self.confirmation != Confirmation::Local && !node.append_only;
        let node = self.nodes.iter().find(|node| node.evicts() || volatile(node))?;
        Some(format!("{}: {}", node.name, self.problem_of(node)?))
    }

    /// Why this Redis must not be used, if so.
    fn problem(&self) -> Option<(&NodeReport, String)> {
        self.nodes.iter().find_map(|node| Some((node, self.problem_of(node)?)))
    }

    fn problem_of(&self, node: &NodeReport) -> Option<String> {
        let wanted = self.confirmation.replicas();
        let problem = if node.version < (7, 0) {
            format!("it is version {}.{}; 7.0 is needed", node.version.0, node.version.1)
        } else if node.cluster && self.topology != Topology::Cluster {
            "it is a node of a Cluster; write redis+cluster:// before its address".to_owned()
        } else if node.evicts() {
            format!(
                "maxmemory-policy is {}, so it may drop revocations and used codes; set it to \
                 noeviction",
                node.eviction.as_deref().unwrap_or_default()
            )
        } else if matches!(self.confirmation, Confirmation::Fsynced(_)) && node.version < (7, 2) {
            format!(
                "durability is {} and it is version {}.{}, which has no WAITAOF; 7.2 is needed, \
                 or replicas({wanted})",
                self.confirmation, node.version.0, node.version.1
            )
        } else if self.confirmation != Confirmation::Local && !node.append_only {
            format!(
                "durability is {} and appendonly is no: a primary that restarts empty empties \
                 its replicas; set appendonly yes everywhere",
                self.confirmation
            )
        } else if node.replicas < wanted {
            format!("durability is {} and it has {} replicas", self.confirmation, node.replicas)
        } else if node.clock_skew_millis > MAX_CLOCK_SKEW_MILLIS / 2 {
            format!("its clock is {} s from the one here", node.clock_skew_millis / 1000)
        } else {
            return None;
        };
        Some(problem)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "durability {}: {}", self.confirmation, self.can_lose())?;
        for node in &self.nodes {
            let fsync = match (node.append_only, &node.fsync) {
                (false, _) => "no append-only file".to_owned(),
                (true, Some(fsync)) => format!("append-only file, fsync {fsync}"),
                (true, None) => "append-only file, fsync unknown".to_owned(),
            };
            write!(
                f,
                "\n{}: version {}.{}, {fsync}, {} replicas, eviction {}",
                node.name,
                node.version.0,
                node.version.1,
                node.replicas,
                node.eviction.as_deref().unwrap_or("unknown"),
            )?;
        }
        for warning in self.warnings() {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

/// Waits until the servers are there, and looks at them.
pub(crate) async fn first(redis: &Redis, config: &RedisConfig) -> Result<Report, OpenError> {
    let deadline = Instant::now() + config.open_deadline;
    loop {
        let why = match look(redis, config.address.topology, config.confirmation).await {
            Ok(report) => match report.problem() {
                None => return Ok(report),
                Some((node, problem)) => {
                    // Replicas may be on their way, everything else is as it is configured.
                    let unfit = OpenError::Unfit { node: node.name.clone(), problem };
                    if node.replicas >= config.confirmation.replicas() || Instant::now() > deadline
                    {
                        return Err(unfit);
                    }
                    unfit.to_string()
                }
            },
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            return Err(OpenError::Away { patience: config.open_deadline, why });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn look(
    redis: &Redis,
    topology: Topology,
    confirmation: Confirmation,
) -> Result<Report, StorageError> {
    if let Some(gap) = redis.router.gap() {
        return Err(StorageError::unavailable(gap));
    }
    let nodes = redis.router.primaries();
    let reports = join_all(nodes.iter().map(|node| look_at(redis, node))).await;
    let nodes = reports.into_iter().collect::<Result<_, _>>()?;
    Ok(Report { topology, confirmation, nodes })
}

async fn look_at(redis: &Redis, node: &Node) -> Result<NodeReport, StorageError> {
    let mut config = redis::cmd("CONFIG");
    config.arg("GET").arg("maxmemory-policy").arg("appendfsync");
    config.arg("no-appendfsync-on-rewrite").arg("min-replicas-to-write");
    let commands = vec![redis::cmd("INFO"), redis::cmd("TIME"), config];
    let mut replies = redis.ask(node, commands).await?.into_iter();
    let mut reply = || replies.next().unwrap_or(Value::Nil);
    let (info, time, config) = (reply(), reply(), reply());
    let info: String = redis::from_redis_value(info).map_err(StorageError::unavailable)?;
    let info: BTreeMap<&str, &str> =
        info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    // Managed servers do not let everybody see their configuration.
    let config: BTreeMap<String, String> = redis::from_redis_value(config).unwrap_or_default();
    let (seconds, micros): (i64, i64) =
        redis::from_redis_value(time).map_err(StorageError::unavailable)?;
    let here = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let here = here.ok().and_then(|here| i64::try_from(here.as_millis()).ok()).unwrap_or_default();
    let there = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    let mut version = info.get("redis_version").copied().unwrap_or_default().split('.');
    let mut part = || version.next().and_then(|part| part.parse().ok()).unwrap_or_default();
    let option = |name: &str| config.get(name).cloned();
    Ok(NodeReport {
        name: node.name().to_owned(),
        version: (part(), part()),
        cluster: info.get("cluster_enabled") == Some(&"1"),
        eviction: option("maxmemory-policy")
            .or_else(|| info.get("maxmemory_policy").map(|&policy| policy.to_owned())),
        append_only: info.get("aof_enabled") == Some(&"1"),
        fsync: option("appendfsync"),
        fsync_pauses: option("no-appendfsync-on-rewrite").as_deref() == Some("yes"),
        replicas: good_replicas(&info),
        min_replicas_to_write: option("min-replicas-to-write").and_then(|n| n.parse().ok()),
        clock_skew_millis: here.saturating_sub(there).saturating_abs(),
        last_write_failed: info.get("aof_last_write_status").is_some_and(|status| *status != "ok"),
    })
}

/// Replicas that follow: `slave0:ip=..,port=..,state=online,offset=..,lag=0`.
fn good_replicas(info: &BTreeMap<&str, &str>) -> u32 {
    let follows = |line: &&str| {
        let field = |name: &str| {
            line.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        let lag = field("lag").and_then(|lag| lag.parse::<u32>().ok());
        field("state") == Some("online") && lag.is_some_and(|lag| lag < 10)
    };
    let replicas = (0..).map_while(|number| info.get(format!("slave{number}").as_str()));
    u32::try_from(replicas.filter(|line| follows(line)).count()).unwrap_or(u32::MAX)
}

/// Whether requests can be served now: every primary answers, with the replicas that it has to have,
/// and is what it has to be.
pub(crate) async fn ready(redis: &Redis, report: &RwLock<Arc<Report>>) -> Result<(), StorageError> {
    let before = Arc::clone(&report.read().unwrap_or_else(PoisonError::into_inner));
    let now = Arc::new(look(redis, before.topology, before.confirmation).await?);
    *report.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&now);
    if let Some((node, problem)) = now.problem() {
        return Err(StorageError::unavailable(format_args!("{}: {problem}", node.name)));
    }
    let nodes = redis.router.primaries();
    let pings = nodes.iter().map(|node| redis.at_node(node, || vec![redis::cmd("PING")]));
    for answer in join_all(pings).await {
        answer?;
    }
    Ok(())
}

/// Looks again and again, and says when something changed.
pub(crate) fn watch(redis: Arc<Redis>, report: Arc<RwLock<Arc<Report>>>) -> Watch {
    Watch(tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let before = Arc::clone(&report.read().unwrap_or_else(PoisonError::into_inner));
            let now = match look(&redis, before.topology, before.confirmation).await {
                Ok(now) => now,
                Err(error) => {
                    tracing::warn!(%error, "Redis cannot be looked at");
                    continue;
                }
            };
            match now.problem() {
                Some((node, problem)) => tracing::error!(node = node.name, problem, "not ready"),
                None if now.can_lose() != before.can_lose() => {
                    tracing::warn!("durability {}: {}", now.confirmation, now.can_lose());
                }
                None => {}
            }
            *report.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
        }
    }))
}

/// Looks as long as it is there.
pub(crate) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}
