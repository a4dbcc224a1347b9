//! Revocation (RFC 7009).

use http::header;

use crate::runner::check::{Check, check};
use crate::runner::config::{Client, Endpoint, Role};
use crate::runner::probe::{Form, Probe, Tokens, random};
use crate::runner::verdict::{Outcome, Stop, require};
use crate::runner::wire::Call;

use super::{error_of, refused};

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["7009-001", "7009-006"],
        refresh_token,
        "a refresh token revoked, then used at once",
        "200, then invalid_grant"
    ),
    check!(
        ["7009-007"],
        whole_grant,
        "a refresh token revoked; its access token asked about",
        "200, and the access token is inactive"
    ),
    check!(
        ["7009-003"],
        of_another_client,
        "a token revoked by another client; a token revoked with a wrong secret",
        "refused or ignored: the token still works"
    ),
    check!(
        ["7009-004"],
        of_public_client,
        "a public client that revokes its own refresh token, or access token",
        "200, and it is dead"
    ),
    check!(
        ["7009-005"],
        wrong_hint,
        "a refresh token with token_type_hint=access_token; with an unknown hint",
        "200, and it is dead"
    ),
    check!(
        ["7009-008"],
        unknown_token,
        "a token that was never issued; one that was revoked before",
        "200 for both"
    ),
    check!(
        ["7009-009"],
        unsupported_type,
        "an access token revoked",
        "200, or unsupported_token_type"
    ),
    check!(
        ["7009-011"],
        no_jsonp,
        "GET with the token and a callback",
        "refused, and the token still works"
    ),
];

async fn revoke(probe: &Probe<'_>, client: &Client, form: &Form) -> Outcome {
    let url = probe.endpoint(Endpoint::Revocation)?;
    let reply = probe.settled(probe.call_as(client, &url, form)).await?;
    require!(reply.status.as_u16() == 200, "revocation answers {}", super::described(&reply));
    Ok(())
}

async fn dead(probe: &Probe<'_>, client: &Client, token: &str) -> Outcome {
    refused(&probe.refresh(client, token).await?, "a refresh token that was revoked")
}

async fn refresh_token(probe: &Probe<'_>) -> Outcome {
    probe.endpoint(Endpoint::Revocation)?;
    for client in probe.both()? {
        let (_, token) = probe.refreshable(client).await?;
        revoke(probe, client, &Form::new(&[("token", &token)])).await?;
        dead(probe, client, &token).await?;
    }
    Ok(())
}

async fn whole_grant(probe: &Probe<'_>) -> Outcome {
    probe.endpoint(Endpoint::Revocation)?;
    let client = probe.any_client()?;
    let (tokens, token) = probe.refreshable(client).await?;
    require!(probe.is_active(client, &tokens.access).await?, "a fresh access token is not active");
    revoke(probe, client, &Form::new(&[("token", &token)])).await?;
    require!(
        !probe.is_active(client, &tokens.access).await?,
        "the access token outlives the refresh token"
    );
    Ok(())
}

async fn of_another_client(probe: &Probe<'_>) -> Outcome {
    let url = probe.endpoint(Endpoint::Revocation)?;
    let (owner, other) = probe.two()?;
    let (_, token) = probe.refreshable(owner).await?;
    let form = Form::new(&[("token", &token)]);
    // Refused, or answered like an unknown token: what counts is that the token lives on.
    probe.settled(probe.call_as(other, &url, &form)).await?;
    if owner.secret.is_some() {
        let mut wrong = owner.clone();
        wrong.secret = Some(crate::runner::secrets::Secret::new("grantor-wrong-secret"));
        let reply = probe.settled(probe.call_as(&wrong, &url, &form)).await?;
        require!(
            reply.status.is_client_error(),
            "a wrong secret is answered with {}",
            reply.status
        );
        let reply = probe.settled(Call::form(&url, &form.and("client_id", &owner.id).0)).await?;
        require!(
            reply.status.is_client_error(),
            "client_id alone is answered with {}",
            reply.status
        );
    }
    let reply = probe.refresh(owner, &token).await?;
    require!(Tokens::of(&reply).is_some(), "somebody else has revoked the token");
    Ok(())
}

async fn of_public_client(probe: &Probe<'_>) -> Outcome {
    probe.endpoint(Endpoint::Revocation)?;
    let client = probe.client(Role::Public)?;
    let tokens = probe.tokens(client).await?;
    if let Some(token) = &tokens.refresh {
        revoke(probe, client, &Form::new(&[("token", token)])).await?;
        return dead(probe, client, token).await;
    }
    revoke(probe, client, &Form::new(&[("token", &tokens.access)])).await?;
    require!(!probe.is_active(client, &tokens.access).await?, "a revoked access token is active");
    Ok(())
}

async fn wrong_hint(probe: &Probe<'_>) -> Outcome {
    probe.endpoint(Endpoint::Revocation)?;
    let client = probe.any_client()?;
    for hint in ["access_token", "grantor_unknown"] {
        let (_, token) = probe.refreshable(client).await?;
        revoke(probe, client, &Form::new(&[("token", &token), ("token_type_hint", hint)])).await?;
        dead(probe, client, &token).await?;
    }
    Ok(())
}

async fn unknown_token(probe: &Probe<'_>) -> Outcome {
    probe.endpoint(Endpoint::Revocation)?;
    let client = probe.any_client()?;
    for odd in [random(43)?, "x".to_owned(), "a.b.c".to_owned()] {
        revoke(probe, client, &Form::new(&[("token", &odd)])).await?;
    }
    let tokens = probe.tokens(client).await?;
    let token = tokens.refresh.unwrap_or(tokens.access);
    for _ in 0..2 {
        revoke(probe, client, &Form::new(&[("token", &token)])).await?;
    }
    Ok(())
}

async fn unsupported_type(probe: &Probe<'_>) -> Outcome {
    probe.endpoint(Endpoint::Revocation)?;
    let client = probe.any_client()?;
    let tokens = probe.tokens(client).await?;
    let reply = probe.revoke(client, &tokens.access).await?;
    if reply.status.is_success() {
        return match probe.is_active(client, &tokens.access).await {
            Ok(active) => {
                require!(!active, "revocation answers {}, and the token is active", reply.status);
                Ok(())
            }
            Err(Stop::NotApplicable(_)) => Ok(()),
            Err(stop) => Err(stop),
        };
    }
    require!(
        error_of(&reply) == "unsupported_token_type",
        "access tokens cannot be revoked, and the error is {}",
        super::described(&reply)
    );
    Ok(())
}

async fn no_jsonp(probe: &Probe<'_>) -> Outcome {
    let url = probe.endpoint(Endpoint::Revocation)?;
    let client = probe.any_client()?;
    let (_, token) = probe.refreshable(client).await?;
    let good = probe.call_as(client, &url, &Form::new(&[("token", &token), ("callback", "evil")]));
    let mut call = Call::get(format!("{url}?{}", String::from_utf8_lossy(&good.body)));
    if let Some(value) = good.headers.get(header::AUTHORIZATION) {
        call.headers.insert(header::AUTHORIZATION, value.clone());
    }
    let reply = probe.send(call).await?;
    require!(!reply.text().contains("evil("), "the answer calls the callback");
    let reply = probe.refresh(client, &token).await?;
    require!(Tokens::of(&reply).is_some(), "GET has revoked the token");
    Ok(())
}
