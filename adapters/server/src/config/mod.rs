//! What the process is told: flags, environment, file, defaults, in this order.

mod file;
mod storage;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grantor::model::{InvalidIssuer, Issuer, Policy};
use grantor::storage::Promises;

use self::file::File;
pub use self::file::Mistake;
pub use self::storage::{InvalidStorageSpec, StorageSpec};
use crate::cli::{ServeArgs, StoreArgs};
use crate::logging::LogFormat;
use crate::traces::Which;

/// All that the server has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server's own address.
    pub issuer: Issuer,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the records are kept.
    pub storage: StorageSpec,
    /// Where administration commands are taken, if not in the data directory.
    pub admin_socket: Option<PathBuf>,
    /// How old the record of a client may be on which a request is decided.
    pub client_cache: Duration,
    /// What is allowed.
    pub policy: Policy,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where decisions are recorded, if they are.
    pub trace_file: Option<PathBuf>,
    /// Which of them.
    pub trace: Which,
    file: Arc<File>,
}

/// All that an administration command has to know.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Nothing that administration does depends on it.
    pub issuer: Issuer,
    /// Where the records are kept.
    pub storage: StorageSpec,
    /// Where a running server is asked, if not in the data directory.
    pub admin_socket: Option<PathBuf>,
    /// Which scopes there are, and how long replaced secrets work.
    pub policy: Policy,
    file: Arc<File>,
}

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8400);

impl Settings {
    /// Puts the settings together and checks them.
    pub fn load(args: &ServeArgs) -> Result<Self, ConfigError> {
        let file = File::load(args.store.config.as_deref())?;
        let policy = file.policy()?;
        let Some(issuer) = args.issuer.clone().or_else(|| file.content.issuer.clone()) else {
            return Err(ConfigError::NoIssuer);
        };
        let listen = args.listen.or(file.content.listen).unwrap_or(LISTEN);
        let storage = storage(&args.store, &file)?;
        file.check(&policy, &storage.promises())?;
        let client_cache = file.client_cache(&storage.promises())?;
        let terminated = args.tls_terminated.or(file.content.tls_terminated).unwrap_or(false);
        if !listen.ip().is_loopback() && !terminated {
            return Err(ConfigError::Exposed { listen });
        }
        Ok(Self {
            issuer,
            listen,
            storage,
            admin_socket: admin_socket(&args.store, &file),
            client_cache,
            policy,
            log_format: args.log_format.or(file.content.log_format).unwrap_or_default(),
            trace_file: args.trace_file.clone().or_else(|| file.content.trace_file.clone()),
            trace: args.trace.or(file.content.trace).unwrap_or_default(),
            file: Arc::new(file),
        })
    }

    /// Whether a store that promises this, as it was found to, can be served.
    pub fn check(&self, promises: &Promises) -> Result<(), ConfigError> {
        self.file.check(&self.policy, promises)
    }

    /// Where administration commands are taken; `None`: nowhere.
    pub fn admin_socket(&self) -> Option<PathBuf> {
        socket_of(self.admin_socket.as_deref(), &self.storage)
    }
}

impl AdminSettings {
    /// Puts the settings together.
    pub fn load(args: &StoreArgs) -> Result<Self, ConfigError> {
        let file = File::load(args.config.as_deref())?;
        let policy = file.policy()?;
        let storage = storage(args, &file)?;
        file.check(&policy, &storage.promises())?;
        let issuer = match file.content.issuer.clone() {
            Some(issuer) => issuer,
            None => Issuer::parse("http://localhost")?,
        };
        let admin_socket = admin_socket(args, &file);
        Ok(Self { issuer, admin_socket, storage, policy, file: Arc::new(file) })
    }

    /// Whether a store that promises this, as it was found to, can be used.
    pub fn check(&self, promises: &Promises) -> Result<(), ConfigError> {
        self.file.check(&self.policy, promises)
    }

    /// Where a running server is asked; `None`: nowhere.
    pub fn admin_socket(&self) -> Option<PathBuf> {
        socket_of(self.admin_socket.as_deref(), &self.storage)
    }
}

fn storage(args: &StoreArgs, file: &File) -> Result<StorageSpec, ConfigError> {
    let mut storage = args
        .storage
        .clone()
        .or_else(|| file.content.storage.clone())
        .unwrap_or_else(|| StorageSpec::Sled(PathBuf::from("./grantor-data")));
    if let Some(durability) = args.durability.or(file.content.durability)
        && !storage.confirm(durability)
    {
        return Err(ConfigError::NoReplicas { storage: storage.to_string() });
    }
    Ok(storage)
}

fn admin_socket(args: &StoreArgs, file: &File) -> Option<PathBuf> {
    args.admin_socket.clone().or_else(|| file.content.admin_socket.clone())
}

fn socket_of(chosen: Option<&Path>, storage: &StorageSpec) -> Option<PathBuf> {
    match (chosen, storage) {
        (Some(path), _) => Some(path.to_owned()),
        (None, StorageSpec::Sled(directory)) => Some(directory.join("admin.sock")),
        (None, StorageSpec::Redis(_) | StorageSpec::Memory) => None,
    }
}

/// Why the process cannot start as it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error(transparent)]
    Mistake(#[from] Mistake),
    /// Nobody said who this server is.
    #[error(
        "the issuer is missing: give the address at which clients reach this server, with --issuer, \
         GRANTOR_ISSUER or `issuer = \"https://auth.example.com\"` in the configuration file"
    )]
    NoIssuer,
    /// Passwords and tokens would cross the network in the clear.
    #[error(
        "this process speaks plain HTTP, and {listen} can be reached from other machines: listen on \
         127.0.0.1, or say --tls-terminated if only a proxy that terminates TLS can reach it"
    )]
    Exposed {
        /// The address.
        listen: SocketAddr,
    },
    /// There is nobody who could confirm anything.
    #[error("durability is a matter of Redis; {storage} is always as durable as it can be")]
    NoReplicas {
        /// Where the records are kept.
        storage: String,
    },
    /// Not an issuer.
    #[error(transparent)]
    Issuer(#[from] InvalidIssuer),
}
