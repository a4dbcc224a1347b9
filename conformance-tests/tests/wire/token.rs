//! The token endpoint (RFC 6749 section 3.2, 4.1.3, 4.4, 5).

use std::time::Duration;

use http::Method;

use crate::world::{Browser, SERVICE, Tokens, World, authorize_url, encode, redemption, request};

#[tokio::test]
async fn the_whole_story() {
    // Requirements 6749-005, 6749-057, 6749-058, 6749-059, 6750-012, 6750-013, 8252-001, 9700-004, 9700-034,
    // MCP-001.
    let world = World::new();
    for client in [world.confidential().await, world.public().await] {
        let code = world.code(&client).await;
        let answer = world.redeem(&client, &code).await;
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("pragma"), "no-cache");
        let body = answer.json();
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["expires_in"], 3600);
        assert_eq!(body["scope"], "read write");
        let tokens = Tokens::of(&answer);
        assert!(world.is_active(&tokens.access).await);
        let renewed = Tokens::of(&world.refresh(&client, &tokens.refresh).await);
        assert!(world.is_active(&renewed.access).await);
        let answer = world.call("/revoke", &client, &[("token", &renewed.refresh)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!world.is_active(&tokens.access).await);
        assert!(!world.is_active(&renewed.access).await);
    }
}

#[tokio::test]
async fn a_code_works_once_and_a_replay_by_its_client_ends_everything() {
    // Requirements 6749-042, 6749-043, 6749-076, 9700-023, OA21-013; ATTACKS B01, B03.
    let world = World::new();
    for client in [world.confidential().await, world.public().await] {
        let code = world.code(&client).await;
        let first = Tokens::of(&world.redeem(&client, &code).await);
        let second = Tokens::of(&world.refresh(&client, &first.refresh).await);
        // A new process knows it as well.
        let world = world.restarted();
        world.redeem(&client, &code).await.refused(400, "invalid_grant");
        for tokens in [&first, &second] {
            assert!(!world.is_active(&tokens.access).await);
            world.refresh(&client, &tokens.refresh).await.refused(400, "invalid_grant");
        }
    }
}

#[tokio::test]
async fn a_replay_by_anybody_else_ends_nothing() {
    // Requirements OA21-020, 9700-026; ATTACKS B04: wrong verifier, wrong address, wrong client, wrong secret.
    let world = World::new();
    let client = world.confidential().await;
    let other = world.confidential().await;
    let code = world.code(&client).await;
    let tokens = Tokens::of(&world.redeem(&client, &code).await);
    let wrong = "x".repeat(43);
    for (name, value) in [
        ("code_verifier", wrong.as_str()),
        ("code_verifier", ""),
        ("code_verifier", "short"),
        ("redirect_uri", "https://client.example/cb2"),
    ] {
        let mut form = redemption(&code).to_vec();
        form.retain(|(known, _)| *known != name);
        form.push((name, value));
        world.call("/token", &client, &form).await.refused(400, "invalid_grant");
    }
    world.redeem(&other, &code).await.refused(400, "invalid_grant");
    let stranger = [("client_id", client.client.id.as_str())];
    let form = [&redemption(&code)[..], &stranger].concat();
    world.post("/token", &[], &form).await.refused(401, "invalid_client");
    // The public half of the code alone opens nothing.
    let (half, _) = code.split_at(code.len() / 2);
    for forged in [half.to_owned(), format!("{half}{}", "A".repeat(code.len() - half.len()))] {
        world.redeem(&client, &forged).await.refused(400, "invalid_grant");
    }
    assert!(world.is_active(&tokens.access).await);
    assert_eq!(world.refresh(&client, &tokens.refresh).await.status, 200);
}

#[tokio::test]
async fn a_code_is_short_lived_and_its_clients_own() {
    // Requirements 6749-036, 6749-041, 6749-044, 6749-050, 6749-051, 6749-076; ATTACKS B01, B06, B10.
    let world = World::new();
    for (client, other) in [
        (world.confidential().await, world.confidential().await),
        (world.public().await, world.public().await),
    ] {
        let code = world.code(&client).await;
        let refused = world.redeem(&other, &code).await;
        refused.refused(400, "invalid_grant");
        let mut bodies = vec![refused.body];
        for at in 0..code.len() {
            let mut bytes = code.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let mutated = String::from_utf8(bytes).expect("ASCII");
            let refused = world.redeem(&client, &mutated).await;
            refused.refused(400, "invalid_grant");
            bodies.push(refused.body);
        }
        for odd in
            [format!("{code}A"), code[..code.len() - 1].to_owned(), format!(" {code}"), "x".into()]
        {
            let refused = world.redeem(&client, &odd).await;
            refused.refused(400, "invalid_grant");
            bodies.push(refused.body);
        }
        assert_eq!(Tokens::of(&world.redeem(&client, &code).await).access[..4], *"gra_");
        let late = world.code(&client).await;
        world.pass(Duration::from_secs(60));
        let refused = world.redeem(&client, &late).await;
        refused.refused(400, "invalid_grant");
        bodies.push(refused.body);
        bodies.dedup();
        assert_eq!(bodies.len(), 1, "nothing says which check failed: {bodies:?}");
    }
}

#[tokio::test]
async fn what_a_legitimate_client_can_put_right_consumes_nothing() {
    // Requirements 6749-033, 6749-034, 6749-056, 6749-061; ATTACKS B07, J02, J04.
    let world = World::new();
    let client = world.confidential().await;
    let code = world.code(&client).await;
    let long = "x".repeat(8000);
    let without = |name: &str| {
        let mut form = redemption(&code).to_vec();
        form.retain(|(known, _)| *known != name);
        form
    };
    let with = |name: &'static str, value| {
        let mut form = without(name);
        form.push((name, value));
        form
    };
    for (form, error) in [
        (without("grant_type"), "invalid_request"),
        (with("grant_type", ""), "invalid_request"),
        (with("grant_type", "password"), "unsupported_grant_type"),
        (with("grant_type", "implicit"), "unsupported_grant_type"),
        (with("grant_type", "urn:x:y"), "unsupported_grant_type"),
        (with("grant_type", "AUTHORIZATION_CODE"), "unsupported_grant_type"),
        (with("grant_type", "authorization_code "), "unsupported_grant_type"),
        (
            with("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            "unsupported_grant_type",
        ),
        (with("grant_type", &long), "unsupported_grant_type"),
        (with("grant_type", "refresh_token"), "invalid_request"),
        (without("code"), "invalid_request"),
        (with("code", ""), "invalid_request"),
        (without("code_verifier"), "invalid_grant"),
        (with("code_verifier", ""), "invalid_grant"),
    ] {
        let answer = world.call("/token", &client, &form).await;
        answer.refused(400, error);
        assert!(answer.body.len() < 300, "nothing is echoed: {answer:?}");
    }
    // Empty and unknown parameters change nothing.
    let form = [
        &redemption(&code)[..],
        &[("scope", ""), ("resource", ""), ("foo", "bar"), ("foo", "baz")],
    ];
    assert_eq!(world.call("/token", &client, &form.concat()).await.status, 200);
}

#[tokio::test]
async fn the_password_grant_does_not_exist() {
    // Requirements 6749-052, 9700-012; ATTACKS K13.
    let world = World::new();
    let client = world.confidential().await;
    let form =
        [("grant_type", "password"), ("username", "alice"), ("password", crate::world::PASSWORD)];
    world.call("/token", &client, &form).await.refused(400, "unsupported_grant_type");
    let metadata = world.get("/.well-known/oauth-authorization-server").await;
    assert!(!metadata.body.contains("password"));
}

#[tokio::test]
async fn a_service_gets_a_token_for_itself_and_no_refresh_token() {
    // Requirements 6749-053, 6749-054, 6749-055, 9700-015, 9700-039, OA21-015.
    let world = World::new();
    let service = world.service().await;
    let answer = world.call("/token", &service, &SERVICE).await;
    let tokens = Tokens::of(&answer);
    assert_eq!(tokens.refresh, "");
    assert!(world.is_active(&tokens.access).await);
    let resource = world.resource_server().await;
    let about = world.call("/introspect", &resource, &[("token", &tokens.access)]).await.json();
    assert_eq!(about["client_id"], service.client.id.as_str());
    assert!(about.get("sub").is_none() && about.get("username").is_none(), "{about}");
}

#[tokio::test]
async fn the_scope_that_was_granted_is_said() {
    // Requirements 6749-037, 6749-039, 9700-011: less than was asked for, and never more.
    let world = World::new();
    let client = world.confidential().await;
    let mut browser = Browser::default();
    let url = authorize_url(&client, &[("scope", Some("write read"))]);
    let page = browser.reach_consent(&world, &url).await;
    let answer = browser.decide(&world, &page, &["read", "admin"], "allow").await;
    let answer = world.redeem(&client, &answer.parameter("code")).await;
    assert_eq!(answer.json()["scope"], "read");
    let resource = world.resource_server().await;
    let token = Tokens::of(&answer).access;
    let about = world.call("/introspect", &resource, &[("token", &token)]).await.json();
    assert_eq!(about["scope"], "read");
}

#[tokio::test]
async fn only_post_asks_for_tokens() {
    // Requirements 6749-032, 7009-011, 7662-002; ATTACKS J02: the code survives, and a callback calls nobody.
    let world = World::new();
    let client = world.public().await;
    let code = world.code(&client).await;
    let id = [("client_id", client.client.id.as_str())];
    let form = encode(&[&redemption(&code)[..], &id].concat());
    for (endpoint, allow) in
        [("/token", "POST, OPTIONS"), ("/revoke", "POST, OPTIONS"), ("/introspect", "POST")]
    {
        for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "post", "X"] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let target = format!("{endpoint}?callback=alert&{form}");
            let headers = [("content-type", "application/x-www-form-urlencoded")];
            let answer = world.send(request(method, &target, &headers, &form)).await;
            assert_eq!((answer.status, answer.header("allow")), (405, allow), "{answer:?}");
        }
    }
    assert_eq!(world.redeem(&client, &code).await.status, 200);
}

#[tokio::test]
async fn scripts_may_read_what_they_asked_for_without_cookies() {
    // Requirements 9700-018, 7009-011; ATTACKS J11.
    let world = World::new();
    let client = world.public().await;
    let tokens = world.tokens(&client).await;
    let id = client.client.id.as_str();
    for (endpoint, form) in [
        (
            "/token",
            vec![
                ("grant_type", "refresh_token"),
                ("refresh_token", &tokens.refresh),
                ("client_id", id),
            ],
        ),
        ("/revoke", vec![("token", tokens.access.as_str()), ("client_id", id)]),
    ] {
        for origin in ["https://client.example", "null", "https://evil.example"] {
            let preflight = [("origin", origin), ("access-control-request-method", "POST")];
            let answer = world.send(request(Method::OPTIONS, endpoint, &preflight, "")).await;
            assert_eq!(answer.status, 204);
            assert_eq!(answer.header("access-control-allow-origin"), "*");
            let answer = world.post(endpoint, &[("origin", origin)], &form).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), "*");
            assert_eq!(answer.header("set-cookie"), "");
        }
    }
}

#[tokio::test]
async fn tokens_are_never_twice_the_same_and_cannot_be_made_up() {
    // Requirements 6749-073, 6749-079, 6750-010, 9700-037; ATTACKS F11, F12: 256 random bits behind each
    // prefix, and every byte counts.
    let world = World::new();
    let service = world.service().await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let token = Tokens::of(&world.call("/token", &service, &SERVICE).await).access;
        assert!(token.len() >= 4 + 43 + 16, "{token}");
        assert!(seen.insert(token));
    }
    let client = world.public().await;
    let tokens = world.tokens(&client).await;
    for at in 0..tokens.access.len() {
        let mut bytes = tokens.access.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(!world.is_active(&String::from_utf8(bytes).expect("ASCII")).await, "byte {at}");
    }
    assert!(world.is_active(&tokens.access).await);
}

#[tokio::test]
async fn a_handle_of_one_kind_is_no_other() {
    // ATTACKS D07, F06: code, access token, refresh token, session and interaction, each in the place of another.
    let world = World::new();
    let client = world.confidential().await;
    let mut browser = Browser::default();
    let page = browser.reach_consent(&world, &authorize_url(&client, &[])).await;
    let interaction = crate::world::hidden(&page)[0].1.clone();
    let code = world.code(&client).await;
    let tokens = world.tokens(&client).await;
    let session = browser.cookies["__Host-grantor-session"].clone();
    for other in [&interaction, &session, &tokens.access, &tokens.refresh] {
        world.redeem(&client, other).await.refused(400, "invalid_grant");
    }
    for other in [&interaction, &session, &tokens.access, &code] {
        world.refresh(&client, other).await.refused(400, "invalid_grant");
    }
    for other in [&interaction, &session, &code] {
        assert!(!world.is_active(other).await);
        assert_eq!(world.call("/revoke", &client, &[("token", other)]).await.status, 200);
    }
    for other in [&session, &tokens.access, &tokens.refresh, &code] {
        let answer = browser.get(&world, &format!("/interaction?interaction={other}")).await;
        answer.explained(404);
    }
    assert_eq!(world.redeem(&client, &code).await.status, 200);
    assert_eq!(world.refresh(&client, &tokens.refresh).await.status, 200);
}

#[tokio::test]
async fn clock_steps_bring_nothing_back() {
    // Requirement HTTP-010; ATTACKS J15.
    let world = World::new();
    let client = world.confidential().await;
    let used = world.code(&client).await;
    let tokens = Tokens::of(&world.redeem(&client, &used).await);
    let revoked = world.tokens(&client).await;
    world.call("/revoke", &client, &[("token", &revoked.refresh)]).await;
    world.step_back(Duration::from_secs(86_400));
    assert!(!world.is_active(&revoked.access).await);
    world.refresh(&client, &revoked.refresh).await.refused(400, "invalid_grant");
    world.redeem(&client, &used).await.refused(400, "invalid_grant");
    assert!(!world.is_active(&tokens.access).await, "the replay was recognised");
    // Forward: everything expires, nothing wraps.
    let tokens = world.tokens(&client).await;
    let code = world.code(&client).await;
    world.pass(Duration::from_secs(86_400 * 365 * 50));
    assert!(!world.is_active(&tokens.access).await);
    world.refresh(&client, &tokens.refresh).await.refused(400, "invalid_grant");
    world.redeem(&client, &code).await.refused(400, "invalid_grant");
}
