//! The first chapter, followed word by word: the project is made from its files, built, and every command is run. What the
//! chapter shows as an answer has to be the answer.

#![expect(clippy::expect_used, clippy::panic, reason = "tests")]

mod chapter;
mod project;

use crate::chapter::{Block, blocks, looks_like};
use crate::project::Project;

/// The address that the chapter uses; here it is a free port.
const ADDRESS: &str = "127.0.0.1:8400";

const CHAPTER: &str = include_str!("../../../core/docs/guide/start.md");

#[test]
fn the_first_chapter_works_as_it_is_written() {
    let mut project = Project::new();
    let mut blocks = blocks(CHAPTER).into_iter().peekable();
    let mut code = None;
    let (mut answer, mut answers) = (String::new(), String::new());
    while let Some(Block { language, text }) = blocks.next() {
        match language {
            "toml" => project.write("Cargo.toml", &project.with_the_clone(text)),
            "rust,no_run" => project.write("src/main.rs", &project.at_its_address(text)),
            "text" if text.starts_with("http://") => {
                // The user, in a browser.
                let back =
                    project.allow(&project.at_its_address(text.trim()), "alice", "wonderland");
                let page = project.shell(&format!("curl -s --fail '{back}'"));
                let of = |name: &str| {
                    let line = page.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_else(|| panic!("no {name} in {page:?}")).to_owned()
                };
                assert_eq!(of("state="), "tea");
                of("iss=");
                code = Some(of("code="));
            }
            "sh" if text == "cargo run\n" => project.run(),
            "sh" if text.starts_with("cargo new calendar\ncd calendar\n") => {
                project.shell("cargo new calendar");
            }
            "sh" => {
                let mut commands = String::new();
                for line in project.at_its_address(text).lines() {
                    let (name, what) = line.split_once("=paste-the-").unwrap_or_default();
                    match what.trim_end_matches("-here") {
                        "" => commands += &format!("{line}\n"),
                        "code" => project.set(name, code.as_ref().expect("a code by then")),
                        member => project.set(name, &last_member(&answers, member)),
                    }
                }
                answer = project.shell(&commands);
                answers += &answer;
                if let Some(shown) = blocks.next_if(|next| next.language == "text") {
                    let shown = project.at_its_address(shown.text);
                    for line in shown.lines() {
                        let is = answer.lines().any(|is| looks_like(is, line));
                        assert!(is, "shown: {line}\nit is: {answer}\nafter: {commands}");
                    }
                } else {
                    panic!("the chapter does not say what is answered to: {commands}");
                }
            }
            other => panic!("what is to be done with {other:?}: {text}"),
        }
    }
    assert!(answer.contains("invalid_token"), "the chapter ends when all is over: {answer}");
}

/// A member of the last JSON that has one, as a person copies it.
fn last_member(answers: &str, name: &str) -> String {
    let begin = format!("\"{name}\":\"");
    let value = answers.rsplit_once(&begin).and_then(|(_, rest)| rest.split_once('"'));
    value.unwrap_or_else(|| panic!("no {name} in {answers:?}")).0.to_owned()
}
