//! Asking cargo.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

/// As long as everything may take that is built here, from clean on a slow machine.
const MINUTES: &str = "15m";

/// A call of cargo in this workspace, as a person would make it. What cargo tells a test about its package would
/// make build scripts believe that something has changed, and their crates be compiled again.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("timeout");
    let cargo = std::env::var_os("CARGO").expect("cargo runs this");
    command.args(["--kill-after=10s", MINUTES]).arg(cargo);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|it| text.starts_with(it)) {
            command.env_remove(name);
        }
    }
    command
}

/// What a call printed; panics with what it complained about.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().expect("timeout, of coreutils");
    let complaint = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => String::from_utf8(output.stdout).expect("UTF-8"),
        Some(124 | 137) => panic!("not finished in {MINUTES}: {command:?}\n{complaint}"),
        _ => panic!("{}: {command:?}\n{complaint}", output.status),
    }
}

/// The part of `cargo metadata` that is looked at.
#[derive(Deserialize)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    pub(crate) target_directory: PathBuf,
    pub(crate) build_directory: PathBuf,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) features: std::collections::BTreeMap<String, Vec<String>>,
    publish: Option<Vec<String>>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Package {
    /// The name of the library as code says it, if there is one.
    pub(crate) fn library(&self) -> Option<&str> {
        let library = self.targets.iter().find(|target| target.kind.iter().any(|k| k == "lib"))?;
        Some(&library.name)
    }
}

/// This workspace, with the packages that are published: nothing depends on an example.
pub(crate) fn workspace() -> Workspace {
    let text = output(cargo().args(["metadata", "--no-deps", "--locked", "--format-version", "1"]));
    let mut workspace: Workspace = serde_json::from_str(&text).expect("metadata");
    workspace.packages.retain(|package| package.publish.as_ref().is_none_or(|to| !to.is_empty()));
    workspace
}
