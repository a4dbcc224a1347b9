//! The Unix socket of a running server, and the line that travels over it each way.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grantor::AuthorizationServer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::{AdminReply, AdminRequest, execute};
use crate::shutdown::Shutdown;
use crate::users::Directory;

/// A client with every field at its bound fits in.
const MAX_REQUEST: u64 = 256 * 1024;
/// The shortest bound among the systems, less room for the number of a process.
const MAX_PATH: usize = 92;
const MAX_REPLY: u64 = 64 * 1024 * 1024;
const TOO_LONG: &str = "the answer exceeds 64 MiB; narrow the question, for instance with --user";
/// How many commands are served at once, and how long one may take to say what it wants.
const CONNECTIONS: usize = 16;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a running server takes [`AdminRequest`]s: a socket that only its own user can open.
///
/// The file is removed when this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// Why there is no socket, or no answer over it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// A server answers on it.
    #[error("another server answers on {}; stop it, or choose another --admin-socket", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The name does not fit into an address.
    #[error(
        "{} is too long for the name of a socket; choose a shorter --admin-socket (at most {MAX_PATH} bytes)",
        path.display()
    )]
    TooLong {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} exists and is not a socket; remove it, or choose another --admin-socket", path.display())]
    NotASocket {
        /// What is there.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error("the other end of {} runs as another user; run the command as the user that the server runs as", path.display())]
    Stranger {
        /// The socket.
        path: PathBuf,
    },
    /// The other end is not one of ours, or of another version.
    #[error("the other end of {} was not understood: {reason}. Do the command and the server have the same version?", path.display())]
    NotUnderstood {
        /// The socket.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError::Io { action, path, source }
}

impl AdminSocket {
    /// Listens on this path. A socket that a killed server left behind is replaced; one that
    /// answers is not.
    pub async fn bind(path: &Path) -> Result<Self, SocketError> {
        use std::os::unix::fs::FileTypeExt as _;

        if is_too_long(path) {
            let path = path.to_owned();
            return Err(SocketError::TooLong { path });
        }
        if let Ok(found) = std::fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                let path = path.to_owned();
                return Err(SocketError::NotASocket { path });
            }
            if UnixStream::connect(path).await.is_ok() {
                let path = path.to_owned();
                return Err(SocketError::InUse { path });
            }
        }
        // Nobody can connect before the permissions are right: the socket gets its name only then.
        let mut unnamed = path.as_os_str().to_owned();
        unnamed.push(format!(".{}", std::process::id()));
        let unnamed = PathBuf::from(unnamed);
        remove(&unnamed).map_err(io_error("remove", &unnamed))?;
        let listener = UnixListener::bind(&unnamed).map_err(io_error("listen on", path))?;
        std::fs::set_permissions(&unnamed, Permissions::from_mode(0o600))
            .and_then(|()| std::fs::rename(&unnamed, path))
            .inspect_err(|_| {
                let _ = std::fs::remove_file(&unnamed);
            })
            .map_err(io_error("listen on", path))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers until the shutdown, and then finishes what is under way: half a revocation would have
    /// to be asked for again.
    pub async fn serve(
        self,
        server: AuthorizationServer,
        users: Directory,
        mut shutdown: Shutdown,
    ) {
        let free = Arc::new(Semaphore::new(CONNECTIONS));
        let mut under_way = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.requested() => break,
                accepted = self.accept(&free) => accepted,
            };
            while under_way.try_join_next().is_some() {}
            match accepted {
                Ok((stream, permit)) => {
                    let (server, users, path) = (server.clone(), users.clone(), self.path.clone());
                    under_way.spawn(async move {
                        if let Err(error) = answer(stream, &path, &server, &users).await {
                            tracing::warn!(%error, "an administration command was not served");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "an administration command could not connect");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn accept(
        &self,
        free: &Arc<Semaphore>,
    ) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
        let permit = Arc::clone(free).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        Ok((stream, permit))
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // A file that stays behind is replaced by the next server.
        let _ = remove(&self.path);
    }
}

fn is_too_long(path: &Path) -> bool {
    path.as_os_str().len() > MAX_PATH
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

async fn answer(
    mut stream: UnixStream,
    path: &Path,
    server: &AuthorizationServer,
    users: &Directory,
) -> Result<(), SocketError> {
    let own = rustix::process::geteuid().as_raw();
    let client = peer(&stream, path)?;
    // Root could do everything anyway.
    if client != own && client != ROOT {
        let path = path.to_owned();
        return Err(SocketError::Stranger { path });
    }
    let request = tokio::time::timeout(REQUEST_TIMEOUT, receive(&mut stream, path, MAX_REQUEST));
    let request =
        request.await.map_err(|_| io_error("read from", path)(io::ErrorKind::TimedOut.into()))?;
    let reply = match request {
        Ok(request) => execute(server, users, request).await,
        Err(error @ SocketError::NotUnderstood { .. }) => AdminReply::Failed(error.to_string()),
        Err(error) => return Err(error),
    };
    send(&mut stream, path, &reply, MAX_REPLY).await
}

/// Asks the server that listens on this path; `None`: none does.
pub(super) async fn ask(
    path: &Path,
    request: &AdminRequest,
) -> Result<Option<AdminReply>, SocketError> {
    if is_too_long(path) {
        return Ok(None);
    }
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(io_error("connect to", path)(error)),
    };
    // A password is about to be sent.
    let own = rustix::process::geteuid().as_raw();
    let server = peer(&stream, path)?;
    if server != own && server != ROOT && own != ROOT {
        let path = path.to_owned();
        return Err(SocketError::Stranger { path });
    }
    send(&mut stream, path, request, MAX_REQUEST).await?;
    receive(&mut stream, path, MAX_REPLY).await.map(Some)
}

const ROOT: u32 = 0;

/// The user that the other end runs as: the kernel says so, not the other end.
fn peer(stream: &UnixStream, path: &Path) -> Result<u32, SocketError> {
    let credentials = stream.peer_cred().map_err(io_error("look at", path))?;
    Ok(credentials.uid())
}

async fn send(
    stream: &mut UnixStream,
    path: &Path,
    message: &impl Serialize,
    limit: u64,
) -> Result<(), SocketError> {
    let mut line = encode(message, path)?;
    if line.len() as u64 > limit {
        line = encode(&AdminReply::Failed(TOO_LONG.to_owned()), path)?;
    }
    stream.write_all(&line).await.map_err(io_error("write to", path))
}

fn encode(message: &impl Serialize, path: &Path) -> Result<Zeroizing<Vec<u8>>, SocketError> {
    let mut line = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer(&mut *line, message).map_err(|error| SocketError::NotUnderstood {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    line.push(b'\n');
    Ok(line)
}

async fn receive<T: DeserializeOwned>(
    stream: &mut UnixStream,
    path: &Path,
    limit: u64,
) -> Result<T, SocketError> {
    let mut line = Zeroizing::new(Vec::new());
    let mut reader = BufReader::new(stream.take(limit));
    reader.read_until(b'\n', &mut line).await.map_err(io_error("read from", path))?;
    let not_understood =
        |reason: String| SocketError::NotUnderstood { path: path.to_owned(), reason };
    match line.strip_suffix(b"\n") {
        // The error of serde may quote what it was given, which may be a password.
        Some(message) => serde_json::from_slice(message).map_err(|error| {
            not_understood(format!(
                "line {}, column {}: {:?} error",
                error.line(),
                error.column(),
                error.classify()
            ))
        }),
        None if line.len() as u64 == limit => Err(not_understood("it is too long".to_owned())),
        None => Err(not_understood("it broke off".to_owned())),
    }
}
