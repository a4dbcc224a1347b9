//! Grantor as a process: the authorization server, a user directory, administration.
//!
//! Running it is a chapter of [the book](grantor::guide::production).
//!
//! The binary is `grantor`. What it is made of can be used on its own:
//!
//! * [`http::serve`] serves any service over HTTP/1.1, with bounds on what a client can hold on to.
//! * [`users::Directory`] is an [`Authenticator`](grantor::Authenticator) on Grantor's own store.
//! * [`audit::AuditLog`] logs what happens, [`traces::TraceFile`] records why,
//!   [`sweep::Sweeper`] keeps the store small.

pub mod admin;
pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
pub mod demo;
pub mod http;
pub mod logging;
pub mod migrate;
pub mod output;
pub mod serve;
pub mod shutdown;
pub mod store;
pub mod sweep;
pub mod traces;
pub mod users;

mod command;

use std::error::Error as StdError;
use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::{Cli, Command};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the error of one module")]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error(transparent)]
    Logging(#[from] logging::BadFilter),
    #[error(transparent)]
    Open(#[from] store::OpenError),
    #[error(transparent)]
    Serve(#[from] serve::ServeError),
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    #[error(transparent)]
    Password(#[from] command::PasswordError),
    #[error(transparent)]
    Migrate(#[from] migrate::MigrateError),
    #[error(transparent)]
    Explain(#[from] traces::ExplainError),
    #[error(transparent)]
    Demo(#[from] demo::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot write the result")]
    Output(#[source] std::io::Error),
}

/// Runs a command to its end. What went wrong is said on standard error.
pub fn run(cli: Cli) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(execute(cli.command)),
        Err(error) => Err(Error::Runtime(error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell that standard error is closed.
            let _ = report(&error);
            ExitCode::FAILURE
        }
    }
}

fn report(error: &Error) -> std::io::Result<()> {
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "error: {error}")?;
    let mut source = error.source();
    while let Some(cause) = source {
        write!(stderr, ": {cause}")?;
        source = cause.source();
    }
    writeln!(stderr)
}

fn explain(args: &cli::ExplainArgs) -> Result<(), Error> {
    let mut explained = Ok(());
    let written = output::to_stdout(|out| match traces::explain(args, out) {
        Err(traces::ExplainError::Output(error)) => Err(error),
        other => {
            explained = other;
            Ok(())
        }
    });
    written.map_err(Error::Output)?;
    Ok(explained?)
}

async fn check(args: &cli::CheckArgs) -> Result<(), Error> {
    let settings = config::Settings::load(&args.serve)?;
    let is_redis = matches!(settings.storage, config::StorageSpec::Redis(_));
    let redis = match is_redis && !args.offline {
        true => {
            let store = store::Store::open(&settings.storage).await?;
            settings.check(&store.storage.promises())?;
            store.redis.map(|redis| redis.report())
        }
        false => None,
    };
    output::to_stdout(|out| output::checked(out, &settings, redis.as_deref()))
        .map_err(Error::Output)
}

async fn migrate(args: &cli::MigrateArgs) -> Result<(), Error> {
    logging::start(logging::LogFormat::Text, "warn")?;
    if let config::StorageSpec::Redis(_) = args.from {
        // There is nobody left to tell that standard error is closed.
        let _ = writeln!(
            std::io::stderr().lock(),
            "Nothing keeps a server from writing to {} meanwhile: stop all of them first.",
            args.from
        );
    }
    let outcome = migrate::migrate(args).await?;
    output::to_stdout(|out| match args.output.json {
        true => migrate::json(out, &outcome),
        false => migrate::text(out, &outcome),
    })
    .map_err(Error::Output)?;
    Ok(outcome.check()?)
}

async fn execute(command: Command) -> Result<(), Error> {
    match command {
        Command::Serve(args) => {
            let settings = config::Settings::load(&args)?;
            logging::start(settings.log_format, "info")?;
            Ok(serve::serve(settings).await?)
        }
        Command::Check(args) => check(&args).await,
        Command::Client(command) => command::client(command).await,
        Command::User(command) => command::user(command).await,
        Command::Grant(command) => command::grant(command).await,
        Command::Migrate(args) => migrate(&args).await,
        Command::Explain(args) => explain(&args),
        Command::Demo(args) => Ok(demo::run(args).await?),
    }
}
