//! What is in a store, counted and summed up.

use std::collections::BTreeMap;
use std::io;

use grantor::model::Timestamp;
use grantor::storage::{Index, Key, Kind, Stored};
use ring::digest::{Context, SHA256};

use super::spill::Spill;

/// Key, kind, `purge_at`, record.
const ENTRY: usize = DIGEST + 1 + 8 + DIGEST;
const DIGEST: usize = 16;

type Digest = [u8; DIGEST];

fn digest(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        // Where one ends is part of it.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let whole = context.finish();
    whole.as_ref().first_chunk().copied().unwrap_or_default()
}

/// The records of a store, as they were read. A walk may come by a record more than once: it counts once.
#[derive(Debug)]
pub(super) struct Tally(Spill<ENTRY>);

/// How many records there are, and a sum over key, commit id, value and `purge_at` of each, in which
/// their order does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub records: u64,
    /// The sum.
    pub checksum: u64,
}

/// What a [`Tally`] comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) kinds: BTreeMap<Kind, Sum>,
    /// A record was found in two versions: it changed while it was read.
    pub(super) moving: bool,
}

impl Tally {
    pub(super) fn new() -> io::Result<Self> {
        Spill::new().map(Self)
    }

    pub(super) fn add(&mut self, key: &Key, stored: &Stored) -> io::Result<()> {
        let name = key.to_bytes();
        let purge_at = stored.purge_at.as_millis().to_be_bytes();
        let record = digest(&[&name, stored.commit.as_bytes(), &stored.value, &purge_at]);
        let mut entry = [0; ENTRY];
        let parts = [&digest(&[&name])[..], &[key.kind().as_byte()], &purge_at, &record];
        for (to, from) in entry.iter_mut().zip(parts.concat()) {
            *to = from;
        }
        self.0.push(&entry)
    }

    /// Sums up what had to be there until `now`: a store may have dropped what was due before.
    pub(super) fn sums(self, now: Timestamp) -> io::Result<Sums> {
        let mut sums = Sums::default();
        for part in self.0.parts() {
            let mut last = None;
            for entry in part? {
                let (key, rest) = entry.split_first_chunk::<DIGEST>().unwrap_or((&[0; 16], &[]));
                let (kind, rest) = rest.split_first_chunk::<1>().unwrap_or((&[0], &[]));
                let (purge_at, record) = rest.split_first_chunk().unwrap_or((&[0; 8], &[]));
                let record = record.first_chunk().copied().unwrap_or_default();
                let Some(kind) = Kind::from_byte(kind[0]) else { continue };
                if Timestamp::from_millis(i64::from_be_bytes(*purge_at)).has_passed(now) {
                    continue;
                }
                sums.moving |= last.replace(*key) == Some(*key);
                let sum = sums.kinds.entry(kind).or_default();
                sum.records += 1;
                sum.checksum = sum.checksum.wrapping_add(u64::from_be_bytes(record));
            }
        }
        Ok(sums)
    }
}

const NAME: usize = DIGEST + Index::MAX_LEN;

/// The index entries that records must have.
#[derive(Debug)]
pub(super) struct Entries {
    expected: Spill<DIGEST>,
    listed: Spill<DIGEST>,
    names: Spill<NAME>,
}

impl Entries {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { expected: Spill::new()?, listed: Spill::new()?, names: Spill::new()? })
    }

    pub(super) fn expect(&mut self, index: &Index, key: &Key) -> io::Result<()> {
        let text = index.as_str().as_bytes();
        let mut name = [0; NAME];
        for (to, from) in name.iter_mut().zip([&digest(&[text])[..], text].concat()) {
            *to = from;
        }
        self.names.push(&name)?;
        self.expected.push(&digest(&[text, &key.to_bytes()]))
    }

    /// The indexes that there must be, in parts, and who takes what is listed in them.
    pub(super) fn indexes(self) -> (impl Iterator<Item = io::Result<Vec<Index>>>, Listed) {
        let read = |name: &[u8; NAME]| {
            let text = std::str::from_utf8(name.get(DIGEST..)?).ok()?;
            Index::new(text.trim_end_matches('\0'))
        };
        let names = self.names.parts().map(move |part| {
            let part = part?;
            let indexes: Vec<_> = part.iter().filter_map(read).collect();
            match indexes.len() == part.len() {
                true => Ok(indexes),
                false => Err(io::Error::other("the name of an index was not read back")),
            }
        });
        (names, Listed { expected: self.expected, listed: self.listed })
    }
}

/// What is expected in indexes, and what was found there.
#[derive(Debug)]
pub(super) struct Listed {
    expected: Spill<DIGEST>,
    listed: Spill<DIGEST>,
}

impl Listed {
    pub(super) fn add(&mut self, index: &Index, key: &Key) -> io::Result<()> {
        self.listed.push(&digest(&[index.as_str().as_bytes(), &key.to_bytes()]))
    }

    /// How many entries were expected, and how many of them are not there.
    pub(super) fn missing(self) -> io::Result<(u64, u64)> {
        let (mut all, mut missing) = (0, 0);
        for (expected, listed) in self.expected.parts().zip(self.listed.parts()) {
            let (expected, listed) = (expected?, listed?);
            all += expected.len() as u64;
            let found = |entry: &&Digest| listed.binary_search(*entry).is_ok();
            missing += expected.iter().filter(|entry| !found(entry)).count() as u64;
        }
        Ok((all, missing))
    }
}

#[cfg(test)]
mod tests {
    use grantor::storage::CommitId;

    use super::*;

    fn record(n: u8) -> (Key, Stored) {
        let stored = Stored {
            commit: CommitId::from_bytes([n; 16]),
            value: vec![n],
            purge_at: Timestamp::from_millis(i64::from(n)),
        };
        (Key::new(Kind::Grant, [n]).expect("short"), stored)
    }

    fn sums(records: &[(Key, Stored)]) -> Sums {
        let mut tally = Tally::new().expect("files");
        for (key, stored) in records {
            tally.add(key, stored).expect("written");
        }
        tally.sums(Timestamp::from_millis(2)).expect("read")
    }

    #[test]
    fn neither_order_nor_repetition_matters_and_everything_else_does() {
        let all: Vec<_> = (0..100).map(record).collect();
        let of_all = sums(&all);
        // Three of them are due.
        assert_eq!(of_all.kinds.get(&Kind::Grant).map(|sum| sum.records), Some(97));
        assert!(!of_all.moving);
        let mut twice: Vec<_> = all.iter().rev().cloned().collect();
        twice.extend(all.iter().cloned());
        assert_eq!(sums(&twice), of_all);
        assert_eq!(sums(all.get(3..).unwrap_or_default()), of_all);

        let changed = |change: fn(&mut (Key, Stored))| {
            let mut records = all.clone();
            change(records.last_mut().expect("a hundred"));
            sums(&records)
        };
        for other in [
            changed(|(key, _)| *key = Key::new(Kind::Grant, [7, 7]).expect("short")),
            changed(|(key, _)| *key = Key::new(Kind::Consent, [99]).expect("short")),
            changed(|(_, stored)| stored.commit = CommitId::from_bytes([0; 16])),
            changed(|(_, stored)| stored.value.push(0)),
            changed(|(_, stored)| stored.purge_at = Timestamp::from_millis(1000)),
            sums(all.get(4..).unwrap_or_default()),
        ] {
            assert_ne!(other, of_all);
        }
        let (key, mut stored) = record(50);
        stored.value.push(1);
        twice.push((key, stored));
        assert!(sums(&twice).moving);
    }

    #[test]
    fn an_entry_that_is_not_listed_is_missed() {
        let mut entries = Entries::new().expect("files");
        let long = Index::new(&"a".repeat(Index::MAX_LEN)).expect("a name");
        let short = Index::new("clients").expect("a name");
        for n in 0..50 {
            let (key, _) = record(n);
            entries.expect(&long, &key).expect("written");
            entries.expect(&short, &key).expect("written");
        }
        let (names, mut listed) = entries.indexes();
        let names: Vec<_> = names.collect::<io::Result<Vec<_>>>().expect("read").concat();
        assert_eq!(names.len(), 2);
        assert!(names.contains(&long) && names.contains(&short));
        // One is missing, one is listed where it does not belong.
        for n in 0..51 {
            listed.add(&long, &record(n).0).expect("written");
        }
        for n in 1..50 {
            listed.add(&short, &record(n).0).expect("written");
        }
        assert_eq!(listed.missing().expect("read"), (100, 1));
    }
}
