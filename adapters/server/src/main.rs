//! The `grantor` command.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    grantor_server::run(grantor_server::cli::Cli::parse())
}
