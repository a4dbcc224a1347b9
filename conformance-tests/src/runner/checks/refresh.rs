//! Refresh tokens.

use crate::runner::check::{Check, check};
use crate::runner::config::{Client, Role};
use crate::runner::probe::{Probe, Tokens, refresh_form};
use crate::runner::verdict::{Outcome, Stop, require};

use super::{refused, refused_with};

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["6749-063"],
        authenticated,
        "a refresh token of a confidential client with client_id alone, with a wrong secret",
        "invalid_client; the token still works for its client"
    ),
    check!(
        ["6749-064", "6749-074"],
        of_another_client,
        "the refresh token of one client, presented by another",
        "invalid_grant; the token still works for its client"
    ),
    check!(
        ["6749-065", "9700-035"],
        no_wider,
        "a refresh with a scope that was not granted",
        "invalid_scope, or a token without it"
    ),
    check!(["6749-066"], same_scope, "a refresh without scope", "the scope that was granted"),
    check!(
        ["6749-067"],
        scope_survives_narrowing,
        "a refresh with less scope, then one without scope",
        "less, then all of it again"
    ),
    check!(
        ["6749-075", "OA21-016", "9700-010"],
        rotated,
        "refreshes of a public client",
        "a new refresh token each time (or tokens bound to a key)"
    ),
    check!(
        ["OA21-017", "9700-036"],
        reuse_ends_it,
        "a refresh token of a public client again, after its successor was used",
        "refused, and what the successors had yielded is refused as well"
    ),
];

/// A client whose grant has two scopes or more, and the scopes.
fn scopes<'p>(probe: &Probe<'p>) -> Outcome<(&'p Client, Vec<String>)> {
    let client = probe.any_client()?;
    let scope = probe.scope_of(client);
    let all: Vec<String> = scope.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect();
    Ok((client, all))
}

async fn authenticated(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Confidential)?;
    let (_, token) = probe.refreshable(client).await?;
    let form = refresh_form(&token);
    let reply = probe.token_bare(&form.clone().and("client_id", &client.id)).await?;
    refused_with(&reply, &["invalid_client", "invalid_request"], "client_id alone")?;
    let mut wrong = client.clone();
    wrong.secret = Some(crate::runner::secrets::Secret::new("grantor-wrong-secret"));
    let reply = probe.token(&wrong, &form).await?;
    refused_with(&reply, &["invalid_client"], "a wrong secret")?;
    still_good(probe, client, &token).await
}

async fn still_good(probe: &Probe<'_>, client: &Client, token: &str) -> Outcome {
    let reply = probe.refresh(client, token).await?;
    require!(
        Tokens::of(&reply).is_some(),
        "afterwards the token does not work for its client: {}",
        super::described(&reply)
    );
    Ok(())
}

async fn of_another_client(probe: &Probe<'_>) -> Outcome {
    let (owner, other) = probe.two()?;
    let (_, token) = probe.refreshable(owner).await?;
    let reply = probe.refresh(other, &token).await?;
    refused_with(&reply, &["invalid_grant"], "the refresh token of another client")?;
    still_good(probe, owner, &token).await
}

fn granted(tokens: &Tokens, otherwise: &str) -> Vec<String> {
    let scope = tokens.reply.member("scope").unwrap_or_else(|| otherwise.to_owned());
    let mut all: Vec<String> =
        scope.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect();
    all.sort_unstable();
    all
}

async fn no_wider(probe: &Probe<'_>) -> Outcome {
    let (client, all) = scopes(probe)?;
    // Where there are two scopes, the second is asked for after only the first was granted.
    let (first, more) = match all.as_slice() {
        [first, .., last] if first != last => (first.clone(), last.clone()),
        [only] => (only.clone(), "grantor_unknown".to_owned()),
        _ => return Err(Stop::Inconclusive("there is no scope: set --scope".to_owned())),
    };
    // Some issue refresh tokens only for a scope of its own.
    let narrow = match all.iter().find(|one| *one == "offline_access") {
        Some(offline) if *offline != first => format!("{first} {offline}"),
        _ => first,
    };
    let more =
        if narrow.split(' ').any(|one| one == more) { "grantor_unknown".to_owned() } else { more };
    let grant = probe.code(&probe.ask(client)?.with("scope", &narrow)).await?;
    let tokens = probe.redeemed(client, &grant).await?;
    let token = tokens
        .refresh
        .clone()
        .ok_or_else(|| Stop::NotApplicable("the server issued no refresh token".to_owned()))?;
    let before = granted(&tokens, &narrow);
    if before.contains(&more) {
        return Err(Stop::Inconclusive(format!("{more} was granted without being asked for")));
    }
    let form = refresh_form(&token).and("scope", &format!("{narrow} {more}"));
    let reply = probe.token(client, &form).await?;
    let Some(wider) = Tokens::of(&reply) else {
        return refused_with(&reply, &["invalid_scope"], "more scope than was granted");
    };
    require!(
        !granted(&wider, &format!("{narrow} {more}")).contains(&more),
        "a refresh got {more}, which was not granted"
    );
    Ok(())
}

async fn same_scope(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let (tokens, token) = probe.refreshable(client).await?;
    let asked = probe.scope_of(client);
    let before = granted(&tokens, &asked);
    let next = probe.refreshed(client, &token).await.map_err(Stop::or_fail)?;
    let after = granted(&next, &before.join(" "));
    require!(before == after, "the scope was {before:?} and is {after:?}");
    Ok(())
}

async fn scope_survives_narrowing(probe: &Probe<'_>) -> Outcome {
    let (client, all) = scopes(probe)?;
    let [first, _, ..] = all.as_slice() else {
        return Err(Stop::Inconclusive("this takes two scopes: set --scope".to_owned()));
    };
    let (tokens, token) = probe.refreshable(client).await?;
    let before = granted(&tokens, &all.join(" "));
    if before.len() < 2 {
        return Err(Stop::Inconclusive("only one scope was granted".to_owned()));
    }
    let reply = probe.token(client, &refresh_form(&token).and("scope", first)).await?;
    let narrowed = Tokens::of(&reply).ok_or_else(|| {
        Stop::Inconclusive(format!("a refresh with less scope got {}", super::described(&reply)))
    })?;
    let token = narrowed.refresh.unwrap_or(token);
    let next = probe.refreshed(client, &token).await.map_err(Stop::or_fail)?;
    let after = granted(&next, &before.join(" "));
    require!(before == after, "the scope was {before:?} and is {after:?} after a narrower refresh");
    Ok(())
}

/// A public client and a refresh token of it.
async fn public<'p>(probe: &Probe<'p>) -> Outcome<(&'p Client, Tokens, String)> {
    let client = probe.client(Role::Public)?;
    let (tokens, token) = probe.refreshable(client).await?;
    Ok((client, tokens, token))
}

/// Whether the tokens are bound to a key, so that they need not rotate.
fn is_bound(tokens: &Tokens) -> bool {
    let kind = tokens.reply.member("token_type").unwrap_or_default();
    kind.eq_ignore_ascii_case("dpop")
}

async fn rotated(probe: &Probe<'_>) -> Outcome {
    let (client, tokens, mut token) = public(probe).await?;
    if is_bound(&tokens) {
        return Ok(());
    }
    let first = token.clone();
    for _ in 0..2 {
        let next = probe.refreshed(client, &token).await?;
        let new = next.refresh.ok_or_else(|| {
            Stop::Fail("a refresh of a public client yields no new refresh token".to_owned())
        })?;
        require!(new != token, "a refresh of a public client yields the same refresh token");
        token = new;
    }
    let reply = probe.refresh(client, &first).await?;
    refused(&reply, "a refresh token that was replaced twice")
}

async fn reuse_ends_it(probe: &Probe<'_>) -> Outcome {
    let (client, tokens, first) = public(probe).await?;
    if is_bound(&tokens) {
        return Err(Stop::NotApplicable("the tokens are bound to a key".to_owned()));
    }
    let second = probe.refreshed(client, &first).await?;
    let Some(second) = second.refresh.filter(|second| *second != first) else {
        return Err(Stop::Fail("refresh tokens of public clients do not rotate".to_owned()));
    };
    let third = probe.refreshed(client, &second).await?;
    let reply = probe.token(client, &refresh_form(&first)).await?;
    refused(&reply, "a refresh token whose successor was used")?;
    if let Some(current) = &third.refresh {
        let reply = probe.token(client, &refresh_form(current)).await?;
        refused(&reply, "the current refresh token, after an old one was used again")?;
    }
    Ok(())
}
