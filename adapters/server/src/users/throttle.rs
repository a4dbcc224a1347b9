//! How often anybody may guess.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use grantor::engine::{Clock, RateLimit, RateLimited};
use grantor::protocol::rate_limit::Limit;
use grantor::storage::Storage;

/// A name that somebody tries, whether there is such an account or not.
pub(super) type AccountKey = [u8; 32];

/// Bounds the attempts to sign in, per account and per source address (RFC 6749 section 10.10), in all
/// processes together where they share the store.
///
/// A name that does not exist is counted like one that does, so that being throttled says nothing
/// about it.
#[derive(Debug)]
pub(super) struct Throttle {
    accounts: RateLimit,
    /// `None` where every request comes from the same proxy.
    sources: Option<RateLimit>,
}

/// Ten at once, then one in six seconds.
const PER_ACCOUNT: Limit = Limit { burst: 10, refill: Duration::from_secs(6) };
/// Sixty at once, then one a second: an office behind one address signs in at nine o'clock.
const PER_SOURCE: Limit = Limit { burst: 60, refill: Duration::from_secs(1) };

impl Throttle {
    pub(super) fn new(
        storage: &Arc<dyn Storage>,
        clock: &Arc<dyn Clock>,
        per_source: bool,
    ) -> Self {
        let limit = |purpose, limit| {
            RateLimit::new(purpose, limit, Arc::clone(storage)).clock(Arc::clone(clock))
        };
        Self {
            accounts: limit("grantor: sign in to an account", PER_ACCOUNT),
            sources: per_source.then(|| limit("grantor: sign in from a source", PER_SOURCE)),
        }
    }

    /// Counts an attempt. A source that is throttled takes nothing from the account that it guesses
    /// at.
    pub(super) async fn count(
        &self,
        account: &AccountKey,
        source: Option<IpAddr>,
    ) -> Result<(), RateLimited> {
        if let (Some(sources), Some(source)) = (&self.sources, source) {
            match network(source) {
                IpAddr::V4(address) => sources.take(&address.octets()).await?,
                IpAddr::V6(address) => sources.take(&address.octets()).await?,
            }
        }
        self.accounts.take(account).await
    }
}

/// What one subscriber holds: an IPv4 address, or the /64 in which an IPv6 host picks its own.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !0 << 64)),
    }
}
