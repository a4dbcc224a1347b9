//! What any HTTP server has to get right.

use crate::runner::check::{Check, check};
use crate::runner::config::Endpoint;
use crate::runner::probe::{Probe, Tokens, method};
use crate::runner::verdict::{Outcome, Stop, require};
use crate::runner::wire::Call;

use super::refused;

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["HTTP-003"],
        only_forms,
        "a good token request as JSON, as multipart, as text, with two media types",
        "refused; the code still works as a form"
    ),
    check!(
        ["HTTP-005"],
        bounded,
        "a token request of 3 MB, one with 5,000 parameters; an authorization request of 64 kB",
        "4xx, or the connection is closed; never 5xx"
    ),
    check!(
        ["HTTP-008"],
        unknown_paths,
        "paths that are not there, with markup in them; GET and HEAD",
        "404 without what was sent; HEAD as GET, without a body"
    ),
];

async fn only_forms(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let url = probe.endpoint(Endpoint::Token)?;
    let grant = probe.grant(client).await?;
    let good = probe.call_as(client, &url, &grant.form());
    let json: serde_json::Map<_, _> =
        grant.form().0.into_iter().map(|(name, value)| (name, value.into())).collect();
    let form = String::from_utf8_lossy(&good.body).into_owned();
    for (media_type, body) in [
        ("application/json", serde_json::Value::from(json).to_string()),
        ("text/plain", form.clone()),
        ("multipart/form-data; boundary=x", form.clone()),
        ("application/json, application/x-www-form-urlencoded", form),
    ] {
        let mut call = Call::new(method("POST"), &url).typed(media_type, body);
        if let Some(value) = good.headers.get(http::header::AUTHORIZATION) {
            call.headers.insert(http::header::AUTHORIZATION, value.clone());
        }
        refused(&probe.settled(call).await?, &format!("a token request as {media_type}"))?;
    }
    let reply = probe.redeem(client, &grant).await?;
    require!(Tokens::of(&reply).is_some(), "a request that was no form has used up the code");
    Ok(())
}

async fn bounded(probe: &Probe<'_>) -> Outcome {
    let url = probe.endpoint(Endpoint::Token)?;
    let large = format!("grant_type={}", "x".repeat(3_000_000));
    let many = "x=1&".repeat(5000);
    let ask = probe.ask(probe.any_client()?)?;
    let long = format!("{}&x_long={}", ask.url(), "x".repeat(64_000));
    for (call, what) in [
        (Call::new(method("POST"), &url).typed(crate::runner::wire::FORM, large), "3 MB"),
        (
            Call::new(method("POST"), &url).typed(crate::runner::wire::FORM, many),
            "5,000 parameters",
        ),
        (Call::get(long), "64 kB of query"),
    ] {
        // A server may stop reading and close.
        let Ok(reply) = probe.line.send(call).await else { continue };
        require!(reply.status.as_u16() < 500, "{what}: {}", reply.status);
    }
    // Afterwards it is still there.
    probe.grant(probe.any_client()?).await.map(drop).map_err(Stop::or_fail)
}

async fn unknown_paths(probe: &Probe<'_>) -> Outcome {
    let base = probe.target.issuer.trim_end_matches('/');
    for path in [
        "grantor-conformance-unknown",
        "grantor-%3Cscript%3EgrantorEvil%3C%2Fscript%3E",
        "%22%3E%3Cimg%20src=x%20onerror=grantorEvil%3E",
    ] {
        let url = format!("{base}/{path}");
        let get = probe.get(&url).await?;
        require!(get.status.is_client_error(), "{path} is answered with {}", get.status);
        let markup = ["<script>grantorEvil", "<img src=x onerror=grantorEvil"];
        require!(
            !markup.iter().any(|one| get.text().contains(one)),
            "{path}: markup in it is markup on the page"
        );
        let head = probe.send(Call::new(method("HEAD"), &url)).await?;
        require!(head.status == get.status, "HEAD: {}, GET: {}", head.status, get.status);
        require!(head.body.is_empty(), "HEAD has a body");
    }
    Ok(())
}
