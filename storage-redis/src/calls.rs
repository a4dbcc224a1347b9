//! A command and its answer, whatever happens in between.

use std::time::Duration;

use futures_util::future::join_all;
use grantor::storage::StorageError;
use redis::{Cmd, ServerErrorKind, Value};
use tokio::time::Instant;

use crate::connect::ServerClock;
use crate::error::Failure;
use crate::layout::{Names, TOMBSTONE};
use crate::node::{Fence, Node};
use crate::router::{Fences, Router, slot_of};
use crate::scripts::Script;

/// The servers, and how long is waited for them.
pub(crate) struct Redis {
    pub(crate) router: Router,
    pub(crate) names: Names,
    pub(crate) deadline: Duration,
    pub(crate) fences: Fences,
    pub(crate) max_waiting: usize,
}

/// What the next attempt of a call has to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// The server does not know the script.
    whole: bool,
    /// An earlier attempt may have been executed, or may be yet.
    pub(crate) unsure: bool,
    /// When it was begun.
    pub(crate) now: Instant,
    clock: ServerClock,
}

impl Attempt {
    /// With room for so many bytes of arguments.
    pub(crate) fn script(self, script: &Script, key: &[u8], room: usize) -> Cmd {
        script.call(self.whole, key, room)
    }

    /// The second that it will be then, by the clock of the server.
    pub(crate) fn server_seconds_in(self, then: Duration) -> i64 {
        self.clock.seconds_at((self.now + then).into_std())
    }
}

/// What to do about the error of a server.
enum Next {
    /// Again, with the code of the script.
    Whole,
    /// Again, at the node that it names.
    At(String),
    /// Again, at the node that it names, which has it only for those who ask.
    Ask(String),
    /// Again, a little later.
    Later,
    /// It will not get better by itself.
    Fail(StorageError),
}

/// How long after an error the same is tried again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// How often a call follows at once where it is sent, before nodes that send it to each other get time
/// to agree.
const REDIRECTS: u32 = 3;

/// As many as a load of a request never has.
const AT_ONCE: usize = 128;

impl Redis {
    pub(crate) fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    fn fence(&self, slot: u16) -> u32 {
        match &self.router {
            Router::One(_) => 0,
            Router::Cluster(..) => self.fences.number(slot, |number| self.names.fence(number)),
        }
    }

    fn own_fence(&self, slot: u16) -> Fence {
        Fence::Own(self.names.fence(self.fence(slot)))
    }

    /// The replies of one node. Nothing is tried for long.
    pub(crate) async fn at_node(
        &self,
        node: &Node,
        commands: impl Fn() -> Vec<Cmd> + Send + Sync,
    ) -> Result<Vec<Value>, StorageError> {
        let none =
            || StorageError::unavailable(format_args!("{} has no slots any more", node.name()));
        let slot = self.router.slot_at(node, 0).ok_or_else(none)?;
        let until = self.until();
        let attempt = |slot| {
            let deadline = self.attempt_until(Instant::now(), until);
            node.send_all(commands(), self.own_fence(slot), deadline)
        };
        let replies = match attempt(slot).await {
            // The fence may be there already where its slot is going to.
            Err(Failure::Lost { .. }) => {
                let slot = self.router.slot_at(node, slot + 1).ok_or_else(none)?;
                attempt(slot).await?
            }
            answer => answer?,
        };
        for reply in &replies {
            if let Value::ServerError(error) = reply {
                return Err(StorageError::unavailable(format_args!("Redis says: {error}")));
            }
        }
        Ok(replies)
    }

    /// The same, whatever the replicas have.
    pub(crate) async fn ask(
        &self,
        node: &Node,
        commands: Vec<Cmd>,
    ) -> Result<Vec<Value>, StorageError> {
        Ok(node.ask(commands, self.until()).await?)
    }

    /// The reply to a command on this key, by the node that has the key.
    ///
    /// The command may be executed several times, on any node that takes itself for the right one:
    /// every command of this store is one that may.
    pub(crate) async fn call(
        &self,
        key: &[u8],
        deadline: Instant,
        command: impl Fn(Attempt) -> Cmd + Send + Sync,
    ) -> Result<Value, StorageError> {
        let mut elsewhere = false;
        let (mut whole, mut unsure) = (false, false);
        let mut redirect: Option<(String, bool)> = None;
        let (mut pause, mut redirects) = (PAUSE.0, 0);
        loop {
            let now = Instant::now();
            let target = redirect.take();
            let asking = target.as_ref().is_some_and(|(_, asking)| *asking);
            let found = target.and_then(|(address, _)| self.router.at(&address)).map(Ok);
            let node = found.unwrap_or_else(|| self.router.node(key));
            let answer = match &node {
                Ok(node) => {
                    let command = |clock| command(Attempt { whole, unsure, now, clock });
                    let fence = || {
                        let slot = slot_of(key);
                        match asking {
                            // Where the slot is on its way to another node, its fence may be there already
                            // when the key is still here.
                            false if elsewhere => {
                                self.own_fence(self.router.slot_at(node, slot + 1).unwrap_or(slot))
                            }
                            false => self.own_fence(slot),
                            true => Fence::Passing(self.names.passing_fence(self.fence(slot))),
                        }
                    };
                    node.send(command, asking, fence, self.attempt_until(now, deadline)).await
                }
                Err(failure) => Err(failure.clone()),
            };
            let failed = match answer {
                Ok(Value::ServerError(error)) => {
                    match self.next(&error, key, node.as_ref().map_or("", |node| node.name())) {
                        Next::Whole => {
                            whole = true;
                            continue;
                        }
                        Next::At(address) => {
                            redirect = Some((address, false));
                            StorageError::unavailable("the slots of the Redis Cluster keep moving")
                        }
                        Next::Ask(address) => {
                            redirect = Some((address, true));
                            StorageError::unavailable("the slots of the Redis Cluster keep moving")
                        }
                        Next::Later => {
                            self.router.complain();
                            StorageError::unavailable(format_args!("Redis says: {error}"))
                        }
                        Next::Fail(error) => return Err(error),
                    }
                }
                Ok(reply) => return Ok(reply),
                Err(failure) if failure.is_passing() => {
                    self.router.complain();
                    elsewhere = true;
                    unsure |= failure.may_be_executed();
                    failure.into()
                }
                Err(failure) => return Err(failure.into()),
            };
            redirects = if redirect.is_some() { redirects + 1 } else { 0 };
            let wait = if (1..=REDIRECTS).contains(&redirects) { Duration::ZERO } else { pause };
            if Instant::now() + wait >= deadline {
                return Err(failed);
            }
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }

    /// A single command is given up sooner than the call, so that there is time for another.
    fn attempt_until(&self, now: Instant, deadline: Instant) -> Instant {
        deadline.min(now + self.deadline / 2)
    }

    fn next(&self, error: &redis::ServerError, key: &[u8], node: &str) -> Next {
        // The slot, then the address.
        let named = || {
            let address = error.details()?.split_ascii_whitespace().last()?;
            Some(complete(address, node))
        };
        match error.kind() {
            Some(ServerErrorKind::NoScript) => Next::Whole,
            Some(ServerErrorKind::Moved) => match named() {
                Some(address) => {
                    self.router.moved(key, &address);
                    Next::At(address)
                }
                None => Next::Later,
            },
            Some(ServerErrorKind::Ask) => named().map_or(Next::Later, Next::Ask),
            Some(
                ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly,
            ) => Next::Later,
            // Too few replicas for a write: they may be back soon.
            _ if error.code() == "NOREPLICAS" => Next::Later,
            _ if error.code() == "WRONGTYPE" => Next::Fail(StorageError::damaged(
                "a key of this store holds something else; another program uses the prefix",
            )),
            _ => {
                // Where it does not know a command, Redis repeats what came with it.
                let said = error.to_string();
                let said = said.split(", with args").next().unwrap_or_default();
                Next::Fail(StorageError::unavailable(format_args!("Redis says: {said}")))
            }
        }
    }

    /// How much of one task is under way at a time.
    pub(crate) fn at_once(&self) -> usize {
        (self.max_waiting / 8).clamp(1, AT_ONCE)
    }

    /// Calls for several keys, at once; if they are very many, then not all of them, because others
    /// have to get through too.
    pub(crate) async fn each<K: AsRef<[u8]> + Sync>(
        &self,
        keys: &[K],
        deadline: Instant,
        command: impl Fn(Attempt, &[u8]) -> Cmd + Send + Sync,
    ) -> Result<Vec<Value>, StorageError> {
        let command = &command;
        let mut replies = Vec::with_capacity(keys.len());
        for keys in keys.chunks(self.at_once()) {
            let calls = keys.iter().map(|key| {
                let key = key.as_ref();
                async move { self.call(key, deadline, |attempt| command(attempt, key)).await }
            });
            for reply in join_all(calls).await {
                replies.push(reply?);
            }
        }
        Ok(replies)
    }

    /// The entries of an index after this one, `limit` at most.
    pub(crate) async fn entries(
        &self,
        index: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        // They begin with the number of a kind, marks with zero.
        let from = after.map_or_else(|| b"[\x01".to_vec(), |after| [b"(", after].concat());
        let reply = self.call(index, self.until(), |_| {
            let mut cmd = redis::cmd("ZRANGEBYLEX");
            cmd.arg(index).arg(&from).arg("+").arg("LIMIT").arg(0).arg(limit);
            cmd
        });
        let reply = reply.await?;
        let Value::Array(entries) = reply else { return Err(unexpected(&reply)) };
        let entry = |entry| match entry {
            Value::BulkString(entry) => Ok(entry),
            reply => Err(unexpected(&reply)),
        };
        entries.into_iter().map(entry).collect()
    }

    /// Under which of these names there is a record, of whichever format.
    pub(crate) async fn exist<K: AsRef<[u8]> + Sync>(
        &self,
        names: &[K],
    ) -> Result<Vec<bool>, StorageError> {
        let format = |_, name: &[u8]| {
            let mut cmd = redis::cmd("GETRANGE");
            cmd.arg(name).arg(0).arg(0);
            cmd
        };
        let formats = self.each(names, self.until(), format).await?;
        let is_record = |format: &Value| match format {
            Value::BulkString(format) => Ok(format.first().is_some_and(|it| *it != TOMBSTONE)),
            reply => Err(unexpected(reply)),
        };
        formats.iter().map(is_record).collect()
    }
}

/// An address to which a node refers: one without a host is on the host of that node.
fn complete(address: &str, node: &str) -> String {
    match address.rsplit_once(':') {
        Some(("" | "?", port)) => {
            let host = node.rsplit_once(':').map_or(node, |(host, _)| host);
            format!("{host}:{port}")
        }
        _ => address.to_owned(),
    }
}

/// What Redis answered is not what it answers to such a command.
pub(crate) fn unexpected(reply: &Value) -> StorageError {
    let kind = match reply {
        Value::Nil => "nil",
        Value::Int(_) => "an integer",
        Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => "a string",
        Value::Array(_) => "an array",
        _ => "something else",
    };
    StorageError::unavailable(format_args!("Redis answered with {kind} where that means nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_host_is_on_the_host_that_names_it() {
        assert_eq!(complete(":6381", "10.0.0.1:6379"), "10.0.0.1:6381");
        assert_eq!(complete("?:6381", "fe80::1:6379"), "fe80::1:6381");
        assert_eq!(complete("10.0.0.2:6381", "10.0.0.1:6379"), "10.0.0.2:6381");
    }
}
