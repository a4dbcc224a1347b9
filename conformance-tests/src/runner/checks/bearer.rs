//! Bearer tokens at a protected resource (RFC 6750): userinfo, or the one of `--resource`.

use http::header;

use crate::runner::check::{Check, check};
use crate::runner::config::Client;
use crate::runner::probe::{Probe, method};
use crate::runner::verdict::{Outcome, Stop, require};
use crate::runner::wire::{Call, FORM, Reply};

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["6749-068"],
        only_good_tokens,
        "a good token; one that was never issued; a code",
        "the resource for the good one, a refusal for the others"
    ),
    check!(
        ["6750-001"],
        one_way,
        "the token in the header and in the query or the body of one request",
        "400, or the second way is not looked at: a good header with a bad query works, and not the other way round"
    ),
    check!(["6750-002"], any_case, "Authorization: Bearer, bearer, BEARER", "the resource"),
    check!(
        ["6750-003"],
        no_body_with_get,
        "GET with the token in a body; POST with it in JSON",
        "no resource"
    ),
    check!(["6750-004", "OA21-019"], not_in_the_query, "the token in the query", "no resource"),
    check!(
        ["6750-005"],
        challenge,
        "no token; a bad token",
        "WWW-Authenticate: Bearer with at least one attribute"
    ),
    check!(
        ["6750-006"],
        attributes_once,
        "no token; a bad token",
        "realm, scope and error at most once"
    ),
    check!(
        ["6750-007"],
        attribute_characters,
        "tokens with quotes, backslashes and markup",
        "attributes have only the characters that are allowed, and nothing of the token"
    ),
    check!(
        ["6750-008"],
        status_and_error,
        "a malformed header; a bad token",
        "400 invalid_request or 401; 401 invalid_token"
    ),
    check!(["6750-009"], no_error_without_token, "no token", "401 without error"),
];

async fn live<'p>(probe: &Probe<'p>) -> Outcome<(&'p Client, String, String)> {
    let url = probe.resource()?;
    let client = probe.any_client()?;
    let token = probe.tokens(client).await?.access;
    let reply = knock(probe, &url, &format!("Bearer {token}")).await?;
    if !reply.status.is_success() {
        return Err(Stop::Inconclusive(format!(
            "the protected resource answers {} to a fresh token (does it want another scope?)",
            reply.status
        )));
    }
    Ok((client, url, token))
}

async fn knock(probe: &Probe<'_>, url: &str, authorization: &str) -> Outcome<Reply> {
    probe.settled(Call::get(url).header(header::AUTHORIZATION, authorization)).await
}

async fn only_good_tokens(probe: &Probe<'_>) -> Outcome {
    let (client, url, token) = live(probe).await?;
    let grant = probe.grant(client).await?;
    let mut bad = super::mutated(&token);
    bad.push(grant.code);
    bad.push("x".to_owned());
    for bad in bad {
        let reply = knock(probe, &url, &format!("Bearer {bad}")).await?;
        require!(reply.status.is_client_error(), "a bad token is answered with {}", reply.status);
    }
    Ok(())
}

async fn one_way(probe: &Probe<'_>) -> Outcome {
    let (_, url, token) = live(probe).await?;
    let mark = if url.contains('?') { '&' } else { '?' };
    let call = Call::get(format!("{url}{mark}access_token={token}"))
        .header(header::AUTHORIZATION, "Bearer grantor-made-up");
    let reply = probe.settled(call).await?;
    require!(
        !reply.status.is_success(),
        "a bad token in the header and a good one in the query open the resource"
    );
    let call = Call::new(method("POST"), &url)
        .typed(FORM, format!("access_token={token}"))
        .header(header::AUTHORIZATION, "Bearer grantor-made-up");
    let reply = probe.settled(call).await?;
    require!(
        !reply.status.is_success(),
        "a bad token in the header and a good one in the body open the resource"
    );
    Ok(())
}

async fn any_case(probe: &Probe<'_>) -> Outcome {
    let (_, url, token) = live(probe).await?;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let reply = knock(probe, &url, &format!("{scheme} {token}")).await?;
        require!(reply.status.is_success(), "{scheme}: {}", reply.status);
    }
    Ok(())
}

async fn no_body_with_get(probe: &Probe<'_>) -> Outcome {
    let (_, url, token) = live(probe).await?;
    let call = Call::get(&url).typed(FORM, format!("access_token={token}"));
    let reply = probe.settled(call).await?;
    require!(!reply.status.is_success(), "GET with the token in a body opens the resource");
    let body = serde_json::json!({"access_token": token}).to_string();
    let call = Call::new(method("POST"), &url).typed("application/json", body);
    let reply = probe.settled(call).await?;
    require!(!reply.status.is_success(), "POST with the token in JSON opens the resource");
    Ok(())
}

async fn not_in_the_query(probe: &Probe<'_>) -> Outcome {
    let (_, url, token) = live(probe).await?;
    let mark = if url.contains('?') { '&' } else { '?' };
    let reply = probe.settled(Call::get(format!("{url}{mark}access_token={token}"))).await?;
    require!(!reply.status.is_success(), "the token in the query opens the resource");
    Ok(())
}

/// The refusals of a request without token and of one with a bad token.
async fn refusals(probe: &Probe<'_>) -> Outcome<Vec<(&'static str, Reply)>> {
    let (_, url, _) = live(probe).await?;
    let none = probe.settled(Call::get(&url)).await?;
    let bad = knock(probe, &url, "Bearer grantor-made-up").await?;
    Ok(vec![("no token", none), ("a bad token", bad)])
}

/// The attributes of the Bearer challenge of a reply.
fn bearer(reply: &Reply) -> Option<Vec<(String, String)>> {
    let value = reply.header(header::WWW_AUTHENTICATE);
    let rest = value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    let rest = rest.and(value.get(7..))?;
    Some(attributes(rest))
}

/// `name="value"` and `name=value`, divided by commas (RFC 9110 section 11.2). Stops at what is none.
fn attributes(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut value = String::new();
                let mut escaped = false;
                let mut end = quoted.len();
                for (at, c) in quoted.char_indices() {
                    match (escaped, c) {
                        (false, '\\') => escaped = true,
                        (false, '"') => {
                            end = at;
                            break;
                        }
                        _ => {
                            value.push(c);
                            escaped = false;
                        }
                    }
                }
                (value, quoted.get(end.saturating_add(1)..).unwrap_or_default())
            }
            None => {
                let end = after.find(',').unwrap_or(after.len());
                let (value, left) = after.split_at(end);
                (value.trim().to_owned(), left)
            }
        };
        found.push((name, value));
        rest = left;
    }
    found
}

async fn challenge(probe: &Probe<'_>) -> Outcome {
    for (what, reply) in refusals(probe).await? {
        let found = bearer(&reply);
        require!(
            found.as_ref().is_some_and(|attributes| !attributes.is_empty()),
            "{what}: {} and WWW-Authenticate is {:?}",
            reply.status,
            reply.header(header::WWW_AUTHENTICATE)
        );
    }
    Ok(())
}

async fn attributes_once(probe: &Probe<'_>) -> Outcome {
    for (what, reply) in refusals(probe).await? {
        let found = bearer(&reply).unwrap_or_default();
        for (name, _) in &found {
            let count = found.iter().filter(|(known, _)| known == name).count();
            require!(count == 1, "{what}: {name} is there {count} times");
        }
    }
    Ok(())
}

async fn attribute_characters(probe: &Probe<'_>) -> Outcome {
    let (_, url, _) = live(probe).await?;
    for odd in ["Bearer grantor\"evil\\", "Bearer grantor<script>evil", "Bearer grantor\u{e9}evil"]
    {
        let reply = knock(probe, &url, odd).await?;
        require!(!reply.status.is_success(), "{odd:?} opens the resource");
        for (name, value) in bearer(&reply).unwrap_or_default() {
            let fine = |b: u8| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            require!(value.bytes().all(fine), "{name} is {value:?}");
            require!(!value.contains("evil"), "{name} has what was sent: {value:?}");
        }
    }
    Ok(())
}

async fn status_and_error(probe: &Probe<'_>) -> Outcome {
    let (_, url, _) = live(probe).await?;
    let reply = knock(probe, &url, "Bearer grantor-made-up").await?;
    let error = |reply: &Reply| {
        let found = bearer(reply).unwrap_or_default();
        found.into_iter().find(|(name, _)| name == "error").map(|(_, value)| value)
    };
    require!(
        reply.status.as_u16() == 401 && error(&reply).as_deref() == Some("invalid_token"),
        "a bad token: {} and error={:?}",
        reply.status,
        error(&reply)
    );
    let reply = knock(probe, &url, "Bearer a b c").await?;
    let status = reply.status.as_u16();
    require!([400, 401].contains(&status), "a malformed header: {}", reply.status);
    if status == 400 {
        require!(
            error(&reply).is_none_or(|error| error == "invalid_request"),
            "a malformed header: error={:?}",
            error(&reply)
        );
    }
    Ok(())
}

async fn no_error_without_token(probe: &Probe<'_>) -> Outcome {
    let (_, url, _) = live(probe).await?;
    let reply = probe.settled(Call::get(&url)).await?;
    let found = bearer(&reply).unwrap_or_default();
    let error = found.iter().find(|(name, _)| name == "error");
    require!(error.is_none(), "nobody sent a token, and there is {:?}", error);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::attributes;

    #[test]
    fn challenges_are_read_as_they_are_written() {
        let found = attributes("realm=\"a, b=\\\"c\\\"\", error=invalid_token , scope=\"x y\"");
        let expected = [("realm", "a, b=\"c\""), ("error", "invalid_token"), ("scope", "x y")];
        let expected: Vec<(String, String)> =
            expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(found, expected);
        assert!(attributes("").is_empty() && attributes("nonsense").is_empty());
    }
}
