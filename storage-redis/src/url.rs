//! Addresses: one server, Sentinel or Cluster.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::config::Confirmation;
use crate::error::InvalidUrl;

/// How the servers stand together.
///
/// | address | topology |
/// |---|---|
/// | `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` | one server |
/// | `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],.../NAME[/DB]` | the primary that these Sentinels know under that name |
/// | `redis+cluster://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],...` | a Cluster, found by any of these nodes; also `redis://` with several hosts |
///
/// With `rediss` in place of `redis` all connections are TLS. User and password are percent-encoded.
/// After a `?`: `durability` ([`Confirmation`]), `prefix`, `deadline_ms`; for Sentinels that want a
/// login of their own `sentinel_user`, `sentinel_password`; for TLS with an own authority or with
/// client certificates the PEM files `tls_ca`, `tls_cert`, `tls_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server, perhaps with replicas that nobody promotes by himself.
    Single,
    /// A primary and replicas under the eyes of Sentinels.
    Sentinel,
    /// Redis Cluster.
    Cluster,
}

/// A parsed address.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) topology: Topology,
    pub(crate) tls: bool,
    pub(crate) hosts: Vec<(String, u16)>,
    pub(crate) login: Login,
    /// The name that Sentinels know the primary by.
    pub(crate) service: String,
    pub(crate) db: i64,
    pub(crate) options: Options,
}

/// A user of Redis; both parts may be missing.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) prefix: Option<String>,
    pub(crate) confirmation: Option<Confirmation>,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) sentinel: Login,
    pub(crate) tls_ca: Option<String>,
    pub(crate) tls_cert: Option<String>,
    pub(crate) tls_key: Option<String>,
}

/// Whether there is a login shows; what it is does not.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The address without its secrets and options.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "rediss" } else { "redis" })?;
        f.write_str(match self.topology {
            Topology::Single => "://",
            Topology::Sentinel => "+sentinel://",
            Topology::Cluster => "+cluster://",
        })?;
        for (number, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            match host.contains(':') {
                true => write!(f, "{comma}[{host}]:{port}")?,
                false => write!(f, "{comma}{host}:{port}")?,
            }
        }
        if self.topology == Topology::Sentinel {
            write!(f, "/{}", self.service)?;
        }
        if self.db != 0 {
            write!(f, "/{}", self.db)?;
        }
        Ok(())
    }
}

fn invalid(why: impl Into<String>) -> InvalidUrl {
    InvalidUrl(why.into())
}

impl FromStr for Address {
    type Err = InvalidUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("it has no scheme"))?;
        let (tls, kind) = match scheme.split_once('+').unwrap_or((scheme, "")) {
            ("redis", kind) => (false, kind),
            ("rediss", kind) => (true, kind),
            _ => return Err(invalid("the scheme is not redis or rediss")),
        };
        // A list of whole addresses, as other clients take it, is a list of hosts.
        let rest = rest.replace(&format!(",{scheme}://"), ",");
        let (rest, query) = rest.split_once('?').unwrap_or((&rest, ""));
        // It is not clear what of it is secret, so nothing may be said about its parts.
        if query.contains('@') {
            return Err(invalid("after the ? is an @: in a password they are %3F and %40"));
        }
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Login::parse(login)?, rest),
            None => (Login::default(), rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let default_port = if kind == "sentinel" { 26379 } else { 6379 };
        let hosts: Vec<_> = hosts
            .split(',')
            .map(|host| parse_host(host, default_port))
            .collect::<Result<_, _>>()?;
        let topology = match kind {
            "sentinel" => Topology::Sentinel,
            "cluster" => Topology::Cluster,
            "" if hosts.len() > 1 => Topology::Cluster,
            "" => Topology::Single,
            _ => return Err(invalid("after the + comes sentinel or cluster")),
        };
        let (service, db) = match topology {
            Topology::Sentinel => path.split_once('/').unwrap_or((path, "")),
            Topology::Single | Topology::Cluster => ("", path),
        };
        if topology == Topology::Sentinel && service.is_empty() {
            return Err(invalid("the name by which the Sentinels know the primary is missing"));
        }
        let db = match db {
            "" => 0,
            number => number.parse().map_err(|_| invalid("the database is not a number"))?,
        };
        if topology == Topology::Cluster && db != 0 {
            return Err(invalid("a Cluster has only database 0"));
        }
        let service = decode(service)?;
        Ok(Self { topology, tls, hosts, login, service, db, options: Options::parse(query)? })
    }
}

fn decode(text: &str) -> Result<String, InvalidUrl> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid("something in it is not UTF-8")),
    }
}

fn parse_host(text: &str, default_port: u16) -> Result<(String, u16), InvalidUrl> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) =
                bracketed.split_once(']').ok_or_else(|| invalid("a [ is not closed"))?;
            (host, rest.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None => default_port,
        Some(port) => port.parse().map_err(|_| invalid("a port is not a number"))?,
    };
    let printable = |b: u8| b.is_ascii_graphic() && !b"/@,".contains(&b);
    if host.is_empty() || !host.bytes().all(printable) {
        return Err(invalid("a host is missing"));
    }
    Ok((host.to_owned(), port))
}

impl Login {
    fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if text.contains('@') {
            return Err(invalid("there is more than one @; in a password it is written %40"));
        }
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let part = |text: &str| match text {
            "" => Ok(None),
            text => decode(text).map(Some),
        };
        Ok(Self { user: part(user)?, password: part(password)? })
    }
}

impl Options {
    fn parse(query: &str) -> Result<Self, InvalidUrl> {
        let mut options = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match name {
                "prefix" => options.prefix = Some(value),
                "durability" => {
                    let parsed = value.parse();
                    options.confirmation =
                        Some(parsed.map_err(|error| invalid(format!("durability: {error}")))?);
                }
                "deadline_ms" => {
                    let parsed = value.parse().ok().filter(|millis| (10..=60_000).contains(millis));
                    options.deadline_ms = Some(
                        parsed.ok_or_else(|| invalid("deadline_ms is not within 10 and 60000"))?,
                    );
                }
                "sentinel_user" => options.sentinel.user = Some(value),
                "sentinel_password" => options.sentinel.password = Some(value),
                "tls_ca" => options.tls_ca = Some(value),
                "tls_cert" => options.tls_cert = Some(value),
                "tls_key" => options.tls_key = Some(value),
                unknown => return Err(invalid(format!("there is no option {unknown:?}"))),
            }
        }
        if options.tls_cert.is_some() != options.tls_key.is_some() {
            return Err(invalid("tls_cert and tls_key belong together"));
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<String, String> {
        url.parse::<Address>().map(|address| address.to_string()).map_err(|error| error.0)
    }

    #[test]
    fn every_topology_has_an_address() {
        for (url, expected) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("rediss://:p%40ss@h:1/3", "rediss://h:1/3"),
            ("redis://u:p@[::1]:7", "redis://[::1]:7"),
            ("redis+sentinel://a,b:2,c/main", "redis+sentinel://a:26379,b:2,c:26379/main"),
            ("rediss+sentinel://a/main/4", "rediss+sentinel://a:26379/main/4"),
            ("redis+cluster://a:1", "redis+cluster://a:1"),
            ("redis://a:1,b:2", "redis+cluster://a:1,b:2"),
            ("redis://a:1,redis://b:2", "redis+cluster://a:1,b:2"),
        ] {
            assert_eq!(shown(url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_secret_is_shown() {
        for url in [
            "",
            "localhost",
            "http://h",
            "redis://",
            "redis://h:port",
            "redis+proxy://h",
            "redis://h/x",
            "redis+sentinel://h",
            "redis+cluster://h/1",
            "redis://h?durability=some",
            "redis://h?x=1",
            "redis://u:p@a,redis://u:p@b",
            "redis://[::1",
            "redis://a,,b",
            "redis://h?tls_cert=x",
            "redis://u:%ff@h",
            "redis://h?deadline_ms=1",
        ] {
            assert!(shown(url).is_err(), "{url}");
        }
        for url in [
            "redis://u:1?geheim@h",
            "redis://u:1?a&geheim=1@h",
            "redis://u:geheim@h@",
            "redis://u:geheim@h:x",
        ] {
            let error = shown(url).expect_err("not an address");
            assert!(!error.contains("geheim"), "{error}");
        }
        let secret: Address = "redis://u:geheim@h?sentinel_password=geheim".parse().expect("valid");
        assert!(!format!("{secret:?} {secret}").contains("geheim"));
        assert_eq!(secret.login.password.as_deref(), Some("geheim"));
    }

    #[test]
    fn options_come_after_a_question_mark() {
        let url = "redis://h?durability=replicas(1)&prefix=a:&deadline_ms=500";
        let options = url.parse::<Address>().expect("valid").options;
        assert_eq!(options.confirmation, Some(Confirmation::Replicas(1)));
        assert_eq!(options.prefix.as_deref(), Some("a:"));
        assert_eq!(options.deadline_ms, Some(500));
    }
}
