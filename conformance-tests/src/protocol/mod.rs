//! The protocol as random walks: for authors of backends, and for whoever embeds the server.
//!
//! A walk is a story of honest clients, users and thieves at one real server over one real store. They
//! register, ask, sign in, allow all or part or nothing, redeem, renew, revoke, introspect, steal, guess, replay
//! and come back late; several of them at once, while time passes by steps around every lifetime. The
//! store fails before and after it wrote, writes late or twice; the process dies before, in the middle of,
//! or after any call to the store, and another one opens what is left. Time, randomness and order are
//! told, so a walk is the same each time.
//!
//! Every answer is held against a small reference, [`model`], which is written from the
//! specifications and knows nothing of the production code. Where an answer never came, the reference
//! goes on with every world that is possible, until later answers tell them apart. What does not fit breaks
//! one of the [invariants](invariant::Invariant), each of which names its clause.
//!
//! # For the author of a backend
//!
//! One line, beside that of the [storage suite](crate::storage) and with the same
//! [`Backend`]:
//!
//! ```
//! # use std::error::Error;
//! # use std::path::PathBuf;
//! # use grantor::storage::MemoryStorage;
//! # use grantor_conformance::storage::{Backend, Processes};
//! # struct MyBackend;
//! # impl Backend for MyBackend {
//! #     type Store = MemoryStorage;
//! #     const PROCESSES: Processes = Processes::Private;
//! #     async fn create() -> Self { Self }
//! #     fn address(&self) -> String { String::new() }
//! #     async fn open(_: &str) -> Result<MemoryStorage, Box<dyn Error + Send + Sync>> {
//! #         Ok(MemoryStorage::new())
//! #     }
//! #     fn files(&self) -> Vec<PathBuf> { vec![] }
//! # }
//! grantor_conformance::protocol_suite!(MyBackend);
//! # fn main() {}
//! ```
//!
//! The storage suite says which clause of the contract a store breaks; this says what becomes of
//! authorizations on it. A failing walk is shortened, and told in numbered sentences:
//!
//! ```text
//! 1. the app sends alice's browser to ask for read write (authorization 2): the user is asked
//! 2. alice's browser opens authorization 2: asked to sign in
//! 3. in alice's browser somebody signs in as alice with a right password (authorization 2): signed in
//! 4. alice's browser opens authorization 2: asked to allow read write
//! 5. alice's browser answers the page that alice was shown: allows read write to authorization 2: back to the client with code #6
//! 6. the app redeems code #6 with a wrong verifier: gets access token #7 for read write and 3600 s, refresh token #8
//! This is broken: CodeBoundToVerifier (RFC 7636 section 4.6): A code works only with the verifier of
//! its challenge, and guesses are bounded.
//! ```
//!
//! Then the walk itself follows, as it can be written into [`regressions`].
//!
//! # For whoever embeds the server
//!
//! What was checked, and how often, is in the README of this package. Each run counts which requests,
//! answers, troubles and invariants it reached and fails if one is missing, so that no check is vacuous; and
//! a table of [seeded bugs](bug::BUGS) shows that each invariant can fail.
//!
//! # At full size
//!
//! `GRANTOR_FULL=1` takes a hundred times as many walks, twice as long, from a seed that is printed;
//! `PROPTEST_CASES` says how many, `GRANTOR_SEED` which ones.
//!
//! # Where things are
//!
//! | module | what |
//! |---|---|
//! | [`invariant`] | what must hold, and which clause demands it |
//! | [`model`] | the reference: what is true, and what each request may do to it |
//! | [`request`] | requests and answers, and how they are told |
//! | [`check`] | all orders in which the answers can be true |
//! | [`walk`] | what a walk is made of, and how one is drawn |
//! | [`http`] | requests and pages, as a client and a browser see them |
//! | [`gate`] | one call to the store at a time, and what goes wrong there |
//! | [`coverage`] | what was reached |
//! | [`bug`] | the seeded bugs |
//! | [`regressions`] | walks that once went wrong |

pub mod bug;
pub mod check;
pub mod coverage;
pub mod gate;
pub mod http;
pub mod invariant;
pub mod model;
mod play;
pub mod regressions;
pub mod request;
mod system;
pub mod walk;

use std::cell::RefCell;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::bug::Bug;
use self::coverage::Coverage;
use self::invariant::Invariant;
pub use self::play::{Failure, play};
use self::walk::{Walk, walks};
use crate::storage::Backend;

/// How many walks a campaign takes, how long each is, and from which seed they are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// Walks.
    pub walks: u32,
    /// Turns of the longest.
    pub turns: usize,
    /// The same seed draws the same walks.
    pub seed: u64,
}

impl Campaign {
    /// As many walks as the environment says: `PROPTEST_CASES`, or a hundred times as many with
    /// `GRANTOR_FULL=1`. The seed is 0, another one in every full campaign, or `GRANTOR_SEED`.
    pub fn of(walks: u32) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let full = std::env::var("GRANTOR_FULL").is_ok_and(|full| full == "1");
        let drawn = || {
            use std::hash::{BuildHasher as _, RandomState};
            RandomState::new().hash_one(0)
        };
        let chosen = number("PROPTEST_CASES").and_then(|walks| u32::try_from(walks).ok());
        Self {
            walks: chosen.unwrap_or(if full { walks * 100 } else { walks }),
            turns: if full { 60 } else { 30 },
            seed: number("GRANTOR_SEED").unwrap_or_else(|| if full { drawn() } else { 0 }),
        }
    }

    fn runner(&self) -> TestRunner {
        let mut seed = [0; 32];
        let (head, _) = seed.split_at_mut(8);
        head.copy_from_slice(&self.seed.to_be_bytes());
        let config = Config {
            cases: self.walks,
            failure_persistence: None,
            max_shrink_iters: 4000,
            ..Config::default()
        };
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime starts")
}

/// Takes random walks over this backend. Any walk that breaks an invariant is shortened and told.
pub fn random_walks<B: Backend>(campaign: Campaign) -> Coverage {
    match shortest::<B>(Bug::None, campaign) {
        Ok(coverage) => coverage,
        Err((walk, failure)) => {
            panic!("seed {}: the shortest walk that fails:\n{failure}\n{walk:?}\n", campaign.seed)
        }
    }
}

/// Takes random walks with this bug in the world: what they reached, or the shortest one that fails.
pub fn shortest<B: Backend>(bug: Bug, campaign: Campaign) -> Result<Coverage, (Walk, Failure)> {
    let runtime = runtime();
    let reached = RefCell::new(Coverage::default());
    let broken = RefCell::new(None);
    let result = campaign.runner().run(&walks(campaign.turns), |walk| {
        match runtime.block_on(play::<B>(&walk, bug)) {
            Ok(coverage) => {
                let mut reached = reached.borrow_mut();
                reached.add(&coverage);
                if reached.walks.is_multiple_of(1000) {
                    progress(&reached, campaign);
                }
                Ok(())
            }
            Err(failure) => {
                let invariant = failure.invariant;
                // While it is shortened, it stays the same failure.
                let first = *broken.borrow_mut().get_or_insert(invariant);
                if first == invariant { Err(TestCaseError::fail(first.name())) } else { Ok(()) }
            }
        }
    });
    match result {
        Ok(()) => Ok(reached.into_inner()),
        Err(TestError::Fail(_, walk)) => match runtime.block_on(play::<B>(&walk, bug)) {
            Err(failure) => Err((walk, failure)),
            Ok(_) => panic!(
                "seed {}: a walk failed once and not again, so the backend is not deterministic: {walk:?}",
                campaign.seed
            ),
        },
        Err(error) => panic!("seed {}: {error}", campaign.seed),
    }
}

#[expect(clippy::print_stderr, reason = "a long campaign says how far it is")]
fn progress(reached: &Coverage, campaign: Campaign) {
    let Coverage { walks, requests, crashes, faults, .. } = reached;
    eprintln!(
        "seed {}: {walks} of {} walks, {requests} requests, {crashes} crashes, {faults} turns with faults",
        campaign.seed, campaign.walks
    );
}

/// Makes the tests of the protocol on one [`Backend`]: random walks, and the walks that once went wrong.
///
/// `walks` is how many are taken where nothing else is said; 300 by default. From 150 on, a run has to
/// reach everything that there is to reach.
#[macro_export]
macro_rules! protocol_suite {
    ($backend:ty) => {
        $crate::protocol_suite!($backend, walks = 300);
    };
    ($backend:ty, walks = $walks:expr) => {
        mod protocol {
            use super::*;

            #[test]
            fn random_walks_break_no_invariant() {
                let campaign = $crate::protocol::Campaign::of($walks);
                $crate::protocol::report(&$crate::protocol::random_walks::<$backend>(campaign));
            }

            #[test]
            fn walks_that_once_went_wrong_break_nothing() {
                $crate::protocol::retake::<$backend>();
            }
        }
    };
}

/// Prints what was reached, and fails if something is missing.
#[expect(clippy::print_stdout, reason = "the table is the report")]
pub fn report(coverage: &Coverage) {
    println!("{coverage}");
    let missing = coverage.missing();
    let troubles = missing.iter().filter(|what| what.starts_with("trouble")).count();
    assert!(
        coverage.walks < ENOUGH_WALKS || missing.is_empty(),
        "these walks never reached {missing:?}: what they do not reach, they do not check"
    );
    assert!(coverage.cut_short * 50 <= coverage.walks, "too many walks were cut short");
    assert!(coverage.walks < 10 || troubles < 8, "these walks met no trouble at all");
}

/// From so many walks on, all that can be reached is.
const ENOUGH_WALKS: u64 = 150;

/// Takes the walks that once went wrong.
pub fn retake<B: Backend>() {
    let runtime = runtime();
    for (about, walk) in regressions::walks() {
        if let Err(failure) = runtime.block_on(play::<B>(&walk, Bug::None)) {
            panic!("{about}:\n{failure}");
        }
    }
}

/// Random walks with a bug in the world until one breaks this invariant: which one did, and its story.
pub fn find<B: Backend>(
    bug: Bug,
    invariant: Invariant,
    campaign: Campaign,
) -> Option<(u32, Walk, Failure)> {
    let runtime = runtime();
    let mut runner = campaign.runner();
    let strategy = walks(campaign.turns);
    for n in 1..=campaign.walks {
        let walk = strategy.new_tree(&mut runner).expect("nothing is rejected").current();
        match runtime.block_on(play::<B>(&walk, bug)) {
            Err(failure) if failure.invariant == invariant => return Some((n, walk, failure)),
            Ok(_) | Err(_) => {}
        }
    }
    None
}
