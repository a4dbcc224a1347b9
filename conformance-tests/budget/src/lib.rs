//! What a request to Grantor costs where nothing else is in the way: no network, no tasks, the store in
//! memory, a clock that stands and a random source that repeats itself. See the README.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a case that cannot be prepared, or is answered wrongly, has no cost to tell"
)]

mod axum;
mod decisions;
mod engine;
pub mod profile;
pub mod report;
mod requests;
mod wire;
mod world;

use std::hint::black_box;

pub use self::world::World;

/// One request, ready to be made. Making it panics if the answer is not the one that the case is about.
pub type Ready<'w> = Box<dyn FnOnce() + 'w>;

/// A request whose cost is told.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its level and its name: `wire/refresh`.
    pub name: &'static str,
    prepare: for<'w> fn(&'w World) -> Ready<'w>,
}

impl Case {
    /// Everything that comes before the request, such as the code that is to be exchanged.
    pub fn prepare<'w>(&self, world: &'w World) -> Ready<'w> {
        (self.prepare)(world)
    }
}

/// All of them: the pure decisions, the engine around them, the server from request to response, the
/// same under axum.
pub fn cases() -> impl Iterator<Item = Case> {
    decisions::CASES.into_iter().chain(engine::CASES).chain(wire::CASES).chain(axum::CASES)
}

/// How often a request is made before it is counted.
pub const WARM_UP: usize = 64;

/// Makes these requests. This is the function that is counted, and everything that it calls: valgrind is
/// told its name.
#[inline(never)]
pub fn count_this(requests: Vec<Ready<'_>>) {
    for request in black_box(requests) {
        request();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::{Budget, written};

    #[test]
    fn every_case_is_answered_as_its_name_says() {
        let mut names = BTreeSet::new();
        for case in cases() {
            assert!(names.insert(case.name), "{} is there twice", case.name);
            let world = World::new();
            let requests: Vec<Ready<'_>> = (0..3).map(|_| case.prepare(&world)).collect();
            count_this(requests);
        }
        assert!(names.len() > 25, "{names:?}");
    }

    /// A refresh token that is revoked, or presented after its successor was used, takes all with it: else
    /// the two cases would count a request that does nothing.
    #[test]
    fn the_writes_that_no_answer_shows_are_made() {
        for (token, name) in [
            (World::refresh_token as fn(&World, &world::Party) -> String, "wire/revoke"),
            (World::stolen_refresh_token, "wire/reuse"),
        ] {
            let case = cases().find(|case| case.name == name).expect("the case");
            let (world, same) = (World::new(), World::new());
            // Two worlds make the same tokens.
            let id =
                world::renewal(&token(&same, &same.confidential)).refresh_token.expect("one").id;
            let request = case.prepare(&world);
            let before = world.grant(id);
            request();
            let after = world.grant(id);
            assert_ne!(before, after, "{name} has written nothing");
        }
    }

    #[test]
    fn the_table_in_the_documentation_is_the_budget() {
        let budget: Budget = include_str!("../budget.tsv").parse().expect("a budget");
        let page = include_str!("../../../core/docs/performance.md");
        assert!(
            written(page, &budget).as_deref() == Some(page),
            "core/docs/performance.md has another table than budget.tsv: conformance-tests/budget/run --accept"
        );
    }
}
