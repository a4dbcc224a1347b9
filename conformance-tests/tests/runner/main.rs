//! The black-box runner, tested both ways: a good server passes, and a server that was spoilt in one
//! way fails the checks of just that.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests report by panicking, also in their helpers"
)]

mod binary;
mod front;
mod mutants;
mod ours;
mod registrar;
mod reports;
mod rules;
mod shapes;
mod spoil;
