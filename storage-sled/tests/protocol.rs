//! The protocol model over this store: crashes between any two calls, faults, several requests at once.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use std::error::Error;
use std::path::PathBuf;

use grantor_conformance::storage::{Backend, Processes};
use grantor_sled::{SledConfig, SledStorage};
use tempfile::TempDir;

struct Sled(TempDir);

impl Backend for Sled {
    type Store = SledStorage;
    const PROCESSES: Processes = Processes::Exclusive;

    async fn create() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    fn address(&self) -> String {
        self.0.path().display().to_string()
    }

    async fn open(address: &str) -> Result<SledStorage, Box<dyn Error + Send + Sync>> {
        Ok(SledConfig::new().cache_capacity(1024 * 1024).open(address)?)
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.path().to_owned()]
    }
}

grantor_conformance::protocol_suite!(Sled, walks = 40);
