//! Real PostgreSQL for tests: a server that is killed, frozen and started again, and a wire that breaks.
//!
//! For authors of stores on PostgreSQL. Nothing here is simulated: each [`Server`] is a `postgres` of its
//! own, with a data directory of its own.
//!
//! ```no_run
//! use grantor_conformance::postgres::Server;
//!
//! let server = Server::start();
//! server.sql("CREATE TABLE promise (word text); INSERT INTO promise VALUES ('kept')");
//! server.kill_9();
//! server.restart();
//! assert_eq!(server.sql("SELECT word FROM promise"), "kept");
//! ```
//!
//! * [`Server`]: one server, with [`Options`].
//! * [`shared_server`]: one for all tests of a process that need no more than a [schema of their
//!   own](Server::schema).
//! * [`FaultProxy`]: between clients and a server: cuts a connection at any byte of what is asked or
//!   answered.
//!
//! Everything blocks, so that it is of use in any test. Whatever waits looks at the condition itself, and
//! fails after a minute with the log of the server. Nothing survives the drop, or the end of the test
//! process, even by `SIGKILL`.
//!
//! The programs are looked for in `GRANTOR_POSTGRES_BIN`, the `PATH`, what `pg_config --bindir` says, and
//! `/usr/lib/postgresql/*/bin`, where Debian has them. Without them a test fails. PostgreSQL does not run
//! as root: started by root, it runs as the user `postgres`, or `nobody` where there is none.
//!
//! The default port 5432 is never used, so a PostgreSQL of the machine itself is left alone.

mod programs;
mod proxy;
mod server;

use std::sync::OnceLock;

pub use proxy::{Cut, FaultProxy};
pub use server::{Options, Schema, Server};

/// One server for all tests of this process, with the default [`Options`].
///
/// It is started by the first who asks and ends with the process. So it is for tests that stay in a
/// [schema of their own](Server::schema), and that neither stop, freeze nor configure it.
///
/// # Panics
/// As [`Server::start`].
pub fn shared_server() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}
