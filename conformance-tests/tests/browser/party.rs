//! The servers: the demo, `grantor serve`, and an app that only waits for its answer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

/// `target/PROFILE`, where this test was built.
fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.parent().and_then(Path::parent);
    profile.expect("target/PROFILE/deps").to_owned()
}

/// Where the pictures go.
pub(crate) fn screenshots() -> PathBuf {
    profile().parent().expect("target/PROFILE").join("screenshots")
}

fn binary() -> PathBuf {
    let binary = profile().join("grantor");
    assert!(binary.exists(), "build it first: cargo build -p grantor-server, in the same profile");
    binary
}

/// Three free ports in a row, below those that the system gives to outgoing connections.
fn three_free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 4000).expect("small") * 3;
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..2000 {
        let step = NEXT.fetch_add(3, Ordering::Relaxed);
        let port = 20_000 + start.wrapping_add(step) % 12_000;
        if free(port) && free(port + 1) && free(port + 2) {
            return port;
        }
    }
    panic!("no three free ports in a row between 20000 and 32000")
}

/// A child process that does not outlive its test.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts it and waits until a line that it prints says that it listens.
fn start(mut command: Command, ready: impl Fn(&str) -> bool) -> Result<Process, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let (sender, lines) = std::sync::mpsc::channel();
    let streams: [Box<dyn std::io::Read + Send>; 2] = [
        Box::new(child.stdout.take().expect("piped")),
        Box::new(child.stderr.take().expect("piped")),
    ];
    // Both are read to their end, or the process would wait for its reader.
    for stream in streams {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
    }
    drop(sender);
    let process = Process(child);
    let mut said = String::new();
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(60)) {
        if ready(&line) {
            return Ok(process);
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(said)
}

/// `grantor demo`.
#[derive(Debug)]
pub(crate) struct Demo {
    process: Process,
    data: TempDir,
    port: u16,
}

impl Demo {
    pub(crate) fn start() -> Self {
        let data = TempDir::new().expect("a directory");
        let mut said = String::new();
        // Somebody else may take a port between the look and the start.
        for _ in 0..3 {
            let port = three_free_ports();
            match Self::run(data.path(), port) {
                Ok(process) => {
                    return Self { process, data, port };
                }
                Err(error) => said = error,
            }
        }
        panic!("the demo does not start: {said}")
    }

    fn run(data: &Path, port: u16) -> Result<Process, String> {
        let mut command = Command::new(binary());
        command.args(["demo", "--port", &port.to_string(), "--data"]).arg(data.join("data"));
        start(command, |line| line.contains("Ctrl-C"))
    }

    /// Kills it without warning and starts it again on the same data.
    pub(crate) fn crash_and_restart(&mut self) {
        self.process.kill();
        self.process = Self::run(self.data.path(), self.port).expect("it starts again");
    }

    fn url(&self, party: u16, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port + party)
    }

    pub(crate) fn server(&self, path: &str) -> String {
        self.url(0, path)
    }

    pub(crate) fn planner(&self, path: &str) -> String {
        self.url(1, path)
    }

    /// The host that the consent page has to name.
    pub(crate) fn planner_host(&self) -> String {
        format!("127.0.0.1:{}", self.port + 1)
    }
}

/// `grantor serve`, with the user demo and one client.
#[derive(Debug)]
pub(crate) struct Site {
    process: Process,
    home: TempDir,
    port: u16,
    client_id: String,
    pub(crate) app: App,
}

impl Site {
    pub(crate) fn start(client_name: &str, policy: &str) -> Self {
        let (home, app) = (TempDir::new().expect("a directory"), App::start());
        let port = three_free_ports();
        let config = format!(
            "issuer = \"http://127.0.0.1:{port}\"\nlisten = \"127.0.0.1:{port}\"\n\
             log_format = \"json\"\n[policy]\n{policy}\n\
             [scopes.read]\ndescription = \"See the events in your calendar\"\n\
             ko = \"캘린더의 일정 보기\"\n"
        );
        std::fs::write(home.path().join("grantor.toml"), config).expect("the configuration");
        administer(&home, &["user", "add", "demo", "--password-stdin"], "demo-password");
        let added = administer(
            &home,
            &[
                "client",
                "add",
                "--name",
                client_name,
                "--redirect-uri",
                &app.callback(),
                "--scope",
                "read",
                "--json",
            ],
            "",
        );
        let added: serde_json::Value = serde_json::from_str(&added).expect("JSON");
        let client_id = added["client_id"].as_str().expect("an id").to_owned();
        let process = Self::run(&home).expect("the server starts");
        Self { process, home, port, client_id, app }
    }

    fn run(home: &TempDir) -> Result<Process, String> {
        start(command(home, &["serve"]), |line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            line["address"].is_string()
        })
    }

    /// Kills it without warning and starts it again on the same data.
    pub(crate) fn crash_and_restart(&mut self) {
        self.process.kill();
        self.process = Self::run(&self.home).expect("it starts again");
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Where the app sends the browser.
    pub(crate) fn authorize(&self, state: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &self.app.callback())
            .append_pair("scope", "read")
            .append_pair("state", state)
            .append_pair("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
            .append_pair("code_challenge_method", "S256")
            .finish();
        self.url(&format!("/authorize?{query}"))
    }

    /// How many authorizations there are.
    pub(crate) fn grants(&self) -> usize {
        let listed = administer(&self.home, &["grant", "list", "--json"], "");
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
        listed.as_array().map_or(0, Vec::len)
    }
}

fn command(home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    let storage = format!("sled:{}", home.path().join("data").display());
    command
        .args(arguments)
        .env("GRANTOR_CONFIG", home.path().join("grantor.toml"))
        .env("GRANTOR_STORAGE", storage);
    command
}

/// Runs a command of administration and returns what it printed.
fn administer(home: &TempDir, arguments: &[&str], input: &str) -> String {
    let mut child = command(home, arguments)
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

/// An app that shows that the browser came back, and remembers with what.
#[derive(Debug)]
pub(crate) struct App {
    port: u16,
    answers: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl App {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (answers, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let app = Self { port, answers: Arc::clone(&answers), stop: Arc::clone(&stop) };
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let answers = Arc::clone(&answers);
                // The browser opens connections ahead of their use.
                std::thread::spawn(move || {
                    let _ = connection.map(|connection| greet(&connection, &answers));
                });
            }
        });
        app
    }

    pub(crate) fn callback(&self) -> String {
        format!("http://127.0.0.1:{}/callback", self.port)
    }

    /// The queries that the browser came back with.
    pub(crate) fn answers(&self) -> Vec<String> {
        self.answers.lock().expect("not poisoned").clone()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn greet(mut connection: &TcpStream, answers: &Mutex<Vec<String>>) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(60)))?;
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = connection.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
    let request = String::from_utf8_lossy(&request);
    let target = request.split(' ').nth(1).unwrap_or_default();
    if let Some(query) = target.strip_prefix("/callback?") {
        answers.lock().expect("not poisoned").push(query.to_owned());
    }
    let page = "<!doctype html><html lang=en><title>App</title><h1 id=heading>The app</h1>";
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}
