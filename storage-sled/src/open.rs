//! Opening: the directory, the lock, sled itself, and the scan that proves the data.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sled::{Db, IVec};

use crate::SledConfig;
use crate::agenda::Agenda;
use crate::engine::{Barrier, Engine};
use crate::envelope::Record;
use crate::ledger::{Audit, Mark};
use crate::state_file::{self, State, StateFile};

/// How long the lock of a process that was just killed may linger.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// sled stores a page beyond a quarter of this in a file of its own, which it never syncs and does
/// not always remove. A leaf has 16 records (and a few more while it splits), so that four times 60
/// of the largest records keeps every page inside the log.
pub(crate) const SEGMENT_SIZE: usize = 4 * 1024 * 1024;

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open; sled is for one process at a time.
    #[error(
        "{} is in use by another process; stop that one, or give this one a directory of its own",
        path.display()
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// Something in it is not what was written, or is gone.
    #[error(
        "{} is damaged: {what}. Nothing is served from it. Check the disk, keep a copy of the \
         directory, and restore all of it from a backup that was taken while the server was stopped",
        path.display()
    )]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// Which part, and how that was noticed.
        what: String,
    },
    /// It was written by a newer version of this crate.
    #[error(
        "{} was written in format {found}, and this version reads up to {supported}: install the \
         newer version again",
        path.display()
    )]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// The version of its format.
        found: u32,
        /// The newest version that can be read.
        supported: u32,
    },
    /// It was written by a version before the first release.
    #[error(
        "{} was written in format {found}, and this version reads {supported}: that was before the \
         first release, and what it holds cannot be taken over. Start with an empty directory",
        path.display()
    )]
    Older {
        /// The data directory.
        path: PathBuf,
        /// The version of its format.
        found: u32,
        /// The version that is read.
        supported: u32,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Adds to an error of the operating system what was tried.
fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { action, path: path.clone(), source }
}

/// The locked data directory: held across a reopening, so that no other process can slip in.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    state: StateFile,
}

impl Directory {
    pub(crate) fn lock(path: &Path) -> Result<Self, OpenError> {
        create_directory(path)?;
        let file = path.join(state_file::NAME);
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            let locked = StateFile::lock(&file).map_err(io_error("lock", &file))?;
            if let Some(state) = locked {
                let directory = Self { path: path.to_owned(), state };
                directory.fill(&file)?;
                return Ok(directory);
            }
            if Instant::now() >= deadline {
                return Err(OpenError::InUse { path: path.to_owned() });
            }
            thread::sleep(LOCK_RETRY);
        }
    }

    /// Fills the state file of a fresh store, durably, before sled makes a file.
    fn fill(&self, file: &Path) -> Result<(), OpenError> {
        if !self.state.is_unfilled().map_err(io_error("look at", file))? {
            return Ok(());
        }
        if exists(&self.path.join("db"))? {
            return Err(
                self.damaged(format!("the file {} is missing or cut short", state_file::NAME))
            );
        }
        self.note(0).and_then(|()| self.state.sync()).map_err(io_error("write", file))?;
        sync_directory(&self.path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes the number of a mark that is durable.
    pub(crate) fn note(&self, mark: u64) -> io::Result<()> {
        self.state.note(mark)
    }

    /// Opens sled and reads everything once.
    pub(crate) fn open(&self, config: &SledConfig) -> Result<Engine, OpenError> {
        let noted =
            match self.state.read().map_err(io_error("read", &self.path.join(state_file::NAME)))? {
                State::Mark(mark) => mark,
                State::Newer(found) => {
                    return Err(OpenError::Newer {
                        path: self.path.clone(),
                        found,
                        supported: state_file::FORMAT,
                    });
                }
                State::Older(found) => {
                    return Err(OpenError::Older {
                        path: self.path.clone(),
                        found,
                        supported: state_file::FORMAT,
                    });
                }
                State::Unreadable => {
                    return Err(
                        self.damaged(format!("the file {} is unreadable", state_file::NAME))
                    );
                }
            };
        // sled asserts what it reads: a damaged file may make it panic, in its iterators too.
        let opened = thread::scope(|scope| {
            thread::Builder::new()
                .name("grantor-sled-open".into())
                .spawn_scoped(scope, || self.open_and_scan(config, noted))
                .map(thread::ScopedJoinHandle::join)
        });
        match opened.map_err(io_error("start a thread to open", &self.path))? {
            Ok(result) => result,
            Err(panic) => {
                let said = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no message");
                Err(self.damaged(format!("sled panicked while reading it: {said}")))
            }
        }
    }

    fn open_and_scan(&self, config: &SledConfig, noted: u64) -> Result<Engine, OpenError> {
        self.remove_unfinished_snapshots()?;
        let db = self.open_sled(config)?;
        let tree = |name| db.open_tree(name).map_err(|error| self.sled_error(name, error));
        let (records, meta) = (tree("records")?, tree("meta")?);
        let mark = Mark::read(&meta)
            .map_err(|error| self.sled_error("meta", error))?
            .map_err(|_| self.damaged("the last mark in tree meta is unreadable"))?;
        if mark.number < noted {
            return Err(self.damaged(format!(
                "the end of sled's log is gone: its last mark is {}, and {noted} was durable",
                mark.number
            )));
        }
        let mut audit = Audit::default();
        let mut names = Vec::new();
        let agenda = Agenda::default();
        for item in &records {
            let (key, bytes) = item.map_err(|error| self.sled_error("records", error))?;
            let record = Record::decode(&key, &bytes).ok_or_else(|| {
                self.damaged("an item of tree records does not match its checksum")
            })?;
            audit.add(&mark, record.stamp);
            agenda.note(&key, record.purge_at, true);
            names.extend(record.names.iter().map(|name| (*name, IVec::from(&key[..]))));
        }
        for removal in &mark.removals {
            let there = records.contains_key(&removal.key);
            if !there.map_err(|error| self.sled_error("records", error))? {
                audit.add_removed(removal);
            }
        }
        if audit.at_mark != mark.sum {
            return Err(self.damaged(format!(
                "committed records are missing or old: the sum at mark {} is {:016x}, and it was \
                 {:016x}",
                mark.number, audit.at_mark, mark.sum
            )));
        }
        let synced = self.path.join("db");
        let file = File::open(&synced).map_err(io_error("open", &synced))?;
        let engine = Engine::new(
            db,
            records,
            meta,
            names.into_iter().collect(),
            agenda,
            Mark {
                number: mark.number,
                seq: mark.seq.max(audit.seq),
                sum: audit.now,
                removals: Vec::new(),
            },
            Barrier::File(file),
        );
        // What was recovered may have been in sled's log without ever having been durable. From
        // here on it is served, so it must be.
        let durable = engine.make_durable().map_err(|failure| self.barrier_error(failure))?;
        self.sync_files()?;
        self.note(durable)
            .and_then(|()| self.state.sync())
            .map_err(io_error("write", &self.path.join(state_file::NAME)))?;
        Ok(engine)
    }

    /// A process that is killed while sled writes a snapshot leaves it half-written under another name,
    /// and sled 0.34 takes that name for the newest snapshot: it would call the store corrupt. The
    /// snapshot before, or the log alone, holds all of it.
    fn remove_unfinished_snapshots(&self) -> Result<(), OpenError> {
        let failed = io_error("clean up", &self.path);
        for entry in std::fs::read_dir(&self.path).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("snap.") && name.ends_with(".generating") {
                std::fs::remove_file(entry.path()).map_err(&failed)?;
            }
        }
        Ok(())
    }

    fn open_sled(&self, config: &SledConfig) -> Result<Db, OpenError> {
        let deadline = Instant::now() + LOCK_PATIENCE;
        let sled = sled::Config::new()
            .path(&self.path)
            .cache_capacity(config.cache_capacity)
            .segment_size(SEGMENT_SIZE)
            .flush_every_ms(None);
        loop {
            match sled.open() {
                Ok(db) => return Ok(db),
                // sled gives the failed lock no kind of its own.
                Err(sled::Error::Io(error))
                    if error.to_string().contains("could not acquire lock") =>
                {
                    if Instant::now() >= deadline {
                        return Err(OpenError::InUse { path: self.path.clone() });
                    }
                    thread::sleep(LOCK_RETRY);
                }
                Err(error) => return Err(self.sled_error("(all)", error)),
            }
        }
    }

    /// Creation and every open write files that sled itself does not sync, and the names of those
    /// that it does.
    fn sync_files(&self) -> Result<(), OpenError> {
        for item in fs::read_dir(&self.path).map_err(io_error("list", &self.path))? {
            let path = item.map_err(io_error("list", &self.path))?.path();
            let meta = fs::symlink_metadata(&path).map_err(io_error("look at", &path))?;
            if meta.is_file() {
                fs::set_permissions(&path, Permissions::from_mode(0o600))
                    .map_err(io_error("set the permissions of", &path))?;
            }
            if meta.is_file() || meta.is_dir() {
                File::open(&path)
                    .and_then(|file| file.sync_all())
                    .map_err(io_error("sync", &path))?;
            }
        }
        sync_directory(&self.path)
    }

    fn damaged(&self, what: impl Into<String>) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), what: what.into() }
    }

    fn sled_error(&self, tree: &str, error: sled::Error) -> OpenError {
        match error {
            sled::Error::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
                io_error("read or write the sled files in", &self.path)(source)
            }
            // Flipped bits look to sled like a very old version of itself.
            sled::Error::Unsupported(_) => self.damaged(format!(
                "sled does not recognize its files (tree {tree}); no version of Grantor wrote this"
            )),
            other => self.damaged(format!("sled cannot read tree {tree}: {other}")),
        }
    }

    fn barrier_error(&self, failure: crate::engine::Failure) -> OpenError {
        match failure {
            crate::engine::Failure::Sled(error) => self.sled_error("(all)", error),
            crate::engine::Failure::Sync(source) => io_error("sync", &self.path)(source),
        }
    }
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(io_error("look at", path))
}

fn sync_directory(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(io_error("sync", path))
}

/// Creates what is missing of the path, each new name durable in its parent.
fn create_directory(path: &Path) -> Result<(), OpenError> {
    if !exists(path)? {
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        create_parents(parent)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created.map_err(io_error("create", path))?,
        }
        sync_directory(parent)?;
    }
    let mode = |mode| Permissions::from_mode(mode);
    let found = fs::metadata(path).map_err(io_error("look at", path))?.permissions();
    if found.mode() & 0o777 != 0o700 {
        fs::set_permissions(path, mode(0o700)).map_err(io_error("set the permissions of", path))?;
    }
    Ok(())
}

fn create_parents(path: &Path) -> Result<(), OpenError> {
    if exists(path)? {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        let parent = if parent == Path::new("") { Path::new(".") } else { parent };
        create_parents(parent)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created.map_err(io_error("create", path))?,
        }
        sync_directory(parent)?;
    }
    Ok(())
}
