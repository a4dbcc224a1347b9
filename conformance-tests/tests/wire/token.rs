//! The token endpoint (RFC 6749 section 3.2, 4.1.3, 5).

use crate::world::{Tokens, World};

#[tokio::test]
async fn the_whole_story() {
    // Requirements 6749-005, 6749-057, 6749-058, 6749-059, 8252-001.
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
        let answer = world
            .call("/revoke", &client, &[("token", &renewed.refresh)])
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!world.is_active(&tokens.access).await);
        assert!(!world.is_active(&renewed.access).await);
    }
}
