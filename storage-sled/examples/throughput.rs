//! Durable commits and loads a second, by the number of tasks.
//!
//! `cargo run -p grantor-sled --release --example throughput -- [directory]`

#![expect(clippy::expect_used, clippy::print_stdout, reason = "an example that measures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Index, Key, Kind, NewRecord, Storage as _,
};
use grantor_sled::SledConfig;

const TIME: Duration = Duration::from_secs(1);

fn commit(key: &Key, expect: Option<CommitId>, task: u64, n: u64) -> Commit {
    let mut id = [0; 16];
    let (head, tail) = id.split_at_mut(8);
    head.copy_from_slice(&task.to_be_bytes());
    tail.copy_from_slice(&n.to_be_bytes());
    Commit {
        key: key.clone(),
        expect,
        id: CommitId::from_bytes(id),
        record: NewRecord {
            value: vec![7; 300],
            purge_at: Timestamp::from_millis(i64::MAX),
            indexes: Vec::new(),
        },
    }
}

fn main() {
    let directory = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    for linger in [0, 200] {
        for tasks in [1, 8, 64] {
            for (name, create, indexed) in [
                ("replace", false, false),
                ("create", true, false),
                ("create with an index", true, true),
            ] {
                let directory = tempfile::tempdir_in(&directory).expect("a directory");
                let store = SledConfig::new()
                    .linger(Duration::from_micros(linger))
                    .open(directory.path())
                    .expect("opens");
                let store = Arc::new(store);
                let (commits, mut latencies) = runtime.block_on(async {
                    let workers: Vec<_> = (0..tasks)
                        .map(|task| {
                            let store = Arc::clone(&store);
                            tokio::spawn(async move {
                                let mut key = Key::new(Kind::Grant, format!("{task}").as_bytes())
                                    .expect("short");
                                let mut expect = None;
                                let mut latencies = Vec::new();
                                let end = Instant::now() + TIME;
                                for n in 0.. {
                                    let start = Instant::now();
                                    if start > end {
                                        break;
                                    }
                                    if create {
                                        key =
                                            Key::new(Kind::Grant, format!("{task}.{n}").as_bytes())
                                                .expect("short");
                                        expect = None;
                                    }
                                    let mut commit = commit(&key, expect, task, n);
                                    if indexed {
                                        let name = format!("user:{}", n % 100);
                                        commit.record.indexes =
                                            vec![Index::new(&name).expect("a name")];
                                    }
                                    expect = Some(commit.id);
                                    let outcome = store.commit(commit).await.expect("healthy");
                                    assert_eq!(outcome, CommitOutcome::Applied);
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
                    (all.len(), all)
                });
                latencies.sort_unstable();
                let at = |share: usize| latencies.get(latencies.len() * share / 100);
                println!(
                    "linger {linger:3} us, {tasks:2} tasks, {name}: {:.0} commits/s, p50 {:?}, p99 {:?}",
                    commits as f64 / TIME.as_secs_f64(),
                    at(50).unwrap_or(&Duration::ZERO),
                    at(99).unwrap_or(&Duration::ZERO),
                );
                if tasks == 64 && create && !indexed {
                    let key = [Key::new(Kind::Grant, *b"0.0").expect("short")];
                    let start = Instant::now();
                    runtime.block_on(async {
                        for _ in 0..100_000 {
                            store.load(&key).await.expect("healthy");
                        }
                    });
                    println!("  load: {:?}", start.elapsed() / 100_000);
                    drop(store);
                    let start = Instant::now();
                    let store = SledConfig::new().open(directory.path()).expect("opens");
                    println!("  opening {commits} records: {:?}", start.elapsed());
                    drop(store);
                }
            }
        }
    }
}
