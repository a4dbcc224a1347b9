//! Authorization codes: whose they are, how often and how long they work.

use futures_util::future::join_all;

use crate::runner::check::{Check, check};
use crate::runner::config::Role;
use crate::runner::probe::{Probe, Tokens, random};
use crate::runner::verdict::{Outcome, Stop, require};

use super::{mutated, refused, refused_with};

pub(super) const CHECKS: &[Check] = &[
    check!(["6749-042", "6749-076"], once, "the same code twice", "tokens, then invalid_grant"),
    check!(["OA21-013"], once_of_many, "the same code 16 times at once", "tokens exactly once"),
    check!(
        ["6749-043"],
        replay_revokes,
        "the same code twice, with everything right; then the tokens of the first time",
        "the access token is inactive, the refresh token is refused"
    ),
    check!(
        ["OA21-020"],
        false_replay_harms_nobody,
        "a used code with a wrong verifier; then the tokens that it had yielded",
        "refused, and the tokens still work"
    ),
    check!(
        ["6749-036"],
        of_another_public_client,
        "the code of one public client, redeemed by another",
        "invalid_grant"
    ),
    check!(
        ["6749-050", "6749-044"],
        of_another_client,
        "the code of one client, redeemed by another that authenticates",
        "invalid_grant"
    ),
    check!(
        ["6749-049", "6749-077", "OA21-023"],
        redirect_uri_again,
        "a code with a redirect_uri that is not the one of the request",
        "refused"
    ),
    check!(
        ["6749-051"],
        known,
        "a made-up code, a code with one character changed, one cut short, one too long",
        "invalid_grant, and the right one still works"
    ),
    check!(
        Slow,
        ["6749-041"],
        lifetime,
        "a code after --patience has passed, 10 minutes at most",
        "invalid_grant"
    ),
];

async fn once(probe: &Probe<'_>) -> Outcome {
    for client in probe.both()? {
        let grant = probe.grant(client).await?;
        probe.redeemed(client, &grant).await.map_err(Stop::or_fail)?;
        let again = probe.redeem(client, &grant).await?;
        refused_with(&again, &["invalid_grant"], "a used code")?;
    }
    Ok(())
}

async fn once_of_many(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let grant = probe.grant(client).await?;
    let answers = join_all((0..16).map(|_| probe.redeem(client, &grant))).await;
    let mut issued = Vec::new();
    for answer in answers {
        issued.extend(Tokens::of(&answer?));
    }
    // The server may answer a repetition with the same tokens.
    issued.sort_by(|one, other| one.access.cmp(&other.access));
    issued.dedup_by(|one, other| one.access == other.access);
    require!(issued.len() == 1, "{} different access tokens were issued", issued.len());
    Ok(())
}

async fn replay_revokes(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let grant = probe.grant(client).await?;
    let tokens = probe.redeemed(client, &grant).await?;
    refused(&probe.redeem(client, &grant).await?, "a used code")?;
    if let Some(refresh) = &tokens.refresh {
        let reply = probe.refresh(client, refresh).await?;
        refused(&reply, "the refresh token of a code that was replayed")?;
    }
    match probe.is_active(client, &tokens.access).await {
        Ok(active) => require!(!active, "the access token of a code that was replayed is active"),
        // Without any way to ask about an access token the refresh token has shown it.
        Err(Stop::NotApplicable(_)) if tokens.refresh.is_some() => {}
        Err(stop) => return Err(stop),
    }
    Ok(())
}

async fn false_replay_harms_nobody(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let grant = probe.grant(client).await?;
    let tokens = probe.redeemed(client, &grant).await?;
    let mut false_one = grant.clone();
    false_one.verifier = random(64)?;
    refused(&probe.redeem(client, &false_one).await?, "a used code with a wrong verifier")?;
    match probe.is_active(client, &tokens.access).await {
        Ok(active) => require!(
            active,
            "whoever has an old code can end the session: its access token is dead"
        ),
        Err(Stop::NotApplicable(_)) if tokens.refresh.is_some() => {}
        Err(stop) => return Err(stop),
    }
    if let Some(refresh) = &tokens.refresh {
        let reply = probe.refresh(client, refresh).await?;
        require!(
            Tokens::of(&reply).is_some(),
            "whoever has an old code can end the session: its refresh token is dead"
        );
    }
    Ok(())
}

async fn of_another_public_client(probe: &Probe<'_>) -> Outcome {
    let (owner, other) = (probe.client(Role::Public)?, probe.client(Role::PublicOther)?);
    let grant = probe.grant(owner).await?;
    let reply = probe.redeem(other, &grant).await?;
    refused_with(&reply, &["invalid_grant"], "the code of another public client")?;
    Ok(())
}

async fn of_another_client(probe: &Probe<'_>) -> Outcome {
    let (owner, other) =
        (probe.client(Role::Confidential)?, probe.client(Role::ConfidentialOther)?);
    let grant = probe.grant(owner).await?;
    let reply = probe.redeem(other, &grant).await?;
    refused_with(&reply, &["invalid_grant"], "the code of another client")
}

async fn redirect_uri_again(probe: &Probe<'_>) -> Outcome {
    for client in probe.both()? {
        let uri = client.redirect_uri();
        let others = client.redirect_uris.iter().skip(1).cloned();
        for odd in
            [format!("{uri}/x"), "https://evil.example/".to_owned()].into_iter().chain(others)
        {
            let grant = probe.grant(client).await?;
            let reply = probe.token(client, &grant.form().with("redirect_uri", &odd)).await?;
            refused(&reply, &format!("redirect_uri={odd}"))?;
        }
    }
    Ok(())
}

async fn known(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let grant = probe.grant(client).await?;
    let mut odd = mutated(&grant.code);
    odd.push(random(43)?);
    odd.push("x".to_owned());
    for code in odd {
        let reply = probe.token(client, &grant.form().with("code", &code)).await?;
        refused_with(&reply, &["invalid_grant"], "a code that was never issued")?;
    }
    let reply = probe.redeem(client, &grant).await?;
    require!(
        Tokens::of(&reply).is_some(),
        "codes that were never issued have used up the one that was"
    );
    Ok(())
}

async fn lifetime(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let grant = probe.grant(client).await?;
    let wait = probe.target.patience.min(std::time::Duration::from_secs(601));
    tokio::time::sleep(wait).await;
    let reply = probe.redeem(client, &grant).await?;
    if Tokens::of(&reply).is_some() && wait.as_secs() < 600 {
        return Err(Stop::Inconclusive(format!(
            "the code still worked after {}; 10 minutes are allowed",
            humantime::format_duration(wait)
        )));
    }
    refused_with(&reply, &["invalid_grant"], "a code after 10 minutes")
}
