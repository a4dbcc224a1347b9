//! The authorization endpoint (RFC 6749 section 3.1 and 4.1.1, RFC 7636 section 4.3, RFC 9207).

use grantor::protocol::register::{Registered, Registration};
use http::Method;

use crate::world::{
    Answer, Browser, CALLBACK, CHALLENGE, ISSUER, World, authorize_url, encode, request, scope,
};

/// Every parameter that the endpoint knows, with a value that is right.
const KNOWN: [(&str, &str); 14] = [
    ("client_id", ""),
    ("redirect_uri", CALLBACK),
    ("response_type", "code"),
    ("response_mode", "query"),
    ("scope", "read write"),
    ("state", "a state"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
    ("prompt", "login"),
    ("max_age", "60"),
    ("login_hint", "alice"),
    ("ui_locales", "en"),
    ("request", "a.b.c"),
    ("request_uri", "urn:x"),
];

/// The right value of a parameter, for this client.
fn right<'a>(client: &'a Registered, name: &str) -> &'a str {
    let value = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    match value {
        Some("") => client.client.id.as_str(),
        value => value.expect("a known parameter"),
    }
}

/// What became of a request, without what is random in it.
fn fate(answer: &Answer) -> (u16, String, String) {
    let location = answer.location();
    let place = location.split(['?']).next().unwrap_or_default().to_owned();
    let error = location.starts_with(CALLBACK).then(|| answer.parameter("error"));
    (answer.status, place, error.unwrap_or_default())
}

fn was_accepted(answer: &Answer) -> bool {
    answer.status == 303 && answer.location().starts_with("/interaction?")
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_to_its_client() {
    // Requirements 6749-018, 6749-027, 6749-038, 6749-039, 6749-047, 7636-001, 7636-002, 7636-003, 7636-006,
    // 7636-007, 7636-010, 8252-006, 9207-001, 9207-002, 9700-008, 9700-041, OA21-010, OA21-012; ATTACKS C02,
    // C03, C04, J09, K15.
    let world = World::new();
    let public = world.public().await;
    let padded = format!("{CHALLENGE}=");
    let long = "x".repeat(5000);
    let table: Vec<(&str, Option<&str>, &str)> = vec![
        ("response_type", None, "invalid_request"),
        ("response_type", Some("token"), "unsupported_response_type"),
        ("response_type", Some("code token"), "unsupported_response_type"),
        ("response_type", Some("CODE"), "unsupported_response_type"),
        ("response_type", Some("none"), "unsupported_response_type"),
        ("response_type", Some("id_token"), "unsupported_response_type"),
        ("response_type", Some("code code"), "unsupported_response_type"),
        ("response_mode", Some("fragment"), "invalid_request"),
        ("response_mode", Some("form_post"), "invalid_request"),
        ("response_mode", Some("web_message"), "invalid_request"),
        ("code_challenge", None, "invalid_request"),
        ("code_challenge", Some(""), "invalid_request"),
        ("code_challenge", Some(&padded), "invalid_request"),
        ("code_challenge", Some(&CHALLENGE[..42]), "invalid_request"),
        ("code_challenge", Some("\u{e9}"), "invalid_request"),
        ("code_challenge_method", None, "invalid_request"),
        ("code_challenge_method", Some(""), "invalid_request"),
        ("code_challenge_method", Some("plain"), "invalid_request"),
        ("code_challenge_method", Some("PLAIN"), "invalid_request"),
        ("code_challenge_method", Some("s256"), "invalid_request"),
        ("code_challenge_method", Some("S512"), "invalid_request"),
        ("code_challenge_method", Some("null"), "invalid_request"),
        ("scope", None, "invalid_scope"),
        ("scope", Some("READ"), "invalid_scope"),
        ("scope", Some("read\twrite"), "invalid_scope"),
        ("scope", Some("read\nwrite"), "invalid_scope"),
        ("scope", Some("read  write"), "invalid_scope"),
        ("scope", Some(" read"), "invalid_scope"),
        ("scope", Some("read\""), "invalid_scope"),
        ("scope", Some("read\\"), "invalid_scope"),
        ("scope", Some("caf\u{e9}"), "invalid_scope"),
        ("scope", Some("cafe\u{301}"), "invalid_scope"),
        ("scope", Some("read\0"), "invalid_scope"),
        ("scope", Some("unknown"), "invalid_scope"),
        ("scope", Some("admin"), "invalid_scope"),
        ("prompt", Some("none"), "login_required"),
        ("prompt", Some("none login"), "invalid_request"),
        ("prompt", Some("bogus"), "invalid_request"),
        ("max_age", Some("-1"), "invalid_request"),
        ("max_age", Some("1e3"), "invalid_request"),
        ("max_age", Some("18446744073709551616"), "invalid_request"),
        ("request", Some("a.b.c"), "request_not_supported"),
        ("request_uri", Some("https://evil.example/"), "request_uri_not_supported"),
        ("login_hint", Some(&long), "invalid_request"),
        ("ui_locales", Some(&long), "invalid_request"),
    ];
    for (name, value, error) in table {
        let answer = world.get(&authorize_url(&public, &[(name, value)])).await;
        answer.told(error);
        assert_eq!(answer.parameter("state"), "a state", "{name}={value:?}");
        assert_eq!(answer.parameter("iss"), ISSUER, "{name}={value:?}");
    }
    // A state that is too long to carry is not cut in two; there is none in the answer.
    let answer = world.get(&authorize_url(&public, &[("state", Some(&long))])).await;
    answer.told("invalid_request");
    assert!(answer.parameters().iter().all(|(name, _)| name != "state"));
}

#[tokio::test]
async fn a_client_of_another_grant_type_is_told_so() {
    // Requirements 6749-047, 6749-061; ATTACKS E04.
    let world = World::new();
    let registration = Registration {
        redirect_uris: vec![CALLBACK.into()],
        ..Registration::service("Nightly job", scope("read write"))
    };
    let client = world.register(&registration).await;
    world.get(&authorize_url(&client, &[])).await.told("unauthorized_client");
}

#[tokio::test]
async fn get_and_post_ask_the_same() {
    // Requirements 6749-010, 6749-014: nobody is signed in, so there is a page and no code.
    let world = World::new();
    let client = world.public().await;
    let url = authorize_url(&client, &[]);
    let (path, form) = url.split_once('?').expect("a query");
    let answers = [world.get(&url).await, world.send(request(Method::POST, path, &[], form)).await];
    for answer in answers {
        assert!(was_accepted(&answer), "{answer:?}");
        let mut browser = Browser::default();
        let cookie = answer.header("set-cookie").split_once(';').expect("a cookie").0.to_owned();
        let (name, value) = cookie.split_once('=').expect("a pair");
        browser.cookies.insert(name.into(), value.into());
        let page = browser.open(&world, answer.location()).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("id=\"password\""), "{page:?}");
    }
}

#[tokio::test]
async fn sent_empty_is_not_sent() {
    // Requirements 6749-015, 7636-003; ATTACKS A14, C02.
    let world = World::new();
    for client in [world.public().await, world.without_pkce().await] {
        for (name, _) in KNOWN {
            let empty = world.get(&authorize_url(&client, &[(name, Some(""))])).await;
            let absent = world.get(&authorize_url(&client, &[(name, None)])).await;
            assert_eq!(fate(&empty), fate(&absent), "{name}");
        }
    }
}

#[tokio::test]
async fn a_parameter_that_nobody_knows_is_ignored() {
    // Requirements 6749-016, OA21-008: also twice, also when it looks like an array.
    let world = World::new();
    let client = world.public().await;
    let mut url = authorize_url(&client, &[]);
    for n in 0..50 {
        url.push_str(&format!("&x{n}={n}&foo=bar&state[]=1"));
    }
    // 150 is more than the limit on parameters, so half of it goes.
    let cut = url.match_indices('&').nth(100).expect("many").0;
    url.truncate(cut);
    assert!(was_accepted(&world.get(&url).await));
}

#[tokio::test]
async fn a_parameter_that_is_there_twice_is_refused() {
    // Requirements 6749-017, OA21-008; ATTACKS A15, J01: in the query, in the form, and one in each; the
    // same value and another.
    let world = World::new();
    let client = world.public().await;
    for (name, _) in KNOWN {
        for second in [right(&client, name), "https://evil.example/", ""] {
            let query = authorize_url(&client, &[(name, Some(right(&client, name)))]);
            let (path, form) = query.split_once('?').expect("a query");
            let extra = encode(&[(name, second)]);
            let before = format!("{path}?{extra}&{form}");
            let after = format!("{query}&{extra}");
            let mixed = format!("{path}?{extra}");
            let answers = [
                world.get(&before).await,
                world.get(&after).await,
                world.send(request(Method::POST, path, &[], &format!("{form}&{extra}"))).await,
                world.send(request(Method::POST, &mixed, &[], form)).await,
            ];
            for answer in answers {
                if ["client_id", "redirect_uri"].contains(&name) {
                    answer.explained(400);
                } else {
                    answer.told("invalid_request");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_name_that_is_escaped_is_still_that_name() {
    // ATTACKS J01.
    let world = World::new();
    let client = world.public().await;
    let url = authorize_url(&client, &[]);
    assert!(was_accepted(&world.get(&url.replace("state=", "%73tate=")).await));
    world.get(&format!("{url}&%73tate=2")).await.told("invalid_request");
    // A semicolon divides nothing.
    world.get(&format!("{url};scope=admin")).await.told("invalid_request");
}

#[tokio::test]
async fn the_state_comes_back_as_it_was() {
    // Requirements 6749-045, 6749-083, HTTP-002; ATTACKS J03: in an error and in a success, whatever is in it.
    let world = World::new();
    let client = world.public().await;
    let long = "\u{20ac}".repeat(700);
    for state in [
        "plain",
        "100% +&=#?/;:@",
        "a b  c ",
        "\u{1f512}\u{e9}\u{202e}",
        "x\r\nSet-Cookie: a=b\r\n\r\n<script>",
        "nul\0nul",
        "\"><script>alert(1)</script>",
        &long,
    ] {
        let answer = world
            .get(&authorize_url(&client, &[("state", Some(state)), ("prompt", Some("none"))]))
            .await;
        answer.told("login_required");
        assert_eq!(answer.parameter("state"), state);
        let mut browser = Browser::default();
        let answer = browser.walk(&world, &authorize_url(&client, &[("state", Some(state))])).await;
        assert_eq!(answer.parameter("state"), state);
        assert!(answer.parameter("code").starts_with("grc_"));
        assert_eq!(answer.parameter("iss"), ISSUER);
    }
}

#[tokio::test]
async fn the_redirect_tells_nothing_of_the_challenge() {
    // Requirements 7636-004, 7636-005.
    let world = World::new();
    let client = world.public().await;
    let mut browser = Browser::default();
    let answer = browser.walk(&world, &authorize_url(&client, &[])).await;
    assert!(!answer.location().contains(CHALLENGE));
    assert!(!answer.location().contains('#'));
    let names: Vec<String> = answer.parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["code", "state", "iss"]);
}

#[tokio::test]
async fn scopes_that_are_not_named_are_the_default_or_an_error() {
    // Requirement 6749-038, and the order of scopes means nothing: 6749-039.
    let world = World::with_policy(|policy| policy.default_scope = Some(scope("read")));
    let client = world.confidential().await;
    let mut browser = Browser::default();
    let answer = browser.walk(&world, &authorize_url(&client, &[("scope", None)])).await;
    let tokens = world.redeem(&client, &answer.parameter("code")).await.json();
    assert_eq!(tokens["scope"], "read");
    let service = world.service().await;
    let form = [("grant_type", "client_credentials")];
    assert_eq!(world.call("/token", &service, &form).await.json()["scope"], "read");
    let without = World::new();
    let service = without.service().await;
    without.call("/token", &service, &form).await.refused(400, "invalid_scope");
    let form = [("grant_type", "client_credentials"), ("scope", "write read")];
    assert_eq!(without.call("/token", &service, &form).await.json()["scope"], "read write");
}

#[tokio::test]
async fn no_script_of_another_origin_may_ask() {
    // Requirements 9700-017, OA21-007; ATTACKS J11.
    let world = World::new();
    let client = world.public().await;
    let url = authorize_url(&client, &[]);
    for origin in ["https://client.example", "null", "https://evil.example"] {
        let answer = world.send(request(Method::GET, &url, &[("origin", origin)], "")).await;
        assert!(was_accepted(&answer));
        assert_eq!(answer.header("access-control-allow-origin"), "");
        let preflight = [("origin", origin), ("access-control-request-method", "GET")];
        let answer = world.send(request(Method::OPTIONS, &url, &preflight, "")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, POST"));
    }
}
