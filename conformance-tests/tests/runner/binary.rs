//! The binaries: `grantor serve` as the server under test, `grantor-conformance` as operators run it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use grantor_conformance::runner::Secret;
use grantor_conformance::runner::config::{Client, Config, Role};
use grantor_conformance::runner::ours::CALLBACK;
use serde_json::Value;
use tempfile::TempDir;

/// The binary that was built beside this test.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let binary = profile.join("grantor");
    assert!(binary.exists(), "build it first: cargo build -p grantor-server, in the same profile");
    binary
}

/// `grantor serve` with a user and a client of each role.
pub(crate) struct Served {
    pub(crate) config: Config,
    home: TempDir,
    child: Child,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .env("GRANTOR_CONFIG", home.join("grantor.toml"))
        .env("GRANTOR_STORAGE", format!("sled:{}", home.join("data").display()));
    command
}

fn run(home: &Path, arguments: &[&str], input: &str) -> String {
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

fn add(home: &Path, name: &str, more: &[&str]) -> Client {
    let usual = ["client", "add", "--json", "--scope", "read write", "--name", name];
    let added = run(home, &[&usual[..], more].concat(), "");
    let added: Value = serde_json::from_str(&added).expect("JSON");
    let uris = added["redirect_uris"].as_array().into_iter().flatten();
    Client {
        id: added["client_id"].as_str().expect("an id").to_owned(),
        secret: added["client_secret"].as_str().map(Secret::new),
        auth: None,
        redirect_uris: uris.filter_map(|uri| uri.as_str().map(str::to_owned)).collect(),
        scope: None,
        name: Some(name.to_owned()),
    }
}

impl Served {
    pub(crate) fn start() -> Self {
        let home = TempDir::new().expect("a directory");
        // The issuer has to be known before the server listens: a port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a port").to_string();
        let issuer = format!("http://{address}");
        let settings = format!(
            "issuer = \"{issuer}\"\n[scopes.read]\ndescription = \"See your calendar\"\n\
             [scopes.write]\ndescription = \"Change your calendar\"\n"
        );
        std::fs::write(home.path().join("grantor.toml"), settings).expect("the configuration");
        let path = home.path();
        run(path, &["user", "add", "alice", "--password-stdin"], "wonderland");
        let mut config = Config {
            issuer: Some(issuer),
            scope: Some("read write".to_owned()),
            ..Config::default()
        };
        config.user.username = Some("alice".to_owned());
        config.user.password = Some(Secret::new("wonderland"));
        let other = format!("{CALLBACK}/other");
        let query = format!("{CALLBACK}?a=1&b=%2F");
        let uri = ["--redirect-uri", CALLBACK];
        let service = ["--grant", "client_credentials"];
        for (role, more) in [
            (Role::Confidential, uri.to_vec()),
            (Role::ConfidentialOther, [&uri[..], &["--pkce-optional"]].concat()),
            (Role::Public, [&uri[..], &["--public"]].concat()),
            (Role::PublicOther, [&uri[..], &["--public"]].concat()),
            (
                Role::Native,
                vec!["--redirect-uri", "http://127.0.0.1/callback", "--public", "--native"],
            ),
            (
                Role::Several,
                [&uri[..], &["--redirect-uri", &other, "--redirect-uri", &query]].concat(),
            ),
            (Role::Service, service.to_vec()),
            (Role::ResourceServer, [&service[..], &["--resource-server"]].concat()),
        ] {
            let name = format!("Conformance {}", role.name());
            config.clients.insert(role, add(path, &name, &more));
        }
        let mut child = command(path, &["serve", "--listen", &address, "--log-format", "json"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut said = Vec::new();
        loop {
            let Some(Ok(line)) = log.next() else { panic!("it ended: {said:#?}") };
            let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
            if parsed["address"].is_string() {
                break;
            }
            said.push(line);
        }
        // The log has to be read on, or the server would wait for its reader.
        std::thread::spawn(move || log.for_each(drop));
        Self { config, home, child }
    }

    /// What `grantor-conformance` says to this server, with the configuration in a file.
    pub(crate) fn conformance(&self, arguments: &[&str]) -> Output {
        let file = self.home.path().join("conformance.toml");
        std::fs::write(&file, written(&self.config)).expect("written");
        let file = file.to_str().expect("UTF-8");
        conformance(&[&["run", "--config", file], arguments].concat())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

/// Runs `grantor-conformance`.
pub(crate) fn conformance(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grantor-conformance"))
        .args(arguments)
        .env_remove("GRANTOR_CONFORMANCE_PASSWORD")
        .output()
        .expect("the binary runs")
}

/// A configuration as its file has it. What is in these strings is written alike in Rust and TOML.
fn written(config: &Config) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: Option<&str>| {
        text.extend(value.map(|value| format!("{name} = {value:?}\n")));
    };
    line("issuer", config.issuer.as_deref());
    line("scope", config.scope.as_deref());
    let password = config.user.password.as_ref();
    line("user.username", config.user.username.as_deref());
    line("user.password", password.map(Secret::expose));
    for (role, client) in &config.clients {
        text.push_str(&format!("[clients.{}]\nid = {:?}\n", role.name(), client.id));
        text.extend(client.secret.as_ref().map(|s| format!("secret = {:?}\n", s.expose())));
        text.extend(client.name.as_ref().map(|name| format!("name = {name:?}\n")));
        text.push_str(&format!("redirect_uris = {:?}\n", client.redirect_uris));
    }
    text
}
