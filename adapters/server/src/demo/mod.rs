//! The demo: an authorization server, an application and a calendar to try it with.

use std::path::PathBuf;

/// What the demo can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where the demo keeps its data
    #[arg(long, value_name = "DIR", default_value = "./grantor-data/demo")]
    pub data: PathBuf,
    /// The first of the ports that it listens on
    #[arg(long, default_value_t = 8400)]
    pub port: u16,
}

/// Runs the demo until it is stopped.
pub async fn run(_args: Args) -> Result<(), Error> {
    Err(Error::NotBuilt)
}

/// Why the demo does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none in this version.
    #[error("this version was built without the demo")]
    NotBuilt,
}
