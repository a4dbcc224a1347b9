//! The page of connected apps (OAuth 2.1 section 7.9).

use crate::world::{Browser, PASSWORD, Tokens, World, authorize_url, borrowed, hidden};

#[tokio::test]
async fn a_user_sees_and_withdraws_what_was_allowed() {
    // Requirements OA21-021, 9700-038; ATTACKS D06, D10, G02: codes and tokens die, other clients' and other
    // users' stay, and the user is asked again.
    let world = World::new();
    let client = world.confidential().await;
    let other = world.public().await;
    let mut alice = Browser::of(&world, "alice").await;
    let page = alice.get(&world, "/apps").await;
    assert!(!page.body.contains("withdraw-0"));
    let mut tokens = Vec::new();
    for client in [&client, &other] {
        let answer = alice.walk(&world, &authorize_url(client, &[])).await;
        tokens.push(Tokens::of(&world.redeem(client, &answer.parameter("code")).await));
    }
    let pending = alice.open(&world, &authorize_url(&client, &[])).await.parameter("code");
    let mut mallory = Browser::of(&world, "mallory").await;
    let answer = mallory.walk(&world, &authorize_url(&client, &[])).await;
    let theirs = Tokens::of(&world.redeem(&client, &answer.parameter("code")).await);
    let page = alice.get(&world, "/apps").await;
    for text in ["Calendar", "Phone", "See your calendar", "withdraw-1"] {
        assert!(page.body.contains(text), "{text}: {page:?}");
    }
    assert!(!page.body.contains(&tokens[0].access) && !page.body.contains("grk_"), "ATTACKS K01");
    let mut form = hidden(&page)[..1].to_vec();
    form.push(("client_id".into(), client.client.id.as_str().into()));
    // What somebody else allowed is not theirs to withdraw.
    let apps = mallory.get(&world, "/apps").await;
    let mut foreign = hidden(&apps)[..1].to_vec();
    foreign.push(("client_id".into(), other.client.id.as_str().into()));
    assert_eq!(mallory.post(&world, "/apps/withdraw", &borrowed(&foreign)).await.status, 303);
    assert!(world.is_active(&tokens[1].access).await);
    for turn in 0..2 {
        let answer = alice.post(&world, "/apps/withdraw", &borrowed(&form)).await;
        assert_eq!((answer.status, answer.location()), (303, "/apps?withdrawn"), "turn {turn}");
        assert!(!world.is_active(&tokens[0].access).await);
    }
    world.refresh(&client, &tokens[0].refresh).await.refused(400, "invalid_grant");
    world.redeem(&client, &pending).await.refused(400, "invalid_grant");
    assert!(world.is_active(&tokens[1].access).await);
    assert!(world.is_active(&theirs.access).await);
    let page = alice.get(&world, "/apps?withdrawn").await;
    assert!(!page.body.contains("Calendar</bdi>") && page.body.contains("role=\"status\""));
    alice.reach_consent(&world, &authorize_url(&client, &[])).await;
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_asked_to() {
    // Requirement 6749-081; ATTACKS G02, G03, G04: with a form of before the sign-in, nothing is withdrawn.
    let world = World::new();
    let client = world.confidential().await;
    let tokens = world.tokens(&client).await;
    let mut guest = Browser::default();
    let page = guest.get(&world, "/apps").await;
    let before = hidden(&page)[..1].to_vec();
    let mut form = before.clone();
    form.push(("client_id".into(), client.client.id.as_str().into()));
    guest.post(&world, "/apps/withdraw", &borrowed(&form)).await.explained(403);
    let page = guest.sign_in(&world, &page, "alice", PASSWORD).await;
    assert!(page.body.contains("id=\"logout\""), "{page:?}");
    guest.post(&world, "/apps/withdraw", &borrowed(&form)).await.explained(403);
    guest.post(&world, "/apps/logout", &borrowed(&before)).await.explained(403);
    assert!(world.is_active(&tokens.access).await);
    for odd in ["", "no such client", "\0", "unknown"] {
        let mut form = hidden(&page)[..1].to_vec();
        form.push(("client_id".into(), odd.into()));
        let answer = guest.post(&world, "/apps/withdraw", &borrowed(&form)).await;
        assert!([303, 400, 403].contains(&answer.status), "{odd:?}: {answer:?}");
    }
    assert!(world.is_active(&tokens.access).await);
}

#[tokio::test]
async fn signing_out_leads_nowhere_else() {
    // Requirement 9700-002; ATTACKS A18, G10: no parameter of these pages is an address.
    let world = World::new();
    for evil in [
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "%2f%2fevil.example",
        "/\t/evil.example",
        "https://as.example@evil.example/",
    ] {
        let mut browser = Browser::of(&world, "alice").await;
        let page = browser.get(&world, "/apps").await;
        let mut form = hidden(&page)[..1].to_vec();
        for name in ["return_to", "next", "redirect", "post_logout_redirect_uri", "redirect_uri"] {
            form.push((name.into(), evil.into()));
        }
        let answer = browser.post(&world, "/apps/logout", &borrowed(&form)).await;
        assert_eq!((answer.status, answer.location()), (200, ""));
        assert!(!answer.body.contains("evil"));
        let page = browser.get(&world, "/apps").await;
        let mut form = hidden(&page);
        form.extend([
            ("username".to_owned(), "alice".to_owned()),
            ("password".to_owned(), PASSWORD.to_owned()),
        ]);
        form.push(("return_to".into(), evil.into()));
        let answer = browser.post(&world, "/apps/login", &borrowed(&form)).await;
        assert_eq!((answer.status, answer.location()), (303, "/apps"));
    }
}
