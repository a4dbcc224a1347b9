//! One PostgreSQL.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::programs::{as_user, program, user};
use crate::ground::{Place, Port, random, wait_for};

/// The superuser by whom the stage itself signs in, and the user of the tests, who owns the database.
const OPERATOR: &str = "stage";
const OWNER: &str = "grantor";
/// The file of the log of changes that is written just now.
const WAL_FILE: &str = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())";

/// How a server is to be: [`Server::options`], then what differs from the default, then
/// [`start`](Self::start).
///
/// By default it is as PostgreSQL is by default, and so survives a power cut.
#[derive(Clone, Debug, Default)]
pub struct Options {
    lines: String,
}

impl Options {
    /// A line of `postgresql.conf`: `("fsync", "off")`.
    #[must_use]
    pub fn config(mut self, name: &str, value: &str) -> Self {
        let _ = writeln!(self.lines, "{name} = '{value}'");
        self
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    /// When there is no PostgreSQL, and when it ends or does not answer in time: with the end of its log.
    #[must_use]
    pub fn start(self) -> Server {
        Server::start_with(&self)
    }
}

/// A `postgres` of its own, with a directory and a port of its own, on the loopback interface.
///
/// Dropping this ends it, also one that is frozen, and removes the directory; so does the end of the test
/// process, however it comes.
///
/// All methods take `&self` and block: for milliseconds, except where they say what they wait for.
#[derive(Debug)]
pub struct Server {
    process: Mutex<Option<Child>>,
    frozen: AtomicBool,
    password: String,
    port: Port,
    place: Place,
}

impl Server {
    /// One with the default [`Options`].
    ///
    /// # Panics
    /// As [`Options::start`].
    #[must_use]
    pub fn start() -> Self {
        Self::options().start()
    }

    /// How it is to be.
    #[must_use]
    pub fn options() -> Options {
        Options::default()
    }

    fn start_with(options: &Options) -> Self {
        // Somebody else may take a port between our look and the server's.
        for _ in 0..5 {
            let server = Self {
                process: Mutex::new(None),
                frozen: false.into(),
                password: format!("{:016x}", random()),
                port: Port::free(),
                place: Place::new(),
            };
            server.initialise(options);
            match server.launch() {
                Ok(()) => {
                    server.make_owner();
                    return server;
                }
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("postgres ended before it answered\n{log}"),
            }
        }
        panic!("five free ports were all taken before postgres had them");
    }

    fn data(&self) -> PathBuf {
        self.place.file("data")
    }

    /// Makes the data directory. Only that belongs to whom PostgreSQL runs as.
    fn initialise(&self, options: &Options) {
        fs::create_dir(self.data()).expect("a directory for the data");
        self.place.write("signal", "QUIT");
        let password = self.place.write("password", &self.password);
        // To be passed through by PostgreSQL, where it runs as another user.
        if let Some(user) = user() {
            for path in [self.data(), password.clone()] {
                chown(path, Some(user.uid), Some(user.gid)).expect("root gives its files away");
            }
            let passable = fs::Permissions::from_mode(0o711);
            fs::set_permissions(self.place.path(), passable).expect("the directory is ours");
        }
        let mut words = as_user();
        let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
        words.push(program("initdb").display().to_string());
        words.extend([option("pgdata", &self.data()), option("pwfile", &password)]);
        words.push(format!("--username={OPERATOR}"));
        // A segment of the log of 1 MiB, so that a search through all files is no search through zeros.
        words.extend(
            [
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--wal-segsize=1",
            ]
            .map(Into::into),
        );
        let initdb = self.command(&words).output().expect("sh starts initdb");
        self.place.forget();
        assert!(
            initdb.status.success(),
            "initdb: {}\n{}",
            initdb.status,
            String::from_utf8_lossy(&initdb.stderr)
        );
        let port = self.port();
        let mut text = fs::read_to_string(self.data().join("postgresql.conf")).expect("its own");
        // The files of shared memory are gone with the directory, whatever becomes of the server.
        let _ = write!(
            text,
            "\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n\
             max_connections = 400\nshared_buffers = '32MB'\ndynamic_shared_memory_type = 'mmap'\n\
             {}",
            options.lines
        );
        fs::write(self.data().join("postgresql.conf"), text).expect("the directory is ours");
    }

    /// Without what the environment says about some other PostgreSQL.
    fn command(&self, words: &[String]) -> Command {
        let mut command = self.place.command(words);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_libpq(name)) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C");
        command
    }

    fn launch(&self) -> Result<(), String> {
        let mut log = OpenOptions::new();
        let log = log.create(true).append(true).mode(0o600).open(self.place.file("log"));
        let log = log.expect("the log of a server");
        // That of a process that was killed would say that it is ready.
        let _ = fs::remove_file(self.status_file());
        let mut words = as_user();
        words.push(program("postgres").display().to_string());
        words.extend(["-D".into(), self.data().display().to_string()]);
        let child = self
            .command(&words)
            .stdout(log.try_clone().expect("the log of a server"))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("sh starts postgres");
        *self.process() = Some(child);
        let answers = wait_for(
            "postgres is ready",
            || {
                let status = fs::read_to_string(self.status_file()).unwrap_or_default();
                let ready = status.lines().any(|line| matches!(line.trim(), "ready" | "standby"));
                if ready { Some(true) } else { (!self.is_running()).then_some(false) }
            },
            || self.log_tail(),
        );
        if answers {
            return Ok(());
        }
        self.place.forget();
        *self.process() = None;
        Err(self.log_tail())
    }

    /// In which `postgres` says how far it is.
    fn status_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    fn make_owner(&self) {
        let password = &self.password;
        self.sql(&format!(
            "CREATE ROLE {OWNER} LOGIN PASSWORD '{password}'; ALTER DATABASE postgres OWNER TO {OWNER}"
        ));
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address at which clients reach it.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// The port of [`addr`](Self::addr). It stays the same over restarts, and nobody else gets it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `postgres://grantor:PASSWORD@127.0.0.1:PORT/postgres`: a user who owns the database and is no
    /// superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.port())
    }

    pub(super) fn url_at(&self, port: u16) -> String {
        format!("postgres://{OWNER}:{}@127.0.0.1:{port}/postgres", self.password)
    }

    /// A new, empty schema.
    ///
    /// # Panics
    /// As [`sql`](Self::sql).
    #[must_use]
    pub fn schema(&self) -> Schema<'_> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{}_{number}_{:08x}", std::process::id(), random() >> 32);
        self.sql(&format!("CREATE SCHEMA {name} AUTHORIZATION {OWNER}"));
        let begun = self.sql(WAL_FILE);
        Schema { server: self, name, begun }
    }

    /// Executes statements as a superuser, and gives back what `psql -At` shows of the rows.
    ///
    /// # Panics
    /// When there is no answer, or when it is an error.
    pub fn sql(&self, statements: &str) -> String {
        let mut command = Command::new(program("psql"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_libpq(name)) {
            command.env_remove(name);
        }
        let output = command
            .args(["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"])
            .args(["-p", &self.port().to_string(), "-U", OPERATOR, "-d", "postgres"])
            .args(["-c", statements])
            .env("PGPASSWORD", &self.password)
            .env("PGCONNECT_TIMEOUT", "10")
            .stdin(Stdio::null())
            .output()
            .expect("psql starts");
        assert!(
            output.status.success(),
            "{statements}: {}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.log_tail()
        );
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Whether the process is there; a frozen one is.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn pid(&self) -> Option<Pid> {
        let id = self.process().as_ref().map(Child::id)?;
        Pid::from_raw(i32::try_from(id).ok()?)
    }

    fn signal(&self, signal: Signal) -> Pid {
        let pid = self.pid().unwrap_or_else(|| panic!("there is no process to send {signal:?} to"));
        kill_process(pid, signal).expect("a child can be sent a signal");
        pid
    }

    /// The processes that serve one connection each, and those of the house.
    fn workers(&self, of: Pid) -> Vec<Pid> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let is_worker = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // `pid (name) state parent ...`, and a dead one is only still listed.
            let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' '));
            let fields: Vec<_> = fields.into_iter().flatten().take(2).collect();
            matches!(fields[..], [state, parent] if state != "Z"
                && parent.parse() == Ok(of.as_raw_nonzero().get()))
        };
        pids.filter(is_worker).filter_map(Pid::from_raw).collect()
    }

    /// Kills all of its processes as a crash would, and waits for their end. Nothing happens if there is
    /// none.
    pub fn kill_9(&self) {
        let Some(pid) = self.pid() else { return };
        // It starts no others meanwhile.
        self.stand_still(pid);
        let workers = self.workers(pid);
        for pid in &workers {
            let _ = kill_process(*pid, Signal::KILL);
        }
        wait_for(
            "the processes of postgres end",
            || self.workers(pid).is_empty().then_some(()),
            || format!("{workers:?}"),
        );
        self.reap();
    }

    /// Kills the main process, if there is one, and waits for it.
    fn reap(&self) {
        if let Some(mut child) = self.process().take() {
            let killed = child.kill();
            self.place.forget();
            self.frozen.store(false, Ordering::Relaxed);
            killed.expect("a child can be killed");
            child.wait().expect("a killed child ends");
        }
    }

    fn stand_still(&self, pid: Pid) {
        let _ = kill_process(pid, Signal::STOP);
        // Only whether it happened is asked; the end of the process is left for others to see.
        let until = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), until).expect("a child can be waited for");
    }

    /// Stops all of its processes (`SIGSTOP`): connections stay open, new ones are accepted by the kernel,
    /// and nothing is answered.
    ///
    /// # Panics
    /// When there is no process.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
        let pid = self.pid().expect("there is a process to freeze");
        self.stand_still(pid);
        for worker in self.workers(pid) {
            let _ = kill_process(worker, Signal::STOP);
        }
    }

    /// Lets a frozen server go on (`SIGCONT`).
    ///
    /// # Panics
    /// When there is no process.
    pub fn thaw(&self) {
        let pid = self.signal(Signal::CONT);
        for worker in self.workers(pid) {
            let _ = kill_process(worker, Signal::CONT);
        }
        self.frozen.store(false, Ordering::Relaxed);
    }

    /// Ends it in order, thawed if it was frozen: connections are closed, and what is under way is rolled
    /// back. Waits for the end. Nothing happens if there is none.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(&self) {
        self.end(Signal::INT);
    }

    fn end(&self, signal: Signal) {
        if self.is_running() {
            self.signal(signal);
            self.thaw();
            wait_for("postgres ends", || (!self.is_running()).then_some(()), || self.log_tail());
        }
        self.reap();
    }

    /// Starts it again with the same port and data, and waits until it answers. One that runs is
    /// [stopped](Self::stop) before.
    ///
    /// # Panics
    /// When it does not answer in time, or ends: with the end of its log.
    pub fn restart(&self) {
        self.stop();
        self.launch().unwrap_or_else(|log| panic!("postgres ended before it answered\n{log}"));
    }

    /// Starts it again as a standby, which is read only and waits for changes that never come.
    ///
    /// # Panics
    /// As [`restart`](Self::restart).
    pub fn stand_by(&self) {
        self.stop();
        let signal = self.data().join("standby.signal");
        fs::write(signal, "").expect("the directory is ours");
        self.restart();
    }

    /// The end of what it has written to its log, over all its restarts.
    #[must_use]
    pub fn log_tail(&self) -> String {
        crate::ground::tail(&self.place.file("log"), &self.addr().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not by force, which would leave its shared memory behind.
        if !std::thread::panicking() {
            self.end(Signal::QUIT);
        } else if self.pid().is_some() {
            self.signal(Signal::QUIT);
            self.thaw();
            self.place.forget();
            if let Some(mut child) = self.process().take() {
                let _ = child.wait();
            }
        }
    }
}

fn is_of_libpq(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("PG"))
}

/// A schema of one test on a server that others use as well.
#[derive(Clone, Debug)]
pub struct Schema<'a> {
    server: &'a Server,
    name: String,
    /// The file of the log of changes with which it began.
    begun: String,
}

impl Schema<'_> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As [`Server::url`], and what is named without a schema is in this one.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}?options[search_path]={}", self.server.url(), self.name)
    }

    /// What holds that which was written to it: the files of its tables and their indexes, and the log of
    /// changes since it was made.
    ///
    /// # Panics
    /// As [`Server::sql`].
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        // Else what was written last is in memory only.
        self.server.sql("CHECKPOINT");
        // What is too long for a row is in a table beside it, which has an index.
        let files = self.server.sql(&format!(
            "WITH own AS (
                SELECT oid, reltoastrelid AS beside FROM pg_class
                WHERE relnamespace = '{}'::regnamespace
            )
            SELECT pg_relation_filepath(oid) FROM (
                SELECT oid FROM own
                UNION SELECT beside FROM own
                UNION SELECT indexrelid FROM pg_index JOIN own ON indrelid = beside
            ) AS all_of_it WHERE pg_relation_filepath(oid) IS NOT NULL",
            self.name
        ));
        let last = self.server.sql(WAL_FILE);
        let log = fs::read_dir(self.server.data().join("pg_wal")).expect("the log of changes");
        let log = log.map(|file| file.expect("a file").path()).filter(|path| {
            let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
            self.begun.as_str() <= name && name <= last.as_str()
        });
        files.lines().map(|file| self.server.data().join(file)).chain(log).collect()
    }
}
