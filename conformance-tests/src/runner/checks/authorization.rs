//! The authorization endpoint: its parameters, its errors, what it adds to the redirect.

use http::header;

use crate::runner::browser::{Landing, Plan};
use crate::runner::check::{Check, check};
use crate::runner::config::{Endpoint, Role};
use crate::runner::probe::{Ask, Probe, escaped, method, named};
use crate::runner::verdict::{Outcome, Stop, require};
use crate::runner::wire::{Call, encode};

use super::{error_of, shown, stopped, together, told};

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["6749-010"],
        nobody_without_signing_in,
        "a good authorization request from a browser without cookies",
        "a page that asks who is there, and no code"
    ),
    check!(
        ["6749-014"],
        get_works,
        "a good authorization request by GET; the user allows",
        "a code"
    ),
    check!(
        ["6749-011"],
        query_of_the_endpoint,
        "a good request to an endpoint whose own address has a query",
        "the query is kept and the request works"
    ),
    check!(
        ["6749-013", "6749-031"],
        only_tls,
        "the same requests to the endpoints over http://",
        "no connection, an upgrade or an error; no page and no answer in clear"
    ),
    check!(
        ["6749-015"],
        empty_is_absent,
        "each optional parameter sent empty, and left out",
        "the same becomes of both, with whoever is signed in"
    ),
    check!(
        ["6749-016"],
        unknown_is_ignored,
        "a good request with 30 parameters that nobody knows",
        "a code"
    ),
    check!(
        ["6749-017", "OA21-008"],
        repeated_is_refused,
        "each parameter twice, with the same and with another value",
        "an error, and no sign-in"
    ),
    check!(
        ["6749-018"],
        response_types,
        "no response_type, and several that no server has",
        "an error, and no sign-in"
    ),
    check!(
        ["9700-008"],
        no_implicit,
        "response_type=token; GET metadata",
        "an error, and no access token in the redirect; it is not listed"
    ),
    check!(
        ["9700-041"],
        no_web_message,
        "response_mode=web_message",
        "an error, or nothing of the kind: no page that posts to a window"
    ),
    check!(
        ["6749-038"],
        scope_left_out,
        "a request without scope",
        "the default scope, or invalid_scope"
    ),
    check!(
        ["6749-039", "8414-013"],
        scope_is_exact,
        "a scope in capitals, a scope with a quote, a scope with a combining accent",
        "none is taken for the scope that it resembles"
    ),
    check!(["6749-040"], client_id_is_needed, "no client_id", "an error page, and no redirect"),
    check!(
        ["6749-045"],
        state_comes_back,
        "state with markup, percent signs, plus, unicode, 2 kB; in an error and in a success",
        "the same state in the answer"
    ),
    check!(
        ["6749-046"],
        error_charset,
        "requests that are refused, with quotes, unicode and line ends in them",
        "error and error_description have only the characters that are allowed, and none of the input"
    ),
    check!(
        ["6749-047"],
        errors_reach_the_client,
        "a response_type that is not supported, from a good client with a good redirect URI",
        "unsupported_response_type at the client's redirect URI"
    ),
    check!(
        ["6749-048"],
        denial_reaches_the_client,
        "a good request; the user denies",
        "access_denied and the state at the client, and no code"
    ),
    check!(
        ["9207-001"],
        iss_everywhere,
        "a request that succeeds, one that is refused",
        "iss in both answers, where it is in one or metadata promises it"
    ),
    check!(["9700-025"], issuer_is_named, "a good request; the user allows", "iss in the answer"),
    check!(
        ["9207-002"],
        iss_is_the_issuer,
        "a good request; the user allows",
        "iss is the issuer of the metadata, character by character"
    ),
    check!(
        ["9207-004"],
        iss_beside_id_token,
        "response_type=code id_token, where it is offered",
        "iss of the ID token is the parameter iss"
    ),
    check!(
        ["9700-017", "OA21-007"],
        no_cors,
        "GET and OPTIONS with an Origin of another site",
        "no Access-Control-Allow-Origin"
    ),
    check!(
        ["6749-083", "HTTP-002"],
        nothing_reflected,
        "markup and line ends in each parameter",
        "nothing of it comes back as markup or as a header"
    ),
    check!(
        ["6749-084"],
        invalid_utf8,
        "bytes that are no UTF-8 in each parameter of the authorization and the token endpoint",
        "an answer below 500"
    ),
    check!(
        ["9700-002"],
        no_open_redirector,
        "return_to, next, target_link_uri and others of another site, at the authorization endpoint and at the end of the session",
        "no redirect there"
    ),
];

async fn nobody_without_signing_in(probe: &Probe<'_>) -> Outcome {
    for client in probe.both()? {
        let landing = probe.look(&probe.ask(client)?).await?;
        if let Landing::Client(answer) = &landing {
            require!(answer.get("code").is_none(), "a code, and nobody has signed in");
        }
        require!(
            matches!(landing, Landing::SignIn(_) | Landing::Consent(_) | Landing::Page(_)),
            "instead of a page there is {}",
            landing.describe()
        );
    }
    Ok(())
}

async fn get_works(probe: &Probe<'_>) -> Outcome {
    for client in probe.both()? {
        probe.grant(client).await.map_err(Stop::or_fail)?;
    }
    Ok(())
}

async fn query_of_the_endpoint(probe: &Probe<'_>) -> Outcome {
    let url = probe.endpoint(Endpoint::Authorization)?;
    if !url.contains('?') {
        return Err(Stop::NotApplicable("the endpoint's address has no query".to_owned()));
    }
    get_works(probe).await
}

async fn only_tls(probe: &Probe<'_>) -> Outcome {
    if !probe.target.issuer.starts_with("https://") {
        return Err(Stop::NotApplicable("the issuer is on loopback, for development".to_owned()));
    }
    let ask = probe.ask(probe.any_client()?)?;
    let token = probe.endpoint(Endpoint::Token)?;
    for (url, is_get) in [(ask.url(), true), (token, false)] {
        let Some(rest) = url.strip_prefix("https://") else { continue };
        let clear = format!("http://{rest}");
        let call = if is_get { Call::get(clear) } else { Call::form(clear, &[]) };
        // No connection at all is the best answer.
        let Ok(reply) = probe.line.send(call).await else { continue };
        require!(
            !reply.status.is_success(),
            "{} is answered with {} without TLS",
            reply.url.split('?').next().unwrap_or_default(),
            reply.status
        );
        if let Some(location) = reply.location() {
            require!(
                location.starts_with("https://"),
                "a redirect that stays in clear: {location}"
            );
        }
    }
    Ok(())
}

/// What became of a request, without what is random in it.
fn fate(landing: &Landing) -> String {
    match landing {
        Landing::Client(answer) => match answer.get("error") {
            Some(error) => format!("the client is told {error}"),
            None => "the client gets a code".to_owned(),
        },
        other => other.describe(),
    }
}

async fn empty_is_absent(probe: &Probe<'_>) -> Outcome {
    let (mut findings, mut looked) = (Vec::new(), 0);
    for client in probe.both()? {
        for name in [
            "response_type",
            "response_mode",
            "scope",
            "state",
            "code_challenge",
            "code_challenge_method",
            "prompt",
            "max_age",
            "login_hint",
            "ui_locales",
            "nonce",
            "request",
            "request_uri",
        ] {
            let mut ask = probe.ask(client)?;
            if name == "code_challenge" {
                ask = ask.without("code_challenge_method");
            }
            let empty = probe.reach(&ask.clone().with(name, "")).await?;
            let absent = probe.reach(&ask.without(name)).await?;
            looked += 1;
            if fate(&empty) != fate(&absent) {
                let (empty, absent) = (fate(&empty), fate(&absent));
                let reason = format!("{name} sent empty: {empty}; left out: {absent}");
                findings.push(Stop::Fail(reason));
            }
        }
    }
    together(findings, looked)
}

async fn unknown_is_ignored(probe: &Probe<'_>) -> Outcome {
    let mut ask = probe.ask(probe.any_client()?)?;
    for n in 0..30 {
        ask = ask.and(&format!("x_unknown_{n}"), "1");
    }
    probe.code(&ask).await.map(drop).map_err(Stop::or_fail)
}

fn value_of(ask: &Ask, name: &str) -> String {
    let found = ask.parameters.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

async fn repeated_is_refused(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let (mut findings, mut looked) = (Vec::new(), 0);
    for name in [
        "client_id",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
    ] {
        let ask = probe.ask(client)?;
        let value = value_of(&ask, name);
        if value.is_empty() {
            continue;
        }
        for second in [value.as_str(), "another"] {
            let landing = probe.reach(&ask.clone().and(name, second)).await?;
            looked += 1;
            findings.extend(stopped(&landing, &format!("{name} twice")).err());
        }
    }
    together(findings, looked)
}

async fn response_types(probe: &Probe<'_>) -> Outcome {
    let ask = probe.ask(probe.any_client()?)?;
    stopped(&probe.reach(&ask.clone().without("response_type")).await?, "no response_type")?;
    for odd in ["grantor_unknown", "CODE", "code grantor_unknown"] {
        let landing = probe.reach(&ask.clone().with("response_type", odd)).await?;
        stopped(&landing, &format!("response_type={odd}"))?;
    }
    Ok(())
}

async fn no_implicit(probe: &Probe<'_>) -> Outcome {
    let ask = probe.ask(probe.any_client()?)?.with("response_type", "token");
    let landing = probe.reach(&ask).await?;
    if let Landing::Client(answer) = &landing {
        require!(answer.get("access_token").is_none(), "an access token is in the redirect");
    }
    stopped(&landing, "response_type=token")?;
    let listed = probe.target.discovered.list("response_types_supported").unwrap_or_default();
    let is_implicit = |kind: &String| kind.split(' ').any(|part| part == "token");
    if let Some(kind) = listed.iter().find(|kind| is_implicit(kind)) {
        return Err(Stop::Fail(format!("metadata lists the response type {kind:?}")));
    }
    Ok(())
}

async fn no_web_message(probe: &Probe<'_>) -> Outcome {
    let listed = probe.target.discovered.list("response_modes_supported").unwrap_or_default();
    if listed.iter().any(|mode| mode == "web_message") {
        return Err(Stop::Inconclusive(
            "web_message is offered; the target of postMessage cannot be seen from here".to_owned(),
        ));
    }
    let ask = probe.ask(probe.any_client()?)?.with("response_mode", "web_message");
    match probe.walk(&ask, Plan::Allow).await? {
        Landing::Page(reply) => {
            require!(!reply.text().contains("postMessage"), "a page that posts to a window");
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn scope_left_out(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let ask = probe.ask(client)?.without("scope");
    match probe.walk(&ask, Plan::Allow).await? {
        Landing::Client(answer) if answer.get("code").is_some() => Ok(()),
        landing => told(&landing, &["invalid_scope"], "no scope").map(drop),
    }
}

async fn scope_is_exact(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let scope = probe.scope_of(client);
    let one = scope.split(' ').find(|one| one.chars().any(|c| c.is_ascii_lowercase()));
    let Some(one) = one else {
        return Err(Stop::Inconclusive("there is no scope to vary: set --scope".to_owned()));
    };
    for odd in [one.to_uppercase(), format!("{one}\""), format!("{one}\u{301}")] {
        let ask = probe.ask(client)?.with("scope", &odd);
        let landing = probe.walk(&ask, Plan::Allow).await?;
        let Landing::Client(answer) = &landing else {
            stopped(&landing, &format!("scope={odd:?}"))?;
            continue;
        };
        let Some(_) = answer.get("code") else { continue };
        // Ignored rather than refused: then the token must say that the scope is another.
        let grant = probe.code(&ask).await?;
        let tokens = probe.redeemed(client, &grant).await?;
        let granted = tokens.reply.member("scope").ok_or_else(|| {
            Stop::Fail(format!("scope={odd:?} was accepted, and the answer states no other scope"))
        })?;
        require!(
            !granted.split(' ').any(|known| known == one || known == odd),
            "scope={odd:?} was granted as {granted:?}"
        );
    }
    Ok(())
}

async fn client_id_is_needed(probe: &Probe<'_>) -> Outcome {
    let ask = probe.ask(probe.any_client()?)?;
    for ask in [ask.clone().without("client_id"), ask.with("client_id", "")] {
        shown(&probe.reach(&ask).await?, "no client_id")?;
    }
    Ok(())
}

async fn state_comes_back(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let long = "\u{20ac}5 ".repeat(400);
    for (at, state) in [
        "100% +&=#?/;:@ a  b",
        "\"><script>alert(1)</script>",
        "\u{1f512}\u{e9}\u{202e}",
        long.trim(),
    ]
    .into_iter()
    .enumerate()
    {
        let ask = probe.ask(client)?.with("state", state);
        let landing = probe.reach(&ask.clone().with("response_type", "grantor_unknown")).await?;
        if let Landing::Client(answer) = &landing {
            require!(
                answer.get("state") == Some(state),
                "in an error, {state:?} came back as {:?}",
                answer.get("state")
            );
        }
        if at == 0 || at == 2 {
            let grant = probe.code(&ask).await?;
            require!(
                grant.answer.get("state") == Some(state),
                "{state:?} came back as {:?}",
                grant.answer.get("state")
            );
        }
    }
    let absent =
        probe.reach(&probe.ask(client)?.without("state").with("response_type", "x")).await?;
    if let Landing::Client(answer) = absent {
        require!(answer.get("state").is_none(), "a state came back that nobody sent");
    }
    Ok(())
}

/// RFC 6749 appendix A.7 and A.8.
pub(super) fn permitted(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

async fn error_charset(probe: &Probe<'_>) -> Outcome {
    let ask = probe.ask(probe.any_client()?)?;
    let hostile = "grantor\"\\\u{e9}\r\n<b>evil</b>";
    let mut seen = 0;
    for name in ["response_type", "scope", "code_challenge_method", "prompt", "response_mode"] {
        let landing = probe.reach(&ask.clone().with(name, hostile)).await?;
        let Landing::Client(answer) = landing else { continue };
        for member in ["error", "error_description", "error_uri"] {
            let Some(text) = answer.get(member) else { continue };
            seen += 1;
            require!(permitted(text), "{name}: {member} is {text:?}");
        }
        let description = answer.get("error_description").unwrap_or_default();
        require!(
            !description.contains("<b>"),
            "{name}: what was sent is in the description: {description:?}"
        );
    }
    if seen == 0 {
        return Err(Stop::NotApplicable("no error was sent to the client".to_owned()));
    }
    Ok(())
}

async fn errors_reach_the_client(probe: &Probe<'_>) -> Outcome {
    for client in probe.both()? {
        let ask = probe.ask(client)?.with("response_type", "grantor_unknown");
        let landing = probe.walk(&ask, Plan::Allow).await?;
        told(&landing, &["unsupported_response_type"], "response_type=grantor_unknown")?;
    }
    Ok(())
}

async fn denial_reaches_the_client(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Public).or_else(|_| probe.any_client())?;
    // A server that remembers the consent would not ask: `prompt=consent` makes it ask again.
    for ask in [probe.ask(client)?, probe.ask(client)?.with("prompt", "consent")] {
        let landing = probe.walk(&ask, Plan::Deny).await?;
        if matches!(&landing, Landing::Client(answer) if answer.get("code").is_some()) {
            continue;
        }
        let answer = told(&landing, &["access_denied"], "the user denied")?;
        require!(answer.get("state") == Some(&ask.state), "the state is not in the answer");
        return Ok(());
    }
    Err(Stop::Inconclusive("the user was never asked".to_owned()))
}

async fn iss_everywhere(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let grant = probe.grant(client).await?;
    let advertised =
        probe.target.discovered.member("authorization_response_iss_parameter_supported");
    let refused = probe.reach(&probe.ask(client)?.with("response_type", "grantor_unknown")).await?;
    let in_error = match &refused {
        Landing::Client(answer) => Some(answer.get("iss").is_some()),
        _ => None,
    };
    let in_success = grant.answer.get("iss").is_some();
    let promised = advertised.is_some_and(|value| *value == true);
    if !in_success && in_error != Some(true) && !promised {
        return Err(Stop::NotApplicable("RFC 9207 is not offered".to_owned()));
    }
    require!(in_success, "a code comes without iss");
    require!(in_error != Some(false), "an error comes without iss");
    Ok(())
}

async fn issuer_is_named(probe: &Probe<'_>) -> Outcome {
    let grant = probe.grant(probe.any_client()?).await?;
    require!(grant.answer.get("iss").is_some(), "the answer does not say whose it is");
    Ok(())
}

async fn iss_is_the_issuer(probe: &Probe<'_>) -> Outcome {
    let grant = probe.grant(probe.any_client()?).await?;
    let Some(iss) = grant.answer.get("iss") else {
        return Err(Stop::NotApplicable("answers have no iss".to_owned()));
    };
    require!(iss == probe.target.issuer, "iss is {iss:?}");
    Ok(())
}

async fn iss_beside_id_token(probe: &Probe<'_>) -> Outcome {
    let listed = probe.target.discovered.list("response_types_supported").unwrap_or_default();
    if !listed.iter().any(|kind| kind.split(' ').any(|part| part == "id_token")) {
        return Err(Stop::NotApplicable("no response type with an ID token is listed".to_owned()));
    }
    let ask = probe.ask(probe.any_client()?)?.with("response_type", "code id_token");
    let landing = probe.walk(&ask.with("nonce", "grantor"), Plan::Allow).await?;
    let Landing::Client(answer) = &landing else {
        return Err(Stop::Inconclusive(format!("instead there is {}", landing.describe())));
    };
    let (Some(token), Some(iss)) = (answer.get("id_token"), answer.get("iss")) else {
        return Err(Stop::NotApplicable("the client may not use this response type".to_owned()));
    };
    let claims = super::claims(token);
    require!(claims.get("iss").is_some_and(|claim| claim == iss), "the ID token has another iss");
    Ok(())
}

async fn no_cors(probe: &Probe<'_>) -> Outcome {
    let url = probe.ask(probe.any_client()?)?.url();
    for name in ["GET", "OPTIONS"] {
        let call = Call::new(method(name), &url)
            .header(header::ORIGIN, "https://evil.example")
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
        let reply = probe.send(call).await?;
        let allowed = reply.header(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        require!(allowed.is_empty(), "{name}: Access-Control-Allow-Origin: {allowed}");
    }
    Ok(())
}

const MARKUP: &str = "\"'><script>grantorEvil(1)</script>\r\nX-Grantor-Evil: 1\r\n\r\n<b>";

async fn nothing_reflected(probe: &Probe<'_>) -> Outcome {
    let ask = probe.ask(probe.any_client()?)?;
    let mut urls = Vec::new();
    for name in [
        "client_id",
        "redirect_uri",
        "response_type",
        "response_mode",
        "scope",
        "state",
        "prompt",
        "login_hint",
        "ui_locales",
        "x_unknown",
    ] {
        urls.push((name, ask.clone().with(name, MARKUP)));
    }
    for (name, ask) in urls {
        let mut browser = probe.fresh_browser();
        let mut reply = browser.open(&probe.line, &ask.url()).await?;
        for _ in 0..5 {
            require!(
                reply.headers.get(named("x-grantor-evil")).is_none(),
                "{name}: a line end in it starts a new header"
            );
            if reply.is_html() {
                require!(
                    !reply.text().contains("<script>grantorEvil"),
                    "{name}: markup in it is markup on the page"
                );
            }
            let Some(location) = reply.location() else { break };
            if !location.starts_with(&probe.target.issuer) {
                break;
            }
            reply = browser.open(&probe.line, &location).await?;
        }
    }
    Ok(())
}

async fn invalid_utf8(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let ask = probe.ask(client)?;
    let endpoint = probe.endpoint(Endpoint::Authorization)?;
    let mark = if endpoint.contains('?') { '&' } else { '?' };
    for name in ["client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge"] {
        for bytes in ["%ff", "%c0%af", "%ed%a0%80"] {
            let rest = encode(&ask.clone().without(name).parameters);
            let reply = probe.get(&format!("{endpoint}{mark}{name}={bytes}&{rest}")).await?;
            require!(
                reply.status.as_u16() < 500,
                "{name}={bytes} at the authorization endpoint: {}",
                reply.status
            );
        }
    }
    let token = probe.endpoint(Endpoint::Token)?;
    for name in ["grant_type", "code", "client_id", "client_secret", "refresh_token"] {
        let body = format!("{name}=%ff%c0%af&x={}", escaped("\u{e9}"));
        let call =
            Call::new(method("POST"), &token).typed(crate::runner::wire::FORM, body.into_bytes());
        let reply = probe.settled(call).await?;
        require!(
            reply.status.is_client_error(),
            "{name}=%ff at the token endpoint: {} {}",
            reply.status,
            error_of(&reply)
        );
    }
    Ok(())
}

async fn no_open_redirector(probe: &Probe<'_>) -> Outcome {
    let evil = "https://evil.example/grantor";
    let mut ask = probe.ask(probe.any_client()?)?;
    let names = [
        "return_to",
        "returnTo",
        "next",
        "redirect",
        "redirect_to",
        "url",
        "continue",
        "target_link_uri",
        "post_logout_redirect_uri",
        "RelayState",
    ];
    for name in names {
        ask = ask.and(name, evil);
    }
    let landing = probe.walk(&ask, Plan::Allow).await?;
    require!(
        !matches!(&landing, Landing::Away(location) if location.contains("evil.example")),
        "sign-in ends at an address that a parameter names"
    );
    let Some(end) = probe.target.discovered.text("end_session_endpoint") else { return Ok(()) };
    let query: Vec<(String, String)> =
        names.iter().map(|name| ((*name).to_owned(), evil.to_owned())).collect();
    let reply = probe.get(&format!("{end}?{}", encode(&query))).await?;
    require!(
        !reply.location().unwrap_or_default().starts_with("https://evil.example"),
        "end_session_endpoint redirects anywhere"
    );
    Ok(())
}
