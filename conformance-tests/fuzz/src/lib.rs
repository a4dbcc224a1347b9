//! Every parser of input, as a function of bytes, with what must be true of what it makes of them.
//!
//! libFuzzer calls these functions through `fuzz_targets`, guided by coverage; on the toolchain of everybody
//! `cargo test -p grantor-conformance --test fuzz` calls them with the corpus and with random bytes. What crashes one of
//! them becomes a test where the defect is, and a file in the corpus.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a target reports by panicking"
)]

mod administration;
mod browser;
mod configuration;
mod forms;
mod model;
mod records;
mod registration;
mod resource;
#[path = "../../tests/wire/rules.rs"]
mod rules;
mod sessions;
mod shared;
#[cfg(test)]
mod tests;
mod traces;
#[expect(dead_code, reason = "the tests of the wire need more of it than the targets do")]
#[path = "../../tests/wire/world.rs"]
mod world;

/// A function that makes something of bytes, and panics when it makes something wrong.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its binary and of its folder in the corpus.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 16] = [
    Target { name: "administration", run: administration::command },
    Target { name: "basic", run: forms::basic },
    Target { name: "bearer", run: resource::bearer },
    Target { name: "browser", run: browser::headers },
    Target { name: "configuration", run: configuration::file },
    Target { name: "form", run: forms::form },
    Target { name: "handle", run: model::handle },
    Target { name: "issuer", run: model::issuer },
    Target { name: "pkce", run: model::pkce },
    Target { name: "query", run: forms::query },
    Target { name: "record", run: records::record },
    Target { name: "redirect_uri", run: model::redirect_uri },
    Target { name: "registration", run: registration::registration },
    Target { name: "scope", run: model::scope },
    Target { name: "session", run: sessions::session },
    Target { name: "trace", run: traces::trace },
];

/// Runs the target of this name.
///
/// # Panics
///
/// When there is none, and when it found something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of this name").run)(data);
}
