//! The bytes of records.
//!
//! Everything that is stored carries a checksum over its key as well as its content, so that a page
//! which sled mixed up is noticed, and a [`Stamp`], by which [`crate::ledger`] notices what is gone.

use grantor::model::Timestamp;
use grantor::storage::{CommitId, Stored};

use crate::names::NameId;

/// The first byte of everything that is stored.
const FORMAT: u8 = 2;

/// The most that stands before the names.
const MAX_HEAD: usize = 1 + 16 + 3 * 10 + 1;
const SUM: usize = 4;

/// When a version of a record was written, and what it stands for in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The number of this write. Numbers only grow, from one on.
    pub(crate) seq: u64,
    /// The number of the version that was current at the last mark before this write; zero if there was none.
    pub(crate) base: u64,
}

impl Stamp {
    /// What a record of this number adds to the sum of the ledger.
    pub(crate) fn weight(self) -> u64 {
        weight(self.seq)
    }

    /// Which version was current at the mark that was made at `mark`; zero if none.
    pub(crate) const fn at(self, mark: u64) -> u64 {
        if self.seq <= mark { self.seq } else { self.base }
    }

    /// What the record weighed at the mark that was made at `mark`.
    pub(crate) fn weight_at(self, mark: u64) -> u64 {
        weight(self.at(mark))
    }
}

/// The finalizer of SplitMix64, so that no two small sets of numbers have the same sum by chance. No version weighs
/// nothing.
fn weight(seq: u64) -> u64 {
    if seq == 0 {
        return 0;
    }
    let mut z = seq.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Seven bits in a byte, the lowest first; all but the last byte have the highest bit.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads fields from the front of a slice.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// What `put_number` wrote, and nothing else that would mean the same.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << shift;
            if shifted >> shift != bits || (byte == 0 && shift > 0) {
                return None;
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

fn checksum(parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().to_be_bytes()
}

/// A record as it is stored; the value is borrowed from the page cache.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) commit: CommitId,
    pub(crate) purge_at: Timestamp,
    pub(crate) stamp: Stamp,
    /// The indexes that list it, at most [`Record::MAX_NAMES`].
    pub(crate) names: &'a [NameId],
    pub(crate) value: &'a [u8],
}

impl<'a> Record<'a> {
    /// The most indexes that can list a record.
    pub(crate) const MAX_NAMES: usize = u8::MAX as usize;

    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let names = self.names.as_flattened();
        let mut out = Vec::with_capacity(MAX_HEAD + names.len() + SUM + self.value.len());
        out.push(FORMAT);
        out.extend_from_slice(self.commit.as_bytes());
        let purge_at = self.purge_at.as_millis();
        // The sign is the lowest bit, so that what is near the epoch on either side is short.
        put_number(&mut out, ((purge_at << 1) ^ (purge_at >> 63)) as u64);
        put_number(&mut out, self.stamp.seq);
        put_number(&mut out, self.stamp.seq.wrapping_sub(self.stamp.base));
        out.push(self.names.len() as u8);
        out.extend_from_slice(names);
        let sum = checksum(&[key, &out, self.value]);
        out.extend_from_slice(&sum);
        out.extend_from_slice(self.value);
        out
    }

    /// `None` if these are not the bytes that were stored under this key.
    pub(crate) fn decode(key: &[u8], bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let [FORMAT] = reader.array()? else {
            return None;
        };
        let commit = CommitId::from_bytes(reader.array()?);
        let purge_at = reader.number()?;
        let purge_at = Timestamp::from_millis((purge_at >> 1) as i64 ^ -((purge_at & 1) as i64));
        let seq = reader.number()?;
        let stamp = Stamp { seq, base: seq.wrapping_sub(reader.number()?) };
        let [count] = reader.array()?;
        let names = reader.bytes(usize::from(count) * size_of::<NameId>())?;
        let signed = bytes.get(..bytes.len() - reader.0.len())?;
        let (names, []) = names.as_chunks() else {
            return None;
        };
        let sum: [u8; SUM] = reader.array()?;
        let value = reader.0;
        (sum == checksum(&[key, signed, value])).then_some(Self {
            commit,
            purge_at,
            stamp,
            names,
            value,
        })
    }

    pub(crate) fn to_stored(&self) -> Stored {
        Stored { commit: self.commit, value: self.value.to_vec(), purge_at: self.purge_at }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: Stamp = Stamp { seq: 7, base: 9 };

    #[test]
    fn any_flipped_bit_of_a_record_is_noticed() {
        let record = Record {
            commit: CommitId::from_bytes([3; 16]),
            purge_at: Timestamp::from_millis(-5),
            stamp: STAMP,
            names: &[[5; 8], [6; 8]],
            value: b"value",
        };
        let bytes = record.encode(b"key");
        assert_eq!(Record::decode(b"key", &bytes), Some(record));
        assert_eq!(Record::decode(b"yek", &bytes), None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(b"key", &flipped), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Record::decode(b"key", &bytes[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn a_version_without_predecessor_weighs_nothing_before_it() {
        let [first, second] = [Stamp { seq: 5, base: 0 }, Stamp { seq: 9, base: 5 }];
        assert_eq!([4, 5, 8, 9].map(|mark| first.at(mark)), [0, 5, 5, 5]);
        assert_eq!([5, 8, 9].map(|mark| second.at(mark)), [5, 5, 9]);
        assert_eq!(first.weight_at(4), 0);
        assert_eq!(second.weight_at(8), first.weight());
        assert_ne!(first.weight(), second.weight());
    }

    proptest! {
        /// A sum can be right by accident: whatever stands under one is read as it is written, or not at all.
        #[test]
        fn whatever_stands_under_a_right_sum_is_what_would_be_written(
            commit: [u8; 16], numbers in proptest::collection::vec(0..=255_u8, 3..12), names in 0..3_u8, rest: Vec<u8>,
            key: Vec<u8>
        ) {
            let head = [&[FORMAT][..], &commit, &numbers, &[names]].concat();
            for end in head.len()..=head.len() + rest.len() {
                let (names, value) = rest.split_at(end - head.len());
                let sum = checksum(&[&key, &head, names, value]);
                let bytes = [&head[..], names, &sum, value].concat();
                let read = Record::decode(&key, &bytes);
                prop_assert!(read.is_none_or(|record| record.encode(&key) == bytes));
            }
        }

        #[test]
        fn what_is_written_is_read(
            commit: [u8; 16], purge_at: i64, seq: u64, base: u64, names: Vec<NameId>, value: Vec<u8>, key: Vec<u8>
        ) {
            let record = Record {
                commit: CommitId::from_bytes(commit),
                purge_at: Timestamp::from_millis(purge_at),
                stamp: Stamp { seq, base },
                names: &names,
                value: &value,
            };
            let bytes = record.encode(&key);
            prop_assert_eq!(Record::decode(&key, &bytes), Some(record));
            for len in 0..bytes.len() {
                prop_assert_eq!(Record::decode(&key, &bytes[..len]), None);
            }
        }
    }
}
