//! What a run is told about the server: issuer, endpoints, clients, a user, how the pages work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::secrets::Secret;

/// The configuration file. Everything in it can be left out; options on the command line win.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The issuer identifier, exactly as the server's metadata has it.
    pub issuer: Option<String>,
    /// The scopes that clients ask for, divided by spaces.
    pub scope: Option<String>,
    /// A redirect URI for clients that are registered by the runner.
    pub redirect_uri: Option<String>,
    /// A protected resource that takes the server's access tokens with GET.
    pub resource: Option<String>,
    /// Where the metadata is, if not at a well-known address.
    pub metadata_url: Option<String>,
    /// Endpoints that metadata does not name, or names wrongly.
    pub endpoints: BTreeMap<Endpoint, String>,
    /// The user who signs in.
    pub user: User,
    /// How the pages are filled in.
    pub forms: Forms,
    /// More parameters for each authorization request, such as `prompt = "consent"`.
    pub authorization: BTreeMap<String, String>,
    /// Clients that are registered already, by role.
    pub clients: BTreeMap<Role, Client>,
    /// How clients are registered (RFC 7591), where the server does that.
    pub registration: Registration,
}

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "named as in RFC 8414 section 2, without `_endpoint`")]
pub enum Endpoint {
    Authorization,
    Token,
    Revocation,
    Introspection,
    Registration,
    Userinfo,
}

impl Endpoint {
    /// Its name in metadata.
    pub fn member(self) -> &'static str {
        match self {
            Self::Authorization => "authorization_endpoint",
            Self::Token => "token_endpoint",
            Self::Revocation => "revocation_endpoint",
            Self::Introspection => "introspection_endpoint",
            Self::Registration => "registration_endpoint",
            Self::Userinfo => "userinfo_endpoint",
        }
    }
}

/// The user who signs in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// What goes into the field for the name.
    pub username: Option<String>,
    /// What goes into the field for the password.
    pub password: Option<Secret>,
}

/// How the pages are filled in. The defaults find the fields and buttons of most servers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forms {
    /// Name of the field for the user's name [default: the field before the password].
    pub username_field: Option<String>,
    /// Name of the field for the password [default: the field of type password].
    pub password_field: Option<String>,
    /// More fields to fill in or to tick, wherever they appear: name and value.
    pub fields: BTreeMap<String, String>,
    /// Name, value or label of the button that allows [default: Allow, Authorize, Continue ...].
    pub allow: Option<String>,
    /// Name, value or label of the button or link that denies [default: Deny, Cancel ...].
    pub deny: Option<String>,
    /// Other origins that sign-in and consent may lead over, such as `https://login.example`.
    pub origins: Vec<String>,
}

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// With a secret, for the code grant with refresh tokens.
    Confidential,
    /// Another one like it.
    ConfidentialOther,
    /// Without a secret, for the code grant with refresh tokens.
    Public,
    /// Another one like it.
    PublicOther,
    /// Without a secret, with a redirect URI on loopback (`http://127.0.0.1/...`).
    Native,
    /// With several redirect URIs, one of them with a query.
    Several,
    /// With a secret, for client credentials.
    Service,
    /// With a secret, may introspect the tokens of others.
    ResourceServer,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Confidential,
        Self::ConfidentialOther,
        Self::Public,
        Self::PublicOther,
        Self::Native,
        Self::Several,
        Self::Service,
        Self::ResourceServer,
    ];

    /// Its name in the configuration file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confidential => "confidential",
            Self::ConfidentialOther => "confidential_other",
            Self::Public => "public",
            Self::PublicOther => "public_other",
            Self::Native => "native",
            Self::Several => "several",
            Self::Service => "service",
            Self::ResourceServer => "resource_server",
        }
    }
}

/// A client that the server knows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`; a client without one is public.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// How it authenticates [default: `client_secret_basic`, or `none` without a secret].
    #[serde(default)]
    pub auth: Option<AuthMethod>,
    /// Its redirect URIs, as they are registered.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// The scopes that it asks for [default: those of the run].
    #[serde(default)]
    pub scope: Option<String>,
    /// Its name, as users see it.
    #[serde(default)]
    pub name: Option<String>,
}

impl Client {
    /// How it authenticates.
    pub fn auth(&self) -> AuthMethod {
        let usual =
            if self.secret.is_some() { AuthMethod::ClientSecretBasic } else { AuthMethod::None };
        self.auth.unwrap_or(usual)
    }

    pub(crate) fn secret(&self) -> &str {
        self.secret.as_ref().map(Secret::expose).unwrap_or_default()
    }

    pub(crate) fn redirect_uri(&self) -> &str {
        self.redirect_uris.first().map(String::as_str).unwrap_or_default()
    }
}

/// How a client authenticates (RFC 7591 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of RFC 7591")]
pub enum AuthMethod {
    ClientSecretBasic,
    ClientSecretPost,
    None,
}

impl AuthMethod {
    /// Its name in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::None => "none",
        }
    }
}

/// How clients are registered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registration {
    /// Do not, even where the server offers it.
    pub off: bool,
    /// Sent as a Bearer token with each registration.
    pub initial_access_token: Option<Secret>,
    /// More members for each registration request.
    pub metadata: BTreeMap<String, toml::Value>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It does not say what it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, without what is in the file: there are secrets in it.
        reason: String,
    },
}

pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path)
        .map_err(|source| FileError::Read { path: path.to_owned(), source })
}

/// The parser's message with the line, and without the line's text.
pub(crate) fn explained(path: &Path, text: &str, error: &toml::de::Error) -> FileError {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map_or_else(String::new, |before| format!("line {}: ", before.matches('\n').count() + 1));
    FileError::Content { path: path.to_owned(), reason: format!("{line}{}", error.message()) }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or has something in it that is no setting.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let text = read(path)?;
        toml::from_str(&text).map_err(|error| explained(path, &text, &error))
    }
}
