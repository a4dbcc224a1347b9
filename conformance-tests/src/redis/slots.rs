//! Slots of a Cluster, and how one moves.

use std::collections::BTreeSet;

use super::cluster::Cluster;
use super::options::OPERATOR;
use super::resp::Value;
use super::server::Server;

/// How many slots there are.
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a key: of what stands between its first `{` and the next `}`, if that is something, else
/// of all of it.
#[must_use]
pub fn slot_of(key: impl AsRef<[u8]>) -> u16 {
    let key = key.as_ref();
    let tag = || {
        let open = key.iter().position(|byte| *byte == b'{')?;
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    };
    // CRC-16/XMODEM.
    let crc = tag().unwrap_or(key).iter().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % SLOTS
}

/// A slot on its way from one primary to another, step by step, so that a test can do something between
/// any two: [`Cluster::begin_move`].
///
/// From its beginning to its end the old primary answers for keys that it still has and `ASK` for all
/// others. One that is dropped before [`finish`](Self::finish) stays half done, like that of an
/// administrator who went home.
#[derive(Debug)]
#[must_use = "the slot stays on its way until `finish`"]
pub struct SlotMove<'a> {
    cluster: &'a Cluster,
    slot: u16,
    from: &'a Server,
    to: &'a Server,
}

impl<'a> SlotMove<'a> {
    pub(super) fn begin(cluster: &'a Cluster, slot: u16, to: &'a Server) -> Self {
        let from = cluster.primary_of_slot(slot);
        let it = Self { cluster, slot, from, to };
        it.set(to, &["IMPORTING", cluster.id(from)]);
        it.set(from, &["MIGRATING", cluster.id(to)]);
        it
    }

    fn set(&self, node: &Server, what: &[&str]) {
        let slot = self.slot.to_string();
        node.cli(&[&["CLUSTER", "SETSLOT", &slot], what].concat());
    }

    /// Who has the slot until the end.
    #[must_use]
    pub fn from(&self) -> &'a Server {
        self.from
    }

    /// Who gets it.
    #[must_use]
    pub fn to(&self) -> &'a Server {
        self.to
    }

    /// How many keys are still at the old place.
    ///
    /// # Panics
    /// When the node does not answer.
    #[must_use]
    pub fn remaining(&self) -> usize {
        let count = self.from.call(&["CLUSTER", "COUNTKEYSINSLOT", &self.slot.to_string()]);
        count.integer().and_then(|count| count.try_into().ok()).expect("a number of keys")
    }

    /// Takes up to `count` keys to the new place (`MIGRATE`) and says how many went.
    ///
    /// # Panics
    /// When one of the nodes refuses.
    pub fn migrate(&self, count: usize) -> usize {
        let command = ["CLUSTER", "GETKEYSINSLOT", &self.slot.to_string(), &count.to_string()];
        let reply = self.from.call(&command);
        let keys: BTreeSet<_> = reply.list().iter().filter_map(Value::bytes).collect();
        if keys.is_empty() {
            return 0;
        }
        let (host, port) = (self.to.host().to_string(), self.to.port().to_string());
        let secret = &self.to.options_of().operator_password;
        let head = ["MIGRATE", &host, &port, "", "0", "10000", "AUTH2", OPERATOR, secret, "KEYS"];
        let words: Vec<_> = head.iter().map(|word| word.as_bytes()).chain(keys.clone()).collect();
        let done = self.from.call(&words);
        // NOKEY: they are gone meanwhile.
        assert!(done.error().is_none(), "slot {}: MIGRATE: {done}", self.slot);
        keys.len()
    }

    /// Takes all that is left, and gives the slot to the new primary.
    ///
    /// # Panics
    /// When one of the nodes refuses.
    pub fn finish(self) {
        while self.migrate(100) > 0 {}
        // The new one first: it must not happen that both hold the other for the owner.
        let id = self.cluster.id(self.to);
        self.set(self.to, &["NODE", id]);
        self.set(self.from, &["NODE", id]);
        for other in self.cluster.primaries() {
            if ![self.from.port(), self.to.port()].contains(&other.port()) {
                self.set(other, &["NODE", id]);
            }
        }
    }
}
