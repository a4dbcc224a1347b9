//! `grantor demo`: the four parties of OAuth on one machine, with nothing to configure.
//!
//! | party | where |
//! |---|---|
//! | the user's browser | yours |
//! | the authorization server | `127.0.0.1:8400` |
//! | the client, a web application called Planner | `127.0.0.1:8401` |
//! | the resource server, a calendar | `127.0.0.1:8402` |
//!
//! They are one process, but they talk to each other over real connections and share nothing: the
//! client knows what a client knows. Every page shows what has just travelled between whom.

mod calendar;
mod planner;
mod transcript;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use grantor::AuthorizationServer;
use grantor::engine::Error as EngineError;
use grantor::model::{ClientId, ScopeDefinition, SecretString};
use grantor::protocol::Refusal;
use grantor::protocol::register::{Registered, Registration};
use grantor_sled::SledStorage;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::planner::Planner;
use crate::app::App;
use crate::audit::AuditLog;
use crate::http::{self, Limits};
use crate::shutdown;
use crate::sweep::Sweeper;
use crate::users::{Directory, DirectoryError, Sources};

/// What the demo can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where the data is kept; it survives restarts.
    #[arg(long, value_name = "DIR", default_value = "./grantor-data/demo")]
    pub data: PathBuf,
    /// The authorization server's port; the client and the calendar take the next two.
    #[arg(long, value_name = "PORT", default_value_t = 8400, value_parser = clap::value_parser!(u16).range(1..=65533))]
    pub port: u16,
}

const USERNAME: &str = "demo";
/// A password that everybody knows guards a server that nobody else can reach: it listens on
/// loopback only.
const PASSWORD: &str = "demo-password";
const CLIENT_ID: &str = "planner";
pub(crate) const READ: &str = "calendar.read";
pub(crate) const WRITE: &str = "calendar.write";

/// Where the three servers are.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    pub(crate) issuer: String,
    pub(crate) planner: String,
    pub(crate) calendar: String,
}

/// Runs the demo until it is told to stop.
pub async fn run(args: Args) -> Result<(), Error> {
    let bind = |offset: u16| async move {
        let address = format!("127.0.0.1:{}", args.port.saturating_add(offset));
        let listener = TcpListener::bind(&address).await;
        listener.map_err(|source| Error::Listen { address, source })
    };
    let (server_socket, planner_socket, calendar_socket) =
        (bind(0).await?, bind(1).await?, bind(2).await?);
    let url = |offset: u16| format!("http://127.0.0.1:{}", args.port.saturating_add(offset));
    let addresses = Addresses { issuer: url(0), planner: url(1), calendar: url(2) };

    let storage = Arc::new(SledStorage::open(&args.data)?);
    let directory = Directory::new(storage.clone(), Sources::Direct)?;
    match directory.add(USERNAME, &SecretString::new(PASSWORD)).await {
        Ok(_) | Err(DirectoryError::Exists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let server = AuthorizationServer::builder(addresses.issuer.parse()?)
        .shared_storage(storage)
        .authenticator(directory)
        .audit(AuditLog)
        .scope_definition(
            READ,
            ScopeDefinition::new("See the events in your calendar")
                .translated("ko", "캘린더의 일정 보기"),
        )
        .scope_definition(
            WRITE,
            ScopeDefinition::new("Add events to your calendar")
                .translated("ko", "캘린더에 일정 추가하기"),
        )
        .build()?;
    let client = register(&server, &addresses).await?;
    let planner = Planner::new(addresses.clone(), &client);

    let (trigger, shutdown) = shutdown::channel();
    let mut tasks = JoinSet::new();
    let limits = Limits::default();
    tasks.spawn(http::serve(server_socket, App::new(server.clone()), limits, shutdown.clone()));
    tasks.spawn(http::serve(planner_socket, planner.router(), limits, shutdown.clone()));
    let calendar = calendar::router(&server);
    tasks.spawn(http::serve(calendar_socket, calendar, limits, shutdown.clone()));
    tasks.spawn(Sweeper::default().run(server, shutdown));

    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "\n  Grantor demo\n\n  \
         1. open     {planner}/\n  \
         2. sign in  {USERNAME} / {PASSWORD}\n\n  \
         authorization server  {issuer}\n  \
         connected apps        {issuer}/apps\n  \
         client (Planner)      {planner}\n  \
         resource (calendar)   {calendar}/events\n  \
         data                  {data}\n\n  \
         Ctrl-C ends it; what was allowed is still there next time.\n",
        planner = addresses.planner,
        issuer = addresses.issuer,
        calendar = addresses.calendar,
        data = args.data.display(),
    );
    drop(out);
    shutdown::signal().await.map_err(Error::Signal)?;
    trigger.stop();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// The client registers at the first start. Afterwards it gets a new secret at every start instead of
/// keeping one in a file: the server has only the hash of the old one.
async fn register(
    server: &AuthorizationServer,
    addresses: &Addresses,
) -> Result<Registered, Error> {
    let id = ClientId::parse(CLIENT_ID).map_err(|_| Error::Client(Refusal::ClientUnknown))?;
    let scope =
        format!("{READ} {WRITE}").parse().map_err(|_| Error::Client(Refusal::ScopeMalformed))?;
    let registration = Registration {
        client_id: Some(id.clone()),
        // Registered without a port, so that it fits wherever --port moves the demo.
        redirect_uris: vec!["http://127.0.0.1/callback".into()],
        client_uri: Some("https://planner.example/".into()),
        policy_uri: Some("https://planner.example/privacy".into()),
        ..Registration::confidential("Planner", format!("{}/callback", addresses.planner), scope)
    };
    let registered = match server.register_client(&registration).await {
        Err(EngineError::Refused(Refusal::ClientExists)) => server.rotate_client_secret(&id).await,
        registered => registered,
    };
    registered.map_err(|error| match error {
        EngineError::Refused(refusal) => Error::Client(refusal),
        EngineError::Unavailable(unavailable) => Error::Unavailable(unavailable),
    })
}

/// Why the demo does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port is taken.
    #[error("cannot listen on {address} (--port moves all three servers)")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] grantor_sled::OpenError),
    /// The issuer is not one.
    #[error(transparent)]
    Issuer(#[from] grantor::model::InvalidIssuer),
    /// The server cannot be built.
    #[error(transparent)]
    Build(#[from] grantor::engine::BuildError),
    /// The demo user cannot be made.
    #[error(transparent)]
    User(#[from] DirectoryError),
    /// The demo client cannot be registered.
    #[error("the demo client cannot be registered: {0}")]
    Client(Refusal),
    /// The store did not answer.
    #[error(transparent)]
    Unavailable(#[from] grantor::engine::Unavailable),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signal(std::io::Error),
}
