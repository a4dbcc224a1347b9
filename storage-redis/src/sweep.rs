//! Removing what is over.
//!
//! Redis removes most records by itself. What is left to do is what is due by the server's clock and
//! not yet by that of Redis, and the index entries of records that are gone.
//!
//! An entry must never be missing, and the record that it leads to may be about to be written at this
//! moment by somebody who has just seen to it that the entry is there. No script can look at both,
//! which may be on different nodes. So a sweep
//!
//! 1. **marks** the entry, with a second one that begins with a zero byte. Whoever adds the entry
//!    removes its marks;
//! 2. puts a **tombstone** where the record would be, if there is none. A commit that finds one adds
//!    its entries again before it may replace it;
//! 3. removes the entry **if its mark is still there**.
//!
//! Whoever added the entry before step 1 and writes the record before step 2 has a record, and the
//! sweep sees it. If after step 2, it finds the tombstone, and adds the entry again: before step 3,
//! and the mark is gone; or after it. A tombstone stays longer than any commit is executed after it
//! was begun.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::future::try_join_all;
use grantor::model::Timestamp;
use grantor::storage::{Cursor, Key, StorageError, Swept};
use redis::Value;

use crate::RedisStorage;
use crate::calls::unexpected;
use crate::layout::{Envelope, FORMAT, HEADER_LEN, Named, TOMBSTONE, head};
use crate::scripts::{BURY, REMOVE_ENTRY, REMOVE_RECORD, mark};

const TOMBSTONE_MILLIS: u64 = 600_000;

/// Sixteen bytes that nobody else has.
fn unique() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Keyed by the operating system, and again for every hasher.
    let part = || RandomState::new().hash_one(number).to_be_bytes();
    let mut bytes = [0; 16];
    for (byte, random) in bytes.iter_mut().zip(part().into_iter().chain(part())) {
        *byte = random;
    }
    bytes
}

impl RedisStorage {
    pub(crate) async fn sweep_some(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        // A key that comes or goes meanwhile, or moves to another node, is for the next sweep.
        let place = crate::walk::Place::read(after)?;
        let Some(mut place) = self.redis.look_on(place, None, budget, false).await? else {
            return Ok(Swept::default());
        };
        let mut swept = Swept::default();
        let mut records = Vec::new();
        while swept.examined < budget
            && let Some(name) = place.waiting.first().cloned()
        {
            match self.redis.names.parse(&name) {
                Named::Record(_) => {
                    swept.examined += 1;
                    records.push(name);
                }
                Named::Other => swept.examined += 1,
                Named::Index => {
                    let within = place.within.take();
                    let left = budget - swept.examined;
                    let (examined, removed, last) =
                        self.sweep_index(&name, within.as_deref(), left).await?;
                    swept.examined += examined;
                    swept.removed += removed;
                    if last.is_some() {
                        place.within = last;
                        break;
                    }
                }
            }
            place.waiting.remove(0);
        }
        swept.removed += self.sweep_records(now, &records).await?;
        swept.next = Some(place.to_cursor()?);
        Ok(swept)
    }

    async fn sweep_records(
        &self,
        now: Timestamp,
        names: &[Vec<u8>],
    ) -> Result<usize, StorageError> {
        let header = |_, key: &[u8]| {
            let mut cmd = redis::cmd("GETRANGE");
            cmd.arg(key).arg(0).arg(HEADER_LEN - 1);
            cmd
        };
        let headers = self.redis.each(names, self.redis.until(), header).await?;
        let mut removed = 0;
        for (name, header) in names.iter().zip(headers) {
            let Value::BulkString(header) = header else { return Err(unexpected(&header)) };
            if header.is_empty() {
                continue;
            }
            // What is damaged or of another format is not for a sweep to judge, nor may it be in its way.
            let Ok(Envelope::Record { commit, purge_at }) = Envelope::of(&header) else { continue };
            if !purge_at.has_passed(now) {
                continue;
            }
            let examined = head(FORMAT, commit.as_bytes());
            let reply = self.redis.call(name, self.redis.until(), |attempt| {
                let mut cmd = attempt.script(&REMOVE_RECORD, name, examined.len());
                cmd.arg(&examined);
                cmd
            });
            removed += usize::from(reply.await? == Value::Int(1));
        }
        Ok(removed)
    }

    /// Looks at `budget` entries of an index: how many there were, how many were removed, and the
    /// last one if there may be more.
    async fn sweep_index(
        &self,
        index: &[u8],
        after: Option<&[u8]>,
        budget: usize,
    ) -> Result<(usize, usize, Option<Vec<u8>>), StorageError> {
        let redis = &self.redis;
        let entries = redis.entries(index, after, budget).await?;
        let (examined, last) = (entries.len(), entries.last().cloned());
        // What this version has no kind for is not for it to judge.
        let known = entries.iter().filter_map(|entry| Key::from_bytes(entry).zip(Some(entry)));
        let found: Vec<_> = known.map(|(key, entry)| (redis.names.record(&key), entry)).collect();
        let names: Vec<_> = found.iter().map(|(name, _)| name).collect();
        let exist = redis.exist(&names).await?;
        let dangling = found.iter().zip(exist).filter(|(_, exists)| !exists);
        let dangling: Vec<_> = dangling.map(|(found, _)| found).collect();
        let mut removed = 0;
        for dangling in dangling.chunks(redis.at_once()) {
            let removals =
                dangling.iter().map(|(name, entry)| self.remove_entry(index, entry, name));
            let done = try_join_all(removals).await?;
            removed += done.into_iter().filter(|removed| *removed).count();
        }
        if examined == 0 && after.is_none() {
            // Marks of sweeps that did not get to their end are all that keeps this index. Without
            // its mark an entry is not removed, which is always safe.
            let reply = redis.call(index, redis.until(), |_| {
                let mut cmd = redis::cmd("ZREMRANGEBYLEX");
                cmd.arg(index).arg("-").arg(b"(\x01");
                cmd
            });
            reply.await?;
        }
        Ok((examined, removed, last.filter(|_| examined >= budget)))
    }

    /// The three steps; see the module.
    async fn remove_entry(
        &self,
        index: &[u8],
        entry: &[u8],
        record: &[u8],
    ) -> Result<bool, StorageError> {
        let redis = &self.redis;
        // Another one for every try: only that counts which was answered. One of which nobody knows may
        // arrive late, when somebody has added the entry and taken all marks away.
        let tried = Mutex::default();
        let marked = redis.call(index, redis.until(), |_| {
            let mark = mark(entry, &unique());
            let mut cmd = redis::cmd("ZADD");
            cmd.arg(index).arg(0).arg(&mark);
            *tried.lock().unwrap_or_else(PoisonError::into_inner) = mark;
            cmd
        });
        marked.await?;
        let mark: Vec<u8> = tried.into_inner().unwrap_or_else(PoisonError::into_inner);
        let tombstone = head(TOMBSTONE, &unique());
        let buried = redis.call(record, redis.until(), |attempt| {
            let mut cmd = attempt.script(&BURY, record, 2 * tombstone.len());
            cmd.arg(&tombstone).arg(TOMBSTONE_MILLIS);
            cmd
        });
        let is_gone = buried.await? == Value::Int(1);
        let reply = redis.call(index, redis.until(), |attempt| match is_gone {
            true => {
                let mut cmd = attempt.script(&REMOVE_ENTRY, index, entry.len() + mark.len());
                cmd.arg(entry).arg(&mark);
                cmd
            }
            false => {
                let mut cmd = redis::cmd("ZREM");
                cmd.arg(index).arg(&mark);
                cmd
            }
        });
        Ok(reply.await? == Value::Int(1) && is_gone)
    }
}
