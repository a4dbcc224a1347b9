//! Registration of clients by themselves (RFC 7591), as far as it decides where codes may go.

use http::{Method, header};
use serde_json::{Value, json};

use crate::runner::check::{Check, check};
use crate::runner::config::{Endpoint, Role};
use crate::runner::probe::{Probe, method};
use crate::runner::registration;
use crate::runner::verdict::{Outcome, Stop, require};
use crate::runner::wire::{Call, Reply};

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["6749-024", "6749-025", "7591-001"],
        redirect_uris_needed,
        "registration of a client for the code grant without redirect_uris; public and confidential",
        "invalid_redirect_uri or invalid_client_metadata"
    ),
    check!(
        ["6749-023", "9700-016", "7591-017"],
        safe_redirect_uris,
        "registration with http:// to another host, javascript:, data:, a fragment, a relative address",
        "refused"
    ),
    check!(
        ["8252-002"],
        kinds_of_redirect_uris,
        "registration of native apps with a private-use scheme, https and http on loopback",
        "201 for each"
    ),
    check!(
        ["8252-008"],
        reverse_domains,
        "registration of a native app with a scheme without a period",
        "refused"
    ),
    check!(
        ["6749-069"],
        no_secret_for_native,
        "registration of a native app without authentication",
        "no client_secret"
    ),
    check!(
        ["7591-012"],
        unique,
        "three registrations",
        "201, each with its own client_id and client_secret"
    ),
    check!(["7591-010"], only_json, "registration as a form; with GET", "refused"),
    check!(
        ["7591-004"],
        unknown_members,
        "registration with a member that nobody knows",
        "201, and the member is not in the answer"
    ),
    check!(
        ["7591-003"],
        one_key_set,
        "registration with jwks and jwks_uri",
        "invalid_client_metadata"
    ),
    check!(
        ["7591-016"],
        errors,
        "registration with a bad redirect URI",
        "400, JSON, one of the errors of RFC 7591 section 3.2.2"
    ),
    check!(
        ["7591-013"],
        secret_expiry,
        "registration of a confidential client",
        "client_secret_expires_at beside client_secret"
    ),
];

async fn register(probe: &Probe<'_>, metadata: &Value) -> Outcome<Reply> {
    let url = probe.endpoint(Endpoint::Registration)?;
    let config = &probe.target.config;
    let reply = probe.settled(registration::request(&url, config, metadata)).await?;
    // What a check registers is removed at once, where the server lets it.
    if let (Some(uri), Some(token)) =
        (reply.member("registration_client_uri"), reply.member("registration_access_token"))
    {
        let call = Call::new(Method::DELETE, uri)
            .header(header::AUTHORIZATION, &format!("Bearer {token}"));
        let _ = probe.line.send(call).await;
    }
    Ok(reply)
}

fn usual(probe: &Probe<'_>, role: Role) -> Value {
    registration::metadata(role, &probe.target.config, &probe.target.discovered)
}

fn with(mut metadata: Value, name: &str, value: Value) -> Value {
    if let Some(members) = metadata.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    metadata
}

/// A good registration must work, or a refusal of a bad one shows nothing.
async fn accepted(probe: &Probe<'_>, metadata: &Value) -> Outcome<Reply> {
    let reply = register(probe, metadata).await?;
    if reply.status.is_success() {
        return Ok(reply);
    }
    Err(Stop::Inconclusive(format!(
        "a good registration is answered with {}",
        super::described(&reply)
    )))
}

fn refused(reply: &Reply, what: &str) -> Outcome {
    require!(
        reply.status.is_client_error() && reply.member("client_id").is_none(),
        "{what}: {}",
        super::described(reply)
    );
    Ok(())
}

async fn redirect_uris_needed(probe: &Probe<'_>) -> Outcome {
    probe.endpoint(Endpoint::Registration)?;
    for role in [Role::Public, Role::Confidential] {
        let usual = usual(probe, role);
        accepted(probe, &usual).await?;
        let mut without = usual.clone();
        if let Some(members) = without.as_object_mut() {
            members.remove("redirect_uris");
        }
        for metadata in [without, with(usual, "redirect_uris", json!([]))] {
            refused(&register(probe, &metadata).await?, "no redirect_uris")?;
        }
    }
    Ok(())
}

async fn safe_redirect_uris(probe: &Probe<'_>) -> Outcome {
    accepted(probe, &usual(probe, Role::Public)).await?;
    for odd in [
        "http://client.example/callback",
        "javascript:alert(1)",
        "data:text/html,evil",
        "vbscript:evil",
        "file:///etc/passwd",
        "https://client.example/callback#fragment",
        "/callback",
        "callback",
        "",
    ] {
        let metadata = with(usual(probe, Role::Public), "redirect_uris", json!([odd]));
        refused(&register(probe, &metadata).await?, &format!("redirect_uris: {odd:?}"))?;
    }
    Ok(())
}

async fn kinds_of_redirect_uris(probe: &Probe<'_>) -> Outcome {
    for uri in [
        "com.example.grantor:/callback",
        "https://app.client.example/callback",
        "http://127.0.0.1/callback",
    ] {
        let metadata = with(usual(probe, Role::Native), "redirect_uris", json!([uri]));
        let reply = register(probe, &metadata).await?;
        require!(reply.status.is_success(), "{uri}: {}", super::described(&reply));
    }
    Ok(())
}

async fn reverse_domains(probe: &Probe<'_>) -> Outcome {
    accepted(probe, &usual(probe, Role::Native)).await?;
    let metadata =
        with(usual(probe, Role::Native), "redirect_uris", json!(["grantorapp:/callback"]));
    refused(&register(probe, &metadata).await?, "grantorapp:/callback")
}

async fn no_secret_for_native(probe: &Probe<'_>) -> Outcome {
    let reply = accepted(probe, &usual(probe, Role::Native)).await?;
    require!(reply.member("client_secret").is_none(), "a native app got a client_secret");
    Ok(())
}

async fn unique(probe: &Probe<'_>) -> Outcome {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let reply = accepted(probe, &usual(probe, Role::Confidential)).await?;
        require!(reply.status.as_u16() == 201, "{} and not 201", reply.status);
        for name in ["client_id", "client_secret"] {
            let value = reply.member(name);
            let value = value.ok_or_else(|| Stop::Fail(format!("there is no {name}")))?;
            require!(seen.insert(value), "{name} is there twice");
        }
    }
    Ok(())
}

async fn only_json(probe: &Probe<'_>) -> Outcome {
    let url = probe.endpoint(Endpoint::Registration)?;
    let usual = usual(probe, Role::Public);
    accepted(probe, &usual).await?;
    let good = registration::request(&url, &probe.target.config, &usual);
    let mut form = Call::new(method("POST"), &url)
        .typed(crate::runner::wire::FORM, "redirect_uris=https%3A%2F%2Fclient.example%2Fcallback");
    let mut get = Call::get(&url);
    for call in [&mut form, &mut get] {
        if let Some(value) = good.headers.get(header::AUTHORIZATION) {
            call.headers.insert(header::AUTHORIZATION, value.clone());
        }
    }
    refused(&probe.settled(form).await?, "a registration as a form")?;
    refused(&probe.settled(get).await?, "a registration with GET")
}

async fn unknown_members(probe: &Probe<'_>) -> Outcome {
    let metadata = with(usual(probe, Role::Public), "x_grantor_unknown", json!("1"));
    let reply = register(probe, &metadata).await?;
    require!(reply.status.is_success(), "an unknown member: {}", super::described(&reply));
    require!(
        reply.json().get("x_grantor_unknown").is_none(),
        "the unknown member is in the answer"
    );
    Ok(())
}

async fn one_key_set(probe: &Probe<'_>) -> Outcome {
    accepted(probe, &usual(probe, Role::Confidential)).await?;
    let key = json!({"kty": "EC", "crv": "P-256", "use": "sig",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let metadata = with(usual(probe, Role::Confidential), "jwks", json!({"keys": [key]}));
    let metadata = with(metadata, "jwks_uri", json!("https://client.example/jwks"));
    refused(&register(probe, &metadata).await?, "jwks and jwks_uri")
}

async fn errors(probe: &Probe<'_>) -> Outcome {
    let metadata =
        with(usual(probe, Role::Public), "redirect_uris", json!(["javascript:alert(1)"]));
    let reply = register(probe, &metadata).await?;
    require!(reply.status.as_u16() == 400, "{} and not 400", reply.status);
    require!(reply.media_type() == "application/json", "it is of type {:?}", reply.media_type());
    let error = super::error_of(&reply);
    require!(
        ["invalid_redirect_uri", "invalid_client_metadata"].contains(&error.as_str()),
        "the error is {error:?}"
    );
    Ok(())
}

async fn secret_expiry(probe: &Probe<'_>) -> Outcome {
    let reply = accepted(probe, &usual(probe, Role::Confidential)).await?;
    if reply.member("client_secret").is_none() {
        return Err(Stop::NotApplicable("no client_secret was issued".to_owned()));
    }
    let expiry = reply.json().get("client_secret_expires_at").cloned();
    require!(expiry.as_ref().is_some_and(Value::is_u64), "client_secret_expires_at is {expiry:?}");
    Ok(())
}
