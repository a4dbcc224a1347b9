//! A protected resource behind this server (RFC 6750): the library's own side of it.

use std::time::Duration;

use grantor::model::ScopeSet;
use grantor::resource::Guard;
use http::{HeaderMap, HeaderValue, Uri, header};

use crate::world::{SERVICE, Tokens, World, scope};

/// `Ok`: let through. `Err`: status and challenge.
async fn knock(
    world: &World,
    values: &[&str],
    uri: &str,
    needed: &ScopeSet,
) -> Result<(), (u16, String)> {
    let headers: HeaderMap = values
        .iter()
        .map(|value| {
            (header::AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).expect("a header"))
        })
        .collect();
    let uri: Uri = uri.parse().expect("a URI");
    let refused = match Guard::from(&world.server).check(&headers, &uri, needed).await {
        Ok(_) => return Ok(()),
        Err(refused) => refused,
    };
    let challenge = refused.headers().get(header::WWW_AUTHENTICATE).expect("a challenge");
    assert_eq!(refused.headers()[header::CACHE_CONTROL], "no-store");
    assert!(refused.body().is_empty());
    Err((refused.status().as_u16(), challenge.to_str().expect("ASCII").to_owned()))
}

/// The attributes of a challenge, read as RFC 9110 section 11.2 writes them.
fn attributes(challenge: &str) -> Vec<(String, String)> {
    let rest = challenge.strip_prefix("Bearer ").expect("Bearer");
    let mut found = Vec::new();
    for part in rest.split("\", ") {
        let (name, value) = part.split_once("=\"").expect("an attribute");
        let value = value.trim_end_matches('"');
        assert!(
            value.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\'),
            "{challenge}"
        );
        assert!(found.iter().all(|(known, _)| known != name), "twice: {challenge}");
        found.push((name.to_owned(), value.to_owned()));
    }
    found
}

fn error(challenge: &str) -> Option<String> {
    attributes(challenge).into_iter().find(|(name, _)| name == "error").map(|(_, value)| value)
}

#[tokio::test]
async fn a_token_opens_what_it_is_for_and_nothing_else_does() {
    // Requirements 6749-068, 6750-001, 6750-002, 6750-004, 6750-005, 6750-006, 6750-007, 6750-008,
    // 6750-009, OA21-019; ATTACKS D07, F06, F10.
    let world = World::new();
    let service = world.service().await;
    let form = [("grant_type", "client_credentials"), ("scope", "read")];
    let token = Tokens::of(&world.call("/token", &service, &form).await).access;
    let (read, write) = (scope("read"), scope("write"));
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {token}");
        assert_eq!(knock(&world, &[&value], "/", &read).await, Ok(()));
    }
    let good = format!("Bearer {token}");
    // In the query, in a body that nobody reads, under another name: not sent.
    let query = format!("/?access_token={token}");
    for (values, uri) in [
        (vec![], "/"),
        (vec![], query.as_str()),
        (vec!["Basic abc"], query.as_str()),
        (vec!["Token abc"], "/"),
    ] {
        let (status, challenge) = knock(&world, &values, uri, &read).await.expect_err("no token");
        assert_eq!((status, error(&challenge)), (401, None), "{challenge}");
        assert!(attributes(&challenge).contains(&("realm".into(), crate::world::ISSUER.into())));
        assert!(attributes(&challenge).contains(&("scope".into(), "read".into())));
    }
    let wide = [scope("read"), scope("write")];
    for needed in [&write, &wide[0].union(&wide[1])] {
        let (status, challenge) =
            knock(&world, &[&good], "/", needed).await.expect_err("too little");
        assert_eq!((status, error(&challenge).as_deref()), (403, Some("insufficient_scope")));
        assert!(attributes(&challenge).contains(&("scope".into(), needed.to_string())));
    }
    for values in [
        vec![good.as_str(), good.as_str()],
        vec!["Bearer"],
        vec!["Bearer "],
        vec!["Bearer a b"],
        vec!["Bearer a\"b\\c"],
        vec!["Bearer \u{e9}<script>"],
    ] {
        let (status, challenge) = knock(&world, &values, "/", &read).await.expect_err("malformed");
        assert_eq!(
            (status, error(&challenge).as_deref()),
            (400, Some("invalid_request")),
            "{values:?}"
        );
        assert!(!challenge.contains("<script"));
    }
    let client = world.confidential().await;
    let code = world.code(&client).await;
    let tokens = world.tokens(&client).await;
    let mutated = format!("{token}A");
    for wrong in ["x", "gra_x", &mutated, &code, &tokens.refresh] {
        let value = format!("Bearer {wrong}");
        let (status, challenge) = knock(&world, &[&value], "/", &read).await.expect_err("wrong");
        assert_eq!((status, error(&challenge).as_deref()), (401, Some("invalid_token")));
        assert!(!challenge.contains(wrong) || wrong == "x", "{challenge}");
    }
}

#[tokio::test]
async fn what_is_dead_opens_nothing_and_says_not_why() {
    // Requirements 6749-068, 6750-008, 7662-008; ATTACKS D06, F03: expired, revoked, disabled, removed.
    let mut challenges = Vec::new();
    for event in 0..4 {
        let world = World::new();
        let client = world.confidential().await;
        let tokens = world.tokens(&client).await;
        let value = format!("Bearer {}", tokens.access);
        assert_eq!(knock(&world, &[&value], "/", &scope("read")).await, Ok(()));
        match event {
            0 => world.pass(Duration::from_secs(3600)),
            1 => world.disable("alice"),
            2 => world.server.remove_client(&client.client.id).await.expect("removed"),
            _ => {
                world.call("/revoke", &client, &[("token", &tokens.refresh)]).await;
            }
        }
        let refused = knock(&world, &[&value], "/", &scope("read")).await.expect_err("dead");
        assert_eq!(refused.0, 401);
        challenges.push(refused);
    }
    challenges.dedup();
    assert_eq!(challenges.len(), 1, "{challenges:?}");
}

#[tokio::test]
async fn the_query_is_looked_at_only_where_the_policy_says_so() {
    // Requirements 6750-001, 6750-004, OA21-019.
    let world = World::with_policy(|policy| policy.token_in_query = true);
    let service = world.service().await;
    let token = Tokens::of(&world.call("/token", &service, &SERVICE).await).access;
    let uri = format!("/?access_token={token}");
    assert_eq!(knock(&world, &[], &uri, &scope("read")).await, Ok(()));
    let value = format!("Bearer {token}");
    for uri in [uri.clone(), format!("{uri}&access_token={token}")] {
        let (status, _) =
            knock(&world, &[&value], &uri, &scope("read")).await.expect_err("two ways");
        assert_eq!(status, 400);
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_no_dead_token() {
    // Requirement HTTP-009; ATTACKS K04: 503, and no challenge that would make a client throw its token away.
    let store = crate::store::TroubledStorage::new();
    let shared: std::sync::Arc<dyn grantor::storage::Storage> = std::sync::Arc::clone(&store) as _;
    let world = World::at(crate::world::ISSUER, shared, |builder| builder);
    let service = world.service().await;
    let token = Tokens::of(&world.call("/token", &service, &SERVICE).await).access;
    let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header");
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    for at in 0..2 {
        store.arm(crate::store::Trouble::once(at, false));
        let guard = Guard::from(&world.server);
        let refused = guard.check(&headers, &Uri::from_static("/"), &scope("read")).await;
        store.heal();
        let refused = refused.expect_err("away");
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
        assert!(!refused.headers().contains_key(header::WWW_AUTHENTICATE));
    }
}
