//! Protected resource metadata (RFC 9728).

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde::Serialize;

use crate::model::{Issuer, ScopeSet};

/// What a resource server says about itself (RFC 9728 section 2), so that a client that was sent away
/// finds out by itself where to get a token. Model Context Protocol clients depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedResource {
    document: Document,
    path: String,
    url: String,
}

/// Members without a value are left out (RFC 9728 section 3.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Document {
    resource: String,
    authorization_servers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<String>,
    bearer_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_documentation: Option<String>,
}

impl ProtectedResource {
    /// The resource at this address, with tokens from this authorization server.
    ///
    /// The address is the one that clients use: `https`, without fragment and query; `http` for a
    /// loopback address, for development.
    pub fn new(resource: &str, issuer: &Issuer) -> Result<Self, InvalidResource> {
        const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
        // The rules for its address are those for an issuer's.
        let address = Issuer::parse(resource).map_err(|_| InvalidResource)?;
        // A trailing slash that is all of the path belongs to the host (RFC 9728 section 3.1). The
        // identifier itself stays as it was written: clients compare it byte by byte.
        let below = resource.strip_prefix(address.origin()).filter(|path| *path != "/");
        let path = format!("{WELL_KNOWN}{}", below.unwrap_or_default());
        Ok(Self {
            url: format!("{}{path}", address.origin()),
            path,
            document: Document {
                resource: resource.to_owned(),
                authorization_servers: vec![issuer.as_str().to_owned()],
                scopes_supported: Vec::new(),
                bearer_methods_supported: vec!["header"],
                resource_name: None,
                resource_documentation: None,
            },
        })
    }

    /// Another authorization server whose tokens are accepted.
    #[must_use]
    pub fn issuer(mut self, issuer: &Issuer) -> Self {
        self.document.authorization_servers.push(issuer.as_str().to_owned());
        self
    }

    /// The scopes that requests here can need.
    #[must_use]
    pub fn scopes(mut self, scopes: &ScopeSet) -> Self {
        self.document.scopes_supported = scopes.iter().map(ToString::to_string).collect();
        self
    }

    /// What it is called, for people.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.document.resource_name = Some(name.into());
        self
    }

    /// Where developers read about it.
    #[must_use]
    pub fn documentation(mut self, address: impl Into<String>) -> Self {
        self.document.resource_documentation = Some(address.into());
        self
    }

    /// Tokens are accepted in the query as well.
    pub(super) fn token_in_query(mut self) -> Self {
        self.document.bearer_methods_supported = vec!["header", "query"];
        self
    }

    /// Its identifier (`resource`).
    pub fn identifier(&self) -> &str {
        &self.document.resource
    }

    /// The path of its metadata: the well-known part goes between host and path (section 3.1).
    pub fn metadata_path(&self) -> &str {
        &self.path
    }

    /// The address of its metadata.
    pub fn metadata_url(&self) -> &str {
        &self.url
    }

    /// The metadata as the answer to a GET (section 3.2). Scripts of any origin may read it.
    pub fn metadata(&self) -> Response<Bytes> {
        let body = serde_json::to_vec(&self.document).unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }
}

/// The text is not the identifier of a protected resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a protected resource is an https URL without query, fragment and user (RFC 9728 section 1.2); \
     http on a loopback address for development"
)]
pub struct InvalidResource;

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(address: &str) -> Result<ProtectedResource, InvalidResource> {
        ProtectedResource::new(address, &Issuer::parse("https://auth.example.com").expect("issuer"))
    }

    #[test]
    fn the_well_known_part_goes_between_host_and_path() {
        // Requirement 9728-003.
        let url = |address| resource(address).expect("valid").metadata_url().to_owned();
        let host = "https://api.example.com/.well-known/oauth-protected-resource";
        assert_eq!(url("https://api.example.com"), host);
        assert_eq!(url("https://api.example.com/"), host);
        assert_eq!(url("https://api.example.com/mcp"), format!("{host}/mcp"));
        assert_eq!(url("https://api.example.com/a/b/"), format!("{host}/a/b/"));
        let local = "http://127.0.0.1:8400/.well-known/oauth-protected-resource/mcp";
        assert_eq!(url("http://127.0.0.1:8400/mcp"), local);
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        // Requirement 9728-001.
        for address in [
            "",
            "api",
            "http://api.example.com",
            "ftp://api.example.com",
            "https://api.example.com/#x",
            "https://api.example.com/?x",
            "https://user@api.example.com/",
            "data:text/plain,x",
        ] {
            assert_eq!(resource(address), Err(InvalidResource), "{address}");
        }
    }

    #[test]
    fn the_document_says_what_is_known_and_nothing_else() {
        // Requirements 9728-002, 9728-004, 9728-005.
        let plain = resource("https://api.example.com/mcp").expect("valid");
        let read = |response: Response<Bytes>| -> serde_json::Value {
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            serde_json::from_slice(response.body()).expect("JSON")
        };
        let expected = serde_json::json!({
            "resource": "https://api.example.com/mcp",
            "authorization_servers": ["https://auth.example.com"],
            "bearer_methods_supported": ["header"],
        });
        assert_eq!(read(plain.metadata()), expected);
        let scopes = ScopeSet::parse("b a").expect("scopes");
        let full = plain.scopes(&scopes).name("Tools").documentation("https://api.example.com/doc");
        let document = read(full.metadata());
        assert_eq!(document["scopes_supported"], serde_json::json!(["a", "b"]));
        assert_eq!(document["resource_name"], "Tools");
        assert_eq!(document["resource_documentation"], "https://api.example.com/doc");
    }
}
