//! Randomness as an argument.

use crate::model::{RecordId, Secret};
use crate::storage::CommitId;

/// The random bytes that one decision may use: a seed of 256 fresh bits, expanded on demand.
///
/// The same seed gives the same bytes in the same order, so a recorded decision can be replayed.
/// The expansion is HMAC-SHA256 in counter mode under the seed.
#[derive(Debug)]
pub struct Entropy {
    seed: Secret,
    drawn: u32,
}

impl Entropy {
    /// Entropy from a seed. The seed must be fresh for every decision: two decisions with one seed
    /// make the same tokens.
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed: Secret::from_bytes(seed), drawn: 0 }
    }

    /// 256 bits.
    pub fn secret(&mut self) -> Secret {
        let counter = self.drawn;
        self.drawn += 1;
        self.seed.derive("grantor entropy", &counter.to_be_bytes())
    }

    /// The identifier of a new record.
    pub fn record_id(&mut self) -> RecordId {
        RecordId::from_bytes(self.bytes())
    }

    /// The identity of a commit.
    pub fn commit_id(&mut self) -> CommitId {
        CommitId::from_bytes(self.bytes())
    }

    /// `N` bytes, 32 at most.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= Secret::LEN) };
        let secret = self.secret();
        let mut out = [0; N];
        out.iter_mut().zip(secret.expose()).for_each(|(to, from)| *to = *from);
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
}
