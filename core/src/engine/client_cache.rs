//! Records of clients that were loaded before.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::Timestamp;
use crate::storage::{Key, Loaded, Record, Stored};

/// What was loaded of clients: at most `lifetime` ago, to be decided on without asking the store; and
/// longer ago, to be read once for each commit and not once for each request.
///
/// Only clients that exist are kept: strangers cannot fill it, and a client that was registered just now
/// is known at once.
#[derive(Debug)]
pub(super) struct ClientCache {
    lifetime: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What was loaded, and when that began.
    clients: BTreeMap<Key, (Arc<Loaded>, Timestamp)>,
    /// The latest time that was seen.
    latest: Timestamp,
    /// How many changes this process has made, and how often its clock was set back. What a load finds
    /// that began before may be older than it seems.
    changes: u64,
}

/// A load that has begun: what it finds may be kept, unless this process changes a client meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    at: Timestamp,
    changes: u64,
}

/// Forgets a client when it is dropped, whatever became of the change and of the future that made it.
#[derive(Debug)]
pub(super) struct Changing<'a> {
    cache: &'a ClientCache,
    key: Key,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        state.clients.remove(&self.key);
        state.changes += 1;
    }
}

/// How many clients are kept. Of more, the half that was loaded earlier is forgotten, and every second one where
/// nobody asks how old they are.
const MAX_CLIENTS: usize = 10_000;

/// How far two readings of one clock may be in the wrong order because threads overtook each other. A
/// clock that goes back further was set back, and says nothing about the age of what was kept.
const OVERTAKEN: Duration = Duration::from_secs(1);

impl ClientCache {
    /// With zero, the store is asked for every request.
    pub(super) fn new(lifetime: Duration) -> Self {
        let state = State {
            clients: BTreeMap::new(),
            latest: Timestamp::from_millis(i64::MIN),
            changes: 0,
        };
        Self { lifetime, state: Mutex::new(state) }
    }

    pub(super) const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// What was loaded lately.
    pub(super) fn get(&self, key: &Key, now: impl FnOnce() -> Timestamp) -> Option<Arc<Loaded>> {
        if self.lifetime.is_zero() {
            return None;
        }
        let now = now();
        let mut state = self.lock();
        let now = state.at(now);
        let (loaded, at) = state.clients.get(key)?;
        (now.since(*at) < self.lifetime).then(|| Arc::clone(loaded))
    }

    /// What the store has just returned, if it was read before: what a commit wrote never changes.
    pub(super) fn read_before(&self, key: &Key, stored: &Stored) -> Option<Arc<Loaded>> {
        let state = self.lock();
        let (loaded, _) = state.clients.get(key)?;
        (loaded.commit == stored.commit).then(|| Arc::clone(loaded))
    }

    /// To be called before a load. `None`: how old what it finds will be is of no interest.
    pub(super) fn begin(&self, now: impl FnOnce() -> Timestamp) -> Option<Begun> {
        if self.lifetime.is_zero() {
            return None;
        }
        let now = now();
        let mut state = self.lock();
        Some(Begun { at: state.at(now), changes: state.changes })
    }

    /// Keeps what a load found, if it is a client that exists.
    pub(super) fn keep(&self, key: &Key, loaded: &Arc<Loaded>, begun: Option<Begun>) {
        let stands =
            matches!(&loaded.record, Record::Client(client) if client.removed_at.is_none());
        if !stands {
            return;
        }
        let mut state = self.lock();
        let overtaken = |begun: Begun| {
            let later = state.clients.get(key).is_some_and(|(_, at)| *at > begun.at);
            later || begun.changes != state.changes
        };
        if begun.is_some_and(overtaken) {
            return;
        }
        let at = begun.map_or(state.latest, |begun| begun.at);
        if state.clients.len() >= MAX_CLIENTS {
            state.forget_half();
        }
        state.clients.insert(key.clone(), (Arc::clone(loaded), at));
    }

    /// To be held while this process changes a client.
    pub(super) const fn change(&self, key: Key) -> Changing<'_> {
        Changing { cache: self, key }
    }

    /// Nobody panics while holding it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The time, never earlier than it was. A clock that was set back makes everything forgotten: it
    /// would prolong what was kept.
    fn at(&mut self, now: Timestamp) -> Timestamp {
        if self.latest.since(now) > OVERTAKEN {
            self.clients.clear();
            self.latest = now;
            self.changes += 1;
        }
        self.latest = self.latest.max(now);
        self.latest
    }

    /// Forgets what was loaded earlier; of what was loaded at the same time as the middle, every second.
    fn forget_half(&mut self) {
        let mut times: Vec<_> = self.clients.values().map(|(_, at)| *at).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        let mut stays = false;
        self.clients.retain(|_, (_, at)| match (*at).cmp(&median) {
            Ordering::Less => false,
            Ordering::Equal => {
                stays = !stays;
                stays
            }
            Ordering::Greater => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Client;
    use crate::storage::CommitId;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn client(id: &str, removed_at: Option<Timestamp>) -> (Key, Arc<Loaded>) {
        let json = serde_json::json!({
            "id": id, "client_type": "public", "grant_types": [], "scope": "read", "name": id,
            "epoch": 0, "created_at": 0, "removed_at": removed_at,
        });
        let client: Client = serde_json::from_value(json).expect("a client");
        let key = Key::client(&client.id);
        let commit = CommitId::from_bytes([1; 16]);
        (key, Arc::new(Loaded { commit, record: Record::Client(client) }))
    }

    fn begin(cache: &ClientCache, at: Timestamp) -> Begun {
        cache.begin(|| at).expect("its age matters")
    }

    fn kept(cache: &ClientCache, id: &str, at: Timestamp) -> Key {
        let (key, loaded) = client(id, None);
        cache.keep(&key, &loaded, Some(begin(cache, at)));
        key
    }

    #[test]
    fn it_is_kept_from_the_begin_of_its_load_until_its_lifetime_is_over() {
        let cache = ClientCache::new(10 * SECOND);
        let (key, loaded) = client("a", None);
        let begun = begin(&cache, NOW);
        assert!(cache.get(&key, || NOW.plus(4 * SECOND)).is_none());
        cache.keep(&key, &loaded, Some(begun));
        assert!(cache.get(&key, || NOW.plus(Duration::from_millis(9_999))).is_some());
        assert!(cache.get(&key, || NOW.plus(10 * SECOND)).is_none());
    }

    #[test]
    fn without_a_lifetime_it_only_spares_reading_the_same_bytes_again() {
        let cache = ClientCache::new(Duration::ZERO);
        let (key, loaded) = client("a", None);
        assert!(cache.begin(|| NOW).is_none());
        cache.keep(&key, &loaded, None);
        assert!(cache.get(&key, || NOW).is_none(), "the store is asked");
        let stored = |commit| {
            let commit = CommitId::from_bytes([commit; 16]);
            Stored { commit, value: vec![], purge_at: NOW }
        };
        assert!(cache.read_before(&key, &stored(1)).is_some());
        assert!(cache.read_before(&key, &stored(2)).is_none(), "it was written again");
        assert!(
            cache.read_before(&Key::client(&"b".parse().expect("an id")), &stored(1)).is_none()
        );
    }

    #[test]
    fn a_clock_that_is_set_back_prolongs_nothing() {
        let cache = ClientCache::new(10 * SECOND);
        let key = kept(&cache, "a", NOW);
        let late = NOW.plus(9 * SECOND);
        assert!(cache.get(&key, || late).is_some());
        // Threads that overtook each other.
        assert!(cache.get(&key, || NOW.plus(Duration::from_millis(8_500))).is_some());
        assert!(cache.get(&key, || NOW.plus(SECOND)).is_none(), "set back");
        assert!(cache.get(&key, || late).is_none(), "it is gone for good");

        // A load that began before the clock was set back: how old it is cannot be told.
        let (key, loaded) = client("b", None);
        let begun = begin(&cache, late);
        let _ = cache.begin(|| NOW);
        cache.keep(&key, &loaded, Some(begun));
        assert!(cache.get(&key, || NOW).is_none());
        let again = kept(&cache, "b", NOW);
        assert!(cache.get(&again, || NOW).is_some());
    }

    #[test]
    fn a_change_of_our_own_is_seen_at_once() {
        let cache = ClientCache::new(10 * SECOND);
        let key = kept(&cache, "a", NOW);
        drop(cache.change(key.clone()));
        assert!(cache.get(&key, || NOW).is_none());
        // A load that began before the change and ended after it.
        let (key, loaded) = client("a", None);
        let begun = begin(&cache, NOW);
        drop(cache.change(key.clone()));
        cache.keep(&key, &loaded, Some(begun));
        assert!(cache.get(&key, || NOW).is_none());
        // One that began while the change was under way.
        let change = cache.change(key.clone());
        cache.keep(&key, &loaded, Some(begin(&cache, NOW)));
        drop(change);
        assert!(cache.get(&key, || NOW).is_none());
        // What an earlier load finds does not replace what a later one found.
        let (earlier, later) = (begin(&cache, NOW), begin(&cache, NOW.plus(SECOND)));
        cache.keep(&key, &loaded, Some(later));
        cache.keep(&key, &loaded, Some(earlier));
        assert!(cache.get(&key, || NOW.plus(10 * SECOND)).is_some());
    }

    #[test]
    fn only_clients_that_stand_are_kept_and_not_too_many() {
        let cache = ClientCache::new(10 * SECOND);
        let (key, removed) = client("gone", Some(NOW));
        cache.keep(&key, &removed, Some(begin(&cache, NOW)));
        assert!(cache.get(&key, || NOW).is_none());
        let mut last = None;
        for n in 0..25_000_u64 {
            let at = NOW.plus(Duration::from_micros(n * 100));
            last = Some(kept(&cache, &format!("client-{n}"), at));
            assert!(n % 1_000 != 0 || cache.lock().clients.len() <= MAX_CLIENTS);
        }
        assert!(cache.lock().clients.len() >= MAX_CLIENTS / 4);
        let last = last.expect("many");
        assert!(cache.get(&last, || NOW.plus(3 * SECOND)).is_some(), "the newest stay");
    }

    #[test]
    fn without_a_lifetime_half_of_too_many_are_read_once_more_and_not_all() {
        let cache = ClientCache::new(Duration::ZERO);
        for n in 0..25_000 {
            let (key, loaded) = client(&format!("client-{n}"), None);
            cache.keep(&key, &loaded, None);
            let kept = cache.lock().clients.len();
            assert!(kept <= MAX_CLIENTS && kept >= MAX_CLIENTS.min(n) / 2, "{kept} of {n}");
        }
    }
}
