//! What is said about the adapters is so.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates beside the adapters.
const OTHERS: [&str; 3] = ["examples", "introspection", "server"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    fs::read_to_string(root().join("adapters/README.md")).expect("the page")
}

/// The rows of the first table, by adapter: the framework, and two numbers.
fn rows() -> BTreeMap<String, (String, [String; 2])> {
    let page = page();
    let rows = page.lines().filter(|line| line.starts_with("| [`grantor-")).map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells[1].split(['(', ')']).nth(1).expect("a link").to_owned();
        (name, (cells[2].to_owned(), [cells[3].to_owned(), cells[4].to_owned()]))
    });
    rows.collect()
}

#[test]
fn the_table_names_every_adapter() {
    let directories = fs::read_dir(root().join("adapters")).expect("the adapters");
    let names = directories
        .map(|entry| entry.expect("an entry"))
        .filter(|e| e.path().join("Cargo.toml").exists());
    let mut names: Vec<String> =
        names.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
    names.retain(|name| !OTHERS.contains(&name.as_str()));
    names.sort_unstable();
    assert_eq!(names, rows().into_keys().collect::<Vec<_>>());
}

#[test]
fn the_lines_are_those_that_the_command_counts() {
    let page = page();
    let (_, rest) = page.split_once("```sh\n").expect("the command");
    let (command, _) = rest.split_once("```").expect("its end");
    let output = Command::new("bash").args(["-euc", command]).current_dir(root()).output();
    let output = output.expect("bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counted = String::from_utf8(output.stdout).expect("UTF-8");
    let counted: BTreeMap<String, [String; 2]> = counted
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[0].to_owned(), [words[1].to_owned(), words[2].to_owned()])
        })
        .collect();
    let said = rows().into_iter().map(|(name, (_, lines))| (name, lines));
    assert_eq!(said.collect::<BTreeMap<_, _>>(), counted, "left: the table; right: the command");
}

#[test]
fn the_versions_are_those_of_the_workspace() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    for (name, (framework, _)) in rows() {
        // `actix-web 4.18`, `tower-service 0.3, as ...`, `lambda_http 1.3: ...`
        let words = framework.split([',', ':']).next().and_then(|text| text.split_once(' '));
        let (framework, version) = words.expect("a name and a version");
        let dependency = manifest
            .lines()
            .find(|line| line.starts_with(&format!("{} = ", framework.to_lowercase())))
            .unwrap_or_default();
        assert!(dependency.contains(&format!("\"{version}\"")), "{name}: {dependency}");
    }
}
