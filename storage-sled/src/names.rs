//! Which records an index lists.
//!
//! An index stands in its records and nowhere else on the disk: each record has a digest of the name of every
//! index that lists it, and opening the store, which reads all records anyway, collects them in memory. An entry
//! of its own on the disk would cost as much as the record: sled writes a page for it, and splits pages.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use sha2::{Digest as _, Sha256};
use sled::IVec;

/// A digest of the name of an index. (A name that had the same would list records that do not belong to it, which
/// whoever lists an index has to expect.)
pub(crate) type NameId = [u8; 8];

pub(crate) fn name_id(name: &str) -> NameId {
    Sha256::digest(name).first_chunk().copied().unwrap_or_default()
}

/// The keys of all records that are in an index, by index.
#[derive(Default)]
pub(crate) struct Names(RwLock<BTreeSet<(NameId, IVec)>>);

/// Held while a record is written, so that whoever has loaded it finds it listed.
pub(crate) struct Writer<'a>(RwLockWriteGuard<'a, BTreeSet<(NameId, IVec)>>);

impl FromIterator<(NameId, IVec)> for Names {
    fn from_iter<T: IntoIterator<Item = (NameId, IVec)>>(names: T) -> Self {
        Self(RwLock::new(names.into_iter().collect()))
    }
}

/// Its content is of the same kind as the records.
impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}

impl Names {
    pub(crate) fn write(&self) -> Writer<'_> {
        Writer(self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// At most so many keys of an index after this one, in the order of the keys.
    pub(crate) fn after(&self, name: NameId, key: &[u8], limit: usize) -> Vec<IVec> {
        let start = Bound::Excluded((name, IVec::from(key)));
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names
            .range((start, Bound::Unbounded))
            .take_while(|(found, _)| *found == name)
            .take(limit)
            .map(|(_, key)| key.clone())
            .collect()
    }
}

impl Writer<'_> {
    pub(crate) fn list(&mut self, names: &[NameId], key: &[u8]) {
        self.0.extend(names.iter().map(|name| (*name, IVec::from(key))));
    }

    pub(crate) fn forget(&mut self, names: &[NameId], key: &[u8]) {
        for name in names {
            self.0.remove(&(*name, IVec::from(key)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_lists_its_own_keys_in_pages() {
        let [name, other] = ["a", "b"].map(name_id);
        let names = Names::default();
        for key in [b"1", b"2", b"3"] {
            names.write().list(&[name, other], key);
        }
        names.write().forget(&[other], b"2");
        let page = |name, after: &[u8], limit| {
            names.after(name, after, limit).iter().flat_map(|key| key.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(page(name, b"", 2), b"12");
        assert_eq!(page(name, b"2", 2), b"3");
        assert_eq!(page(other, b"", 9), b"13");
        assert_eq!(page(name_id("c"), b"", 9), b"");
    }
}
