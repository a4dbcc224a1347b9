//! What the server says about itself, and that it is so.

use serde_json::Value;
use url::Url;

use crate::runner::check::{Check, check};
use crate::runner::config::Endpoint;
use crate::runner::discovery::{Document, Place};
use crate::runner::probe::{Form, Probe, named};
use crate::runner::verdict::{Outcome, Stop, require};
use crate::runner::wire::Call;

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["8414-001", "OA21-001"],
        addresses,
        "GET metadata",
        "issuer and endpoints are https; the issuer has no query and no fragment"
    ),
    check!(["6749-012", "6749-030"], no_fragments, "GET metadata", "no endpoint has a fragment"),
    check!(
        ["7009-002"],
        revocation_is_secure,
        "GET metadata",
        "revocation_endpoint is https and has no fragment"
    ),
    check!(
        ["7662-001"],
        introspection_is_secure,
        "GET metadata",
        "introspection_endpoint is https"
    ),
    check!(
        ["8414-002"],
        required_members,
        "GET metadata; a request to each endpoint that it names",
        "issuer, authorization_endpoint, token_endpoint, response_types_supported; no endpoint answers 404"
    ),
    check!(
        ["8414-003"],
        no_alg_none,
        "GET metadata",
        "\"none\" is in no *_auth_signing_alg_values_supported"
    ),
    check!(
        ["8414-004"],
        algs_for_assertions,
        "GET metadata",
        "where private_key_jwt or client_secret_jwt is offered, the algorithms are listed"
    ),
    check!(
        ["8414-005"],
        public_keys_only,
        "GET jwks_uri",
        "https, and no member of a private or symmetric key; `use` where there are keys of both uses"
    ),
    check!(
        ["8414-006"],
        rs256_for_assertions,
        "GET metadata",
        "RS256 is among the algorithms of client assertions"
    ),
    check!(
        ["8414-007"],
        nothing_unadvertised,
        "a token request for each well-known grant type that metadata does not list",
        "each is refused"
    ),
    check!(
        ["8414-008"],
        well_known_place,
        "GET /.well-known/oauth-authorization-server before the issuer's path",
        "the document, with this issuer"
    ),
    check!(
        ["8414-009"],
        trailing_slash,
        "the same for an issuer whose path ends in a slash, without that slash",
        "the document, with this issuer"
    ),
    check!(["8414-010"], document_type, "GET metadata", "200, application/json, a JSON object"),
    check!(["8414-011"], nothing_empty, "GET metadata", "no empty array and no null"),
    check!(
        ["8414-012"],
        same_issuer,
        "GET metadata",
        "issuer is the one that was asked for, character by character"
    ),
    check!(
        ["9700-033"],
        forwarding_headers,
        "GET metadata and the authorization endpoint with X-Forwarded-Host, X-Forwarded-Proto, Forwarded",
        "nothing in the answer follows them"
    ),
    check!(
        ["9207-003"],
        iss_is_advertised,
        "GET metadata; an authorization request",
        "authorization_response_iss_parameter_supported is true where answers have iss"
    ),
    check!(
        ["9700-007", "9700-027"],
        pkce_is_advertised,
        "GET metadata",
        "code_challenge_methods_supported lists S256"
    ),
    check!(
        ["7636-010"],
        no_plain,
        "GET metadata; a request with code_challenge_method=plain",
        "plain is neither offered nor accepted"
    ),
    check!(
        ["9700-009"],
        sender_constrained,
        "GET metadata",
        "DPoP or certificate-bound tokens are offered"
    ),
    check!(
        ["9700-013"],
        asymmetric_clients,
        "GET metadata",
        "private_key_jwt or mutual TLS is among the methods of client authentication"
    ),
    check!(
        ["9700-014"],
        is_published,
        "GET /.well-known/oauth-authorization-server or openid-configuration",
        "200 and a document"
    ),
];

fn best<'p>(probe: &'p Probe<'_>) -> Outcome<&'p Document> {
    probe
        .target
        .discovered
        .best()
        .ok_or_else(|| Stop::NotApplicable("the server publishes no metadata".to_owned()))
}

/// Fetches the document again, so that the evidence shows it.
async fn document(probe: &Probe<'_>) -> Outcome<Value> {
    let url = best(probe)?.reply.url.clone();
    let reply = probe.get(&url).await?;
    require!(reply.status.is_success(), "the metadata answers {}", reply.status);
    Ok(reply.json())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Whether an address is https, or could be: on loopback a server is developed, and TLS is not seen.
fn secure(name: &str, text: &str) -> Outcome<Url> {
    let url = Url::parse(text)
        .map_err(|error| Stop::Fail(format!("{name} is no URL: {text}: {error}")))?;
    let fine = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    require!(fine, "{name} is not https: {text}");
    Ok(url)
}

/// For what asks for TLS: all that could be wrong was looked at, and TLS was not seen.
fn unless_on_loopback(url: &Url) -> Outcome {
    if url.scheme() == "https" {
        return Ok(());
    }
    Err(Stop::NotApplicable("the server is on loopback, for development, without TLS".to_owned()))
}

fn endpoints(content: &Value) -> Vec<(String, String)> {
    let members = content.as_object().into_iter().flatten();
    members
        .filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri")
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

async fn addresses(probe: &Probe<'_>) -> Outcome {
    let content = document(probe).await?;
    let issuer = content.get("issuer").and_then(Value::as_str);
    let issuer = issuer.ok_or_else(|| Stop::Fail("there is no issuer".to_owned()))?;
    let url = secure("issuer", issuer)?;
    require!(!issuer.contains(['?', '#']), "issuer has a query or a fragment: {issuer}");
    for (name, text) in endpoints(&content) {
        secure(&name, &text)?;
    }
    unless_on_loopback(&url)
}

async fn no_fragments(probe: &Probe<'_>) -> Outcome {
    for (name, text) in endpoints(&document(probe).await?) {
        require!(!text.contains('#'), "{name} has a fragment: {text}");
    }
    Ok(())
}

async fn secure_endpoint(probe: &Probe<'_>, endpoint: Endpoint) -> Outcome {
    let text = probe.endpoint(endpoint)?;
    document(probe).await?;
    let url = secure(endpoint.member(), &text)?;
    require!(url.fragment().is_none(), "{} has a fragment: {text}", endpoint.member());
    unless_on_loopback(&url)
}

async fn revocation_is_secure(probe: &Probe<'_>) -> Outcome {
    secure_endpoint(probe, Endpoint::Revocation).await
}

async fn introspection_is_secure(probe: &Probe<'_>) -> Outcome {
    secure_endpoint(probe, Endpoint::Introspection).await
}

async fn required_members(probe: &Probe<'_>) -> Outcome {
    let content = document(probe).await?;
    for name in ["issuer", "authorization_endpoint", "token_endpoint"] {
        require!(content.get(name).is_some_and(Value::is_string), "there is no {name}");
    }
    let types = content.get("response_types_supported").and_then(Value::as_array);
    require!(
        types.is_some_and(|types| types.iter().all(Value::is_string)),
        "there is no response_types_supported"
    );
    for (name, url) in endpoints(&content) {
        let call = match name.as_str() {
            "authorization_endpoint"
            | "userinfo_endpoint"
            | "end_session_endpoint"
            | "jwks_uri" => Call::get(&url),
            "token_endpoint"
            | "revocation_endpoint"
            | "introspection_endpoint"
            | "device_authorization_endpoint"
            | "pushed_authorization_request_endpoint"
            | "backchannel_authentication_endpoint" => Call::form(&url, &[]),
            _ => continue,
        };
        let reply = probe.send(call).await?;
        require!(reply.status.as_u16() != 404, "{name} is not there: {url} answers 404");
    }
    Ok(())
}

fn alg_lists(content: &Value) -> Vec<(String, Vec<String>)> {
    let members = content.as_object().into_iter().flatten();
    members
        .filter(|(name, _)| name.ends_with("_auth_signing_alg_values_supported"))
        .filter_map(|(name, value)| {
            let algs = value.as_array()?.iter().filter_map(|v| v.as_str().map(str::to_owned));
            Some((name.clone(), algs.collect()))
        })
        .collect()
}

async fn no_alg_none(probe: &Probe<'_>) -> Outcome {
    for (name, algs) in alg_lists(&document(probe).await?) {
        require!(!algs.iter().any(|alg| alg == "none"), "{name} lists \"none\"");
    }
    Ok(())
}

fn methods(content: &Value, endpoint: &str) -> Vec<String> {
    let name = format!("{endpoint}_endpoint_auth_methods_supported");
    let listed = content.get(name).and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

async fn algs_for_assertions(probe: &Probe<'_>) -> Outcome {
    let content = document(probe).await?;
    let lists = alg_lists(&content);
    let mut offered = false;
    for endpoint in ["token", "revocation", "introspection"] {
        if !methods(&content, endpoint).iter().any(|method| method.ends_with("_jwt")) {
            continue;
        }
        offered = true;
        let wanted = format!("{endpoint}_endpoint_auth_signing_alg_values_supported");
        require!(lists.iter().any(|(name, _)| *name == wanted), "there is no {wanted}");
    }
    if offered {
        return Ok(());
    }
    Err(Stop::NotApplicable("client assertions are not offered".to_owned()))
}

async fn rs256_for_assertions(probe: &Probe<'_>) -> Outcome {
    let content = document(probe).await?;
    let lists = alg_lists(&content);
    if lists.is_empty() {
        return Err(Stop::NotApplicable("client assertions are not offered".to_owned()));
    }
    for (name, algs) in lists {
        require!(algs.iter().any(|alg| alg == "RS256"), "{name} does not list RS256");
    }
    Ok(())
}

async fn public_keys_only(probe: &Probe<'_>) -> Outcome {
    let Some(url) = probe.target.discovered.text("jwks_uri") else {
        return Err(Stop::NotApplicable("the metadata names no jwks_uri".to_owned()));
    };
    secure("jwks_uri", &url)?;
    let reply = probe.get(&url).await?;
    let content = reply.json();
    let keys = content.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or_else(|| Stop::Fail("there is no list of keys at jwks_uri".to_owned()))?;
    let uses = |wanted: &str| keys.iter().any(|key| key.get("use").is_some_and(|u| u == wanted));
    for key in keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            require!(key.get(private).is_none(), "a published key has the member {private}");
        }
        if uses("enc") && uses("sig") {
            require!(key.get("use").is_some(), "keys of both uses, and one does not say which");
        }
    }
    Ok(())
}

async fn nothing_unadvertised(probe: &Probe<'_>) -> Outcome {
    // RFC 8414 section 2: what an omitted list means.
    let listed = probe.target.discovered.list("grant_types_supported");
    let listed =
        listed.unwrap_or_else(|| vec!["authorization_code".to_owned(), "implicit".to_owned()]);
    let client = probe.any_client()?;
    for grant_type in [
        "password",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:openid:params:grant-type:ciba",
    ] {
        if listed.iter().any(|known| known == grant_type) {
            continue;
        }
        let form = Form::new(&[
            ("grant_type", grant_type),
            ("username", "grantor-conformance"),
            ("password", "grantor-conformance"),
        ]);
        let reply = probe.token(client, &form).await?;
        super::refused(&reply, &format!("grant_type={grant_type}, which is not listed"))?;
    }
    Ok(())
}

async fn well_known_place(probe: &Probe<'_>) -> Outcome {
    best(probe)?;
    let discovered = &probe.target.discovered;
    let has_path = Url::parse(&probe.target.issuer).is_ok_and(|url| url.path() != "/");
    let found = discovered.at(Place::OAuth).or_else(|| discovered.at(Place::OpenIdInserted));
    let found = found.or_else(|| discovered.at(Place::OpenId).filter(|_| !has_path));
    let Some(found) = found else {
        if discovered.at(Place::OpenId).is_some() {
            return Err(Stop::NotApplicable(
                "only OpenID Connect Discovery is published, which puts its document elsewhere"
                    .to_owned(),
            ));
        }
        return Err(Stop::Fail(format!(
            "the document is not at its well-known address: {}",
            discovered.tried.join("; ")
        )));
    };
    let reply = probe.get(&found.reply.url).await?;
    require!(
        reply.json().get("issuer").and_then(Value::as_str) == Some(&probe.target.issuer),
        "the document at {} is of another issuer",
        found.reply.url
    );
    Ok(())
}

async fn trailing_slash(probe: &Probe<'_>) -> Outcome {
    let path = Url::parse(&probe.target.issuer).map(|url| url.path().to_owned());
    if !path.is_ok_and(|path| path.len() > 1 && path.ends_with('/')) {
        return Err(Stop::NotApplicable("the issuer has no path that ends in a slash".to_owned()));
    }
    well_known_place(probe).await
}

async fn document_type(probe: &Probe<'_>) -> Outcome {
    for url in documents(probe)? {
        let reply = probe.get(&url).await?;
        require!(reply.status.as_u16() == 200, "{url} answers {}", reply.status);
        require!(
            reply.media_type() == "application/json",
            "{url} is of type {:?}",
            reply.media_type()
        );
        require!(reply.json().is_object(), "{url} is no JSON object");
    }
    Ok(())
}

fn documents(probe: &Probe<'_>) -> Outcome<Vec<String>> {
    best(probe)?;
    Ok(probe.target.discovered.documents.iter().map(|one| one.reply.url.clone()).collect())
}

async fn nothing_empty(probe: &Probe<'_>) -> Outcome {
    for url in documents(probe)? {
        let reply = probe.get(&url).await?;
        for (name, value) in reply.json().as_object().into_iter().flatten() {
            let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            require!(!empty, "{name} is {value}");
        }
    }
    Ok(())
}

async fn same_issuer(probe: &Probe<'_>) -> Outcome {
    for url in documents(probe)? {
        let reply = probe.get(&url).await?;
        let issuer = reply.member("issuer").unwrap_or_default();
        require!(
            issuer == probe.target.issuer,
            "{url} says {issuer:?}, asked for was {:?}",
            probe.target.issuer
        );
    }
    Ok(())
}

const SPOOFED: &str = "grantor-conformance-spoofed.example";

async fn forwarding_headers(probe: &Probe<'_>) -> Outcome {
    let ask = probe.ask(probe.any_client()?)?;
    for url in [best(probe)?.reply.url.clone(), ask.url()] {
        let call = Call::get(&url)
            .header(named("x-forwarded-host"), SPOOFED)
            .header(named("x-forwarded-proto"), "gopher")
            .header(named("x-forwarded-prefix"), "/spoofed-prefix")
            .header(named("forwarded"), &format!("for=203.0.113.9;host={SPOOFED};proto=gopher"));
        let reply = probe.send(call).await?;
        let location = reply.header("location");
        for sign in [SPOOFED, "gopher:", "/spoofed-prefix"] {
            require!(
                !reply.text().contains(sign) && !location.contains(sign),
                "the answer has {sign:?} from a header that anybody can send"
            );
        }
    }
    Ok(())
}

async fn iss_is_advertised(probe: &Probe<'_>) -> Outcome {
    let content = document(probe).await?;
    let advertised = content.get("authorization_response_iss_parameter_supported");
    let grant = probe.grant(probe.any_client()?).await?;
    match (grant.answer.get("iss").is_some(), advertised.is_some_and(|value| *value == true)) {
        (true, true) => Ok(()),
        (true, false) => {
            Err(Stop::Fail("answers have iss, and metadata does not say so".to_owned()))
        }
        (false, true) => Err(Stop::Fail("metadata promises iss, and answers have none".to_owned())),
        (false, false) => Err(Stop::NotApplicable("RFC 9207 is not offered".to_owned())),
    }
}

async fn pkce_is_advertised(probe: &Probe<'_>) -> Outcome {
    let content = document(probe).await?;
    let methods = content.get("code_challenge_methods_supported").and_then(Value::as_array);
    require!(
        methods.is_some_and(|methods| methods.iter().any(|method| method == "S256")),
        "code_challenge_methods_supported does not list S256"
    );
    Ok(())
}

async fn no_plain(probe: &Probe<'_>) -> Outcome {
    let content = document(probe).await?;
    let methods = content.get("code_challenge_methods_supported").and_then(Value::as_array);
    require!(
        !methods.is_some_and(|methods| methods.iter().any(|method| method == "plain")),
        "code_challenge_methods_supported lists plain"
    );
    let client = probe.any_client()?;
    let ask = probe.ask(client)?;
    let verifier = ask.verifier.clone();
    let ask = ask.with("code_challenge", &verifier).with("code_challenge_method", "plain");
    super::stopped(&probe.reach(&ask).await?, "a request with code_challenge_method=plain")
}

async fn sender_constrained(probe: &Probe<'_>) -> Outcome {
    let content = document(probe).await?;
    let dpop = content.get("dpop_signing_alg_values_supported").is_some();
    let mtls = content.get("tls_client_certificate_bound_access_tokens");
    require!(
        dpop || mtls.is_some_and(|value| *value == true),
        "neither DPoP nor certificate-bound tokens are offered"
    );
    Ok(())
}

async fn asymmetric_clients(probe: &Probe<'_>) -> Outcome {
    let offered = methods(&document(probe).await?, "token");
    let asymmetric = ["private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"];
    require!(
        offered.iter().any(|method| asymmetric.contains(&method.as_str())),
        "the methods are {}",
        offered.join(" ")
    );
    Ok(())
}

async fn is_published(probe: &Probe<'_>) -> Outcome {
    let discovered = &probe.target.discovered;
    require!(
        discovered.documents.iter().any(|one| one.place != Place::Configured),
        "no document at a well-known address: {}",
        discovered.tried.join("; ")
    );
    document(probe).await.map(drop)
}
