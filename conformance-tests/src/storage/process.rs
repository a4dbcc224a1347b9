//! Another process that has the store open and does what this one tells it to.
//!
//! It is this test program, started again for the same test, with the address in its environment.
//! Calls go to its standard input and answers come back on its standard output, a line of JSON each,
//! marked, since the test harness prints there too. It ends when its input does, so it never outlives
//! the test; what a kill cut short is no answer.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Cursor, Index, Key, Kind, Listing, NewRecord, Page, Promises,
    Storage, StorageError, Stored, Swept,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::Backend;
use super::run::deadline;

const ADDRESS: &str = "GRANTOR_STORAGE_SUITE_ADDRESS";
const MARK: &str = "grantor-storage-suite:";

tokio::task_local! {
    /// The path of the `#[test]` function that is running, with the name of the crate.
    pub(super) static PATH: String;
}

/// What the other process is asked.
#[derive(Serialize, Deserialize)]
enum Call {
    Load(Vec<Vec<u8>>),
    Commit {
        key: Vec<u8>,
        expect: Option<[u8; 16]>,
        id: [u8; 16],
        value: Vec<u8>,
        purge_at: i64,
        indexes: Vec<Index>,
    },
    List {
        kind: Option<Kind>,
        index: Option<Index>,
        after: Option<Cursor>,
        limit: usize,
    },
    Sweep {
        now: i64,
        after: Option<Cursor>,
        budget: usize,
    },
    Ready,
}

/// What it says by itself, and what it answers.
#[derive(Serialize, Deserialize)]
enum Line {
    Opening,
    Open(Promises),
    Refused(String),
    Answer(u64, Answer),
}

/// The commit that wrote a record, its value, and when it may be removed.
type Found = ([u8; 16], Vec<u8>, i64);

#[derive(Serialize, Deserialize)]
enum Answer {
    Loaded(Vec<Option<Found>>),
    Committed { applied: bool },
    Listed { keys: Vec<Vec<u8>>, next: Option<Cursor> },
    Swept { examined: usize, removed: usize, next: Option<Cursor> },
    Ready,
    Failed { damaged: bool, reason: String },
}

// ------------------------------------------------------------------------- the other process

/// In a process that the suite started: serves its calls, and ends with it. In any other: nothing.
///
/// [`storage_suite!`](crate::storage_suite) sees to this. A campaign with a `main` of its own calls it
/// first.
pub fn serve_if_asked<B: Backend>() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        // Whoever started it kills it sooner.
        let _ = tokio::time::timeout(deadline(), serve::<B>(&address)).await;
    });
    std::process::exit(0);
}

async fn serve<B: Backend>(address: &str) {
    say(&Line::Opening);
    let store = match B::open(address).await {
        Ok(store) => Arc::new(store),
        Err(error) => return say(&Line::Refused(error.to_string())),
    };
    say(&Line::Open(store.promises()));
    let (sender, mut calls) = mpsc::unbounded_channel::<(u64, Call)>();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let call = serde_json::from_str(&line).expect("a call");
            if sender.send(call).is_err() {
                return;
            }
        }
    });
    let mut tasks = tokio::task::JoinSet::new();
    while let Some((number, call)) = calls.recv().await {
        let store = Arc::clone(&store);
        tasks.spawn(async move { say(&Line::Answer(number, call.make(&*store).await)) });
        while tasks.try_join_next().is_some() {}
    }
    // The input has ended: so has the test, or it wants the store closed.
    while tasks.join_next().await.is_some() {}
}

/// In one write, so that lines do not mix.
fn say(line: &Line) {
    let line = format!("{MARK}{}\n", serde_json::to_string(line).expect("plain data"));
    let mut out = std::io::stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        // Nobody listens any more.
        std::process::exit(0);
    }
}

impl Call {
    async fn make(self, store: &impl Storage) -> Answer {
        let made = match self {
            Self::Load(keys) => {
                let keys: Vec<_> = keys.iter().map(|key| decoded(key)).collect();
                store.load(&keys).await.map(|found| {
                    let plain = |stored: Stored| {
                        (*stored.commit.as_bytes(), stored.value, stored.purge_at.as_millis())
                    };
                    Answer::Loaded(found.into_iter().map(|stored| stored.map(plain)).collect())
                })
            }
            Self::Commit { key, expect, id, value, purge_at, indexes } => {
                let purge_at = Timestamp::from_millis(purge_at);
                let commit = Commit {
                    key: decoded(&key),
                    expect: expect.map(CommitId::from_bytes),
                    id: CommitId::from_bytes(id),
                    record: NewRecord { value, purge_at, indexes },
                };
                store
                    .commit(commit)
                    .await
                    .map(|outcome| Answer::Committed { applied: outcome == CommitOutcome::Applied })
            }
            Self::List { kind, index, after, limit } => {
                let listing = match (kind, index) {
                    (Some(kind), _) => Listing::Kind(kind),
                    (None, index) => Listing::Index(index.expect("a kind or an index")),
                };
                store.list(&listing, after.as_ref(), limit).await.map(|page| Answer::Listed {
                    keys: page.keys.iter().map(Key::to_bytes).collect(),
                    next: page.next,
                })
            }
            Self::Sweep { now, after, budget } => {
                let now = Timestamp::from_millis(now);
                store.sweep(now, after.as_ref(), budget).await.map(|swept| Answer::Swept {
                    examined: swept.examined,
                    removed: swept.removed,
                    next: swept.next,
                })
            }
            Self::Ready => store.ready().await.map(|()| Answer::Ready),
        };
        made.unwrap_or_else(|error| Answer::Failed {
            damaged: matches!(error, StorageError::Damaged { .. }),
            reason: error.to_string(),
        })
    }
}

fn decoded(key: &[u8]) -> Key {
    Key::from_bytes(key).expect("the bytes of a key")
}

// ------------------------------------------------------------------------------ this process

/// When a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// As soon as it begins to open the store.
    Opening,
    /// With this acknowledgement of a commit, counted from one.
    At(u64),
    /// When somebody says so.
    Never,
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("while it opened the store"),
            Self::At(count) => write!(f, "with its acknowledgement number {count}"),
            Self::Never => f.write_str("by nobody"),
        }
    }
}

/// A process that has the store open.
pub(crate) struct Process {
    store: Arc<Elsewhere>,
    child: Arc<Mutex<Child>>,
    listener: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    /// Starts a process that opens the store at this address, with the backend of this test. `Err`: the store did not open there,
    /// for this reason; `Ok(None)`: it was killed before it had.
    pub(crate) async fn start(address: &str, kill: Kill) -> Result<Option<Self>, String> {
        let mut command = Command::new(std::env::current_exe().expect("a program knows its file"));
        if let Ok(path) = PATH.try_with(Clone::clone) {
            // libtest leaves out the name of the crate.
            let name = path.split_once("::").map_or(path.as_str(), |(_, name)| name);
            command.args([name, "--exact", "--nocapture", "--include-ignored"]);
        }
        let mut child = command
            .env(ADDRESS, address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test program starts again");
        let input = child.stdin.take().expect("piped");
        let output = child.stdout.take().expect("piped");
        let mut errors = child.stderr.take().expect("piped");
        let errors = std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = errors.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        let child = Arc::new(Mutex::new(child));
        let waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let (opened, opening) = oneshot::channel();
        let listener = std::thread::spawn({
            let (child, waiting) = (Arc::clone(&child), Arc::clone(&waiting));
            move || listen(output, &child, &waiting, kill, opened)
        });
        match opening.await {
            Ok(Ok(promises)) => {
                let input = Mutex::new(Some(input));
                let store = Elsewhere { promises, input, waiting, next: AtomicU64::new(0) };
                Ok(Some(Self { store: Arc::new(store), child, listener: Some(listener) }))
            }
            Ok(Err(reason)) => Err(reason),
            Err(_) => {
                let status = lock(&child).wait().expect("it is a child");
                if kill == Kill::Opening {
                    return Ok(None);
                }
                let said = errors.join().unwrap_or_default();
                panic!(
                    "another process of this test program ended with {status} before it had opened \
                     the store; it said: {said}"
                );
            }
        }
    }

    /// The store, as that process sees it.
    pub(crate) fn store(&self) -> Arc<Elsewhere> {
        Arc::clone(&self.store)
    }

    /// The number by which the system knows the process.
    pub(crate) fn id(&self) -> u32 {
        lock(&self.child).id()
    }

    /// Kills it, if nobody did, and waits for its end. All that it had answered is known then.
    pub(crate) fn kill(mut self) {
        self.end(true);
    }

    /// Lets it close the store, and waits for its end.
    pub(crate) fn close(mut self) {
        self.end(false);
    }

    fn end(&mut self, kill: bool) {
        if kill {
            // It fails if the process has ended, which is what it is for.
            let _ = lock(&self.child).kill();
        }
        // Only now: whoever writes to a process that stands still holds the lock.
        drop(lock(&self.store.input).take());
        if let Some(listener) = self.listener.take() {
            // It does not panic.
            let _ = listener.join();
        }
        let _ = lock(&self.child).wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(true);
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// Nobody holds these locks while anything can panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The calls that wait for an answer; `None` once there will be no more answers.
type Waiting = Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>;

fn listen(
    output: ChildStdout,
    child: &Mutex<Child>,
    waiting: &Waiting,
    kill: Kill,
    opened: oneshot::Sender<Result<Promises, String>>,
) {
    let mut opened = Some(opened);
    let mut output = BufReader::new(output);
    let mut acknowledged = 0;
    let end = || {
        let _ = lock(child).kill();
    };
    loop {
        let mut line = Vec::new();
        match output.read_until(b'\n', &mut line) {
            // A line without its end was cut short, and answers nothing.
            Ok(_) if line.ends_with(b"\n") => {}
            _ => break,
        }
        let line = String::from_utf8_lossy(&line);
        let Some((_, line)) = line.split_once(MARK) else { continue };
        match serde_json::from_str(line).expect("what the other process says is read") {
            Line::Opening if kill == Kill::Opening => end(),
            Line::Opening => {}
            Line::Open(promises) => {
                if let Some(opened) = opened.take() {
                    let _ = opened.send(Ok(promises));
                }
            }
            Line::Refused(reason) => {
                if let Some(opened) = opened.take() {
                    let _ = opened.send(Err(reason));
                }
            }
            Line::Answer(number, answer) => {
                if matches!(answer, Answer::Committed { applied: true }) {
                    acknowledged += 1;
                    if kill == Kill::At(acknowledged) {
                        end();
                    }
                }
                let sender = lock(waiting).as_mut().and_then(|waiting| waiting.remove(&number));
                if let Some(sender) = sender {
                    let _ = sender.send(answer);
                }
            }
        }
    }
    // Whoever still waits is told that nobody knows.
    drop(lock(waiting).take());
}

/// A store as another process sees it.
pub(crate) struct Elsewhere {
    promises: Promises,
    input: Mutex<Option<ChildStdin>>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Elsewhere")
    }
}

impl Elsewhere {
    async fn call(&self, call: &Call) -> Result<Answer, StorageError> {
        let gone = || StorageError::unavailable("the process that had the store open has ended");
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).as_mut().ok_or_else(gone)?.insert(number, sender);
        let mut line = serde_json::to_vec(&(number, call)).expect("plain data");
        line.push(b'\n');
        {
            let mut input = lock(&self.input);
            let input = input.as_mut().ok_or_else(gone)?;
            input.write_all(&line).and_then(|()| input.flush()).map_err(|_| gone())?;
        }
        match receiver.await.map_err(|_| gone())? {
            Answer::Failed { damaged: true, reason } => Err(StorageError::damaged(reason)),
            Answer::Failed { damaged: false, reason } => Err(StorageError::unavailable(reason)),
            answer => Ok(answer),
        }
    }
}

fn mixed_up() -> StorageError {
    StorageError::unavailable("the other process answered another call")
}

#[async_trait]
impl Storage for Elsewhere {
    fn promises(&self) -> Promises {
        self.promises
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        let keys = keys.iter().map(Key::to_bytes).collect();
        let Answer::Loaded(found) = self.call(&Call::Load(keys)).await? else {
            return Err(mixed_up());
        };
        let stored = |(commit, value, purge_at): Found| Stored {
            commit: CommitId::from_bytes(commit),
            value,
            purge_at: Timestamp::from_millis(purge_at),
        };
        Ok(found.into_iter().map(|found| found.map(stored)).collect())
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        let call = Call::Commit {
            key: commit.key.to_bytes(),
            expect: commit.expect.map(|id| *id.as_bytes()),
            id: *commit.id.as_bytes(),
            value: commit.record.value,
            purge_at: commit.record.purge_at.as_millis(),
            indexes: commit.record.indexes,
        };
        match self.call(&call).await? {
            Answer::Committed { applied: true } => Ok(CommitOutcome::Applied),
            Answer::Committed { applied: false } => Ok(CommitOutcome::Conflict),
            _ => Err(mixed_up()),
        }
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let (kind, index) = match listing {
            Listing::Kind(kind) => (Some(*kind), None),
            Listing::Index(index) => (None, Some(index.clone())),
        };
        let call = Call::List { kind, index, after: after.cloned(), limit };
        match self.call(&call).await? {
            Answer::Listed { keys, next } => {
                Ok(Page { keys: keys.iter().map(|key| decoded(key)).collect(), next })
            }
            _ => Err(mixed_up()),
        }
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        let call = Call::Sweep { now: now.as_millis(), after: after.cloned(), budget };
        match self.call(&call).await? {
            Answer::Swept { examined, removed, next } => Ok(Swept { examined, removed, next }),
            _ => Err(mixed_up()),
        }
    }

    async fn ready(&self) -> Result<(), StorageError> {
        self.call(&Call::Ready).await.map(drop)
    }
}
