//! What servers stand on: directories, ports, and the promise that nothing outlives the test process.
//!
//! Statics are not dropped, and a test process that is killed drops nothing at all. So a small shell
//! waits for the end of this process, however it comes: it reads from a pipe that nobody writes to and
//! that the kernel closes. Then it kills what is left and removes the directory that all of it is in.
//!
//! And waiting: for a condition, never for a while.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Whoever starts a process writes its number to the file `pid` of its place first, and takes it away
/// before the process is waited for: the number is never another's. `signal` is another one than KILL, for
/// what would leave something behind; `undo` is a script.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
for file in "$1"/*/pid; do
    [ -s "$file" ] || continue
    kill -s "$(cat "${file%pid}signal" 2>/dev/null || echo KILL)" "$(cat "$file")"
    kill -s CONT "$(cat "$file")"
done
for file in "$1"/*/undo; do
    [ -s "$file" ] && sh "$file"
done
cd /
# What is dying may still write.
for again in 1 2 3 4 5; do
    rm -rf -- "$1" && exit
    sleep 1
done
"#;

/// How long anything may take before it is a failure. A slow machine is no failure, so this is long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that is awaited.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until `look` finds what it looks for, and fails with `diagnosis` when it never does.
pub(crate) fn wait_for<T>(
    what: &str,
    mut look: impl FnMut() -> Option<T>,
    diagnosis: impl FnOnce() -> String,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: not within {} seconds\n{}",
            PATIENCE.as_secs(),
            diagnosis()
        );
        std::thread::sleep(PAUSE);
    }
}

/// The end of a log, to be shown with a failure.
pub(crate) fn tail(log: &Path, whose: &str) -> String {
    const TAIL: u64 = 8 * 1024;
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let log = read().unwrap_or_else(|error| format!("no log: {error}"));
    format!("--- log of {whose}\n{}\n---", log.trim_end())
}

#[derive(Debug)]
struct Ground {
    root: PathBuf,
    next: AtomicU32,
    /// Holds the pipe open.
    _watchdog: Child,
}

fn ground() -> &'static Ground {
    static GROUND: OnceLock<Ground> = OnceLock::new();
    GROUND.get_or_init(|| {
        let name = format!("grantor-test-{}-{:x}", std::process::id(), random());
        let root = std::env::temp_dir().join(name);
        // To be passed through by a server that runs as another user, and not to be looked into.
        fs::DirBuilder::new().mode(0o711).create(&root).unwrap_or_else(|error| {
            panic!("the directory {} for servers: {error}", root.display())
        });
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "grantor-test-watchdog"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not with those who are killed together with the test.
            .process_group(0)
            .spawn()
            .expect("sh watches over the end of this process");
        Ground { root, next: AtomicU32::new(0), _watchdog: watchdog }
    })
}

pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A directory of one server, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let ground = ground();
        // A short name: the path of a socket may have no more than a hundred bytes.
        let number = ground.next.fetch_add(1, Ordering::Relaxed);
        let directory = ground.root.join(number.to_string());
        fs::DirBuilder::new().mode(0o700).create(&directory).expect("a directory for a server");
        Self { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A file that only its owner can read.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(content.as_ref())).expect("a file of a server");
        path
    }

    /// A command that is killed when this process ends. [`forget`](Self::forget) goes before waiting.
    pub(crate) fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"umask 077 && echo $$ >"$0" && exec "$@""#])
            .arg(self.file("pid"))
            .args(words)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// The process is not to be killed by its number any more.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_file(self.file("pid"));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Cluster nodes talk to each other on the port of the clients and this; before 7.0 it cannot be chosen.
pub(crate) const BUS: u16 = 10_000;

/// A TCP port of the loopback interface that is ours until this is dropped, while a server on it comes
/// and goes; and the one [`BUS`] above.
///
/// It is below those that the kernel gives to outgoing connections: else a client that tries again and
/// again to reach a dead server could be given the server's own port. Between processes that choose at
/// the same time, a UDP socket on the same number decides, which nothing here needs otherwise.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _reserved: [UdpSocket; 2],
}

impl Port {
    const FIRST: u16 = 10_100;
    const COUNT: u16 = 9_900;

    pub(crate) fn free() -> Self {
        let start = random();
        for n in 0..u64::from(Self::COUNT) {
            let offset = (start.wrapping_add(n)) % u64::from(Self::COUNT);
            let number = Self::FIRST + u16::try_from(offset).unwrap_or_default();
            if let Some(port) = Self::reserve(number) {
                return port;
            }
        }
        panic!("no port of the {} from {} is free", Self::COUNT, Self::FIRST);
    }

    pub(crate) fn reserve(number: u16) -> Option<Self> {
        let udp = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok();
        let reserved = [udp(number)?, udp(number.checked_add(BUS)?)?];
        // Both are closed again: only whether somebody listens is of interest.
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number + BUS)).ok()?;
        Some(Self { number, _reserved: reserved })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
