//! Where the stores of the suites live: each in a schema of its own.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use grantor_conformance::postgres::{Schema, shared_server};
use grantor_conformance::storage::{Backend, Processes};
use grantor_example_postgres::PostgresStorage;

/// No call is given up only because this machine is busy.
const UNHURRIED: Duration = Duration::from_secs(30);

pub(crate) struct Place(Schema<'static>);

impl Backend for Place {
    type Store = PostgresStorage;
    const PROCESSES: Processes = Processes::Shared;

    async fn create() -> Self {
        Self(shared_server().schema())
    }

    fn address(&self) -> String {
        self.0.url()
    }

    async fn open(address: &str) -> Result<PostgresStorage, Box<dyn Error + Send + Sync>> {
        Ok(PostgresStorage::open(address, UNHURRIED).await?)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.0.files()
    }
}
