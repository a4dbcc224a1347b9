//! What may be used once: assertions and proofs with an identifier of their own (`jti`).
//!
//! RFC 7519 section 4.1.7, RFC 7523 section 3 point 7, RFC 9449 section 11.1. Grantor itself takes no
//! such assertion; this is for hosts that verify them in front of it.

use std::time::Duration;

use crate::model::Timestamp;

/// An assertion whose signature, audience and times have been verified.
#[derive(Clone, Copy, Debug)]
pub struct OneTime<'a> {
    /// What it is for, such as `"example: client assertion"` or `"example: DPoP proof"`. An identifier is
    /// used up for one purpose.
    pub purpose: &'a str,
    /// Who made it: `iss`, or the thumbprint of the key of a DPoP proof. 1 to 1024 bytes.
    pub issuer: &'a str,
    /// Its identifier: `jti`. 1 to 512 bytes.
    pub id: &'a str,
    /// When nobody accepts it any more: `exp`, or `iat` and the time for which a proof is accepted, and
    /// whatever leeway is given.
    pub expires_at: Timestamp,
}

impl OneTime<'_> {
    /// The longest issuer, in bytes.
    pub const MAX_ISSUER_LEN: usize = 1024;
    /// The longest identifier, in bytes.
    pub const MAX_ID_LEN: usize = 512;
    /// The longest time for which a use is remembered. An assertion is made for one request, so hosts
    /// should allow 60 to 300 seconds and no more: what is lost with a node of the store may be
    /// replayed for that long.
    pub const MAX_LIFETIME: Duration = Duration::from_secs(3600);
    /// How much the clocks of the processes and of the store may differ. A use is remembered for that
    /// much longer.
    pub const SKEW: Duration = Duration::from_secs(60);
}

/// Why an assertion is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// It was used before.
    #[error("the assertion was used before")]
    Replayed,
    /// It has expired: whether it was used is not remembered any more.
    #[error("the assertion has expired")]
    Expired,
    /// It is accepted for longer than [`OneTime::MAX_LIFETIME`].
    #[error("the assertion is accepted for more than an hour")]
    LivesTooLong,
    /// Its issuer or its identifier is empty, or longer than may be.
    #[error("the issuer or the identifier of the assertion is empty or too long")]
    Malformed,
}

/// Whether it may be used now. `used_until`: somebody used it, which is remembered until then.
///
/// `Ok`: remember this use until then.
pub fn accept(
    assertion: &OneTime<'_>,
    used_until: Option<Timestamp>,
    now: Timestamp,
) -> Result<Timestamp, NotAccepted> {
    let fits = |text: &str, max| (1..=max).contains(&text.len());
    if !fits(assertion.issuer, OneTime::MAX_ISSUER_LEN) || !fits(assertion.id, OneTime::MAX_ID_LEN)
    {
        return Err(NotAccepted::Malformed);
    }
    if assertion.expires_at.has_passed(now) {
        return Err(NotAccepted::Expired);
    }
    if assertion.expires_at.since(now) > OneTime::MAX_LIFETIME {
        return Err(NotAccepted::LivesTooLong);
    }
    if used_until.is_some_and(|until| !until.has_passed(now)) {
        return Err(NotAccepted::Replayed);
    }
    Ok(assertion.expires_at.plus(OneTime::SKEW))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn assertion<'a>(issuer: &'a str, id: &'a str, lifetime: Duration) -> OneTime<'a> {
        OneTime { purpose: "test", issuer, id, expires_at: NOW.plus(lifetime) }
    }

    #[test]
    fn it_is_used_once_while_anybody_might_accept_it() {
        let minute = Duration::from_secs(60);
        let once = assertion("client", "id", minute);
        let until = accept(&once, None, NOW).expect("the first use");
        assert_eq!(
            until,
            NOW.plus(2 * minute),
            "a process whose clock is behind accepts it longer"
        );
        assert_eq!(accept(&once, Some(until), NOW), Err(NotAccepted::Replayed));
        let last = NOW.plus(Duration::from_millis(59_999));
        assert_eq!(accept(&once, Some(until), last), Err(NotAccepted::Replayed));
        for used in [None, Some(until)] {
            assert_eq!(accept(&once, used, NOW.plus(minute)), Err(NotAccepted::Expired));
        }
        // The identifier may come back when the assertion that had it is long gone.
        let later = OneTime { expires_at: NOW.plus(3 * minute), ..once };
        let before = NOW.plus(Duration::from_millis(119_999));
        assert_eq!(accept(&later, Some(until), before), Err(NotAccepted::Replayed));
        assert_eq!(accept(&later, Some(until), until), Ok(NOW.plus(4 * minute)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        // ATTACKS J09.
        let check = |issuer: &str, id: &str, lifetime| {
            accept(&assertion(issuer, id, lifetime), None, NOW).err()
        };
        let minute = Duration::from_secs(60);
        let (issuer, id) = ("i".repeat(1024), "j".repeat(512));
        assert_eq!(check(&issuer, &id, OneTime::MAX_LIFETIME), None);
        let longer = OneTime::MAX_LIFETIME + Duration::from_millis(1);
        assert_eq!(check("i", "j", longer), Some(NotAccepted::LivesTooLong));
        assert_eq!(check("i", "j", Duration::MAX), Some(NotAccepted::LivesTooLong));
        for (issuer, id) in
            [("", "j"), ("i", ""), ("i", &*format!("{id}j")), (&*format!("{issuer}i"), "j")]
        {
            assert_eq!(check(issuer, id, minute), Some(NotAccepted::Malformed));
        }
        let ended =
            OneTime { expires_at: Timestamp::from_millis(i64::MIN), ..assertion("i", "j", minute) };
        assert_eq!(accept(&ended, None, NOW), Err(NotAccepted::Expired));
    }
}
