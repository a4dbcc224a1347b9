//! Real Redis for tests: servers, and what goes wrong with them.
//!
//! For authors of stores on Redis, or of anything else that must survive what Redis does. Nothing here
//! is simulated: each is one or more processes of `redis-server` (6.2 to 8, or of `valkey-server`) that
//! a test starts, kills and freezes.
//!
//! ```no_run
//! use grantor_conformance::redis::{Fsync, Server};
//!
//! let server = Server::options().append_only(Fsync::Always).start();
//! server.cli(&["SET", "promise", "kept"]);
//! server.kill_9();
//! server.restart();
//! assert_eq!(server.cli(&["GET", "promise"]), "kept");
//! ```
//!
//! * [`Server`]: one process, with [`Options`]: persistence, memory, passwords and ACLs, [`Tls`], replicas.
//! * [`shared_server`]: one for all tests of a process that need no more than keys of their own.
//! * [`Sentinels`]: a primary, its replicas, and the sentinels who decide which of them is the primary.
//! * [`Cluster`]: primaries and replicas with slots that move.
//! * [`FaultProxy`]: between clients and a server: replies that get lost, connections cut at any byte,
//!   commands held back or sent twice. It counts what comes by.
//! * [`Network`]: places with addresses of their own that are cut off from each other.
//!
//! Everything blocks, so that it is of use in any test; where a test has a load running meanwhile, that
//! load has threads of its own (`#[tokio::test(flavor = "multi_thread")]`). Whatever waits looks at the
//! condition itself, and fails after a minute with the log of the server. Nothing survives the drop, or
//! the end of the test process, even by `SIGKILL`.
//!
//! The binary is the `redis-server` of the `PATH`, else its `valkey-server`; `GRANTOR_REDIS_SERVER` names
//! another one. Without any a test fails.
//!
//! The default port 6379 is never used, so a Redis of the machine itself is left alone.

mod cluster;
mod lane;
mod network;
mod options;
mod proxy;
mod resp;
mod sentinel;
mod server;
mod slots;
mod tls;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub use cluster::{Cluster, ClusterOptions};
pub use network::{Network, Site, Unavailable};
pub use options::{Fsync, Options};
pub use proxy::{Command, Fault, FaultProxy, Held, Injected, Passed};
pub use resp::{Malformed, Value, parse};
pub use sentinel::{SentinelOptions, Sentinels};
pub use server::Server;
pub use slots::{SlotMove, slot_of};
pub use tls::Tls;

/// One server for all tests of this process, with the default [`Options`].
///
/// It is started by the first who asks and ends with the process. So it is for tests that leave the
/// keys of others alone (see [`unique_prefix`]), and that neither stop, freeze, flush nor configure it.
///
/// # Panics
/// As [`Options::start`].
pub fn shared_server() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

/// A prefix for keys that no other test of this process has, nor another process: `t4711-3-9f...:`.
#[must_use]
pub fn unique_prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("t{}-{number}-{:08x}:", std::process::id(), crate::ground::random() >> 32)
}
