//! The bytes of records and index entries.
//!
//! Everything that is stored carries a checksum over its key as well as its content, so that a page
//! which sled mixed up is noticed, and a [`Stamp`], by which [`crate::ledger`] notices what is gone.

use grantor::model::Timestamp;
use grantor::storage::{CommitId, Stored};

/// The first byte of everything that is stored.
const FORMAT: u8 = 1;

const RECORD_HEADER: usize = 1 + 16 + 8 + Stamp::LEN + 4;
const ENTRY_LEN: usize = 1 + 8 + Stamp::LEN + 4;

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
    pub(crate) value: &'a [u8],
}

impl<'a> Record<'a> {
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(RECORD_HEADER + self.value.len());
        out.push(FORMAT);
        out.extend_from_slice(self.commit.as_bytes());
        out.extend_from_slice(&self.purge_at.as_millis().to_be_bytes());
        self.stamp.put(&mut out);
        let sum = checksum(&[key, &out, self.value]);
        out.extend_from_slice(&sum);
        out.extend_from_slice(self.value);
        out
    }

    /// `None` if these are not the bytes that were stored under this key.
    pub(crate) fn decode(key: &[u8], bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let signed = bytes.get(..RECORD_HEADER - 4)?;
        let [FORMAT] = reader.array()? else {
            return None;
        };
        let commit = CommitId::from_bytes(reader.array()?);
        let purge_at = reader.timestamp()?;
        let stamp = reader.stamp()?;
        let sum: [u8; 4] = reader.array()?;
        let value = reader.0;
        (sum == checksum(&[key, signed, value])).then_some(Self { commit, purge_at, stamp, value })
    }

    pub(crate) fn to_stored(&self) -> Stored {
        Stored { commit: self.commit, value: self.value.to_vec(), purge_at: self.purge_at }
    }
}

/// What an index entry holds beside its key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The latest `purge_at` of a record that was committed with this entry: before it, the record
    /// is there and a sweep need not look.
    pub(crate) purge_at: Timestamp,
    pub(crate) stamp: Stamp,
}

impl Entry {
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(ENTRY_LEN);
        out.push(FORMAT);
        out.extend_from_slice(&self.purge_at.as_millis().to_be_bytes());
        self.stamp.put(&mut out);
        let sum = checksum(&[key, &out]);
        out.extend_from_slice(&sum);
        out
    }

    /// `None` if these are not the bytes that were stored under this key.
    pub(crate) fn decode(key: &[u8], bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let signed = bytes.get(..ENTRY_LEN - 4)?;
        let [FORMAT] = reader.array()? else {
            return None;
        };
        let purge_at = reader.timestamp()?;
        let stamp = reader.stamp()?;
        let sum: [u8; 4] = reader.array()?;
        (reader.0.is_empty() && sum == checksum(&[key, signed])).then_some(Self { purge_at, stamp })
    }
}

/// The key of an index entry: the name of the index, a zero, the key of the record. A name holds no
/// zero, so the names need no length and one index is one range.
pub(crate) fn entry_key(index: &str, record: &[u8]) -> Vec<u8> {
    let mut key = entry_prefix(index);
    key.extend_from_slice(record);
    key
}

/// What the keys of all entries of an index begin with.
pub(crate) fn entry_prefix(index: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(index.len() + 1);
    key.extend_from_slice(index.as_bytes());
    key.push(0);
    key
}

/// The key of the record that an index entry names.
pub(crate) fn entry_target(entry: &[u8]) -> Option<&[u8]> {
    let zero = entry.iter().position(|byte| *byte == 0)?;
    entry.get(zero + 1..)
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
    fn any_flipped_bit_of_an_entry_is_noticed() {
        let entry = Entry { purge_at: Timestamp::from_millis(5), stamp: STAMP };
        let key = entry_key("user:1", b"\x02grant");
        assert_eq!(entry_target(&key), Some(&b"\x02grant"[..]));
        let bytes = entry.encode(&key);
        assert_eq!(Entry::decode(&key, &bytes), Some(entry));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Entry::decode(&key, &flipped), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Entry::decode(&key, &bytes[..len]), None, "{len} bytes");
        }
    }

    proptest! {
        /// A sum can be right by accident: whatever stands under one is read as it is written, or not at all.
        #[test]
        fn whatever_stands_under_a_right_sum_is_what_would_be_written(
            mut header: [u8; RECORD_HEADER - 4], value: Vec<u8>, key: Vec<u8>, cut in 0..RECORD_HEADER
        ) {
            header[0] = if header[0] < 250 { FORMAT } else { header[0] };
            let sum = checksum(&[&key, &header, &value]);
            let bytes = [&header[..], &sum, &value].concat();
            let read = Record::decode(&key, &bytes);
            prop_assert_eq!(read.is_some(), header[0] == FORMAT);
            prop_assert!(read.is_none_or(|record| record.encode(&key) == bytes));
            let mut entry = [FORMAT; ENTRY_LEN];
            entry[1..].copy_from_slice(&header[..ENTRY_LEN - 1]);
            let sum = checksum(&[&key, &entry[..ENTRY_LEN - 4]]);
            entry[ENTRY_LEN - 4..].copy_from_slice(&sum);
            prop_assert_eq!(Entry::decode(&key, &entry).map(|read| read.encode(&key)), Some(entry.to_vec()));
            prop_assert_eq!(Record::decode(&key, &bytes[..cut]), None);
            prop_assert_eq!(Entry::decode(&key, &value[..cut.min(value.len())]), None);
            let _ = entry_target(&value);
        }
    }
}
