//! The checks, by the part of the server that they are about.

mod authorization;
mod bearer;
mod client_auth;
mod code;
mod http;
mod introspection;
mod metadata;
mod pages;
mod pkce;
mod redirect;
mod refresh;
mod registration;
mod revocation;
mod token;

use super::browser::{Answer, Landing};
use super::check::Subject;
use super::verdict::{Outcome, Stop, require};
use super::wire::Reply;

/// All checks, in the order in which they run.
pub const SUBJECTS: [Subject; 14] = [
    Subject { name: "Metadata", checks: metadata::CHECKS },
    Subject { name: "Authorization endpoint", checks: authorization::CHECKS },
    Subject { name: "Redirection", checks: redirect::CHECKS },
    Subject { name: "Sign-in and consent pages", checks: pages::CHECKS },
    Subject { name: "PKCE", checks: pkce::CHECKS },
    Subject { name: "Authorization codes", checks: code::CHECKS },
    Subject { name: "Token endpoint", checks: token::CHECKS },
    Subject { name: "Client authentication", checks: client_auth::CHECKS },
    Subject { name: "Refresh tokens", checks: refresh::CHECKS },
    Subject { name: "Introspection", checks: introspection::CHECKS },
    Subject { name: "Revocation", checks: revocation::CHECKS },
    Subject { name: "Bearer tokens", checks: bearer::CHECKS },
    Subject { name: "HTTP", checks: http::CHECKS },
    Subject { name: "Registration", checks: registration::CHECKS },
];

/// The error of a reply; empty if there is none.
fn error_of(reply: &Reply) -> String {
    reply.member("error").unwrap_or_default()
}

fn described(reply: &Reply) -> String {
    let error = error_of(reply);
    if error.is_empty() {
        reply.status.as_u16().to_string()
    } else {
        format!("{} {error}", reply.status.as_u16())
    }
}

/// Nothing was issued, and the status says so.
fn refused(reply: &Reply, what: &str) -> Outcome {
    require!(reply.member("access_token").is_none(), "{what}: the server issued an access token");
    require!(
        reply.status.is_client_error(),
        "{what}: the server answered {}, which is no refusal",
        described(reply)
    );
    Ok(())
}

/// Nothing was issued, and the error is one of these.
fn refused_with(reply: &Reply, errors: &[&str], what: &str) -> Outcome {
    refused(reply, what)?;
    let error = error_of(reply);
    require!(
        errors.contains(&error.as_str()),
        "{what}: the error is {:?} and not {}",
        error,
        errors.join(" or ")
    );
    Ok(())
}

/// The client was told one of these errors, at its redirect URI.
fn told<'l>(landing: &'l Landing, errors: &[&str], what: &str) -> Outcome<&'l Answer> {
    let Landing::Client(answer) = landing else {
        return Err(Stop::Fail(format!(
            "{what}: instead of an error at the client there is {}",
            landing.describe()
        )));
    };
    require!(answer.get("code").is_none(), "{what}: the client got a code");
    let error = answer.get("error").unwrap_or_default();
    require!(
        errors.contains(&error),
        "{what}: the client was told {error:?} and not {}",
        errors.join(" or ")
    );
    Ok(answer)
}

/// The request went no further: an error at the client or on a page.
fn stopped(landing: &Landing, what: &str) -> Outcome {
    match landing {
        Landing::Client(answer) => {
            require!(
                answer.get("code").is_none() && answer.get("error").is_some(),
                "{what}: the client got {}",
                if answer.get("code").is_some() { "a code" } else { "no error" }
            );
            Ok(())
        }
        Landing::Page(reply) => {
            require!(
                reply.status.is_client_error() || reply.status.is_success(),
                "{what}: the server answered {}",
                reply.status
            );
            Ok(())
        }
        other => Err(Stop::Fail(format!("{what}: it went on to {}", other.describe()))),
    }
}

/// The user saw a page, and nothing was sent anywhere.
fn shown(landing: &Landing, what: &str) -> Outcome {
    match landing {
        Landing::Page(_) => Ok(()),
        other => Err(Stop::Fail(format!(
            "{what}: instead of an error page there is {}",
            other.describe()
        ))),
    }
}

/// One failure of several findings, which tells all of them.
fn together(findings: Vec<Stop>, of: usize) -> Outcome {
    let mut reasons = Vec::new();
    for finding in findings {
        match finding {
            Stop::Fail(reason) => reasons.push(reason),
            other => return Err(other),
        }
    }
    match reasons.as_slice() {
        [] => Ok(()),
        [one] => Err(Stop::Fail(one.clone())),
        all => Err(Stop::Fail(format!("{} of {of}: {}", all.len(), all.join("; ")))),
    }
}

/// A code or a token with one character changed; each has one.
fn mutated(handle: &str) -> Vec<String> {
    let length = handle.len();
    let mut found = Vec::new();
    for at in [0, length / 4, length / 2, length.saturating_sub(2)] {
        let mut bytes = handle.as_bytes().to_vec();
        let Some(byte) = bytes.get_mut(at) else { continue };
        *byte = if *byte == b'A' { b'B' } else { b'A' };
        found.extend(String::from_utf8(bytes).ok().filter(|text| text != handle));
    }
    found.push(format!("{handle}A"));
    found.extend(handle.get(..length.saturating_sub(1)).map(str::to_owned));
    found
}

/// The claims of a JWT, unverified; `null` if it is none.
fn claims(token: &str) -> serde_json::Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap_or_default();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload);
    bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
