//! What a call of the store costs, in CPU time of this process and of Redis, beside the same commands
//! on the driver alone.
//!
//! ```sh
//! cargo bench -p grantor-redis --bench calls              # everything, about a minute
//! cargo bench -p grantor-redis --bench calls -- threads=2     # on a runtime of so many threads
//! cargo bench -p grantor-redis --bench calls -- replace 32    # what has these words in its name, for a profile
//! ```
//!
//! Without more one thread calls, as one core of a server does. The kinds of calls take turns, and the median of the
//! rounds counts. Times are CPU times of the whole process, so they bear a machine that does other
//! things; how many round trips there are stands in `tests/costs.rs`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark reports by panicking"
)]
#![expect(clippy::print_stdout, reason = "the figures are for people")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use grantor::model::Timestamp;
use grantor::storage::{Commit, CommitId, CommitOutcome, Key, Kind, NewRecord, Storage as _};
use grantor_conformance::redis::{Fsync, Server};
use grantor_redis::RedisStorage;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

const ROUNDS: usize = 5;
/// Calls in one round, of all tasks together.
const CALLS: usize = 20_000;
/// With one task each is a round trip that nobody shares.
const CALLS_ALONE: usize = 4_000;
const TASKS: [usize; 3] = [1, 32, 64];
/// As many records as are read by turns.
const RECORDS: u64 = 4_096;
/// As long as the record of a grant.
const VALUE: usize = 250;
/// 2100-01-01.
const LATER: i64 = 4_102_444_800_000;

/// The least that a compare-and-set can be: without recognising itself, or telling anything apart.
const LEAST: &str = "if redis.call('GETRANGE', KEYS[1], 0, 16) ~= ARGV[1] then return 0 end \
                     redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3]) return 1";

struct Stage {
    server: Server,
    storage: RedisStorage,
    bare: MultiplexedConnection,
    hash: String,
    next: AtomicU64,
}

#[derive(Clone, Copy)]
enum What {
    BareGet,
    Load,
    BareMget,
    LoadTwo,
    BareSet,
    BareScript,
    Create,
    Replace,
}

const ALL: [(What, &str); 8] = [
    (What::BareGet, "GET, driver alone"),
    (What::Load, "load of one"),
    (What::BareMget, "MGET of two, driver alone"),
    (What::LoadTwo, "load of two"),
    (What::BareSet, "SET, driver alone"),
    (What::BareScript, "least script, driver alone"),
    (What::Create, "commit, create"),
    (What::Replace, "commit, replace"),
];

fn key(number: u64) -> Key {
    let mut id = [0; 12];
    id[4..].copy_from_slice(&number.to_be_bytes());
    Key::new(Kind::Grant, id).expect("short")
}

/// As `layout.rs` names it.
fn name(number: u64) -> Vec<u8> {
    use base64::Engine as _;
    let key = key(number);
    let id = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key.id());
    format!("grantor:g:{id}").into_bytes()
}

impl Stage {
    async fn new() -> Self {
        let server = Server::options().append_only(Fsync::EverySecond).start();
        let storage = RedisStorage::open(&server.url()).await.expect("it opens");
        let client = redis::Client::open(server.url()).expect("an address");
        let mut bare = client.get_multiplexed_async_connection().await.expect("it connects");
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(LEAST);
        let hash = load.query_async(&mut bare).await.expect("a script");
        let stage = Self { server, storage, bare, hash, next: AtomicU64::new(RECORDS) };
        for number in 0..RECORDS {
            let id = stage.id();
            stage.commit(number, None, id).await;
        }
        stage
    }

    fn id(&self) -> CommitId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        CommitId::from_bytes(u128::from(number).to_be_bytes())
    }

    async fn commit(&self, number: u64, expect: Option<CommitId>, id: CommitId) {
        let record = NewRecord {
            value: vec![b'v'; VALUE],
            purge_at: Timestamp::from_millis(LATER),
            indexes: Vec::new(),
        };
        let outcome = self.storage.commit(Commit { key: key(number), expect, id, record }).await;
        assert_eq!(outcome.expect("healthy"), CommitOutcome::Applied);
    }

    async fn ask(&self, command: &redis::Cmd) -> Value {
        self.bare.clone().send_packed_command(command).await.expect("an answer")
    }

    /// One task's calls, one after the other.
    async fn calls(self: Arc<Self>, what: What, task: u64, calls: usize) {
        let numbers = (0..calls as u64).map(move |call| (task * 97 + call) % RECORDS);
        match what {
            What::BareGet => {
                for number in numbers {
                    let reply = self.ask(redis::cmd("GET").arg(name(number))).await;
                    assert!(matches!(reply, Value::BulkString(_)));
                }
            }
            What::Load => {
                for number in numbers {
                    let found = self.storage.load(&[key(number)]).await.expect("healthy");
                    assert!(matches!(found.as_slice(), [Some(_)]));
                }
            }
            What::BareMget => {
                for number in numbers {
                    let mut command = redis::cmd("MGET");
                    command.arg(name(number)).arg(name(number / 2));
                    assert!(matches!(self.ask(&command).await, Value::Array(_)));
                }
            }
            What::LoadTwo => {
                for number in numbers {
                    let keys = [key(number), key(number / 2)];
                    let found = self.storage.load(&keys).await.expect("healthy");
                    assert!(matches!(found.as_slice(), [Some(_), Some(_)]));
                }
            }
            What::BareSet => {
                for number in numbers {
                    let mut command = redis::cmd("SET");
                    command.arg(format!("bare:{number}")).arg(&[b'v'; VALUE + 25]);
                    assert_eq!(self.ask(&command).await, Value::Okay);
                }
            }
            What::BareScript => {
                let own = format!("least:{task}");
                self.ask(redis::cmd("DEL").arg(&own)).await;
                let mut value = [b'v'; VALUE + 25];
                let mut before = Vec::new();
                for call in 0..calls as u64 {
                    value[..8].copy_from_slice(&call.to_be_bytes());
                    let mut command = redis::cmd("EVALSHA");
                    command.arg(&self.hash).arg(1).arg(&own).arg(&before).arg(&value).arg(LATER);
                    assert_eq!(self.ask(&command).await, Value::Int(1));
                    before = value[..17].to_vec();
                }
            }
            What::Create => {
                for _ in numbers {
                    let id = self.id();
                    let number = u128::from_be_bytes(*id.as_bytes());
                    let number = u64::try_from(number).expect("counted") + (1 << 40);
                    self.commit(number, None, id).await;
                }
            }
            What::Replace => {
                let own = task + (1 << 50);
                let found = self.storage.load(&[key(own)]).await.expect("healthy");
                let mut before = found.into_iter().flatten().next().map(|found| found.commit);
                for _ in numbers {
                    let id = self.id();
                    self.commit(own, before.replace(id), id).await;
                }
            }
        }
    }

    /// Microseconds of CPU time for each call: of this process, and of Redis.
    async fn measure(self: &Arc<Self>, what: What, tasks: usize) -> (f64, f64) {
        let each = if tasks == 1 { CALLS_ALONE } else { CALLS / tasks };
        let redis = self.server.pid().expect("it runs");
        let before = (spent(std::process::id()), spent(redis));
        let numbers = 0..tasks as u64;
        let all: JoinSet<_> =
            numbers.map(|task| Arc::clone(self).calls(what, task, each)).collect();
        all.join_all().await;
        let after = (spent(std::process::id()), spent(redis));
        let share = |nanos: u64| nanos as f64 / 1_000.0 / (tasks * each) as f64;
        (share(after.0 - before.0), share(after.1 - before.1))
    }
}

/// Nanoseconds of CPU time of all threads of a process.
fn spent(process: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).expect("a thread");
        let (nanos, _) = text.split_once(' ').expect("three numbers");
        nanos.parse::<u64>().expect("a number")
    };
    tasks.map(|task| of(task.expect("a thread"))).sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn main() {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let threads = words.iter().find_map(|word| word.strip_prefix("threads=")?.parse().ok());
    let runtime = match threads {
        Some(threads) => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
        None => Builder::new_current_thread().enable_all().build(),
    };
    let words = words.into_iter().filter(|word| !word.contains('=')).collect();
    // In a task, where it is served as all others are.
    let done = runtime.expect("a runtime").block_on(async { tokio::spawn(run(words)).await });
    done.expect("no panic");
}

async fn run(words: Vec<String>) {
    let wanted = |what: &str, tasks: usize| {
        words.iter().all(|word| match word.parse::<usize>() {
            Ok(number) => number == tasks,
            Err(_) => what.contains(word.as_str()),
        })
    };
    let stage = Arc::new(Stage::new().await);
    println!("us of CPU for a call: this process, Redis {:?}", stage.server.version());
    println!("| | 1 task | 32 tasks | 64 tasks |\n|---|--:|--:|--:|");
    let mut rounds = vec![vec![vec![]; TASKS.len()]; ALL.len()];
    for _ in 0..=ROUNDS {
        for (place, tasks) in TASKS.into_iter().enumerate() {
            for (row, (what, name)) in rounds.iter_mut().zip(ALL) {
                if wanted(name, tasks) {
                    row[place].push(stage.measure(what, tasks).await);
                }
            }
        }
    }
    for (row, (_, name)) in rounds.iter().zip(ALL) {
        let cell = |samples: &Vec<(f64, f64)>| match samples.split_first() {
            // The first round warms up.
            Some((_, samples)) => {
                let (own, redis) = samples.iter().copied().unzip();
                format!("{:.1} + {:.1}", median(own), median(redis))
            }
            None => "-".to_owned(),
        };
        println!("| {name} | {} |", row.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
}
