//! What a live record takes on the disk and in memory, and whether sled's cleaning keeps up with rewriting.
//!
//! `cargo run -p grantor-sled --release --example space -- [directory] [records] [bytes of a value]`
//!
//! Each record is created in an index and replaced once, as a grant is by the exchange of its code. Then records are
//! replaced again, in no order, as many times as there are records, and once more.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "an example that measures")]

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Index, Key, Kind, NewRecord, Storage as _,
};
use grantor_sled::SledStorage;

/// So many, that a barrier serves many: what is measured is not time.
const TASKS: u64 = 512;

fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    n ^ (n >> 32)
}

fn commit_id(n: u64, version: u64) -> CommitId {
    let mut id = [0; 16];
    let (head, tail) = id.split_at_mut(8);
    head.copy_from_slice(&mixed(n).to_be_bytes());
    tail.copy_from_slice(&version.to_be_bytes());
    CommitId::from_bytes(id)
}

async fn write(store: &SledStorage, n: u64, version: u64, value_len: usize) {
    let mut id = [0; 12];
    id.split_at_mut(8).0.copy_from_slice(&mixed(n).to_be_bytes());
    let index = Index::new(&format!("grants:{:032x}", mixed(n / 3))).expect("a name");
    let commit = Commit {
        key: Key::new(Kind::Grant, id).expect("short"),
        expect: version.checked_sub(1).map(|before| commit_id(n, before)),
        id: commit_id(n, version),
        record: NewRecord {
            value: vec![version as u8; value_len],
            purge_at: Timestamp::from_millis(i64::MAX),
            indexes: if version == 0 { vec![index] } else { Vec::new() },
        },
    };
    let outcome = store.commit(commit).await.expect("healthy");
    assert_eq!(outcome, CommitOutcome::Applied);
}

/// Replaces what is there (or makes it) in many tasks, each its share in an order of its own.
async fn pass(
    store: &Arc<SledStorage>,
    records: u64,
    versions: std::ops::Range<u64>,
    value_len: usize,
) {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (store, versions) = (Arc::clone(store), versions.clone());
            tokio::spawn(async move {
                let share = records / TASKS;
                for step in 0..share {
                    // Odd, so that each comes once; `share` is a power of two.
                    let n = task + TASKS * (step.wrapping_mul(0x9e37_79b1) % share);
                    for version in versions.clone() {
                        write(&store, n, version, value_len).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics");
    }
}

fn on_disk(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).expect("it is there");
    files
        .map(|file| file.and_then(|file| file.metadata()).map_or(0, |meta| meta.blocks() * 512))
        .sum()
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0) * 1024
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let mut number = |usual| arguments.next().map_or(usual, |text| text.parse().expect("a number"));
    let records = (number(100_000) / TASKS).next_power_of_two() * TASKS;
    let value_len = usize::try_from(number(300)).expect("a length");
    let directory = tempfile::tempdir_in(&place).expect("a directory");
    let tell = |what: &str| {
        println!(
            "{what:34} {:5} bytes of disk, {:5} of memory for each",
            on_disk(directory.path()) / records,
            resident() / records
        );
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    println!("{records} records with values of {value_len} bytes");
    {
        let store = Arc::new(SledStorage::open(directory.path()).expect("opens"));
        runtime.block_on(pass(&store, records, 0..2, value_len));
        tell("created, and replaced at once");
        for version in [2, 3] {
            runtime.block_on(pass(&store, records, version..version + 1, value_len));
            tell("each replaced again");
        }
    }
    tell("closed");
    let begun = std::time::Instant::now();
    let store = SledStorage::open(directory.path()).expect("opens again");
    tell("opened again");
    println!("opening took {:?}", begun.elapsed());
    drop(store);
}
