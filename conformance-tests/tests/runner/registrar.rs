//! Registration of clients over HTTP (RFC 7591 and 7592), as far as it takes to see the runner use it: the server
//! registers clients through its interface only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::AuthorizationServer;
use grantor::engine::Error;
use grantor::model::{ApplicationType, ClientAuthMethod, ClientId, ClientType, ScopeSet};
use grantor::protocol::Refusal;
use grantor::protocol::register::Registration;
use http::header;
use serde_json::{Value, json};

use crate::spoil::{Answered, Asked};

fn refused(error: &str) -> Answered {
    Answered::json(400, &json!({ "error": error }))
}

/// Answers at the registration endpoint and below it.
pub(crate) async fn answer(server: &AuthorizationServer, at: &str, asked: &Asked) -> Answered {
    if let Some(id) = asked.path().strip_prefix("/register/") {
        let known = ClientId::parse(id).ok().filter(|_| asked.method == "DELETE");
        let Some(id) = known else { return Answered::json(401, &Value::Null) };
        server.remove_client(&id).await.expect("removed");
        return Answered::json(204, &Value::Null);
    }
    if asked.method != "POST" {
        return Answered::json(405, &Value::Null);
    }
    let metadata: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    if asked.header(header::CONTENT_TYPE) != "application/json" || !metadata.is_object() {
        return refused("invalid_client_metadata");
    }
    if metadata.get("jwks").is_some() && metadata.get("jwks_uri").is_some() {
        return refused("invalid_client_metadata");
    }
    let texts = |name: &str| -> Vec<String> {
        let items = metadata[name].as_array().into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let text = |name: &str| metadata[name].as_str().unwrap_or_default();
    let scope: ScopeSet = text("scope").parse().unwrap_or_default();
    let is_service = texts("grant_types") == ["client_credentials"];
    let is_public = text("token_endpoint_auth_method") == "none";
    let auth_methods = match text("token_endpoint_auth_method") {
        "none" => vec![],
        "client_secret_post" => vec![ClientAuthMethod::ClientSecretPost],
        _ => vec![ClientAuthMethod::ClientSecretBasic],
    };
    let usual = if is_service {
        Registration::service(text("client_name"), scope)
    } else {
        Registration::public(text("client_name"), "", scope)
    };
    let registration = Registration {
        redirect_uris: texts("redirect_uris"),
        client_type: if is_public { ClientType::Public } else { ClientType::Confidential },
        application_type: match text("application_type") {
            "native" => ApplicationType::Native,
            _ => ApplicationType::Web,
        },
        auth_methods,
        ..usual
    };
    match server.register_client(&registration).await {
        Ok(registered) => {
            let id = registered.client.id.as_str();
            let token = URL_SAFE_NO_PAD.encode(id);
            let mut members = json!({
                "client_id": id,
                "client_name": registration.name,
                "redirect_uris": registration.redirect_uris,
                "grant_types": metadata["grant_types"],
                "token_endpoint_auth_method": metadata["token_endpoint_auth_method"],
                "scope": text("scope"),
                "registration_client_uri": format!("{at}/{id}"),
                "registration_access_token": token,
            });
            if let Some(secret) = &registered.client_secret {
                members["client_secret"] = json!(secret.expose());
                members["client_secret_expires_at"] = json!(0);
            }
            Answered::json(201, &members)
        }
        Err(Error::Refused(Refusal::RegistrationRedirectUri(_))) => refused("invalid_redirect_uri"),
        Err(_) => refused("invalid_client_metadata"),
    }
}
