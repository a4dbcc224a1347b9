//! The server in its surroundings: a host that signs users in itself, an issuer with a path, proxies,
//! and a second server beside it.

use std::sync::Arc;

use grantor::engine::Builder;
use grantor::model::{Authentication, Subject, Timestamp};
use grantor::protocol::Refusal;
use grantor::storage::MemoryStorage;
use grantor::wire::LoginRequest;
use http::{HeaderMap, HeaderName, Method};

use crate::world::{
    Answer, Browser, CALLBACK, Tokens, World, authorize_url, encode, hidden, redemption, request,
};

/// A request of a browser whose user the host has just signed in.
async fn as_host(world: &World, browser: &mut Browser, who: Option<&str>, target: &str) -> Answer {
    let who = who.map(|who| (who, world.server.now()));
    as_host_since(world, browser, who, target).await
}

/// A request of a browser whose user the host has signed in at some time.
async fn as_host_since(
    world: &World,
    browser: &mut Browser,
    who: Option<(&str, Timestamp)>,
    target: &str,
) -> Answer {
    let cookies: Vec<String> =
        browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut request = request(Method::GET, target, &[("cookie", &cookies.join("; "))], "");
    if let Some((who, auth_time)) = who {
        let subject = Subject::parse(who).expect("subject");
        request.extensions_mut().insert(Authentication { subject, auth_time });
    }
    let answer = world.send(request).await;
    if let Some((pair, _)) = answer.header("set-cookie").split_once(';') {
        let (name, value) = pair.split_once('=').expect("a pair");
        browser.cookies.insert(name.into(), value.into());
    }
    answer
}

#[tokio::test]
async fn a_host_that_signs_in_itself_says_who_it_is() {
    // Requirements 6749-010, 9700-002; ATTACKS A18, B08: `return_to` is a path of ours and cannot be chosen.
    let world = World::with(|builder| builder.login_page("/login?theme=dark"));
    let client = world.confidential().await;
    let mut browser = Browser::default();
    let url = authorize_url(&client, &[]) + "&return_to=https%3A%2F%2Fevil.example";
    let first = as_host(&world, &mut browser, None, &url).await;
    let interaction = first.location().to_owned();
    let answer = as_host(&world, &mut browser, None, &interaction).await;
    assert_eq!(answer.status, 303);
    assert!(answer.location().starts_with("/login?theme=dark&return_to="), "{answer:?}");
    assert_eq!(answer.parameter("return_to"), interaction);
    assert!(interaction.starts_with("/interaction?interaction=gri_"));
    // The host sends the browser back and says who it is.
    let page = as_host(&world, &mut browser, Some("alice"), &interaction).await;
    assert!(page.body.contains("id=\"allow\"") && page.body.contains("alice"), "{page:?}");
    // In another browser it is nobody's, whoever the host says is there.
    as_host(&world, &mut Browser::default(), Some("alice"), &interaction).await.explained(400);
    // Somebody whose account does not stand is not signed in.
    world.disable("mallory");
    let answer = as_host(&world, &mut browser, Some("mallory"), &interaction).await;
    assert!(answer.location().starts_with("/login"), "{answer:?}");
    // What the host says counts, and not the session that is in the browser.
    let mut signed_in = Browser::of(&World::new(), "alice").await;
    let page = as_host(&world, &mut signed_in, Some("alice"), "/apps").await;
    assert!(page.body.contains("alice"), "{page:?}");
    // Signing out is the host's: there is no session here whose end could be promised.
    assert!(!page.body.contains("id=\"logout\""), "{page:?}");
}

#[tokio::test]
async fn a_host_is_told_when_somebody_who_is_there_has_to_prove_it_again() {
    // ATTACKS G07.
    let world = World::with(|builder| builder.login_page("/login"));
    let client = world.confidential().await;
    let mut browser = Browser::default();
    let earlier = world.server.now();
    world.pass(std::time::Duration::from_secs(60));
    let asked =
        [("prompt", Some("login")), ("login_hint", Some("alice")), ("ui_locales", Some("ko"))];
    let url = authorize_url(&client, &asked);
    let interaction = as_host(&world, &mut browser, None, &url).await.location().to_owned();
    let answer = as_host(&world, &mut browser, None, &interaction).await;
    assert_eq!(answer.parameter("login_hint"), "alice");
    assert_eq!(answer.parameter("ui_locales"), "ko");
    assert!(!answer.location().contains("reauthenticate"), "{answer:?}");
    let stale = Some(("alice", earlier));
    let answer = as_host_since(&world, &mut browser, stale, &interaction).await;
    assert_eq!(answer.parameter("reauthenticate"), "true");
    let page = as_host(&world, &mut browser, Some("alice"), &interaction).await;
    assert!(page.body.contains("id=\"allow\""), "{page:?}");
}

/// What the login page reads when it is shown with this query.
fn read(world: &World, query: &str) -> Option<LoginRequest> {
    let uri = format!("/login?{query}").parse().expect("a URI");
    world.server.login_request(&Method::GET, &HeaderMap::new(), &uri).expect("shown")
}

#[test]
fn a_login_form_is_posted_from_its_own_page() {
    // ATTACKS G03: nobody is signed in as somebody else by another site.
    for (page, own, other) in [
        ("/login", "https://as.example", "https://www.example"),
        ("https://www.example/login", "https://www.example", "https://as.example"),
    ] {
        let world = World::with(|builder| builder.login_page(page));
        let uri = "/login?return_to=/apps".parse().expect("a URI");
        let posted = |name: &'static str, value: &str| {
            let value = value.parse().expect("a header");
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
            world.server.login_request(&Method::POST, &headers, &uri).map(drop)
        };
        assert_eq!(posted("sec-fetch-site", "same-origin"), Ok(()));
        assert_eq!(posted("sec-fetch-site", "none"), Ok(()), "a reload");
        assert_eq!(posted("origin", own), Ok(()));
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "null"),
            ("origin", "https://evil.example"),
            ("origin", other),
            ("accept", "text/html"),
        ] {
            assert_eq!(posted(name, value), Err(Refusal::CrossSiteRequest), "{name}: {value}");
        }
        let shown = world.server.login_request(&Method::GET, &HeaderMap::new(), &uri);
        assert!(shown.is_ok(), "it is shown to whoever comes");
    }
}

#[tokio::test]
async fn a_login_page_sends_nobody_elsewhere() {
    // ATTACKS A18.
    for (page, issuer) in [
        ("/login", "https://as.example"),
        ("/login", "https://as.example/t1"),
        ("https://www.example/login?theme=dark", "https://as.example/t1"),
    ] {
        let build = |builder: Builder| builder.login_page(page);
        let world = World::at(issuer, Arc::new(MemoryStorage::new()), build);
        let client = world.confidential().await;
        let mut browser = Browser::default();
        let hint = [("login_hint", Some("a&b=c")), ("ui_locales", Some("ko"))];
        let path = world.server.issuer().path().to_owned();
        let url = format!("{path}{}", authorize_url(&client, &hint));
        let interaction = as_host(&world, &mut browser, None, &url).await.location().to_owned();
        let answer = as_host(&world, &mut browser, None, &interaction).await;
        let query = answer.location().split_once('?').expect("a query").1;
        let login = read(&world, query).expect("ours");
        let origin = if page.starts_with('/') { "" } else { "https://as.example" };
        assert_eq!(login.return_to(), format!("{origin}{interaction}"));
        assert_eq!(login.login_hint.as_deref(), Some("a&b=c"));
        assert_eq!((login.ui_locales.as_deref(), login.reauthenticate), (Some("ko"), false));
        // It survives the way through a form, and is not in a log.
        assert_eq!(read(&world, &login.query()).as_ref(), Some(&login));
        assert!(!format!("{login:?}").contains("gri_"), "{login:?}");
        // The page of connected apps.
        let answer = as_host(&world, &mut browser, None, &format!("{path}/apps")).await;
        let query = answer.location().split_once('?').expect("a query").1;
        let login_for_apps = read(&world, query).expect("ours");
        assert_eq!(login_for_apps.return_to(), format!("{origin}{path}/apps"));
        // Whatever is sent, the address is one of ours.
        let handle = interaction.split_once('=').expect("a handle").1;
        for evil in [
            "//evil.example",
            "/\\evil.example",
            "https:evil.example",
            "///evil.example",
            "/\t/evil.example",
            "https://as.example@evil.example/",
            "https://evil.example/apps",
            "//evil.example/apps",
            "javascript:alert(1)",
            "/apps/../evil",
            "/appsx",
            "",
        ] {
            let query = encode(&[("return_to", evil)]);
            assert_eq!(read(&world, &query), None, "{evil}");
            let sent = format!("{evil}?interaction={handle}&x=//evil.example");
            let query = encode(&[("return_to", &sent)]);
            let login = read(&world, &query).expect("a handle of ours");
            assert_eq!(login.return_to(), format!("{origin}{interaction}"), "{evil}");
        }
        for none in ["", "a=b", "return_to=%ff", "return_to=/apps&return_to=/apps"] {
            assert_eq!(read(&world, none), None, "{none}");
        }
    }
}

#[tokio::test]
async fn an_issuer_with_a_path_has_everything_below_it() {
    // Requirements 8414-008, 8414-009, 8414-012, 9207-002, 9207-003, 9700-025; ATTACKS K10, K15.
    for issuer in ["https://as.example/t1", "https://as.example/t1/"] {
        let world = World::at(issuer, Arc::new(MemoryStorage::new()), |builder| builder);
        let metadata = world.get("/.well-known/oauth-authorization-server/t1").await;
        assert_eq!(metadata.status, 200, "{metadata:?}");
        let metadata = metadata.json();
        assert_eq!(metadata["issuer"], issuer);
        assert_eq!(metadata["token_endpoint"], "https://as.example/t1/token");
        for path in [
            "/.well-known/oauth-authorization-server",
            "/t1/.well-known/oauth-authorization-server",
            "/token",
            "/authorize",
            "/t2/token",
            "/t1token",
            "/t1",
        ] {
            assert_eq!(world.get(path).await.status, 404, "{path}");
        }
        let client = world.public().await;
        let mut browser = Browser::default();
        let url = format!("/t1{}", authorize_url(&client, &[]));
        let answer = browser.walk(&world, &url).await;
        assert!(answer.location().starts_with(CALLBACK), "{answer:?}");
        assert_eq!(answer.parameter("iss"), issuer);
        let code = answer.parameter("code");
        let id = [("client_id", client.client.id.as_str())];
        let form = [&redemption(&code)[..], &id].concat();
        Tokens::of(&world.post("/t1/token", &[], &form).await);
        let page = browser.get(&world, "/t1/apps").await;
        assert!(page.body.contains("id=\"logout\""), "{page:?}");
        assert!(world.server.paths().contains(&"/t1/token".to_owned()));
    }
}

#[tokio::test]
async fn one_server_knows_nothing_of_anothers() {
    // Requirements 9700-025, 9207-001; ATTACKS K10, B10: code, tokens, session and interaction of one issuer at
    // the next.
    let one = World::new();
    let two = World::at("https://other.example", Arc::new(MemoryStorage::new()), |builder| builder);
    let chosen = |name: &str| grantor::protocol::register::Registration {
        client_id: Some(grantor::model::ClientId::parse("same-name").expect("id")),
        ..grantor::protocol::register::Registration::public(
            name,
            CALLBACK,
            crate::world::scope("read write"),
        )
    };
    let client = one.register(&chosen("One")).await;
    let twin = two.register(&chosen("Two")).await;
    let mut browser = Browser::of(&one, "alice").await;
    let answer = browser.walk(&one, &authorize_url(&client, &[])).await;
    assert_eq!(answer.parameter("iss"), "https://as.example");
    let code = answer.parameter("code");
    let tokens = one.tokens(&client).await;
    two.redeem(&twin, &code).await.refused(400, "invalid_grant");
    two.refresh(&twin, &tokens.refresh).await.refused(400, "invalid_grant");
    assert!(!two.is_active(&tokens.access).await);
    let page = browser.clone().get(&two, "/apps").await;
    assert!(page.body.contains("id=\"password\""));
    assert_eq!(one.redeem(&client, &code).await.status, 200);
}

#[tokio::test]
async fn what_a_proxy_might_say_changes_nothing() {
    // Requirements 8414-012, 9700-033; ATTACKS E17, I10, K16: Host and forwarding headers of anybody's making.
    let world = World::new();
    let client = world.confidential().await;
    let spoofed = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "for=203.0.113.9;host=evil.example;proto=http"),
        ("x-original-url", "/evil"),
        ("x-rewrite-url", "/evil"),
        ("x-http-method-override", "DELETE"),
        ("x-client-cert", "evil"),
    ];
    let metadata = "/.well-known/oauth-authorization-server";
    for target in [
        metadata,
        "/apps",
        "/style.css",
        "/nothing",
        &authorize_url(&client, &[("prompt", Some("none"))]),
    ] {
        let plain = world.get(target).await;
        let answer = world.send(request(Method::GET, target, &spoofed, "")).await;
        let absolute = format!("https://evil.example{target}");
        let absolute = world.send(request(Method::GET, &absolute, &[], "")).await;
        for answer in [answer, absolute] {
            assert_eq!(answer.status, plain.status);
            assert!(!answer.body.contains("evil"), "{answer:?}");
            assert!(!answer.location().contains("evil"), "{answer:?}");
            if target != "/apps" {
                assert_eq!((&answer.body, answer.location()), (&plain.body, plain.location()));
            }
        }
    }
    let code = world.code(&client).await;
    let header = crate::world::basic(
        &client.client.id,
        client.client_secret.as_ref().expect("secret").expose(),
    );
    let headers = [&spoofed[..], &[("authorization", header.as_str())]].concat();
    let form = encode(&redemption(&code));
    let answer = world.send(request(Method::POST, "/token", &headers, &form)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn over_plain_http_on_loopback_the_cookies_say_so() {
    // Requirement HTTP-001, 6749-013: for development only; the rules of the house check the attributes.
    let world =
        World::at("http://127.0.0.1:8400", Arc::new(MemoryStorage::new()), |builder| builder);
    let client = world.public().await;
    let mut browser = Browser::default();
    let page = browser.reach_consent(&world, &authorize_url(&client, &[])).await;
    assert!(browser.cookies.contains_key("grantor-session-8400"), "one port is not another");
    assert_eq!(hidden(&page).len(), 2);
    let answer = browser.decide(&world, &page, &["read"], "allow").await;
    assert_eq!(answer.parameter("iss"), "http://127.0.0.1:8400");
    for issuer in
        ["http://as.example", "http://10.0.0.1", "https://as.example?x", "https://as.example#x"]
    {
        grantor::model::Issuer::parse(issuer).expect_err("6749-013, 6749-031, 7662-001, 8414-001");
    }
}
