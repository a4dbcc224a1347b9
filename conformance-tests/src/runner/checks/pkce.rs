//! Proof Key for Code Exchange (RFC 7636).

use crate::runner::browser::{Landing, Plan};
use crate::runner::check::{Check, check};
use crate::runner::config::{Client, Role};
use crate::runner::probe::{Ask, Grant, Probe, challenge, random};
use crate::runner::verdict::{Outcome, Stop, require};

use super::{refused, refused_with, stopped, together, told};

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["9700-004", "7636-002"],
        appendix_b,
        "verifier and challenge of RFC 7636 appendix B; and the same challenge with another verifier",
        "tokens for the one, invalid_grant for the other"
    ),
    check!(
        ["7636-004", "7636-009", "9700-026"],
        wrong_verifier,
        "a code with a wrong verifier, with the challenge as verifier",
        "invalid_grant"
    ),
    check!(
        ["9700-005"],
        missing_verifier,
        "a code that was asked for with a challenge, without verifier; public and confidential clients",
        "refused"
    ),
    check!(
        ["9700-006", "9700-028", "OA21-014"],
        downgrade,
        "a request without challenge; its code, with a verifier",
        "the request or the code is refused"
    ),
    check!(
        ["7636-001"],
        verifier_syntax,
        "verifiers of 42 and 129 characters, with characters that are not allowed, under their own right challenges",
        "refused"
    ),
    check!(
        ["7636-003"],
        default_method,
        "a challenge without method; its code, with the verifier that S256 would want",
        "the request or the code is refused: without method it is plain"
    ),
    check!(
        ["7636-005"],
        challenge_is_kept,
        "a good request; the user allows",
        "the redirect does not have the challenge"
    ),
    check!(
        ["7636-006", "8252-006"],
        missing_challenge,
        "a request of a public client without challenge",
        "where PKCE is required: invalid_request at the client"
    ),
    check!(
        ["OA21-012"],
        challenge_is_required,
        "a request of a public client without challenge, with an empty one, with an empty one and S256",
        "refused"
    ),
    check!(
        ["OA21-010"],
        challenge_is_enforced,
        "the same requests; where there is a code, the code without verifier and with an empty one",
        "no tokens"
    ),
    check!(
        ["7636-007"],
        unknown_method,
        "code_challenge_method=S512, s256",
        "invalid_request at the client"
    ),
    check!(
        ["7636-008"],
        method_is_bound,
        "a code that was asked for with S256, redeemed with code_challenge_method=plain and the challenge",
        "invalid_grant"
    ),
];

async fn appendix_b(probe: &Probe<'_>) -> Outcome {
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let expected = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    for client in probe.both()? {
        let mut ask = probe.ask(client)?.with("code_challenge", expected);
        verifier.clone_into(&mut ask.verifier);
        let grant = probe.code(&ask).await.map_err(Stop::or_fail)?;
        probe.redeemed(client, &grant).await.map_err(Stop::or_fail)?;
        let mut grant = probe.code(&ask).await?;
        grant.verifier = random(43)?;
        let reply = probe.redeem(client, &grant).await?;
        refused_with(&reply, &["invalid_grant"], "a wrong verifier")?;
    }
    Ok(())
}

async fn wrong_verifier(probe: &Probe<'_>) -> Outcome {
    for client in probe.both()? {
        for as_challenge in [false, true] {
            let mut grant = probe.grant(client).await?;
            grant.verifier = if as_challenge { challenge(&grant.verifier) } else { random(64)? };
            let reply = probe.redeem(client, &grant).await?;
            refused_with(&reply, &["invalid_grant"], "a wrong verifier")?;
        }
    }
    Ok(())
}

async fn missing_verifier(probe: &Probe<'_>) -> Outcome {
    for client in probe.both()? {
        for form in [
            |grant: &Grant| grant.form().without("code_verifier"),
            |grant: &Grant| grant.form().with("code_verifier", ""),
        ] {
            let grant = probe.grant(client).await?;
            let reply = probe.token(client, &form(&grant)).await?;
            refused(&reply, "no verifier")?;
        }
    }
    Ok(())
}

/// Whether the server is willing to give a code without a challenge, and the code.
async fn without_challenge(probe: &Probe<'_>, client: &Client) -> Outcome<Option<Grant>> {
    let ask = probe.ask(client)?.plain();
    match probe.walk(&ask, Plan::Allow).await? {
        Landing::Client(answer) if answer.get("code").is_some() => Ok(Some(Grant {
            code: answer.get("code").unwrap_or_default().to_owned(),
            verifier: ask.verifier.clone(),
            redirect_uri: ask.redirect_uri.clone(),
            answer,
        })),
        landing => {
            stopped(&landing, "a request without challenge")?;
            Ok(None)
        }
    }
}

async fn downgrade(probe: &Probe<'_>) -> Outcome {
    let roles = [Role::Confidential, Role::ConfidentialOther, Role::Public, Role::PublicOther];
    for role in roles {
        let Ok(client) = probe.client(role) else { continue };
        let Some(grant) = without_challenge(probe, client).await? else { continue };
        let reply = probe.redeem(client, &grant).await?;
        refused(&reply, "a verifier for a code that was asked for without challenge")?;
    }
    Ok(())
}

async fn verifier_syntax(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let good = random(43)?;
    for odd in [
        random(42)?,
        random(129)?,
        format!("{good}="),
        format!("{good}+"),
        format!("{good} "),
        format!("{good}\u{e9}"),
    ] {
        let mut ask = probe.ask(client)?.with("code_challenge", &challenge(&odd));
        ask.verifier = odd.clone();
        let grant = probe.code(&ask).await?;
        let reply = probe.redeem(client, &grant).await?;
        refused(&reply, &format!("a verifier of {} characters", odd.chars().count()))?;
    }
    Ok(())
}

async fn default_method(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let ask = probe.ask(client)?.without("code_challenge_method");
    let landing = probe.walk(&ask, Plan::Allow).await?;
    let Landing::Client(answer) = &landing else {
        return stopped(&landing, "a challenge without method");
    };
    let Some(code) = answer.get("code") else { return Ok(()) };
    let grant = Grant {
        code: code.to_owned(),
        verifier: ask.verifier.clone(),
        redirect_uri: ask.redirect_uri.clone(),
        answer: answer.clone(),
    };
    let reply = probe.redeem(client, &grant).await?;
    refused(&reply, "the method was left out, so it is plain, and S256 was taken")
}

async fn challenge_is_kept(probe: &Probe<'_>) -> Outcome {
    let ask: Ask = probe.ask(probe.any_client()?)?;
    let grant = probe.code(&ask).await?;
    let sent = challenge(&ask.verifier);
    require!(!grant.answer.location.contains(&sent), "the challenge is in the redirect");
    require!(!grant.code.contains(&sent), "the challenge is in the code");
    let payload = super::claims(&grant.code).to_string();
    require!(!payload.contains(&sent), "the challenge can be read in the code");
    Ok(())
}

async fn missing_challenge(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Public).or_else(|_| probe.client(Role::Native))?;
    let landing = probe.walk(&probe.ask(client)?.plain(), Plan::Allow).await?;
    if matches!(&landing, Landing::Client(answer) if answer.get("code").is_some()) {
        return Err(Stop::NotApplicable("this server does not require PKCE".to_owned()));
    }
    told(&landing, &["invalid_request"], "no challenge").map(drop)
}

/// Requests of a public client that have no challenge, in three spellings.
fn unchallenged(probe: &Probe<'_>) -> Outcome<(&'static str, [Ask; 3])> {
    let client = probe.client(Role::Public).or_else(|_| probe.client(Role::Native))?;
    let plain = probe.ask(client)?.plain();
    let empty = plain.clone().with("code_challenge", "");
    let of_s256 = empty.clone().with("code_challenge_method", "S256");
    Ok(("a request without challenge", [plain, empty, of_s256]))
}

async fn challenge_is_required(probe: &Probe<'_>) -> Outcome {
    let (what, asks) = unchallenged(probe)?;
    let mut findings = Vec::new();
    for (ask, how) in asks.iter().zip(["", ", sent empty", ", sent empty with S256"]) {
        let landing = probe.walk(ask, Plan::Allow).await?;
        findings.extend(stopped(&landing, &format!("{what}{how}")).err());
    }
    together(findings, asks.len())
}

async fn challenge_is_enforced(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Public).or_else(|_| probe.client(Role::Native))?;
    let (what, asks) = unchallenged(probe)?;
    for ask in asks {
        let Landing::Client(answer) = probe.walk(&ask, Plan::Allow).await? else { continue };
        let Some(code) = answer.get("code") else { continue };
        let form = Grant {
            code: code.to_owned(),
            verifier: String::new(),
            redirect_uri: ask.redirect_uri.clone(),
            answer: answer.clone(),
        }
        .form();
        for form in [form.clone().without("code_verifier"), form] {
            refused(&probe.token(client, &form).await?, what)?;
        }
    }
    Ok(())
}

async fn unknown_method(probe: &Probe<'_>) -> Outcome {
    for client in probe.both()? {
        for odd in ["S512", "s256"] {
            let ask = probe.ask(client)?.with("code_challenge_method", odd);
            let landing = probe.walk(&ask, Plan::Allow).await?;
            told(&landing, &["invalid_request"], &format!("code_challenge_method={odd}"))?;
        }
    }
    Ok(())
}

async fn method_is_bound(probe: &Probe<'_>) -> Outcome {
    for client in probe.both()? {
        let grant = probe.grant(client).await?;
        let form = grant
            .form()
            .with("code_verifier", &challenge(&grant.verifier))
            .with("code_challenge_method", "plain");
        let reply = probe.token(client, &form).await?;
        refused_with(&reply, &["invalid_grant"], "plain instead of S256")?;
    }
    Ok(())
}
