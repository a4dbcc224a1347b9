//! The command line.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::checks::SUBJECTS;
use super::config::{AuthMethod, Client, Config, Endpoint, Role};
use super::progress::Progress;
use super::report;
use super::run::{Options, run};
use super::secrets::Secret;
use super::waivers::Waivers;

/// Tests an OAuth 2 authorization server over HTTP, against the requirements of its specifications.
#[derive(Clone, Debug, Parser)]
#[command(name = "grantor-conformance", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Test a server
    Run(Box<RunArgs>),
    /// List the checks
    List(ListArgs),
}

/// `grantor-conformance list`
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Print JSON, for scripts
    #[arg(long)]
    pub json: bool,
}

/// `grantor-conformance run`
#[derive(Clone, Debug, Args)]
#[expect(missing_docs, reason = "each option documents itself")]
pub struct RunArgs {
    /// The issuer identifier, as the server's metadata has it
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// What is known about the server: clients, user, forms (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where the metadata is, if not at a well-known address
    #[arg(long, value_name = "URL", help_heading = "Endpoints that metadata does not name")]
    pub metadata_url: Option<String>,
    #[arg(long, value_name = "URL", help_heading = "Endpoints that metadata does not name")]
    pub authorization_endpoint: Option<String>,
    #[arg(long, value_name = "URL", help_heading = "Endpoints that metadata does not name")]
    pub token_endpoint: Option<String>,
    #[arg(long, value_name = "URL", help_heading = "Endpoints that metadata does not name")]
    pub revocation_endpoint: Option<String>,
    #[arg(long, value_name = "URL", help_heading = "Endpoints that metadata does not name")]
    pub introspection_endpoint: Option<String>,
    #[arg(long, value_name = "URL", help_heading = "Endpoints that metadata does not name")]
    pub registration_endpoint: Option<String>,
    /// A protected resource that takes the tokens with GET [default: userinfo_endpoint]
    #[arg(long, value_name = "URL", help_heading = "Endpoints that metadata does not name")]
    pub resource: Option<String>,

    /// A client with a secret, which is read from GRANTOR_CONFORMANCE_CLIENT_SECRET
    #[arg(long, value_name = "ID", help_heading = "Clients and user")]
    pub client_id: Option<String>,
    /// A client without a secret
    #[arg(long, value_name = "ID", help_heading = "Clients and user")]
    pub public_client_id: Option<String>,
    /// Where these clients are registered to get their codes; nobody is ever sent there
    #[arg(long, value_name = "URI", help_heading = "Clients and user")]
    pub redirect_uri: Option<String>,
    /// The scopes to ask for, divided by spaces
    #[arg(long, help_heading = "Clients and user")]
    pub scope: Option<String>,
    /// Do not register clients, even where the server offers it
    #[arg(long, help_heading = "Clients and user")]
    pub no_registration: bool,
    /// The user who signs in; the password is read from GRANTOR_CONFORMANCE_PASSWORD
    #[arg(long, value_name = "NAME", help_heading = "Clients and user")]
    pub username: Option<String>,
    /// A command that signs in and consents: it gets the authorization URL as a line on standard
    /// input and prints the address of the last redirect
    #[arg(long, value_name = "CMD", help_heading = "Clients and user")]
    pub login_hook: Option<String>,

    /// Failures that are accepted, with reasons (TOML)
    #[arg(long, value_name = "FILE", help_heading = "Checks")]
    pub waivers: Option<PathBuf>,
    /// Only requirements whose ids begin so; can be repeated
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', help_heading = "Checks")]
    pub only: Vec<String>,
    /// No requirements whose ids begin so; can be repeated
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', help_heading = "Checks")]
    pub skip: Vec<String>,
    /// Also guess secrets of the test client and the test user until the server stops it
    #[arg(long, help_heading = "Checks")]
    pub intrusive: bool,
    /// Also wait so long for a code to expire, such as 10m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Checks")]
    pub patience: Option<Duration>,
    /// What could not be found out fails the run too
    #[arg(long, help_heading = "Checks")]
    pub strict: bool,

    /// For one answer
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s", help_heading = "Manners")]
    pub timeout: Duration,
    /// For the whole run
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "30m", help_heading = "Manners")]
    pub deadline: Duration,
    /// Requests a second at most [default: as fast as the server answers]
    #[arg(long, value_name = "N", help_heading = "Manners")]
    pub rate: Option<f64>,
    /// A certificate authority to trust besides those of the system (PEM)
    #[arg(long, value_name = "FILE", help_heading = "Manners")]
    pub ca_file: Option<PathBuf>,

    /// Write the results as JSON
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub json: Option<PathBuf>,
    /// Write the results for a CI system
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub junit: Option<PathBuf>,
    /// Write the results as a page to read
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub html: Option<PathBuf>,
    /// Also print what has passed
    #[arg(long, short, help_heading = "Results")]
    pub verbose: bool,
}

/// The run cannot be started.
const CANNOT: u8 = 2;

/// Does what the command line says. 0: nothing binding has failed. 1: something has. 2: it could not
/// be found out.
pub fn main(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::List(args) => list(&args).map(|()| ExitCode::SUCCESS),
        Command::Run(args) => start(&args),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr().lock(), "error: {error}");
        ExitCode::from(CANNOT)
    })
}

type Failure = Box<dyn std::error::Error>;

fn start(args: &RunArgs) -> Result<ExitCode, Failure> {
    let options = args.options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut progress = Progress::new(args.verbose && !io::stdout().is_terminal());
    let report = runtime.block_on(run(&options, &mut progress));
    progress.finish();
    let report = report?;
    for (path, write) in [
        (&args.json, report::json as fn(&super::Report) -> Result<String, report::WriteError>),
        (&args.junit, report::junit),
        (&args.html, report::html),
    ] {
        if let Some(path) = path {
            let text = write(&report)?;
            std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    show(&report::table(&report, args.verbose))?;
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    show(&if args.json { report::list_json(&SUBJECTS)? } else { report::list(&SUBJECTS) })?;
    Ok(())
}

/// Prints. Whoever reads it may stop reading, as `head` does.
fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

impl RunArgs {
    /// The configuration file with what the command line adds and replaces.
    fn options(&self) -> Result<Options, Failure> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        let replace = |value: &mut Option<String>, given: &Option<String>| {
            if given.is_some() {
                value.clone_from(given);
            }
        };
        replace(&mut config.issuer, &self.issuer);
        replace(&mut config.metadata_url, &self.metadata_url);
        replace(&mut config.resource, &self.resource);
        replace(&mut config.scope, &self.scope);
        replace(&mut config.redirect_uri, &self.redirect_uri);
        replace(&mut config.user.username, &self.username);
        // Others on the machine can read arguments.
        if let Ok(password) = std::env::var("GRANTOR_CONFORMANCE_PASSWORD") {
            config.user.password = Some(Secret::new(password));
        }
        for (endpoint, given) in [
            (Endpoint::Authorization, &self.authorization_endpoint),
            (Endpoint::Token, &self.token_endpoint),
            (Endpoint::Revocation, &self.revocation_endpoint),
            (Endpoint::Introspection, &self.introspection_endpoint),
            (Endpoint::Registration, &self.registration_endpoint),
        ] {
            if let Some(url) = given {
                config.endpoints.insert(endpoint, url.clone());
            }
        }
        config.registration.off |= self.no_registration;
        self.add_clients(&mut config)?;
        let is_known = |id: &str| {
            SUBJECTS.iter().any(|s| s.checks.iter().any(|check| check.ids.contains(&id)))
        };
        let waivers = match &self.waivers {
            Some(path) => Waivers::load(path, is_known)?,
            None => Waivers::default(),
        };
        Ok(Options {
            config,
            waivers,
            only: self.only.clone(),
            skip: self.skip.clone(),
            intrusive: self.intrusive,
            patience: self.patience,
            login_hook: self.login_hook.clone(),
            timeout: self.timeout,
            deadline: self.deadline,
            rate: self.rate,
            authority: self.ca_file.clone(),
            strict: self.strict,
        })
    }

    fn add_clients(&self, config: &mut Config) -> Result<(), Failure> {
        let redirect_uris: Vec<String> = config.redirect_uri.iter().cloned().collect();
        let client = |id: &str, secret: Option<Secret>| Client {
            id: id.to_owned(),
            auth: secret.is_none().then_some(AuthMethod::None),
            secret,
            redirect_uris: redirect_uris.clone(),
            scope: None,
            name: None,
        };
        if (self.client_id.is_some() || self.public_client_id.is_some()) && redirect_uris.is_empty()
        {
            return Err("a client needs its --redirect-uri".into());
        }
        if let Some(id) = &self.client_id {
            let secret = std::env::var("GRANTOR_CONFORMANCE_CLIENT_SECRET").map_err(|_| {
                "the secret of --client-id is read from GRANTOR_CONFORMANCE_CLIENT_SECRET, which is not set"
            })?;
            config.clients.insert(Role::Confidential, client(id, Some(Secret::new(secret))));
        }
        if let Some(id) = &self.public_client_id {
            config.clients.insert(Role::Public, client(id, None));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
