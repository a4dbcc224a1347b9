//! Randomness as an argument.

use crate::model::{RecordId, Secret, Timestamp};
use crate::storage::CommitId;

/// The random bytes that one decision may use: a seed of 256 fresh bits, expanded on demand.
///
/// The same seed gives the same bytes in the same order, so a recorded decision can be replayed.
/// The expansion is SHA-256 over the seed and a counter (as Hashgen of NIST SP 800-90A section
/// 10.1.1.4), one block of the hash for 32 bytes.
#[derive(Debug)]
pub struct Entropy {
    seed: Secret,
    /// The block that is being used up, and how much of it is.
    block: Secret,
    used: usize,
    blocks: u32,
}

impl Entropy {
    /// Entropy from a seed. The seed must be fresh for every decision: two decisions with one seed
    /// make the same tokens.
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        let block = Secret::from_bytes([0; Secret::LEN]);
        Self { seed: Secret::from_bytes(seed), block, used: Secret::LEN, blocks: 0 }
    }

    /// 256 bits.
    pub fn secret(&mut self) -> Secret {
        Secret::from_bytes(self.bytes())
    }

    /// The identifier of a record that is made now.
    pub fn record_id(&mut self, now: Timestamp) -> RecordId {
        RecordId::made(now, self.bytes())
    }

    /// The identity of a commit.
    pub fn commit_id(&mut self) -> CommitId {
        CommitId::from_bytes(self.bytes())
    }

    /// The next `N` bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let mut wanted = out.as_mut_slice();
        while !wanted.is_empty() {
            if self.used == Secret::LEN {
                self.block = self.seed.expand("grantor entropy", self.blocks);
                self.blocks += 1;
                self.used = 0;
            }
            let fresh = self.block.expose().get(self.used..).unwrap_or_default();
            let taken = fresh.len().min(wanted.len());
            let (now, later) = wanted.split_at_mut(taken);
            now.iter_mut().zip(fresh).for_each(|(to, from)| *to = *from);
            self.used += taken;
            wanted = later;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_without_repetition() {
        let draw = |seed| {
            let mut entropy = Entropy::from_seed([seed; 32]);
            (0..100).map(|_| *entropy.secret().expose()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        let mut all: Vec<_> = draw(1).into_iter().chain(draw(2)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200);
    }

    #[test]
    fn identifiers_sort_by_the_second_in_which_they_are_made() {
        let mut entropy = Entropy::from_seed([1; 32]);
        let seconds = [0, 1, 1_700_000_000, 4_294_967_295, 5_000_000_000];
        let ids = seconds.map(|at| entropy.record_id(Timestamp::from_millis(at * 1_000 + 999)));
        assert!(ids.is_sorted(), "{ids:?}");
        let before = entropy.record_id(Timestamp::from_millis(-1));
        assert_ne!(before, entropy.record_id(Timestamp::from_millis(-1)));
    }

    #[test]
    fn nothing_is_handed_out_twice_however_much_is_asked_for() {
        let whole: Vec<u8> = {
            let mut entropy = Entropy::from_seed([7; 32]);
            (0..4).flat_map(|_| *entropy.secret().expose()).collect()
        };
        let mut entropy = Entropy::from_seed([7; 32]);
        let mut parts = entropy.bytes::<12>().to_vec();
        parts.extend(entropy.secret().expose());
        parts.extend(entropy.bytes::<16>());
        parts.extend(entropy.bytes::<1>());
        parts.extend(entropy.bytes::<64>());
        assert_eq!(parts, whole[..parts.len()]);
    }
}
