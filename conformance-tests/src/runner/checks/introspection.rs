//! Introspection (RFC 7662).

use http::header;
use serde_json::{Value, json};

use crate::runner::check::{Check, check};
use crate::runner::config::{Client, Endpoint, Role};
use crate::runner::probe::{Form, Probe, random};
use crate::runner::verdict::{Outcome, Stop, require};
use crate::runner::wire::{Call, Reply};

use super::mutated;

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["7662-002"],
        form_and_hint,
        "the token with GET in the query; with POST and a hint that is wrong, one that is unknown",
        "refused with GET; found whatever the hint"
    ),
    check!(
        ["7662-003"],
        needs_authorization,
        "a live token without credentials, with client_id alone, with a wrong secret",
        "an error, and nothing about the token"
    ),
    check!(
        ["7662-004"],
        active_is_boolean,
        "a live and an unknown token",
        "active is true and false, as JSON booleans"
    ),
    check!(
        ["7662-005", "7662-007"],
        unknown_is_inactive,
        "tokens that were never issued: random, changed, empty of meaning",
        "200 and active=false"
    ),
    check!(
        ["7662-006"],
        inactive_says_no_more,
        "a token that was never issued",
        "active, and no other member"
    ),
    check!(
        ["7662-008"],
        dead_is_inactive,
        "an access token after it was revoked; a code; a token with another hint",
        "active=false"
    ),
    check!(
        ["7662-009", "7662-011"],
        of_another_client,
        "the token of one client, asked about by another that is no resource server",
        "active=false, or at least nothing about the user"
    ),
    check!(
        ["6750-014", "9700-030"],
        audience,
        "a live access token",
        "aud names a resource and is no wildcard"
    ),
    check!(
        ["9700-011"],
        scope_no_wider,
        "a request for one scope of several; its access token",
        "scope in the answer is no wider"
    ),
];

async fn live<'p>(probe: &Probe<'p>) -> Outcome<(&'p Client, &'p Client, String)> {
    probe.endpoint(Endpoint::Introspection)?;
    let owner = probe.client(Role::Confidential).or_else(|_| probe.any_client())?;
    let asker = probe.asker(owner)?;
    let tokens = probe.tokens(owner).await?;
    Ok((owner, asker, tokens.access))
}

fn active(reply: &Reply) -> Option<bool> {
    reply.json().get("active").and_then(Value::as_bool)
}

async fn ask(probe: &Probe<'_>, asker: &Client, form: &Form) -> Outcome<Reply> {
    let url = probe.endpoint(Endpoint::Introspection)?;
    probe.settled(probe.call_as(asker, &url, form)).await
}

async fn form_and_hint(probe: &Probe<'_>) -> Outcome {
    let (_, asker, token) = live(probe).await?;
    for hint in ["access_token", "refresh_token", "grantor_unknown"] {
        let form = Form::new(&[("token", &token), ("token_type_hint", hint)]);
        let reply = ask(probe, asker, &form).await?;
        require!(
            active(&reply) == Some(true),
            "token_type_hint={hint}: {} and active={:?}",
            reply.status,
            active(&reply)
        );
    }
    let url = probe.endpoint(Endpoint::Introspection)?;
    let good = probe.call_as(asker, &url, &Form::new(&[("token", &token)]));
    let mut call = Call::get(format!("{url}?{}", String::from_utf8_lossy(&good.body)));
    if let Some(value) = good.headers.get(header::AUTHORIZATION) {
        call.headers.insert(header::AUTHORIZATION, value.clone());
    }
    let reply = probe.send(call).await?;
    require!(active(&reply) != Some(true), "GET with the token in the query is answered");
    Ok(())
}

async fn needs_authorization(probe: &Probe<'_>) -> Outcome {
    let (owner, asker, token) = live(probe).await?;
    let url = probe.endpoint(Endpoint::Introspection)?;
    let form = Form::new(&[("token", &token)]);
    let mut wrong = asker.clone();
    wrong.secret = Some(crate::runner::secrets::Secret::new("grantor-wrong-secret"));
    for (call, what) in [
        (Call::form(&url, &form.0), "no credentials"),
        (Call::form(&url, &form.clone().and("client_id", &owner.id).0), "client_id alone"),
        (probe.call_as(&wrong, &url, &form), "a wrong secret"),
    ] {
        let reply = probe.settled(call).await?;
        require!(
            reply.status.is_client_error(),
            "{what}: {} and active={:?}",
            reply.status,
            active(&reply)
        );
        require!(active(&reply).is_none(), "{what}: the answer says whether the token is active");
    }
    Ok(())
}

async fn active_is_boolean(probe: &Probe<'_>) -> Outcome {
    let (_, asker, token) = live(probe).await?;
    let reply = probe.introspect(asker, &token).await?;
    require!(
        reply.json().get("active") == Some(&json!(true)),
        "for a live token: {}",
        reply.status
    );
    require!(reply.media_type() == "application/json", "it is of type {:?}", reply.media_type());
    let reply = probe.introspect(asker, &random(43)?).await?;
    let found = reply.json().get("active").cloned();
    require!(found == Some(json!(false)), "for an unknown token active is {found:?}");
    Ok(())
}

fn never_issued(token: &str) -> Outcome<Vec<String>> {
    let mut odd = mutated(token);
    odd.extend([random(43)?, "x".to_owned(), "\u{e9}<script>".to_owned(), "a.b.c".to_owned()]);
    Ok(odd)
}

async fn unknown_is_inactive(probe: &Probe<'_>) -> Outcome {
    let (_, asker, token) = live(probe).await?;
    for odd in never_issued(&token)? {
        let reply = probe.introspect(asker, &odd).await?;
        require!(
            reply.status.as_u16() == 200 && active(&reply) == Some(false),
            "a token that was never issued: {} and active={:?}",
            reply.status,
            active(&reply)
        );
    }
    Ok(())
}

async fn inactive_says_no_more(probe: &Probe<'_>) -> Outcome {
    let (_, asker, token) = live(probe).await?;
    for odd in never_issued(&token)? {
        let reply = probe.introspect(asker, &odd).await?;
        require!(reply.json() == json!({"active": false}), "there is more than active=false");
    }
    Ok(())
}

async fn dead_is_inactive(probe: &Probe<'_>) -> Outcome {
    let (owner, asker, token) = live(probe).await?;
    let grant = probe.grant(owner).await?;
    let reply = probe.introspect(asker, &grant.code).await?;
    require!(active(&reply) == Some(false), "a code is active as a token");
    if probe.target.endpoint(Endpoint::Revocation).is_some() {
        let reply = probe.revoke(owner, &token).await?;
        require!(reply.status.is_success(), "revocation answers {}", reply.status);
        let reply = probe.introspect(asker, &token).await?;
        require!(active(&reply) == Some(false), "a revoked token is active");
    }
    // A used refresh token that was replaced.
    let (_, first) = match probe.refreshable(owner).await {
        Err(Stop::NotApplicable(_)) => return Ok(()),
        other => other?,
    };
    let second = probe.refreshed(owner, &first).await?;
    let Some(second) = second.refresh.filter(|second| *second != first) else { return Ok(()) };
    probe.refreshed(owner, &second).await?;
    let reply = probe.introspect(asker, &first).await?;
    require!(active(&reply) == Some(false), "a refresh token that was replaced is active");
    Ok(())
}

async fn of_another_client(probe: &Probe<'_>) -> Outcome {
    let (owner, _, token) = live(probe).await?;
    let other = probe.client(Role::ConfidentialOther)?;
    require!(owner.id != other.id, "the clients are the same");
    let reply = probe.introspect(other, &token).await?;
    let body = reply.json();
    for personal in ["username", "sub", "email", "name"] {
        require!(
            body.get(personal).is_none(),
            "another client learns {personal} of the user behind the token"
        );
    }
    Ok(())
}

async fn audience(probe: &Probe<'_>) -> Outcome {
    let (_, asker, token) = live(probe).await?;
    let body = probe.introspect(asker, &token).await?.json();
    let aud = body.get("aud").cloned().unwrap_or_default();
    let named = match &aud {
        Value::String(text) => !text.is_empty() && text != "*",
        Value::Array(items) => !items.is_empty() && !items.iter().any(|item| item == "*"),
        _ => false,
    };
    require!(named, "aud is {aud}");
    Ok(())
}

async fn scope_no_wider(probe: &Probe<'_>) -> Outcome {
    let (owner, asker, _) = live(probe).await?;
    let scope = probe.scope_of(owner);
    let mut all = scope.split(' ').filter(|one| !one.is_empty());
    let (Some(first), Some(_)) = (all.next(), all.next()) else {
        return Err(Stop::Inconclusive("this takes two scopes: set --scope".to_owned()));
    };
    let grant = probe.code(&probe.ask(owner)?.with("scope", first)).await?;
    let tokens = probe.redeemed(owner, &grant).await?;
    let body = probe.introspect(asker, &tokens.access).await?.json();
    let granted = body.get("scope").and_then(Value::as_str).unwrap_or(first);
    require!(granted == first, "asked for was {first:?}, granted is {granted:?}");
    Ok(())
}
