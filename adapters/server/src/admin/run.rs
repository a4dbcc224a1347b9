//! Where a command is executed: by the running server, or here.

use std::path::PathBuf;

use grantor::AuthorizationServer;
use grantor::engine::BuildError;

use super::socket::{self, SocketError};
use super::{AdminReply, AdminRequest, execute};
use crate::audit::AuditLog;
use crate::config::{AdminSettings, ConfigError, StorageSpec};
use crate::store::{OpenError, Store};
use crate::users::{Directory, DirectoryError, Sources};

/// Why a command was not executed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The server did not do it.
    #[error("{0}")]
    Failed(String),
    /// There is nothing there.
    #[error(
        "there is no store in {}, and no server answers; name the data directory with --storage \
         sled:DIR, or the configuration file with --config FILE",
        directory.display()
    )]
    NoStore {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A store in memory is reached only through its server.
    #[error("the storage is memory: and no server answers on {}", match socket {
        Some(socket) => socket.display().to_string(),
        None => "a socket, since it has none; give both an --admin-socket".to_owned(),
    })]
    NoServer {
        /// Where one was looked for.
        socket: Option<PathBuf>,
    },
    /// A server has the store, but not the socket.
    #[error(
        "{} is in use by a process that does not answer on {}; if the server was started with \
         --admin-socket, give the command the same",
        directory.display(),
        socket.display()
    )]
    NoAnswer {
        /// The data directory.
        directory: PathBuf,
        /// The socket.
        socket: PathBuf,
    },
    /// The running server was not understood, or did not understand.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The store did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The user directory could not be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The configuration makes no server.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The store does not promise what the configuration demands.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Executes a request: over the socket if a server answers there, on the store otherwise. A store
/// that several processes may have open needs no socket.
pub async fn submit(
    settings: &AdminSettings,
    request: AdminRequest,
) -> Result<AdminReply, AdminError> {
    let socket = settings.admin_socket();
    if let Some(socket) = &socket
        && let Some(reply) = socket::ask(socket, &request).await?
    {
        return done(reply);
    }
    match &settings.storage {
        StorageSpec::Memory => return Err(AdminError::NoServer { socket }),
        // Opening a directory makes it a store, which is not what a question is for.
        StorageSpec::Sled(directory)
            if !request.begins_a_store() && !directory.join("grantor.state").exists() =>
        {
            return Err(AdminError::NoStore { directory: directory.clone() });
        }
        // A Redis may be open in as many processes as there are, so nobody has to be asked.
        StorageSpec::Sled(_) | StorageSpec::Redis(_) => {}
    }
    let storage = match (Store::open(&settings.storage).await, socket) {
        (Err(OpenError::Sled(grantor_sled::OpenError::InUse { path, .. })), Some(socket)) => {
            return Err(AdminError::NoAnswer { directory: path, socket });
        }
        (opened, _) => opened?.storage,
    };
    settings.check(&storage.promises())?;
    let users = Directory::new(storage.clone(), Sources::Proxied)?;
    let server = AuthorizationServer::builder(settings.issuer.clone())
        .policy(settings.policy.clone())
        .shared_storage(storage)
        .authenticator(users.clone())
        .audit(AuditLog)
        .build()?;
    done(execute(&server, &users, request).await)
}

fn done(reply: AdminReply) -> Result<AdminReply, AdminError> {
    match reply {
        AdminReply::Failed(why) => Err(AdminError::Failed(why)),
        reply => Ok(reply),
    }
}
