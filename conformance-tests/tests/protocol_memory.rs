//! The protocol model on the reference backend, and the proof that each of its invariants can fail.

use std::error::Error;
use std::path::PathBuf;

use grantor::storage::MemoryStorage;
use grantor_conformance::protocol::bug::{BUGS, Bug};
use grantor_conformance::protocol::invariant::Invariant;
use grantor_conformance::protocol::{Campaign, find, shortest};
use grantor_conformance::storage::{Backend, Processes};

struct Memory;

impl Backend for Memory {
    type Store = MemoryStorage;
    const PROCESSES: Processes = Processes::Private;

    async fn create() -> Self {
        Self
    }

    fn address(&self) -> String {
        "memory".into()
    }

    async fn open(_: &str) -> Result<MemoryStorage, Box<dyn Error + Send + Sync>> {
        Ok(MemoryStorage::new())
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![]
    }
}

grantor_conformance::protocol_suite!(Memory, walks = 400);

/// As many walks as CI takes, and no more.
const CI: Campaign = Campaign { walks: 400, turns: 30, seed: 0 };

#[test]
fn every_seeded_bug_is_found_by_its_invariant() {
    // Requirements 6749-029, 6749-042, 6749-043, 6749-044, 7009-006, 7009-007, 7662-005, 7662-008, 9700-036,
    // 9700-038, OA21-013, OA21-017: a server that did not keep them would not get through CI.
    let mut missed = Vec::new();
    for (bug, invariant) in BUGS {
        match find::<Memory>(*bug, *invariant, CI) {
            Some((walks, ..)) => println!("{bug:?} breaks {} in walk {walks}", invariant.name()),
            None => missed.push((bug, invariant)),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn what_is_found_is_told_in_a_few_sentences() {
    let (_, failure) = shortest::<Memory>(Bug::IgnoresVerifier, CI).expect_err("found");
    assert_eq!(failure.invariant, Invariant::CodeBoundToVerifier);
    assert!(failure.story.lines().count() <= 7, "{failure}");
    assert!(failure.story.contains("with a wrong verifier: gets access token"), "{failure}");
}

#[test]
fn every_invariant_can_fail() {
    for invariant in Invariant::ALL {
        assert!(BUGS.iter().any(|(_, found)| found == invariant), "{invariant}");
    }
}
