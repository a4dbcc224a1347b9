//! What happens to the servers.

use std::fmt;
use std::time::{Duration, Instant};

use grantor_conformance::redis::{Cluster, Sentinels, Server};
use grantor_redis::Confirmation;

use super::Random;
use super::stage::Stage;

/// What happens in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A primary is killed with SIGKILL, and started again when another one has taken its place.
    Kill,
    /// A primary is killed with SIGKILL and started again at once.
    KillAndBack,
    /// A primary is stopped (SIGSTOP) until another one has taken its place, and then goes on.
    Freeze,
    /// A server is stopped for longer than any call takes, and nobody takes its place.
    Stall,
    /// A replica is made the primary, in agreement where there is a way.
    Promote,
    /// A replica takes over although the primary is alive and nobody agrees.
    TakeOver,
    /// Slots move to another primary with all that is in them.
    Reshard,
    /// All servers are started again, one after the other.
    RollingRestart,
    /// The connections of all clients are cut, several times, in the middle of whatever they do.
    CutConnections,
    /// No server knows any script any more.
    ForgetScripts,
    /// Memory is used up, and then there is room again.
    OutOfMemory,
    /// A primary is alone with all servers of ours, until another one has taken its place elsewhere.
    Minority,
    /// A primary is cut off from everybody, until another one has taken its place.
    CutOff,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "primary killed, failover, back",
            Self::KillAndBack => "primary killed, back at once",
            Self::Freeze => "primary frozen, failover, thawed",
            Self::Stall => "server frozen, thawed",
            Self::Promote => "replica promoted",
            Self::TakeOver => "replica takes over by force",
            Self::Reshard => "slots moved",
            Self::RollingRestart => "rolling restart",
            Self::CutConnections => "connections cut",
            Self::ForgetScripts => "SCRIPT FLUSH",
            Self::OutOfMemory => "out of memory, room again",
            Self::Minority => "partition, primary and clients on the small side",
            Self::CutOff => "partition, primary alone",
        })
    }
}

/// How long the server of [`Fault::Stall`] stands still: beyond the deadline of a call.
const STALL: Duration = Duration::from_millis(2_500);
/// How often connections are cut, and how long after each other.
const CUTS: (u32, Duration) = (5, Duration::from_millis(60));
const MOVED_SLOTS: usize = 150;

impl Fault {
    /// What can happen on this stage; what comes first happens in a short campaign.
    pub(crate) fn all(stage: &Stage) -> &'static [Self] {
        match stage {
            Stage::Single(_) => &[
                Self::KillAndBack,
                Self::CutConnections,
                Self::ForgetScripts,
                Self::OutOfMemory,
                Self::Stall,
            ],
            Stage::Sentinel(_) => &[
                Self::Kill,
                Self::Freeze,
                Self::Promote,
                Self::KillAndBack,
                Self::CutConnections,
                Self::ForgetScripts,
                Self::RollingRestart,
            ],
            Stage::Cluster(_) => &[
                Self::Kill,
                Self::Reshard,
                Self::Freeze,
                Self::TakeOver,
                Self::Promote,
                Self::KillAndBack,
                Self::CutConnections,
                Self::ForgetScripts,
                Self::RollingRestart,
            ],
            Stage::Parted(..) => &[Self::Minority, Self::CutOff],
        }
    }

    /// Whether it may lose something that was answered, as the report of the store says.
    ///
    /// Nothing is lost that a replica, and with it the one that takes over, has confirmed; nor by the
    /// end of a process with an append-only file; nor where the primary hands over to its replica.
    pub(crate) fn may_lose(self, stage: &Stage, confirmation: Confirmation) -> bool {
        let fails_over = match (self, stage) {
            (Self::Kill | Self::Freeze | Self::TakeOver | Self::Minority | Self::CutOff, _) => true,
            // Sentinels do not let the old primary wait.
            (Self::Promote | Self::RollingRestart, Stage::Sentinel(_)) => true,
            _ => false,
        };
        fails_over && confirmation == Confirmation::Local
    }

    /// Whether the primaries are the same afterwards.
    pub(crate) fn changes_no_primary(self) -> bool {
        matches!(
            self,
            Self::KillAndBack
                | Self::Stall
                | Self::Reshard
                | Self::CutConnections
                | Self::ForgetScripts
                | Self::OutOfMemory
        )
    }

    /// Lets it happen. `struck` is told which slots are concerned, none meaning all keys, at the moment
    /// from which on they are away, or may be. When this returns all is well again, but for the
    /// replicas that are on their way.
    pub(crate) fn strike(
        self,
        stage: &Stage,
        random: &Random,
        mut struck: impl FnMut(Vec<(u16, u16)>),
        until_recovered: impl Fn(),
    ) {
        match (self, stage) {
            (Self::CutConnections, _) => {
                struck(Vec::new());
                for _ in 0..CUTS.0 {
                    for server in stage.servers() {
                        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
                    }
                    std::thread::sleep(CUTS.1);
                }
            }
            (Self::ForgetScripts, _) => {
                struck(Vec::new());
                for server in stage.servers() {
                    server.cli(&["SCRIPT", "FLUSH", "SYNC"]);
                }
            }
            (_, Stage::Single(server)) => self.on_one(server, struck, until_recovered),
            (_, Stage::Sentinel(sentinels)) => self.on_sentinel(sentinels, struck),
            (_, Stage::Cluster(cluster)) => self.on_cluster(cluster, random, struck),
            (_, Stage::Parted(cluster, network)) => {
                let primaries = cluster.primaries();
                let old = *random.choose(&primaries).expect("primaries");
                let slots = cluster.slots_of(old);
                match self {
                    Self::Minority => network.isolate(&[old.site(), network.host()]),
                    _ => network.isolate(&[old.site()]),
                }
                struck(slots);
                cluster.wait_for_failover(old);
                network.heal();
            }
        }
    }

    fn on_one(
        self,
        server: &Server,
        mut struck: impl FnMut(Vec<(u16, u16)>),
        until_recovered: impl Fn(),
    ) {
        match self {
            Self::KillAndBack => {
                server.kill_9();
                struck(Vec::new());
                server.restart();
            }
            Self::Stall => {
                server.freeze();
                struck(Vec::new());
                std::thread::sleep(STALL);
                server.thaw();
            }
            Self::OutOfMemory => {
                server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
                std::thread::sleep(CUTS.1 * CUTS.0);
                struck(Vec::new());
                server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
            }
            _ => unreachable!("{self} is not for one server"),
        }
        until_recovered();
    }

    fn on_sentinel(self, sentinels: &Sentinels, mut struck: impl FnMut(Vec<(u16, u16)>)) {
        let old = sentinels.primary();
        match self {
            Self::Kill => {
                old.kill_9();
                struck(Vec::new());
                sentinels.wait_for_failover(old);
                old.restart();
            }
            Self::KillAndBack => {
                old.kill_9();
                struck(Vec::new());
                old.restart();
            }
            Self::Freeze => {
                old.freeze();
                struck(Vec::new());
                sentinels.wait_for_failover(old);
                old.thaw();
            }
            Self::Promote => {
                struck(Vec::new());
                sentinels.promote();
            }
            Self::RollingRestart => {
                struck(Vec::new());
                for server in sentinels.servers() {
                    if sentinels.primary().port() == server.port() {
                        sentinels.promote();
                        sentinels.wait_healthy();
                    }
                    server.restart();
                    sentinels.wait_healthy();
                }
            }
            _ => unreachable!("{self} is not for Sentinel"),
        }
    }

    fn on_cluster(
        self,
        cluster: &Cluster,
        random: &Random,
        mut struck: impl FnMut(Vec<(u16, u16)>),
    ) {
        let primaries = cluster.primaries();
        let old = *random.choose(&primaries).expect("primaries");
        match self {
            Self::Kill => {
                let slots = cluster.slots_of(old);
                old.kill_9();
                struck(slots);
                cluster.wait_for_failover(old);
                old.restart();
            }
            Self::KillAndBack => {
                let slots = cluster.slots_of(old);
                old.kill_9();
                struck(slots);
                old.restart();
            }
            Self::Freeze => {
                let slots = cluster.slots_of(old);
                old.freeze();
                struck(slots);
                cluster.wait_for_failover(old);
                old.thaw();
            }
            Self::Promote | Self::TakeOver => {
                let replicas = cluster.replicas_of(old);
                let replica = replicas.first().expect("a replica");
                struck(cluster.slots_of(old));
                match self {
                    Self::Promote => cluster.promote(replica),
                    _ => cluster.take_over(replica),
                }
            }
            Self::Reshard => {
                let others: Vec<_> =
                    primaries.iter().filter(|it| it.port() != old.port()).copied().collect();
                let to = *random.choose(&others).expect("three primaries");
                let slots: Vec<_> =
                    cluster.slots_of(old).into_iter().flat_map(|(a, b)| a..=b).collect();
                let from = random.below(slots.len().saturating_sub(MOVED_SLOTS));
                let moved: Vec<_> = slots.into_iter().skip(from).take(MOVED_SLOTS).collect();
                // The few that move are seldom asked for.
                struck(cluster.slots_of(old));
                let began = Instant::now();
                for slot in moved {
                    // A busy machine moves fewer.
                    if began.elapsed() > Duration::from_secs(10) {
                        break;
                    }
                    cluster.move_slot(slot, to);
                }
            }
            Self::RollingRestart => {
                struck(Vec::new());
                cluster.rolling_restart();
            }
            _ => unreachable!("{self} is not for a Cluster"),
        }
    }
}
