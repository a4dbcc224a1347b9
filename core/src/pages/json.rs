//! Pages as JSON, for hosts that draw them themselves.

use serde_json::{Map, Value, json};

use super::names::clean;
use super::{Body, ErrorKind, Hidden, SignInProblem};
use crate::model::RedirectUriKind;
use crate::protocol::authorize::ClientSummary;

/// What is on the page. Everything in it is text, to be shown as text.
pub(crate) fn json(body: &Body<'_>) -> Value {
    match body {
        Body::SignIn(page) => json!({
            "next": "sign_in",
            "action": page.action,
            "fields": fields(&page.hidden),
            "client": page.client.map(client),
            "username": page.username,
            "again": page.again,
            "problem": page.problem.map(|problem| match problem {
                SignInProblem::WrongCredentials => "wrong_credentials",
                SignInProblem::TooManyAttempts { .. } => "too_many_attempts",
            }),
            "retry_after_seconds": page.problem.and_then(|problem| match problem {
                SignInProblem::WrongCredentials => None,
                SignInProblem::TooManyAttempts { retry_after_seconds } => Some(retry_after_seconds),
            }),
        }),
        Body::Consent(page) => json!({
            "next": "consent",
            "action": page.action,
            "fields": fields(&page.hidden),
            "client": client(page.client),
            "destination": {
                "name": page.destination.display(),
                "kind": match page.destination.kind() {
                    RedirectUriKind::Https => "https",
                    RedirectUriKind::Loopback => "loopback",
                    RedirectUriKind::PrivateUse => "private_use",
                },
            },
            "username": clean(page.username),
            "scopes": page.scopes.iter().map(|scope| json!({
                "name": scope.name,
                "description": scope.description,
                "allowed_before": scope.allowed_before,
            })).collect::<Vec<_>>(),
            "lifetime_days": page.lifetime_days,
        }),
        Body::Connections(page) => json!({
            "next": "connections",
            "action": page.action,
            "sign_out": page.sign_out,
            "fields": fields(&page.hidden),
            "username": clean(page.username),
            "connections": page.connections.iter().map(|connection| json!({
                "client_id": connection.client_id,
                "client_name": clean(connection.client_name),
                "scopes": connection.scopes,
                "since": connection.since,
            })).collect::<Vec<_>>(),
            "withdrawn": page.withdrawn,
        }),
        Body::SignedOut(page) => json!({ "next": "signed_out", "sign_in": page.sign_in }),
        Body::Error(page) => json!({
            "next": "error",
            "kind": match page.kind {
                ErrorKind::BadRequest => "bad_request",
                ErrorKind::Expired => "expired",
                ErrorKind::AnotherBrowser => "another_browser",
                ErrorKind::AlreadyAnswered => "already_answered",
                ErrorKind::NotFound => "not_found",
                ErrorKind::NotFromHere => "not_from_here",
                ErrorKind::TooManyAttempts => "too_many_attempts",
                ErrorKind::Unavailable => "unavailable",
            },
            "error": "not_found",
            "error_description": page.detail,
        }),
    }
}

fn fields(hidden: &Hidden<'_>) -> Map<String, Value> {
    hidden.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
}

fn client(client: &ClientSummary) -> Value {
    json!({
        "name": clean(&client.name),
        "client_uri": client.client_uri,
        "policy_uri": client.policy_uri,
        "tos_uri": client.tos_uri,
    })
}
