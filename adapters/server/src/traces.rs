//! Recorded decisions: the file that a server writes, and `grantor explain`, which reads it.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use grantor::engine::TraceSink;
use grantor::trace::{InvalidTrace, Trace};
use serde::Deserialize;

use crate::cli::ExplainArgs;

/// Which decisions are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Those that refuse a request.
    #[default]
    Refusals,
    /// All of them.
    All,
}

/// When the file is this long it is put aside under the same name with `.1` at its end, in place of
/// the one that was put aside before.
const MAX_LEN: u64 = 64 * 1024 * 1024;

/// How many traces may wait for the disk. One more is dropped: a trace is no reason to slow requests.
const QUEUE: usize = 1024;

/// A file of traces, one line of JSON each. Only its owner can read it.
#[derive(Clone, Debug)]
pub struct TraceFile {
    which: Which,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: RwLock<Option<SyncSender<String>>>,
    dropped: Arc<AtomicU64>,
}

/// What is still to be written is written when this is dropped.
#[derive(Debug)]
pub struct TraceWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl TraceFile {
    /// Opens the file, to add to it.
    pub fn open(path: &Path, which: Which) -> io::Result<(Self, TraceWriter)> {
        let mut out = Rotating::open(path.to_owned(), MAX_LEN)?;
        let (sender, receiver) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let thread = std::thread::Builder::new()
            .name("grantor-traces".into())
            .spawn(move || write_all(&receiver, &mut out, &lost))?;
        let shared = Arc::new(Shared { queue: RwLock::new(Some(sender)), dropped });
        Ok((
            Self { which, shared: Arc::clone(&shared) },
            TraceWriter { shared, thread: Some(thread) },
        ))
    }
}

#[async_trait]
impl TraceSink for TraceFile {
    fn wants(&self, refused: bool) -> bool {
        refused || self.which == Which::All
    }

    async fn record(&self, trace: &Trace) {
        let queue = self.shared.queue.read().unwrap_or_else(PoisonError::into_inner);
        if queue.as_ref().is_some_and(|queue| queue.try_send(trace.to_json()).is_err()) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for TraceWriter {
    fn drop(&mut self) {
        drop(self.shared.queue.write().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported where it happened.
            let _ = thread.join();
        }
    }
}

fn write_all(queue: &Receiver<String>, out: &mut Rotating, dropped: &AtomicU64) {
    let mut failing = false;
    while let Ok(first) = queue.recv() {
        // A whole line is in the file before the next wait, so that a kill cuts nothing.
        let written = std::iter::once(first)
            .chain(queue.try_iter())
            .try_for_each(|line| out.line(&line))
            .and_then(|()| out.flush());
        match written {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "decisions are not recorded: the trace file cannot be written");
            }
            Err(_) => {}
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "decisions were not recorded: they came faster than the disk");
        }
    }
}

/// A file that is put aside when it is long.
#[derive(Debug)]
struct Rotating {
    path: PathBuf,
    max_len: u64,
    len: u64,
    file: BufWriter<File>,
}

impl Rotating {
    fn open(path: PathBuf, max_len: u64) -> io::Result<Self> {
        let (file, len) = open(&path)?;
        Ok(Self { path, max_len, len, file })
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        if self.len >= self.max_len {
            self.file.flush()?;
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            std::fs::rename(&self.path, aside)?;
            (self.file, self.len) = open(&self.path)?;
        }
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")?;
        self.len += line.len() as u64 + 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let len = file.metadata()?.len();
    let mut file = BufWriter::new(file);
    if len > 0 {
        // The last line may have been cut short by the end of the disk.
        file.write_all(b"\n")?;
    }
    Ok((file, len))
}

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A line is no trace, or of another version.
    #[error("{}, line {line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: InvalidTrace,
    },
    /// A decision comes to something else than when it was made.
    #[error("{count} of these decisions were not the same when they were made again")]
    Different {
        /// How many.
        count: usize,
    },
    /// The explanation cannot be written.
    #[error("cannot write the result")]
    Output(#[source] io::Error),
}

/// `grantor explain`: makes recorded decisions again and says in words what decided.
pub fn explain(args: &ExplainArgs, out: &mut impl Write) -> Result<(), ExplainError> {
    let path = &args.file;
    let read_error = |source| ExplainError::Read { path: path.clone(), source };
    let input: Box<dyn BufRead> = match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(io::BufReader::new(File::open(path).map_err(read_error)?)),
    };
    let mut chosen = VecDeque::new();
    let mut unreadable = None;
    // Not `lines`: what a full disk cut short may end in half a character.
    for (at, line) in input.split(b'\n').enumerate() {
        let line = line.map_err(read_error)?;
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            continue;
        }
        match Trace::parse(&line) {
            Ok(trace) if args.wants(&trace) => {
                chosen.push_back((at, trace));
                if args.last.is_some_and(|last| chosen.len() > last) {
                    chosen.pop_front();
                }
            }
            Ok(_) => {}
            // One line that a full disk cut short is no reason to keep quiet about the others.
            Err(source) => unreadable = unreadable.or(Some((at, source))),
        }
    }
    if chosen.is_empty() {
        writeln!(out, "There is no such decision.").map_err(ExplainError::Output)?;
    }
    let mut different = 0;
    for (number, (at, trace)) in chosen.iter().enumerate() {
        match trace.explain() {
            Ok(explanation) => {
                let between = if number > 0 { "\n" } else { "" };
                write!(out, "{between}{explanation}").map_err(ExplainError::Output)?;
                different += usize::from(!explanation.identical);
            }
            Err(source) => unreadable = unreadable.or(Some((*at, source))),
        }
    }
    match unreadable {
        Some((at, source)) => Err(ExplainError::Line { path: path.clone(), line: at + 1, source }),
        None if different > 0 => Err(ExplainError::Different { count: different }),
        None => Ok(()),
    }
}

impl ExplainArgs {
    fn wants(&self, trace: &Trace) -> bool {
        self.client.is_none() || trace.client_id() == self.client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_put_aside_and_no_line_is_cut() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let path = directory.path().join("traces");
        let mut out = Rotating::open(path.clone(), 20).expect("opened");
        for line in 0..7 {
            out.line(&format!("line {line}")).expect("written");
        }
        out.flush().expect("written");
        let read = |name| std::fs::read_to_string(directory.path().join(name)).expect("read");
        assert_eq!(read("traces.1"), "line 3\nline 4\nline 5\n");
        assert_eq!(read("traces"), "line 6\n");
    }
}
