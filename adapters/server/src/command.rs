//! The administration commands: from the command line to a request, and from its reply to the
//! screen.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use grantor::model::{ApplicationType, ClientType, SecretString};
use zeroize::Zeroizing;

use crate::Error;
use crate::admin::{AdminReply, AdminRequest, NewClient, SecretText, submit};
use crate::cli::{
    AdminArgs, ClientAdd, ClientCommand, GrantCommand, GrantSelector, UserCommand, UserPassword,
};
use crate::config::AdminSettings;
use crate::{logging, output};

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// There is nobody to ask.
    #[error(
        "there is no terminal to ask for the password; write it to standard input and say --password-stdin"
    )]
    NoTerminal,
    /// A typing error.
    #[error("the two passwords are not the same")]
    Different,
    /// More than a password.
    #[error("standard input holds more than one line, or more than 1024 bytes")]
    TooLong,
    /// The operating system refused.
    #[error("cannot read the password")]
    Io(#[from] std::io::Error),
}

const MAX_PASSWORD: u64 = 1024;

pub(crate) async fn client(command: ClientCommand) -> Result<(), Error> {
    use AdminRequest as R;

    let (request, admin) = match command {
        ClientCommand::Add(add) => {
            let admin = add.admin.clone();
            (R::ClientAdd(Box::new(new_client(*add))), admin)
        }
        ClientCommand::List(admin) => (R::ClientList, admin),
        ClientCommand::Show(client) => (R::ClientShow { id: client.id }, client.admin),
        ClientCommand::RotateSecret(client) => {
            (R::ClientRotateSecret { id: client.id }, client.admin)
        }
        ClientCommand::Remove(client) => (R::ClientRemove { id: client.id }, client.admin),
    };
    finish(request, &admin).await
}

pub(crate) async fn user(command: UserCommand) -> Result<(), Error> {
    use AdminRequest as R;

    let (request, admin) = match command {
        UserCommand::Add(args) => {
            let password = password(&args)?;
            let username = args.user.username;
            (R::UserAdd { username, password }, args.user.admin)
        }
        UserCommand::SetPassword(args) => {
            let password = password(&args)?;
            let username = args.user.username;
            (R::UserSetPassword { username, password }, args.user.admin)
        }
        UserCommand::List(admin) => (R::UserList, admin),
        UserCommand::Disable(user) => {
            let username = user.username;
            (R::UserDisable { username }, user.admin)
        }
        UserCommand::Enable(user) => {
            let username = user.username;
            (R::UserEnable { username }, user.admin)
        }
        UserCommand::Remove(user) => {
            let username = user.username;
            (R::UserRemove { username }, user.admin)
        }
    };
    finish(request, &admin).await
}

pub(crate) async fn grant(command: GrantCommand) -> Result<(), Error> {
    use AdminRequest as R;

    let (request, admin) = match command {
        GrantCommand::List(list) => (R::GrantList { username: list.user }, list.admin),
        GrantCommand::Revoke(revoke) => {
            let request = match revoke.which {
                GrantSelector { user: Some(username), .. } => R::GrantRevokeUser { username },
                GrantSelector { client: Some(id), .. } => R::GrantRevokeClient { id },
                // clap wants exactly one of the three.
                GrantSelector { id, .. } => R::GrantRevoke { id: id.unwrap_or_default() },
            };
            (request, revoke.admin)
        }
    };
    finish(request, &admin).await
}

async fn finish(request: AdminRequest, args: &AdminArgs) -> Result<(), Error> {
    let settings = AdminSettings::load(&args.store)?;
    logging::start(logging::LogFormat::Text, "warn")?;
    let reply: AdminReply = submit(&settings, request).await?;
    output::to_stdout(|out| match args.output.json {
        true => output::json(out, &reply),
        false => output::text(out, &reply),
    })
    .map_err(Error::Output)
}

fn new_client(add: ClientAdd) -> NewClient {
    NewClient {
        id: add.id,
        name: add.name,
        client_type: match add.public {
            true => ClientType::Public,
            false => ClientType::Confidential,
        },
        application_type: match add.native {
            true => ApplicationType::Native,
            false => ApplicationType::Web,
        },
        auth_methods: add.auth_methods.into_iter().map(Into::into).collect(),
        redirect_uris: add.redirect_uris,
        localhost_any_port: add.localhost_any_port,
        grant_types: add.grants.into_iter().map(Into::into).collect(),
        scope: add.scope,
        client_uri: add.client_uri,
        logo_uri: add.logo_uri,
        policy_uri: add.policy_uri,
        tos_uri: add.tos_uri,
        pkce_optional: add.pkce_optional,
        skip_consent: add.skip_consent,
        resource_server: add.resource_server,
    }
}

/// The password, from standard input or from whoever sits at the terminal.
fn password(args: &UserPassword) -> Result<SecretText, PasswordError> {
    if args.password_stdin {
        let mut line = Zeroizing::new(String::with_capacity(MAX_PASSWORD as usize + 2));
        let mut stdin = std::io::stdin().lock().take(MAX_PASSWORD + 2);
        stdin.read_line(&mut line)?;
        let password = line.strip_suffix('\n').unwrap_or(&line);
        let password = password.strip_suffix('\r').unwrap_or(password);
        let rest = stdin.read(&mut [0])?;
        if rest > 0 || password.len() as u64 > MAX_PASSWORD {
            return Err(PasswordError::TooLong);
        }
        return Ok(SecretText(SecretString::new(password)));
    }
    if !std::io::stdin().is_terminal() {
        return Err(PasswordError::NoTerminal);
    }
    let first = Zeroizing::new(rpassword::prompt_password("Password: ")?);
    let second = Zeroizing::new(rpassword::prompt_password("Once more: ")?);
    if *first != *second {
        return Err(PasswordError::Different);
    }
    Ok(SecretText(SecretString::new(first.as_str())))
}
