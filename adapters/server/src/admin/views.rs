//! What operators get to see: the JSON of `--json`, and the rows of the tables.

use grantor::engine::GrantSummary;
use grantor::model::{ApplicationType, Client, ClientAuthMethod, ClientType, GrantType};
use serde::{Deserialize, Serialize};

use crate::users::User;

/// A registered client, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "see `grantor::model::Client`")]
pub struct ClientView {
    pub client_id: String,
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
    pub created_at: String,
    pub secrets: Vec<ClientSecretView>,
}

/// That there is a secret, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "see `grantor::model::ClientSecret`")]
pub struct ClientSecretView {
    pub created_at: String,
    pub expires_at: Option<String>,
}

impl From<&Client> for ClientView {
    fn from(client: &Client) -> Self {
        Self {
            client_id: client.id.to_string(),
            name: client.name.clone(),
            client_type: client.client_type,
            application_type: client.application_type,
            auth_methods: client.auth_methods.clone(),
            redirect_uris: client.redirect_uris.iter().map(|uri| uri.as_str().to_owned()).collect(),
            localhost_any_port: client.localhost_any_port,
            grant_types: client.grant_types.clone(),
            scope: client.scope.to_string(),
            client_uri: client.client_uri.clone(),
            logo_uri: client.logo_uri.clone(),
            policy_uri: client.policy_uri.clone(),
            tos_uri: client.tos_uri.clone(),
            pkce_optional: client.pkce_optional,
            skip_consent: client.skip_consent,
            resource_server: client.resource_server,
            created_at: client.created_at.to_string(),
            secrets: client
                .secrets
                .iter()
                .map(|secret| ClientSecretView {
                    created_at: secret.created_at.to_string(),
                    expires_at: secret.expires_at.map(|at| at.to_string()),
                })
                .collect(),
        }
    }
}

/// A user, without the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "see `User`")]
pub struct UserView {
    pub username: String,
    pub subject: String,
    pub disabled: bool,
    pub created_at: String,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            username: user.username,
            subject: user.subject.to_string(),
            disabled: user.disabled,
            created_at: user.created_at.to_string(),
        }
    }
}

/// An authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "see `grantor::engine::GrantSummary`")]
pub struct GrantView {
    pub id: String,
    pub client_id: String,
    pub subject: Option<String>,
    /// `None` for a user that is not in the directory (any more).
    pub username: Option<String>,
    pub scope: Option<String>,
    pub state: String,
    pub created_at: String,
}

impl GrantView {
    pub(super) fn new(grant: &GrantSummary, username: Option<String>) -> Self {
        Self {
            id: grant.id.to_string(),
            client_id: grant.client_id.to_string(),
            subject: grant.subject.as_ref().map(ToString::to_string),
            username,
            scope: grant.scope.as_ref().map(ToString::to_string),
            state: grant.state.to_owned(),
            created_at: grant.created_at.to_string(),
        }
    }
}
