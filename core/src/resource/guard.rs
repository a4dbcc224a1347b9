//! The guard before what a token opens.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, Uri};

use super::{ProtectedResource, RequiredScope, TokenError, TokenValidator, ValidToken, scope};
use crate::engine::AuthorizationServer;
use crate::model::ScopeSet;
use crate::protocol::{Refusal, bearer};
use crate::wire::{Challenge, presented_token};

/// Lets a request pass whose Bearer token is active and has a scope, and has the challenge of
/// RFC 6750 ready for every other.
///
/// Cloning is cheap. From a server, its realm is the issuer, and it reads tokens where the policy of
/// the server says that they may be.
#[derive(Clone, Debug)]
pub struct Guard {
    validator: Arc<dyn TokenValidator>,
    realm: Arc<str>,
    token_in_query: bool,
    resource: Option<Arc<ProtectedResource>>,
}

impl Guard {
    /// A guard that asks this validator.
    pub fn new(validator: impl TokenValidator) -> Self {
        let realm = Arc::from("");
        Self { validator: Arc::new(validator), realm, token_in_query: false, resource: None }
    }

    /// The realm that its challenges name (RFC 9110 section 11.5). Default: the empty one.
    #[must_use]
    pub fn realm(self, realm: &str) -> Self {
        Self { realm: realm.into(), ..self }
    }

    /// What it protects. Its challenges then say where a client that knows nothing yet can read who
    /// issues tokens (`resource_metadata`, RFC 9728 section 5.1); serve
    /// [`metadata`](Self::metadata) there.
    #[must_use]
    pub fn resource(self, resource: ProtectedResource) -> Self {
        let resource = if self.token_in_query { resource.token_in_query() } else { resource };
        Self { resource: Some(Arc::new(resource)), ..self }
    }

    /// What the token of a request stands for, if it is active and has all of `scope`; otherwise the
    /// finished response.
    ///
    /// The empty scope asks for an active token and no more. A preflight of CORS brings no token: whatever
    /// answers those stands in front of the guard.
    pub async fn check(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        scope: &ScopeSet,
    ) -> Result<ValidToken, Response<Bytes>> {
        let challenge = Challenge {
            realm: &self.realm,
            resource_metadata: self.resource.as_deref().map(ProtectedResource::metadata_url),
            scope,
        };
        let refused = |refusal: &Refusal| challenge.answer(refusal);
        let token = presented_token(headers, uri, self.token_in_query);
        let token = token.map_err(|refusal| refused(&refusal))?;
        let found = match self.validator.validate(token.expose(), scope).await {
            Ok(found) => found,
            Err(TokenError::Refused(refusal)) => return Err(refused(&refusal)),
            Err(TokenError::Unavailable(_)) => {
                return Err(refused(&Refusal::TemporarilyUnavailable));
            }
        };
        bearer::require(scope, &found.scope).map_err(|refusal| refused(&refusal))?;
        Ok(found)
    }

    /// The same, for a scope that is a type.
    pub fn check_for<S: RequiredScope>(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> impl Future<Output = Result<ValidToken, Response<Bytes>>> + Send {
        let scope = scope::of::<S>();
        async move { self.check(headers, uri, &scope).await }
    }

    /// Where [`metadata`](Self::metadata) is to be served, if it is known what is protected.
    pub fn metadata_path(&self) -> Option<&str> {
        self.resource.as_deref().map(ProtectedResource::metadata_path)
    }

    /// The protected resource metadata (RFC 9728 section 3.2), if it is known what is protected.
    pub fn metadata(&self) -> Option<Response<Bytes>> {
        self.resource.as_deref().map(ProtectedResource::metadata)
    }
}

impl From<&AuthorizationServer> for Guard {
    fn from(server: &AuthorizationServer) -> Self {
        server.clone().into()
    }
}

impl From<AuthorizationServer> for Guard {
    fn from(server: AuthorizationServer) -> Self {
        let (realm, token_in_query) =
            (server.issuer().as_str().into(), server.policy().token_in_query);
        Self { validator: Arc::new(server), realm, token_in_query, resource: None }
    }
}
