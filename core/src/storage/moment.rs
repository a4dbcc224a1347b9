//! Records of which all there is to remember is a moment: until when a bucket is filled, until when a
//! use is not to be repeated. What they are about is a digest in their key.

use serde::{Deserialize, Serialize};

use super::{Key, Kind, StorageError};
use crate::model::{Timestamp, digest};

/// The first byte of every value. A reader refuses what is newer than itself.
const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Moment {
    until: Timestamp,
}

pub(crate) fn encode(until: Timestamp) -> Result<Vec<u8>, StorageError> {
    let mut value = vec![FORMAT];
    rmp_serde::encode::write_named(&mut value, &Moment { until }).map_err(StorageError::damaged)?;
    Ok(value)
}

pub(crate) fn decode(value: &[u8]) -> Result<Timestamp, StorageError> {
    match value.split_first() {
        Some((&FORMAT, body)) => rmp_serde::from_slice(body)
            .map(|Moment { until }| until)
            .map_err(|error| StorageError::damaged(format_args!("a moment: {error}"))),
        Some((format, _)) => Err(StorageError::damaged(format_args!(
            "a moment has format {format}; this version reads {FORMAT}"
        ))),
        None => Err(StorageError::damaged("an empty moment")),
    }
}

impl Key {
    /// The key of a bucket: a digest, since what is counted is text that strangers choose.
    pub(crate) fn throttle(purpose: &str, what: &[u8]) -> Self {
        Self::of(Kind::Throttle, &digest(&[b"throttle", purpose.as_bytes(), what]))
    }

    /// The key of the memory that an assertion was used. Where one text ends is part of the digest.
    pub(crate) fn replay(purpose: &str, issuer: &str, id: &str) -> Self {
        let parts = [b"replay".as_slice(), purpose.as_bytes(), issuer.as_bytes(), id.as_bytes()];
        Self::of(Kind::Replay, &digest(&parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_newer_is_left_alone() {
        for millis in [i64::MIN, 0, 1_800_000_000_000, i64::MAX] {
            let until = Timestamp::from_millis(millis);
            let mut value = encode(until).expect("encoded");
            assert_eq!(decode(&value).expect("decoded"), until);
            value[0] += 1;
            assert!(decode(&value).is_err());
        }
        assert!(decode(&[]).is_err() && decode(&[FORMAT, 0xc1]).is_err());
    }
}
