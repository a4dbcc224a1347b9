//! The ways in which a good server is spoilt.

mod authorization;
mod clients;
mod metadata;
mod pages;
pub(crate) mod registration;
mod resource;
mod token;
mod tokens;

use crate::mutants::Rule;
use crate::spoil::{After, Answered, Asked, Before, Memory, Spoil};

/// All of them.
pub(crate) fn all() -> Vec<Rule> {
    [
        metadata::rules(),
        authorization::rules(),
        pages::rules(),
        token::rules(),
        tokens::rules(),
        clients::rules(),
        resource::rules(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A server that is spoilt in what it takes.
fn before(story: &'static str, fails: &'static [&'static str], before: Before) -> Rule {
    both(story, fails, before, as_it_comes)
}

/// A server that is spoilt in what it answers.
fn after(story: &'static str, fails: &'static [&'static str], after: After) -> Rule {
    both(story, fails, |_, _| None, after)
}

fn both(story: &'static str, fails: &'static [&'static str], before: Before, after: After) -> Rule {
    Rule { story, fails, spoil: Spoil::new(before, after) }
}

/// Nothing happens to answers.
fn as_it_comes(_: &mut Memory, _: &Asked, _: &mut Answered) {}
