//! The binary `grantor` as a process: over real connections, under load, killed, on a full disk.
//!
//! The campaigns run small by default and at full size with `GRANTOR_FULL=1`; each prints what it did.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests report by panicking and printing, also in their helpers"
)]

mod connection;
mod crash;
mod disk;
mod patience;
mod process;
mod race;
mod sockets;
mod stranger;
mod walk;

/// How many rounds a campaign runs: the first number in CI, the second at full size.
fn rounds(small: usize, full: usize) -> usize {
    if std::env::var_os("GRANTOR_FULL").is_some() { full } else { small }
}
