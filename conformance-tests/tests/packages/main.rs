//! What the packages promise to whoever depends on them: what they bring along, which features they have, and what
//! of them can be used.

#![expect(clippy::expect_used, clippy::panic, reason = "tests")]

mod cargo;
mod dependencies;
mod features;
mod public_api;
