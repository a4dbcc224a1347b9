//! Where the chapters lead. Rustdoc checks the paths in links; it checks neither what stands behind a `#` nor relative
//! addresses.

#![expect(clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The chapters, by name.
fn chapters() -> Vec<(String, String)> {
    let directory = root().join("core/docs/guide");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("the chapters") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        found.push((name, fs::read_to_string(&path).expect("UTF-8")));
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The targets of the links of a text: `[...](target)`.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The anchors of a text, as rustdoc makes them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let line = line.trim_start_matches("//!").trim_start();
        let text =
            line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))?;
        let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
    };
    text.lines().filter_map(heading).collect()
}

#[test]
fn every_anchor_exists() {
    let chapters = chapters();
    for (name, text) in &chapters {
        for target in targets(text) {
            let Some((page, anchor)) = target.split_once('#') else { continue };
            let there = match page.strip_prefix("crate::guide::") {
                Some(chapter) => {
                    let found = chapters.iter().find(|(name, _)| name == chapter);
                    found.unwrap_or_else(|| panic!("{name}: {target}")).1.clone()
                }
                None if page.is_empty() => text.clone(),
                None => {
                    let module = page.strip_prefix("crate::").unwrap_or_else(|| panic!("{target}"));
                    let module =
                        root().join(format!("core/src/{}/mod.rs", module.replace("::", "/")));
                    fs::read_to_string(module).expect("a module")
                }
            };
            assert!(anchors(&there).contains(anchor), "{name}: {target}: {:?}", anchors(&there));
        }
    }
}

/// The pages of the other packages stand beside those of the core, where `cargo doc` puts them.
#[test]
fn every_page_of_another_package_exists() {
    for (name, text) in chapters() {
        let up = if name == "guide" { "../../" } else { "../../../" };
        for target in targets(&text).filter(|target| target.contains("../")) {
            let page = target.strip_prefix(up).unwrap_or_else(|| panic!("{name}: {target}"));
            let (library, page) = page.split_once('/').expect("a page");
            let package = library.strip_prefix("grantor_").expect("one of ours").replace('_', "-");
            let sources = ["adapters/", "storage-", "conformance-tests/"];
            let source = sources.iter().find_map(|place| {
                let directory = match *place {
                    "conformance-tests/" if package == "conformance" => {
                        "conformance-tests".to_owned()
                    }
                    _ => format!("{place}{package}"),
                };
                fs::read_to_string(root().join(directory).join("src/lib.rs")).ok()
            });
            let source = source.unwrap_or_else(|| panic!("{name}: no package for {target}"));
            let item = page.trim_end_matches(".html").split(['/', '.']).next_back();
            let item = match page.strip_suffix("/index.html") {
                Some(module) => format!("mod {module}"),
                None => item.unwrap_or_default().to_owned(),
            };
            assert!(page == "index.html" || source.contains(&item), "{name}: {target}");
        }
    }
}

/// The drawing at the front leads to every chapter.
#[test]
fn the_front_page_leads_everywhere() {
    let chapters = chapters();
    let (_, front) = chapters.iter().find(|(name, _)| name == "guide").expect("a front page");
    for (name, _) in chapters.iter().filter(|(name, _)| name != "guide") {
        assert!(front.contains(&format!("<a href=\"{name}/index.html\">")), "{name}");
        assert!(front.contains(&format!("](crate::guide::{name})")), "{name}");
    }
}

#[test]
fn every_adapter_has_its_place() {
    let chapters = chapters();
    for entry in fs::read_dir(root().join("adapters")).expect("the adapters") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().replace('-', "_");
        // The ready server and the examples are programs.
        if !path.join("src/lib.rs").exists() || name == "server" {
            continue;
        }
        let page = format!("](../../../grantor_{name}/index.html)");
        assert!(chapters.iter().any(|(_, text)| text.contains(&page)), "no chapter has {name}");
    }
}
