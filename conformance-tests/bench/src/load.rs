//! Requests on keep-alive connections, each of which sends its next request when it has the answer to the one before.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::contender::Fatal;
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::process::{Scheduled, scheduled};

/// Longer than a server in memory lets the driver wait, shorter than a disk does: what the kernel does for that may need
/// the core of the driver.
const AWAKE: Duration = Duration::from_micros(50);
/// How long a server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an answer may be.
const ROOM: usize = 16 * 1024;

/// What is sent, and what must come back.
pub trait Work {
    /// Appends the bytes of the next request; `false`: there is none left.
    fn next(&mut self, bytes: &mut Vec<u8>) -> bool;
    /// Whether what is left should not be spent on warming up.
    fn scarce(&self) -> bool;
    /// Checks an answer and keeps what it is needed for later. An error ends the run.
    fn answered(&mut self, answer: &Answer<'_>) -> Result<(), Fatal>;
}

/// What came back.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The header, or nothing.
    pub location: &'a str,
    /// All of it.
    pub body: &'a [u8],
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// How many were answered.
    pub requests: u64,
    /// In what time.
    pub elapsed: Duration,
    /// All threads of the server.
    pub server: Scheduled,
    /// Its Redis.
    pub redis: Scheduled,
    /// In nanoseconds.
    pub latency: Histogram<u64>,
}

/// Whose time is measured, and where it listens.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// On 127.0.0.1.
    pub port: u16,
    /// Of the server.
    pub pid: u32,
    /// Of its Redis.
    pub redis: Option<u32>,
}

impl Server {
    /// What it itself was given, and what its Redis was.
    fn scheduled(self) -> Result<[Scheduled; 2], Fatal> {
        let redis = self.redis.map_or(Ok(Scheduled::default()), scheduled)?;
        Ok([scheduled(self.pid)?, redis])
    }
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// At once.
    pub connections: usize,
    /// Before anything is counted.
    pub warm: Duration,
    /// What is counted.
    pub duration: Duration,
}

struct Connection {
    stream: TcpStream,
    /// Of the answer, so far; the rest is room for more.
    received: usize,
    answer: Box<[u8; ROOM]>,
    sent: Instant,
    busy: bool,
}

/// Where a run is.
enum Stage {
    Warming(Instant),
    Measuring { since: Instant, before: [Scheduled; 2] },
    Draining,
}

/// Runs `work` against a server. It ends when the time is over, or when there is no work left.
pub fn run(server: Server, load: Load, work: &mut dyn Work) -> Result<Measured, Fatal> {
    let mut poll = Poll::new()?;
    let mut connections = Vec::with_capacity(load.connections);
    for index in 0..load.connections {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        connections.push(Connection {
            stream,
            received: 0,
            answer: Box::new([0; ROOM]),
            sent: Instant::now(),
            busy: false,
        });
    }
    let mut measured = Measured {
        requests: 0,
        elapsed: Duration::ZERO,
        server: Scheduled::default(),
        redis: Scheduled::default(),
        latency: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
    };
    let mut stage = Stage::Warming(Instant::now());
    let mut buffer = Vec::with_capacity(4 * 1024);
    let mut out_of_work = false;
    for connection in &mut connections {
        connection.send(work, &mut buffer)?;
    }
    let mut events = Events::with_capacity(load.connections);
    let awake = if server.redis.is_some() { Duration::ZERO } else { AWAKE };
    while connections.iter().any(|connection| connection.busy) {
        wait(&mut poll, &mut events, awake)?;
        for event in &events {
            let Some(connection) = connections.get_mut(event.token().0) else { continue };
            if !connection.receive(work)? {
                continue;
            }
            if let Stage::Measuring { .. } = stage {
                let taken = connection.sent.elapsed().as_nanos().try_into().unwrap_or(u64::MAX);
                measured.latency.saturating_record(taken);
                measured.requests += 1;
            }
            if !matches!(stage, Stage::Draining) {
                out_of_work |= !connection.send(work, &mut buffer)?;
            }
        }
        match stage {
            Stage::Warming(since) if since.elapsed() >= load.warm || work.scarce() => {
                stage = Stage::Measuring { since: Instant::now(), before: server.scheduled()? };
            }
            Stage::Measuring { since, before }
                if out_of_work || since.elapsed() >= load.duration =>
            {
                measured.elapsed = since.elapsed();
                let ([ours, redis], [ours_before, redis_before]) = (server.scheduled()?, before);
                measured.server = ours.since(ours_before);
                measured.redis = redis.since(redis_before);
                stage = Stage::Draining;
            }
            Stage::Warming(_) | Stage::Measuring { .. } | Stage::Draining => {}
        }
    }
    Ok(measured)
}

/// Waits for answers. To wake a driver that sleeps is work of the server, the more of it the less the driver has to do:
/// so it stays awake for a while, unless a Redis has to have its core.
fn wait(poll: &mut Poll, events: &mut Events, awake: Duration) -> Result<(), Fatal> {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        let timeout = if since.elapsed() < awake { Duration::ZERO } else { PATIENCE };
        match poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            Ok(()) if !events.is_empty() => return Ok(()),
            Ok(()) | Err(_) => {}
        }
    }
    Err(format!("no answer for {PATIENCE:?}").into())
}

impl Connection {
    /// Sends the next request, if there is one.
    fn send(&mut self, work: &mut dyn Work, buffer: &mut Vec<u8>) -> Result<bool, Fatal> {
        buffer.clear();
        if !work.next(buffer) {
            return Ok(false);
        }
        self.sent = Instant::now();
        self.busy = true;
        // A request is small and the one before is answered: the kernel has room for it.
        self.stream.write_all(buffer)?;
        Ok(true)
    }

    /// Reads what there is; `true`: an answer is complete, and was right.
    fn receive(&mut self, work: &mut dyn Work) -> Result<bool, Fatal> {
        if !self.busy {
            return Ok(false);
        }
        loop {
            let room = self.answer.get_mut(self.received..).unwrap_or_default();
            match self.stream.read(room) {
                Ok(0) => return Err("the answer is cut, or too long".into()),
                Ok(count) => self.received += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            let received = self.answer.get(..self.received).unwrap_or_default();
            let mut headers = [httparse::EMPTY_HEADER; 48];
            let mut head = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(start) = head.parse(received)? else { continue };
            let header = |name: &str| {
                let found =
                    head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.map(|header| std::str::from_utf8(header.value)).transpose()
            };
            let length: usize = header("content-length")?.ok_or("no content-length")?.parse()?;
            let Some(body) = received.get(start..start + length) else { continue };
            let location = header("location")?.unwrap_or_default();
            work.answered(&Answer { status: head.code.unwrap_or_default(), location, body })?;
            self.received = 0;
            self.busy = false;
            return Ok(true);
        }
    }
}
