//! What the process is told: flags, environment, file, defaults, in this order.

mod file;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use grantor::model::{InvalidIssuer, Issuer, Policy};
use grantor::storage::{Durability, Promises};

use self::file::File;
pub use self::file::Mistake;
use crate::cli::{ServeArgs, StoreArgs};
use crate::logging::LogFormat;
use crate::traces::Which;

/// Where the records are kept: `sled:DIR` or `memory:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageSpec {
    /// In a directory of this machine, power-safe.
    Sled(PathBuf),
    /// In this process: gone when it ends.
    Memory,
}

impl StorageSpec {
    /// What a store of this kind promises, without opening one.
    const fn promises(&self) -> Promises {
        Promises {
            durability: match self {
                Self::Sled(_) => Durability::Power,
                Self::Memory => Durability::None,
            },
            linearizable: true,
            evicts: false,
            shared: false,
        }
    }
}

impl FromStr for StorageSpec {
    type Err = InvalidStorageSpec;

    fn from_str(text: &str) -> Result<Self, InvalidStorageSpec> {
        match text.split_once(':') {
            Some(("sled", directory)) if !directory.is_empty() => {
                Ok(Self::Sled(PathBuf::from(directory)))
            }
            Some(("memory", "")) => Ok(Self::Memory),
            _ => Err(InvalidStorageSpec),
        }
    }
}

impl fmt::Display for StorageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sled(directory) => write!(f, "sled:{}", directory.display()),
            Self::Memory => f.write_str("memory:"),
        }
    }
}

/// Neither of the two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write sled:DIR for a directory that survives a restart, or memory: for one that does not")]
pub struct InvalidStorageSpec;

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
    /// What is allowed.
    pub policy: Policy,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where decisions are recorded, if they are.
    pub trace_file: Option<PathBuf>,
    /// Which of them.
    pub trace: Which,
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
        let storage = storage(&args.store, &file);
        policy.validate(&storage.promises()).map_err(|error| file.explain(&error))?;
        let terminated = args.tls_terminated.or(file.content.tls_terminated).unwrap_or(false);
        if !listen.ip().is_loopback() && !terminated {
            return Err(ConfigError::Exposed { listen });
        }
        Ok(Self {
            issuer,
            listen,
            storage,
            admin_socket: admin_socket(&args.store, &file),
            policy,
            log_format: args.log_format.or(file.content.log_format).unwrap_or_default(),
            trace_file: args.trace_file.clone().or_else(|| file.content.trace_file.clone()),
            trace: args.trace.or(file.content.trace).unwrap_or_default(),
        })
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
        let storage = storage(args, &file);
        policy.validate(&storage.promises()).map_err(|error| file.explain(&error))?;
        let issuer = match file.content.issuer.clone() {
            Some(issuer) => issuer,
            None => Issuer::parse("http://localhost")?,
        };
        Ok(Self { issuer, admin_socket: admin_socket(args, &file), storage, policy })
    }

    /// Where a running server is asked; `None`: nowhere.
    pub fn admin_socket(&self) -> Option<PathBuf> {
        socket_of(self.admin_socket.as_deref(), &self.storage)
    }
}

fn storage(args: &StoreArgs, file: &File) -> StorageSpec {
    args.storage
        .clone()
        .or_else(|| file.content.storage.clone())
        .unwrap_or_else(|| StorageSpec::Sled(PathBuf::from("./grantor-data")))
}

fn admin_socket(args: &StoreArgs, file: &File) -> Option<PathBuf> {
    args.admin_socket.clone().or_else(|| file.content.admin_socket.clone())
}

fn socket_of(chosen: Option<&Path>, storage: &StorageSpec) -> Option<PathBuf> {
    match (chosen, storage) {
        (Some(path), _) => Some(path.to_owned()),
        (None, StorageSpec::Sled(directory)) => Some(directory.join("admin.sock")),
        (None, StorageSpec::Memory) => None,
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
    /// Not an issuer.
    #[error(transparent)]
    Issuer(#[from] InvalidIssuer),
}
