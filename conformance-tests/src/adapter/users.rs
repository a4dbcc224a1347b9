//! The user database of the program under test.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use grantor::model::{Account, Subject};
use grantor::{Authenticator, AuthenticatorError, Credentials, Verdict};
use tokio::sync::Semaphore;

pub(super) const NAME: &str = "alice";
pub(super) const PASSWORD: &str = "correct horse battery";
pub(super) const SUBJECT: &str = "user-1";
/// Whoever signs in with this name waits until the test says so.
pub(super) const SLOW: &str = "slow";
/// A mistake in the host's program.
pub(super) const PANIC: &str = "panic";

/// One user, and what the test can see and do.
#[derive(Clone, Debug)]
pub(super) struct Users(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sources: Mutex<Vec<Option<IpAddr>>>,
    away: AtomicBool,
    entered: Semaphore,
    released: Semaphore,
    given_up: AtomicBool,
    ended: Semaphore,
}

impl Default for Users {
    fn default() -> Self {
        let none = || Semaphore::new(0);
        Self(Arc::new(Inner {
            sources: Mutex::default(),
            away: AtomicBool::new(false),
            entered: none(),
            released: none(),
            given_up: AtomicBool::new(false),
            ended: none(),
        }))
    }
}

impl Users {
    /// Where the attempts to sign in came from, as the server was told.
    pub(super) fn sources(&self) -> Vec<Option<IpAddr>> {
        self.0.sources.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on nobody is known, or everybody is again.
    pub(super) fn away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }

    /// Until [`SLOW`] is being looked at.
    pub(super) async fn entered(&self) {
        self.0.entered.acquire().await.expect("never closed").forget();
    }

    /// Lets [`SLOW`] go on.
    pub(super) fn release(&self) {
        self.0.released.add_permits(1);
    }

    /// Whether somebody stopped looking at [`SLOW`] half-way.
    pub(super) fn given_up(&self) -> bool {
        self.0.given_up.load(Ordering::SeqCst)
    }

    /// Until [`SLOW`] is not looked at any more.
    pub(super) async fn ended(&self) {
        self.0.ended.acquire().await.expect("never closed").forget();
    }
}

/// Notes how looking at [`SLOW`] ended.
struct Watch<'a> {
    users: &'a Inner,
    finished: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.users.given_up.fetch_or(!self.finished, Ordering::SeqCst);
        self.users.ended.add_permits(1);
    }
}

#[async_trait]
impl Authenticator for Users {
    async fn verify(&self, credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
        self.0.sources.lock().unwrap_or_else(PoisonError::into_inner).push(credentials.source);
        match credentials.username.as_str() {
            NAME if credentials.password.expose() == PASSWORD => Ok(Verdict::Verified(account())),
            SLOW => {
                let mut watch = Watch { users: &self.0, finished: false };
                self.0.entered.add_permits(1);
                self.0.released.acquire().await.expect("never closed").forget();
                watch.finished = true;
                Ok(Verdict::Refused)
            }
            PANIC => panic!("a mistake in the host's program, made on purpose"),
            _ => Ok(Verdict::Refused),
        }
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        if self.0.away.load(Ordering::SeqCst) {
            return Err(AuthenticatorError::unavailable("the user database is away"));
        }
        Ok((subject.as_str() == SUBJECT).then(account))
    }
}

fn account() -> Account {
    Account::new(Subject::parse(SUBJECT).expect("a subject"), NAME)
}
