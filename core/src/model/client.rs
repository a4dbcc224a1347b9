//! A registered client (RFC 6749 section 2, metadata names of RFC 7591 section 2).

use serde::{Deserialize, Serialize};

use super::{ClientId, RedirectUri, ScopeSet, SecretHash, Timestamp};

/// Whether the client can keep a secret (RFC 6749 section 2.1). Recorded at registration, never
/// guessed from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientType {
    /// Runs where its secret is safe, and authenticates with it.
    Confidential,
    /// Runs on the user's device or in the browser; named by `client_id` alone.
    Public,
}

/// What kind of program the client is (`application_type`, OpenID Connect Registration 1.0
/// section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationType {
    /// Runs on a web server.
    #[default]
    Web,
    /// Installed on a device. A secret shipped in it proves nothing (RFC 8252 section 8.5).
    Native,
}

/// A grant type (RFC 6749 section 1.3) that a client may be registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// `authorization_code`.
    AuthorizationCode,
    /// `refresh_token`.
    RefreshToken,
    /// `client_credentials`.
    ClientCredentials,
}

impl GrantType {
    /// Every grant type that is implemented.
    pub const ALL: [Self; 3] =
        [Self::AuthorizationCode, Self::RefreshToken, Self::ClientCredentials];

    /// The value of `grant_type` on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
        }
    }

    /// Reads a value of `grant_type`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant_type| grant_type.as_str() == text)
    }
}

/// How a client presents its secret (`token_endpoint_auth_method`, RFC 7591 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMethod {
    /// HTTP Basic (RFC 6749 section 2.3.1).
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the form (RFC 6749 section 2.3.1).
    ClientSecretPost,
    /// `client_id` alone: a public client.
    None,
}

impl ClientAuthMethod {
    /// The value of `token_endpoint_auth_method` on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::None => "none",
        }
    }
}

/// One secret of a confidential client. Two may be valid at once while a new one is rolled out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSecret {
    /// SHA-256 of the secret.
    #[serde(rename = "h")]
    pub hash: SecretHash,
    /// When it was made.
    #[serde(rename = "t")]
    pub created_at: Timestamp,
    /// When it stops working; `None`: not by itself.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its public name at this server.
    pub id: ClientId,
    /// Whether it can keep a secret.
    pub client_type: ClientType,
    /// Web or native.
    #[serde(default)]
    pub application_type: ApplicationType,
    /// Its secrets, newest first; empty for a public client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<ClientSecret>,
    /// How it may present a secret; empty for a public client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auth_methods: Vec<ClientAuthMethod>,
    /// Where codes may be sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<RedirectUri>,
    /// Extends the any-port rule of loopback IP literals to `localhost`.
    #[serde(default)]
    pub localhost_any_port: bool,
    /// The grant types it may use.
    pub grant_types: Vec<GrantType>,
    /// The host's own grant types that it may use, by their URIs (RFC 6749 section 4.5).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extension_grants: Vec<String>,
    /// The scopes it may ask for.
    pub scope: ScopeSet,
    /// Human-readable name. Shown, always escaped.
    pub name: String,
    /// Its home page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// Its logo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    /// Its privacy policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    /// Its terms of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    /// The plain RFC 6749 profile for an old client: it may leave PKCE out. Confidential clients
    /// only; off unless asked for.
    #[serde(default)]
    pub pkce_optional: bool,
    /// The operator's own application: consent is not asked, where the client's identity is assured
    /// (any program on the user's device can use the name of an app there). Off unless asked for
    /// (ATTACKS G01).
    #[serde(default)]
    pub skip_consent: bool,
    /// A resource server: it may introspect tokens that were not issued to itself
    /// (RFC 7662 section 4).
    #[serde(default)]
    pub resource_server: bool,
    /// Counts the times that everything issued to this client was revoked at once. What was issued
    /// under an earlier number is dead; no clock is compared.
    #[serde(default)]
    pub epoch: u32,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was removed. The record stays for a while, so that a late write cannot bring the
    /// client back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
}

impl Client {
    /// The most redirection URIs that one client may register.
    pub const MAX_REDIRECT_URIS: usize = 32;
    /// The longest that all redirection URIs of one client may be together, in bytes.
    pub const MAX_REDIRECT_URIS_LEN: usize = 8 * 1024;
    /// The longest address of a page about the client, in bytes.
    pub const MAX_PAGE_LEN: usize = 512;
    /// The most secrets that are valid at once.
    pub const MAX_SECRETS: usize = 2;
    /// The most grant types of the host's that one client may use.
    pub const MAX_EXTENSION_GRANTS: usize = 16;
    /// The longest name, in characters.
    pub const MAX_NAME_CHARS: usize = 80;

    /// Whether it may use this grant type.
    pub fn may_use(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// Whether the client can prove who it is: it has a secret that is not shipped to its users.
    pub fn proves_identity(&self) -> bool {
        self.client_type == ClientType::Confidential
            && self.application_type == ApplicationType::Web
    }
}
