//! What may be used once, in all processes that share a store.

use super::AuthorizationServer;
use super::step::{Error, Unavailable};
use crate::protocol::replay::{self, NotAccepted, OneTime};
use crate::storage::{Commit, CommitOutcome, Key, NewRecord, commit_or_repeat, moment};

/// How often an old mark that somebody else removes or replaces is looked at again.
const MAX_ATTEMPTS: u32 = 8;

impl AuthorizationServer {
    /// Uses an assertion up: of any number of uses, in any number of processes, exactly one is
    /// answered `Ok`.
    ///
    /// For hosts that verify assertions in front of this server, such as `private_key_jwt` (RFC 7523
    /// section 3 point 7) or DPoP proofs (RFC 9449 section 11.1); Grantor itself takes none. Verify the
    /// assertion first, so that a stranger can use nothing up. It costs one call to the store.
    ///
    /// An error other than a refusal says that the store did not answer: the assertion may be used up
    /// then, and must not be accepted. The client makes a new one.
    pub async fn accept_once(&self, assertion: &OneTime<'_>) -> Result<(), Error<NotAccepted>> {
        let storage = &*self.inner.storage;
        let key = Key::replay(assertion.purpose, assertion.issuer, assertion.id);
        let mut found = None;
        for _ in 0..MAX_ATTEMPTS {
            let used_until = found.as_ref().map(|(_, until)| *until);
            let until =
                replay::accept(assertion, used_until, self.now()).map_err(Error::Refused)?;
            let commit = Commit {
                key: key.clone(),
                expect: found.map(|(commit, _)| commit),
                id: self.entropy()?.commit_id(),
                record: NewRecord {
                    value: moment::encode(until)?,
                    purge_at: until,
                    indexes: vec![],
                },
            };
            if commit_or_repeat(storage, &commit).await? == CommitOutcome::Applied {
                return Ok(());
            }
            let stored = storage.load(std::slice::from_ref(&key)).await?.pop().flatten();
            let read = stored.map(|stored| Ok((stored.commit, moment::decode(&stored.value)?)));
            found = read.transpose().map_err(Unavailable::Storage)?;
        }
        Err(Unavailable::Contention.into())
    }
}
