//! Requests on keep-alive connections, each of which sends its next request when it has the answer to the one before.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use grantor_bench::contender::Fatal;
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::process::cpu_time;

/// How long a server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent, and what must come back.
pub(crate) trait Work {
    /// Appends the bytes of the next request; `false`: there is none left.
    fn next(&mut self, bytes: &mut Vec<u8>) -> bool;
    /// Checks an answer and keeps what it is needed for later. An error ends the run.
    fn answered(&mut self, answer: &Answer<'_>) -> Result<(), Fatal>;
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) location: &'a str,
    pub(crate) body: &'a [u8],
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    /// CPU time of all threads of the server.
    pub(crate) cpu: Duration,
    /// In nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Before anything is counted.
    pub(crate) warm: Duration,
    pub(crate) duration: Duration,
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    sent: Instant,
    busy: bool,
}

/// Where a run is.
enum Stage {
    Warming(Instant),
    Measuring { since: Instant, cpu: Duration },
    Draining,
}

/// Runs `work` against a server. It ends when the time is over, or when there is no work left.
pub(crate) fn run(port: u16, pid: u32, load: Load, work: &mut dyn Work) -> Result<Measured, Fatal> {
    let mut poll = Poll::new()?;
    let mut connections = Vec::with_capacity(load.connections);
    for index in 0..load.connections {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        connections.push(Connection {
            stream,
            received: Vec::with_capacity(16 * 1024),
            sent: Instant::now(),
            busy: false,
        });
    }
    let mut measured = Measured {
        requests: 0,
        elapsed: Duration::ZERO,
        cpu: Duration::ZERO,
        latency: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
    };
    let mut stage = Stage::Warming(Instant::now());
    let mut buffer = Vec::with_capacity(4 * 1024);
    let mut out_of_work = false;
    for connection in &mut connections {
        connection.send(work, &mut buffer)?;
    }
    let mut events = Events::with_capacity(load.connections);
    while connections.iter().any(|connection| connection.busy) {
        if let Err(error) = poll.poll(&mut events, Some(PATIENCE)) {
            if error.kind() == ErrorKind::Interrupted {
                continue;
            }
            return Err(error.into());
        }
        if events.is_empty() {
            return Err(format!("no answer for {PATIENCE:?}").into());
        }
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
            Stage::Warming(since) if since.elapsed() >= load.warm => {
                stage = Stage::Measuring { since: Instant::now(), cpu: cpu_time(pid)? };
            }
            Stage::Measuring { since, cpu } if out_of_work || since.elapsed() >= load.duration => {
                measured.elapsed = since.elapsed();
                measured.cpu = cpu_time(pid)?.saturating_sub(cpu);
                stage = Stage::Draining;
            }
            Stage::Warming(_) | Stage::Measuring { .. } | Stage::Draining => {}
        }
    }
    Ok(measured)
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
            let mut chunk = [0; 8 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("the server has closed the connection".into()),
                Ok(count) => {
                    self.received.extend_from_slice(chunk.get(..count).unwrap_or_default())
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            let mut headers = [httparse::EMPTY_HEADER; 48];
            let mut head = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(start) = head.parse(&self.received)? else { continue };
            let header = |name: &str| {
                let found =
                    head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.map(|header| std::str::from_utf8(header.value)).transpose()
            };
            let length: usize = header("content-length")?.ok_or("no content-length")?.parse()?;
            let Some(body) = self.received.get(start..start + length) else { continue };
            let location = header("location")?.unwrap_or_default();
            work.answered(&Answer { status: head.code.unwrap_or_default(), location, body })?;
            self.received.clear();
            self.busy = false;
            return Ok(true);
        }
    }
}
