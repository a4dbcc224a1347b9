//! Clients of the run's own (RFC 7591), and their removal afterwards (RFC 7592).

use std::collections::BTreeMap;

use http::{Method, header};
use serde_json::{Map, Value, json};

use super::config::{AuthMethod, Client, Config, Role};
use super::discovery::Discovered;
use super::probe::Line;
use super::secrets::Secret;
use super::wire::{Call, Reply};

/// Where clients of the run wait for answers, unless told otherwise. Nobody is ever sent there: a
/// redirect is read and not followed.
pub(crate) const REDIRECT_URI: &str = "https://grantor-conformance.example/callback";
pub(crate) const NATIVE_REDIRECT_URI: &str = "http://127.0.0.1/callback";

/// What was registered.
#[derive(Debug, Default)]
pub(crate) struct Registered {
    pub(crate) clients: BTreeMap<Role, Client>,
    pub(crate) management: Vec<(String, Secret)>,
    /// Why some could not be registered.
    pub(crate) refused: Vec<String>,
}

/// The name under which a client of this role is registered.
fn name_of(role: Role) -> String {
    format!("Conformance {}", role.name().replace('_', " "))
}

/// The metadata of a client of this role.
pub(crate) fn metadata(role: Role, config: &Config, discovered: &Discovered) -> Value {
    let redirect_uri = config.redirect_uri.as_deref().unwrap_or(REDIRECT_URI);
    let offered = discovered.list("token_endpoint_auth_methods_supported");
    let offers = |method: AuthMethod| {
        offered.as_ref().is_none_or(|all| all.iter().any(|one| one == method.name()))
    };
    let secret = if offers(AuthMethod::ClientSecretBasic) {
        AuthMethod::ClientSecretBasic
    } else {
        AuthMethod::ClientSecretPost
    };
    let grants = discovered.list("grant_types_supported");
    let has_refresh =
        grants.as_ref().is_some_and(|all| all.iter().any(|one| one == "refresh_token"));
    let mut members = Map::new();
    members.insert("client_name".into(), name_of(role).into());
    let is_public = matches!(role, Role::Public | Role::PublicOther | Role::Native);
    let post = AuthMethod::ClientSecretPost;
    let method = match role {
        _ if is_public => AuthMethod::None,
        // So that each way to present a secret has a client.
        Role::ConfidentialOther if offers(post) => post,
        _ => secret,
    };
    members.insert("token_endpoint_auth_method".into(), method.name().into());
    if matches!(role, Role::Service | Role::ResourceServer) {
        members.insert("grant_types".into(), json!(["client_credentials"]));
        members.insert("response_types".into(), json!([]));
        members.insert("redirect_uris".into(), json!([]));
    } else {
        let mut grant_types = vec!["authorization_code"];
        if has_refresh {
            grant_types.push("refresh_token");
        }
        members.insert("grant_types".into(), json!(grant_types));
        members.insert("response_types".into(), json!(["code"]));
        let other = format!("{redirect_uri}/other");
        let with_query = format!("{redirect_uri}?a=1&b=%2F");
        let uris = match role {
            Role::Native => json!([NATIVE_REDIRECT_URI]),
            Role::Several => json!([redirect_uri, other, with_query]),
            _ => json!([redirect_uri]),
        };
        members.insert("redirect_uris".into(), uris);
    }
    if role == Role::Native {
        members.insert("application_type".into(), "native".into());
    }
    if let Some(scope) = &config.scope {
        members.insert("scope".into(), scope.clone().into());
    }
    for (name, value) in &config.registration.metadata {
        members.insert(name.clone(), serde_json::to_value(value).unwrap_or_default());
    }
    Value::Object(members)
}

/// One registration request.
pub(crate) fn request(url: &str, config: &Config, metadata: &Value) -> Call {
    let call = Call::new(Method::POST, url)
        .typed("application/json", metadata.to_string())
        .header(header::ACCEPT, "application/json");
    match &config.registration.initial_access_token {
        Some(token) => call.header(header::AUTHORIZATION, &format!("Bearer {}", token.expose())),
        None => call,
    }
}

/// The client that a registration response describes.
pub(crate) fn client_of(reply: &Reply, asked: &Value) -> Option<Client> {
    if !reply.status.is_success() {
        return None;
    }
    let content = reply.json();
    let text = |name: &str| content.get(name)?.as_str().map(str::to_owned);
    let list = |value: &Value| -> Vec<String> {
        let items = value.get("redirect_uris").and_then(Value::as_array);
        items
            .map(|all| all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
            .unwrap_or_default()
    };
    let method = text("token_endpoint_auth_method")
        .or_else(|| asked.get("token_endpoint_auth_method")?.as_str().map(str::to_owned));
    let auth = match method.as_deref() {
        Some("none") => AuthMethod::None,
        Some("client_secret_post") => AuthMethod::ClientSecretPost,
        _ => AuthMethod::ClientSecretBasic,
    };
    let registered = list(&content);
    Some(Client {
        id: text("client_id")?,
        secret: text("client_secret").filter(|_| auth != AuthMethod::None).map(Secret::new),
        auth: Some(auth),
        redirect_uris: if registered.is_empty() { list(asked) } else { registered },
        scope: text("scope").filter(|scope| !scope.is_empty()),
        name: text("client_name"),
    })
}

/// Registers a client for each role that has none.
pub(crate) async fn register(
    line: &Line<'_>,
    url: &str,
    config: &Config,
    discovered: &Discovered,
) -> Registered {
    let mut done = Registered::default();
    for role in Role::ALL {
        // Who may introspect is nothing that a client can register itself as.
        if config.clients.contains_key(&role) || role == Role::ResourceServer {
            continue;
        }
        let asked = metadata(role, config, discovered);
        match line.send(request(url, config, &asked)).await {
            Ok(reply) => match client_of(&reply, &asked) {
                Some(client) => {
                    if let (Some(uri), Some(token)) = (
                        reply.member("registration_client_uri"),
                        reply.member("registration_access_token"),
                    ) {
                        done.management.push((uri, Secret::new(token)));
                    }
                    done.clients.insert(role, client);
                }
                None => done.refused.push(format!(
                    "{}: {} {}",
                    role.name(),
                    reply.status,
                    reply
                        .member("error_description")
                        .or_else(|| reply.member("error"))
                        .unwrap_or_default()
                )),
            },
            Err(error) => done.refused.push(format!("{}: {error}", role.name())),
        }
    }
    done
}

/// Removes what was registered; a server that does not offer it keeps its clients.
pub(crate) async fn remove(line: &Line<'_>, management: &[(String, Secret)]) {
    for (uri, token) in management {
        let call = Call::new(Method::DELETE, uri)
            .header(header::AUTHORIZATION, &format!("Bearer {}", token.expose()));
        let _ = line.send(call).await;
    }
}
