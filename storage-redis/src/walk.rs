//! Walking over everything, node by node, with `SCAN`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use grantor::storage::{Cursor, Kind, Page, StorageError};
use redis::Value;
use serde::{Deserialize, Serialize};

use crate::RedisStorage;
use crate::calls::{Redis, unexpected};
use crate::layout::Named;
use crate::node::Node;

/// Where a walk stands.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The node that is being scanned.
    node: String,
    /// Which process, and which distribution of the slots, the position belongs to.
    identity: u64,
    /// Which node had which slots, as far as was known here. The walk goes from node to node by this: a
    /// node that takes the place of another may stand before one that is done already.
    distribution: u64,
    /// The position that Redis gave; `None`: the node is done.
    position: Option<u64>,
    /// What was found and is not dealt with yet.
    pub(crate) waiting: Vec<Vec<u8>>,
    /// The last entry that was dealt with of the index that waits first.
    pub(crate) within: Option<Vec<u8>>,
}

/// How many keys one `SCAN` looks at.
const COUNT: usize = 1024;
/// How many of them one call makes at most. A page may come out empty.
const SCANS: usize = 16;

impl Place {
    pub(crate) fn read(cursor: Option<&Cursor>) -> Result<Option<Self>, StorageError> {
        let read = |cursor: &Cursor| rmp_serde::from_slice(&cursor.0);
        let place = cursor.map(read).transpose();
        place.map_err(|_| StorageError::unavailable("the cursor is not one of this store"))
    }

    pub(crate) fn to_cursor(&self) -> Result<Cursor, StorageError> {
        rmp_serde::to_vec(self).map(Cursor).map_err(StorageError::unavailable)
    }
}

impl Redis {
    /// Looks further until `enough` keys wait, or a little longer; `None` when there are no more.
    ///
    /// `exact`: nothing may be missed, so the position must belong to the same process and the same
    /// distribution of slots as before.
    pub(crate) async fn look_on(
        &self,
        place: Option<Place>,
        kind: Option<Kind>,
        enough: usize,
        exact: bool,
    ) -> Result<Option<Place>, StorageError> {
        let nodes = self.router.primaries();
        let pattern = self.names.pattern(kind);
        let distribution = self.router.distribution();
        let mut place = place.unwrap_or_else(|| Place { distribution, ..Place::default() });
        if exact && place.distribution != distribution {
            return Err(interrupted());
        }
        for _ in 0..SCANS {
            if place.waiting.len() >= enough {
                break;
            }
            let next = |node: &&Arc<Node>| match place.position {
                Some(_) => node.name() >= place.node.as_str(),
                None => node.name() > place.node.as_str(),
            };
            let Some(node) = nodes.iter().find(next) else {
                return Ok(Some(place).filter(|place| !place.waiting.is_empty()));
            };
            let continued = place.position.filter(|_| node.name() == place.node);
            let begins = place.node.is_empty();
            if exact && place.position.is_some() && continued.is_none() {
                return Err(interrupted());
            }
            let scanned = self.scan(node, continued.unwrap_or_default(), &pattern).await?;
            let (identity, position, found) = scanned;
            // A position is worth nothing to another process.
            let same = begins || identity.matches(place.identity, continued.is_some());
            if exact && (!same || identity.moving) {
                return Err(interrupted());
            }
            if !same && continued.is_some() {
                place.position = Some(0);
                place.identity = identity.both;
                continue;
            }
            place.node = node.name().to_owned();
            place.identity = identity.both;
            place.position = (position != 0).then_some(position);
            place.waiting.extend(found);
        }
        Ok(Some(place))
    }

    async fn scan(
        &self,
        node: &Node,
        position: u64,
        pattern: &str,
    ) -> Result<(Identity, u64, Vec<Vec<u8>>), StorageError> {
        let is_cluster = self.router.is_cluster();
        let replies = self.at_node(node, || {
            let mut scan = redis::cmd("SCAN");
            scan.arg(position).arg("MATCH").arg(pattern).arg("COUNT").arg(COUNT);
            let mut info = redis::cmd("INFO");
            info.arg("server");
            let mut commands = vec![scan, info];
            if is_cluster {
                let mut nodes = redis::cmd("CLUSTER");
                nodes.arg("NODES");
                commands.push(nodes);
            }
            commands
        });
        let mut replies = replies.await?.into_iter();
        let mut reply = || replies.next().unwrap_or(Value::Nil);
        let (scan, info, nodes) = (reply(), reply(), reply());
        let identity =
            Identity::new(&text(&info)?, &if is_cluster { text(&nodes)? } else { String::new() });
        let (position, found): (u64, Vec<Vec<u8>>) =
            redis::from_redis_value(scan).map_err(StorageError::unavailable)?;
        Ok((identity, position, found))
    }
}

fn text(reply: &Value) -> Result<String, StorageError> {
    match reply {
        Value::BulkString(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        Value::SimpleString(text) => Ok(text.clone()),
        reply => Err(unexpected(reply)),
    }
}

fn interrupted() -> StorageError {
    StorageError::unavailable(
        "a server was restarted or slots moved while all records were walked over; begin again",
    )
}

/// To what a position of `SCAN` belongs.
struct Identity {
    /// The process and the distribution.
    both: u64,
    /// Keys are on their way from one node to another.
    moving: bool,
}

impl Identity {
    fn new(info: &str, nodes: &str) -> Self {
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default();
        let mut slots = Vec::new();
        let mut moving = false;
        for line in nodes.lines() {
            // Id, address, flags, primary, ping, pong, epoch, link, then the slots.
            let mut fields = line.split_ascii_whitespace();
            let id = fields.next().unwrap_or_default();
            let owned: Vec<_> = fields.skip(7).collect();
            moving |= owned.iter().any(|slot| slot.starts_with('['));
            if !owned.is_empty() {
                slots.push((id, owned));
            }
        }
        slots.sort_unstable();
        let (mut distribution, mut process) = (DefaultHasher::new(), DefaultHasher::new());
        slots.hash(&mut distribution);
        run.hash(&mut process);
        // The upper half is the distribution, which all nodes tell alike; the lower is the process.
        let both = distribution.finish() & !0 << 32 | process.finish() >> 32;
        Self { both, moving }
    }

    /// Whether a position goes on to be valid: at the same node, or at the next one.
    const fn matches(&self, before: u64, same_node: bool) -> bool {
        let changed = self.both ^ before;
        if same_node { changed == 0 } else { changed >> 32 == 0 }
    }
}

impl RedisStorage {
    /// Every record of a kind, each at least once.
    pub(crate) async fn walk(
        &self,
        kind: Kind,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let place = Place::read(after)?;
        let Some(mut place) = self.redis.look_on(place, Some(kind), limit, true).await? else {
            return Ok(Page { keys: Vec::new(), next: None });
        };
        let taken = place.waiting.len().min(limit);
        let names: Vec<_> = place.waiting.drain(..taken).collect();
        let exist = self.redis.exist(&names).await?;
        let there = names.iter().zip(exist).filter(|(_, exists)| *exists);
        let key = |(name, _): (&Vec<u8>, bool)| match self.redis.names.parse(name) {
            Named::Record(key) => Some(key),
            Named::Index | Named::Other => None,
        };
        let keys = there.filter_map(key).collect();
        Ok(Page { keys, next: Some(place.to_cursor()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
b 127.0.0.1:2@12 myself,master - 0 0 2 connected 8192-16383\n\
a 127.0.0.1:1@11 master - 0 0 1 connected 0-8191\n\
c 127.0.0.1:3@13 slave a 0 0 1 connected\n";

    #[test]
    fn a_position_is_good_for_the_same_process_and_distribution() {
        let before = Identity::new("run_id:1\r\n", NODES);
        let elsewhere = Identity::new("run_id:2\r\n", &NODES.replace("0 0 2", "9 9 2"));
        assert!(before.matches(before.both, true));
        assert!(elsewhere.matches(before.both, false));
        assert!(!elsewhere.matches(before.both, true));
        let moved = Identity::new("run_id:1\r\n", &NODES.replace("8191", "8000"));
        assert!(!moved.matches(before.both, true) && !moved.matches(before.both, false));
        assert!(!before.moving);
        let moving = NODES.replace("8192-16383", "8192-16383 [8192->-a]");
        assert!(Identity::new("run_id:1\r\n", &moving).moving);
    }
}
