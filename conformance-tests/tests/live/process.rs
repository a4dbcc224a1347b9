//! The binary as a process, and its command line.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use tempfile::TempDir;

use crate::connection::Connection;
use crate::patience::{self, PATIENCE};
use crate::walk::Client;

const CONFIG: &str = r#"
issuer = "http://127.0.0.1:8400"

[scopes.read]
description = "See your calendar"

[scopes.write]
description = "Change your calendar"
"#;

/// A running server and its data directory.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) home: Home,
    child: Child,
}

/// A data directory with a user (alice) and a confidential client, for one server after another.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    _guard: Arc<Option<TempDir>>,
    path: PathBuf,
    client: Client,
}

/// The binary under test: the one that was built beside this test.
pub(crate) fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let binary = profile.join("grantor");
    assert!(binary.exists(), "build it first: cargo build -p grantor-server, in the same profile");
    binary
}

impl Home {
    pub(crate) fn new() -> Self {
        let guard = TempDir::new().expect("a directory");
        let path = guard.path().to_owned();
        Self::furnish(Some(guard), path)
    }

    /// In a directory that somebody else cleans up.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self::furnish(None, path)
    }

    fn furnish(guard: Option<TempDir>, path: PathBuf) -> Self {
        // Synced, since power cuts are among what happens to it.
        let mut file = File::create(path.join("grantor.toml")).expect("the configuration");
        file.write_all(CONFIG.as_bytes()).and_then(|()| file.sync_all()).expect("written");
        File::open(&path).and_then(|directory| directory.sync_all()).expect("its name too");
        let none = Client { id: String::new(), secret: String::new() };
        let mut home = Self { _guard: Arc::new(guard), path, client: none };
        home.run(&["user", "add", "alice", "--password-stdin"], "wonderland");
        let uri = crate::walk::CALLBACK;
        let added = home.run(
            &[
                "client",
                "add",
                "--name",
                "Calendar",
                "--redirect-uri",
                uri,
                "--scope",
                "read write",
                "--json",
            ],
            "",
        );
        let added: serde_json::Value = serde_json::from_str(&added).expect("JSON");
        let text = |name: &str| {
            added[name].as_str().unwrap_or_else(|| panic!("{name}: {added}")).to_owned()
        };
        home.client = Client { id: text("client_id"), secret: text("client_secret") };
        home
    }

    /// Runs a command on this directory and returns what it printed.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> String {
        let mut child = self
            .configured(Command::new("timeout").arg(PATIENCE.as_secs().to_string()).arg(binary()))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("read");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn configured<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let storage = format!("sled:{}", self.path.join("data").display());
        command
            .env("GRANTOR_CONFIG", self.path.join("grantor.toml"))
            .env("GRANTOR_STORAGE", storage)
    }

    /// Starts a server on this directory and waits until it listens.
    pub(crate) async fn start(&self) -> Server {
        let mut child = self
            .configured(&mut Command::new(binary()))
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (say, said) = channel();
        // The log has to be read to its end, or the server would wait for its reader.
        std::thread::spawn(move || {
            log.map_while(Result::ok).for_each(|line| {
                let _ = say.send(line);
            });
        });
        let mut before = Vec::new();
        let address = loop {
            let Ok(line) = said.recv_timeout(PATIENCE) else {
                panic!("no server: {before:#?} {}", patience::servers());
            };
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = parsed["address"].as_str() {
                break address.to_owned();
            }
            before.push(line);
        };
        Server { address, home: self.clone(), child }
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Home::new().start().await
    }

    pub(crate) fn client(&self) -> Client {
        self.home.client.clone()
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(&self.address).await.expect("the server listens")
    }

    /// SIGKILL: no chance to finish anything.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }

    /// SIGSTOP: it stands still where it is when this returns, with all its threads.
    pub(crate) fn freeze(&self) {
        let id = self.child.id().to_string();
        let stopped = Command::new("kill").args(["-STOP", &id]).status();
        assert!(stopped.expect("kill").success(), "it runs");
        let stands_still = || {
            let threads = std::fs::read_dir(format!("/proc/{id}/task")).expect("a child");
            threads.filter_map(Result::ok).all(|thread| {
                // A thread that has ended meanwhile does nothing either.
                let stat = std::fs::read_to_string(thread.path().join("stat"));
                stat.map_or(true, |stat| stat.contains(") T "))
            })
        };
        let begun = Instant::now();
        while !stands_still() {
            assert!(begun.elapsed() < PATIENCE, "it does not stop\n{}", patience::servers());
            std::thread::yield_now();
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
