//! Revocation (RFC 7009).

use crate::world::{Tokens, World};

#[tokio::test]
async fn whose_it_is_which_it_is_and_what_was_hinted() {
    // Requirements 7009-001, 7009-003, 7009-004, 7009-005, 7009-006, 7009-007; ATTACKS F03, F04: owner and
    // other, public and confidential, access and refresh token, every hint.
    let world = World::new();
    for owner in [world.confidential().await, world.public().await] {
        for other in [world.confidential().await, world.public().await] {
            for is_refresh in [false, true] {
                for hint in ["", "access_token", "refresh_token", "id_token", "\u{e9}"] {
                    let first = world.tokens(&owner).await;
                    let tokens = Tokens::of(&world.refresh(&owner, &first.refresh).await);
                    let token = if is_refresh { &tokens.refresh } else { &tokens.access };
                    let form = [("token", token.as_str()), ("token_type_hint", hint)];
                    world.call("/revoke", &other, &form).await.refused(400, "invalid_grant");
                    assert!(world.is_active(&tokens.access).await);
                    let answer = world.call("/revoke", &owner, &form).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let world = world.restarted();
                    assert!(!world.is_active(&tokens.access).await);
                    assert_eq!(world.is_active(&first.access).await, !is_refresh);
                    let renewed = world.refresh(&owner, &tokens.refresh).await;
                    if is_refresh {
                        renewed.refused(400, "invalid_grant");
                    } else {
                        assert_eq!(renewed.status, 200, "{renewed:?}");
                    }
                    // Twice is as good as once.
                    assert_eq!(world.call("/revoke", &owner, &form).await.status, 200);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_revoked_already() {
    // Requirement 7009-008: one answer for all of it.
    let world = World::new();
    let client = world.public().await;
    let tokens = world.tokens(&client).await;
    let mut answers = Vec::new();
    for token in
        ["x", "grt_x", &format!("{}A", tokens.access), "\u{e9}\0<script>", &"x".repeat(8000)]
    {
        let answer = world.call("/revoke", &client, &[("token", token)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answers.push((answer.headers, answer.body));
    }
    let answer = world.call("/revoke", &client, &[("token", &tokens.access)]).await;
    answers.push((answer.headers, answer.body));
    answers.dedup();
    assert_eq!(answers.len(), 1);
    for form in [vec![], vec![("token", "")], vec![("token_type_hint", "access_token")]] {
        world.call("/revoke", &client, &form).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn both_kinds_of_token_can_be_revoked() {
    // Requirement 7009-001: so `unsupported_token_type` is never due.
    let world = World::new();
    let client = world.confidential().await;
    let tokens = world.tokens(&client).await;
    for token in [&tokens.access, &tokens.refresh] {
        let answer = world.call("/revoke", &client, &[("token", token)]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    }
}

#[tokio::test]
async fn a_retired_refresh_token_ends_the_grant_as_its_client_wants() {
    // Requirement 7009-007: the client revokes what it still has at hand.
    let world = World::new();
    let client = world.public().await;
    let first = world.tokens(&client).await;
    let second = Tokens::of(&world.refresh(&client, &first.refresh).await);
    assert_eq!(world.call("/revoke", &client, &[("token", &first.refresh)]).await.status, 200);
    assert!(!world.is_active(&second.access).await);
    world.refresh(&client, &second.refresh).await.refused(400, "invalid_grant");
}
