//! The store.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitOutcome, Cursor, Index, Key, Listing, Page, Promises, Storage, StorageError,
    Stored, Swept,
};
use redis::{Cmd, Value};
use tokio::time::Instant;

use crate::calls::{Redis, unexpected};
use crate::check::{self, Report, Watch};
use crate::config::RedisConfig;
use crate::error::OpenError;
use crate::layout::{Envelope, FORMAT, Head, Names, TOMBSTONE, expires_at, head, other};
use crate::router::{Fences, Router};
use crate::scripts::{ADD_ENTRY, APPLIED, COMMIT, CONFLICT, LATE, command};

/// Grantor's records in Redis, for as many processes as there are.
///
/// Dropping it ends its connections.
pub struct RedisStorage {
    pub(crate) redis: Arc<Redis>,
    pub(crate) report: Arc<RwLock<Arc<Report>>>,
    address: String,
    _watch: Watch,
}

/// How long after it was begun a commit is still executed, by the clock of the server. Longer than
/// anybody should wait; shorter than a tombstone stays.
const COMMIT_LIVES: Duration = Duration::from_secs(90);

/// What the arguments of a commit take besides the value: a head, and two moments in digits.
const COMMIT_ROOM: usize = 17 + 2 * 20;

impl RedisStorage {
    /// Opens the store at this address, with the defaults of [`RedisConfig`]; see
    /// [`Topology`](crate::Topology) for the forms. Needs a Tokio runtime.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        RedisConfig::new(url)?.open().await
    }

    pub(crate) async fn open_with(config: RedisConfig) -> Result<Self, OpenError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b":._-".contains(&b);
        if config.prefix.len() > 32 || !config.prefix.bytes().all(allowed) {
            return Err(OpenError::Prefix);
        }
        let redis = Arc::new(Redis {
            router: Router::start(&config)?,
            names: Names::new(&config.prefix),
            deadline: config.call_deadline(),
            fences: Fences::default(),
            max_waiting: config.max_waiting,
        });
        let report = Arc::new(check::first(&redis, &config).await?);
        for line in report.to_string().lines() {
            tracing::info!(address = %config.address, "{line}");
        }
        let report = Arc::new(RwLock::new(report));
        let watch = check::watch(Arc::clone(&redis), Arc::clone(&report));
        Ok(Self { redis, report, address: config.address.to_string(), _watch: watch })
    }

    /// What this Redis is, as it was last looked at, and what of the store it can lose.
    pub fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for RedisStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStorage").field("address", &self.address).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for RedisStorage {
    fn promises(&self) -> Promises {
        self.report().promises()
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        let redis = &self.redis;
        let deadline = redis.until();
        let replies = match keys {
            [] => return Ok(Vec::new()),
            [key] => {
                let name = redis.names.record(key);
                let reply = redis.call(&name, deadline, |_| get(&name)).await?;
                return Ok(vec![open(reply)?]);
            }
            _ => {
                let names: Vec<_> = keys.iter().map(|key| redis.names.record(key)).collect();
                match names.first() {
                    Some(first) if !redis.router.is_cluster() => {
                        let mget = |_| {
                            let mut cmd = command("MGET", names.iter().map(Vec::len).sum());
                            cmd.arg(&names);
                            cmd
                        };
                        match redis.call(first, deadline, mget).await? {
                            Value::Array(replies) => replies,
                            reply => return Err(unexpected(&reply)),
                        }
                    }
                    // Each on its node, at the same time.
                    _ => redis.each(&names, deadline, |_, name: &[u8]| get(name)).await?,
                }
            }
        };
        if replies.len() != keys.len() {
            return Err(StorageError::unavailable("Redis answered for another number of keys"));
        }
        replies.into_iter().map(open).collect()
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        let problem = self.report.read().unwrap_or_else(PoisonError::into_inner).forbids_commits();
        if let Some(problem) = problem {
            return Err(StorageError::unavailable(problem));
        }
        let name = self.redis.names.record(&commit.key);
        let began = Instant::now();
        let deadline = began + self.redis.deadline;
        // Confirmed before the record is written, wherever it stands: an entry may dangle, it is
        // never missing.
        self.add_entries(&commit, deadline).await?;
        let record = &commit.record;
        let value = Envelope::encode(commit.id, record.purge_at, &record.value);
        let expires = expires_at(record.purge_at);
        let mut expected = commit.expect.map(|id| head(FORMAT, id.as_bytes()));
        let unsure = AtomicBool::new(false);
        loop {
            let reply = self.redis.call(&name, deadline, |attempt| {
                unsure.fetch_or(attempt.unsure, Ordering::Relaxed);
                let left = COMMIT_LIVES.saturating_sub(attempt.now - began);
                let mut cmd = attempt.script(&COMMIT, &name, value.len() + COMMIT_ROOM);
                cmd.arg(expected.as_ref().map_or(&[][..], |head| head)).arg(&value);
                match expires {
                    Some(at) => cmd.arg(at),
                    None => cmd.arg(""),
                };
                cmd.arg(attempt.server_seconds_in(left));
                cmd
            });
            let reply = reply.await?;
            match &reply {
                Value::Int(APPLIED) => return Ok(CommitOutcome::Applied),
                // With somebody else's commit on top, an earlier try of this one cannot be told from none.
                Value::Int(CONFLICT) if unsure.load(Ordering::Relaxed) => {
                    return Err(StorageError::unavailable(
                        "a commit had no answer, and another one came before it was sent again",
                    ));
                }
                Value::Int(CONFLICT) => return Ok(CommitOutcome::Conflict),
                Value::Int(LATE) => {
                    return Err(StorageError::unavailable(
                        "Redis took the command when its time was over, or its clock jumped",
                    ));
                }
                Value::BulkString(in_the_way) => match Head::try_from(in_the_way.as_slice()) {
                    // A sweep is at this key. It may have taken an entry away that was there before the
                    // record; it cannot once it is added again.
                    Ok(found) if found[0] == TOMBSTONE && expected != Some(found) => {
                        expected = Some(found);
                        self.add_entries(&commit, deadline).await?;
                    }
                    _ => {
                        let format = in_the_way.first().filter(|format| **format != TOMBSTONE);
                        return Err(format.map_or_else(|| unexpected(&reply), |it| other(*it)));
                    }
                },
                _ => return Err(unexpected(&reply)),
            }
            if Instant::now() >= deadline {
                return Err(StorageError::unavailable("sweeps keep coming before the commit"));
            }
        }
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        match listing {
            Listing::Kind(kind) => self.walk(*kind, after, limit.max(1)).await,
            Listing::Index(index) => self.list_index(index, after, limit.max(1)).await,
        }
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        self.sweep_some(now, after, budget.max(1)).await
    }

    async fn ready(&self) -> Result<(), StorageError> {
        check::ready(&self.redis, &self.report).await
    }
}

/// What stands under the key of a record.
fn open(reply: Value) -> Result<Option<Stored>, StorageError> {
    match reply {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Envelope::open(bytes),
        reply => Err(unexpected(&reply)),
    }
}

fn get(name: &[u8]) -> Cmd {
    let mut cmd = command("GET", name.len());
    cmd.arg(name);
    cmd
}

impl RedisStorage {
    async fn add_entries(&self, commit: &Commit, deadline: Instant) -> Result<(), StorageError> {
        if commit.record.indexes.is_empty() {
            return Ok(());
        }
        let entry = &commit.key.to_bytes();
        let add = |index: &Index| {
            let name = self.redis.names.index(index);
            async move {
                self.redis
                    .call(&name, deadline, |attempt| {
                        let mut cmd = attempt.script(&ADD_ENTRY, &name, entry.len());
                        cmd.arg(entry);
                        cmd
                    })
                    .await
            }
        };
        try_join_all(commit.record.indexes.iter().map(add)).await?;
        Ok(())
    }

    async fn list_index(
        &self,
        index: &Index,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let name = self.redis.names.index(index);
        let after = after.map(|cursor| cursor.0.as_slice());
        let entries = self.redis.entries(&name, after, limit).await?;
        let full = entries.len() >= limit;
        // What this version has no kind for, a later one will list.
        let keys = entries.iter().filter_map(|entry| Key::from_bytes(entry)).collect();
        let last = entries.into_iter().last();
        Ok(Page { keys, next: last.filter(|_| full).map(Cursor) })
    }
}
