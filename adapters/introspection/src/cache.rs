//! What the server said a moment ago.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use grantor::engine::Clock;
use grantor::model::Timestamp;
use grantor::resource::{TokenError, ValidToken};
use quick_cache::sync::Cache as Entries;
use ring::digest::{SHA256, digest};

/// Answers that take more than this are not kept, in bytes.
const MAX_ENTRY_LEN: usize = 4 * 1024;

/// SHA-256 of a token: who reads the memory of this program finds no token in it.
type Key = [u8; 32];

/// Live tokens. `quick_cache` keeps the number of entries, forgets what is used least, and lets one of
/// several who miss the same entry ask.
pub(crate) struct Cache {
    entries: Entries<Key, Kept>,
    max_age: Duration,
}

#[derive(Clone)]
struct Kept {
    token: ValidToken,
    until: Timestamp,
}

impl Cache {
    pub(crate) fn new(max_age: Duration, entries: usize) -> Self {
        Self { entries: Entries::new(entries), max_age }
    }

    /// What is remembered of this token, or what `ask` finds.
    pub(crate) async fn get_or_ask(
        &self,
        token: &str,
        clock: &dyn Clock,
        ask: impl Future<Output = Result<Option<ValidToken>, TokenError>>,
    ) -> Result<Option<ValidToken>, TokenError> {
        let key = key_of(token);
        let asked_at = clock.now();
        if let Some(kept) = self.entries.get(&key) {
            // A clock that was set back must not make an entry last.
            let fresh =
                !kept.until.has_passed(asked_at) && kept.until.since(asked_at) <= self.max_age;
            if fresh {
                return Ok(Some(kept.token));
            }
            self.entries.remove_if(&key, |known| known.until == kept.until);
        }
        let mut place = pin!(self.entries.get_value_or_guard_async(&key));
        let at_once = poll_fn(|cx| Poll::Ready(place.as_mut().poll(cx))).await;
        let place = match at_once {
            // Somebody else has asked in the meantime.
            Poll::Ready(Ok(kept)) => return Ok(Some(kept.token)),
            Poll::Ready(Err(place)) => Some(place),
            Poll::Pending => match place.await {
                Ok(kept) => return Ok(Some(kept.token)),
                // Somebody else has asked, and there is nothing to remember. Whoever waits asks now, all at
                // once: one after the other they would wait for each other until their patience ends.
                Err(place) => {
                    drop(place);
                    None
                }
            },
        };
        let found = ask.await?;
        let short = found.as_ref().filter(|token| length(token) <= MAX_ENTRY_LEN);
        if let (Some(place), Some(token)) = (place, short) {
            let end = asked_at.plus(self.max_age);
            let until = token.expires_at.map_or(end, |expiry| expiry.min(end));
            // The place may be gone if there is no room at all; then nothing is remembered.
            let _ = place.insert(Kept { token: token.clone(), until });
        }
        Ok(found)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("max_age", &self.max_age)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

fn key_of(token: &str) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    key
}

/// About how much room a token takes, in bytes.
fn length(token: &ValidToken) -> usize {
    let subject = token.subject.as_ref().map_or(0, |subject| subject.as_str().len());
    let username = token.username.as_ref().map_or(0, String::len);
    let claims = serde_json::to_string(&token.claims).map_or(usize::MAX, |text| text.len());
    claims.saturating_add(subject + username + token.scope.to_string().len())
}
