//! What surrounds the server, told what to do: time, randomness, the user database, the audit log.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use grantor::engine::{AuditSink, Clock, EntropySource};
use grantor::model::{Account, Subject, Timestamp};
use grantor::protocol::Event;
use grantor::{Authenticator, AuthenticatorError, Credentials, Verdict};

use crate::protocol::request::USERS;

pub(super) const PASSWORD: &str = "correct horse";

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(super) struct ToldClock(pub(super) AtomicI64);

impl Clock for ToldClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Seeds in a row: random to nobody, the same in every run.
#[derive(Debug, Default)]
pub(super) struct CountedEntropy(pub(super) AtomicU64);

impl EntropySource for CountedEntropy {
    fn seed(&self) -> Option<[u8; 32]> {
        let count = self.0.fetch_add(1, Ordering::SeqCst);
        let mut seed = [0x5e; 32];
        let (head, _) = seed.split_at_mut(8);
        head.copy_from_slice(&count.to_be_bytes());
        Some(seed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) disabled: Mutex<BTreeSet<String>>,
    pub(super) away: AtomicBool,
    /// A seeded bug: whoever was disabled stands all the same.
    pub(super) lenient: AtomicBool,
}

impl Directory {
    fn account(&self, name: &str) -> Result<Option<Account>, AuthenticatorError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(AuthenticatorError::unavailable("switched off by the walk"));
        }
        let disabled = self.disabled.lock().unwrap_or_else(PoisonError::into_inner);
        let disabled = disabled.contains(name) && !self.lenient.load(Ordering::SeqCst);
        let known = USERS.contains(&name) && !disabled;
        let subject = Subject::parse(name).map_err(AuthenticatorError::unavailable)?;
        Ok(known.then(|| Account::new(subject, name)))
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct SharedDirectory(pub(super) Arc<Directory>);

#[async_trait]
impl Authenticator for SharedDirectory {
    async fn verify(&self, credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
        let account = self.0.account(&credentials.username)?;
        let right = credentials.password.expose() == PASSWORD;
        Ok(account.filter(|_| right).map_or(Verdict::Refused, Verdict::Verified))
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        self.0.account(subject.as_str())
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Log(pub(super) Arc<Mutex<Vec<Event>>>);

#[async_trait]
impl AuditSink for Log {
    async fn record(&self, _: Timestamp, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}

#[derive(Debug)]
pub(super) struct SharedEntropy(pub(super) Arc<CountedEntropy>);

impl EntropySource for SharedEntropy {
    fn seed(&self) -> Option<[u8; 32]> {
        self.0.seed()
    }
}
