//! The directory of a store is its owner's and of one store at a time.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use std::fs::{Permissions, metadata, read_dir, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use grantor_sled::{OpenError, SledStorage};
use tempfile::TempDir;

fn mode(path: &Path) -> u32 {
    metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// ATTACKS K03; and a mode that somebody loosened is tightened again.
#[test]
fn directory_and_files_are_their_owners() {
    let parent = TempDir::new().expect("a temporary directory");
    let directory = parent.path().join("a/b/data");
    let store = SledStorage::open(&directory).expect("opens");
    assert_eq!(mode(&directory), 0o700, "a fresh directory is its owner's");
    for item in read_dir(&directory).expect("it is there") {
        let path = item.expect("it is there").path();
        assert!(!path.is_file() || mode(&path) & 0o077 == 0, "{path:?} is its owner's");
    }
    drop(store);
    set_permissions(&directory, Permissions::from_mode(0o755)).expect("it is ours");
    SledStorage::open(&directory).expect("opens again");
    assert_eq!(mode(&directory), 0o700, "an opening tightens the mode");
}

/// That another process is refused, the suite shows; here is what the operator is told.
#[test]
fn a_directory_in_use_says_what_to_do() {
    let directory = TempDir::new().expect("a temporary directory");
    let _store = SledStorage::open(directory.path()).expect("opens");
    let refused = SledStorage::open(directory.path()).expect_err("it is in use");
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("in use by another process") && said.contains("of its own"), "{said}");
}
