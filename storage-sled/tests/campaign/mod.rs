//! What the campaigns share beside what the conformance suite has.
//!
//! Each campaign is its own `main`: started plainly it is the campaign, started by itself it is the
//! process that something happens to. `GRANTOR_ROUNDS` sets the number of rounds, and makes a
//! campaign fail that cannot run here; `GRANTOR_SEED` repeats one.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "shared by tests that each use a part, and report by printing and panicking"
)]

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use grantor::model::Timestamp;
use grantor::storage::{Index, Key, Kind, Listing, Storage as _};
use grantor_conformance::storage::{Backend, Processes};
use grantor_sled::{SledConfig, SledStorage};
use tempfile::TempDir;

const ROLE: &str = "GRANTOR_CAMPAIGN_ROLE";
const DIRECTORY: &str = "GRANTOR_CAMPAIGN_DIRECTORY";

/// The end of records that stay.
pub(crate) const FOREVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// The role this process was started for, and its directory.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(DIRECTORY)?.into()))
}

/// This program in another role.
pub(crate) fn command(role: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program knows its file"));
    command.env(ROLE, role).env(DIRECTORY, directory);
    command
}

/// How many rounds: what the environment says, or so many.
pub(crate) fn rounds(default: u64) -> u64 {
    asked_rounds().unwrap_or(default)
}

fn asked_rounds() -> Option<u64> {
    let rounds = std::env::var("GRANTOR_ROUNDS").ok()?;
    Some(rounds.parse().expect("GRANTOR_ROUNDS is a number"))
}

/// Ends a campaign that this machine cannot run: loudly, and as a failure if it was asked for.
pub(crate) fn not_possible_here(what: &str, why: &str) -> ExitCode {
    println!("==== {what} IS NOT POSSIBLE HERE AND WAS NOT RUN: {why} ====");
    if asked_rounds().is_some() {
        println!("GRANTOR_ROUNDS asks for it, so this is a failure");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs a program and returns its output, or what it said instead.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {arguments:?}: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

/// SplitMix64: campaigns are repeated from their seed.
pub(crate) struct Random(u64);

impl Random {
    /// From `GRANTOR_SEED`, or from the clock; printed either way.
    pub(crate) fn new() -> Self {
        let seed = match std::env::var("GRANTOR_SEED") {
            Ok(seed) => seed.parse().expect("GRANTOR_SEED is a number"),
            Err(_) => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(1, |since| since.as_secs()),
        };
        println!("seed {seed} (repeat with GRANTOR_SEED={seed})");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// A runtime for the tests; the store itself needs none.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(future)
}

/// A directory for one store.
pub(crate) struct Sled(TempDir);

impl Backend for Sled {
    type Store = SledStorage;
    const PROCESSES: Processes = Processes::Exclusive;

    async fn create() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    fn address(&self) -> String {
        self.0.path().display().to_string()
    }

    async fn open(address: &str) -> Result<SledStorage, Box<dyn Error + Send + Sync>> {
        // A cache far below the default, so that pages are also read from the disk.
        Ok(SledConfig::new().cache_capacity(1024 * 1024).open(address)?)
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.path().to_owned()]
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// All keys of a listing.
pub(crate) async fn keys(store: &SledStorage, listing: &Listing) -> Vec<Key> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(listing, after.as_ref(), 500).await.expect("an open store lists");
        all.extend(page.keys);
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

/// Everything that is in a store, as lines that can be compared.
pub(crate) fn dump(store: &SledStorage) -> BTreeSet<String> {
    block_on(async {
        let mut lines = BTreeSet::new();
        for kind in Kind::ALL {
            for key in keys(store, &Listing::Kind(kind)).await {
                let found = store.load(std::slice::from_ref(&key)).await;
                let found = found.expect("an open store loads");
                let found = found.into_iter().next().flatten();
                let found = found.expect("a listed record of a kind is there");
                lines.insert(format!(
                    "{} {} {} {}",
                    hex(&key.to_bytes()),
                    hex(found.commit.as_bytes()),
                    found.purge_at.as_millis(),
                    hex(&found.value),
                ));
            }
        }
        for name in ["user:0", "user:1", "user:2", "user:3", "purged"] {
            for key in keys(store, &Listing::Index(Index::new(name).expect("a name"))).await {
                lines.insert(format!("{name} {}", hex(&key.to_bytes())));
            }
        }
        lines
    })
}

/// Waits for a child, not forever.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("it is a child") {
            return Some(status);
        }
        if Instant::now() > deadline {
            child.kill().expect("it still runs");
            child.wait().expect("it is a child");
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Shows the first of many problems.
pub(crate) fn show(problems: &[impl std::fmt::Display]) {
    for problem in problems.iter().take(5) {
        println!("  {problem}");
    }
    if problems.len() > 5 {
        println!("  and {} more", problems.len() - 5);
    }
}
