//! What goes on while tokens are asked for, and how long that takes then.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use grantor_bench::contender::Fatal;
use grantor_bench::fill::refresh_token;
use grantor_bench::process::{PATIENCE, Process, Scheduled, contender, redis_at, scheduled};
use serde::Serialize;

use crate::client::{Kind, Sample, Sender};

/// Where the records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Store {
    Memory,
    Sled,
    Redis,
}

/// What goes on beside the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Beside {
    Nothing,
    Logins,
    Sweep,
    Writes,
    Restart,
}

/// Both.
pub(crate) type Scenario = (Store, Beside);

/// All that are measured.
pub(crate) const ALL: [Scenario; 11] = [
    (Store::Memory, Beside::Nothing),
    (Store::Memory, Beside::Logins),
    (Store::Memory, Beside::Sweep),
    (Store::Sled, Beside::Nothing),
    (Store::Sled, Beside::Logins),
    (Store::Sled, Beside::Sweep),
    (Store::Sled, Beside::Writes),
    (Store::Redis, Beside::Nothing),
    (Store::Redis, Beside::Logins),
    (Store::Redis, Beside::Sweep),
    (Store::Redis, Beside::Restart),
];

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// In the store, where it matters how many there are; at most [`SOME`] otherwise.
    pub(crate) grants: u64,
    pub(crate) duration: Duration,
}

/// Enough that none is refreshed twice in a minute.
const SOME: u64 = 100_000;

impl Extent {
    /// How many grants there are.
    fn grants_beside(self, beside: Beside) -> u64 {
        match beside {
            Beside::Sweep | Beside::Restart => self.grants,
            Beside::Nothing | Beside::Logins | Beside::Writes => self.grants.min(SOME),
        }
    }
}

/// Of each of the two kinds, how many connections there are and how many requests a second on all of them.
const CONNECTIONS: u64 = 16;
pub(crate) const RATE: f64 = 1500.0;
/// Attempts to sign in.
const LOGIN_CONNECTIONS: u64 = 8;
pub(crate) const LOGINS: f64 = 50.0;
/// Other writes.
pub(crate) const WRITES: f64 = 6000.0;
/// How long one grant may take to be written before the server listens.
const GRANT_PATIENCE: Duration = Duration::from_micros(500);
/// Before anything counts.
const WARM: Duration = Duration::from_millis(500);

/// What a restart of Redis did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Restart {
    /// From the order to stop until the file was read again, in milliseconds.
    pub(crate) away: f64,
    /// The longest time in which nobody got a token.
    pub(crate) without: f64,
    pub(crate) refused: usize,
    pub(crate) asked: usize,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) count: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) longest: f64,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: Scenario,
    pub(crate) issued: Latency,
    pub(crate) refreshed: Latency,
    pub(crate) logins: Option<Latency>,
    /// The share of the time in which the server's core was busy with it, and in which it waited for the core.
    pub(crate) busy: f64,
    pub(crate) waited: f64,
    pub(crate) restart: Option<Restart>,
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Latency {
    fn of(samples: &[Sample], kind: Kind) -> Option<Self> {
        let good = samples.iter().filter(|sample| sample.kind == kind && !sample.refused);
        let mut all: Vec<Duration> = good.map(|sample| sample.latency).collect();
        all.sort_unstable();
        let longest = milliseconds(*all.last()?);
        let of = |of_thousand: usize| {
            all.get(all.len() * of_thousand / 1000).map_or(longest, |time| milliseconds(*time))
        };
        Some(Self { count: all.len(), p50: of(500), p99: of(990), p999: of(999), longest })
    }
}

/// A Redis that can be stopped and started again.
struct Redis {
    port: u16,
    process: Process,
}

impl Redis {
    fn start(directory: &Path) -> Result<Self, Fatal> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        drop(listener);
        Ok(Self { port, process: redis_at(port, directory, &[])? })
    }

    /// Stops it, as whoever looks after it does, and starts it. The answer is when that began, and how long it took.
    fn restart(self, directory: &Path) -> Result<(Self, Instant, Duration), Fatal> {
        let began = Instant::now();
        let port = self.port.to_string();
        Command::new("redis-cli").args(["-p", &port, "SHUTDOWN"]).status()?;
        drop(self.process);
        let process = redis_at(self.port, directory, &[])?;
        Ok((Self { port: self.port, process }, began, began.elapsed()))
    }
}

/// Runs one.
pub(crate) fn run(scenario: Scenario, extent: Extent, place: &Path) -> Result<Outcome, Fatal> {
    let (store, beside) = scenario;
    let grants = extent.grants_beside(beside);
    let directory = place.join("tail-data");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    let mut redis = None;
    let mut arguments = match store {
        Store::Memory => vec!["memory".to_owned()],
        Store::Sled => vec!["sled".to_owned(), directory.join("sled").display().to_string()],
        Store::Redis => {
            let redis = redis.insert(Redis::start(&directory)?);
            vec!["redis".to_owned(), format!("redis://127.0.0.1:{}", redis.port)]
        }
    };
    arguments.push(grants.to_string());
    if beside == Beside::Sweep {
        // Not to be over before the last request is.
        arguments.push((extent.duration + 2 * WARM).as_secs().to_string());
    }
    let program = std::env::current_exe()?.with_file_name("grantor-tail");
    let (process, ready) =
        contender(&program, &arguments, PATIENCE + GRANT_PATIENCE * u32::try_from(grants)?)?;

    let begin = Instant::now() + Duration::from_millis(100);
    let measured = begin + WARM;
    let end = measured + extent.duration;
    let mut senders = Vec::new();
    let mut add = |kind: Kind, connections: u64, rate: f64| {
        for number in 0..connections {
            let own = (number..grants).step_by(usize::try_from(CONNECTIONS).unwrap_or(1));
            let tokens: VecDeque<String> = match kind {
                Kind::Refresh => own.map(|n| refresh_token(n).expose().to_owned()).collect(),
                _ => VecDeque::new(),
            };
            let interval = Duration::from_secs_f64(to_float(connections) / rate);
            let offset = interval.mul_f64(to_float(number) / to_float(connections));
            let mut sender = Sender::new(kind, &ready, tokens, number);
            (sender.interval, sender.begin, sender.end) = (interval, begin + offset, end);
            sender.may_be_refused = beside == Beside::Restart;
            senders.push(sender);
        }
    };
    add(Kind::ClientCredentials, CONNECTIONS, RATE);
    add(Kind::Refresh, CONNECTIONS, RATE);
    match beside {
        Beside::Logins => add(Kind::Login, LOGIN_CONNECTIONS, LOGINS),
        Beside::Writes => add(Kind::Beside, CONNECTIONS, WRITES),
        Beside::Nothing | Beside::Sweep | Beside::Restart => {}
    }
    let threads: Vec<_> =
        senders.into_iter().map(|sender| std::thread::spawn(move || sender.run())).collect();
    let sleep_until =
        |then: Instant| std::thread::sleep(then.saturating_duration_since(Instant::now()));
    sleep_until(measured);
    let before = scheduled(process.pid())?;
    let mut restarted = None;
    if beside == Beside::Restart {
        sleep_until(measured + extent.duration / 3);
        let running = redis.take().ok_or("no Redis")?;
        let (running, began, away) = running.restart(&directory)?;
        redis = Some(running);
        restarted = Some((began, away));
    }
    sleep_until(end);
    let used: Scheduled = scheduled(process.pid())?.since(before);
    let mut samples = Vec::new();
    for thread in threads {
        samples.extend(thread.join().map_err(|_| "a thread panicked")??);
    }
    drop((process, redis));
    fs::remove_dir_all(&directory)?;

    samples.retain(|sample| sample.at.checked_sub(sample.latency).is_some_and(|at| at >= measured));
    let of = |kind| Latency::of(&samples, kind);
    Ok(Outcome {
        scenario,
        issued: of(Kind::ClientCredentials).ok_or("no token was issued")?,
        refreshed: of(Kind::Refresh).ok_or("no token was refreshed")?,
        logins: of(Kind::Login),
        busy: used.ran.as_secs_f64() / extent.duration.as_secs_f64(),
        waited: used.waited.as_secs_f64() / extent.duration.as_secs_f64(),
        restart: restarted.map(|(began, away)| look_back(&samples, began, away)),
    })
}

fn look_back(samples: &[Sample], began: Instant, away: Duration) -> Restart {
    let good = samples.iter().filter(|sample| !sample.refused).map(|sample| sample.at);
    let mut good: Vec<Instant> = good.filter(|&at| at >= began).collect();
    good.sort_unstable();
    let gaps = good.iter().zip(good.iter().skip(1)).map(|(one, next)| *next - *one);
    Restart {
        away: milliseconds(away),
        without: milliseconds(gaps.max().unwrap_or_default()),
        refused: samples.iter().filter(|sample| sample.refused).count(),
        asked: samples.len(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
const fn to_float(count: u64) -> f64 {
    count as f64
}
