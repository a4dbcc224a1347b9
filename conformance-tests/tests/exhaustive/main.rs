//! The exhaustive check: *all* interleavings of a bounded world, over the production server itself.
//!
//! ```sh
//! cargo test -p grantor-conformance --test exhaustive                            # seconds
//! GRANTOR_FULL=1 cargo test --release -p grantor-conformance --test exhaustive   # minutes
//! ```
//!
//! # The world
//!
//! | who | what they do |
//! |---|---|
//! | Calendar, a client with a secret, and Phone, a public one | redeem, renew and revoke; an answer that is late or lost makes them ask again |
//! | Mallory, the thief | copies codes and tokens at any moment, and shows them: with a client of her own, with the client's name, with its secret but no verifier, or with everything; invents refresh tokens |
//! | Alice, the user | is sent to the authorization endpoint, allows less than was asked or nothing, sends the page twice, withdraws |
//! | the archive, a resource server | is shown access tokens |
//! | the operator | revokes everything of a user, of a client |
//! | the server | any number of processes on one store, each as slow as it likes; each may crash between any two calls to the store |
//! | the store | one linearizable map; may not answer a commit, done or not; sweeps at any moment that the contract allows |
//! | time | goes on at any moment, to the next one at which anything expires |
//!
//! A scene ([`scenes`]) says who takes part and how often each may do what. Within that, everything that
//! can happen next is tried in every state: a request is sent, the store answers one call of one
//! request in flight, an answer arrives or is lost, a process dies, a secret is copied, time passes, a
//! record is swept. [`rules`] are looked at after every change of the store and at every answer. Rules
//! that nothing could break would be no use, so [`mutation`] plants bugs, one at a time, and each must be
//! found, with a story that one can read; and every scene names what has to be seen in it, such as a
//! lost race or a noticed replay.
//!
//! # Why what it runs is the production code
//!
//! No decision and no part of the engine is written down again here. A request in flight *is* the future
//! of `AuthorizationServer::token`, `consent`, `withdraw_consent` and so on, polled against a store
//! that answers when the checker says so ([`server`]). So load, decide, commit, and starting over after a
//! conflict are the engine's own, with its own choice of what is loaded in which order; if the engine
//! changes, so does the world. What is left to compare is the store, and that requests which nobody
//! disturbs end as they do on the reference store, byte for byte: [`fidelity`].
//!
//! A future cannot be copied or compared, its history can: who asks what, and what the store answered
//! when. Equal histories are equal futures, since clock, randomness and store are all that a
//! request can see. A history is replayed once and then remembered, so that a state of the world is a
//! few numbers and a step costs microseconds.
//!
//! # What is left out, and why that is sound
//!
//! * *Secrets are not guessed.* Randomness is a function of the request and of how often it drew, so a
//!   secret is the same in every interleaving, and only who was given it or has copied it can show it.
//! * *Time has five values.* Between two of them nothing expires. A request sees one time between two calls
//!   to the store.
//! * *A load of several records is no snapshot.* Each record that somebody in the scene can change is
//!   read in a step of its own; one that nobody can change reads the same at any time, and is read with
//!   its neighbour.
//! * *A refusal arrives at once.* It carries no secret, and whoever waits for it longer only does less.
//! * *A crash takes one request.* Several are several crashes. What a process has in memory besides is the
//!   count of wrong secrets, and nobody here shows a wrong one.
//! * *A listing is one step and has one page*, and what it lists is loaded record by record. The
//!   contract allows no less: a key that was there all the time is listed.
//! * *The sweep is a step per record.* A sweep over all is any number of them.
//! * *Alice is signed in by the host* and her account stands. Sessions, passwords, and accounts that end are
//!   met by the tests over HTTP and by the random walks.
//! * *The bounds themselves.* What needs more requests, more clients or more time than a scene has is not
//!   found here. Most races need two requests in flight and a third that looks at the result.
//!
//! Requests are numbered per person, and so are the secrets that they get: two orders of steps that do
//! not touch each other lead to the same state, and no further symmetry is needed. States are told apart by
//! a hash of 64 bits, as stateright does: among a hundred million of them the chance that any one was
//! taken for another is below one in a thousand.
//!
//! # What the rules let pass
//!
//! A client that sends a refresh twice, gets one answer, and renews *again* with it while the other request
//! still waits in a slow server, has used the successor; the late duplicate is then reuse, and ends
//! the authorization. So says the policy ("until that answer was used"), since a late duplicate and a thief
//! look the same. The rule about retries is therefore about the newest token that a client has shown.
//! A code that is sent twice is a replay even if the first answer was lost (RFC 6749 section 4.1.2).
//!
//! # Why stateright
//!
//! It checks a model that is plain Rust, on all cores, in breadth first order, and has progress,
//! boundaries and paths ready. It is small and quiet (version 0.31 is of July 2025), and needs nothing of us but a state, its
//! actions and what comes of them, so that it could be replaced by a hundred lines. Two things are done here
//! and not there: it may report a path that is not the shortest, so it is asked again for something
//! shorter until there is none; and what has to be seen is counted while exploring, since its
//! `sometimes` stops at one example and needs all that leads to it in the state.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests report by panicking, also in their helpers"
)]

mod cast;
mod check;
mod fidelity;
mod mutation;
mod possible;
mod rules;
mod scenes;
mod server;
mod sights;
mod store;
mod story;
mod tables;
mod world;

use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::mutation::Mutation;
use crate::rules::Rule;
use crate::scenes::Scene;
use crate::world::World;

fn main() {
    let mut arguments = Arguments::from_args();
    // The checker has threads of its own, and what they print is to be read.
    arguments.test_threads = Some(1);
    let full = std::env::var_os("GRANTOR_FULL").is_some();
    let scenes = if full { scenes::LARGE } else { scenes::SMALL };
    let mut trials = vec![
        Trial::test("the store of the world is the reference", || {
            Ok(fidelity::the_store_of_the_world_is_the_reference()?)
        }),
        Trial::test("a driven request does what the server does", || {
            Ok(fidelity::a_driven_request_does_what_the_server_does(&scenes::SMALL)?)
        }),
    ];
    for scene in scenes {
        trials.push(Trial::test(format!("no rule is broken: {}", scene.name), move || {
            no_rule_is_broken(scene, full)
        }));
    }
    trials.push(Trial::test("every rule is broken by a seeded bug", every_rule_is_broken));
    for mutation in Mutation::ALL {
        trials
            .push(Trial::test(format!("a seeded bug is found: {}", mutation.words()), move || {
                a_seeded_bug_is_found(mutation)
            }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn no_rule_is_broken(scene: Scene, full: bool) -> Result<(), Failed> {
    println!();
    let deadline = Duration::from_secs(if full { 3600 } else { 300 });
    Ok(check::explore(scene, 2, deadline)?)
}

fn a_seeded_bug_is_found(mutation: Mutation) -> Result<(), Failed> {
    println!();
    let world = World::new(scenes::scene_of(mutation), Some(mutation));
    let found = check::find(world, Duration::from_secs(60));
    let (rule, story) = found.ok_or_else(|| format!("{mutation:?} was not found"))?;
    println!("{story}");
    if rule != mutation.breaks() {
        return Err(format!("{mutation:?} broke {rule:?}, not {:?}", mutation.breaks()).into());
    }
    Ok(())
}

fn every_rule_is_broken() -> Result<(), Failed> {
    let unbroken = Rule::ALL
        .into_iter()
        .find(|rule| Mutation::ALL.into_iter().all(|mutation| mutation.breaks() != *rule));
    match unbroken {
        None => Ok(()),
        Some(rule) => Err(format!("no seeded bug breaks {rule:?}").into()),
    }
}
