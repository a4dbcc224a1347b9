//! Which server the Sentinels name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisResult};
use tokio::sync::Mutex;

use crate::connect::{Credentials, connection};

/// How long one Sentinel may take. Shorter than making a connection may take with all that belongs to
/// it: one that is gone without a word must not be in the way of the others.
const PATIENCE: Duration = Duration::from_millis(400);
/// How much longer is waited for the others when most have answered.
const GRACE: Duration = Duration::from_millis(50);

/// All Sentinels of a primary.
pub(crate) struct Sentinels {
    credentials: Arc<Credentials>,
    service: String,
    each: Vec<Sentinel>,
}

struct Sentinel {
    name: String,
    client: Client,
    kept: Mutex<Option<MultiplexedConnection>>,
}

/// What one of them says. The greatest is the youngest: a failover takes the next epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    epoch: u64,
    host: String,
    port: u16,
}

impl Sentinels {
    pub(crate) fn new(
        credentials: &Arc<Credentials>,
        hosts: &[(String, u16)],
        service: &str,
    ) -> RedisResult<Self> {
        let sentinel = |(host, port): &(String, u16)| {
            let client = credentials.sentinel(host, *port)?;
            Ok(Sentinel { name: format!("{host}:{port}"), client, kept: Mutex::default() })
        };
        Ok(Self {
            credentials: Arc::clone(credentials),
            service: service.to_owned(),
            each: hosts.iter().map(sentinel).collect::<RedisResult<_>>()?,
        })
    }

    /// The primary, as the one of them knows it who knows of the last failover: one that is cut off
    /// from the others still names what was.
    pub(crate) async fn primary(&self) -> Result<Client, String> {
        let most = self.each.len() / 2 + 1;
        let mut asked: FuturesUnordered<_> =
            self.each.iter().map(|sentinel| sentinel.ask(&self.service)).collect();
        let (mut answers, mut best, mut why) = (0, None, "no Sentinel is known".to_owned());
        loop {
            let patience = if answers >= most { GRACE } else { PATIENCE * 2 };
            match tokio::time::timeout(patience, asked.next()).await {
                Ok(Some(Ok(named))) => {
                    answers += 1;
                    best = best.max(Some(named));
                }
                Ok(Some(Err(error))) => why = error,
                Ok(None) | Err(_) => break,
            }
        }
        let Named { host, port, .. } = best.ok_or(why)?;
        self.credentials.client(&host, port).map_err(|error| error.to_string())
    }
}

impl Sentinel {
    async fn ask(&self, service: &str) -> Result<Named, String> {
        let attempt = async {
            let mut kept = self.kept.lock().await;
            // It is put back when it was good to the end.
            if let Some(mut connection) = kept.take()
                && let Ok(named) = master(&mut connection, service).await
            {
                *kept = Some(connection);
                return Ok(named);
            }
            let mut connection = connection(&self.client).await?;
            let named = master(&mut connection, service).await?;
            *kept = Some(connection);
            Ok(named)
        };
        let answer = match tokio::time::timeout(PATIENCE, attempt).await {
            Ok(answer) => answer,
            Err(_) => Err("it does not answer".to_owned()),
        };
        answer.map_err(|why| format!("Sentinel {}: {why}", self.name))
    }
}

async fn master(connection: &mut MultiplexedConnection, service: &str) -> Result<Named, String> {
    let mut cmd = redis::cmd("SENTINEL");
    cmd.arg("MASTER").arg(service);
    let fields: BTreeMap<String, String> =
        cmd.query_async(connection).await.map_err(|error| error.to_string())?;
    read(&fields).ok_or_else(|| "it does not say where the primary is".to_owned())
}

fn read(fields: &BTreeMap<String, String>) -> Option<Named> {
    Some(Named {
        epoch: fields.get("config-epoch")?.parse().ok()?,
        host: fields.get("ip").filter(|host| !host.is_empty())?.clone(),
        port: fields.get("port")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failover_counts() {
        let said = |epoch: &str, ip: &str, port: &str| {
            let fields = [("config-epoch", epoch), ("ip", ip), ("port", port), ("flags", "master")];
            read(&fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
        };
        let old = said("9", "z", "1").expect("whole");
        let new = said("10", "a", "2").expect("whole");
        assert_eq!(Some(old).max(Some(new.clone())), Some(new));
        assert_eq!(said("x", "a", "1"), None);
        assert_eq!(said("1", "", "1"), None);
        assert_eq!(said("1", "a", "65536"), None);
        assert_eq!(read(&BTreeMap::new()), None);
    }
}
