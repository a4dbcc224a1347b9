//! Making connections: where to, as whom, with which certificates.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisResult, TlsCertificates, Value,
};

use crate::driver::{Driver, Places, shared};
use crate::error::OpenError;
use crate::sentinel::Sentinels;
use crate::url::{Address, Login};

/// How long making a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// What all connections of a store have in common.
pub(crate) struct Credentials {
    tls: bool,
    certificates: TlsCertificates,
    login: Login,
    sentinel: Login,
    db: i64,
}

impl Credentials {
    pub(crate) fn load(address: &Address) -> Result<Self, OpenError> {
        let read = |path: &Option<String>| match path {
            None => Ok(None),
            Some(path) => std::fs::read(path)
                .map(Some)
                .map_err(|source| OpenError::TlsFile { path: path.clone(), source }),
        };
        let options = &address.options;
        let client_tls = read(&options.tls_cert)?
            .zip(read(&options.tls_key)?)
            .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let certificates = TlsCertificates { client_tls, root_cert: read(&options.tls_ca)? };
        if address.tls && rustls::crypto::CryptoProvider::get_default().is_none() {
            // The driver takes the provider of the process, and panics if a program was linked with
            // several and chose none. Somebody may choose at the same moment; theirs is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Ok(Self {
            tls: address.tls,
            certificates,
            login: address.login.clone(),
            sentinel: options.sentinel.clone(),
            db: address.db,
        })
    }

    fn addr(&self, host: &str, port: u16) -> ConnectionAddr {
        let host = host.to_owned();
        match self.tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        }
    }

    pub(crate) fn client(&self, host: &str, port: u16) -> RedisResult<Client> {
        self.client_as(&self.login, host, port, self.db)
    }

    /// One for a Sentinel, which has logins of its own and no databases.
    pub(crate) fn sentinel(&self, host: &str, port: u16) -> RedisResult<Client> {
        self.client_as(&self.sentinel, host, port, 0)
    }

    fn client_as(&self, login: &Login, host: &str, port: u16, db: i64) -> RedisResult<Client> {
        let mut settings = RedisConnectionInfo::default().set_db(db);
        if let Some(user) = &login.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &login.password {
            settings = settings.set_password(password);
        }
        let info = self.addr(host, port).into_connection_info()?.set_redis_settings(settings);
        // Else a command waits until what another one has sent before it is acknowledged, which over a
        // network is its reply.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        match self.tls {
            true => Client::build_with_tls(info, self.certificates.clone()),
            false => Client::open(info),
        }
    }
}

/// Who is at the other end of a connection.
pub(crate) enum Target {
    /// One server, which has to be a primary.
    Server(Client),
    /// Whomever the Sentinels name.
    Sentinel(Sentinels),
    /// A node of a Cluster, whatever it is at the moment: each command is told if it is wrong there.
    Node(Client),
}

/// A connection, and the time at its other end.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) connection: MultiplexedConnection,
    /// Last of all who use it.
    _driver: Option<Arc<Driver>>,
    pub(crate) node: String,
    pub(crate) clock: ServerClock,
}

/// The clock of a server, as it was read once and goes on since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerClock {
    read_at: Instant,
    millis: i64,
}

impl ServerClock {
    /// Whole seconds, as `TIME` begins with them.
    pub(crate) fn seconds_at(&self, moment: Instant) -> i64 {
        let since = moment.saturating_duration_since(self.read_at).as_millis();
        let millis = self.millis.saturating_add(i64::try_from(since).unwrap_or(i64::MAX));
        millis.div_euclid(1000)
    }
}

impl Target {
    /// A connection to the primary, or why there is none.
    pub(crate) async fn connect(&self, places: &Arc<Places>) -> Result<Connected, String> {
        let attempt = async {
            let client = self.client().await?;
            let node = client.get_connection_info().addr().to_string();
            let (mut connection, driver) = shared(&client, places).await?;
            if !matches!(self, Self::Node(_)) && !is_primary(&mut connection).await? {
                return Err(format!("{node} is a replica"));
            }
            let clock = read_clock(&mut connection).await?;
            Ok(Connected { connection, _driver: driver, node, clock })
        };
        match tokio::time::timeout(CONNECT_PATIENCE, attempt).await {
            Ok(done) => done,
            Err(_) => Err("it does not answer".to_owned()),
        }
    }

    async fn client(&self) -> Result<Client, String> {
        match self {
            Self::Server(client) | Self::Node(client) => Ok(client.clone()),
            Self::Sentinel(sentinels) => sentinels.primary().await,
        }
    }

    /// The time at the other end, if this connection still leads where it should.
    pub(crate) async fn probe(
        &self,
        connected: &Connected,
        held_up: Duration,
    ) -> Result<ServerClock, String> {
        let mut connection = connected.connection.clone();
        let attempt = async {
            if !matches!(self, Self::Node(_)) && !is_primary(&mut connection).await? {
                return Err("it became a replica".to_owned());
            }
            if let Self::Sentinel(_) = self {
                let named = self.client().await?.get_connection_info().addr().to_string();
                if named != connected.node {
                    return Err(format!("the Sentinels now name {named}"));
                }
            }
            read_clock(&mut connection).await
        };
        match tokio::time::timeout(CONNECT_PATIENCE.saturating_add(held_up), attempt).await {
            Ok(done) => done,
            Err(_) => Err("it does not answer".to_owned()),
        }
    }
}

/// A new connection for one who asks.
pub(crate) async fn connection(client: &Client) -> Result<MultiplexedConnection, String> {
    let connection = client.get_multiplexed_async_connection_with_config(&settings()).await;
    connection.map_err(|error| error.to_string())
}

/// Deadlines are set where a command is sent.
pub(crate) fn settings() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_PATIENCE))
        .set_response_timeout(None)
}

async fn is_primary(connection: &mut MultiplexedConnection) -> Result<bool, String> {
    let role = connection.req_packed_command(&redis::cmd("ROLE")).await;
    match role.map_err(|error| error.to_string())? {
        Value::Array(parts) => Ok(match parts.first() {
            Some(Value::BulkString(role)) => role == b"master",
            Some(Value::SimpleString(role)) => role == "master",
            _ => false,
        }),
        _ => Ok(false),
    }
}

async fn read_clock(connection: &mut MultiplexedConnection) -> Result<ServerClock, String> {
    let read_at = Instant::now();
    let time: (i64, i64) =
        redis::cmd("TIME").query_async(connection).await.map_err(|error| error.to_string())?;
    let millis = time.0.saturating_mul(1000).saturating_add(time.1 / 1000);
    Ok(ServerClock { read_at, millis })
}
