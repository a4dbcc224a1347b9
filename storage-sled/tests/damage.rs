//! Files that are not what was written: the store refuses to open, in words, or nothing is missing.
//!
//! Each trial damages a copy and opens it in a process of its own, so that an abort or a hang is seen
//! as one. What must never happen is an opening that shows less or other than what was there.
//!
//! `GRANTOR_ROUNDS=500 cargo test -p grantor-sled --release --test damage`

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a campaign reports by printing and panicking"
)]

mod campaign;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use campaign::Random;
use grantor_conformance::storage::crash::{Ledger, write};
use grantor_sled::{OpenError, SledStorage};
use tempfile::TempDir;

/// What is committed between one opening and the next, at least.
const COMMITS: u64 = 5_000;

const INTACT: u8 = 0;
const SILENT: u8 = 10;
const DAMAGED: u8 = 11;
const OTHER: u8 = 12;
const SECOND: u8 = 13;

/// The name of the file with everything that must be there, beside the data directory.
const EXPECTED: &str = "expected";

fn expected(data: &Path) -> PathBuf {
    data.with_file_name(EXPECTED)
}

/// Opens a damaged copy, twice: a second try must not accept less than the first, although sled may
/// have repaired what it panicked over.
fn check(data: &Path) -> u8 {
    let expected: BTreeSet<String> = fs::read_to_string(expected(data))
        .expect("the campaign wrote it")
        .lines()
        .map(str::to_owned)
        .collect();
    let mut refused = false;
    for _ in 0..2 {
        match SledStorage::open(data) {
            Ok(store) => {
                let found = campaign::dump(&store);
                if found != expected {
                    println!(
                        "missing {}, unexpected {}",
                        expected.difference(&found).count(),
                        found.difference(&expected).count()
                    );
                    return SILENT;
                }
                if refused {
                    return SECOND;
                }
            }
            Err(OpenError::Damaged { what, .. }) => {
                if !refused {
                    println!("{what}");
                }
                refused = true;
            }
            Err(error) => {
                println!("{error}: {:?}", std::error::Error::source(&error));
                return OTHER;
            }
        }
    }
    if refused { DAMAGED } else { INTACT }
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("room for a copy");
    for item in fs::read_dir(from).expect("the base is there") {
        let item = item.expect("the base is there");
        let target = to.join(item.file_name());
        if item.file_type().expect("a type").is_dir() {
            copy_directory(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).expect("room for a copy");
        }
    }
}

/// Damages one file; what was done, in words.
fn damage(data: &Path, random: &mut Random) -> String {
    let mut files: Vec<_> = fs::read_dir(data)
        .expect("the copy is there")
        .map(|item| item.expect("the copy is there").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    // Most of the bytes are in one file.
    let path = if random.below(4) == 0 {
        let at = random.below(files.len() as u64) as usize;
        files.swap_remove(at)
    } else {
        data.join("db")
    };
    let name = path.file_name().expect("a file").display().to_string();
    let file = fs::File::options().read(true).write(true).open(&path).expect("the copy is there");
    let len = file.metadata().expect("the copy is there").len();
    let at = random.below(len);
    let end = (at + 1 + random.below(5_000)).min(len);
    let mut bytes = vec![0; usize::try_from(end - at).expect("small")];
    match random.below(8) {
        0..=3 => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("within the file");
            let bit = random.below(8);
            file.write_all_at(&[byte[0] ^ (1 << bit)], at).expect("within the file");
            format!("bit {bit} of byte {at} of {name} ({len})")
        }
        4 => {
            file.write_all_at(&bytes, at).expect("within the file");
            format!("zeros at {at}..{end} of {name} ({len})")
        }
        5 => {
            bytes.fill_with(|| random.next() as u8);
            file.write_all_at(&bytes, at).expect("within the file");
            format!("garbage at {at}..{end} of {name} ({len})")
        }
        6 => {
            file.set_len(at).expect("shorter");
            format!("{name} cut at {at} ({len})")
        }
        _ => {
            // A block in the place of another, each with a checksum that holds.
            let (from, to) = (random.below(len) & !4095, at & !4095);
            let mut block = vec![0; 4096];
            let read = file.read_at(&mut block, from).expect("within the file");
            block.truncate(read);
            file.write_all_at(&block, to).expect("within the file");
            format!("block {from} copied to {to} in {name} ({len})")
        }
    }
}

/// A store with a snapshot and a log that goes on for a while after it, closed properly: everything in
/// it was acknowledged.
fn base(data: &Path, rounds: u64) {
    let ledger = Arc::new(Ledger::default());
    for round in 1..=rounds {
        let store = Arc::new(SledStorage::open(data).expect("opens"));
        campaign::block_on(write(Arc::clone(&store), Arc::clone(&ledger), round * COMMITS));
        drop(Arc::into_inner(store).expect("the writers have ended"));
    }
    // Not the original, because opening writes a snapshot that covers the log.
    let copy = data.with_file_name("copy");
    copy_directory(data, &copy);
    let store = SledStorage::open(&copy).expect("opens");
    let lines: Vec<_> = campaign::dump(&store).into_iter().collect();
    fs::write(expected(data), lines.join("\n")).expect("room");
    drop(store);
    fs::remove_dir_all(copy).expect("it was just made");
}

fn main() -> ExitCode {
    if let Some((_, directory)) = campaign::role() {
        return ExitCode::from(check(&directory));
    }
    let rounds = campaign::rounds(40);
    let mut random = Random::new();
    let here = TempDir::new().expect("a temporary directory");
    let original = here.path().join("original");
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let mut failures = 0;
    for round in 0..rounds {
        if round.is_multiple_of(100) {
            let _ = fs::remove_dir_all(&original);
            base(&original, 1 + random.below(3));
        }
        let copy = here.path().join("copy");
        copy_directory(&original, &copy);
        let what = damage(&copy, &mut random);
        let mut child = campaign::command("check", &copy)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program starts again");
        let status = campaign::wait(&mut child, Duration::from_secs(60));
        let mut said = String::new();
        if let Some(mut out) = child.stdout.take() {
            let _ = std::io::Read::read_to_string(&mut out, &mut said);
        }
        let code = status.map(|status| status.code().and_then(|code| u8::try_from(code).ok()));
        let (outcome, fine) = match code {
            Some(Some(INTACT)) => ("intact", true),
            Some(Some(DAMAGED)) => ("refused as damaged", true),
            Some(Some(OTHER)) => ("refused for another reason", false),
            Some(Some(SILENT)) => ("SILENT LOSS", false),
            Some(Some(SECOND)) => ("refused, then intact", true),
            Some(_) => ("PANIC OR ABORT", false),
            None => ("HANG", false),
        };
        *outcomes.entry(outcome).or_default() += 1;
        if outcome == "refused as damaged" {
            // What is the same in all reasons of a sort.
            let reason = said.split(':').next().unwrap_or_default().trim();
            *reasons.entry(reason.to_owned()).or_default() += 1;
        }
        if !fine {
            failures += 1;
            println!("{outcome} after {what}: {}", said.trim());
        }
        fs::remove_dir_all(&copy).expect("it was just made");
    }
    println!("damage: {rounds} rounds, {outcomes:?}, refused because {reasons:#?}");
    if failures > 0 {
        panic!("{failures} trials ended neither intact nor refused as damaged");
    }
    ExitCode::SUCCESS
}
