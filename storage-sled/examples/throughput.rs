//! What a durable commit costs: processor time, context switches and commits a second, beside sled itself doing
//! the same inserts with the same durability.
//!
//! `taskset -c 0 cargo run -p grantor-sled --release --example throughput -- [directory] [filter] [commits]`
//!
//! Everything runs on one thread of an async runtime, as in a server on one core, and on the threads of the store.
//! The floor is what is left when all that this crate adds is left out: tasks insert into sled's trees, and a
//! thread flushes and syncs for whoever waits.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "an example that measures")]

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Index, Key, Kind, NewRecord, Storage as _,
};
use grantor_sled::SledStorage;
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 3;
const NAMES: [&str; 2] = ["sled", "store"];
/// What a grant with an access token and a refresh token takes, about.
const VALUE_LEN: usize = 300;

/// What a task does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// One new record.
    Create,
    /// One new record in an index of its own.
    CreateIndexed,
    /// A new version of a record that is there.
    Replace,
}

fn id(task: u64, n: u64) -> [u8; 16] {
    let mut id = [0; 16];
    let (head, tail) = id.split_at_mut(8);
    head.copy_from_slice(&task.to_be_bytes());
    tail.copy_from_slice(&n.to_be_bytes());
    id
}

/// As random as the identifiers of grants are, without asking for randomness.
fn record_id(task: u64, n: u64) -> [u8; 12] {
    let mixed = (task << 32 | n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mut id = [0; 12];
    id.split_at_mut(8).0.copy_from_slice(&(mixed ^ (mixed >> 32)).to_be_bytes());
    id
}

fn index(task: u64, n: u64) -> String {
    format!("grants:{:016x}{:048x}", (n % 10_000).wrapping_mul(0x9e37_79b9_7f4a_7c15), task)
}

impl Work {
    const ALL: [Self; 3] = [Self::Create, Self::CreateIndexed, Self::Replace];

    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateIndexed => "indexed",
            Self::Replace => "replace",
        }
    }

    /// Which record a step writes.
    fn record(self, task: u64, n: u64) -> [u8; 12] {
        record_id(task, if self == Self::Replace { n % 1_000 } else { n })
    }
}

/// sled with group commit and nothing else.
struct Bare {
    records: sled::Tree,
    entries: sled::Tree,
    queue: Arc<(Mutex<Queue>, Condvar)>,
    syncer: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<oneshot::Sender<()>>,
    stop: bool,
}

impl Bare {
    fn open(path: &Path) -> Self {
        let db = sled::Config::new()
            .path(path)
            .cache_capacity(256 * 1024 * 1024)
            .segment_size(4 * 1024 * 1024)
            .flush_every_ms(None)
            .open()
            .expect("sled opens");
        let file = std::fs::File::open(path.join("db")).expect("sled's file");
        let queue = Arc::new((Mutex::new(Queue::default()), Condvar::new()));
        let records = db.open_tree("records").expect("a tree");
        let entries = db.open_tree("entries").expect("a tree");
        let shared = Arc::clone(&queue);
        let syncer = std::thread::spawn(move || {
            let mut crowd = 0;
            loop {
                let (queue, wake) = &*shared;
                let mut waiting = queue.lock().expect("no panic");
                while waiting.waiting.is_empty() && !waiting.stop {
                    waiting = wake.wait(waiting).expect("no panic");
                }
                let crowded = waiting.waiting.len().max(crowd) > 1;
                if waiting.stop {
                    return;
                }
                drop(waiting);
                if crowded {
                    std::thread::sleep(Duration::from_micros(200));
                }
                let waiting = std::mem::take(&mut queue.lock().expect("no panic").waiting);
                crowd = waiting.len();
                db.flush().expect("flushes");
                file.sync_data().expect("syncs");
                for sender in waiting {
                    let _ = sender.send(());
                }
            }
        });
        Self { records, entries, queue, syncer: Some(syncer) }
    }
}

impl Subject for Bare {
    async fn step(&self, work: Work, task: u64, n: u64) {
        let key = work.record(task, n);
        let mut value = vec![7; VALUE_LEN];
        value.splice(..16, id(task, n));
        self.records.insert(key, value).expect("sled inserts");
        if work == Work::CreateIndexed {
            let name = [index(task, n).as_bytes(), &key].concat();
            self.entries.insert(name, &[]).expect("sled inserts");
        }
        let (sender, receiver) = oneshot::channel();
        {
            let (queue, wake) = &*self.queue;
            let mut queue = queue.lock().expect("no panic");
            queue.waiting.push(sender);
            if queue.waiting.len() == 1 {
                wake.notify_one();
            }
        }
        receiver.await.expect("the syncer answers");
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.queue.0.lock().expect("no panic").stop = true;
        self.queue.1.notify_one();
        if let Some(syncer) = self.syncer.take() {
            syncer.join().expect("no panic");
        }
    }
}

impl Subject for SledStorage {
    async fn step(&self, work: Work, task: u64, n: u64) {
        let key = Key::new(Kind::Grant, work.record(task, n)).expect("short");
        let indexes = match work {
            Work::CreateIndexed => vec![Index::new(&index(task, n)).expect("a name")],
            Work::Create | Work::Replace => Vec::new(),
        };
        let before = n.checked_sub(1_000).filter(|_| work == Work::Replace);
        let commit = Commit {
            key,
            expect: before.map(|before| CommitId::from_bytes(id(task, before))),
            id: CommitId::from_bytes(id(task, n)),
            record: NewRecord {
                value: vec![7; VALUE_LEN],
                purge_at: Timestamp::from_millis(i64::MAX),
                indexes,
            },
        };
        let outcome = self.commit(commit).await.expect("healthy");
        assert_eq!(outcome, CommitOutcome::Applied);
    }
}

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).expect("after the start"), now.tv_nsec as u32)
}

/// Voluntary and involuntary context switches of all threads that there are.
fn switches() -> u64 {
    std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("status")).ok())
        .flat_map(|status| {
            let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
            lines
                .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
                .collect::<Vec<u64>>()
        })
        .sum()
}

/// What was measured in one round.
struct Sample {
    a_second: f64,
    processor: f64,
    switches: f64,
    p99: Duration,
}

/// A store, or sled alone, of which each task does some steps.
trait Subject: Send + Sync + 'static {
    fn step(&self, work: Work, task: u64, n: u64) -> impl Future<Output = ()> + Send;
}

fn measure(subject: &Arc<impl Subject>, work: Work, tasks: u64, steps: u64) -> Sample {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let (begun, processor, before) = (Instant::now(), processor_time(), switches());
    let mut latencies = runtime.block_on(async {
        let workers: Vec<_> = (0..tasks)
            .map(|task| {
                let subject = Arc::clone(subject);
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    for n in 0..steps / tasks {
                        let start = Instant::now();
                        subject.step(work, task, n).await;
                        latencies.push(start.elapsed());
                    }
                    latencies
                })
            })
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.await.expect("no worker panics"));
        }
        all
    });
    let processor = (processor_time() - processor).as_secs_f64();
    let (took, switches) = (begun.elapsed().as_secs_f64(), switches().saturating_sub(before));
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    Sample {
        a_second: count / took,
        processor: processor * 1e6 / count,
        switches: switches as f64 / count,
        p99: latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default(),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let filter = arguments.next().unwrap_or_default();
    let steps = arguments.next().map(|steps| steps.parse().expect("a number of commits"));
    println!("tasks, what is done     commits/s   us of CPU   switches   p99, us");
    for tasks in [1, 4, 32, 64] {
        for work in Work::ALL {
            let label = |name| format!("{tasks} {} {name}", work.name());
            let mut samples = [Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                for (name, samples) in NAMES.into_iter().zip(&mut samples) {
                    if !label(name).contains(&filter) {
                        continue;
                    }
                    let steps = steps.unwrap_or(if tasks == 1 { 2_000 } else { 64_000 });
                    let directory = tempfile::tempdir_in(&directory).expect("a directory");
                    samples.push(if name == "sled" {
                        measure(&Arc::new(Bare::open(directory.path())), work, tasks, steps)
                    } else {
                        let store = SledStorage::open(directory.path()).expect("opens");
                        measure(&Arc::new(store), work, tasks, steps)
                    });
                }
            }
            for (name, samples) in NAMES.into_iter().zip(&samples) {
                if samples.is_empty() {
                    continue;
                }
                let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
                println!(
                    "{:22} {:9.0}   {:9.1}   {:8.2}   {:7.0}",
                    label(name),
                    of(|sample| sample.a_second),
                    of(|sample| sample.processor),
                    of(|sample| sample.switches),
                    of(|sample| sample.p99.as_secs_f64() * 1e6),
                );
            }
        }
    }
}
