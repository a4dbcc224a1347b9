//! A directory, a server in it, commands that find it, and a browser.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Nothing takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const CALLBACK: &str = "https://app.example/callback";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

const CONFIG: &str = r#"
issuer = "http://127.0.0.1:8400"
listen = "127.0.0.1:0"
log_format = "json"

[scopes."calendar.read"]
description = "See your calendar"
ko = "캘린더 보기"

[scopes."calendar.write"]
description = "Change your calendar"
"#;

/// A place for a server, with a configuration file.
pub(crate) struct World {
    root: TempDir,
    storage: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self::on("");
        world.storage = format!("sled:{}", world.data().display());
        world.configure("");
        world
    }

    /// On this storage.
    pub(crate) fn on(storage: &str) -> Self {
        let root = TempDir::new().expect("a temporary directory");
        let world = Self { root, storage: storage.to_owned() };
        world.configure("");
        world
    }

    /// Writes the configuration file, with more settings at its beginning.
    pub(crate) fn configure(&self, more: &str) {
        // The sections come last, whatever comes first.
        let (top, sections) = CONFIG.split_once("\n\n").expect("sections");
        let config = format!("storage = {:?}{top}\n{more}\n{sections}", self.storage);
        std::fs::write(self.config(), config).expect("written");
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root.path().join("grantor.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = grantor(args);
        command.current_dir(self.root()).env("GRANTOR_CONFIG", self.config());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args), "")
    }

    pub(crate) fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        Ran::of(self.command(args), stdin)
    }

    pub(crate) fn add_user(&self, name: &str) -> Value {
        let args = ["user", "add", name, "--password-stdin", "--json"];
        self.run_with(&args, PASSWORD).json()
    }

    pub(crate) fn add_client(&self, more: &[&str]) -> Value {
        let scope = "calendar.read calendar.write";
        let mut args = vec!["client", "add", "--json", "--name", "App"];
        args.extend(["--redirect-uri", CALLBACK, "--scope", scope]);
        args.extend(more);
        self.run(&args).json()
    }

    pub(crate) fn serve(&self) -> Server {
        Server::start(self.command(&["serve"]))
    }
}

/// The command, without what the environment of the test says.
pub(crate) fn grantor(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grantor"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GRANTOR_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG").args(args);
    command
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(mut command: Command, stdin: &str) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        // A command that does not read its input closes it.
        let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
        let Output { status, stdout, stderr } = child.wait_with_output().expect("the command ends");
        Self {
            status,
            stdout: String::from_utf8(stdout).expect("text"),
            stderr: String::from_utf8(stderr).expect("text"),
        }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{self:#?}");
        self.stdout
    }

    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).expect("JSON")
    }

    /// What was said about a failure: on standard error, in one line, with the exit code 1.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.status.code(), Some(1), "{self:#?}");
        assert_eq!(self.stdout, "", "{self:#?}");
        let said = self.stderr.strip_prefix("error: ").expect("an error");
        assert_eq!(said.lines().count(), 1, "{said}");
        said.trim_end().to_owned()
    }
}

/// A running server. It is killed when the test ends without stopping it.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    ended: Receiver<()>,
}

impl Server {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let log = Arc::new(Mutex::new(String::new()));
        let (listening, address) = channel();
        let (end, ended) = channel();
        std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in stderr.lines().map_while(Result::ok) {
                    let fields: Value = serde_json::from_str(&line).unwrap_or_default();
                    if fields["message"] == "listening" {
                        let address = fields["address"].as_str().expect("text");
                        let _ = listening.send(address.parse().expect("an address"));
                    }
                    let mut log = log.lock().expect("healthy");
                    log.push_str(&line);
                    log.push('\n');
                }
                let _ = end.send(());
            }
        });
        let Ok(address) = address.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("no server: {}", log.lock().expect("healthy"));
        };
        Self { child, address, log, ended }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).expect("small");
        let id = rustix::process::Pid::from_raw(id).expect("not zero");
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    /// Waits for the end, and returns all that was logged.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        self.ended.recv_timeout(PATIENCE).expect("the server ends in time");
        let status = self.child.wait().expect("the server ends");
        let log = self.log.lock().expect("healthy").clone();
        (status, log)
    }

    pub(crate) fn stop(self) -> String {
        self.signal(rustix::process::Signal::TERM);
        let (status, log) = self.wait();
        assert!(status.success(), "{status} {log}");
        log
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::of(self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As much of a browser as signing in takes.
pub(crate) struct Browser {
    base: String,
    pub(crate) cookies: BTreeMap<String, String>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// What the page would send besides what is typed into it.
    fn hidden(&self) -> Vec<(String, String)> {
        let inputs = self.body.split("<input type=\"hidden\"").skip(1);
        let value = |input: &str, name: &str| {
            let (_, rest) = input.split_once(&format!("{name}=\"")).expect("there");
            rest.split_once('"').expect("closed").0.to_owned()
        };
        inputs.map(|input| (value(input, "name"), value(input, "value"))).collect()
    }
}

/// RFC 7636 appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

impl Browser {
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self { base: format!("http://{address}"), cookies: BTreeMap::new() }
    }

    /// The server is at another address now, and the browser keeps its cookies.
    pub(crate) fn moved_to(&mut self, address: SocketAddr) {
        self.base = format!("http://{address}");
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        let request = ureq::http::Request::get(self.url(path));
        self.send(request, String::new(), &[])
    }

    pub(crate) fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.post_with(path, form, &[])
    }

    pub(crate) fn post_with(
        &mut self,
        path: &str,
        form: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = ureq::http::Request::post(self.url(path))
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request, body, headers)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn send(
        &mut self,
        mut request: ureq::http::request::Builder,
        body: String,
        headers: &[(&str, &str)],
    ) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .timeout_global(Some(PATIENCE))
                .build(),
        );
        let request = request.body(body).expect("a request");
        let mut response = agent.run(request).expect("an answer");
        for cookie in response.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().expect("text");
            let (pair, _) = cookie.split_once(';').expect("attributes");
            let (name, value) = pair.split_once('=').expect("a pair");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().expect("text").to_owned())
        };
        Answer {
            status: response.status().as_u16(),
            location: header("location"),
            retry_after: header("retry-after").map(|text| text.parse().expect("seconds")),
            body: {
                let mut body = String::new();
                let mut reader = response.body_mut().as_reader();
                reader.read_to_string(&mut body).expect("text");
                body
            },
        }
    }

    /// Asks for a code; what comes back is the sign-in page, the consent page or the redirect.
    pub(crate) fn authorize(&mut self, client_id: &str) -> Answer {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", client_id),
                ("redirect_uri", CALLBACK),
                ("scope", "calendar.read"),
                ("state", "xyz"),
                ("code_challenge", CHALLENGE),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        let answer = self.get(&format!("/authorize?{query}"));
        match &answer.location {
            Some(location) if location.starts_with('/') => self.get(location),
            _ => answer,
        }
    }

    /// Types into the sign-in page.
    pub(crate) fn sign_in(&mut self, page: &Answer, username: &str, password: &str) -> Answer {
        self.sign_in_with(page, username, password, &[])
    }

    pub(crate) fn sign_in_with(
        &mut self,
        page: &Answer,
        username: &str,
        password: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let hidden = page.hidden();
        let mut form: Vec<(&str, &str)> = hidden.iter().map(|(n, v)| (&**n, &**v)).collect();
        form.extend([("username", username), ("password", password)]);
        self.post_with("/interaction/login", &form, headers)
    }

    /// The whole way to a code.
    pub(crate) fn code(&mut self, client_id: &str, username: &str) -> String {
        let page = self.authorize(client_id);
        let signed_in = self.sign_in(&page, username, PASSWORD);
        let next = signed_in.location.unwrap_or_else(|| {
            panic!("{} {}", signed_in.status, signed_in.body);
        });
        let mut answer = self.get(&next);
        // What was allowed before is not asked again.
        if answer.location.is_none() {
            let hidden = answer.hidden();
            let mut form: Vec<(&str, &str)> = hidden.iter().map(|(n, v)| (&**n, &**v)).collect();
            form.extend([("scope", "calendar.read"), ("decision", "allow")]);
            answer = self.post("/interaction/consent", &form);
        }
        let location = answer.location.unwrap_or_else(|| {
            panic!("{} {}", answer.status, answer.body);
        });
        let (_, rest) = location.split_once("code=").expect("a code");
        rest.split('&').next().expect("a value").to_owned()
    }

    /// The whole way to tokens.
    pub(crate) fn tokens(&mut self, client: &Value, username: &str) -> Value {
        let code = self.code(text(client, "client_id"), username);
        let answer = self.redeem(client, &code);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let mut tokens = answer.json();
        tokens["code"] = code.into();
        tokens
    }

    pub(crate) fn redeem(&mut self, client: &Value, code: &str) -> Answer {
        self.post(
            "/token",
            &[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", CALLBACK),
                ("code_verifier", VERIFIER),
                ("client_id", text(client, "client_id")),
                ("client_secret", text(client, "client_secret")),
            ],
        )
    }

    pub(crate) fn is_active(&mut self, client: &Value, token: &str) -> bool {
        let answer = self.post(
            "/introspect",
            &[
                ("token", token),
                ("client_id", text(client, "client_id")),
                ("client_secret", text(client, "client_secret")),
            ],
        );
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["active"].as_bool().expect("a truth value")
    }

    pub(crate) fn refresh(&mut self, client: &Value, token: &str) -> Answer {
        self.post(
            "/token",
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("client_id", text(client, "client_id")),
                ("client_secret", text(client, "client_secret")),
            ],
        )
    }
}

#[track_caller]
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().expect("text")
}
