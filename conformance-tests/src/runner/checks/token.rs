//! The token endpoint: methods, parameters, answers, errors.

use std::collections::BTreeSet;

use http::header;
use serde_json::Value;

use crate::runner::browser::{Landing, Plan};
use crate::runner::check::{Check, check};
use crate::runner::config::{Client, Endpoint, Role};
use crate::runner::probe::{Form, Probe, Tokens, method};
use crate::runner::verdict::{Outcome, Stop, require};
use crate::runner::wire::{Call, FORM, Reply, encode};

use super::authorization::permitted;
use super::{mutated, refused, refused_with};

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["6749-032"],
        only_post,
        "a good token request with GET (in the query), PUT, DELETE",
        "no token; the code still works with POST"
    ),
    check!(
        ["6749-033"],
        empty_and_unknown,
        "a good token request with empty and with unknown parameters",
        "tokens"
    ),
    check!(
        ["6749-034"],
        repeated,
        "each parameter of a token request twice",
        "invalid_request, and no token"
    ),
    check!(
        ["6749-056"],
        unknown_grant_type,
        "grant_type of a name that nobody has, none, an empty one, a long one",
        "unsupported_grant_type or invalid_request"
    ),
    check!(
        ["6749-052", "9700-012"],
        no_password_grant,
        "grant_type=password; GET metadata",
        "refused, and not listed"
    ),
    check!(
        ["6749-057"],
        members,
        "a good code",
        "access_token and token_type; expires_in is a positive number"
    ),
    check!(
        ["6749-058"],
        not_stored,
        "a token request that succeeds, one that fails",
        "Cache-Control: no-store, and Pragma: no-cache where a token is in the answer"
    ),
    check!(
        ["OA21-009"],
        no_store,
        "a token request that succeeds, one that fails",
        "Cache-Control: no-store"
    ),
    check!(
        ["6749-059"],
        media_type,
        "a token request that succeeds, one that fails",
        "application/json, UTF-8, a JSON object"
    ),
    check!(
        ["6749-061"],
        error_codes,
        "token requests that are wrong in each way",
        "400 and the error of RFC 6749 section 5.2"
    ),
    check!(
        ["6749-062"],
        error_charset,
        "token requests with quotes, unicode and markup in them",
        "error and error_description have only the characters that are allowed"
    ),
    check!(
        ["6749-037"],
        scope_is_stated,
        "a request with a scope that does not exist beside one that does",
        "invalid_scope, or the scope that was granted is in the answer"
    ),
    check!(
        ["6749-053", "OA21-015"],
        service_is_confidential,
        "grant_type=client_credentials from a public client",
        "refused"
    ),
    check!(
        ["6749-054"],
        service_authenticates,
        "grant_type=client_credentials with client_id alone, with a wrong secret",
        "invalid_client"
    ),
    check!(
        ["6749-055"],
        service_needs_no_refresh,
        "grant_type=client_credentials",
        "no refresh token"
    ),
    check!(
        ["6749-073", "6750-010", "9700-037"],
        unforgeable,
        "access and refresh tokens with one character changed, cut short, too long",
        "inactive, invalid_grant"
    ),
    check!(
        ["6749-079"],
        unguessable,
        "eight codes and their tokens",
        "all different, each of at least 128 bits by its length and alphabet"
    ),
    check!(["6750-012"], limited, "a good code", "expires_in is in the answer"),
    check!(["6750-013"], an_hour, "a good code", "expires_in is 3600 or less"),
    check!(
        ["6750-011"],
        signed,
        "an access token that is a JWT, with each of its parts changed",
        "inactive"
    ),
    check!(
        ["9700-015", "9700-039"],
        service_is_no_user,
        "the access token of client credentials, introspected",
        "sub is absent or the client's own id, and not a user's name"
    ),
    check!(
        ["9700-018"],
        cors_without_credentials,
        "a preflight and a request with an Origin of another site",
        "no Access-Control-Allow-Credentials"
    ),
];

/// A request with an authorization code that cannot succeed.
fn hopeless() -> Form {
    Form::new(&[
        ("grant_type", "authorization_code"),
        ("code", "grantor-conformance-made-up"),
        ("redirect_uri", "https://grantor-conformance.example/callback"),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ])
}

async fn only_post(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let url = probe.endpoint(Endpoint::Token)?;
    let grant = probe.grant(client).await?;
    for name in ["GET", "PUT", "DELETE"] {
        let good = probe.call_as(client, &url, &grant.form());
        let mut call = if name == "GET" {
            let query = String::from_utf8_lossy(&good.body).into_owned();
            Call::get(format!("{url}?{query}"))
        } else {
            Call::new(method(name), &url).typed(FORM, good.body.clone())
        };
        if let Some(value) = good.headers.get(header::AUTHORIZATION) {
            call.headers.insert(header::AUTHORIZATION, value.clone());
        }
        let reply = probe.send(call).await?;
        refused(&reply, &format!("{name} at the token endpoint"))?;
    }
    let reply = probe.redeem(client, &grant).await?;
    require!(Tokens::of(&reply).is_some(), "the code was used up by a method other than POST");
    Ok(())
}

async fn empty_and_unknown(probe: &Probe<'_>) -> Outcome {
    for client in probe.both()? {
        let grant = probe.grant(client).await?;
        let form = grant
            .form()
            .and("scope", "")
            .and("resource", "")
            .and("x_unknown", "1")
            .and("x_unknown_empty", "");
        let reply = probe.token(client, &form).await?;
        require!(
            Tokens::of(&reply).is_some(),
            "empty and unknown parameters: {}",
            super::described(&reply)
        );
    }
    Ok(())
}

async fn repeated(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    for name in ["grant_type", "code", "redirect_uri", "code_verifier"] {
        let grant = probe.grant(client).await?;
        let form = grant.form();
        let value = form.0.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
        let form = form.and(name, &value.unwrap_or_default());
        let reply = probe.token(client, &form).await?;
        refused_with(&reply, &["invalid_request"], &format!("{name} twice"))?;
    }
    Ok(())
}

async fn unknown_grant_type(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let long = "x".repeat(2000);
    let errors = ["unsupported_grant_type", "invalid_request"];
    for name in ["urn:x-grantor:unknown", "AUTHORIZATION_CODE", "", &long] {
        let reply = probe.token(client, &hopeless().with("grant_type", name)).await?;
        refused_with(&reply, &errors, &format!("grant_type of {} characters", name.len()))?;
    }
    let reply = probe.token(client, &hopeless().without("grant_type")).await?;
    refused_with(&reply, &["invalid_request", "unsupported_grant_type"], "no grant_type")
}

async fn no_password_grant(probe: &Probe<'_>) -> Outcome {
    let user = &probe.target.config.user;
    let name = user.username.as_deref().unwrap_or("grantor-conformance");
    let password = user.password.as_ref().map_or("grantor-conformance", |secret| secret.expose());
    let form = Form::new(&[("grant_type", "password"), ("username", name), ("password", password)]);
    for client in probe.both()? {
        refused(&probe.token(client, &form).await?, "grant_type=password")?;
    }
    let listed = probe.target.discovered.list("grant_types_supported").unwrap_or_default();
    require!(!listed.iter().any(|one| one == "password"), "metadata lists the password grant");
    Ok(())
}

/// The answer to a good code of each client.
async fn successes(probe: &Probe<'_>) -> Outcome<Vec<Reply>> {
    let mut replies = Vec::new();
    for client in probe.both()? {
        replies.push(probe.tokens(client).await?.reply);
    }
    Ok(replies)
}

async fn failure(probe: &Probe<'_>) -> Outcome<Reply> {
    probe.token(probe.any_client()?, &hopeless()).await
}

async fn members(probe: &Probe<'_>) -> Outcome {
    for reply in successes(probe).await? {
        let body = reply.json();
        let text =
            |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        require!(!text("access_token").is_empty(), "there is no access_token");
        require!(!text("token_type").is_empty(), "there is no token_type");
        if let Some(expires) = body.get("expires_in") {
            require!(
                expires.as_u64().is_some_and(|seconds| seconds > 0),
                "expires_in is {expires} and not a positive number"
            );
        }
    }
    Ok(())
}

fn has_no_store(reply: &Reply) -> bool {
    let value = reply.header(header::CACHE_CONTROL).to_ascii_lowercase();
    value.split(',').any(|directive| directive.trim() == "no-store")
}

async fn no_store(probe: &Probe<'_>) -> Outcome {
    for reply in successes(probe).await? {
        require!(has_no_store(&reply), "an answer with tokens may be stored");
    }
    require!(has_no_store(&failure(probe).await?), "an error may be stored");
    Ok(())
}

async fn not_stored(probe: &Probe<'_>) -> Outcome {
    for reply in successes(probe).await? {
        require!(has_no_store(&reply), "an answer with tokens has no Cache-Control: no-store");
        let pragma = reply.header(header::PRAGMA).to_ascii_lowercase();
        require!(pragma == "no-cache", "an answer with tokens has no Pragma: no-cache");
    }
    require!(has_no_store(&failure(probe).await?), "an error has no Cache-Control: no-store");
    Ok(())
}

async fn media_type(probe: &Probe<'_>) -> Outcome {
    let mut replies = successes(probe).await?;
    replies.push(failure(probe).await?);
    for reply in replies {
        require!(
            reply.media_type() == "application/json",
            "an answer with status {} is of type {:?}",
            reply.status.as_u16(),
            reply.media_type()
        );
        require!(reply.json().is_object(), "the answer is no JSON object");
        require!(std::str::from_utf8(&reply.body).is_ok(), "the answer is not UTF-8");
    }
    Ok(())
}

async fn error_codes(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    for (form, errors, what) in [
        (hopeless().without("code"), &["invalid_request"][..], "no code"),
        (hopeless(), &["invalid_grant"], "a made-up code"),
        (
            hopeless().with("grant_type", "urn:x-grantor:unknown"),
            &["unsupported_grant_type"],
            "an unknown grant type",
        ),
    ] {
        let reply = probe.token(client, &form).await?;
        refused_with(&reply, errors, what)?;
        require!(reply.status.as_u16() == 400, "{what}: {} and not 400", reply.status);
    }
    if offers(probe, "refresh_token") {
        let form = Form::new(&[("grant_type", "refresh_token"), ("refresh_token", "made-up")]);
        let reply = probe.token(client, &form).await?;
        refused_with(&reply, &["invalid_grant", "unauthorized_client"], "a made-up refresh token")?;
        require!(reply.status.as_u16() == 400, "a made-up refresh token: {}", reply.status);
    }
    if offers(probe, "client_credentials") && client.secret.is_some() {
        let reply = probe.token(client, &service_form(probe, client)).await?;
        if Tokens::of(&reply).is_none() {
            let what = "a grant type that the client may not use";
            refused_with(&reply, &["unauthorized_client", "invalid_scope"], what)?;
        }
    }
    if offers(probe, "client_credentials")
        && let Ok(service) = probe.client(Role::Service)
    {
        let form = Form::new(&[("grant_type", "client_credentials"), ("scope", "a\"b")]);
        let reply = probe.token(service, &form).await?;
        if Tokens::of(&reply).is_none() {
            refused_with(&reply, &["invalid_scope"], "a scope with a quote in it")?;
        }
    }
    Ok(())
}

fn offers(probe: &Probe<'_>, grant_type: &str) -> bool {
    let listed = probe.target.discovered.list("grant_types_supported").unwrap_or_default();
    listed.iter().any(|one| one == grant_type)
}

async fn error_charset(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let hostile = "grantor\"\\\u{e9}\r\n<b>evil</b>";
    for name in ["grant_type", "code", "redirect_uri", "code_verifier", "scope"] {
        let reply = probe.token(client, &hopeless().with(name, hostile)).await?;
        for member in ["error", "error_description", "error_uri"] {
            let Some(text) = reply.member(member) else { continue };
            require!(permitted(&text), "{name}: {member} is {text:?}");
        }
    }
    Ok(())
}

async fn scope_is_stated(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let scope = probe.scope_of(client);
    let asked = format!("{scope} grantor_unknown");
    let ask = probe.ask(client)?.with("scope", asked.trim());
    let landing = probe.walk(&ask, Plan::Allow).await?;
    if matches!(&landing, Landing::Client(answer) if answer.get("code").is_some()) {
        let grant = probe.code(&ask).await?;
        let tokens = probe.redeemed(client, &grant).await?;
        let granted = tokens.reply.member("scope").ok_or_else(|| {
            Stop::Fail(format!(
                "scope {asked:?} was asked for, a token was issued, and the answer states no scope"
            ))
        })?;
        require!(
            !granted.split(' ').any(|one| one == "grantor_unknown"),
            "a scope that does not exist was granted"
        );
        return Ok(());
    }
    super::stopped(&landing, "a scope that does not exist")
}

const SERVICE: [(&str, &str); 1] = [("grant_type", "client_credentials")];

async fn service_is_confidential(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Public)?;
    let reply = probe.token(client, &Form::new(&SERVICE)).await?;
    refused(&reply, "client credentials of a public client")
}

/// The form of client credentials with the client's scope.
fn service_form(probe: &Probe<'_>, client: &Client) -> Form {
    let form = Form::new(&SERVICE);
    match probe.scope_of(client) {
        scope if scope.is_empty() => form,
        scope => form.and("scope", &scope),
    }
}

async fn service<'p>(probe: &Probe<'p>) -> Outcome<(&'p Client, Tokens)> {
    if !offers(probe, "client_credentials") {
        return Err(Stop::NotApplicable("client credentials are not offered".to_owned()));
    }
    let client = probe.client(Role::Service)?;
    let reply = probe.token(client, &service_form(probe, client)).await?;
    let tokens = Tokens::of(&reply).ok_or_else(|| {
        Stop::Inconclusive(format!("the service client got {}", super::described(&reply)))
    })?;
    Ok((client, tokens))
}

async fn service_authenticates(probe: &Probe<'_>) -> Outcome {
    let (client, _) = service(probe).await?;
    let form = service_form(probe, client);
    let reply = probe.token_bare(&form.clone().and("client_id", &client.id)).await?;
    refused_with(&reply, &["invalid_client"], "client_id alone")?;
    let mut wrong = client.clone();
    wrong.secret = Some(crate::runner::secrets::Secret::new("grantor-wrong-secret"));
    let reply = probe.token(&wrong, &form).await?;
    refused_with(&reply, &["invalid_client"], "a wrong secret")
}

async fn service_needs_no_refresh(probe: &Probe<'_>) -> Outcome {
    let (_, tokens) = service(probe).await?;
    require!(tokens.refresh.is_none(), "client credentials yield a refresh token");
    Ok(())
}

async fn service_is_no_user(probe: &Probe<'_>) -> Outcome {
    let (client, tokens) = service(probe).await?;
    let reply = probe.introspect(probe.asker(client)?, &tokens.access).await?;
    let body = reply.json();
    require!(body.get("active").is_some_and(|a| *a == true), "the token is not active");
    let user = probe.target.config.user.username.clone().unwrap_or_default();
    if let Some(subject) = body.get("sub").and_then(Value::as_str) {
        require!(subject != user, "sub is {subject:?}, which is a user");
        require!(
            subject == client.id || subject.contains(&client.id),
            "sub is {subject:?}, which is not recognisable as the client"
        );
    }
    require!(body.get("username").is_none(), "there is a username");
    Ok(())
}

async fn unforgeable(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let tokens = probe.tokens(client).await?;
    let mut shown = false;
    match probe.is_active(client, &tokens.access).await {
        Ok(active) => {
            require!(active, "a fresh access token is not active");
            shown = true;
            for odd in mutated(&tokens.access) {
                require!(
                    !probe.is_active(client, &odd).await?,
                    "an access token works with one character changed"
                );
            }
        }
        Err(Stop::NotApplicable(_)) => {}
        Err(stop) => return Err(stop),
    }
    if let Some(refresh) = &tokens.refresh {
        shown = true;
        for odd in mutated(refresh) {
            let reply = probe.refresh(client, &odd).await?;
            refused_with(&reply, &["invalid_grant"], "a refresh token that was never issued")?;
        }
        let reply = probe.refresh(client, refresh).await?;
        require!(Tokens::of(&reply).is_some(), "tokens that were never issued ended the session");
    }
    if shown {
        return Ok(());
    }
    Err(Stop::NotApplicable("there is no way to see whether a token is good".to_owned()))
}

/// How many bits a text can have: its length, by the size of the alphabet that it uses.
fn bits(text: &str) -> f64 {
    let bytes = text.as_bytes();
    let has = |range: std::ops::RangeInclusive<u8>| bytes.iter().any(|byte| range.contains(byte));
    let is_hex = bytes.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    let alphabet = if is_hex {
        16.0
    } else {
        let mut size = 0.0;
        for (range, count) in [(b'a'..=b'z', 26.0), (b'A'..=b'Z', 26.0), (b'0'..=b'9', 10.0)] {
            if has(range) {
                size += count;
            }
        }
        f64::max(size, 2.0)
    };
    let length = u32::try_from(bytes.iter().filter(|byte| **byte != b'-').count());
    f64::from(length.unwrap_or(u32::MAX)) * f64::log2(alphabet)
}

async fn unguessable(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let mut seen = BTreeSet::new();
    for _ in 0..8 {
        let grant = probe.grant(client).await?;
        let tokens = probe.redeemed(client, &grant).await?;
        let mut handles = vec![("code", grant.code), ("access token", tokens.access)];
        handles.extend(tokens.refresh.map(|refresh| ("refresh token", refresh)));
        for (kind, handle) in handles {
            let guessable = bits(&handle) < 128.0;
            require!(!guessable, "a {kind} of {} characters can be guessed", handle.len());
            require!(seen.insert(handle), "the same {kind} was issued twice");
        }
    }
    Ok(())
}

async fn limited(probe: &Probe<'_>) -> Outcome {
    for reply in successes(probe).await? {
        let body = reply.json();
        let seconds = body.get("expires_in").and_then(Value::as_u64);
        require!(seconds.is_some(), "there is no expires_in, or it is no number");
        let limited = seconds.is_some_and(|seconds| seconds < 10 * 365 * 86_400);
        require!(limited, "expires_in is more than ten years, which is no limit");
    }
    Ok(())
}

async fn an_hour(probe: &Probe<'_>) -> Outcome {
    for reply in successes(probe).await? {
        let seconds = reply.json().get("expires_in").and_then(Value::as_u64);
        let shown = seconds.map_or("no number".to_owned(), |n| format!("{n} seconds"));
        require!(seconds.is_some_and(|seconds| seconds <= 3600), "expires_in is {shown}");
    }
    Ok(())
}

async fn signed(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let tokens = probe.tokens(client).await?;
    if super::claims(&tokens.access).is_null() {
        return Err(Stop::NotApplicable("access tokens are opaque".to_owned()));
    }
    require!(probe.is_active(client, &tokens.access).await?, "a fresh access token is not active");
    let parts: Vec<&str> = tokens.access.split('.').collect();
    for changed in 0..parts.len() {
        let odd: Vec<String> = parts
            .iter()
            .enumerate()
            .map(|(at, part)| {
                if at != changed {
                    return (*part).to_owned();
                }
                let swap = if part.starts_with('A') { 'B' } else { 'A' };
                format!("{swap}{}", part.get(1..).unwrap_or_default())
            })
            .collect();
        require!(
            !probe.is_active(client, &odd.join(".")).await?,
            "the token is good with its part {} changed",
            changed + 1
        );
    }
    Ok(())
}

async fn cors_without_credentials(probe: &Probe<'_>) -> Outcome {
    let url = probe.endpoint(Endpoint::Token)?;
    let origin = "https://evil.example";
    let preflight = Call::new(method("OPTIONS"), &url)
        .header(header::ORIGIN, origin)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST");
    let request = Call::new(method("POST"), &url)
        .typed(FORM, encode(&hopeless().0))
        .header(header::ORIGIN, origin);
    let mut calls = vec![preflight, request];
    if let Some(document) = probe.target.discovered.best() {
        calls.push(Call::get(&document.reply.url).header(header::ORIGIN, origin));
    }
    for call in calls {
        let reply = probe.send(call).await?;
        let credentials = reply.header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        let allowed = reply.header(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        require!(
            credentials.is_empty() || allowed.is_empty(),
            "{}: any site may read it with credentials",
            reply.url
        );
    }
    Ok(())
}
