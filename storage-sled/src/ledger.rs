//! How a loss is noticed that sled does not notice.
//!
//! sled 0.34 recovers by reading its log. Where a message fails its checksum it takes the place for
//! the end of what was written, or of that segment, and goes on without the rest: a flipped bit in a
//! stopped server's files may silently bring back an older version of a record, which is a used code
//! that works again. So the store keeps books:
//!
//! * every version of a record has a **number**, and weighs a hash of it; the ledger
//!   is the sum of the weights of all current versions, kept in memory by adding and subtracting;
//! * before each flush a [`Mark`] is written: its own number, the highest number of a version, and
//!   the sum. No write is under way at that moment, so the mark cuts the log in two;
//! * after each flush the number of the mark is noted in the [`crate::state_file`], beside sled.
//!
//! At open the marks are checked. A mark older than the noted one: the end of the log is gone. A sum
//! that differs: something before the mark is gone. What was written *after* the mark may rightly be
//! there or not, so each version remembers which one was current at the mark.
//!
//! A removal leaves nothing behind that could remember. It is announced instead: a mark lists what
//! is about to be removed, then it is removed, then the next mark is made, with no commit between.

use sled::Tree;

use crate::envelope::{Reader, Stamp};

const FORMAT: u8 = 2;
const KEY: &[u8] = b"mark";

/// The most removals that one mark announces: it stays below the size at which sled would store it
/// in a file of its own.
pub(crate) const MAX_REMOVALS: usize = 32;

/// A record that is about to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) weight: u64,
    pub(crate) key: Vec<u8>,
}

/// The state of the books at one place of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The number of the mark.
    pub(crate) number: u64,
    /// The highest number of a version that was written before the mark.
    pub(crate) seq: u64,
    /// The sum of the weights of all versions at the mark.
    pub(crate) sum: u64,
    /// What may be missing although it is in the sum.
    pub(crate) removals: Vec<Removal>,
}

impl Mark {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        for number in [self.number, self.seq, self.sum] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for removal in &self.removals {
            out.extend_from_slice(&removal.weight.to_be_bytes());
            out.extend_from_slice(&(removal.key.len() as u64).to_be_bytes());
            out.extend_from_slice(&removal.key);
        }
        let sum = crc32fast::hash(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, sum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(content).to_be_bytes() != *sum {
            return None;
        }
        let mut reader = Reader(content);
        let [FORMAT] = reader.array()? else {
            return None;
        };
        let mut mark = Self {
            number: reader.u64()?,
            seq: reader.u64()?,
            sum: reader.u64()?,
            removals: Vec::new(),
        };
        while !reader.0.is_empty() {
            let weight = reader.u64()?;
            let len = usize::try_from(reader.u64()?).ok()?;
            let key = reader.bytes(len)?.to_vec();
            mark.removals.push(Removal { weight, key });
        }
        Some(mark)
    }

    /// Appends the mark to the log. Nothing else may be writing.
    pub(crate) fn write(&self, tree: &Tree) -> sled::Result<()> {
        tree.insert(KEY, self.encode()).map(drop)
    }

    /// The last mark, `Ok(Err(()))` if it cannot be read, an empty one if there is none.
    pub(crate) fn read(tree: &Tree) -> sled::Result<Result<Self, Unreadable>> {
        Ok(match tree.get(KEY)? {
            Some(bytes) => Self::decode(&bytes).ok_or(Unreadable),
            None => Ok(Self::default()),
        })
    }
}

/// A mark whose bytes are not what was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unreadable;

/// Adds up what an open found.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// The sum as it was at the mark, as far as what was found tells.
    pub(crate) at_mark: u64,
    /// The sum of what was found.
    pub(crate) now: u64,
    /// The highest number that was found.
    pub(crate) seq: u64,
}

impl Audit {
    pub(crate) fn add(&mut self, mark: &Mark, stamp: Stamp) {
        self.at_mark = self.at_mark.wrapping_add(stamp.weight_at(mark.seq));
        self.now = self.now.wrapping_add(stamp.weight());
        self.seq = self.seq.max(stamp.seq);
    }

    /// For an announced removal that did take place.
    pub(crate) fn add_removed(&mut self, removal: &Removal) {
        self.at_mark = self.at_mark.wrapping_add(removal.weight);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mark_survives_its_bytes_and_notices_a_flipped_bit() {
        let mark = Mark {
            number: 3,
            seq: 2,
            sum: 1,
            removals: vec![Removal { weight: 5, key: b"\x02k".to_vec() }],
        };
        let bytes = mark.encode();
        assert_eq!(Mark::decode(&bytes), Some(mark));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::decode(&flipped), None, "bit {bit}");
        }
    }

    proptest! {
        /// A sum can be right by accident: whatever stands under one is read as it is written, or not at all.
        #[test]
        fn whatever_stands_under_a_right_sum_is_what_would_be_written(
            numbers: [u8; 24], removals in proptest::collection::vec((any::<u64>(), any::<Vec<u8>>(), -1..2_i64), 0..4)
        ) {
            let mut bytes = [&[FORMAT][..], &numbers].concat();
            for (weight, key, wrong) in &removals {
                bytes.extend_from_slice(&weight.to_be_bytes());
                bytes.extend_from_slice(&(key.len() as u64).wrapping_add_signed(*wrong).to_be_bytes());
                bytes.extend_from_slice(key);
            }
            bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
            let well_formed = removals.iter().all(|(.., wrong)| *wrong == 0);
            let read = Mark::decode(&bytes);
            prop_assert!(read.is_some() || !well_formed);
            prop_assert!(read.is_none_or(|mark| mark.encode() == bytes));
        }
    }
}
