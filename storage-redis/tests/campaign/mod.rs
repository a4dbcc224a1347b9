//! What the campaigns share.
//!
//! A campaign is its own `main`: started plainly it is the campaign, started by itself it is a process
//! that has the store open. `GRANTOR_ROUNDS` sets the number of rounds on each topology, `GRANTOR_SEED`
//! repeats the choices of one.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "shared by tests that each use a part, and report by printing and panicking"
)]

pub(crate) mod clients;
pub(crate) mod faults;
pub(crate) mod stage;
pub(crate) mod witness;

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use grantor_conformance::redis::{Fsync, Server};
use grantor_conformance::storage::{Backend, Processes};
use grantor_redis::RedisStorage;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// How many rounds: what the environment says, or so many.
pub(crate) fn rounds(default: u64) -> u64 {
    number("GRANTOR_ROUNDS").unwrap_or(default)
}

/// Whether more was asked for than what is done everywhere and always.
pub(crate) fn is_long() -> bool {
    number("GRANTOR_ROUNDS").is_some()
}

/// SplitMix64, for several at once: choices are repeated from their seed.
#[derive(Debug)]
pub(crate) struct Random(AtomicU64);

impl Random {
    /// From `GRANTOR_SEED`, or from the clock; printed either way.
    pub(crate) fn new() -> Self {
        let seed = number("GRANTOR_SEED").unwrap_or_else(|| {
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(1, |since| since.as_secs())
        });
        println!("seed {seed} (repeat with GRANTOR_SEED={seed})");
        Self(seed.into())
    }

    pub(crate) fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % end).unwrap_or_default()
    }

    pub(crate) fn percent(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn choose<'a, T>(&self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }
}

/// A runtime for whatever runs beside the faults.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// A store at any address: what the other processes open.
pub(crate) struct Anywhere(Server);

impl Backend for Anywhere {
    type Store = RedisStorage;
    const PROCESSES: Processes = Processes::Shared;

    async fn create() -> Self {
        Self(Server::options().append_only(Fsync::Always).start())
    }

    fn address(&self) -> String {
        self.0.url()
    }

    async fn open(address: &str) -> Result<RedisStorage, Box<dyn Error + Send + Sync>> {
        Ok(RedisStorage::open(address).await?)
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.directory().to_owned()]
    }
}
