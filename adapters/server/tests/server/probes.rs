//! The probes of whoever runs the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use grantor::AuthorizationServer;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitOutcome, Cursor, Key, Listing, MemoryStorage, Page, Promises, Storage,
    StorageError, Stored, Swept,
};
use grantor_server::app::App;
use grantor_server::http::{Limits, serve};
use grantor_server::shutdown;
use grantor_server::users::{Directory, Sources};
use tokio::net::TcpListener;

use crate::world::Browser;

/// A store that can be away.
#[derive(Debug)]
struct Flaky {
    memory: MemoryStorage,
    away: AtomicBool,
}

#[async_trait]
impl Storage for Flaky {
    fn promises(&self) -> Promises {
        self.memory.promises()
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.ready().await?;
        self.memory.load(keys).await
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        self.ready().await?;
        self.memory.commit(commit).await
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        self.ready().await?;
        self.memory.list(listing, after, limit).await
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        self.ready().await?;
        self.memory.sweep(now, after, budget).await
    }

    async fn ready(&self) -> Result<(), StorageError> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(StorageError::unavailable("it is being moved")),
            false => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_store_is_away_is_healthy_and_not_ready() {
    let storage = Arc::new(Flaky { memory: MemoryStorage::new(), away: AtomicBool::new(false) });
    let users = Directory::new(storage.clone(), Sources::Direct).expect("assembled");
    let server = AuthorizationServer::builder("http://127.0.0.1:8400".parse().expect("loopback"))
        .shared_storage(storage.clone())
        .authenticator(users)
        .build()
        .expect("complete");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (_trigger, shutdown) = shutdown::channel();
    tokio::spawn(serve(listener, App::new(server), Limits::default(), shutdown));

    let probed = tokio::task::spawn_blocking(move || {
        let mut browser = Browser::of(address);
        let mut probe = |path: &str| browser.get(path).status;
        let there = [probe("/healthz"), probe("/readyz")];
        storage.away.store(true, Ordering::SeqCst);
        let away = [probe("/healthz"), probe("/readyz")];
        storage.away.store(false, Ordering::SeqCst);
        (there, away, probe("/readyz"))
    });
    let (there, away, back) = probed.await.expect("probed");
    assert_eq!(there, [200, 200]);
    assert_eq!(away, [200, 503]);
    assert_eq!(back, 200);
}
