//! Proof Key for Code Exchange (RFC 7636, RFC 9700 section 2.1.1).

use grantor::protocol::register::Registered;

use crate::world::{Answer, Browser, CALLBACK, CHALLENGE, Tokens, VERIFIER, World, authorize_url};

const WITHOUT: [(&str, Option<&str>); 2] =
    [("code_challenge", None), ("code_challenge_method", None)];

async fn code(world: &World, client: &Registered, change: &[(&str, Option<&str>)]) -> Answer {
    Browser::default().walk(world, &authorize_url(client, change)).await
}

async fn redeem(world: &World, client: &Registered, code: &str, verifier: Option<&str>) -> Answer {
    let mut form =
        vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
    form.extend(verifier.map(|verifier| ("code_verifier", verifier)));
    world.call("/token", client, &form).await
}

#[tokio::test]
async fn challenge_and_verifier_come_together_or_not_at_all() {
    // Requirements 7636-004, 7636-009, 9700-004, 9700-005, 9700-006, 9700-026, 9700-028, OA21-010, OA21-012,
    // OA21-014; ATTACKS C01, C02: challenge sent or not, verifier sent or not, public, confidential, and
    // confidential with leave to do without.
    let world = World::new();
    let (public, confidential) = (world.public().await, world.confidential().await);
    let old = world.without_pkce().await;
    for client in [&public, &confidential] {
        code(&world, client, &WITHOUT).await.told("invalid_request");
    }
    for client in [&public, &confidential, &old] {
        for wrong in [None, Some(""), Some(CHALLENGE)] {
            let code = code(&world, client, &[]).await.parameter("code");
            redeem(&world, client, &code, wrong).await.refused(400, "invalid_grant");
            assert_eq!(redeem(&world, client, &code, Some(VERIFIER)).await.status, 200);
        }
    }
    let plain = code(&world, &old, &WITHOUT).await.parameter("code");
    redeem(&world, &old, &plain, Some(VERIFIER)).await.refused(400, "invalid_grant");
    assert_eq!(redeem(&world, &old, &plain, None).await.status, 200);
    // A challenge sent empty is none: it does not count as PKCE in use.
    let empty = [("code_challenge", Some("")), ("code_challenge_method", None)];
    let plain = code(&world, &old, &empty).await.parameter("code");
    redeem(&world, &old, &plain, Some(VERIFIER)).await.refused(400, "invalid_grant");
    assert_eq!(redeem(&world, &old, &plain, Some("")).await.status, 200);
    // A method without a challenge is a mistake, not a way to leave it out.
    let half = [("code_challenge", None)];
    code(&world, &old, &half).await.told("invalid_request");
}

#[tokio::test]
async fn the_form_of_a_verifier_is_enforced() {
    // Requirement 7636-001; ATTACKS C05: and a wrong form does not consume the code.
    let world = World::new();
    let client = world.public().await;
    let code = code(&world, &client, &[]).await.parameter("code");
    for bad in [
        &VERIFIER[..42],
        &"a".repeat(129),
        &format!("{VERIFIER}="),
        &format!("{VERIFIER}+"),
        &format!("{VERIFIER} "),
        &format!("{VERIFIER}\u{e9}"),
        &format!("{VERIFIER}\0"),
        "a",
    ] {
        redeem(&world, &client, &code, Some(bad)).await.refused(400, "invalid_grant");
    }
    assert_eq!(redeem(&world, &client, &code, Some(VERIFIER)).await.status, 200);
}

#[tokio::test]
async fn a_verifier_cannot_be_guessed_online() {
    // Requirements 7636-009, 9700-026; ATTACKS B07: five wrong ones, and the code is gone.
    let world = World::new();
    let client = world.public().await;
    let code = code(&world, &client, &[]).await.parameter("code");
    for n in 0..5 {
        let wrong = format!("{n}").repeat(43);
        redeem(&world, &client, &code, Some(&wrong)).await.refused(400, "invalid_grant");
    }
    redeem(&world, &client, &code, Some(VERIFIER)).await.refused(400, "invalid_grant");
    // Four are forgiven, also across a restart.
    let code = self::code(&world, &client, &[]).await.parameter("code");
    for n in 0..4 {
        let wrong = format!("{n}").repeat(43);
        redeem(&world.restarted(), &client, &code, Some(&wrong))
            .await
            .refused(400, "invalid_grant");
    }
    Tokens::of(&redeem(&world, &client, &code, Some(VERIFIER)).await);
}

#[tokio::test]
async fn the_method_was_settled_by_the_authorization_request() {
    // Requirement 7636-008: naming another one with the verifier changes nothing.
    let world = World::new();
    let client = world.public().await;
    let code = code(&world, &client, &[]).await.parameter("code");
    let form = |verifier| {
        [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("code_challenge_method", "plain"),
            ("code_verifier", verifier),
        ]
    };
    world.call("/token", &client, &form(CHALLENGE)).await.refused(400, "invalid_grant");
    assert_eq!(world.call("/token", &client, &form(VERIFIER)).await.status, 200);
}
