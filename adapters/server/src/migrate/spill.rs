//! Sets that are larger than memory should be.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _};

/// A set of entries of one length, on the disk, in parts that fit into memory one at a time.
///
/// An entry begins with a digest: its first byte chooses the part. The files have no names and are gone
/// with the process. They hold digests and names of indexes, and nothing of what is in a record.
#[derive(Debug)]
pub(super) struct Spill<const LEN: usize> {
    parts: Vec<BufWriter<File>>,
}

const PARTS: usize = 32;

impl<const LEN: usize> Spill<LEN> {
    pub(super) fn new() -> io::Result<Self> {
        let part = |_| Ok(BufWriter::new(tempfile::tempfile()?));
        Ok(Self { parts: (0..PARTS).map(part).collect::<io::Result<_>>()? })
    }

    pub(super) fn push(&mut self, entry: &[u8; LEN]) -> io::Result<()> {
        let chosen = usize::from(entry.first().copied().unwrap_or_default()) % PARTS;
        match self.parts.get_mut(chosen) {
            Some(part) => part.write_all(entry),
            None => Ok(()),
        }
    }

    /// The parts, one after another, each in order and without repetitions.
    pub(super) fn parts(self) -> impl Iterator<Item = io::Result<Vec<[u8; LEN]>>> {
        self.parts.into_iter().map(|part| {
            let mut file = part.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.rewind()?;
            let mut file = BufReader::new(file);
            let mut entries = Vec::new();
            let mut entry = [0; LEN];
            loop {
                match file.read_exact(&mut entry) {
                    Ok(()) => entries.push(entry),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                    Err(error) => return Err(error),
                }
            }
            entries.sort_unstable();
            entries.dedup();
            Ok(entries)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_once_and_in_order() {
        let mut spill = Spill::<2>::new().expect("files");
        for _ in 0..3 {
            for n in (0..=255).rev() {
                spill.push(&[n, n / 2]).expect("written");
            }
        }
        let parts: Vec<_> = spill.parts().collect::<io::Result<_>>().expect("read");
        assert_eq!(parts.len(), PARTS);
        for part in &parts {
            assert!(part.is_sorted() && part.len() == 256 / PARTS);
        }
        let mut all = parts.concat();
        all.sort_unstable();
        assert!(all.iter().copied().eq((0..=255).map(|n| [n, n / 2])));
    }
}
