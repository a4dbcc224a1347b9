//! How often a client may be tried with a wrong secret (RFC 6749 section 2.3.1).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::{ClientId, Timestamp};

/// Counts wrong secrets per client, as a leaky bucket: `BURST` at once, then one per `REFILL`.
///
/// Only wrong secrets count, and a right one is always let through: a stranger who guesses must not
/// be able to lock the honest client out. That is safe because secrets are made here, with 256
/// bits: what is bounded is the load and the noise, not the chance to guess.
#[derive(Debug, Default)]
pub(super) struct WrongSecrets {
    /// The time until which each bucket is filled.
    filled_until: Mutex<BTreeMap<ClientId, Timestamp>>,
}

const BURST: u32 = 50;
const REFILL: Duration = Duration::from_secs(1);
/// Names that are not registered are counted too, or the difference would tell. Beyond this many at
/// once all is forgotten: what is lost is patience with noise, never a secret.
const MAX_CLIENTS: usize = 10_000;

impl WrongSecrets {
    /// Counts a wrong secret; `Err`: too many, with the seconds to wait.
    pub(super) fn count(&self, client_id: &ClientId, now: Timestamp) -> Result<(), u32> {
        let mut filled_until = self.filled_until.lock().unwrap_or_else(PoisonError::into_inner);
        if filled_until.len() >= MAX_CLIENTS {
            filled_until.retain(|_, until| !until.has_passed(now));
            if filled_until.len() >= MAX_CLIENTS {
                filled_until.clear();
            }
        }
        let until = filled_until.get(client_id).map_or(now, |until| (*until).max(now));
        let next = until.plus(REFILL);
        let over = next.since(now).saturating_sub(REFILL * BURST);
        if !over.is_zero() {
            return Err(u32::try_from(over.as_secs()).unwrap_or(u32::MAX).max(1));
        }
        filled_until.insert(client_id.clone(), next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_trickle_and_each_client_for_itself() {
        // Requirements 6749-008, 7009-012.
        let wrong = WrongSecrets::default();
        let client = ClientId::parse("a").expect("valid");
        let now = Timestamp::from_millis(1_000_000);
        for _ in 0..BURST {
            assert_eq!(wrong.count(&client, now), Ok(()));
        }
        assert_eq!(wrong.count(&client, now), Err(1));
        assert_eq!(wrong.count(&ClientId::parse("b").expect("valid"), now), Ok(()));
        assert_eq!(wrong.count(&client, now.plus(REFILL)), Ok(()));
        assert_eq!(wrong.count(&client, now.plus(REFILL)), Err(1));
    }
}
