//! The bytes of records.
//!
//! Everything that is stored carries a checksum over its key as well as its content, so that a page
//! which sled mixed up is noticed, and a [`Stamp`], by which [`crate::ledger`] notices what is gone.

use grantor::model::Timestamp;
use grantor::storage::{CommitId, Stored};

use crate::names::NameId;

/// The first byte of everything that is stored.
const FORMAT: u8 = 2;

/// What stands before the names.
const HEAD: usize = 1 + 16 + 8 + Stamp::LEN + 1;
const SUM: usize = 4;

/// When a version of an item was written, and what it stands for in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The number of this write. Numbers only grow.
    pub(crate) seq: u64,
    /// What the item weighed at the last mark before this write: the weight of the version that
    /// this one replaced, zero if there was none.
    pub(crate) base: u64,
}

impl Stamp {
    const LEN: usize = 16;

    /// What an item of this number adds to the sum of the ledger (the finalizer of SplitMix64, so
    /// that no two small sets of numbers have the same sum by chance).
    pub(crate) fn weight(self) -> u64 {
        let mut z = self.seq.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// What the item weighed at the mark that was made at `mark`.
    pub(crate) fn weight_at(self, mark: u64) -> u64 {
        if self.seq <= mark { self.weight() } else { self.base }
    }

    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.base.to_be_bytes());
    }
}

/// Reads fixed-size fields from the front of a slice.
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

    pub(crate) fn timestamp(&mut self) -> Option<Timestamp> {
        self.array().map(|bytes| Timestamp::from_millis(i64::from_be_bytes(bytes)))
    }

    fn stamp(&mut self) -> Option<Stamp> {
        Some(Stamp { seq: self.u64()?, base: self.u64()? })
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
        let mut out = Vec::with_capacity(HEAD + names.len() + SUM + self.value.len());
        out.push(FORMAT);
        out.extend_from_slice(self.commit.as_bytes());
        out.extend_from_slice(&self.purge_at.as_millis().to_be_bytes());
        self.stamp.put(&mut out);
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
        let purge_at = reader.timestamp()?;
        let stamp = reader.stamp()?;
        let [count] = reader.array()?;
        let names = reader.bytes(usize::from(count) * size_of::<NameId>())?;
        let signed = bytes.get(..HEAD + names.len())?;
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
            names: &[[5; 16], [6; 16]],
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

    proptest! {
        /// A sum can be right by accident: whatever stands under one is read as it is written, or not at all.
        #[test]
        fn whatever_stands_under_a_right_sum_is_what_would_be_written(
            mut head: [u8; HEAD], names in 0..3_u8, rest: Vec<u8>, key: Vec<u8>, cut in 0..HEAD + SUM
        ) {
            head[0] = if head[0] < 250 { FORMAT } else { head[0] };
            head[HEAD - 1] = names;
            let (names, value) = rest.split_at(rest.len().min(usize::from(names) * 16));
            let sum = checksum(&[&key, &head, names, value]);
            let bytes = [&head[..], names, &sum, value].concat();
            let read = Record::decode(&key, &bytes);
            let complete = names.len() == usize::from(head[HEAD - 1]) * 16;
            prop_assert_eq!(read.is_some(), head[0] == FORMAT && complete);
            prop_assert!(read.is_none_or(|record| record.encode(&key) == bytes));
            prop_assert_eq!(Record::decode(&key, &bytes[..cut]), None);
        }
    }
}
