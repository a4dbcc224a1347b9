//! Administration: one set of requests, executed by one function.
//!
//! A running server answers them on a Unix socket in its data directory; while it is stopped, the
//! command opens the store and executes them itself.

mod execute;
mod run;
mod socket;
mod views;

use grantor::model::{ApplicationType, ClientAuthMethod, ClientType, GrantType, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::execute::execute;
pub use self::run::{AdminError, submit};
pub use self::socket::{AdminSocket, SocketError};
pub use self::views::{ClientSecretView, ClientView, GrantView, UserView};

/// What an operator asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "each is the command of the same name")]
pub enum AdminRequest {
    ClientAdd(Box<NewClient>),
    ClientList,
    ClientShow { id: String },
    ClientRotateSecret { id: String },
    ClientRemove { id: String },
    UserAdd { username: String, password: SecretText },
    UserList,
    UserSetPassword { username: String, password: SecretText },
    UserDisable { username: String },
    UserEnable { username: String },
    UserRemove { username: String },
    GrantList { username: Option<String> },
    GrantRevoke { id: String },
    GrantRevokeUser { username: String },
    GrantRevokeClient { id: String },
}

impl AdminRequest {
    /// Whether it makes sense on a store that does not exist yet.
    pub const fn begins_a_store(&self) -> bool {
        matches!(self, Self::ClientAdd(_) | Self::UserAdd { .. })
    }
}

/// A client to be registered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see `grantor::protocol::register::Registration`")]
pub struct NewClient {
    pub id: Option<String>,
    pub name: String,
    pub client_type: ClientType,
    pub application_type: ApplicationType,
    pub auth_methods: Vec<ClientAuthMethod>,
    pub redirect_uris: Vec<String>,
    pub localhost_any_port: bool,
    pub grant_types: Vec<GrantType>,
    pub scope: String,
    pub client_uri: Option<String>,
    pub logo_uri: Option<String>,
    pub policy_uri: Option<String>,
    pub tos_uri: Option<String>,
    pub pkce_optional: bool,
    pub skip_consent: bool,
    pub resource_server: bool,
}

/// What became of an [`AdminRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminReply {
    /// A registered client, with its secret if it has just been made.
    Client {
        /// The client.
        client: Box<ClientView>,
        /// Shown now and never again.
        client_secret: Option<SecretText>,
    },
    /// Clients.
    Clients(Vec<ClientView>),
    /// A user, as it is now.
    User(UserView),
    /// Users.
    Users(Vec<UserView>),
    /// Authorizations.
    Grants(Vec<GrantView>),
    /// It is done.
    Done,
    /// It was not done; the text says why, and what to do about it.
    Failed(String),
}

/// Secret text on its way between the command and the server, over a socket that only their user can
/// open. It is shown by nothing else.
#[derive(Clone, Debug)]
pub struct SecretText(pub SecretString);

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretString::new(text)))
    }
}
