//! The reference backend keeps the contract.

use std::sync::Arc;

use grantor::storage::MemoryStorage;
use grantor_conformance::storage::Backend;

struct Memory(Arc<MemoryStorage>);

impl Backend for Memory {
    type Store = MemoryStorage;

    async fn create() -> Self {
        Self(Arc::new(MemoryStorage::new()))
    }

    fn store(&self) -> Arc<MemoryStorage> {
        Arc::clone(&self.0)
    }

    async fn reopen(self) -> Self {
        self
    }
}

grantor_conformance::storage_suite!(Memory);
