//! oauth-as on axum, in memory.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use grantor_bench::contender::{
    CALLBACK, CONFIDENTIAL, Fatal, PUBLIC, Ready, SCOPE, SECRET, USERS, serve, signed_in,
};
use http::{HeaderMap, StatusCode, header};
use oauth_as::client::{Client, ClientAuth, ClientId, SecretHash};
use oauth_as::grant::GrantType;
use oauth_as::http::{ApprovalDecision, ServiceBuilder};
use oauth_as::scope::ScopeSet;
use oauth_as::server::{AuthorizationServer, ServerConfig};
use oauth_as::store::MemoryStorage;

const ISSUER: &str = "http://127.0.0.1:8400";

type Server = Arc<AuthorizationServer<MemoryStorage>>;

async fn resource(State(server): State<Server>, headers: HeaderMap) -> Result<String, StatusCode> {
    let credentials = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = credentials.and_then(|value| value.strip_prefix("Bearer "));
    match server.introspect(token.ok_or(StatusCode::UNAUTHORIZED)?).await {
        Ok(Some(token)) if token.scope.iter().any(|scope| scope.as_str() == SCOPE) => {
            Ok(format!("{:?}", token.subject))
        }
        Ok(Some(_)) => Err(StatusCode::FORBIDDEN),
        Ok(None) => Err(StatusCode::UNAUTHORIZED),
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let mut config = ServerConfig::new(ISSUER.to_owned(), format!("{ISSUER}/device"));
    config.introspection_endpoint = Some(format!("{ISSUER}/introspect"));
    config.revocation_endpoint = Some(format!("{ISSUER}/revoke"));
    let server = Arc::new(AuthorizationServer::new(config, MemoryStorage::new()));
    let scope = ScopeSet::from_tokens([SCOPE])?;
    let hash = SecretHash::sha256(SECRET);
    let users = vec![GrantType::AuthorizationCode, GrantType::RefreshToken];
    let all = [users.clone(), vec![GrantType::ClientCredentials]].concat();
    for (client_id, auth, grant_types) in [
        (CONFIDENTIAL, ClientAuth::ConfidentialSecretHash { hash }, all),
        (PUBLIC, ClientAuth::Public, users),
    ] {
        let client = Client {
            client_id: ClientId::new(client_id),
            auth,
            grant_types,
            redirect_uris: vec![CALLBACK.to_owned()],
            allowed_scopes: scope.clone(),
            default_scopes: scope.clone(),
            name: None,
            registration: None,
        };
        server.register_client(client).await?;
    }
    // Who has allowed which client what: the host's, for its resolver cannot wait for the store.
    let consents: HashSet<(String, String, String)> = (0..USERS)
        .flat_map(|number| {
            [CONFIDENTIAL, PUBLIC]
                .map(|client| (format!("u{number}"), client.to_owned(), SCOPE.to_owned()))
        })
        .collect();
    let service = ServiceBuilder::new(Arc::clone(&server))
        .with_subject_resolver(signed_in)
        .with_approval_resolver(move |request| {
            let (client, scope) = (request.client_id.as_str(), request.scope.to_string());
            let user = signed_in(request.headers).unwrap_or_default();
            if consents.contains(&(user, client.to_owned(), scope)) {
                ApprovalDecision::Approve
            } else {
                ApprovalDecision::Deny
            }
        })
        .build()?;
    let app = Router::new()
        .route("/resource", get(resource))
        .with_state(server)
        .merge(Router::from(service));
    serve(app, Ready::usual()).await
}
