//! Requests as an attacker writes them (RFC 6749 appendix B, ATTACKS series J).

use bytes::Bytes;
use grantor::protocol::register::Registered;
use grantor::wire::{BodyTooLarge, MAX_BODY_LEN};
use http::{Method, Request};

use crate::world::{
    Answer, Browser, CALLBACK, SERVICE, World, action, authorize_url, encode, hidden, request,
};

const FORM: &str = "application/x-www-form-urlencoded";

/// A parameter and a value for it.
type Pair = (String, String);

/// A form that is in order, and the browser that it is in.
type Filled = (String, Vec<Pair>, Browser);

/// One for every path that takes one.
async fn forms(world: &World, client: &Registered) -> Vec<Filled> {
    let mut browser = Browser::default();
    let own = |pairs: &[(&str, &str)]| -> Vec<Pair> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let id = client.client.id.as_str();
    let code = world.code(client).await;
    let tokens = world.tokens(client).await;
    let sign_in = browser.open(world, &authorize_url(client, &[])).await;
    let mut login = hidden(&sign_in);
    login.extend(own(&[("username", "alice"), ("password", "wrong")]));
    let mut other = Browser::of(world, "alice").await;
    let page = other.open(world, &authorize_url(client, &[("prompt", Some("consent"))])).await;
    let mut consent = hidden(&page);
    consent.extend(own(&[("decision", "allow"), ("scope", "read")]));
    let apps = browser.get(world, "/apps").await;
    let mut apps_login = hidden(&apps);
    apps_login.extend(own(&[("username", "alice"), ("password", "wrong")]));
    let apps = other.get(world, "/apps").await;
    let mut withdraw = hidden(&apps);
    withdraw.dedup();
    withdraw.truncate(1);
    let logout = withdraw.clone();
    withdraw.extend(own(&[("client_id", id)]));
    let of = |path: &str| match path {
        "/interaction/consent" | "/apps/withdraw" | "/apps/logout" => other.clone(),
        "/token" | "/revoke" | "/introspect" => Browser::default(),
        _ => browser.clone(),
    };
    let filled: Vec<(String, Vec<Pair>)> = vec![
        (
            "/token".into(),
            own(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", CALLBACK),
                ("code_verifier", crate::world::VERIFIER),
                ("client_id", id),
            ]),
        ),
        (
            "/token".into(),
            own(&[
                ("grant_type", "refresh_token"),
                ("refresh_token", &tokens.refresh),
                ("scope", "read"),
                ("client_id", id),
            ]),
        ),
        (
            "/revoke".into(),
            own(&[("token", "x"), ("token_type_hint", "access_token"), ("client_id", id)]),
        ),
        (
            "/introspect".into(),
            own(&[
                ("token", "x"),
                ("token_type_hint", "access_token"),
                ("client_id", "rs"),
                ("client_secret", "s"),
            ]),
        ),
        (action(&sign_in), login),
        (action(&page), consent),
        ("/apps/login".into(), apps_login),
        ("/apps/withdraw".into(), withdraw),
        ("/apps/logout".into(), logout),
    ];
    filled
        .into_iter()
        .map(|(path, form)| {
            let browser = of(&path);
            (path, form, browser)
        })
        .collect()
}

fn written(form: &[Pair]) -> String {
    let pairs: Vec<(&str, &str)> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    encode(&pairs)
}

fn is_json(path: &str) -> bool {
    ["/token", "/revoke", "/introspect"].contains(&path)
}

#[track_caller]
fn refused(path: &str, answer: &Answer, status: u16) {
    if is_json(path) {
        answer.refused(status, "invalid_request");
    } else {
        answer.explained(status);
    }
}

#[tokio::test]
async fn what_is_not_percent_encoded_utf8_is_refused_everywhere() {
    // Requirement 6749-084; ATTACKS J01, J10: in each parameter of each endpoint.
    let world = World::new();
    let client = world.public().await;
    for (path, form, mut browser) in forms(&world, &client).await {
        for at in 0..form.len() {
            for bad in ["%ff", "%c0%af", "%ed%a0%80", "%", "%4", "%zz", "%u0041"] {
                let rest = [&form[..at], &form[at + 1..]].concat();
                for pair in [format!("{}={bad}", form[at].0), format!("{}{bad}=x", form[at].0)] {
                    let body = format!("{}&{pair}", written(&rest));
                    let answer = browser.send(&world, Method::POST, &path, &[], &body).await;
                    refused(&path, &answer, 400);
                }
            }
        }
        let raw = Request::builder().method(Method::POST).uri(&path).header("content-type", FORM);
        let raw = raw.body(Bytes::from_static(b"token=\xff\xfe")).expect("a request");
        refused(&path, &world.send(raw).await, 400);
    }
    for name in ["client_id", "redirect_uri", "state", "scope", "code_challenge", "prompt", "foo"] {
        let url = authorize_url(&client, &[(name, None)]) + &format!("&{name}=%ff");
        world.get(&url).await.explained(400);
    }
    world.get("/interaction?interaction=%ff").await.explained(400);
}

#[tokio::test]
async fn what_only_looks_alike_is_something_else() {
    // Requirement 8414-013; ATTACKS A12, J14: nothing is normalised before it is compared.
    let world = World::new();
    let client = world.public().await;
    let wide = |text: &str| -> String {
        let code_point =
            |c: char| if c.is_ascii_graphic() { u32::from(c) + 0xfee0 } else { u32::from(c) };
        text.chars().map(|c| char::from_u32(code_point(c)).expect("a full-width form")).collect()
    };
    let plain = authorize_url(&client, &[]);
    let (_, query) = plain.split_once('?').expect("a query");
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if ["state", "code_challenge"].contains(&name.as_ref()) {
            continue;
        }
        for alike in [
            wide(&value),
            format!("{value}\u{301}"),
            format!("\u{feff}{value}"),
            format!("{value}\u{ad}"),
        ] {
            let answer = world.get(&authorize_url(&client, &[(&name, Some(&alike))])).await;
            let refused = answer.is_error_page()
                || answer.location().starts_with(&format!("{CALLBACK}?error="));
            assert!(refused, "{name}={alike}: {answer:?}");
        }
    }
    let service = world.service().await;
    let form = [("grant_type", wide("client_credentials"))];
    let answer = world.call("/token", &service, &[(form[0].0, form[0].1.as_str())]).await;
    answer.refused(400, "unsupported_grant_type");
    let form = [("grant_type", "client_credentials"), ("scope", &wide("read"))];
    world.call("/token", &service, &form).await.refused(400, "invalid_scope");
}

#[tokio::test]
async fn a_parameter_that_is_there_twice_is_refused_everywhere() {
    // Requirements 6749-034, OA21-008; ATTACKS J01: first the good one, first the bad one, and both good.
    let world = World::new();
    let client = world.public().await;
    let mut browser = Browser::default();
    for (path, form, mut browser) in forms(&world, &client).await {
        for (name, value) in &form {
            // A consent page has one box for each scope.
            if path == "/interaction/consent" && name == "scope" {
                continue;
            }
            for other in [value.as_str(), "evil", ""] {
                let extra = (name.clone(), other.to_owned());
                for form in [
                    [&form[..], std::slice::from_ref(&extra)].concat(),
                    [std::slice::from_ref(&extra), &form[..]].concat(),
                ] {
                    let answer =
                        browser.send(&world, Method::POST, &path, &[], &written(&form)).await;
                    refused(&path, &answer, 400);
                }
            }
        }
    }
    let handle = "gri_x";
    let url = format!("/interaction?interaction={handle}&interaction={handle}");
    browser.get(&world, &url).await.explained(400);
}

#[tokio::test]
async fn a_query_adds_nothing_to_a_form() {
    // Requirements 6749-034, 6749-007; ATTACKS J01: what stands in the URI of a POST is not looked at.
    let world = World::new();
    let client = world.confidential().await;
    let code = world.code(&client).await;
    let header = crate::world::basic(
        &client.client.id,
        client.client_secret.as_ref().expect("secret").expose(),
    );
    let headers = [("authorization", header.as_str())];
    let all = encode(&crate::world::redemption(&code));
    let answer = world.send(request(Method::POST, &format!("/token?{all}"), &headers, "")).await;
    answer.refused(400, "invalid_request");
    let evil = encode(&[
        ("redirect_uri", "https://evil.example/"),
        ("code", "x"),
        ("grant_type", "password"),
    ]);
    let answer = world.send(request(Method::POST, &format!("/token?{evil}"), &headers, &all)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn only_forms_are_read() {
    // Requirement HTTP-003, 6749-084; ATTACKS J02, G02: JSON, multipart, text, other charsets, nothing, two.
    let world = World::new();
    let client = world.public().await;
    for (path, form, mut browser) in forms(&world, &client).await {
        let body = written(&form);
        for kind in [
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/json, application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded, application/json",
            "application/x-www-form-urlencoded; charset=iso-8859-1",
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/x-www-form-urlencoded; a=b; c=d",
            "application/x-www-form-urlencodedx",
            "*/*",
            ";",
            "\u{e9}",
        ] {
            let answer =
                browser.send(&world, Method::POST, &path, &[("content-type", kind)], &body).await;
            refused(&path, &answer, 415);
        }
        let two = [("content-type", FORM), ("content-type", FORM)];
        let answer = browser.send(&world, Method::POST, &path, &two, &body).await;
        refused(&path, &answer, 415);
        let untyped = Request::builder().method(Method::POST).uri(&path);
        let answer = world.send(untyped.body(Bytes::from(body)).expect("a request")).await;
        refused(&path, &answer, 415);
    }
    let service = world.service().await;
    let header = crate::world::basic(
        &service.client.id,
        service.client_secret.as_ref().expect("secret").expose(),
    );
    for kind in [
        "application/x-www-form-urlencoded; charset=UTF-8",
        "APPLICATION/X-WWW-FORM-URLENCODED",
        "application/x-www-form-urlencoded;charset=\"utf-8\"",
    ] {
        let headers = [("authorization", header.as_str()), ("content-type", kind)];
        let answer = world.post("/token", &headers, &SERVICE).await;
        assert_eq!(answer.status, 200, "{kind}: {answer:?}");
    }
    let json = "{\"grant_type\":\"client_credentials\"}";
    let answer =
        world.send(request(Method::POST, "/token", &[("authorization", &header)], json)).await;
    answer.refused(400, "invalid_request");
}

#[tokio::test]
async fn every_input_has_a_bound() {
    // Requirement HTTP-005; ATTACKS J04, J05, J06: a body that was not read to its end, one that is too long, too
    // many parameters, too long a URI, too long a value, too many scopes.
    let world = World::new();
    let client = world.public().await;
    let nested = "[".repeat(MAX_BODY_LEN - 100);
    for (path, form, mut browser) in forms(&world, &client).await {
        let body = written(&form);
        let mut cut = request(Method::POST, &path, &[], &body);
        cut.extensions_mut().insert(BodyTooLarge);
        refused(&path, &world.send(cut).await, 413);
        let long = format!("{body}&x={}", "x".repeat(MAX_BODY_LEN));
        let answer = browser.send(&world, Method::POST, &path, &[], &long).await;
        refused(&path, &answer, 413);
        let many = format!("{body}{}", "&x=1".repeat(10_000));
        let answer = browser.send(&world, Method::POST, &path, &[], &many).await;
        refused(&path, &answer, 400);
        let uri = format!("{path}?x={}", "x".repeat(20_000));
        let answer = browser.send(&world, Method::POST, &uri, &[], &body).await;
        refused(&path, &answer, 414);
        for (name, _) in &form {
            let mut form = form.clone();
            form.retain(|(known, _)| known != name);
            let body = format!("{}&{name}={}", written(&form), nested);
            let answer = browser
                .send(&world, Method::POST, &path, &[], &body[..body.len().min(MAX_BODY_LEN)])
                .await;
            assert!((400..500).contains(&answer.status), "{path} {name}: {answer:?}");
            assert!(answer.body.len() < 20_000, "nothing of it comes back");
        }
    }
    let url = authorize_url(&client, &[]);
    world.get(&format!("{url}&x={}", "x".repeat(20_000))).await.explained(414);
    world.get(&format!("{url}{}", "&x=1".repeat(3000))).await.explained(400);
    let scopes: String = (0..1000).map(|n| format!("s{n} ")).collect();
    world
        .get(&authorize_url(&client, &[("scope", Some(scopes.trim()))]))
        .await
        .told("invalid_scope");
}

/// What an attacker would like to see again as it was.
const PAYLOADS: [&str; 8] = [
    "\"><script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "</title><h1>evil</h1>",
    "x\r\nSet-Cookie: evil=1\r\n\r\n<p>",
    "x\0evil",
    "{{ 7331*7331 }}{% evil %}",
    "javascript:alert(1)//evil",
    "\u{202e}evil\u{2028}",
];

#[track_caller]
fn harmless(answer: &Answer, payload: &str) {
    for (name, value) in &answer.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        assert!(name != "set-cookie" || !value.contains("evil"), "{answer:?}");
        assert!(!value.contains('<') && !value.contains(payload), "{name}: {answer:?}");
    }
    for raw in ["<script>alert", "<img src=x", "<h1>evil", "<p>\"", "53743561"] {
        assert!(!answer.body.contains(raw), "{raw} in {answer:?}");
    }
}

#[tokio::test]
async fn nothing_that_is_sent_comes_back_as_code() {
    // Requirements 6749-046, 6749-062, 6749-083, HTTP-002; ATTACKS J03, G08, J04: each payload in each
    // parameter of each endpoint, and in the headers.
    let world = World::new();
    let client = world.public().await;
    let mut browser = Browser::default();
    for payload in PAYLOADS {
        for (path, form, mut browser) in forms(&world, &client).await {
            for at in 0..form.len() {
                let mut form = form.clone();
                form[at].1 = payload.to_owned();
                let answer = browser.send(&world, Method::POST, &path, &[], &written(&form)).await;
                harmless(&answer, payload);
                if is_json(&path) {
                    assert!(!answer.body.contains("evil"), "{answer:?}");
                }
            }
        }
        for name in [
            "client_id",
            "redirect_uri",
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
            "request",
            "request_uri",
            "foo",
        ] {
            let url = authorize_url(&client, &[(name, Some(payload))]);
            let answer = browser.open(&world, &url).await;
            harmless(&answer, payload);
        }
        let url = format!("/interaction?{}", encode(&[("interaction", payload)]));
        harmless(&browser.get(&world, &url).await, payload);
        let url = format!("/apps?{}", encode(&[("withdrawn", payload)]));
        harmless(&browser.get(&world, &url).await, payload);
        let header = payload.replace(['\r', '\n', '\0'], "");
        for name in [
            "accept-language",
            "cookie",
            "authorization",
            "host",
            "x-forwarded-host",
            "origin",
            "referer",
        ] {
            let headers = [(name, header.as_str())];
            harmless(&world.send(request(Method::GET, "/apps", &headers, "")).await, payload);
            harmless(&world.post("/token", &headers, &SERVICE).await, payload);
        }
    }
}

#[tokio::test]
async fn unknown_paths_say_nothing_back() {
    // Requirement HTTP-008; ATTACKS J03: GET and HEAD alike, whatever the path spells.
    let world = World::new();
    for path in [
        "/",
        "/evil%3Cscript%3E",
        "/authorize/",
        "/authorize/evil",
        "//authorize",
        "/./authorize",
        "/x/../authorize",
        "/%61uthorize",
        "/AUTHORIZE",
        "/token;evil=1",
        "/.well-known/oauth-authorization-server/",
        "/.well-known/oauth-authorization-server/evil",
        "/.well-known/openid-configuration",
        "/userinfo",
        "/register",
        "/par",
        "/device_authorization",
        "/jwks.json",
        "/admin",
    ] {
        let get = world.get(path).await;
        get.explained(404);
        assert!(!get.body.contains("evil"), "{get:?}");
        let head = world.send(request(Method::HEAD, path, &[], "")).await;
        assert_eq!((head.status, head.body.as_str()), (404, ""));
        assert_eq!(head.headers, get.headers);
        world.post(path, &[], &SERVICE).await.explained(404);
        let options = world.send(request(Method::OPTIONS, path, &[], "")).await;
        assert_eq!(options.status, 404);
    }
    assert!(!world.server.paths().contains(&"/".to_owned()));
}

#[tokio::test]
async fn each_path_has_its_methods() {
    // Requirement 6749-032, HTTP-008; ATTACKS G02: GET and HEAD never answer a form.
    let world = World::new();
    let known = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND",
    ];
    for path in world.server.paths() {
        let allow = match path.as_str() {
            "/authorize" => "GET, POST",
            "/interaction" | "/apps" => "GET",
            "/style.css" => "GET, HEAD",
            "/.well-known/oauth-authorization-server" => "GET, HEAD, OPTIONS",
            "/token" | "/revoke" => "POST, OPTIONS",
            _ => "POST",
        };
        for method in known {
            let bytes = Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = world.send(request(bytes, &path, &[], "")).await;
            let allowed = allow.split(", ").any(|one| one == method);
            assert_eq!(answer.status == 405, !allowed, "{method} {path}: {answer:?}");
            if !allowed {
                assert_eq!(answer.header("allow"), allow);
            }
        }
    }
}
