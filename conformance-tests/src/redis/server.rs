//! One process of Redis.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::network::Site;
use super::options::{OPERATOR, Options};
use super::resp::{self, Value};
use crate::ground::{PATIENCE, Place, Port, tail, wait_for};

/// How long a server may take for one command of the stage.
const ANSWER: Duration = Duration::from_secs(10);

/// A `redis-server` of its own, with a directory and a port of its own, on the loopback interface.
///
/// The binary is `redis-server` or else `valkey-server`, of the `PATH`; another one can be named in
/// `GRANTOR_REDIS_SERVER`. Dropping this kills the process, also one that is frozen, and removes the
/// directory; so does the end of the test process, however it comes.
///
/// All methods take `&self` and block: for milliseconds, except where they say what they wait for.
#[derive(Debug)]
pub struct Server {
    options: Options,
    process: Mutex<Option<Child>>,
    frozen: AtomicBool,
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

    pub(super) fn start_with(options: Options) -> Self {
        // Somebody else may take a port between our look and the server's.
        for _ in 0..5 {
            let port = match options.port {
                None => Port::free(),
                Some(number) => Port::reserve(number).unwrap_or_else(|| {
                    panic!("the port {number}, or the one of its bus, is taken")
                }),
            };
            match Self::try_start(options.clone(), port) {
                Ok(server) => return server,
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("redis-server ended before it answered\n{log}"),
            }
        }
        panic!("five free ports were all taken before redis-server had them");
    }

    /// On a port that is already held. `Err` is the log of one that ended.
    pub(super) fn try_start(options: Options, port: Port) -> Result<Self, String> {
        let place = Place::new();
        place.write("redis.conf", options.text(&place, &port));
        let server = Self { options, process: Mutex::new(None), frozen: false.into(), port, place };
        server.launch()?;
        Ok(server)
    }

    fn launch(&self) -> Result<(), String> {
        // Else the socket of a process that was killed could be taken for the new one's.
        let _ = fs::remove_file(self.place.file("socket"));
        let log = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        let log = log(&self.place.file("log")).expect("the log of a server");
        let mut words = self.options.site.as_ref().map(Site::prefix).unwrap_or_default();
        words.push(binary().to_owned());
        words.push(self.place.file("redis.conf").to_string_lossy().into_owned());
        if self.options.sentinel {
            words.push("--sentinel".into());
        }
        let child = self
            .place
            .command(&words)
            .stdout(log.try_clone().expect("the log of a server"))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("sh starts redis-server");
        *self.process() = Some(child);
        self.answers()
    }

    fn answers(&self) -> Result<(), String> {
        let answered = wait_for(
            "redis-server answers",
            || {
                if let Ok(reply) = self.try_call(&["PING"])
                    && reply.error().is_none()
                {
                    return Some(true);
                }
                let ended = match self.process().as_mut() {
                    None => true,
                    Some(child) => child.try_wait().expect("a child").is_some(),
                };
                ended.then_some(false)
            },
            || self.log_tail(),
        );
        if answered {
            return Ok(());
        }
        self.place.forget();
        *self.process() = None;
        Err(self.log_tail())
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn options_of(&self) -> &Options {
        &self.options
    }

    /// The address at which clients reach it.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.host(), self.port())
    }

    /// The host of [`addr`](Self::addr).
    #[must_use]
    pub fn host(&self) -> IpAddr {
        self.options.host
    }

    /// The port of [`addr`](Self::addr). It stays the same over restarts, and nobody else gets it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The port that others are told: that of a proxy, if it stands behind one.
    pub(super) fn announced_port(&self) -> u16 {
        self.options.announced.unwrap_or(self.port())
    }

    /// `redis://127.0.0.1:port`, or `rediss:` with TLS, and with the password of the default user, if
    /// there is one.
    #[must_use]
    pub fn url(&self) -> String {
        self.options.url(self.port(), None)
    }

    /// The same with that user.
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str) -> String {
        self.options.url(self.port(), Some((user, password)))
    }

    /// Where it is in a [`Network`](super::Network).
    ///
    /// # Panics
    /// When it is in none.
    #[must_use]
    pub fn site(&self) -> &Site {
        self.options.site.as_ref().expect("a server in a network")
    }

    /// Its directory, with `redis.conf`, `log` and the files of its data.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.place.path()
    }

    /// Sends a command and gives back the answer, which may be [`Value::Error`].
    ///
    /// This goes neither over the port nor as one of the users of a test, so it works with TLS,
    /// whatever ACLs say, and while the network of the server is cut off.
    ///
    /// # Panics
    /// When there is no answer: with the end of the server's log.
    #[must_use]
    pub fn call<A: AsRef<[u8]>>(&self, command: &[A]) -> Value {
        self.try_call(command).unwrap_or_else(|error| {
            let words: Vec<_> =
                command.iter().map(|word| String::from_utf8_lossy(word.as_ref())).collect();
            panic!("{} on {}: {error}\n{}", words.join(" "), self.addr(), self.log_tail())
        })
    }

    /// As [`call`](Self::call), for a server that may be away or frozen.
    ///
    /// # Errors
    /// When there is no connection, or no answer within ten seconds.
    pub fn try_call<A: AsRef<[u8]>>(&self, command: &[A]) -> io::Result<Value> {
        self.try_call_within(ANSWER, command)
    }

    pub(super) fn try_call_within<A: AsRef<[u8]>>(
        &self,
        time: Duration,
        command: &[A],
    ) -> io::Result<Value> {
        let mut stream = UnixStream::connect(self.place.file("socket"))?;
        stream.set_read_timeout(Some(time))?;
        stream.set_write_timeout(Some(time))?;
        let signed_in =
            resp::ask(&mut stream, &["AUTH", OPERATOR, &self.options.operator_password])?;
        if signed_in.error().is_some() {
            return Ok(signed_in);
        }
        resp::ask(&mut stream, command)
    }

    /// Sends a command and gives back the answer as `redis-cli --raw` shows it.
    ///
    /// # Panics
    /// When there is no answer, or when it is an error.
    pub fn cli(&self, command: &[&str]) -> String {
        let reply = self.call(command);
        if let Some(error) = reply.error() {
            panic!("{} on {}: {error}", command.join(" "), self.addr());
        }
        reply.to_string()
    }

    /// A section of `INFO`, such as `replication`, by names.
    ///
    /// # Panics
    /// As [`cli`](Self::cli).
    #[must_use]
    pub fn info(&self, section: &str) -> BTreeMap<String, String> {
        fields(&self.cli(&["INFO", section]))
    }

    /// How often each command was called since the start or `CONFIG RESETSTAT`, by its name in small
    /// letters: `INFO commandstats`. What the stage asks by itself counts as well.
    ///
    /// # Panics
    /// As [`cli`](Self::cli).
    #[must_use]
    pub fn command_counts(&self) -> BTreeMap<String, u64> {
        let count = |(name, value): (String, String)| {
            let calls = value.strip_prefix("calls=")?.split(',').next()?.parse().ok()?;
            Some((name.strip_prefix("cmdstat_")?.to_owned(), calls))
        };
        self.info("commandstats").into_iter().filter_map(count).collect()
    }

    /// The version, as numbers: `[7, 0, 15]`. Valkey says which version of Redis it is compatible with.
    ///
    /// # Panics
    /// As [`cli`](Self::cli).
    #[must_use]
    pub fn version(&self) -> [u32; 3] {
        let info = self.info("server");
        let text = info.get("redis_version").cloned().unwrap_or_default();
        let mut numbers = text.split('.').map(|number| number.parse().unwrap_or_default());
        std::array::from_fn(|_| numbers.next().unwrap_or_default())
    }

    /// Whether the process is there; a frozen one is.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let mut process = self.process();
        process.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Whether it was [frozen](Self::freeze) and not thawed since.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed)
    }

    /// Whether it can be asked anything.
    pub(super) fn is_awake(&self) -> bool {
        self.is_running() && !self.is_frozen()
    }

    /// The answer of one that others may just be killing.
    pub(super) fn if_awake<A: AsRef<[u8]>>(&self, command: &[A]) -> Option<Value> {
        let reply = self.is_awake().then(|| self.try_call(command))?.ok()?;
        reply.error().is_none().then_some(reply)
    }

    /// The number of the process, while there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Child::id)
    }

    /// Kills the process as a crash would, and waits for its end. Nothing happens if there is none.
    pub fn kill_9(&self) {
        if let Some(mut child) = self.process().take() {
            let killed = child.kill();
            self.place.forget();
            self.frozen.store(false, Ordering::Relaxed);
            killed.expect("a child can be killed");
            child.wait().expect("a killed child ends");
        }
    }

    fn signal(&self, signal: Signal) -> Pid {
        let id = self.pid().unwrap_or_else(|| panic!("there is no process to send {signal:?} to"));
        let pid = Pid::from_raw(i32::try_from(id).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("a child can be sent a signal");
        pid
    }

    /// Stops the process (`SIGSTOP`): connections stay open, new ones are accepted by the kernel, and
    /// nothing is answered. On return it stands still.
    ///
    /// # Panics
    /// When there is no process.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
        let pid = self.signal(Signal::STOP);
        // Only whether it happened is asked; the end of the process is left for others to see.
        let until = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), until).expect("a child can be waited for");
    }

    /// Lets a frozen process go on (`SIGCONT`).
    ///
    /// # Panics
    /// When there is no process.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
        self.frozen.store(false, Ordering::Relaxed);
    }

    /// Ends it in order (`SHUTDOWN`), thawed if it was frozen, and waits for the end. Nothing happens if
    /// there is none.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(&self) {
        if !self.is_running() {
            self.kill_9();
            return;
        }
        self.thaw();
        // The answer to this is the end of the connection.
        if let Ok(reply) = self.try_call_within(PATIENCE, &["SHUTDOWN"])
            && let Some(error) = reply.error()
        {
            panic!("SHUTDOWN on {}: {error}\n{}", self.addr(), self.log_tail());
        }
        wait_for("redis-server ends", || (!self.is_running()).then_some(()), || self.log_tail());
        self.kill_9();
    }

    /// Starts it again with the same options, port and data, and waits until it answers. One that runs
    /// is [stopped](Self::stop) before.
    ///
    /// # Panics
    /// When it does not answer in time, or ends: with the end of its log.
    pub fn restart(&self) {
        self.stop();
        self.launch().unwrap_or_else(|log| panic!("redis-server ended before it answered\n{log}"));
    }

    /// Waits until it has that many replicas which have all that it has written so far.
    ///
    /// # Panics
    /// When they do not have it in time, and when it is a replica itself.
    pub fn wait_for_replicas(&self, count: usize) {
        let offset = |info: &BTreeMap<String, String>| info.get("master_repl_offset")?.parse().ok();
        let written: u64 = offset(&self.info("replication")).expect("an offset");
        wait_for(
            "the replicas have all",
            || {
                // More than there are: so all are asked how far they are, which else they say once a
                // second.
                self.if_awake(&["WAIT", "1000", "1"])?;
                let info = fields(&self.if_awake(&["INFO", "replication"])?.text()?);
                let has_all = |line: &&String| {
                    let mut parts = line.split(',');
                    let offset = parts.find_map(|part| part.strip_prefix("offset=")?.parse().ok());
                    line.contains("state=online") && offset >= Some(written)
                };
                let replicas = info.iter().filter(|(name, _)| name.starts_with("slave"));
                (replicas.map(|(_, line)| line).filter(has_all).count() >= count).then_some(())
            },
            || format!("{:#?}\n{}", self.info("replication"), self.log_tail()),
        );
    }

    /// The end of what it has written to its log, over all its restarts.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.place.file("log"), &self.addr().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill_9();
    }
}

/// The lines `name:value` of `INFO` and `CLUSTER INFO`.
pub(super) fn fields(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn binary() -> &'static str {
    use std::sync::OnceLock;
    static BINARY: OnceLock<String> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Ok(named) = std::env::var("GRANTOR_REDIS_SERVER") {
            return named;
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let there = |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
        ["redis-server", "valkey-server"].into_iter().find(there).map(str::to_owned).expect(
            "there is no redis-server and no valkey-server on the PATH: these tests need one \
             (on Debian: apt-get install redis-server)",
        )
    })
}
