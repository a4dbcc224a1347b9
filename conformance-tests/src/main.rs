//! The `grantor-conformance` command.

use std::process::ExitCode;

use clap::Parser as _;
use grantor_conformance::runner::cli::{Cli, main as run};

fn main() -> ExitCode {
    run(Cli::parse())
}
