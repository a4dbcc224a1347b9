//! The store keeps the contract.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use std::path::Path;
use std::sync::Arc;

use grantor_conformance::storage::Backend;
use grantor_sled::{SledConfig, SledStorage};
use tempfile::TempDir;

struct Sled {
    // Before the directory, so that it is closed before its files are removed.
    store: Arc<SledStorage>,
    directory: TempDir,
}

fn open(path: &Path) -> Arc<SledStorage> {
    // A cache far below the default, so that pages are also read from the disk.
    let config = SledConfig::new().cache_capacity(1024 * 1024);
    Arc::new(config.open(path).expect("the store opens"))
}

impl Backend for Sled {
    type Store = SledStorage;

    async fn create() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        Self { store: open(directory.path()), directory }
    }

    fn store(&self) -> Arc<SledStorage> {
        Arc::clone(&self.store)
    }

    async fn reopen(self) -> Self {
        let Self { store, directory } = self;
        Arc::into_inner(store).expect("the suite holds no reference to the store");
        Self { store: open(directory.path()), directory }
    }
}

grantor_conformance::storage_suite!(Sled);
