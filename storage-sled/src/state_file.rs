//! The file beside sled's: the lock, the format version, and the last mark known to be durable.
//!
//! It is written after the barrier that made the mark durable, and not synced itself: whenever it
//! reaches the disk, what it says is true. After a power cut it may lag, which only makes the check
//! weaker by what happened since; it never makes it wrong.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::envelope::Reader;

/// The name of the file in the data directory.
pub(crate) const NAME: &str = "grantor.state";

/// The version of everything that is stored. Newer versions keep the layout of this file.
///
/// 2: clients and users are in an index of their own. 3: the names of indexes stand in the records.
pub(crate) const FORMAT: u32 = 3;

const MAGIC: [u8; 8] = *b"grantor\0";
const LEN: usize = 24;

/// The open and locked file.
#[derive(Debug)]
pub(crate) struct StateFile(File);

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// This version wrote it; the number is that of the last durable mark.
    Mark(u64),
    /// A newer version wrote it.
    Newer(u32),
    /// A version before the first release wrote it.
    Older(u32),
    /// It is not what was written.
    Unreadable,
}

impl StateFile {
    /// Opens or creates the file; `None` if another process holds it.
    ///
    /// What is created is empty: whoever holds the lock fills it, so that neither a crash nor a second
    /// process finds it half made.
    pub(crate) fn lock(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether it was never filled.
    pub(crate) fn is_unfilled(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.len() < LEN as u64)
    }

    pub(crate) fn read(&self) -> io::Result<State> {
        let mut bytes = [0; LEN + 1];
        // By position: a reopening reads the file a second time.
        let read = self.0.read_at(&mut bytes, 0)?;
        let state = bytes.get(..read).and_then(decode);
        Ok(state.unwrap_or(State::Unreadable))
    }

    /// Notes that this mark is durable.
    pub(crate) fn note(&self, mark: u64) -> io::Result<()> {
        self.0.write_all_at(&encode(mark), 0)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn encode(mark: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(LEN);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&FORMAT.to_be_bytes());
    out.extend_from_slice(&mark.to_be_bytes());
    let sum = crc32fast::hash(&out);
    out.extend_from_slice(&sum.to_be_bytes());
    out
}

fn decode(bytes: &[u8]) -> Option<State> {
    let (content, sum) = bytes.split_last_chunk::<4>()?;
    if bytes.len() != LEN || crc32fast::hash(content).to_be_bytes() != *sum {
        return None;
    }
    let mut reader = Reader(content);
    if reader.array()? != MAGIC {
        return None;
    }
    match u32::from_be_bytes(reader.array()?) {
        FORMAT => Some(State::Mark(reader.u64()?)),
        newer if newer > FORMAT => Some(State::Newer(newer)),
        older => Some(State::Older(older)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_noticed() {
        let bytes = encode(77);
        assert_eq!(decode(&bytes), Some(State::Mark(77)));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
    }
}
