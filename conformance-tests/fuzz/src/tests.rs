//! The targets without the fuzzer: the corpus, each of its files mutated, and random bytes.
//!
//! `GRANTOR_FULL=1` runs a hundred times as many; the fuzzer finds more in the same time, and needs a compiler that
//! can instrument.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestError, TestRunner};

use crate::{TARGETS, Target};

/// The folder of the fuzzer; this is a test of the package above it.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files of the corpus of a target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = folder().join("corpus").join(target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths: std::collections::BTreeSet<_> =
        files.map(|file| file.expect("a file").path()).collect();
    paths.iter().map(|path| fs::read(path).expect("a file")).collect()
}

fn cases() -> u32 {
    if std::env::var_os("GRANTOR_FULL").is_some() { 20_000 } else { 200 }
}

/// A change of some bytes: replaced, removed or put in, by random ones or by those of another file.
fn change() -> impl Strategy<Value = (Index, usize, Vec<u8>)> {
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..8),
        "[ -~]{0,8}".prop_map(String::into_bytes),
        proptest::sample::select(vec![
            "%00",
            "&",
            "=",
            "\n",
            "\u{e9}",
            "//",
            "http://127.0.0.1:1/"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (any::<Index>(), 0_usize..8, bytes)
}

#[test]
fn every_target_has_a_small_corpus() {
    for target in TARGETS {
        let files = corpus(target.name);
        assert!(files.len() >= 2, "{}", target.name);
        let size: usize = files.iter().map(Vec::len).sum();
        assert!(size < 64 * 1024, "{}: {size} bytes", target.name);
    }
}

#[test]
fn the_fuzzer_knows_every_target() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("the manifest");
    for Target { name, .. } in TARGETS {
        let path = format!("fuzz_targets/{name}.rs");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"{path}\"")), "{name}");
        let source = fs::read_to_string(folder().join(&path)).expect("the binary");
        assert!(source.contains(&format!("run(\"{name}\", data)")), "{source}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}

#[test]
fn the_corpus_breaks_nothing() {
    for target in TARGETS {
        for file in corpus(target.name) {
            (target.run)(&file);
        }
    }
}

#[test]
fn neither_changed_files_nor_random_bytes_break_anything() {
    for target in TARGETS {
        let files = corpus(target.name);
        let changed = (any::<Index>(), proptest::collection::vec(change(), 1..6));
        let changed = changed.prop_map(move |(file, changes)| {
            let mut bytes = file.get(&files).clone();
            for (at, removed, put) in changes {
                let at = at.index(bytes.len() + 1);
                let end = bytes.len().min(at + removed);
                bytes.splice(at..end, put);
            }
            bytes
        });
        let input = prop_oneof![4 => changed, 1 => proptest::collection::vec(any::<u8>(), 0..512)];
        let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(&input, |bytes| {
            (target.run)(&bytes);
            Ok(())
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(reason, bytes)) => {
                panic!("target {}: {reason}\ninput: {}", target.name, bytes.escape_ascii())
            }
            Err(TestError::Abort(reason)) => panic!("target {}: {reason}", target.name),
        }
    }
}
