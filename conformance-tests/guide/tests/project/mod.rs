//! The project of a newcomer.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use tempfile::TempDir;

use crate::ADDRESS;

/// As long as the project may take to be built, from clean on a slow machine.
const MINUTES: &str = "15m";
/// As long as one command of the chapter may take.
const COMMAND: &str = "1m";

/// This repository: the clone.
fn clone() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("it is there")
}

pub(crate) struct Project {
    directory: TempDir,
    address: String,
    variables: BTreeMap<String, String>,
    running: Option<Child>,
}

impl Project {
    pub(crate) fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        Self {
            directory: TempDir::new().expect("a directory"),
            address: free.expect("a free port").to_string(),
            variables: BTreeMap::new(),
            running: None,
        }
    }

    /// The text with the address of this run.
    pub(crate) fn at_its_address(&self, text: &str) -> String {
        text.replace(ADDRESS, &self.address)
    }

    /// The manifest, with the clone where it is. What is built of it is found again by the next run.
    pub(crate) fn with_the_clone(&self, manifest: &str) -> String {
        let clone = clone();
        let manifest = manifest.replace("\"../grantor/", &format!("\"{}/", clone.display()));
        assert!(!manifest.contains("../"), "a path that is not in the clone: {manifest}");
        manifest
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("calendar")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.root().join(path), text).expect("written");
    }

    /// A variable of the shell.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// What these commands print.
    pub(crate) fn shell(&self, commands: &str) -> String {
        let directory =
            if self.root().exists() { self.root() } else { self.directory.path().to_owned() };
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10s", COMMAND, "sh", "-euc", commands]).current_dir(directory);
        output(command.envs(&self.variables)).replace('\r', "")
    }

    /// Builds and runs it, with what this workspace uses of other people's crates.
    pub(crate) fn run(&mut self) {
        let clone = clone();
        fs::copy(clone.join("Cargo.lock"), self.root().join("Cargo.lock")).expect("copied");
        let target = target();
        let mut cargo = Command::new("timeout");
        cargo
            .args(["--kill-after=10s", MINUTES])
            .arg(env::var_os("CARGO").expect("cargo runs this"));
        cargo.args(["build", "--offline"]).current_dir(self.root());
        cargo.env("CARGO_TARGET_DIR", &target);
        // As the workspace has it, so that what is built already need not be built again.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|it| text.starts_with(it)) {
                cargo.env_remove(name);
            }
        }
        output(&mut cargo);
        let mut program = Command::new(target.join("debug/calendar"));
        program.current_dir(self.root()).stdout(Stdio::piped());
        let program = self.running.insert(program.spawn().expect("it was built"));
        let printed = program.stdout.take().expect("piped");
        let line = BufReader::new(printed).lines().next().expect("a line").expect("UTF-8");
        assert_eq!(line, format!("listening on http://{}", self.address));
    }

    /// What a user does who is sent to this address: signs in and allows all. Where the browser is
    /// sent in the end.
    pub(crate) fn allow(&self, address: &str, username: &str, password: &str) -> String {
        // To the page that asks who it is.
        let page = self.browser(&format!("--location '{address}'"));
        let who = format!("{} -d username={username} -d password={password}", hidden(&page));
        let page =
            self.browser(&format!("--location {who} http://{}{}", self.address, action(&page)));
        assert!(page.contains("id=\"allow\""), "no question of consent: {page}");
        let scopes: String = attributes(&page, "name=\"scope\" value=\"")
            .map(|scope| format!(" -d scope={scope}"))
            .collect();
        let answer = format!("{}{scopes} -d decision=allow", hidden(&page));
        let to = format!("http://{}{}", self.address, action(&page));
        self.browser(&format!("--output /dev/null --write-out '%{{redirect_url}}' {answer} {to}"))
    }

    fn browser(&self, arguments: &str) -> String {
        self.shell(&format!("curl -s --cookie jar --cookie-jar jar {arguments}"))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if let Some(program) = &mut self.running {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// Where this workspace is built.
fn target() -> PathBuf {
    // The directory for temporary files of tests lies directly in it.
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a parent").to_owned()
}

/// What a command printed; panics with what it complained about.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("timeout, of coreutils");
    let complaint = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => String::from_utf8(output.stdout).expect("UTF-8"),
        Some(124 | 137) => panic!("it took too long: {command:?}\n{complaint}"),
        _ => panic!("{}: {command:?}\n{complaint}", output.status),
    }
}

/// The values behind each occurrence of `begin` in a page.
fn attributes<'a>(page: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
    page.split(begin).skip(1).filter_map(|rest| rest.split('"').next())
}

/// Where the form of a page is posted.
fn action(page: &str) -> String {
    let action = attributes(page, "<form method=\"post\" action=\"").next().expect("a form");
    action.replace("&#x2f;", "/")
}

/// The hidden fields of a page, as arguments of curl.
fn hidden(page: &str) -> String {
    let field = |field: &str| format!(" -d {}", field.replacen("\" value=\"", "=", 1));
    page.split("<input type=\"hidden\" name=\"")
        .skip(1)
        .filter_map(|rest| rest.split("\">").next())
        .map(field)
        .collect()
}
