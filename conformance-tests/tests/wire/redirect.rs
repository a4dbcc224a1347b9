//! The redirection URI (RFC 6749 section 3.1.2, RFC 8252 section 7, RFC 9700 section 4.1.3).

use grantor::engine::Error;
use grantor::model::ApplicationType;
use grantor::protocol::Refusal;
use grantor::protocol::register::Registration;

use crate::world::{Browser, CALLBACK, VERIFIER, World, authorize_url, encode, scope};

/// Everything that looks like [`CALLBACK`] and is not.
const MUTATIONS: [&str; 62] = [
    "https://client.example.evil/cb",
    "https://client.exampleevil/cb",
    "https://evil/https://client.example/cb",
    "https://client.example/cb2",
    "https://client.example/c",
    "https://client.example@evil/cb",
    "https://client.example:443@evil/cb",
    "https://u:p@client.example/cb",
    "https://@client.example/cb",
    "https://client.example/cb/../x",
    "https://client.example/cb/..;/x",
    "https://client.example/cb/%2e%2e/x",
    "https://client.example/cb/%252e%252e/x",
    "https://client.example/cb/..%2f",
    "https://client.example/cb/.%2e/",
    "https://client.example/./cb",
    "https://client.example/x/../cb",
    "https://client.example//cb",
    "https://clientXexample/cb",
    "https://*.example/cb",
    "https://client.example/*",
    "HTTPS://client.example/cb",
    "https://Client.example/cb",
    "https://client.example/CB",
    "https://client.example/cb/",
    "https://client.example:443/cb",
    "https://client.example:444/cb",
    "https://client.example:/cb",
    "https://client.example/%63b",
    "https://client.example%2fcb",
    "https://client.example/cb%20",
    "https://client.example/cb%00",
    "https://client.example/cb?",
    "https://client.example/cb#",
    "https://client.example/cb#x",
    "https://client.example/cb%23x",
    "https://client.example/cb?x=1",
    "https://client.example/cb?code=1",
    "https://client.example/cb;x",
    "https://client.example./cb",
    "https://client.example\\@evil",
    "https:\\\\client.example/cb",
    "https://evil\\.client.example/cb",
    " https://client.example/cb",
    "https://client.example/cb ",
    "https://client.example/cb\t",
    "https://client.example/cb\n",
    "https://client.example/cb\r\nLocation: https://evil",
    "https://client.example/cb\0",
    "https://client.example/cb%0d%0aLocation:%20https://evil",
    "https://\u{441}lient.example/cb",
    "https://client\u{3002}example/cb",
    "https://cli\u{ad}ent.example/cb",
    "https://xn--lient-9xe.example/cb",
    "http://client.example/cb",
    "//client.example/cb",
    "/cb",
    "cb",
    "https:/client.example/cb",
    "https:client.example/cb",
    "https://",
    "https://localhost/cb",
];

const SCHEMES: [&str; 15] = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    " javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "blob:https://client.example/x",
    "about:blank",
    "view-source:https://client.example/",
    "intent://x",
    "mailto:a@client.example",
    "ftp://client.example/cb",
    "myapp:/cb",
    "urn:ietf:wg:oauth:2.0:oob",
];

#[tokio::test]
async fn nothing_but_the_registered_bytes_is_redirected_to() {
    // Requirements 6749-020, 6749-022, 6749-027, 6749-028, 6749-029, 6749-083, 8252-005, 9700-001, 9700-002,
    // 9700-019, OA21-004; ATTACKS A01 to A10, A12, A13, A17, K15: whatever else is wrong with the request.
    let world = World::new();
    let client = world.public().await;
    for uri in MUTATIONS.into_iter().chain(SCHEMES) {
        for also in [
            ("state", Some("a state")),
            ("scope", Some("bogus")),
            ("response_type", Some("bogus")),
            ("prompt", Some("none")),
            ("code_challenge", None),
            ("request", Some("a.b.c")),
        ] {
            let url = authorize_url(&client, &[("redirect_uri", Some(uri)), also]);
            let answer = world.get(&url).await;
            answer.explained(400);
            assert!(!answer.body.contains("evil"), "{uri:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn nothing_but_the_bytes_of_the_request_redeems_a_code() {
    // Requirements 6749-044, 6749-049, 6749-077, OA21-023; ATTACKS A01: and the code survives all of it.
    let world = World::new();
    let client = world.confidential().await;
    let code = world.code(&client).await;
    for uri in MUTATIONS.into_iter().chain(SCHEMES) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", uri),
            ("code_verifier", VERIFIER),
        ];
        world.call("/token", &client, &form).await.refused(400, "invalid_grant");
    }
    assert_eq!(world.redeem(&client, &code).await.status, 200);
}

#[tokio::test]
async fn a_code_without_challenge_needs_the_redirect_uri_again() {
    // Requirements 6749-044, 6749-049, 6749-077, OA21-023: of two registered ones, the one of the request.
    let world = World::new();
    let registration = Registration {
        pkce_optional: true,
        redirect_uris: vec![CALLBACK.into(), "https://client.example/other".into()],
        ..Registration::confidential("Old", CALLBACK, scope("read write"))
    };
    let client = world.register(&registration).await;
    let plain = [("code_challenge", None), ("code_challenge_method", None)];
    let answer = Browser::default().walk(&world, &authorize_url(&client, &plain)).await;
    let code = answer.parameter("code");
    let base = [("grant_type", "authorization_code"), ("code", &code)];
    for uri in
        [None, Some(""), Some("https://client.example/other"), Some("https://client.example/cb/")]
    {
        let mut form = base.to_vec();
        form.extend(uri.map(|uri| ("redirect_uri", uri)));
        world.call("/token", &client, &form).await.refused(400, "invalid_grant");
    }
    let mut form = base.to_vec();
    form.push(("redirect_uri", CALLBACK));
    assert_eq!(world.call("/token", &client, &form).await.status, 200);
}

#[tokio::test]
async fn who_asks_must_be_known_before_anybody_is_sent_anywhere() {
    // Requirements 6749-024, 6749-025, 6749-026, 6749-029, 6749-040, 6749-070, 9700-031, OA21-011; ATTACKS A14,
    // A17.
    let world = World::new();
    let one = world.public().await;
    let two = Registration {
        redirect_uris: vec![CALLBACK.into(), "https://client.example/other".into()],
        ..Registration::public("Two", CALLBACK, scope("read write"))
    };
    let two = world.register(&two).await;
    let none = world.service().await;
    for change in [
        vec![("client_id", None)],
        vec![("client_id", Some(""))],
        vec![("client_id", Some("unknown"))],
        vec![("client_id", Some("no such\r\nclient<script>"))],
        vec![("client_id", Some("unknown")), ("redirect_uri", None)],
    ] {
        world.get(&authorize_url(&one, &change)).await.explained(400);
    }
    for uri in [None, Some("")] {
        world.get(&authorize_url(&two, &[("redirect_uri", uri)])).await.explained(400);
        world.get(&authorize_url(&none, &[("redirect_uri", uri)])).await.explained(400);
        // With one registered, there is nothing to guess.
        let answer =
            Browser::default().walk(&world, &authorize_url(&one, &[("redirect_uri", uri)])).await;
        assert!(answer.location().starts_with(CALLBACK), "{answer:?}");
    }
    world.get(&authorize_url(&none, &[])).await.explained(400);
    let array = authorize_url(&two, &[("redirect_uri", None)]) + "&redirect_uri[]=" + CALLBACK;
    world.get(&array).await.explained(400);
    let removed = world.public().await;
    world.server.remove_client(&removed.client.id).await.expect("removed");
    world.get(&authorize_url(&removed, &[])).await.explained(400);
}

#[tokio::test]
async fn a_query_that_was_registered_stays() {
    // Requirement 6749-021: the answer is added to it, once each; ATTACKS A07.
    let world = World::new();
    for (uri, kept) in [
        ("https://client.example/cb?a=1&b=%2F", "https://client.example/cb?a=1&b=%2F&code="),
        ("https://client.example/cb?", "https://client.example/cb?code="),
        ("https://client.example/cb?to=/x?", "https://client.example/cb?to=/x?&code="),
    ] {
        let client = world.register(&Registration::public("Query", uri, scope("read write"))).await;
        let url = authorize_url(&client, &[("redirect_uri", Some(uri))]);
        let answer = Browser::default().walk(&world, &url).await;
        assert!(answer.location().starts_with(kept), "{answer:?}");
        assert_eq!(answer.location().matches('?').count(), uri.matches('?').count());
        for name in ["code", "state", "iss"] {
            answer.parameter(name);
        }
        for other in [
            "https://client.example/cb?b=%2F&a=1",
            "https://client.example/cb?a=1&b=%2f",
            "https://client.example/cb?a=1",
        ] {
            let url = authorize_url(&client, &[("redirect_uri", Some(other))]);
            world.get(&url).await.explained(400);
        }
    }
}

#[tokio::test]
async fn native_apps_come_back_on_any_port_and_nowhere_else() {
    // Requirements 8252-001, 8252-002, 8252-003, 8252-004, 8252-005, OA21-022; ATTACKS A02, A10, A11.
    let world = World::new();
    let loopback = |uri: &str| Registration::public("App", uri, scope("read write"));
    for uri in ["http://127.0.0.1/cb", "http://127.0.0.1:8401/cb"] {
        let client = world.register(&loopback(uri)).await;
        for good in ["http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb"] {
            let url = authorize_url(&client, &[("redirect_uri", Some(good))]);
            let answer = Browser::default().walk(&world, &url).await;
            assert!(answer.location().starts_with(&format!("{good}?code=")), "{answer:?}");
            let code = answer.parameter("code");
            let id = client.client.id.as_str();
            let redeem = |uri| {
                encode(&[
                    ("grant_type", "authorization_code"),
                    ("client_id", id),
                    ("code", &code),
                    ("code_verifier", VERIFIER),
                    ("redirect_uri", uri),
                ])
            };
            let post =
                |form: String| crate::world::request(http::Method::POST, "/token", &[], &form);
            // The port may vary from the registration, not from the request.
            world.send(post(redeem("http://127.0.0.1:4/cb"))).await.refused(400, "invalid_grant");
            assert_eq!(world.send(post(redeem(good))).await.status, 200);
        }
        for bad in [
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:+80/cb",
            "http://127.0.0.1:-1/cb",
            "http://127.0.0.1:08080/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:8x/cb",
            "https://127.0.0.1:5/cb",
            "http://127.0.0.1:5/other",
            "http://127.0.0.1:5/cb?x=1",
            "http://u@127.0.0.1:5/cb",
            "http://127.0.0.1:80@evil/cb",
            "http://127.0.0.1.evil:5/cb",
            "http://127.1/cb",
            "http://2130706433/cb",
            "http://0x7f000001/cb",
            "http://0177.0.0.1/cb",
            "http://127.0.0.2/cb",
            "http://127.0.0.1./cb",
            "http://localhost:5/cb",
            "http://localhost./cb",
            "http://[::1]:5/cb",
            "http://[::ffff:127.0.0.1]/cb",
            "http://[::1%25lo]/cb",
        ] {
            world.get(&authorize_url(&client, &[("redirect_uri", Some(bad))])).await.explained(400);
        }
    }
    let client = world.register(&loopback("http://[::1]/cb")).await;
    for (uri, good) in [
        ("http://[::1]:9/cb", true),
        ("http://[0:0:0:0:0:0:0:1]:9/cb", false),
        ("http://127.0.0.1:9/cb", false),
    ] {
        let answer = world.get(&authorize_url(&client, &[("redirect_uri", Some(uri))])).await;
        assert_eq!(answer.status == 303, good, "{uri}: {answer:?}");
    }
    for (any_port, status) in [(false, 400), (true, 303)] {
        let registration =
            Registration { localhost_any_port: any_port, ..loopback("http://localhost/cb") };
        let client = world.register(&registration).await;
        let url = authorize_url(&client, &[("redirect_uri", Some("http://localhost:1/cb"))]);
        assert_eq!(world.get(&url).await.status, status);
    }
    let uri = "com.example.app:/cb";
    let client = world.register(&loopback(uri)).await;
    let answer = Browser::default()
        .walk(&world, &authorize_url(&client, &[("redirect_uri", Some(uri))]))
        .await;
    assert!(answer.location().starts_with("com.example.app:/cb?code="), "{answer:?}");
}

#[tokio::test]
async fn what_cannot_be_redirected_to_cannot_be_registered() {
    // Requirements 6749-020, 6749-022, 6749-023, 6749-024, 8252-007, 8252-008, 9700-016, OA21-001; ATTACKS A04,
    // A07, A08, A09, A13.
    let world = World::new();
    let spelled_oddly = [
        "/cb",
        "//client.example/cb",
        "https:/client.example/cb",
        "https://client.example/cb#",
        "https://client.example/cb#x",
        "http://client.example/cb",
        "http://127.1/cb",
        "https://u:p@client.example/cb",
        "https://client.example/x/../cb",
        "https://client.example:443/cb",
        "HTTPS://client.example/cb",
        "https://*.example/cb",
        "https://client.example/*",
        "https://client.example\\@evil",
        "https://client.example/cb\t",
        "https://\u{441}lient.example/cb",
        "https://client.example/cb?code=1",
        "https://client.example/cb?state=",
        "com.example.app:",
    ];
    for uri in spelled_oddly.into_iter().chain(SCHEMES) {
        let registration = Registration::public("Bad", uri, scope("read"));
        let refused = world.server.register_client(&registration).await;
        assert!(
            matches!(refused, Err(Error::Refused(Refusal::RegistrationRedirectUri(_)))),
            "{uri:?}: {refused:?}"
        );
    }
    let nowhere = Registration {
        redirect_uris: vec![],
        application_type: ApplicationType::Web,
        ..Registration::public("Nowhere", "", scope("read"))
    };
    world.server.register_client(&nowhere).await.expect_err("6749-024");
}
