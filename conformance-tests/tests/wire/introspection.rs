//! Introspection (RFC 7662).

use std::time::Duration;

use grantor::model::ScopeDefinition;
use grantor::resource::Guard;
use http::{HeaderMap, Method, Uri, header};
use serde_json::Value;

use crate::world::{Browser, SERVICE, Tokens, World, authorize_url, request};

const INACTIVE: &str = "{\"active\":false}";

#[tokio::test]
async fn who_asks_decides_what_there_is_to_know() {
    // Requirements 7662-004, 7662-005, 7662-006, 7662-009, 7662-011; ATTACKS F01, F02: a resource server, the
    // client itself, another client; access and refresh token; every hint.
    let world = World::new();
    let owner = world.confidential().await;
    let other = world.confidential().await;
    let resource = world.resource_server().await;
    let tokens = world.tokens(&owner).await;
    for hint in ["", "access_token", "refresh_token", "unknown"] {
        for (who, token, seen, names) in [
            (&resource, &tokens.access, true, true),
            (&resource, &tokens.refresh, false, false),
            (&owner, &tokens.access, true, false),
            (&owner, &tokens.refresh, true, false),
            (&other, &tokens.access, false, false),
            (&other, &tokens.refresh, false, false),
        ] {
            let form = [("token", token.as_str()), ("token_type_hint", hint)];
            let answer = world.call("/introspect", who, &form).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("access-control-allow-origin"), "");
            if !seen {
                assert_eq!(answer.body, INACTIVE);
                continue;
            }
            let body = answer.json();
            assert_eq!(body["active"], true);
            assert_eq!(body["client_id"], owner.client.id.as_str());
            assert_eq!(body["scope"], "read write");
            assert_eq!(body["iss"], crate::world::ISSUER);
            assert_eq!(body["sub"], "alice");
            assert_eq!(body.get("username").is_some(), names, "{body}");
            assert_eq!(body.get("token_type").is_some(), token == &tokens.access);
            assert!(body["exp"].is_i64() && body["iat"].is_i64());
        }
    }
}

#[tokio::test]
async fn a_resource_server_is_shown_the_claims_that_the_scope_names() {
    // Requirement 7662-011; RFC 7662 section 2.2: members of our own.
    let write = ScopeDefinition::new("Change your calendar").claims(["email", "nickname"]);
    let world = World::with(|builder| builder.scope_definition("write", write));
    let client = world.confidential().await;
    let resource = world.resource_server().await;
    let mut browser = Browser::default();
    for (scope, shown) in [("read", None), ("read write", Some("alice@users.example"))] {
        let code = browser.walk(&world, &authorize_url(&client, &[("scope", Some(scope))])).await;
        let tokens = Tokens::of(&world.redeem(&client, &code.parameter("code")).await);
        for (who, shown) in [(&resource, shown), (&client, None)] {
            let answer = world.call("/introspect", who, &[("token", &tokens.access)]).await;
            let body = answer.json();
            assert_eq!(body["active"], true);
            assert_eq!(body.get("email").and_then(Value::as_str), shown, "{body}");
            assert!(body.get("nickname").is_none(), "{body}");
        }
        let headers = HeaderMap::from_iter([(
            header::AUTHORIZATION,
            format!("Bearer {}", tokens.access).parse().expect("a header"),
        )]);
        let guard = Guard::from(&world.server);
        let token = guard.check_for::<()>(&headers, &Uri::from_static("/")).await.expect("active");
        assert_eq!(token.claims.get("email").and_then(Value::as_str), shown);
    }
}

#[tokio::test]
async fn what_is_not_active_has_no_story() {
    // Requirements 7662-005, 7662-006, 7662-007, 7662-008: unknown, garbage, expired, revoked.
    let world = World::new();
    let client = world.confidential().await;
    let resource = world.resource_server().await;
    let live = world.tokens(&client).await;
    let revoked = world.tokens(&client).await;
    world.call("/revoke", &client, &[("token", &revoked.access)]).await;
    let full_width: String = live.access.replace('_', "\u{ff3f}");
    for token in [
        "x",
        "grt_",
        "\u{0}",
        "\u{e9}",
        "{\"active\":true}",
        &full_width,
        &revoked.access,
        &"x".repeat(8000),
    ] {
        let answer = world.call("/introspect", &resource, &[("token", token)]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, INACTIVE), "{token:?}");
    }
    assert!(world.is_active(&live.access).await);
    world.pass(Duration::from_secs(3599));
    assert!(world.is_active(&live.access).await);
    world.pass(Duration::from_secs(1));
    assert!(!world.is_active(&live.access).await);
    world.pass(Duration::from_secs(86_400 * 14));
    let answer = world.call("/introspect", &client, &[("token", &live.refresh)]).await;
    assert_eq!(answer.body, INACTIVE);
    for form in [vec![], vec![("token", "")]] {
        world.call("/introspect", &resource, &form).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn nobody_asks_without_a_secret_and_no_script_of_another_origin() {
    // Requirements 7662-002, 7662-003; ATTACKS F01, J11.
    let world = World::new();
    let public = world.public().await;
    let tokens = world.tokens(&public).await;
    let bearer = format!("Bearer {}", tokens.access);
    let form = [("token", tokens.access.as_str())];
    world.post("/introspect", &[], &form).await.refused(401, "invalid_client");
    world
        .post("/introspect", &[("authorization", &bearer)], &form)
        .await
        .refused(401, "invalid_client");
    world.call("/introspect", &public, &form).await.refused(401, "invalid_client");
    let headers = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    let answer = world.send(request(Method::OPTIONS, "/introspect", &headers, "")).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_service_is_no_user() {
    // Requirements 9700-015, 9700-039.
    let world = World::new();
    let service = world.service().await;
    let token = Tokens::of(&world.call("/token", &service, &SERVICE).await).access;
    let body = world.call("/introspect", &service, &[("token", &token)]).await.json();
    assert_eq!(body["active"], true);
    assert!(body.get("sub").is_none());
}
