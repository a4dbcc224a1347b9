//! A disk that is full: writes are refused, nothing is lost, and the store comes back by itself.
//!
//! On a small tmpfs; needs root.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a campaign reports by printing and panicking"
)]

mod campaign;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use campaign::{FOREVER, block_on, not_possible_here, run, text};
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Key, Kind, NewRecord, Storage as _, StorageError,
};
use grantor_sled::{SledConfig, SledStorage};
use tempfile::TempDir;

const MIB: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

struct Tmpfs(PathBuf);

impl Tmpfs {
    fn new(point: &Path) -> Result<Self, String> {
        fs::create_dir_all(point).map_err(|error| error.to_string())?;
        run("mount", &["-t", "tmpfs", "-o", "size=40m", "tmpfs", text(point)])?;
        Ok(Self(point.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &[text(&self.0)]) {
            println!("{error}");
        }
    }
}

fn creation(n: u64) -> Commit {
    let mut id = [0; 16];
    id.split_at_mut(8).0.copy_from_slice(&n.to_be_bytes());
    Commit {
        key: Key::new(Kind::Grant, n.to_be_bytes()).expect("short"),
        expect: None,
        id: CommitId::from_bytes(id),
        record: NewRecord {
            value: n.to_be_bytes().repeat(250),
            purge_at: FOREVER,
            indexes: Vec::new(),
        },
    }
}

/// Commits until one is refused; how many were acknowledged in all.
async fn fill(store: &SledStorage, mut n: u64) -> u64 {
    loop {
        match store.commit(creation(n)).await {
            Ok(CommitOutcome::Applied) => n += 1,
            Ok(CommitOutcome::Conflict) => panic!("record {n} was never written and is there"),
            Err(StorageError::Unavailable { reason }) => {
                println!("  refused after {n}: {reason}");
                return n;
            }
            Err(error) => panic!("a full disk is no damage: {error}"),
        }
    }
}

async fn all_there(store: &SledStorage, count: u64) {
    for n in 0..count {
        let commit = creation(n);
        let found = store.load(&[commit.key]).await.expect("the store serves");
        let value = found.into_iter().next().flatten().map(|found| found.value);
        assert_eq!(value, Some(commit.record.value), "record {n} of {count}");
    }
}

fn episode(config: SledConfig, reads_go_on: bool, name: &str) -> Result<(), String> {
    let here = TempDir::new().map_err(|error| error.to_string())?;
    let point = here.path().join("disk");
    let _disk = Tmpfs::new(&point)?;
    let ballast = point.join("ballast");
    fs::write(&ballast, vec![1; 20 * MIB]).expect("an empty disk has room");
    let data = point.join("data");
    let store = config.clone().open(&data).expect("opens");
    block_on(async {
        println!("{name}:");
        let count = fill(&store, 0).await;
        assert!(count > 100, "the disk was full from the start");
        assert!(store.ready().await.is_err(), "a full store is not ready");
        if reads_go_on {
            all_there(&store, count).await;
        }
        assert!(store.commit(creation(count)).await.is_err(), "there is no room yet");

        fs::remove_file(&ballast).expect("it is there");
        let freed = Instant::now();
        while let Err(error) = store.ready().await {
            assert!(
                freed.elapsed() < PATIENCE,
                "there is room, and the store does not come back: {error}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!("  back {:?} after there was room", freed.elapsed());
        all_there(&store, count).await;
        // The one that was refused may have been written all the same; then this is a repetition.
        for n in count..count + 200 {
            let outcome = store.commit(creation(n)).await.expect("there is room");
            assert_eq!(outcome, CommitOutcome::Applied);
        }
        drop(store);
        let store = config.open(&data).expect("opens again");
        all_there(&store, count + 200).await;
        println!("  {} acknowledged, 0 lost", count + 200);
    });
    Ok(())
}

fn main() -> ExitCode {
    let mib = |n: u64| n * MIB as u64;
    for (config, reads_go_on, name) in [
        (SledConfig::new().min_free(mib(6)), true, "the store notices in time"),
        (SledConfig::new().min_free(0), false, "sled runs into the end of the disk"),
    ] {
        if let Err(why) = episode(config, reads_go_on, name) {
            return not_possible_here("THE FULL DISK", &why);
        }
    }
    ExitCode::SUCCESS
}
