//! Processes that are killed while they write: everything acknowledged is there, whenever it happens.
//!
//! `GRANTOR_ROUNDS=500 cargo test -p grantor-sled --release --test kill`

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a campaign reports by printing and panicking"
)]

mod campaign;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use campaign::{Ledger, Random, Writer};
use grantor_sled::{SledConfig, SledStorage};
use tempfile::TempDir;

/// So many rounds continue on the same files before new ones are begun.
const GENERATION: u64 = 25;

fn main() -> ExitCode {
    if let Some((_, directory)) = campaign::role() {
        return campaign::write_role(&directory, SledConfig::new(), campaign::UNTIL_KILLED);
    }
    let rounds = campaign::rounds(8);
    let mut random = Random::new();
    let mut directory = TempDir::new().expect("a temporary directory");
    let mut ledger = Ledger::default();
    let (mut acknowledged, mut lost, mut slowest) = (0, 0, Duration::ZERO);
    for round in 0..rounds {
        if round > 0 && round.is_multiple_of(GENERATION) {
            directory = TempDir::new().expect("a temporary directory");
            ledger = Ledger::default();
        }
        let before = ledger.count;
        let writer = Writer::start("write", directory.path());
        // Some are killed while they open.
        std::thread::sleep(Duration::from_millis(5 + random.below(250)));
        writer.kill(&mut ledger);
        acknowledged += ledger.count - before;

        let started = Instant::now();
        let store = SledStorage::open(directory.path()).expect("opens after a kill");
        slowest = slowest.max(started.elapsed());
        let problems = ledger.missing_from(&store);
        campaign::show(&problems);
        lost += problems.len();
    }
    println!(
        "kill: {rounds} rounds, {acknowledged} acknowledged, {lost} lost, slowest opening \
         {slowest:?}"
    );
    assert!(acknowledged > 0, "the writers never got to write");
    if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
