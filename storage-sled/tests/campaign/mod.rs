//! What the crash campaigns share: a writer that says what was acknowledged, and a checker.
//!
//! Each campaign is its own `main`: started plainly it is the campaign, started by itself with a
//! role it is the process that gets killed. `GRANTOR_ROUNDS` sets the number of rounds, and makes a
//! campaign fail that cannot run here; `GRANTOR_SEED` repeats one.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "shared by tests that each use a part, and report by printing and panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Index, Key, Kind, Listing, NewRecord, Storage as _, Stored,
};
use grantor_sled::{SledConfig, SledStorage};

const ROLE: &str = "GRANTOR_CAMPAIGN_ROLE";
const DIRECTORY: &str = "GRANTOR_CAMPAIGN_DIRECTORY";

/// Longer than any campaign.
pub(crate) const UNTIL_KILLED: Duration = Duration::from_secs(1_000);

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

// ---------------------------------------------------------------- the writer

/// Keys of one kind each: created once, replaced by several tasks at once, replaced by one task, and
/// removed by sweeps.
const CREATED: Kind = Kind::Grant;
const CONTENDED: Kind = Kind::Session;
const OWNED: Kind = Kind::Client;
const PURGED: Kind = Kind::Consent;

fn commit(key: &Key, expect: Option<CommitId>, seq: u64, id: CommitId, len: usize) -> Commit {
    Commit {
        key: key.clone(),
        expect,
        id,
        record: NewRecord { value: value(seq, id, len), purge_at: FOREVER, indexes: Vec::new() },
    }
}

/// A value that tells its number, and shows whether it is whole.
fn value(seq: u64, id: CommitId, len: usize) -> Vec<u8> {
    let mut value = seq.to_be_bytes().to_vec();
    value.extend(id.as_bytes().iter().cycle().take(len));
    value
}

/// The number in a stored value, if the value is whole.
fn seq_of(stored: &Stored) -> Option<u64> {
    let (seq, rest) = stored.value.split_first_chunk::<8>()?;
    let seq = u64::from_be_bytes(*seq);
    (value(seq, stored.commit, rest.len()) == stored.value).then_some(seq)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

/// Identities that no other process of the campaign uses.
struct Ids {
    prefix: u64,
    next: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        let nanos = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        Self {
            prefix: (nanos as u64) ^ (u64::from(std::process::id()) << 48),
            next: AtomicU64::new(1),
        }
    }

    fn next(&self) -> (u64, CommitId) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.prefix.to_be_bytes());
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        (number, CommitId::from_bytes(bytes))
    }
}

/// Says that a commit was acknowledged, in one write that a kill cannot split.
fn acknowledge(key: &Key, seq: u64, id: CommitId) {
    let line = format!("ack {} {seq} {}\n", hex(&key.to_bytes()), hex(id.as_bytes()));
    let mut out = std::io::stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        // Nobody listens any more.
        std::process::exit(0);
    }
}

/// Writes for so long, or until something fails, and closes the store.
pub(crate) fn write_for(store: SledStorage, time: Duration) {
    let end = Instant::now() + time;
    let running = move || Instant::now() < end;
    let store = Arc::new(store);
    let ids = Arc::new(Ids::new());
    block_on(async {
        let mut tasks = Vec::new();
        for task in 0..16_u64 {
            let (store, ids) = (Arc::clone(&store), Arc::clone(&ids));
            tasks.push(tokio::spawn(async move {
                while running() {
                    let (number, id) = ids.next();
                    let name = format!("{:016x}.{number}", ids.prefix);
                    let key = Key::new(CREATED, name.as_bytes()).expect("short");
                    let mut new = commit(&key, None, 0, id, 200);
                    new.record.indexes =
                        vec![Index::new(&format!("user:{}", task % 4)).expect("a name")];
                    if !matches!(store.commit(new).await, Ok(CommitOutcome::Applied)) {
                        return;
                    }
                    acknowledge(&key, 0, id);
                }
            }));
        }
        for task in 0..24_u64 {
            let (store, ids) = (Arc::clone(&store), Arc::clone(&ids));
            tasks.push(tokio::spawn(async move {
                let key = Key::new(CONTENDED, format!("{}", task % 8).as_bytes()).expect("short");
                while running() {
                    let Ok(found) = store.load(std::slice::from_ref(&key)).await else {
                        return;
                    };
                    let found = found.into_iter().next().flatten();
                    let seq =
                        found.as_ref().map_or(0, |found| seq_of(found).expect("a whole value") + 1);
                    let (_, id) = ids.next();
                    let new = commit(&key, found.map(|found| found.commit), seq, id, 300);
                    match store.commit(new).await {
                        Ok(CommitOutcome::Applied) => acknowledge(&key, seq, id),
                        Ok(CommitOutcome::Conflict) => {}
                        Err(_) => return,
                    }
                }
            }));
        }
        for task in 0..8_u64 {
            let (store, ids) = (Arc::clone(&store), Arc::clone(&ids));
            tasks.push(tokio::spawn(async move {
                for round in 0.. {
                    if !running() {
                        return;
                    }
                    let name = format!("{task}.{}", round % 16);
                    let key = Key::new(OWNED, name.as_bytes()).expect("short");
                    let Ok(found) = store.load(std::slice::from_ref(&key)).await else {
                        return;
                    };
                    let found = found.into_iter().next().flatten();
                    let seq =
                        found.as_ref().map_or(0, |found| seq_of(found).expect("a whole value") + 1);
                    let (number, id) = ids.next();
                    let len = (number * 131 % 5_000) as usize;
                    let new = commit(&key, found.map(|found| found.commit), seq, id, len);
                    match store.commit(new).await {
                        Ok(CommitOutcome::Applied) => acknowledge(&key, seq, id),
                        Ok(CommitOutcome::Conflict) => panic!("nobody else writes {key:?}"),
                        Err(_) => return,
                    }
                }
            }));
        }
        {
            let (store, ids) = (Arc::clone(&store), Arc::clone(&ids));
            tasks.push(tokio::spawn(async move {
                while running() {
                    for _ in 0..20 {
                        let (number, id) = ids.next();
                        let name = format!("{:016x}.{number}", ids.prefix);
                        let key = Key::new(PURGED, name.as_bytes()).expect("short");
                        let mut new = commit(&key, None, 0, id, 100);
                        new.record.purge_at = Timestamp::EPOCH;
                        new.record.indexes = vec![Index::new("purged").expect("a name")];
                        if !matches!(store.commit(new).await, Ok(CommitOutcome::Applied)) {
                            return;
                        }
                        acknowledge(&key, 0, id);
                    }
                    let mut after = None;
                    loop {
                        let Ok(swept) = store.sweep(Timestamp::EPOCH, after.as_ref(), 500).await
                        else {
                            return;
                        };
                        tokio::task::yield_now().await;
                        match swept.next {
                            Some(next) => after = Some(next),
                            None => break,
                        }
                    }
                }
            }));
        }
        for task in tasks {
            task.await.expect("no writer panics");
        }
    });
    Arc::into_inner(store).expect("the writers are gone");
}

/// The role of the process that gets killed.
pub(crate) fn write_role(directory: &Path, config: SledConfig, time: Duration) -> ExitCode {
    match config.open(directory) {
        Ok(store) => {
            write_for(store, time);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint_error(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the parent shows it")]
fn eprint_error(error: &dyn std::error::Error) {
    eprintln!("{error}: {:?}", error.source());
}

// ---------------------------------------------------------------- the listener

/// What was acknowledged so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// The last number of each key, with its commit.
    last: BTreeMap<Key, (u64, CommitId)>,
    /// How many acknowledgements there were.
    pub(crate) count: u64,
}

impl Ledger {
    fn enter(&mut self, line: &str) {
        let mut words = line.split(' ');
        if words.next() != Some("ack") {
            return;
        }
        let entry = (|| {
            let key = Key::from_bytes(&unhex(words.next()?)?)?;
            let seq = words.next()?.parse().ok()?;
            let id: [u8; 16] = unhex(words.next()?)?.try_into().ok()?;
            Some((key, seq, CommitId::from_bytes(id)))
        })();
        // A line that a kill cut short was not acknowledged.
        let Some((key, seq, id)) = entry else { return };
        self.count += 1;
        let last = self.last.entry(key).or_insert((seq, id));
        assert!(
            last.0 != seq || last.1 == id,
            "two commits were acknowledged as number {seq} of one record: {last:?} and {id:?}"
        );
        if seq > last.0 {
            *last = (seq, id);
        }
    }

    /// What of this is not in the store. Every problem in words.
    pub(crate) fn missing_from(&self, store: &SledStorage) -> Vec<String> {
        block_on(self.check(store))
    }

    async fn check(&self, store: &SledStorage) -> Vec<String> {
        let mut problems = Vec::new();
        let mut indexed = BTreeSet::new();
        for user in 0..4 {
            indexed.extend(keys(store, &Listing::Index(index(&format!("user:{user}")))).await);
        }
        for (key, (seq, id)) in &self.last {
            let found = store.load(std::slice::from_ref(key)).await.expect("an open store loads");
            let found = found.into_iter().next().flatten();
            let problem = match &found {
                None if key.kind() == PURGED => None,
                None => Some("it is missing".to_owned()),
                Some(found) => match seq_of(found) {
                    None => Some("its value is not whole".to_owned()),
                    Some(now) if now < *seq => Some(format!("it is back at number {now}")),
                    Some(now) if now == *seq && found.commit != *id => {
                        Some(format!("it is of {:?}", found.commit))
                    }
                    Some(_) => None,
                },
            };
            if let Some(problem) = problem {
                problems.push(format!(
                    "{key:?}: number {seq} of {id:?} was acknowledged, and {problem}"
                ));
            }
            if key.kind() == CREATED && !indexed.contains(key) {
                problems.push(format!("{key:?}: its index entry is missing"));
            }
        }
        problems
    }
}

fn index(name: &str) -> Index {
    Index::new(name).expect("a name")
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
            for key in keys(store, &Listing::Index(index(name))).await {
                lines.insert(format!("{name} {}", hex(&key.to_bytes())));
            }
        }
        lines
    })
}

/// A writer in a process of its own, and what it acknowledged.
pub(crate) struct Writer {
    child: Child,
    listener: JoinHandle<Vec<String>>,
    pub(crate) started: Instant,
}

impl Writer {
    pub(crate) fn start(role: &str, directory: &Path) -> Self {
        let mut child = command(role, directory)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let out = child.stdout.take().expect("it was asked for");
        Self { child, listener: std::thread::spawn(move || listen(out)), started: Instant::now() }
    }

    pub(crate) fn stop(&mut self) {
        let id = self.child.id().to_string();
        run("kill", &["-STOP", &id]).expect("the writer runs");
        let stat = format!("/proc/{id}/stat");
        loop {
            let stat = std::fs::read_to_string(&stat).expect("the writer is a child");
            if stat.contains(") T ") {
                return;
            }
            assert!(!stat.contains(") Z "), "the writer ended before it was stopped");
            std::thread::yield_now();
        }
    }

    /// Whether it ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.try_wait().expect("it is a child").is_some()
    }

    /// Kills it, and enters what it had acknowledged.
    pub(crate) fn kill(mut self, ledger: &mut Ledger) {
        assert!(!self.ended(), "the writer ended before it was killed");
        self.child.kill().expect("the writer runs");
        self.join(ledger);
    }

    /// Waits for its end, and enters what it had acknowledged.
    pub(crate) fn join(mut self, ledger: &mut Ledger) {
        self.child.wait().expect("it is a child");
        for line in self.listener.join().expect("the listener does not panic") {
            ledger.enter(&line);
        }
    }
}

fn listen(out: ChildStdout) -> Vec<String> {
    BufReader::new(out).lines().map_while(Result::ok).collect()
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
pub(crate) fn show(problems: &[String]) {
    for problem in problems.iter().take(5) {
        println!("  {problem}");
    }
    if problems.len() > 5 {
        println!("  and {} more", problems.len() - 5);
    }
}
