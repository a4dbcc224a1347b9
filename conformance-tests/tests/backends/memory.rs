//! The reference: a store that lives and dies with its process.

use std::error::Error;
use std::path::PathBuf;

use grantor::storage::MemoryStorage;
use grantor_conformance::storage::{Backend, Processes};

#[derive(Debug)]
pub(crate) struct Memory;

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
