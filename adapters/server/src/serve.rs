//! `grantor serve`: everything put together.

use std::path::PathBuf;
use std::sync::Arc;

use grantor::AuthorizationServer;
use grantor::engine::BuildError;
use grantor_redis::RedisStorage;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};

use crate::admin::{AdminSocket, SocketError};
use crate::app::App;
use crate::audit::AuditLog;
use crate::config::{ConfigError, Settings, StorageSpec};
use crate::http::{self, Limits};
use crate::shutdown::{self, Signals};
use crate::store::{OpenError, Store};
use crate::sweep::Sweeper;
use crate::traces::TraceFile;
use crate::users::{Directory, DirectoryError, Sources};

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The store did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store does not promise what the configuration demands.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration makes no server.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The user directory could not be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Administration commands cannot be taken.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: std::net::SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Decisions cannot be recorded.
    #[error("cannot write the trace file {}", path.display())]
    TraceFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    /// A part of the server did not run to its end.
    #[error("a part of the server failed")]
    Failed(#[from] JoinError),
}

/// Runs the server until SIGTERM or SIGINT, and then lets it finish what is under way.
pub async fn serve(settings: Settings) -> Result<(), ServeError> {
    let Store { storage, redis } = Store::open(&settings.storage).await?;
    settings.check(&storage.promises())?;
    // Where TLS ends somewhere else, every request comes from there.
    let sources = match settings.issuer.is_secure() || !settings.listen.ip().is_loopback() {
        true => Sources::Proxied,
        false => Sources::Direct,
    };
    let users = Directory::new(Arc::clone(&storage), sources)?;
    let mut builder = AuthorizationServer::builder(settings.issuer.clone())
        .policy(settings.policy.clone())
        .shared_storage(storage)
        .client_cache(settings.client_cache)
        .authenticator(users.clone())
        .audit(AuditLog);
    let traces = match &settings.trace_file {
        Some(path) => {
            let opened = TraceFile::open(path, settings.trace);
            let path = path.clone();
            let (traces, writer) =
                opened.map_err(|source| ServeError::TraceFile { path, source })?;
            builder = builder.traces(traces);
            Some(writer)
        }
        None => None,
    };
    let server = builder.build()?;
    let socket = match settings.admin_socket() {
        Some(path) => Some(AdminSocket::bind(&path).await?),
        None => None,
    };
    let listen_error = |source| ServeError::Listen { listen: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let mut signals = Signals::install().map_err(ServeError::Signals)?;
    let socket_path = socket.as_ref().map(AdminSocket::path);
    announce(&settings, &server, redis.as_deref(), sources, address, socket_path);

    let (trigger, shutdown) = shutdown::channel();
    let mut parts = JoinSet::new();
    parts.spawn(Sweeper::of(server.promises()).run(server.clone(), shutdown.clone()));
    if let Some(socket) = socket {
        parts.spawn(socket.serve(server.clone(), users, shutdown.clone()));
    }
    let app = App::new(server);
    let app = match redis {
        Some(redis) => app.on_redis(redis),
        None => app,
    };
    parts.spawn(http::serve(listener, app, Limits::default(), shutdown));
    tokio::select! {
        () = signals.next() => tracing::info!("stopping; a second signal does not wait"),
        // None of them ends by itself.
        Some(ended) = parts.join_next() => ended?,
    }
    trigger.stop();
    tokio::select! {
        () = signals.next() => {
            tracing::warn!("stopped without waiting");
            // Closing the store would wait for a disk that perhaps does not answer. What was
            // answered is durable.
            std::process::exit(0);
        }
        ended = finish(&mut parts) => {
            ended?;
            tracing::info!("stopped");
        }
    }
    drop(traces);
    Ok(())
}

async fn finish(parts: &mut JoinSet<()>) -> Result<(), JoinError> {
    while let Some(ended) = parts.join_next().await {
        ended?;
    }
    Ok(())
}

fn announce(
    settings: &Settings,
    server: &AuthorizationServer,
    redis: Option<&RedisStorage>,
    sources: Sources,
    address: std::net::SocketAddr,
    socket: Option<&std::path::Path>,
) {
    let promises = server.promises();
    tracing::info!(
        %address,
        issuer = server.issuer().as_str(),
        storage = %settings.storage,
        durability = ?promises.durability,
        linearizable = promises.linearizable,
        evicts = promises.evicts,
        shared = promises.shared,
        client_cache = ?settings.client_cache,
        can_lose = redis.map(|redis| redis.report().can_lose()),
        admin_socket = socket.map(|path| tracing::field::display(path.display())),
        "listening",
    );
    if settings.storage == StorageSpec::Memory {
        tracing::warn!("the storage is memory: everything is gone when this process ends");
    }
    if socket.is_none() && !promises.shared {
        tracing::warn!("there is no --admin-socket, so no client and no user can be added");
    }
    if server.policy().scopes.is_empty() {
        tracing::warn!("no scopes are defined, so nothing can be authorized; see [scopes]");
    }
    if sources == Sources::Proxied {
        tracing::info!(
            "attempts to sign in are throttled per account; the proxy that terminates TLS has to \
             throttle them per address"
        );
    }
}
