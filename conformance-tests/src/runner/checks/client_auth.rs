//! Who is calling: authentication of clients.

use http::header;

use crate::runner::check::{Check, check};
use crate::runner::config::{AuthMethod, Client, Endpoint, Role};
use crate::runner::probe::{Form, Grant, Probe, Tokens, basic, basic_all_encoded, refresh_form};
use crate::runner::verdict::{Outcome, Stop, require};
use crate::runner::wire::{Call, Reply};

use super::{error_of, refused, refused_with};

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["6749-002", "6749-035", "6749-070"],
        name_is_not_enough,
        "a code of a confidential client with client_id alone, with nothing, with a wrong secret",
        "invalid_client; the code still works for its client"
    ),
    check!(
        ["6749-001"],
        types_are_recorded,
        "a public client for client credentials, a confidential client without its secret",
        "both refused"
    ),
    check!(
        ["6749-003"],
        made_up_secret,
        "a public client with a secret that it made up, for client credentials and for introspection",
        "refused"
    ),
    check!(
        ["6749-004"],
        one_method,
        "Basic credentials and client_secret in one request",
        "refused; the code still works"
    ),
    check!(["6749-005"], basic_works, "a code with Basic credentials", "tokens"),
    check!(
        ["6749-006"],
        basic_is_decoded,
        "Basic credentials in which each byte is percent-encoded",
        "tokens"
    ),
    check!(
        ["OA21-006"],
        post_works,
        "a code with client_id and client_secret in the body",
        "tokens"
    ),
    check!(
        ["6749-007"],
        not_in_the_uri,
        "client_id and client_secret in the query of the token endpoint",
        "refused; the code still works"
    ),
    check!(
        ["6749-009"],
        bound_method,
        "a client with a secret that sends a made-up JWT assertion instead",
        "refused; the code still works"
    ),
    check!(
        ["6749-060"],
        challenged,
        "Basic credentials with a wrong secret",
        "401, invalid_client, WWW-Authenticate with the scheme Basic"
    ),
    check!(
        ["OA21-022"],
        public_needs_none,
        "the flow of a public client, without any secret",
        "tokens"
    ),
    check!(
        Intrusive,
        ["6749-008"],
        guessing_at_the_token_endpoint,
        "300 wrong secrets of the test client at the token endpoint, then the right one",
        "the guesses are slowed down (429 or 503), the right secret is not refused"
    ),
    check!(
        Intrusive,
        ["7009-012"],
        guessing_at_the_revocation_endpoint,
        "300 wrong secrets of the test client at the revocation endpoint, then the right one",
        "the guesses are slowed down (429 or 503), the right secret is not refused"
    ),
    check!(
        Intrusive,
        ["HTTP-007"],
        how_it_slows_down,
        "300 wrong secrets of the test client at the token endpoint",
        "429 or 503 with Retry-After and a JSON error"
    ),
];

async fn still_good(probe: &Probe<'_>, client: &Client, grant: &Grant, what: &str) -> Outcome {
    let reply = probe.redeem(client, grant).await?;
    require!(
        Tokens::of(&reply).is_some(),
        "{what}: afterwards the code does not work for its client: {}",
        super::described(&reply)
    );
    Ok(())
}

async fn name_is_not_enough(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Confidential)?;
    let grant = probe.grant(client).await?;
    let named = grant.form().and("client_id", &client.id);
    let reply = probe.token_bare(&named).await?;
    refused_with(&reply, &["invalid_client", "invalid_request"], "client_id alone")?;
    let reply = probe.token_bare(&grant.form()).await?;
    refused_with(&reply, &["invalid_client", "invalid_request"], "no client at all")?;
    let reply = probe.token(&impostor(client), &grant.form()).await?;
    refused_with(&reply, &["invalid_client"], "a wrong secret")?;
    still_good(probe, client, &grant, "attempts without the secret").await
}

/// The client as somebody who does not know its secret.
fn impostor(client: &Client) -> Client {
    Client {
        secret: Some(crate::runner::secrets::Secret::new("grantor-wrong-secret")),
        ..client.clone()
    }
}

async fn types_are_recorded(probe: &Probe<'_>) -> Outcome {
    let public = probe.client(Role::Public)?;
    let service = Form::new(&[("grant_type", "client_credentials")]);
    refused(&probe.token(public, &service).await?, "client credentials of a public client")?;
    let client = probe.client(Role::Confidential)?;
    let grant = probe.grant(client).await?;
    let reply = probe.token_bare(&grant.form().and("client_id", &client.id)).await?;
    refused(&reply, "a confidential client without its secret")
}

async fn made_up_secret(probe: &Probe<'_>) -> Outcome {
    let public = probe.client(Role::Public)?;
    for method in [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost] {
        let bold = Client { auth: Some(method), ..impostor(public) };
        let form = Form::new(&[("grant_type", "client_credentials")]);
        let what = format!("a made-up secret by {}", method.name());
        refused(&probe.token(&bold, &form).await?, &what)?;
        if let Some(url) = probe.target.endpoint(Endpoint::Introspection) {
            let tokens = probe.tokens(public).await?;
            let form = Form::new(&[("token", &tokens.access)]);
            let reply = probe.settled(probe.call_as(&bold, &url, &form)).await?;
            require!(
                !reply.json().get("active").is_some_and(|active| *active == true),
                "{what} opens introspection"
            );
        }
    }
    Ok(())
}

async fn one_method(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Confidential)?;
    let url = probe.endpoint(Endpoint::Token)?;
    let grant = probe.grant(client).await?;
    for secret in [client.secret(), "grantor-wrong-secret"] {
        let form = grant.form().and("client_id", &client.id).and("client_secret", secret);
        let call = Call::form(&url, &form.0)
            .header(header::AUTHORIZATION, &basic(&client.id, client.secret()));
        let reply = probe.settled(call).await?;
        refused_with(
            &reply,
            &["invalid_request", "invalid_client"],
            "Basic credentials and client_secret",
        )?;
    }
    still_good(probe, client, &grant, "two methods at once").await
}

/// A client that is registered for a method, or for nothing in particular.
fn with_method<'p>(probe: &Probe<'p>, method: AuthMethod) -> Outcome<&'p Client> {
    let offered = probe.target.discovered.list("token_endpoint_auth_methods_supported");
    // RFC 8414 section 2: if it is left out, the default is client_secret_basic.
    let offered = offered.unwrap_or_else(|| vec!["client_secret_basic".to_owned()]);
    let roles = [Role::Confidential, Role::ConfidentialOther, Role::Several];
    let found = roles.into_iter().find_map(|role| {
        let client = probe.target.clients.get(&role)?;
        (client.auth == Some(method) || (client.auth.is_none() && client.secret.is_some()))
            .then_some(client)
    });
    if !offered.iter().any(|one| one == method.name()) {
        return Err(Stop::NotApplicable(format!("metadata does not list {}", method.name())));
    }
    found
        .ok_or_else(|| Stop::Inconclusive(format!("no client is registered for {}", method.name())))
}

async fn basic_works(probe: &Probe<'_>) -> Outcome {
    let client = with_method(probe, AuthMethod::ClientSecretBasic)?;
    let grant = probe.grant(client).await?;
    let url = probe.endpoint(Endpoint::Token)?;
    let call = Call::form(url, &grant.form().0)
        .header(header::AUTHORIZATION, &basic(&client.id, client.secret()));
    expect_tokens(&probe.settled(call).await?, "Basic credentials")
}

fn expect_tokens(reply: &Reply, what: &str) -> Outcome {
    require!(Tokens::of(reply).is_some(), "{what}: {}", super::described(reply));
    Ok(())
}

async fn basic_is_decoded(probe: &Probe<'_>) -> Outcome {
    let client = with_method(probe, AuthMethod::ClientSecretBasic)?;
    let grant = probe.grant(client).await?;
    let url = probe.endpoint(Endpoint::Token)?;
    let call = Call::form(url, &grant.form().0)
        .header(header::AUTHORIZATION, &basic_all_encoded(&client.id, client.secret()));
    expect_tokens(&probe.settled(call).await?, "percent-encoded Basic credentials")
}

async fn post_works(probe: &Probe<'_>) -> Outcome {
    // The body has to be offered: a server that lists methods without it does not follow.
    let offered = probe.target.discovered.list("token_endpoint_auth_methods_supported");
    let secrets = offered.as_ref().is_some_and(|all| {
        all.iter().any(|one| one.starts_with("client_secret_b") || one == "client_secret_post")
    });
    let post = AuthMethod::ClientSecretPost;
    if secrets {
        let listed = offered.iter().flatten().any(|one| one == post.name());
        require!(listed, "metadata offers client secrets and not client_secret_post");
    }
    let client = with_method(probe, post)?;
    let grant = probe.grant(client).await?;
    let form = grant.form().and("client_id", &client.id).and("client_secret", client.secret());
    expect_tokens(&probe.token_bare(&form).await?, "client_secret in the body")
}

async fn not_in_the_uri(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Confidential)?;
    let grant = probe.grant(client).await?;
    let url = probe.endpoint(Endpoint::Token)?;
    let query = Form::new(&[("client_id", &client.id), ("client_secret", client.secret())]);
    let mark = if url.contains('?') { '&' } else { '?' };
    let target = format!("{url}{mark}{}", crate::runner::wire::encode(&query.0));
    let reply = probe.settled(Call::form(target, &grant.form().0)).await?;
    refused(&reply, "credentials in the query")?;
    still_good(probe, client, &grant, "credentials in the query").await
}

async fn bound_method(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Confidential)?;
    let grant = probe.grant(client).await?;
    // {"alg":"none"}.{"sub":..,"iss":..} is made by hand: nobody signed it.
    let claims =
        serde_json::json!({"iss": client.id, "sub": client.id, "aud": probe.target.issuer});
    use base64::Engine as _;
    let coded = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let assertion =
        format!("{}.{}.", coded("{\"alg\":\"none\"}".to_owned()), coded(claims.to_string()));
    let form = grant
        .form()
        .and("client_id", &client.id)
        .and("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        .and("client_assertion", &assertion);
    refused(&probe.token_bare(&form).await?, "an assertion that nobody signed")?;
    still_good(probe, client, &grant, "an assertion that nobody signed").await
}

async fn challenged(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Confidential)?;
    let url = probe.endpoint(Endpoint::Token)?;
    let call = Call::form(url, &refresh_form("made-up").0)
        .header(header::AUTHORIZATION, &basic(&client.id, "grantor-wrong-secret"));
    let reply = probe.settled(call).await?;
    require!(reply.status.as_u16() == 401, "{} and not 401", reply.status);
    require!(error_of(&reply) == "invalid_client", "the error is {:?}", error_of(&reply));
    let challenge = reply.header(header::WWW_AUTHENTICATE);
    require!(
        challenge.to_ascii_lowercase().starts_with("basic"),
        "WWW-Authenticate is {challenge:?} and not of the scheme that was used"
    );
    Ok(())
}

async fn public_needs_none(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Native).or_else(|_| probe.client(Role::Public))?;
    probe.tokens(client).await.map(drop).map_err(Stop::or_fail)
}

/// Guesses until the server slows down, and the answer with which it does.
async fn guess(probe: &Probe<'_>, endpoint: Endpoint) -> Outcome<Option<Reply>> {
    let client = probe.client(Role::Confidential)?;
    let url = probe.endpoint(endpoint)?;
    let form = Form::new(&[("token", "made-up"), ("grant_type", "client_credentials")]);
    let guess = impostor(client);
    let mut slowed = None;
    for _ in 0..300 {
        let reply = probe.send(probe.call_as(&guess, &url, &form).impatient()).await?;
        refused(&reply, "a wrong secret")
            .or_else(|stop| if reply.is_slowed_down() { Ok(()) } else { Err(stop) })?;
        if reply.is_slowed_down() {
            slowed = Some(reply);
            break;
        }
    }
    Ok(slowed)
}

async fn slows_down(probe: &Probe<'_>, endpoint: Endpoint) -> Outcome {
    let slowed = guess(probe, endpoint).await?;
    require!(slowed.is_some(), "300 wrong secrets and nothing slows them down");
    let client = probe.client(Role::Confidential)?;
    let url = probe.endpoint(endpoint)?;
    let form = Form::new(&[("token", "made-up"), ("grant_type", "client_credentials")]);
    let reply = probe.send(probe.call_as(client, &url, &form).impatient()).await?;
    require!(
        !reply.is_slowed_down() && error_of(&reply) != "invalid_client",
        "whoever guesses locks the client out: {}",
        super::described(&reply)
    );
    Ok(())
}

async fn guessing_at_the_token_endpoint(probe: &Probe<'_>) -> Outcome {
    slows_down(probe, Endpoint::Token).await
}

async fn guessing_at_the_revocation_endpoint(probe: &Probe<'_>) -> Outcome {
    slows_down(probe, Endpoint::Revocation).await
}

async fn how_it_slows_down(probe: &Probe<'_>) -> Outcome {
    let Some(reply) = guess(probe, Endpoint::Token).await? else {
        return Err(Stop::NotApplicable("the server never slows down".to_owned()));
    };
    require!([429, 503].contains(&reply.status.as_u16()), "the status is {}", reply.status);
    require!(reply.headers.contains_key(header::RETRY_AFTER), "there is no Retry-After");
    require!(!error_of(&reply).is_empty(), "there is no JSON error");
    Ok(())
}
