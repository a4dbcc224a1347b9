//! The refresh token (RFC 6749 section 6, RFC 9700 section 4.14.2, OAuth 2.1 section 4.3).

use std::time::Duration;

use grantor::model::{RefreshPolicy, Rotation, Subject};
use grantor::protocol::register::Registered;

use crate::world::{Browser, Tokens, World, authorize_url, renewal};

const DAY: Duration = Duration::from_secs(86_400);

async fn both(world: &World) -> [Registered; 2] {
    [world.confidential().await, world.public().await]
}

#[tokio::test]
async fn every_use_gives_a_new_one() {
    // Requirements 6749-075, 9700-010, OA21-016, MCP-007.
    let world = World::new();
    for client in both(&world).await {
        let mut seen = std::collections::BTreeSet::new();
        let mut tokens = world.tokens(&client).await;
        for _ in 0..5 {
            assert!(seen.insert(tokens.refresh.clone()) && seen.insert(tokens.access.clone()));
            tokens = Tokens::of(&world.refresh(&client, &tokens.refresh).await);
        }
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again() {
    // ATTACKS D02: the very same one, inside the window, also by another process; outside it is a reuse.
    let world = World::new();
    for client in both(&world).await {
        let first = world.tokens(&client).await;
        let answer = world.refresh(&client, &first.refresh).await;
        world.pass(Duration::from_secs(59));
        for world in [&world, &world.restarted()] {
            let again = world.refresh(&client, &first.refresh).await;
            let (once, twice) = (Tokens::of(&answer), Tokens::of(&again));
            assert_eq!((once.access, once.refresh), (twice.access, twice.refresh));
        }
        let current = Tokens::of(&answer);
        world.pass(Duration::from_secs(1));
        world.refresh(&client, &first.refresh).await.refused(400, "invalid_grant");
        assert!(!world.is_active(&current.access).await);
        world.refresh(&client, &current.refresh).await.refused(400, "invalid_grant");
    }
}

#[tokio::test]
async fn a_retired_one_ends_the_whole_family() {
    // Requirements 6749-075, 9700-036, OA21-017; ATTACKS D03, D04: also after a restart, and long after.
    let world = World::new();
    for client in both(&world).await {
        for age in [1, 2, 4] {
            let mut chain = vec![world.tokens(&client).await];
            for _ in 0..age {
                let last = chain.last().expect("one").refresh.clone();
                chain.push(Tokens::of(&world.refresh(&client, &last).await));
            }
            world.pass(Duration::from_secs(61));
            let world = world.restarted();
            world.refresh(&client, &chain[0].refresh).await.refused(400, "invalid_grant");
            for tokens in &chain {
                assert!(!world.is_active(&tokens.access).await);
                world.refresh(&client, &tokens.refresh).await.refused(400, "invalid_grant");
            }
            let event = world
                .events()
                .into_iter()
                .rev()
                .find(|event| matches!(event, grantor::protocol::Event::GrantRevoked { .. }));
            assert!(event.is_some(), "the operator is told");
        }
    }
}

#[tokio::test]
async fn once_the_successor_was_used_the_window_is_closed() {
    // ATTACKS D03: within the window, but the answer had arrived.
    let world = World::new();
    let client = world.public().await;
    let first = world.tokens(&client).await;
    let second = Tokens::of(&world.refresh(&client, &first.refresh).await);
    let third = Tokens::of(&world.refresh(&client, &second.refresh).await);
    world.refresh(&client, &first.refresh).await.refused(400, "invalid_grant");
    assert!(!world.is_active(&third.access).await);
    world.refresh(&client, &third.refresh).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn a_stranger_with_a_retired_token_ends_nothing() {
    // Requirements 6749-064, 6749-074; ATTACKS D03: another client, or no secret.
    let world = World::new();
    for (owner, other) in [
        (world.confidential().await, world.confidential().await),
        (world.public().await, world.public().await),
        (world.confidential().await, world.public().await),
    ] {
        let first = world.tokens(&owner).await;
        let foreign = world.tokens(&other).await;
        let second = Tokens::of(&world.refresh(&owner, &first.refresh).await);
        world.pass(Duration::from_secs(61));
        for token in [&first.refresh, &second.refresh] {
            world.refresh(&other, token).await.refused(400, "invalid_grant");
        }
        world.refresh(&owner, &foreign.refresh).await.refused(400, "invalid_grant");
        let id = [("client_id", owner.client.id.as_str())];
        if owner.client_secret.is_some() {
            let form = [&renewal(&first.refresh)[..], &id].concat();
            world.post("/token", &[], &form).await.refused(401, "invalid_client");
        }
        assert!(world.is_active(&second.access).await);
        assert_eq!(world.refresh(&owner, &second.refresh).await.status, 200);
        assert_eq!(world.refresh(&other, &foreign.refresh).await.status, 200);
    }
}

#[tokio::test]
async fn scope_narrows_for_the_moment_and_never_widens() {
    // Requirements 6749-065, 6749-066, 6749-067, 9700-035; ATTACKS D05.
    let world = World::new();
    let client = world.confidential().await;
    let mut browser = Browser::default();
    let page = browser.reach_consent(&world, &authorize_url(&client, &[])).await;
    let answer = browser.decide(&world, &page, &["read"], "allow").await;
    let narrow = Tokens::of(&world.redeem(&client, &answer.parameter("code")).await);
    for wider in ["read write", "write", "read admin", "READ", "read  ", "read\twrite", "\u{e9}"] {
        let form = [&renewal(&narrow.refresh)[..], &[("scope", wider)]].concat();
        world.call("/token", &client, &form).await.refused(400, "invalid_scope");
    }
    assert_eq!(world.refresh(&client, &narrow.refresh).await.json()["scope"], "read");
    let full = world.tokens(&client).await;
    let form = [&renewal(&full.refresh)[..], &[("scope", "read")]].concat();
    let narrowed = world.call("/token", &client, &form).await;
    assert_eq!(narrowed.json()["scope"], "read");
    let next = Tokens::of(&narrowed);
    assert_eq!(world.refresh(&client, &next.refresh).await.json()["scope"], "read write");
    let form = [("grant_type", "refresh_token"), ("refresh_token", &full.refresh), ("scope", "")];
    let retry = world.call("/token", &client, &form).await;
    retry.refused(400, "invalid_grant");
}

#[tokio::test]
async fn a_retry_that_asks_for_something_else_is_refused_and_ends_nothing() {
    // ATTACKS D02, D05.
    let world = World::new();
    let client = world.public().await;
    let first = world.tokens(&client).await;
    let second = Tokens::of(&world.refresh(&client, &first.refresh).await);
    let form = [&renewal(&first.refresh)[..], &[("scope", "read")]].concat();
    world.call("/token", &client, &form).await.refused(400, "invalid_grant");
    assert!(world.is_active(&second.access).await);
    assert_eq!(world.refresh(&client, &second.refresh).await.status, 200);
}

#[tokio::test]
async fn it_goes_stale_unless_used_and_ends_in_any_case() {
    // Requirements 9700-038, OA21-018: idle after 14 days, over after 90 whatever happens.
    let world = World::new();
    let client = world.public().await;
    let idle = world.tokens(&client).await;
    world.pass(14 * DAY);
    world.refresh(&client, &idle.refresh).await.refused(400, "invalid_grant");
    let mut tokens = world.tokens(&client).await;
    for _ in 0..6 {
        world.pass(13 * DAY);
        tokens = Tokens::of(&world.refresh(&client, &tokens.refresh).await);
    }
    world.pass(12 * DAY - Duration::from_secs(1));
    tokens = Tokens::of(&world.refresh(&client, &tokens.refresh).await);
    world.pass(Duration::from_secs(1));
    world.refresh(&client, &tokens.refresh).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn what_a_grant_stood_on_can_be_taken_away() {
    // Requirements 7009-001, 7662-008, 9700-038, OA21-021; ATTACKS D06: user disabled, password changed, consent
    // withdrawn, client's grants revoked, client removed, grant revoked by the operator.
    let alice = Subject::parse("alice").expect("subject");
    for event in 0..6 {
        let world = World::new();
        for client in both(&world).await {
            let code = world.code(&client).await;
            let tokens = world.tokens(&client).await;
            let id = &client.client.id;
            match event {
                0 => world.disable("alice"),
                1 => world.server.revoke_subject(&alice).await.expect("revoked"),
                2 => world.server.withdraw_consent(&alice, id).await.expect("withdrawn"),
                3 => world.server.revoke_client_grants(id).await.expect("revoked"),
                4 => world.server.remove_client(id).await.expect("removed"),
                _ => {
                    for grant in world.server.grants_of(&alice).await.expect("listed") {
                        world.server.revoke_grant(grant.id).await.expect("revoked");
                    }
                }
            }
            let world = world.restarted();
            assert!(!world.is_active(&tokens.access).await, "event {event}");
            let (status, error) =
                if event == 4 { (401, "invalid_client") } else { (400, "invalid_grant") };
            world.refresh(&client, &tokens.refresh).await.refused(status, error);
            world.redeem(&client, &code).await.refused(status, error);
            world.users.disabled.lock().expect("lock").clear();
        }
    }
}

#[tokio::test]
async fn after_a_withdrawal_the_user_may_allow_again() {
    // ATTACKS D10.
    let world = World::new();
    let alice = Subject::parse("alice").expect("subject");
    for client in both(&world).await {
        let before = world.tokens(&client).await;
        world.server.withdraw_consent(&alice, &client.client.id).await.expect("withdrawn");
        let after = world.tokens(&client).await;
        assert!(!world.is_active(&before.access).await);
        assert!(world.is_active(&after.access).await);
        assert_eq!(world.refresh(&client, &after.refresh).await.status, 200);
    }
}

#[tokio::test]
async fn whether_there_are_any_is_a_policy() {
    // Requirement 9700-034; ATTACKS K13: and the metadata says which.
    let world = World::with_policy(|policy| policy.refresh = None);
    let client = world.confidential().await;
    let tokens = world.tokens(&client).await;
    assert_eq!(tokens.refresh, "");
    let form = renewal("grr_x");
    let answer = world.call("/token", &client, &form).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let metadata = world.get("/.well-known/oauth-authorization-server").await;
    assert!(!metadata.body.contains("refresh_token"), "{metadata:?}");
    // Clients that prove who they are may keep theirs; others may not.
    let world = World::with_policy(|policy| {
        policy.refresh =
            Some(RefreshPolicy { rotation: Rotation::PublicClients, ..RefreshPolicy::default() });
    });
    let [confidential, public] = both(&world).await;
    let tokens = world.tokens(&confidential).await;
    for _ in 0..3 {
        assert_eq!(Tokens::of(&world.refresh(&confidential, &tokens.refresh).await).refresh, "");
    }
    let tokens = world.tokens(&public).await;
    let next = Tokens::of(&world.refresh(&public, &tokens.refresh).await);
    assert_ne!(next.refresh, tokens.refresh);
}

#[tokio::test]
async fn a_mutated_one_is_unknown_and_ends_nothing() {
    // Requirements 9700-037, 6749-079; ATTACKS F11.
    let world = World::new();
    let client = world.public().await;
    let tokens = world.tokens(&client).await;
    for at in 0..tokens.refresh.len() {
        let mut bytes = tokens.refresh.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let mutated = String::from_utf8(bytes).expect("ASCII");
        world.refresh(&client, &mutated).await.refused(400, "invalid_grant");
    }
    assert_eq!(world.refresh(&client, &tokens.refresh).await.status, 200);
}
