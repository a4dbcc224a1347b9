//! The command line.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Parser, Subcommand, ValueEnum};
use grantor::model::{ClientAuthMethod, GrantType, Issuer};
use grantor_redis::Confirmation;

use crate::config::{InvalidStorageSpec, StorageSpec};
use crate::demo;
use crate::logging::LogFormat;
use crate::traces::Which;

/// An OAuth 2.1 authorization server.
#[derive(Clone, Debug, Parser)]
#[command(name = "grantor", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the process can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Explain the mistakes in a configuration, without running anything
    Check(CheckArgs),
    /// Register and manage clients
    #[command(subcommand)]
    Client(ClientCommand),
    /// Register and manage users
    #[command(subcommand)]
    User(UserCommand),
    /// Look at what was authorized, and revoke it
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Copy everything of one storage into another, while no server runs
    ///
    /// Arguments can be seen by every user of the machine. An address with a password belongs into the
    /// environment.
    Migrate(MigrateArgs),
    /// Say why requests were decided as they were, from a file of recorded decisions
    Explain(ExplainArgs),
    /// Try it: a server, an application and a calendar on this machine
    Demo(demo::Args),
}

/// Where the data is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Where the data is")]
pub struct StoreArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "GRANTOR_CONFIG")]
    pub config: Option<PathBuf>,
    /// sled:DIR, redis://HOST or memory: [default: sled:./grantor-data]
    ///
    /// Arguments can be seen by every user of the machine. An address with a password belongs into
    /// the environment or the configuration file.
    #[arg(
        long,
        env = "GRANTOR_STORAGE",
        hide_env_values = true,
        value_name = "STORAGE",
        value_parser = StorageParser
    )]
    pub storage: Option<StorageSpec>,
    /// Who has to have a change before it is answered, with Redis: local, replicas(N) or fsynced(N)
    /// [default: local]
    #[arg(long, value_name = "WHO", env = "GRANTOR_DURABILITY")]
    pub durability: Option<Confirmation>,
    /// Unix socket for administration [default: admin.sock in the data directory]
    #[arg(long, value_name = "PATH", env = "GRANTOR_ADMIN_SOCKET")]
    pub admin_socket: Option<PathBuf>,
}

/// Reads a [`StorageSpec`]. Unlike the usual parser it does not repeat in its error what was given,
/// since there may be a password in it.
#[derive(Clone, Copy, Debug)]
struct StorageParser;

impl TypedValueParser for StorageParser {
    type Value = StorageSpec;

    fn parse_ref(
        &self,
        cmd: &clap::Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<StorageSpec, clap::Error> {
        let parsed = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
        let parsed = parsed
            .and_then(|text| text.parse().map_err(|error: InvalidStorageSpec| error.to_string()));
        parsed.map_err(|error| {
            let name = arg.map(ToString::to_string).unwrap_or_default();
            let message = format!("invalid value for '{name}': {error}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(cmd)
        })
    }
}

/// `grantor serve`
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The address at which clients reach this server, such as `https://auth.example.com`
    #[arg(long, value_name = "URL", env = "GRANTOR_ISSUER")]
    pub issuer: Option<Issuer>,
    /// Address and port to listen on [default: 127.0.0.1:8400]
    #[arg(long, value_name = "ADDR", env = "GRANTOR_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Only a proxy that terminates TLS can reach the address that is listened on
    #[arg(
        long,
        env = "GRANTOR_TLS_TERMINATED",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new(),
        value_name = "BOOL"
    )]
    pub tls_terminated: Option<bool>,
    /// How log lines look [default: text]
    #[arg(long, env = "GRANTOR_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// File to record decisions in, for `grantor explain`
    #[arg(long, value_name = "FILE", env = "GRANTOR_TRACE_FILE")]
    pub trace_file: Option<PathBuf>,
    /// Which decisions are recorded [default: refusals]
    #[arg(long, value_name = "WHICH", env = "GRANTOR_TRACE")]
    pub trace: Option<Which>,
    #[expect(missing_docs, reason = "it documents itself")]
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `grantor check`
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Do not ask the Redis whether it is fit
    #[arg(long)]
    pub offline: bool,
    #[expect(missing_docs, reason = "it documents itself")]
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// `grantor migrate`
#[derive(Clone, Debug, Args)]
pub struct MigrateArgs {
    /// Where the records are: sled:DIR or redis://HOST
    #[arg(
        long,
        env = "GRANTOR_MIGRATE_FROM",
        hide_env_values = true,
        value_name = "STORAGE",
        value_parser = StorageParser
    )]
    pub from: StorageSpec,
    /// Where they are to be: sled:DIR or redis://HOST, empty, or left by an earlier run of the same
    /// command
    #[arg(
        long,
        env = "GRANTOR_MIGRATE_TO",
        hide_env_values = true,
        value_name = "STORAGE",
        value_parser = StorageParser
    )]
    pub to: StorageSpec,
    /// Count and compare, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    #[expect(missing_docs, reason = "it documents itself")]
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `grantor explain`
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// What `grantor serve --trace-file` wrote; `-` for standard input
    pub file: PathBuf,
    /// Only requests of this client
    #[arg(long, value_name = "ID")]
    pub client: Option<String>,
    /// Only the last so many
    #[arg(long, value_name = "COUNT")]
    pub last: Option<usize>,
}

/// How a result is shown.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// Print JSON, for scripts
    #[arg(long)]
    pub json: bool,
}

/// What every administration command can be told.
#[derive(Clone, Debug, Args)]
#[expect(missing_docs, reason = "each group documents itself")]
pub struct AdminArgs {
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `grantor client`
#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    /// Register a client, and print its id and secret once
    Add(Box<ClientAdd>),
    /// List the clients
    List(AdminArgs),
    /// Show one client
    Show(ClientId),
    /// Give a client a new secret; the old one works on for a day unless configured otherwise
    RotateSecret(ClientId),
    /// Remove a client and revoke all that was issued to it
    Remove(ClientId),
}

/// One client.
#[derive(Clone, Debug, Args)]
#[expect(missing_docs, reason = "each group documents itself")]
pub struct ClientId {
    /// The client's id
    pub id: String,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `grantor client add`
#[derive(Clone, Debug, Args)]
#[expect(missing_docs, reason = "each group documents itself")]
pub struct ClientAdd {
    /// Its name, as users see it
    #[arg(long)]
    pub name: String,
    /// Where codes may be sent; can be repeated
    #[arg(long = "redirect-uri", value_name = "URI")]
    pub redirect_uris: Vec<String>,
    /// The scopes that it may ask for, divided by spaces
    #[arg(long, default_value = "", hide_default_value = true)]
    pub scope: String,
    /// The grant types that it may use
    #[arg(
        long = "grant",
        value_name = "TYPE",
        value_delimiter = ',',
        value_enum,
        default_values_t = [GrantTypeArg::AuthorizationCode, GrantTypeArg::RefreshToken]
    )]
    pub grants: Vec<GrantTypeArg>,
    /// It cannot keep a secret: an app on the user's device or in the browser
    #[arg(long)]
    pub public: bool,
    /// It is installed on the user's device
    #[arg(long)]
    pub native: bool,
    /// It may introspect tokens that were issued to others
    #[arg(long)]
    pub resource_server: bool,
    /// It is your own: users are not asked
    #[arg(long)]
    pub skip_consent: bool,
    /// It is old, and may leave PKCE out
    #[arg(long)]
    pub pkce_optional: bool,
    /// Any port of a registered http://localhost address is fine, as it is for 127.0.0.1
    #[arg(long)]
    pub localhost_any_port: bool,
    /// Its id [default: a random one]
    #[arg(long)]
    pub id: Option<String>,
    /// How it may present its secret [default: both]
    #[arg(long = "auth-method", value_name = "METHOD", value_delimiter = ',', value_enum)]
    pub auth_methods: Vec<AuthMethodArg>,
    /// Its home page
    #[arg(long, value_name = "URL")]
    pub client_uri: Option<String>,
    /// Its logo
    #[arg(long, value_name = "URL")]
    pub logo_uri: Option<String>,
    /// Its privacy policy
    #[arg(long, value_name = "URL")]
    pub policy_uri: Option<String>,
    /// Its terms of service
    #[arg(long, value_name = "URL")]
    pub tos_uri: Option<String>,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// A grant type on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
#[expect(missing_docs, reason = "see `GrantType`")]
pub enum GrantTypeArg {
    AuthorizationCode,
    RefreshToken,
    ClientCredentials,
}

impl From<GrantTypeArg> for GrantType {
    fn from(arg: GrantTypeArg) -> Self {
        match arg {
            GrantTypeArg::AuthorizationCode => Self::AuthorizationCode,
            GrantTypeArg::RefreshToken => Self::RefreshToken,
            GrantTypeArg::ClientCredentials => Self::ClientCredentials,
        }
    }
}

/// A way to present a secret, on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
#[expect(missing_docs, reason = "see `ClientAuthMethod`")]
pub enum AuthMethodArg {
    ClientSecretBasic,
    ClientSecretPost,
}

impl From<AuthMethodArg> for ClientAuthMethod {
    fn from(arg: AuthMethodArg) -> Self {
        match arg {
            AuthMethodArg::ClientSecretBasic => Self::ClientSecretBasic,
            AuthMethodArg::ClientSecretPost => Self::ClientSecretPost,
        }
    }
}

/// `grantor user`
#[derive(Clone, Debug, Subcommand)]
pub enum UserCommand {
    /// Register a user
    Add(UserPassword),
    /// List the users
    List(AdminArgs),
    /// Replace a password, and revoke all that was issued in the user's name
    SetPassword(UserPassword),
    /// Switch an account off, and revoke all that was issued in the user's name
    Disable(UserName),
    /// Switch an account on again
    Enable(UserName),
    /// Remove a user, and revoke all that was issued in the user's name
    Remove(UserName),
}

/// One user.
#[derive(Clone, Debug, Args)]
#[expect(missing_docs, reason = "each group documents itself")]
pub struct UserName {
    /// The user's name
    #[arg(value_name = "NAME")]
    pub username: String,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// One user and a password, which is never an argument: others can read those.
#[derive(Clone, Debug, Args)]
#[expect(missing_docs, reason = "each group documents itself")]
pub struct UserPassword {
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    pub password_stdin: bool,
    #[command(flatten)]
    pub user: UserName,
}

/// `grantor grant`
#[derive(Clone, Debug, Subcommand)]
pub enum GrantCommand {
    /// List the authorizations
    List(GrantList),
    /// Revoke one authorization, or all of a user or a client
    Revoke(GrantRevoke),
}

/// `grantor grant list`
#[derive(Clone, Debug, Args)]
#[expect(missing_docs, reason = "each group documents itself")]
pub struct GrantList {
    /// Only those of this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `grantor grant revoke`
#[derive(Clone, Debug, Args)]
#[expect(missing_docs, reason = "each group documents itself")]
pub struct GrantRevoke {
    #[command(flatten)]
    pub which: GrantSelector,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Which authorizations.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct GrantSelector {
    /// The id of one, as `grantor grant list` shows it
    // One in 64 begins with a hyphen.
    #[arg(allow_hyphen_values = true)]
    pub id: Option<String>,
    /// All of this user, and the sessions
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// All of this client
    #[arg(long, value_name = "ID")]
    pub client: Option<String>,
}
