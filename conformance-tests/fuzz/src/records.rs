//! Records as a store returns them: whatever a damaged or foreign store holds is an error and never a panic, and what
//! is read is written as it was understood.

use grantor::model::Timestamp;
use grantor::storage::{CommitId, Key, Kind, Loaded, Stored};

const KINDS: [Kind; 6] =
    [Kind::Client, Kind::Grant, Kind::Consent, Kind::Session, Kind::User, Kind::RevokedSubject];

/// A kind and a value.
///
/// ATTACKS J09, J10, K04.
pub(crate) fn record(data: &[u8]) {
    let Some((kind, value)) = data.split_first() else {
        return;
    };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let key = Key::new(kind, b"twelve bytes").expect("short");
    let commit = CommitId::from_bytes([7; 16]);
    let purge_at = Timestamp::from_millis(0);
    let read =
        |value: &[u8]| Loaded::decode(&key, &Stored { commit, value: value.to_vec(), purge_at });
    let loaded = match read(value) {
        Ok(loaded) => loaded,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(loaded.commit, commit);
    // Whatever the numbers in it are, nothing overflows.
    let _ = (loaded.record.key(), loaded.record.purge_at(), format!("{:?}", loaded.record));
    let Ok(written) = loaded.record.to_new_record(None) else {
        return; // Larger than a record may be.
    };
    let again = read(&written.value).expect("what was written is read");
    assert_eq!(again.record, loaded.record);
    let twice = again.record.to_new_record(None).expect("it fits");
    assert_eq!((twice.value, twice.purge_at), (written.value, written.purge_at));
    let known = again.record.to_new_record(Some(&loaded.record)).expect("it fits");
    assert!(known.indexes.is_empty(), "what is there already is not introduced again");
}
