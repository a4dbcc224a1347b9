//! Argon2id, with a bound on how many run at once.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use grantor::model::SecretString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// OWASP Password Storage Cheat Sheet, Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How many may wait for their turn, and for how long.
const QUEUE: usize = 256;
const PATIENCE: Duration = Duration::from_secs(5);

/// Hashes and checks passwords on threads of their own, so that guessing slows down nothing but
/// guessing (ATTACKS E15).
#[derive(Debug)]
pub(super) struct Passwords {
    argon2: Argon2<'static>,
    running: Arc<Semaphore>,
    waiting: Semaphore,
    /// Is checked in place of the hash of a user who is not there.
    dummy: Arc<str>,
}

/// Why a password was not looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotHashed {
    #[error("too many passwords are being checked")]
    Busy,
    #[error("the password could not be hashed: {0}")]
    Failed(String),
}

impl Passwords {
    /// `random` makes up the hash that is checked for nobody; no password is known to have it.
    pub(super) fn new(at_once: usize, random: &[u8; 32]) -> Result<Self, NotHashed> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(failed)?;
        let dummy = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).map_err(failed)?,
            salt: Some(Salt::new(&random[..16]).map_err(failed)?),
            hash: Some(Output::new(random).map_err(failed)?),
        };
        Ok(Self {
            dummy: dummy.to_string().into(),
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            running: Arc::new(Semaphore::new(at_once)),
            waiting: Semaphore::new(QUEUE),
        })
    }

    /// The hash of a password, as a PHC string.
    pub(super) async fn hash(
        &self,
        password: &SecretString,
        salt: [u8; 16],
    ) -> Result<String, NotHashed> {
        let (argon2, password) = (self.argon2.clone(), password.clone());
        self.run(move || {
            let hash = argon2.hash_password_with_salt(password.expose().as_bytes(), &salt);
            hash.map(|hash| hash.to_string()).map_err(failed)
        })
        .await?
    }

    /// Whether this is the password of the hash; without a hash, the same work and `false`.
    pub(super) async fn verify(
        &self,
        password: &SecretString,
        hash: Option<&str>,
    ) -> Result<bool, NotHashed> {
        let known = hash.is_some();
        let hash = hash.map_or_else(|| Arc::clone(&self.dummy), Arc::from);
        let (argon2, password) = (self.argon2.clone(), password.clone());
        let matches = self.run(move || {
            let hash = PasswordHash::new(&hash).map_err(failed)?;
            Ok(argon2.verify_password(password.expose().as_bytes(), &hash).is_ok())
        });
        Ok(matches.await?? && known)
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotHashed> {
        let permit = self.turn().await?;
        tokio::task::spawn_blocking(move || {
            // Held by the thread, which goes on when whoever asked is gone.
            let _permit = permit;
            // A thread of its own, since what has given way stays behind. Making one takes a thousandth
            // of what it does then.
            let hashing = thread::Builder::new().name("password".to_owned()).spawn(|| {
                give_way();
                job()
            });
            hashing.map_err(failed)?.join().map_err(|_| failed("a panic"))
        })
        .await
        .map_err(failed)?
    }

    /// Takes every turn.
    #[cfg(test)]
    pub(super) async fn occupy(&self) -> Vec<OwnedSemaphorePermit> {
        let mut turns = Vec::new();
        while self.running.available_permits() > 0 {
            turns.extend(Arc::clone(&self.running).acquire_owned().await);
        }
        turns
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, NotHashed> {
        let _place = self.waiting.try_acquire().map_err(|_| NotHashed::Busy)?;
        let turn = Arc::clone(&self.running).acquire_owned();
        match tokio::time::timeout(PATIENCE, turn).await {
            Ok(permit) => permit.map_err(failed),
            Err(_) => Err(NotHashed::Busy),
        }
    }
}

/// Lets the threads that answer requests go first: on a machine whose cores are all busy a token would
/// otherwise wait for as long as a hash takes. At this priority a hash still gets a tenth of a core
/// (measured: 11 %). At 19 it would be 4 %, under `SCHED_IDLE` 1.4 %, and no token would come measurably sooner:
/// what a token then waits for is the scheduler's tick (`grantor-sled`'s README has figures).
fn give_way() {
    // Elsewhere it would be the priority of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(%error, "passwords are hashed at the usual priority");
    }
}

fn failed(error: impl std::fmt::Display) -> NotHashed {
    NotHashed::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords() -> Passwords {
        Passwords::new(1, &[7; 32]).expect("valid parameters")
    }

    #[tokio::test]
    async fn a_hash_names_the_parameters_that_owasp_advises() {
        let passwords = passwords();
        let password = SecretString::new("correct horse battery staple");
        let hash = passwords.hash(&password, [1; 16]).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        // What is checked for nobody costs the same.
        assert!(passwords.dummy.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(passwords.dummy.len(), hash.len());
        assert!(passwords.verify(&password, Some(&hash)).await.expect("checked"));
        let wrong = SecretString::new("correct horse battery stapler");
        assert!(!passwords.verify(&wrong, Some(&hash)).await.expect("checked"));
        assert!(!passwords.verify(&password, None).await.expect("checked"));
    }

    #[tokio::test]
    async fn all_of_a_long_password_counts() {
        // ATTACKS E15: two that share their first 72 bytes are two passwords.
        let passwords = passwords();
        let [long, other] = ["a", "b"].map(|end| SecretString::new("x".repeat(72) + end));
        let hash = passwords.hash(&long, [1; 16]).await.expect("hashed");
        assert!(!passwords.verify(&other, Some(&hash)).await.expect("checked"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_waited_for_with_bounds() {
        // ATTACKS E15.
        let passwords = passwords();
        let password = SecretString::new("password");
        let _running = passwords.running.acquire().await.expect("open");
        let begun = tokio::time::Instant::now();
        let waited = passwords.verify(&password, None).await;
        assert!(matches!(waited, Err(NotHashed::Busy)));
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());

        let queue = u32::try_from(QUEUE).expect("small");
        let _waiting = passwords.waiting.acquire_many(queue).await.expect("open");
        let begun = tokio::time::Instant::now();
        let refused = passwords.verify(&password, None).await;
        assert!(matches!(refused, Err(NotHashed::Busy)));
        assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits in a full queue");
    }
}
