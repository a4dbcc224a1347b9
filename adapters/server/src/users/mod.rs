//! The user directory of the ready server, kept in Grantor's own store.
//!
//! Each user is one record. Its key is a hash of the name, so that of two registrations of one name
//! exactly one commit wins; an index leads from the subject to the key. A removed user leaves a
//! mark behind until every write that was under way is over.

mod password;
mod record;
#[cfg(test)]
mod tests;
mod throttle;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use grantor::engine::{Clock, EntropySource, RateLimited, SystemClock, SystemEntropy};
use grantor::model::{Account, SecretString, Subject, Timestamp};
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Cursor, Key, Kind, Listing, NewRecord, Storage, StorageError,
};
use grantor::{Authenticator, AuthenticatorError, Credentials, Verdict};

use self::password::{NotHashed, Passwords};
use self::record::{Name, UserRecord};
pub(crate) use self::record::{SUBJECT_PREFIX, indexes};
use self::throttle::Throttle;

/// The users of a store, and the [`Authenticator`] of a server on the same store.
///
/// Cloning is cheap; the clones are one directory.
pub struct Directory {
    inner: Arc<Inner>,
}

struct Inner {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn EntropySource>,
    passwords: Passwords,
    throttle: Throttle,
    /// Where the record of a subject lies. That never changes, so what is known here saves a walk over
    /// the index; the record itself is loaded every time.
    places: Mutex<BTreeMap<Subject, Key>>,
}

/// A user, as operators see one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, as it was registered.
    pub username: String,
    /// What the user is called towards resource servers. Stable, never given to anybody else.
    pub subject: Subject,
    /// Whether the account is switched off.
    pub disabled: bool,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// Why the directory did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Not a name.
    #[error(
        "{0:?} cannot be a user name: it is 1 to 64 letters and digits, and the characters . _ - @ +"
    )]
    BadName(String),
    /// Too easy to guess, or too long to be hashed.
    #[error("a password has at least 8 characters, and at most 1024 bytes")]
    BadPassword,
    /// The name is taken.
    #[error("a user named {0:?} exists")]
    Exists(String),
    /// There is nobody of this name.
    #[error("there is no user named {0:?}")]
    Unknown(String),
    /// Others kept changing the same user.
    #[error("the user was changed by others at the same time; try again")]
    Contention,
    /// More passwords are being hashed than can be.
    #[error("too many passwords are being checked; try again")]
    Busy,
    /// The operating system has no random numbers.
    #[error("no random numbers are to be had")]
    Entropy,
    /// The password could not be hashed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
    /// The store did not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<NotHashed> for DirectoryError {
    fn from(error: NotHashed) -> Self {
        match error {
            NotHashed::Busy => Self::Busy,
            NotHashed::Failed(reason) => Self::Hash(reason),
        }
    }
}

const ATTEMPTS: usize = 16;
const PAGE: usize = 256;
/// For how many subjects is remembered where their record lies: some ten megabytes.
const MAX_PLACES: usize = 50_000;
/// How long the mark of a removed user stays: longer than any write that was under way.
const MARK: Duration = Duration::from_secs(86_400);
/// What is said to somebody for whom there was no turn to have a password checked.
const BUSY: Duration = Duration::from_secs(5);
const PASSWORD_CHARS: usize = 8;
const PASSWORD_BYTES: usize = 1024;

impl Directory {
    /// The directory on this store.
    pub fn new(storage: Arc<dyn Storage>, sources: Sources) -> Result<Self, DirectoryError> {
        Self::assemble(storage, Arc::new(SystemClock), sources)
    }
}

/// Whether the address that a request comes from says anything about who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Clients connect directly: attempts to sign in are throttled by address too.
    Direct,
    /// A proxy stands in front and every request comes from its address. Throttling that would let
    /// one guesser lock everybody out; what a header says about the client is not believed either,
    /// since the client can write one. The proxy has to throttle by address.
    Proxied,
}

impl Directory {
    fn assemble(
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        sources: Sources,
    ) -> Result<Self, DirectoryError> {
        let entropy = Arc::new(SystemEntropy::default());
        let random = entropy.seed().ok_or(DirectoryError::Entropy)?;
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        // One processor is left for whoever is not guessing (ATTACKS E15).
        let at_once = processors.saturating_sub(1).max(1);
        Ok(Self {
            inner: Arc::new(Inner {
                passwords: Passwords::new(at_once, &random)?,
                throttle: Throttle::new(&storage, &clock, sources == Sources::Direct),
                places: Mutex::default(),
                storage,
                clock,
                entropy,
            }),
        })
    }

    /// Registers a user.
    pub async fn add(
        &self,
        username: &str,
        password: &SecretString,
    ) -> Result<User, DirectoryError> {
        let name =
            Name::register(username).ok_or_else(|| DirectoryError::BadName(username.to_owned()))?;
        let password_hash = self.hash(password).await?;
        let subject = record::new_subject(&halves(self.seed()?).0)?;
        let created_at = self.inner.clock.now();
        self.change(&name, |found| match found {
            Some(user) if !user.is_removed() => Err(DirectoryError::Exists(username.to_owned())),
            _ => Ok(UserRecord::new(
                name.shown.clone(),
                subject.clone(),
                password_hash.clone(),
                created_at,
            )),
        })
        .await
    }

    /// The user of this name.
    pub async fn find(&self, username: &str) -> Result<Option<User>, DirectoryError> {
        let key = Name::typed(username).key()?;
        let found = self.load(&key).await?.map(|(_, user)| user);
        Ok(found.filter(|user| !user.is_removed()).map(User::from))
    }

    /// The user of this subject, disabled or not.
    pub async fn find_subject(&self, subject: &Subject) -> Result<Option<User>, DirectoryError> {
        Ok(self.by_subject(subject).await?.map(User::from))
    }

    /// Every user, in no order that means anything.
    pub async fn list(&self) -> Result<Vec<User>, DirectoryError> {
        let mut users = Vec::new();
        let mut after: Option<Cursor> = None;
        loop {
            let listing = Listing::Index(record::index_of_all()?);
            let storage = &self.inner.storage;
            let page = storage.list(&listing, after.as_ref(), PAGE).await?;
            let found = storage.load(&page.keys).await?;
            let theirs = page.keys.iter().zip(found).filter(|(key, _)| key.kind() == Kind::User);
            for stored in theirs.filter_map(|(_, stored)| stored) {
                let user = UserRecord::decode(&stored.value)?;
                users.extend((!user.is_removed()).then(|| User::from(user)));
            }
            after = match page.next {
                Some(cursor) => Some(cursor),
                None => return Ok(users),
            };
        }
    }

    /// Replaces a password. Whoever calls this ends the sessions and tokens of the old one.
    pub async fn set_password(
        &self,
        username: &str,
        password: &SecretString,
    ) -> Result<User, DirectoryError> {
        let password_hash = self.hash(password).await?;
        self.change_existing(username, |user| {
            user.password_hash.clone_from(&password_hash);
        })
        .await
    }

    /// Switches an account off or on. While it is off nobody can sign in to it, and no token that
    /// was issued in its name is active.
    pub async fn set_disabled(
        &self,
        username: &str,
        disabled: bool,
    ) -> Result<User, DirectoryError> {
        self.change_existing(username, |user| user.disabled = disabled).await
    }

    /// Removes a user. The name can be registered again, as somebody else.
    pub async fn remove(&self, username: &str) -> Result<User, DirectoryError> {
        let now = self.inner.clock.now();
        self.change_existing(username, |user| user.remove(now)).await
    }

    async fn change_existing(
        &self,
        username: &str,
        change: impl Fn(&mut UserRecord),
    ) -> Result<User, DirectoryError> {
        self.change(&Name::typed(username), |found| match found {
            Some(user) if !user.is_removed() => {
                let mut next = user.clone();
                change(&mut next);
                Ok(next)
            }
            _ => Err(DirectoryError::Unknown(username.to_owned())),
        })
        .await
    }

    /// Load, decide, commit; and again when somebody else was faster.
    async fn change(
        &self,
        name: &Name,
        decide: impl Fn(Option<&UserRecord>) -> Result<UserRecord, DirectoryError>,
    ) -> Result<User, DirectoryError> {
        let key = name.key()?;
        for _ in 0..ATTEMPTS {
            let found = self.load(&key).await?;
            let replaced = found.as_ref().map(|(_, user)| user);
            let next = decide(replaced)?;
            let introduced = replaced.is_none_or(|user| user.subject != next.subject);
            let mut indexes = Vec::new();
            if introduced {
                indexes.push(record::index_of(&next.subject)?);
            }
            if replaced.is_none() {
                indexes.push(record::index_of_all()?);
            }
            let record = NewRecord {
                value: next.encode()?,
                purge_at: next.removed_at.map_or(FOREVER, |at| at.plus(MARK)),
                indexes,
            };
            let commit = Commit {
                key: key.clone(),
                expect: found.as_ref().map(|(commit, _)| *commit),
                id: CommitId::from_bytes(halves(self.seed()?).0),
                record,
            };
            let storage = &self.inner.storage;
            let outcome = match storage.commit(commit.clone()).await {
                // Whether it happened is unknown; a store recognises a commit that it has applied.
                Err(StorageError::Unavailable { .. }) => storage.commit(commit).await,
                answer => answer,
            };
            if outcome? == CommitOutcome::Applied {
                return Ok(next.into());
            }
        }
        Err(DirectoryError::Contention)
    }

    async fn load(&self, key: &Key) -> Result<Option<(CommitId, UserRecord)>, StorageError> {
        let mut found = self.inner.storage.load(std::slice::from_ref(key)).await?;
        found
            .pop()
            .flatten()
            .map(|stored| Ok((stored.commit, UserRecord::decode(&stored.value)?)))
            .transpose()
    }

    async fn by_subject(&self, subject: &Subject) -> Result<Option<UserRecord>, StorageError> {
        // The name may have been registered anew, as somebody else.
        let is_theirs = |user: &UserRecord| user.subject == *subject && !user.is_removed();
        let place = self.places().get(subject).cloned();
        if let Some(key) = place {
            match self.load(&key).await?.filter(|(_, user)| is_theirs(user)) {
                Some((_, user)) => return Ok(Some(user)),
                None => self.places().remove(subject),
            };
        }
        let listing = Listing::Index(record::index_of(subject)?);
        let mut after: Option<Cursor> = None;
        loop {
            let storage = &self.inner.storage;
            let page = storage.list(&listing, after.as_ref(), PAGE).await?;
            let found = storage.load(&page.keys).await?;
            for (key, stored) in page.keys.into_iter().zip(found) {
                let Some(stored) = stored.filter(|_| key.kind() == Kind::User) else { continue };
                let user = UserRecord::decode(&stored.value)?;
                if is_theirs(&user) {
                    self.remember(subject, key);
                    return Ok(Some(user));
                }
            }
            after = match page.next {
                Some(cursor) => Some(cursor),
                None => return Ok(None),
            };
        }
    }

    fn remember(&self, subject: &Subject, key: Key) {
        let mut places = self.places();
        if places.len() >= MAX_PLACES {
            // Any half: whoever is asked for again is found again.
            let mut keep = false;
            places.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        places.insert(subject.clone(), key);
    }

    /// Nobody panics while holding it.
    fn places(&self) -> MutexGuard<'_, BTreeMap<Subject, Key>> {
        self.inner.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn hash(&self, password: &SecretString) -> Result<String, DirectoryError> {
        let text = password.expose();
        if text.chars().count() < PASSWORD_CHARS || text.len() > PASSWORD_BYTES {
            return Err(DirectoryError::BadPassword);
        }
        let (salt, _) = halves(self.seed()?);
        Ok(self.inner.passwords.hash(password, salt).await?)
    }

    fn seed(&self) -> Result<[u8; 32], DirectoryError> {
        self.inner.entropy.seed().ok_or(DirectoryError::Entropy)
    }
}

#[async_trait]
impl Authenticator for Directory {
    async fn verify(&self, credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
        let name = Name::typed(&credentials.username);
        match self.inner.throttle.count(&name.digest(), credentials.source).await {
            Ok(()) => {}
            Err(RateLimited::Exceeded { retry_after }) => {
                return Ok(Verdict::Throttled { retry_after });
            }
            Err(RateLimited::Unavailable(cause)) => {
                return Err(AuthenticatorError::unavailable(cause));
            }
        }
        let key = name.key().map_err(AuthenticatorError::unavailable)?;
        let found = self.load(&key).await;
        let found = found.map_err(AuthenticatorError::unavailable)?;
        let user = found.map(|(_, user)| user).filter(|user| !user.is_removed());
        // Whoever is unknown, or disabled, costs as much as a wrong password: whether there is such
        // an account must not be measurable.
        let hash = user.as_ref().map(|user| user.password_hash.as_str());
        let verified = self.inner.passwords.verify(&credentials.password, hash).await;
        match (verified, user) {
            (Ok(true), Some(user)) if !user.disabled => Ok(Verdict::Verified(user.into())),
            (Ok(_), _) => Ok(Verdict::Refused),
            (Err(NotHashed::Busy), _) => Ok(Verdict::Throttled { retry_after: BUSY }),
            (Err(error), _) => Err(AuthenticatorError::unavailable(error)),
        }
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        let found = self.by_subject(subject).await;
        let found = found.map_err(AuthenticatorError::unavailable)?;
        Ok(found.filter(|user| !user.disabled).map(Account::from))
    }
}

const FOREVER: Timestamp = Timestamp::from_millis(i64::MAX);

fn halves(seed: [u8; 32]) -> ([u8; 16], [u8; 16]) {
    let (mut first, mut second) = ([0; 16], [0; 16]);
    let (head, tail) = seed.split_at(16);
    first.copy_from_slice(head);
    second.copy_from_slice(tail);
    (first, second)
}

impl Clone for Directory {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("storage", &self.inner.storage).finish_non_exhaustive()
    }
}
