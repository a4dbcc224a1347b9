//! One primary, and the ways to it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Confirmation;
use crate::connect::{ServerClock, Target};
use crate::driver::Places;
use crate::error::Failure;
use crate::link::{Link, Up};

/// How commands are sent, to all nodes alike.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub(crate) confirmation: Confirmation,
    pub(crate) replica_deadline: Duration,
    pub(crate) max_waiting: usize,
}

/// A key that nobody reads. It is written to learn that the replicas follow.
#[derive(Clone, Debug)]
pub(crate) enum Fence {
    /// The node has its slot.
    Own(Vec<u8>),
    /// Its slot is on its way to the node, which takes it only from those who ask.
    Passing(Vec<u8>),
}

/// How long a passing fence stays.
const PASSING_MILLIS: u64 = 1_000;

/// One primary.
pub(crate) struct Node {
    name: String,
    ways: Ways,
    places: Arc<Places>,
}

enum Ways {
    /// All commands share a connection; each is answered as soon as the server has executed it.
    Direct(Box<Link>),
    /// `WAIT` holds up what comes behind it on its connection. So there are several, each of which
    /// sends what has gathered, waits for the replicas once for all of it, and then sends the next.
    Lanes { lanes: Vec<Lane>, next: AtomicUsize },
}

const LANES: usize = 4;
/// The most commands that one wait covers.
const BATCH: usize = 128;

impl Node {
    /// `target` is asked once for each connection.
    pub(crate) fn new<E>(
        name: String,
        sending: &Sending,
        mut target: impl FnMut() -> Result<Target, E>,
    ) -> Result<Self, E> {
        let places = Arc::new(Places::new(sending.max_waiting));
        let ways = match sending.confirmation {
            Confirmation::Local => {
                let places = Arc::clone(&places);
                Ways::Direct(Box::new(Link::new(name.clone(), target()?, Duration::ZERO, places)))
            }
            Confirmation::Replicas(_) | Confirmation::Fsynced(_) => {
                let mut lanes = Vec::with_capacity(LANES);
                for _ in 0..LANES {
                    // A batch at a time is all that is sent on each.
                    let places = Arc::new(Places::new(1));
                    let held_up = sending.replica_deadline;
                    let link = Link::new(name.clone(), target()?, held_up, places);
                    lanes.push(Lane::new(link, &name, sending));
                }
                Ways::Lanes { lanes, next: AtomicUsize::new(0) }
            }
        };
        Ok(Self { name, ways, places })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn busy(&self) -> Failure {
        Failure::Busy { node: self.name.clone() }
    }

    /// The reply to one command, as soon as it is as safe as was asked for. The command gets the clock
    /// of the server; `asking`: the node has its key only for those who ask; the fence is made where one
    /// is written.
    pub(crate) async fn send(
        &self,
        command: impl Fn(ServerClock) -> Cmd,
        asking: bool,
        fence: impl Fn() -> Fence,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let _place = self.places.take().ok_or_else(|| self.busy())?;
        match &self.ways {
            Ways::Direct(link) => {
                let up = link.get(deadline).await?;
                let command = command(up.connected.clock);
                if asking {
                    let both = pipeline(asked(command));
                    let replies = exchange(link, &up, &both, &self.name, deadline);
                    return last(Box::pin(replies).await?, &self.name);
                }
                let mut connection = up.connected.connection.clone();
                let reply = pin!(connection.send_packed_command(&command));
                in_time(link, &up, &self.name, deadline, reply).await
            }
            Ways::Lanes { lanes, next } => {
                let lane = turn(lanes, next).ok_or_else(|| self.busy())?;
                let up = lane.link.get(deadline).await?;
                let command = command(up.connected.clock);
                let commands = if asking { asked(command).into() } else { vec![command] };
                last(self.queue(lane, commands, fence(), deadline).await?, &self.name)
            }
        }
    }

    /// The replies to several commands that are sent together, in the same way.
    pub(crate) async fn send_all(
        &self,
        commands: Vec<Cmd>,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Vec<Value>, Failure> {
        let _place = self.places.take().ok_or_else(|| self.busy())?;
        match &self.ways {
            Ways::Direct(link) => {
                let up = link.get(deadline).await?;
                exchange(link, &up, &pipeline(commands), &self.name, deadline).await
            }
            Ways::Lanes { lanes, next } => {
                let lane = turn(lanes, next).ok_or_else(|| self.busy())?;
                self.queue(lane, commands, fence, deadline).await
            }
        }
    }

    async fn queue(
        &self,
        lane: &Lane,
        commands: Vec<Cmd>,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Vec<Value>, Failure> {
        let (answer, receiver) = oneshot::channel();
        let work = Work { commands, fence, deadline, answer };
        lane.queue.try_send(work).map_err(|_| self.busy())?;
        match tokio::time::timeout_at(deadline, receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Failure::Timeout { node: self.name.clone() }),
        }
    }

    /// The replies to commands that change nothing, whatever the replicas have.
    pub(crate) async fn ask(
        &self,
        commands: Vec<Cmd>,
        deadline: Instant,
    ) -> Result<Vec<Value>, Failure> {
        let link = match &self.ways {
            Ways::Direct(link) => link,
            Ways::Lanes { lanes, .. } => match lanes.first() {
                Some(lane) => &*lane.link,
                None => return Err(Failure::Busy { node: self.name.clone() }),
            },
        };
        let up = link.get(deadline).await?;
        exchange(link, &up, &pipeline(commands), &self.name, deadline).await
    }
}

fn asked(command: Cmd) -> [Cmd; 2] {
    [redis::cmd("ASKING"), command]
}

fn last(mut replies: Vec<Value>, node: &str) -> Result<Value, Failure> {
    replies.pop().ok_or_else(|| missing(node))
}

fn turn<'a>(lanes: &'a [Lane], next: &AtomicUsize) -> Option<&'a Lane> {
    lanes.get(next.fetch_add(1, Ordering::Relaxed) % lanes.len().max(1))
}

fn pipeline(commands: impl IntoIterator<Item = Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline
}

/// Sends a pipeline and takes the replies, an error of the server among them being one.
async fn exchange(
    link: &Link,
    up: &Up,
    pipeline: &Pipeline,
    node: &str,
    deadline: Instant,
) -> Result<Vec<Value>, Failure> {
    let mut connection = up.connected.connection.clone();
    let replies = pin!(connection.send_packed_commands(pipeline, 0, pipeline.len()));
    let replies = in_time(link, up, node, deadline, replies).await?;
    if replies.len() != pipeline.len() {
        link.suspect(up);
        return Err(missing(node));
    }
    Ok(replies)
}

/// What comes on this connection, if it comes until then. A reply is waited for where it is: it is large.
async fn in_time<T>(
    link: &Link,
    up: &Up,
    node: &str,
    deadline: Instant,
    reply: Pin<&mut impl Future<Output = RedisResult<T>>>,
) -> Result<T, Failure> {
    let failure = match tokio::time::timeout_at(deadline, reply).await {
        Ok(Ok(reply)) => return Ok(reply),
        Ok(Err(error)) => Failure::Lost { node: node.to_owned(), why: error.to_string() },
        Err(_) => Failure::Timeout { node: node.to_owned() },
    };
    link.suspect(up);
    Err(failure)
}

fn missing(node: &str) -> Failure {
    Failure::Lost { node: node.to_owned(), why: "replies are missing".to_owned() }
}

struct Lane {
    link: Arc<Link>,
    queue: mpsc::Sender<Work>,
    worker: JoinHandle<()>,
}

struct Work {
    commands: Vec<Cmd>,
    fence: Fence,
    deadline: Instant,
    answer: oneshot::Sender<Result<Vec<Value>, Failure>>,
}

impl Lane {
    fn new(link: Link, name: &str, sending: &Sending) -> Self {
        let link = Arc::new(link);
        let (queue, waiting) = mpsc::channel(sending.max_waiting);
        let worker = Worker {
            link: Arc::clone(&link),
            name: name.to_owned(),
            confirmation: sending.confirmation,
            replica_deadline: sending.replica_deadline,
        };
        Self { link, queue, worker: tokio::spawn(worker.run(waiting)) }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

struct Worker {
    link: Arc<Link>,
    name: String,
    confirmation: Confirmation,
    replica_deadline: Duration,
}

impl Worker {
    async fn run(self, mut waiting: mpsc::Receiver<Work>) {
        let mut batch = Vec::with_capacity(BATCH);
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            // Nobody waits for these any more.
            batch.retain(|work| !work.answer.is_closed() && work.deadline > Instant::now());
            self.exchange(std::mem::take(&mut batch)).await;
        }
    }

    /// Everything in the batch, then a write, then the wait for the replicas to have that write.
    ///
    /// The write makes it a wait for everything that this server has executed until then, whoever
    /// sent it: what a look has found may be the change of somebody else that no replica has yet.
    /// And a replica that confirms it was a replica of this server until after the look, so nobody
    /// had been promoted in its place when it answered.
    async fn exchange(&self, mut batch: Vec<Work>) {
        let own = batch.iter().find(|work| matches!(work.fence, Fence::Own(_)));
        let (Some(fenced), Some(deadline)) =
            (own.or(batch.first()), batch.iter().map(|work| work.deadline).max())
        else {
            return;
        };
        let fence = fenced.fence.clone();
        let counts: Vec<_> = batch.iter().map(|work| work.commands.len()).collect();
        let commands = batch.iter_mut().flat_map(|work| std::mem::take(&mut work.commands));
        let mut pipeline = pipeline(commands);
        match &fence {
            Fence::Own(key) => pipeline.cmd("SET").arg(key).arg(""),
            Fence::Passing(key) => {
                pipeline.cmd("ASKING");
                pipeline.cmd("SET").arg(key).arg("").arg("PX").arg(PASSING_MILLIS)
            }
        };
        let millis = u64::try_from(self.replica_deadline.as_millis()).unwrap_or(u64::MAX).max(1);
        match self.confirmation {
            Confirmation::Fsynced(replicas) => {
                pipeline.cmd("WAITAOF").arg(1).arg(replicas).arg(millis);
            }
            Confirmation::Local | Confirmation::Replicas(_) => {
                pipeline.cmd("WAIT").arg(self.confirmation.replicas()).arg(millis);
            }
        }
        let outcome = match self.link.get(deadline).await {
            Ok(up) => {
                let replies = exchange(&self.link, &up, &pipeline, &self.name, deadline).await;
                replies.map(|replies| (up, replies))
            }
            Err(failure) => Err(failure),
        };
        let (up, mut replies) = match outcome {
            Ok(outcome) => outcome,
            Err(failure) => {
                for work in batch {
                    let _ = work.answer.send(Err(failure.clone()));
                }
                return;
            }
        };
        let wait = replies.pop().unwrap_or(Value::Nil);
        let fence = replies.pop().unwrap_or(Value::Nil);
        replies.truncate(counts.iter().sum());
        let confirmed = self.confirmed(&fence, &wait);
        if matches!(confirmed, Err(Failure::Lost { .. })) {
            self.link.suspect(&up);
        }
        let mut replies = replies.into_iter();
        for (work, count) in batch.into_iter().zip(counts) {
            let own: Vec<Value> = replies.by_ref().take(count).collect();
            // Where a command was not executed, nothing needs to be confirmed, and it says why. The
            // last is the one that counts: before it may be an `ASKING`.
            let refused = matches!(own.last(), Some(Value::ServerError(_)));
            let answer = match &confirmed {
                Err(failure) if !refused => Err(failure.clone()),
                _ => Ok(own),
            };
            let _ = work.answer.send(answer);
        }
    }

    fn confirmed(&self, fence: &Value, wait: &Value) -> Result<(), Failure> {
        let node = || self.name.clone();
        for reply in [fence, wait] {
            if let Value::ServerError(error) = reply {
                return Err(Failure::Lost { node: node(), why: error.to_string() });
            }
        }
        let wanted = self.confirmation.replicas();
        let (local, got) = match wait {
            Value::Int(replicas) => (1, *replicas),
            Value::Array(parts) => match parts.as_slice() {
                [Value::Int(local), Value::Int(replicas)] => (*local, *replicas),
                _ => (0, 0),
            },
            _ => (0, 0),
        };
        match local >= 1 && got >= i64::from(wanted) {
            true => Ok(()),
            false => Err(Failure::TooFewReplicas { node: node(), got, wanted }),
        }
    }
}
