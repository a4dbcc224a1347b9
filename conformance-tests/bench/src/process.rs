//! The processes of the contenders, and the processor time that they take.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::contender::{Fatal, Ready};

/// The core of the servers.
const SERVER_CORE: &str = "0";
/// The core of everything else: the driver, and Redis.
const DRIVER_CORE: &str = "1";
/// How long a process may take to begin.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with this value.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Its number.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a contender on its core, and waits until it listens.
pub fn contender(
    program: &Path,
    arguments: &[String],
    patience: Duration,
) -> Result<(Process, Ready), Fatal> {
    let child = Command::new("taskset")
        .args(["-c", SERVER_CORE])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut process = Process(child);
    let output = process.0.stdout.take().ok_or("no output")?;
    let (sender, line) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = sender.send(BufReader::new(output).read_line(&mut line).map(|_| line));
    });
    let name = program.display();
    let line = line.recv_timeout(patience);
    let line =
        line.map_err(|_| format!("{name} {arguments:?} did not start in {patience:?}"))??;
    let ready = serde_json::from_str(&line);
    let ready =
        ready.map_err(|error| format!("{name} {arguments:?} did not start: {error} {line}"))?;
    Ok((process, ready))
}

/// Starts a Redis, told some `more`, with an append-only file that is synced every second, as it is by default.
pub fn redis(directory: &Path, more: &[&str]) -> Result<(Process, String), Fatal> {
    fs::create_dir_all(directory)?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    Ok((redis_at(port, directory, more)?, format!("redis://127.0.0.1:{port}")))
}

/// The same at this port. What its file holds is there when this returns.
pub fn redis_at(port: u16, directory: &Path, more: &[&str]) -> Result<Process, Fatal> {
    let child = Command::new("taskset")
        .args(["-c", DRIVER_CORE, "setpriv", "--pdeathsig", "KILL"])
        .args(["redis-server", "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "everysec", "--port"])
        .arg(port.to_string())
        .arg("--dir")
        .arg(directory)
        .args(more)
        .stdin(Stdio::null())
        .stdout(fs::File::create(directory.join("log"))?)
        .spawn()?;
    let process = Process(child);
    let begun = Instant::now();
    while !answers(port) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("redis-server did not start: see {}", directory.display()).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

/// Whether Redis answers, which it does not while it reads its file.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG\r\n")
    };
    ask().unwrap_or(false)
}

/// What the scheduler has given a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scheduled {
    /// The time that it has had on a processor.
    pub ran: Duration,
    /// The time that it was ready to run and something else had the processor.
    pub waited: Duration,
}

impl Scheduled {
    /// What it was given since then.
    pub const fn since(self, before: Self) -> Self {
        let ran = self.ran.saturating_sub(before.ran);
        Self { ran, waited: self.waited.saturating_sub(before.waited) }
    }
}

/// Of all threads of a process. What threads that are gone had is not in it.
pub fn scheduled(pid: u32) -> Result<Scheduled, Fatal> {
    let mut sum = Scheduled::default();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let mut parts = text.split(' ').map(|part| part.trim().parse().map(Duration::from_nanos));
        let mut next = || parts.next().ok_or("schedstat is cut");
        sum.ran += next()??;
        sum.waited += next()??;
    }
    Ok(sum)
}
