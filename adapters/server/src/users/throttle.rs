//! How often anybody may guess.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// A name that somebody tries, whether there is such an account or not.
pub(super) type AccountKey = [u8; 32];

type Limiter<K, C> = RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Bounds the attempts to sign in, per account and per source address (RFC 6749 section 10.10).
///
/// A name that does not exist is counted like one that does, so that being throttled says nothing
/// about it.
pub(super) struct Throttle<C: Clock = DefaultClock> {
    clock: C,
    accounts: Limiter<AccountKey, C>,
    /// `None` where every request comes from the same proxy.
    sources: Option<Limiter<IpAddr, C>>,
    checks: AtomicU32,
}

const fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(n.saturating_sub(1))
}

/// Ten at once, then one in six seconds.
const PER_ACCOUNT: Quota = Quota::per_minute(count(10));
/// Sixty at once, then one a second: an office behind one address signs in at nine o'clock.
const PER_SOURCE: Quota = Quota::per_minute(count(60));
/// How many checks are made between two rounds of forgetting who has calmed down. What is
/// remembered is thereby bounded by this and by the attempts of the last minute.
const FORGET_EVERY: u32 = 1024;

impl<C: Clock + Clone> Throttle<C> {
    pub(super) fn new(clock: C, per_source: bool) -> Self {
        Self {
            accounts: RateLimiter::hashmap_with_clock(PER_ACCOUNT, clock.clone()),
            sources: per_source.then(|| RateLimiter::hashmap_with_clock(PER_SOURCE, clock.clone())),
            clock,
            checks: AtomicU32::new(0),
        }
    }

    /// Counts an attempt; `Err`: too many, with the time to wait. A source that is throttled takes
    /// nothing from the account that it guesses at.
    pub(super) fn count(
        &self,
        account: &AccountKey,
        source: Option<IpAddr>,
    ) -> Result<(), Duration> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.forget();
        }
        let wait = |until: governor::NotUntil<C::Instant>| until.wait_time_from(self.clock.now());
        if let (Some(sources), Some(source)) = (&self.sources, source) {
            sources.check_key(&network(source)).map_err(wait)?;
        }
        self.accounts.check_key(account).map_err(wait)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.accounts.len() + self.sources.as_ref().map_or(0, |sources| sources.len())
    }

    fn forget(&self) {
        self.accounts.retain_recent();
        self.accounts.shrink_to_fit();
        if let Some(sources) = &self.sources {
            sources.retain_recent();
            sources.shrink_to_fit();
        }
    }
}

/// What one subscriber holds: an IPv4 address, or the /64 in which an IPv6 host picks its own.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !0 << 64)),
    }
}
