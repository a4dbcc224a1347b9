//! How often something may be tried (RFC 6749 sections 2.3.1 and 10.10).

use std::time::Duration;

use crate::model::Timestamp;

/// A leaky bucket: `burst` at once, then one per `refill`.
///
/// All that there is to remember of a bucket is the moment until which it is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many at once.
    pub burst: u32,
    /// The time in which one more becomes possible.
    pub refill: Duration,
}

impl Limit {
    /// Takes one out of a bucket that is filled until then; `None`: nobody took from it before.
    ///
    /// `Ok`: until when it is filled now. `Err`: there was nothing to take, and how long to wait.
    pub fn take(
        self,
        filled_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Timestamp, Duration> {
        let holds = self.refill.saturating_mul(self.burst);
        let until = match filled_until {
            // Nobody fills a bucket that far. It was written by a clock that was wrong, or that has
            // been set back since, and must not lock anybody out until that comes round again.
            Some(until) if until.since(now) > holds.saturating_mul(2) => now,
            Some(until) => until.max(now),
            None => now,
        };
        let next = until.plus(self.refill);
        match next.since(now).checked_sub(holds) {
            Some(over) if !over.is_zero() => Err(over),
            _ => Ok(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Limit = Limit { burst: 10, refill: Duration::from_secs(6) };
    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn a_burst_then_a_trickle() {
        let mut filled = None;
        for _ in 0..10 {
            filled = Some(LIMIT.take(filled, NOW).expect("a burst"));
        }
        assert_eq!(LIMIT.take(filled, NOW), Err(Duration::from_secs(6)));
        let soon = NOW.plus(Duration::from_millis(5_999));
        assert_eq!(LIMIT.take(filled, soon), Err(Duration::from_millis(1)));
        let later = NOW.plus(Duration::from_secs(6));
        filled = Some(LIMIT.take(filled, later).expect("one more"));
        assert_eq!(LIMIT.take(filled, later), Err(Duration::from_secs(6)));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        // ATTACKS G12, J09.
        let full = NOW.plus(Duration::from_secs(60));
        assert!(LIMIT.take(Some(full), NOW).is_err());
        // A process whose clock is behind a little: what others counted counts.
        let behind = Timestamp::from_millis(NOW.as_millis() - 2_000);
        assert_eq!(LIMIT.take(Some(full), behind), Err(Duration::from_secs(8)));
        let set_back = Timestamp::from_millis(NOW.as_millis() - 3_600_000);
        assert!(LIMIT.take(Some(full), set_back).is_ok());
        for at in [i64::MIN, -1, 0, i64::MAX] {
            let wild = Timestamp::from_millis(at);
            let _ = (LIMIT.take(Some(wild), NOW), LIMIT.take(Some(full), wild));
            assert!(LIMIT.take(None, wild).is_ok());
        }
    }

    proptest! {
        /// However the attempts come, in no span of time are there more than the burst and what the
        /// span refills.
        #[test]
        fn never_more_than_the_burst_and_the_trickle(
            pauses in prop::collection::vec(0_u64..20_000, 1..80),
        ) {
            let (mut filled, mut now, mut taken) = (None, NOW, Vec::new());
            for pause in pauses {
                now = now.plus(Duration::from_millis(pause));
                if let Ok(next) = LIMIT.take(filled, now) {
                    filled = Some(next);
                    taken.push(now);
                }
            }
            for (n, from) in taken.iter().enumerate() {
                for (count, until) in (1_u128..).zip(&taken[n..]) {
                    let refilled = until.since(*from).as_millis() / LIMIT.refill.as_millis();
                    prop_assert!(count <= u128::from(LIMIT.burst) + refilled);
                }
            }
        }
    }
}
