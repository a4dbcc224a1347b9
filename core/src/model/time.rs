//! Instants and lifetimes.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// An instant of the server's wall clock, in whole milliseconds since the Unix epoch.
///
/// All arithmetic saturates, so that no configuration and no input can make it wrap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// The instant `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as `iat` and `exp` are written (RFC 7519 section 2).
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This instant and `lifetime` more.
    #[must_use]
    pub fn plus(self, lifetime: Duration) -> Self {
        let millis = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whether something that ends at this instant has ended at `now`.
    pub fn has_passed(self, now: Timestamp) -> bool {
        now >= self
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(instant: DateTime<Utc>) -> Self {
        Self(instant.timestamp_millis())
    }
}

impl From<Timestamp> for DateTime<Utc> {
    fn from(instant: Timestamp) -> Self {
        DateTime::from_timestamp_millis(instant.0).unwrap_or(if instant.0.is_negative() {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        })
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant: DateTime<Utc> = (*self).into();
        write!(f, "{}", instant.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        // ATTACKS J09: integer edges.
        let end = Timestamp::from_millis(i64::MAX).plus(Duration::from_secs(u64::MAX));
        assert_eq!(end, Timestamp::from_millis(i64::MAX));
        assert_eq!(Timestamp::from_millis(i64::MIN).since(end), Duration::ZERO);
        assert_eq!(DateTime::<Utc>::from(end), DateTime::<Utc>::MAX_UTC);
        let begin = Timestamp::from_millis(i64::MIN);
        assert_eq!(DateTime::<Utc>::from(begin), DateTime::<Utc>::MIN_UTC);
    }

    #[test]
    fn what_ends_now_has_ended() {
        let now = Timestamp::from_millis(10);
        assert!(now.has_passed(now));
        assert!(!Timestamp::from_millis(11).has_passed(now));
    }
}
