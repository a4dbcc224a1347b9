//! How a server is to be.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use super::network::Site;
use super::proxy::FaultProxy;
use super::server::Server;
use super::tls::Tls;
use crate::ground::{BUS, Place, Port};

/// When the append-only file is written through to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before every answer.
    Always,
    /// Once a second.
    EverySecond,
    /// When the operating system likes.
    No,
}

/// The user by whom the stage itself, replicas and sentinels sign in. It may do everything, whatever
/// the options and a test do to the others.
pub(super) const OPERATOR: &str = "stage-operator";

/// How a server is to be: [`Server::options`], then what differs from the default, then
/// [`start`](Self::start).
///
/// By default there is no persistence, no limit of memory, no password and no TLS, and the port is
/// one that is free.
#[derive(Debug, Clone)]
pub struct Options {
    pub(super) host: IpAddr,
    pub(super) port: Option<u16>,
    /// The port that others are told, when it is another one.
    pub(super) announced: Option<u16>,
    pub(super) password: Option<String>,
    pub(super) tls: Option<Tls>,
    pub(super) operator_password: String,
    pub(super) sentinel: bool,
    pub(super) site: Option<Site>,
    users: Vec<String>,
    lines: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: None,
            announced: None,
            password: None,
            tls: None,
            // Those who belong together have the same.
            operator_password: "by-whom-it-is-staged".into(),
            sentinel: false,
            site: None,
            users: Vec::new(),
            lines: Vec::new(),
        }
    }
}

impl Options {
    /// This port, and no other. Without it the server gets one that is free.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// An append-only file, so that what was written survives [`Server::kill_9`].
    #[must_use]
    pub fn append_only(self, fsync: Fsync) -> Self {
        let policy = match fsync {
            Fsync::Always => "always",
            Fsync::EverySecond => "everysec",
            Fsync::No => "no",
        };
        self.config("appendonly", "yes").config("appendfsync", policy)
    }

    /// A limit of memory, in bytes, and what is to happen at it: `noeviction`, `allkeys-lru` and so on.
    #[must_use]
    pub fn max_memory(self, bytes: u64, policy: &str) -> Self {
        self.config("maxmemory", &bytes.to_string()).config("maxmemory-policy", policy)
    }

    /// The default user has this password (`requirepass`).
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    /// An ACL user, by the rule that stands behind `user` in a file of users:
    /// `app on >secret ~grantor:* +@all`, or `default off`.
    ///
    /// Besides there is always one user of the stage itself, who may do everything.
    #[must_use]
    pub fn acl_user(mut self, rule: &str) -> Self {
        self.users.push(rule.into());
        self
    }

    /// Only TLS, with these certificates.
    #[must_use]
    pub fn tls(mut self, tls: &Tls) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// A replica of that server.
    #[must_use]
    pub fn replica_of(mut self, primary: &Server) -> Self {
        self.operator_password = primary.options_of().operator_password.clone();
        self.config("replicaof", &format!("{} {}", primary.host(), primary.announced_port()))
    }

    /// Writes are refused with fewer replicas than this, or when they have not been heard of for
    /// `max_lag` seconds.
    #[must_use]
    pub fn min_replicas_to_write(self, replicas: u32, max_lag: u32) -> Self {
        self.config("min-replicas-to-write", &replicas.to_string())
            .config("min-replicas-max-lag", &max_lag.to_string())
    }

    /// In that place of a [`Network`](super::Network), with its address, instead of on the loopback
    /// interface.
    #[must_use]
    pub fn at(mut self, site: &Site) -> Self {
        self.host = site.addr();
        self.site = Some(site.clone());
        self
    }

    /// Any other line of `redis.conf`; `value` stands there as it is given. The last one counts.
    #[must_use]
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name} {value}"));
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    /// When there is no `redis-server`, or when it does not answer in time: with the end of its log.
    #[must_use]
    pub fn start(self) -> Server {
        Server::start_with(self)
    }

    /// Starts the server with a proxy before it, whose port is what it tells others.
    pub(super) fn start_behind_proxy(self) -> (Server, FaultProxy) {
        assert!(
            self.site.is_none(),
            "a proxy is on the loopback interface, where no site reaches it"
        );
        loop {
            let port = Port::free();
            let proxy = FaultProxy::between((self.host, port.number()).into(), self.clone());
            let mut options = self.clone();
            options.announced = Some(proxy.port());
            match Server::try_start(options, port) {
                Ok(server) => return (server, proxy),
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("redis-server ended before it answered\n{log}"),
            }
        }
    }

    /// The configuration of a server on that port and place, as the text of a file.
    pub(super) fn text(&self, place: &Place, port: &Port) -> String {
        let mut text = String::new();
        let mut line = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        line(&format!("bind {}", self.host));
        line("protected-mode no");
        line("daemonize no");
        line("dir .");
        line(&format!("unixsocket {}", quoted(&place.file("socket").to_string_lossy())));
        match &self.tls {
            None => line(&format!("port {}", port.number())),
            Some(tls) => {
                line("port 0");
                line(&format!("tls-port {}", port.number()));
                let file = |name: &str, content: &str| {
                    quoted(&place.write(name, content).to_string_lossy())
                };
                line(&format!("tls-ca-cert-file {}", file("ca.pem", &tls.ca)));
                line(&format!("tls-cert-file {}", file("cert.pem", &tls.certificate)));
                line(&format!("tls-key-file {}", file("key.pem", &tls.key)));
                let clients = if tls.require_client_certificate { "yes" } else { "no" };
                line(&format!("tls-auth-clients {clients}"));
                line("tls-replication yes");
                if !self.sentinel {
                    line("tls-cluster yes");
                }
            }
        }
        let secret = &self.operator_password;
        line(&format!("user {OPERATOR} on >{secret} ~* &* +@all"));
        for rule in &self.users {
            line(&format!("user {rule}"));
        }
        if let Some(password) = &self.password {
            line(&format!("requirepass {}", quoted(password)));
        }
        if !self.sentinel {
            line(&format!("masteruser {OPERATOR}"));
            line(&format!("masterauth {secret}"));
            line("save \"\"");
            if let Some(announced) = self.announced {
                let host = self.host;
                line(&format!("replica-announce-ip {host}\nreplica-announce-port {announced}"));
                line(&format!("cluster-announce-ip {host}\ncluster-announce-port {announced}"));
                line(&format!("cluster-announce-bus-port {}", port.number() + BUS));
            }
            // A replica is to be there as soon as it can.
            line("repl-diskless-sync yes");
            line("repl-diskless-sync-delay 0");
            line("repl-ping-replica-period 1");
        }
        for own in &self.lines {
            line(own);
        }
        text
    }

    pub(super) fn url(&self, port: u16, user: Option<(&str, &str)>) -> String {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        let mut url = format!("{scheme}://");
        let default = self.password.as_deref().map(|password| ("", password));
        if let Some((user, password)) = user.or(default) {
            url.push_str(&escaped(user));
            url.push(':');
            url.push_str(&escaped(password));
            url.push('@');
        }
        match self.host {
            IpAddr::V4(host) => write!(url, "{host}:{port}"),
            IpAddr::V6(host) => write!(url, "[{host}]:{port}"),
        }
        .expect("text");
        url
    }
}

/// A text of `redis.conf` that may have anything in it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            0x20..=0x7e => quoted.push(char::from(byte)),
            _ => write!(quoted, "\\x{byte:02x}").expect("text"),
        }
    }
    quoted.push('"');
    quoted
}

/// A user or password in a URL.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => write!(escaped, "%{byte:02X}").expect("text"),
        }
    }
    escaped
}
