//! Grantor's records in one table of PostgreSQL: a worked example of a storage backend.
//!
//! It is complete: it passes the [storage suite] and the [protocol model] against a real PostgreSQL, and may
//! be copied. Read it beside [the chapter on storage](grantor::guide::storage) and
//! [the contract](grantor::storage), whose clauses are in italics below.
//!
//! * The whole of it rests on one `UPDATE ... WHERE key = .. AND version = ..`. Under `READ COMMITTED` that is
//!   a compare-and-set: PostgreSQL locks the row, and if somebody else has replaced it meanwhile, it evaluates
//!   the `WHERE` again on what is there now.
//! * Every call is one statement, and so a transaction of its own. There is none to be left open when a
//!   request is dropped, no lock that outlives a call, and nothing to retry in here.
//! * The client is `sqlx`, without macros (no database is needed to compile) and without TLS (which is one more
//!   feature of it): a pool with deadlines that survives futures being dropped, and which whoever keeps users in
//!   PostgreSQL is likely to have already.
//!
//! [storage suite]: https://docs.rs/grantor-conformance/latest/grantor_conformance/storage
//! [protocol model]: https://docs.rs/grantor-conformance/latest/grantor_conformance/protocol

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use grantor::model::Timestamp;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Cursor, Durability, Index, Key, Listing, Page, Promises,
    Storage, StorageError, Stored, Swept,
};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{Executor as _, Postgres, Row as _, query, query_scalar, raw_sql};

/// Several processes that open it for the first time at once would make the same table.
const SCHEMA: &str = concat!("SELECT pg_advisory_xact_lock(4711);", include_str!("schema.sql"));

/// *Visibility*: what is committed is in the snapshot of every statement that begins afterwards.
const LOAD: &str = "SELECT key, version, value, purge_at FROM grantor WHERE key = ANY($1)";

/// *Atomicity* for a record that is not to be there: the primary key has room for one. *Idempotence*: the
/// one that is there may be our own, which is then written once more as it is.
const CREATE: &str = "
    INSERT INTO grantor (key, version, value, purge_at, indexes) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (key) DO UPDATE SET version = $2 WHERE grantor.version = $2
    RETURNING true";

/// *Atomicity* for a record that is to be replaced. *Idempotence*: `$2` is our own version. *Index freshness*:
/// names are added and never taken away; where nothing is added, no index is written.
const REPLACE: &str = "
    UPDATE grantor SET version = $2, value = $3, purge_at = $4,
        indexes = CASE WHEN indexes @> $5 THEN indexes ELSE indexes || $5 END
    WHERE key = $1 AND version IN ($6, $2)
    RETURNING true";

/// *Listing*: in the order of the keys, from the last one on. So it loses nothing, whatever comes and goes.
const LIST_KIND: &str = "SELECT key FROM grantor WHERE key > $1 AND key < $3 ORDER BY key LIMIT $2";
const LIST_INDEX: &str =
    "SELECT key FROM grantor WHERE key > $1 AND indexes @> ARRAY[$3] ORDER BY key LIMIT $2";

/// *Sweep within its budget*: `examined` is what the budget buys. A row goes only with the version that was
/// examined. Rows are locked in the order of their keys, so two sweeps wait for each other at most.
const SWEEP: &str = "
    WITH examined AS MATERIALIZED (
        SELECT key, version, purge_at FROM grantor WHERE key > $1 ORDER BY key LIMIT $2
    ), due AS MATERIALIZED (
        SELECT key FROM grantor JOIN examined USING (key, version)
        WHERE examined.purge_at <= $3 ORDER BY key FOR UPDATE OF grantor
    ), removed AS (
        DELETE FROM grantor WHERE key IN (SELECT key FROM due) RETURNING key
    )
    SELECT (SELECT count(*) FROM examined), (SELECT count(*) FROM removed),
        (SELECT key FROM examined ORDER BY key DESC LIMIT 1)";

/// The store: a pool of connections to one primary server.
pub struct PostgresStorage {
    pool: PgPool,
    patience: Duration,
    durability: Durability,
}

impl PostgresStorage {
    /// Opens the store, and makes its table if that is not there. `patience` is how long a call waits for a
    /// connection, and then for its statement. Needs a Tokio runtime with time and I/O.
    pub async fn open(url: &str, patience: Duration) -> Result<Self, sqlx::Error> {
        let milliseconds = patience.as_millis().to_string();
        let options = url.parse::<PgConnectOptions>()?.options([
            // *Durability on return*, whatever the server does by default.
            ("synchronous_commit", "on"),
            // Under a stricter level the loser of a race is an error instead of a row that does not match.
            ("default_transaction_isolation", r"read\ committed"),
            // What we no longer wait for is no longer done.
            ("statement_timeout", &milliseconds),
            // The plan for one name of an index is not that for all of them.
            ("plan_cache_mode", "force_custom_plan"),
        ]);
        let pool = PgPoolOptions::new().acquire_timeout(patience).after_connect(|connection, _| {
            Box::pin(async move {
                // *Visibility*: what a standby shows may be old.
                let standby = connection.fetch_one("SELECT pg_is_in_recovery()").await?;
                match standby.try_get(0)? {
                    false => Ok(()),
                    true => Err(sqlx::Error::Configuration("this server is a standby".into())),
                }
            })
        });
        let pool = pool.connect_with(options).await?;
        raw_sql(SCHEMA).execute(&pool).await?;
        let synced =
            "SELECT current_setting('fsync')::bool AND current_setting('full_page_writes')::bool";
        let synced = query_scalar(synced).fetch_one(&pool).await?;
        let durability = if synced { Durability::Power } else { Durability::Process };
        Ok(Self { pool, patience, durability })
    }

    /// Executes one statement. All errors come by here, and all waiting is done here.
    async fn rows(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StorageError> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        match tokio::time::timeout(self.patience, connection.fetch_all(query)).await {
            Ok(answer) => answer.map_err(failed),
            Err(late) => {
                // It may hang for long, and nobody else is to wait for it.
                connection.close_on_drop();
                Err(StorageError::unavailable(late))
            }
        }
    }
}

/// *Secrecy*: what PostgreSQL says about an error may quote a value, its code does not. *Forbidden answers*:
/// whatever went wrong, a commit may have happened.
fn failed(error: sqlx::Error) -> StorageError {
    match error.as_database_error().map(|said| said.code().unwrap_or_default()) {
        Some(code) if code.starts_with("XX") => {
            StorageError::damaged(format_args!("PostgreSQL answered {code}"))
        }
        Some(code) => StorageError::unavailable(format_args!("PostgreSQL answered {code}")),
        None => StorageError::unavailable(error),
    }
}

/// What cannot be read as what we wrote.
fn damaged(error: impl fmt::Display) -> StorageError {
    StorageError::damaged(error)
}

fn key(row: &PgRow) -> Result<Key, StorageError> {
    Key::from_bytes(row.try_get(0).map_err(damaged)?).ok_or_else(|| damaged("not a key"))
}

fn stored(row: &PgRow) -> Result<Stored, StorageError> {
    let commit: &[u8] = row.try_get(1).map_err(damaged)?;
    let purge_at = row.try_get(3).map_err(damaged)?;
    Ok(Stored {
        commit: CommitId::from_bytes(commit.try_into().map_err(damaged)?),
        value: row.try_get(2).map_err(damaged)?,
        purge_at: Timestamp::from_millis(purge_at),
    })
}

/// A cursor is the last key that was seen; before the first there is nothing.
fn position(after: Option<&Cursor>) -> Vec<u8> {
    after.map(|cursor| cursor.0.clone()).unwrap_or_default()
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit.max(1)).unwrap_or(i64::MAX)
}

impl fmt::Debug for PostgresStorage {
    /// *Secrecy*: without the address, in which there is a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStorage").finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for PostgresStorage {
    /// *Several processes*: as many as there are, on one primary.
    fn promises(&self) -> Promises {
        Promises { durability: self.durability, linearizable: true, evicts: false, shared: true }
    }

    /// *Isolation*: once for each key that was asked for, in that order.
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        let names: Vec<_> = keys.iter().map(Key::to_bytes).collect();
        let rows = self.rows(query(LOAD).bind(names)).await?;
        let found = rows.iter().map(|row| Ok((key(row)?, stored(row)?)));
        let found = found.collect::<Result<HashMap<_, _>, StorageError>>()?;
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// *Conflict*: no row matched, and none was written.
    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        let Commit { key, expect, id, record } = commit;
        let indexes: Vec<_> = record.indexes.iter().map(Index::as_str).collect();
        let statement = query(if expect.is_some() { REPLACE } else { CREATE })
            .bind(key.to_bytes())
            .bind(id.as_bytes().as_slice())
            .bind(record.value)
            .bind(record.purge_at.as_millis())
            .bind(indexes);
        let statement = match &expect {
            Some(expect) => statement.bind(expect.as_bytes().as_slice()),
            None => statement,
        };
        match self.rows(statement).await?.len() {
            0 => Ok(CommitOutcome::Conflict),
            _ => Ok(CommitOutcome::Applied),
        }
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let (from, limit) = (position(after), bounded(limit));
        let query = match listing {
            Listing::Kind(kind) => {
                // All keys of a kind are between its number and the next one.
                let byte = kind.as_byte();
                query(LIST_KIND).bind(from.max(vec![byte])).bind(limit).bind(vec![byte + 1])
            }
            Listing::Index(index) => query(LIST_INDEX).bind(from).bind(limit).bind(index.as_str()),
        };
        let keys = self.rows(query).await?.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let full = i64::try_from(keys.len()).is_ok_and(|found| found == limit);
        let next = keys.last().filter(|_| full).map(|key| Cursor(key.to_bytes()));
        Ok(Page { keys, next })
    }

    /// *Expiry, and whose clock*: `now` is the caller's. PostgreSQL's own is never asked.
    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        let budget = bounded(budget);
        let statement = query(SWEEP).bind(position(after)).bind(budget).bind(now.as_millis());
        let rows = self.rows(statement).await?;
        let row = rows.first().ok_or_else(|| damaged("a sweep counts what it did"))?;
        let count = |column| row.try_get::<i64, usize>(column).map_err(damaged);
        let (examined, removed) = (count(0)?, count(1)?);
        let last: Option<Vec<u8>> = row.try_get(2).map_err(damaged)?;
        Ok(Swept {
            examined: usize::try_from(examined).map_err(damaged)?,
            removed: usize::try_from(removed).map_err(damaged)?,
            next: last.filter(|_| examined == budget).map(Cursor),
        })
    }

    async fn ready(&self) -> Result<(), StorageError> {
        self.rows(query("SELECT FROM grantor LIMIT 1")).await.map(drop)
    }
}
