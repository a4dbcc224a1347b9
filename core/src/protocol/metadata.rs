//! The metadata document (RFC 8414), derived from what is enforced.

use serde::Serialize;

use crate::model::{ClientAuthMethod, GrantType, Issuer, Policy};

/// The metadata of this server. Members without a value are left out (RFC 8414 section 3.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(
    missing_docs,
    reason = "the fields are those of RFC 8414 section 2 and RFC 9207 section 3"
)]
pub struct Metadata {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub revocation_endpoint: String,
    pub introspection_endpoint: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    pub response_types_supported: Vec<&'static str>,
    pub response_modes_supported: Vec<&'static str>,
    pub grant_types_supported: Vec<String>,
    pub token_endpoint_auth_methods_supported: Vec<&'static str>,
    pub revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    pub introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    pub code_challenge_methods_supported: Vec<&'static str>,
    pub authorization_response_iss_parameter_supported: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ui_locales_supported: Vec<String>,
}

/// Where the endpoints lie below the issuer.
pub mod path {
    #![expect(missing_docs, reason = "each is named after its endpoint")]
    pub const AUTHORIZE: &str = "/authorize";
    pub const TOKEN: &str = "/token";
    pub const REVOKE: &str = "/revoke";
    pub const INTROSPECT: &str = "/introspect";
}

/// The metadata of a server with this policy.
pub fn metadata<'a>(
    issuer: &Issuer,
    policy: &Policy,
    extension_grants: impl IntoIterator<Item = &'a str>,
    ui_locales: &[&str],
) -> Metadata {
    let grant_types = GrantType::ALL
        .into_iter()
        .filter(|grant_type| *grant_type != GrantType::RefreshToken || policy.refresh.is_some());
    let with_secret = [ClientAuthMethod::ClientSecretBasic, ClientAuthMethod::ClientSecretPost];
    let with_secret = with_secret.map(ClientAuthMethod::as_str).to_vec();
    let mut any = with_secret.clone();
    any.push(ClientAuthMethod::None.as_str());
    Metadata {
        issuer: issuer.as_str().to_owned(),
        authorization_endpoint: issuer.endpoint(path::AUTHORIZE),
        token_endpoint: issuer.endpoint(path::TOKEN),
        revocation_endpoint: issuer.endpoint(path::REVOKE),
        introspection_endpoint: issuer.endpoint(path::INTROSPECT),
        scopes_supported: policy.scopes.keys().map(ToString::to_string).collect(),
        response_types_supported: vec!["code"],
        response_modes_supported: vec!["query"],
        grant_types_supported: grant_types
            .map(|grant_type| grant_type.as_str().to_owned())
            .chain(extension_grants.into_iter().map(ToOwned::to_owned))
            .collect(),
        token_endpoint_auth_methods_supported: any.clone(),
        revocation_endpoint_auth_methods_supported: any,
        introspection_endpoint_auth_methods_supported: with_secret,
        code_challenge_methods_supported: vec!["S256"],
        authorization_response_iss_parameter_supported: true,
        ui_locales_supported: ui_locales.iter().map(ToString::to_string).collect(),
    }
}
