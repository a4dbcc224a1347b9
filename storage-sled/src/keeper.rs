//! The one thread that waits for the disk.
//!
//! Commits put themselves into sled's log and into a queue; the keeper empties the queue, makes the
//! log durable, and answers everybody who was in it. (`flush_async` of sled 0.34 deadlocks once 16
//! tasks wait in it: each holds a thread of the pool that is to do the writing.) When the disk turns
//! out to be full the keeper closes sled and opens it again when there is room.
//!
//! A second thread watches the keeper: a disk (or sled) that does not answer must not make everybody
//! wait for ever. It refuses everything until the barrier is through.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use grantor::storage::StorageError;

use crate::SledConfig;
use crate::engine::{Engine, Failure, Fault};
use crate::group::{Group, Receipt};
use crate::open::{Directory, OpenError};

/// How often a store on a full disk looks for room.
const ROOM_INTERVAL: Duration = Duration::from_millis(250);

/// Less room than this is not worth opening sled again, whatever the configuration says: opening
/// writes a snapshot, and the next commits want two segments.
const MIN_ROOM: u64 = 10 * 1024 * 1024;

const STALLED: &str = "the disk does not answer";
const FULL: &str = "the disk is full";
const CLOSED: &str = "the store was closed";

/// How long those who were answered have to pass it on among themselves before the keeper does.
const RELAY: Duration = Duration::from_millis(1);

/// What the store and its keeper share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: SledConfig,
    directory: Directory,
    gate: RwLock<Gate>,
    queue: Mutex<Queue>,
    wake: Condvar,
    under_way: Mutex<UnderWay>,
    /// Wakes the watch where it need not wait on: at the end.
    ended: Condvar,
    /// Whether the barrier that is under way takes too long.
    stalled: AtomicBool,
    /// Whether the last barrier left less room than the configuration wants.
    tight: AtomicBool,
}

/// Whether the store serves.
#[derive(Debug)]
enum Gate {
    Open(Box<Engine>),
    /// sled hit the end of the disk, and has been closed.
    Full,
    /// What was promised can no longer be kept; for good.
    Failed(String),
}

#[derive(Debug, Default)]
struct Queue {
    /// Those who wait for the next barrier.
    waiting: Arc<Group>,
    /// How many they are.
    count: usize,
    /// How many are likely to: those whom the last barrier sent away, and who were there already.
    expected: usize,
    /// sled reported an error to somebody who is not waiting.
    trouble: bool,
    /// The barrier that finds out what that was is under way.
    examining: bool,
    stop: bool,
}

impl Queue {
    fn take(&mut self) -> (Arc<Group>, usize) {
        (std::mem::take(&mut self.waiting), std::mem::take(&mut self.count))
    }
}

/// The barrier that is under way.
#[derive(Debug, Default)]
struct UnderWay {
    since: Option<Instant>,
    waiting: Arc<Group>,
    /// Those who waited for the one before.
    answered: Arc<Group>,
    ended: bool,
}

impl Shared {
    pub(crate) fn new(config: SledConfig, directory: Directory, engine: Engine) -> Self {
        Self {
            config,
            directory,
            gate: RwLock::new(Gate::Open(Box::new(engine))),
            queue: Mutex::default(),
            wake: Condvar::new(),
            under_way: Mutex::default(),
            ended: Condvar::new(),
            stalled: AtomicBool::new(false),
            tight: AtomicBool::new(false),
        }
    }

    fn gate(&self) -> RwLockReadGuard<'_, Gate> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something on the open trees.
    pub(crate) fn with<T>(
        &self,
        run: impl FnOnce(&Engine) -> Result<T, Fault>,
    ) -> Result<T, StorageError> {
        if self.stalled.load(Ordering::Relaxed) {
            return Err(StorageError::unavailable(STALLED));
        }
        match &*self.gate() {
            Gate::Open(engine) => run(engine).map_err(|fault| {
                if let Fault::Sled(error) = &fault {
                    tracing::error!(%error, "sled failed");
                    // Whether that was the end is found out by the next barrier.
                    self.queue().trouble = true;
                    self.wake.notify_one();
                }
                fault.into()
            }),
            Gate::Full => Err(StorageError::unavailable(FULL)),
            Gate::Failed(reason) => Err(StorageError::unavailable(reason)),
        }
    }

    /// Whether sled failed lately, and it is not known yet what that means.
    pub(crate) fn check_trouble(&self) -> Result<(), StorageError> {
        let queue = self.queue();
        if queue.trouble || queue.examining {
            return Err(StorageError::unavailable(
                "sled failed; what became of it is being found out",
            ));
        }
        Ok(())
    }

    /// Whether there is room to write.
    pub(crate) fn check_room(&self) -> Result<(), StorageError> {
        if self.tight.load(Ordering::Relaxed) && !self.has_room(self.config.min_free) {
            return Err(StorageError::unavailable(format_args!(
                "less than {} bytes are free on the disk",
                self.config.min_free
            )));
        }
        self.tight.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn has_room(&self, bytes: u64) -> bool {
        match rustix::fs::statvfs(self.directory.path()) {
            Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize) >= bytes,
            // Not to know is no reason to refuse: sled will tell.
            Err(_) => true,
        }
    }

    /// Asks for the barrier. Whatever the caller applied before is covered by it.
    pub(crate) fn enqueue(&self) -> Receipt {
        let mut queue = self.queue();
        if queue.stop {
            drop(queue);
            let refused = Arc::<Group>::default();
            refused.answer(Err(CLOSED));
            return Receipt::new(refused);
        }
        queue.count += 1;
        if queue.count == 1 || queue.count == queue.expected {
            self.wake.notify_one();
        }
        Receipt::new(Arc::clone(&queue.waiting))
    }

    /// Makes the keeper finish what is queued and return.
    pub(crate) fn stop(&self) {
        self.queue().stop = true;
        self.wake.notify_one();
    }

    fn replace_gate(&self, gate: Gate) {
        let old = {
            let mut open = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *open, gate)
        };
        drop(old);
    }

    fn fail(&self, reason: String) {
        tracing::error!(%reason, "the store serves no more; restart after the cause is gone");
        self.replace_gate(Gate::Failed(reason));
    }

    #[cfg(test)]
    pub(crate) fn stall_barrier(&self) -> std::sync::mpsc::Sender<()> {
        let mut gate = self.gate.write().expect("no panic");
        match &mut *gate {
            Gate::Open(engine) => engine.stall_barrier(),
            _ => panic!("the store is open"),
        }
    }

    #[cfg(test)]
    pub(crate) fn break_barrier(&self) {
        let mut gate = self.gate.write().expect("no panic");
        if let Gate::Open(engine) = &mut *gate {
            engine.break_barrier();
        }
    }
}

/// Starts the keeper.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<thread::JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new().name("grantor-sled-keeper".into()).spawn(move || {
        // sled panics where it finds itself inconsistent. Those who wait learn it, and nobody
        // waits again.
        if catch_unwind(AssertUnwindSafe(|| keep(&shared))).is_err() {
            const PANICKED: &str = "sled panicked while it wrote its log";
            shared.fail(PANICKED.into());
            end_barrier(&shared).answer(Err(PANICKED));
            refuse_until_stop(&shared, PANICKED);
        }
        shared.under_way().ended = true;
        shared.ended.notify_one();
    })
}

/// Starts the thread that watches the keeper.
pub(crate) fn watch(shared: &Arc<Shared>) -> io::Result<thread::JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new().name("grantor-sled-watch".into()).spawn(move || {
        let patience = shared.config.patience;
        let mut under_way = shared.under_way();
        while !under_way.ended {
            if under_way.since.is_some_and(|since| since.elapsed() >= patience) {
                if !shared.stalled.swap(true, Ordering::Relaxed) {
                    tracing::error!(?patience, "{STALLED}; nothing is served until it does");
                }
                let (queued, _) = shared.queue().take();
                let waiting = [&under_way.waiting, &queued].map(Arc::clone);
                let answered = Arc::clone(&under_way.answered);
                drop(under_way);
                waiting.iter().for_each(|group| group.answer(Err(STALLED)));
                answered.wake_all();
                under_way = shared.under_way();
            }
            // Looking now and then costs nothing; being told of every barrier would.
            let waiting = |under_way: &mut UnderWay| !under_way.ended;
            let waited = shared.ended.wait_timeout_while(under_way, patience / 4, waiting);
            (under_way, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    })
}

/// Those who wait for the barrier that is through now.
fn end_barrier(shared: &Shared) -> Arc<Group> {
    let mut under_way = shared.under_way();
    under_way.since = None;
    if shared.stalled.swap(false, Ordering::Relaxed) {
        tracing::info!("the disk answers again; the store serves");
    }
    let waiting = std::mem::take(&mut under_way.waiting);
    let before = std::mem::replace(&mut under_way.answered, Arc::clone(&waiting));
    drop(under_way);
    // By now they all know, or the one that should have told them is not polled.
    before.wake_all();
    waiting
}

fn keep(shared: &Shared) {
    loop {
        let stopping = {
            let answered = Arc::clone(&shared.under_way().answered);
            let mut queue = shared.queue();
            let idle = |queue: &mut Queue| queue.count == 0 && !queue.trouble && !queue.stop;
            if idle(&mut queue) && !answered.all_know() {
                let waited = shared.wake.wait_timeout_while(queue, RELAY, idle);
                (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
                if idle(&mut queue) {
                    drop(queue);
                    answered.wake_all();
                    queue = shared.queue();
                }
            }
            queue = shared.wake.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
            // Whoever is alone is served at once. In a crowd a barrier that starts a little later
            // serves more.
            let more =
                |queue: &mut Queue| queue.count < queue.expected && !queue.trouble && !queue.stop;
            let waited = shared.wake.wait_timeout_while(queue, shared.config.linger, more);
            (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
            queue.stop
        };
        let (waiting, crowd) = {
            let mut queue = shared.queue();
            queue.examining = std::mem::take(&mut queue.trouble);
            queue.take()
        };
        let before = {
            let mut under_way = shared.under_way();
            under_way.since = Some(Instant::now());
            under_way.waiting = waiting;
            Arc::clone(&under_way.answered)
        };
        // What they wait for is done; none of them should wait for this one too.
        before.wake_all();
        let failure = match &*shared.gate() {
            Gate::Open(engine) => barrier(shared, engine).err(),
            Gate::Full | Gate::Failed(_) => None,
        };
        let result = match (&failure, &*shared.gate()) {
            (Some(Trouble::Full), _) | (None, Gate::Full) => Err(FULL.to_owned()),
            (Some(Trouble::Fatal(reason)), _) | (None, Gate::Failed(reason)) => Err(reason.clone()),
            (None, Gate::Open(_)) => Ok(()),
        };
        match failure {
            None => {}
            // The gate changes before anybody is told, so that nobody can see the failed write.
            Some(Trouble::Full) => {
                tracing::error!("the disk is full; nothing is served until there is room");
                shared.replace_gate(Gate::Full);
            }
            Some(Trouble::Fatal(reason)) => shared.fail(reason),
        }
        {
            // Those who are answered now are about to come again.
            let mut queue = shared.queue();
            queue.examining = false;
            queue.expected = crowd + queue.count;
        }
        let waiting = end_barrier(shared);
        match &result {
            Ok(()) => waiting.answer_in_relay(),
            Err(reason) => waiting.answer(Err(reason)),
        }
        if stopping {
            waiting.wake_all();
            // Here and not where the last reference goes: sled may panic while it closes.
            shared.replace_gate(Gate::Failed(CLOSED.into()));
            return;
        }
        if matches!(&*shared.gate(), Gate::Full) {
            reopen(shared);
        }
    }
}

fn refuse_until_stop(shared: &Shared, reason: &str) {
    let mut queue = shared.queue();
    loop {
        let (waiting, stop) = (queue.take().0, queue.stop);
        drop(queue);
        waiting.answer(Err(reason));
        if stop {
            return;
        }
        let idle = |queue: &mut Queue| queue.count == 0 && !queue.stop;
        let waited = shared.wake.wait_while(shared.queue(), idle);
        queue = waited.unwrap_or_else(PoisonError::into_inner);
    }
}

enum Trouble {
    Full,
    Fatal(String),
}

fn barrier(shared: &Shared, engine: &Engine) -> Result<(), Trouble> {
    let mark = match engine.make_durable() {
        Ok(mark) => mark,
        Err(Failure::Sled(sled::Error::Io(error))) if is_full(&error) => {
            // A write that failed later, when the kernel wrote back, is another matter: the kernel
            // forgets what it could not write, so that a second try would succeed and prove nothing.
            return match engine.sync() {
                Ok(()) => Err(Trouble::Full),
                Err(error) => Err(fatal("syncing the disk failed", &error)),
            };
        }
        Err(Failure::Sled(error)) => return Err(fatal("sled cannot write its log", &error)),
        Err(Failure::Sync(error)) => return Err(fatal("syncing the disk failed", &error)),
    };
    if let Err(error) = shared.directory.note(mark) {
        // Its block was allocated when it was created, so this is no full disk.
        return Err(fatal("cannot write the state file", &error));
    }
    if !shared.has_room(shared.config.min_free) && !shared.tight.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            min_free = shared.config.min_free,
            "the disk is nearly full; nothing is written until there is room"
        );
    }
    Ok(())
}

fn fatal(what: &str, error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Fatal(format!("{what}: {error}"))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Waits for room, then opens sled again. What was applied and never durable is gone with the closed
/// one, and everybody who asked for it was told that it may be.
fn reopen(shared: &Shared) {
    loop {
        {
            let queue = shared.queue();
            let (mut queue, _) = shared
                .wake
                .wait_timeout_while(queue, ROOM_INTERVAL, |queue| !queue.stop)
                .unwrap_or_else(PoisonError::into_inner);
            queue.trouble = false;
            let (waiting, stop) = (queue.take().0, queue.stop);
            drop(queue);
            waiting.answer(Err(FULL));
            if stop {
                return;
            }
        }
        if !shared.has_room(shared.config.min_free.max(MIN_ROOM)) {
            continue;
        }
        match shared.directory.open(&shared.config) {
            Ok(engine) => {
                tracing::info!("there is room on the disk again; the store serves");
                shared.replace_gate(Gate::Open(Box::new(engine)));
                return;
            }
            Err(OpenError::Io { source, .. }) if is_full(&source) => {}
            Err(error) => {
                let reason = match std::error::Error::source(&error) {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                };
                shared.fail(reason);
                return;
            }
        }
    }
}
