//! The program under test, running.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use grantor::AuthorizationServer;
use grantor::engine::Builder;
use grantor::model::ScopeSet;
use grantor::protocol::register::{Registered, Registration};
use grantor::resource::{Guard, ProtectedResource};
use grantor::storage::MemoryStorage;
use tokio::net::{TcpSocket, TcpStream};

use super::users::Users;
use super::{READ, Serve, Site, WRITE};
use crate::runner::ours::CALLBACK;

/// What hangs fails after this time.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at whether the program listens.
const PAUSE: Duration = Duration::from_millis(5);

/// A program that serves a site, and what a test knows about it.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) site: Site,
    pub(super) users: Users,
    program: JoinHandle<()>,
    /// Keeps the port from others: bound, and never listening.
    _port: TcpSocket,
}

/// Runs a test against a program.
pub(super) fn on_stage(serve: Serve, test: impl AsyncFnOnce(&Stage)) {
    on_stage_of(serve, "", |builder| builder, test);
}

/// The same with a server of another kind. `path` is the path of the issuer.
pub(super) fn on_stage_of(
    serve: Serve,
    path: &str,
    build: impl FnOnce(Builder) -> Builder,
    test: impl AsyncFnOnce(&Stage),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let stage = Stage::start(serve, path, build);
        stage.listens().await;
        let done = tokio::time::timeout(DEADLINE, test(&stage)).await;
        let fate = if stage.program.is_finished() { "has ended" } else { "is still running" };
        assert!(done.is_ok(), "no end after {DEADLINE:?}; the program under test {fate}");
    });
}

impl Stage {
    fn start(serve: Serve, path: &str, build: impl FnOnce(Builder) -> Builder) -> Self {
        let port = TcpSocket::new_v4().expect("a socket");
        port.set_reuseaddr(true).expect("an option of sockets");
        port.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let address = port.local_addr().expect("an address");
        let users = Users::default();
        let issuer = format!("http://{address}{path}");
        let builder = AuthorizationServer::builder(issuer.parse().expect("an issuer"))
            .storage(MemoryStorage::new())
            .authenticator(users.clone())
            .scope(READ, "See your calendar")
            .scope(WRITE, "Change your calendar");
        let server = build(builder).build().expect("a server");
        let resource = format!("http://{address}/events");
        let resource = ProtectedResource::new(&resource, server.issuer()).expect("a resource");
        let guard = Guard::from(&server).realm("calendar").resource(resource);
        let site = Site { address, server, guard };
        let program = {
            let site = site.clone();
            std::thread::spawn(move || serve(site))
        };
        Self { site, users, program, _port: port }
    }

    /// Until the program accepts connections.
    async fn listens(&self) {
        let begun = Instant::now();
        while let Err(error) = TcpStream::connect(self.site.address).await {
            assert!(!self.program.is_finished(), "the program under test has ended: {error}");
            assert!(begun.elapsed() < DEADLINE, "the program under test does not listen: {error}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// An address of the program.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.site.address)
    }

    /// A client of the code grant with a secret.
    pub(super) async fn client(&self) -> Registered {
        let registration = Registration::confidential("Planner", CALLBACK, scopes());
        self.site.server.register_client(&registration).await.expect("registered")
    }

    /// A resource server that may introspect.
    pub(super) async fn resource_server(&self) -> Registered {
        let registration = Registration {
            resource_server: true,
            ..Registration::service("Calendar", ScopeSet::default())
        };
        self.site.server.register_client(&registration).await.expect("registered")
    }
}

/// Both scopes of the program.
pub(super) fn scopes() -> ScopeSet {
    format!("{READ} {WRITE}").parse().expect("scopes")
}
