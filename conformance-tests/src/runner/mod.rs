//! The black-box runner: an authorization server, anybody's, met over HTTP only.
//!
//! [`run()`] finds out about the server from its metadata, gets clients, signs a user in, and does one
//! check after another; each is of one or more requirements of the [catalogue](crate::requirements).
//! The binary `grantor-conformance` is a command line around it.

pub(crate) mod browser;
mod catalogue;
mod check;
mod checks;
pub mod cli;
pub mod config;
mod discovery;
mod evidence;
pub mod ours;
pub(crate) mod page;
pub(crate) mod probe;
mod progress;
mod registration;
pub mod report;
mod run;
mod secrets;
mod verdict;
mod waivers;
pub(crate) mod wire;

pub use catalogue::Requirement;
pub use check::{Check, Kind, Subject};
pub use checks::SUBJECTS;
pub use run::{Observer, Options, Report, RunError, run};
pub use secrets::Secret;
pub use verdict::{CheckResult, Exchange, Verdict, Weight};
pub use waivers::Waivers;
pub use wire::{TlsError, WireError};
