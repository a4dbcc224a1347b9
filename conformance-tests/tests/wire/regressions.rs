//! What went wrong here once, in the order of requests that showed it.
use std::sync::Arc;

use grantor::model::Subject;
use http::Method;

use crate::store::{Trouble, TroubledStorage};
use crate::world::*;

fn alice() -> Subject {
    Subject::parse("alice").expect("subject")
}
fn troubled() -> (Arc<TroubledStorage>, World) {
    let store = TroubledStorage::new();
    let world = World::at(ISSUER, Arc::clone(&store) as _, |builder| builder);
    (store, world)
}

#[tokio::test]
async fn introspection_errors_are_not_for_scripts_of_other_origins() {
    let world = World::new();
    let answer =
        world.post("/introspect", &[("origin", "https://evil.example")], &[("token", "x")]).await;
    answer.refused(401, "invalid_client");
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn the_stylesheet_has_no_preflight() {
    let world = World::new();
    let headers = [("origin", "https://evil.example"), ("access-control-request-method", "GET")];
    let request = request(Method::OPTIONS, "/style.css", &headers, "");
    let answer = world.server.handle(request).await;
    assert!(!answer.headers().contains_key("access-control-allow-origin"), "{answer:?}");
}

#[tokio::test]
async fn every_outage_after_the_client_is_known_is_told_to_the_client() {
    let (store, world) = troubled();
    let client = world.confidential().await;
    let mut browser = Browser::of(&world, "alice").await;
    browser.walk(&world, &authorize_url(&client, &[])).await;
    let mut wrong = vec![];
    for at in 1..6 {
        store.arm(Trouble::from(at, false));
        let answer = browser.get(&world, &authorize_url(&client, &[])).await;
        store.heal();
        if answer.status != 303 {
            wrong.push((at, answer.status));
        }
    }
    world.users.away.store(true, std::sync::atomic::Ordering::SeqCst);
    let answer = browser.get(&world, &authorize_url(&client, &[])).await;
    if answer.status != 303 {
        wrong.push((100, answer.status));
    }
    assert_eq!(wrong, vec![]);
}

#[tokio::test]
async fn a_sign_in_gives_up_like_every_other_step() {
    let (store, world) = troubled();
    let mut browser = Browser::default();
    let page = browser.get(&world, "/apps").await;
    store.arm(Trouble::Conflicts(1000));
    let answer = browser.sign_in(&world, &page, "alice", PASSWORD).await;
    let calls = store.heal();
    assert_eq!((answer.status, calls <= 40), (503, true), "{calls} calls");
}

#[tokio::test]
async fn a_form_sent_twice_gives_no_code_on_a_withdrawn_consent() {
    // The consent is answered; between the write of the consent and that of the code the user withdraws, wholly;
    // the process cannot look at the consent once more (the store is away) and answers 503; the user
    // sends the form again, as the page says.
    let (store, world) = troubled();
    let client = world.confidential().await;
    let mut browser = Browser::of(&world, "alice").await;
    let page = browser.reach_consent(&world, &authorize_url(&client, &[])).await;
    let mut found = vec![];
    for at in 0..14 {
        let url = authorize_url(&client, &[("prompt", Some("consent"))]);
        let page = if at == 0 { page.clone() } else { browser.reach_consent(&world, &url).await };
        let mut held = false;
        store.arm(Trouble::Held(at));
        {
            let step = browser.decide(&world, &page, &["read", "write"], "allow");
            tokio::pin!(step);
            let withdrawal = async {
                store.held().await;
                held = true;
                // Another window.
                let _ = world.server.withdraw_consent(&alice(), &client.client.id).await;
                // From here on, the next write happens and what follows it fails.
            };
            tokio::select! { biased; _ = &mut step => {}, () = withdrawal => {
                store.arm(Trouble::Held(1));
                store.release();
                // One more call (the write), then the process dies.
                tokio::select! { biased; () = store.held() => {}, _ = &mut step => {} }
            } }
        }
        store.heal();
        if !held {
            break;
        }
        let listed = !world.server.connections(&alice()).await.expect("listed").is_empty();
        let world = world.restarted();
        let answer = browser.decide(&world, &page, &["read", "write"], "allow").await;
        let listed_after = !world.server.connections(&alice()).await.expect("listed").is_empty();
        if answer.location().contains("code=") {
            let redeemed = world.redeem(&client, &answer.parameter("code")).await;
            if redeemed.status == 200 && !listed_after {
                found.push((at, listed));
            }
        }
    }
    assert_eq!(found, vec![]);
}

#[tokio::test]
async fn a_page_that_says_try_again_can_be_tried_again() {
    // A remembered consent, the sign-in just happened, the code is written, the last look fails: 503 with
    // Retry-After. Reloading should lead to the client.
    let (store, world) = troubled();
    let client = world.confidential().await;
    let mut browser = Browser::of(&world, "alice").await;
    browser.walk(&world, &authorize_url(&client, &[])).await;
    let mut wrong = vec![];
    for at in 0..8 {
        world.pass(std::time::Duration::from_secs(1));
        let page =
            browser.open(&world, &authorize_url(&client, &[("prompt", Some("login"))])).await;
        let mut form = hidden(&page);
        form.push(("username".into(), "alice".into()));
        form.push(("password".into(), PASSWORD.into()));
        let answer = browser.post(&world, &action(&page), &borrowed(&form)).await;
        let next = answer.location().to_owned();
        store.arm(Trouble::from(at, false));
        let first = browser.get(&world, &next).await;
        store.heal();
        if first.status == 503 {
            let again = browser.get(&world, &next).await;
            if again.status != 303 {
                wrong.push((at, again.status));
            }
        }
    }
    assert_eq!(wrong, vec![]);
}

#[tokio::test]
async fn where_the_host_signs_in_the_apps_page_sends_there_too() {
    let world = World::with(|builder| builder.login_page("/login"));
    let answer = world.get("/apps").await;
    assert!(answer.location().starts_with("/login"), "{answer:?}");
}

#[tokio::test]
async fn where_the_host_signs_in_the_password_form_is_not_there() {
    let world = World::with(|builder| builder.login_page("/login"));
    let client = world.confidential().await;
    let mut browser = Browser::default();
    let first = browser.get(&world, &authorize_url(&client, &[])).await;
    let handle = first.location().split_once("interaction=").expect("handle").1.to_owned();
    let form = [("interaction", handle.as_str()), ("username", "alice"), ("password", PASSWORD)];
    let answer = browser.post(&world, "/interaction/login", &form).await;
    assert!(answer.status >= 400 || answer.location().starts_with("/login"), "{answer:?}");
}

#[tokio::test]
async fn a_code_on_its_way_does_not_outlive_a_changed_password() {
    let mut found = vec![];
    for remembered in [false, true] {
        for at in 0..12 {
            let (store, world) = troubled();
            let client = world.confidential().await;
            let mut browser = Browser::of(&world, "alice").await;
            browser.walk(&world, &authorize_url(&client, &[])).await;
            let url = authorize_url(&client, &[("prompt", (!remembered).then_some("consent"))]);
            let page =
                if remembered { None } else { Some(browser.reach_consent(&world, &url).await) };
            let mut held = false;
            store.arm(Trouble::Held(at));
            let answer = {
                let step = async {
                    match &page {
                        Some(page) => {
                            browser.decide(&world, page, &["read", "write"], "allow").await
                        }
                        None => browser.get(&world, &url).await,
                    }
                };
                tokio::pin!(step);
                let change = async {
                    store.held().await;
                    held = true;
                    world.server.revoke_subject(&alice()).await.expect("revoked");
                    store.release();
                };
                tokio::select! { biased; answer = &mut step => answer, () = change => step.await }
            };
            store.heal();
            if !held {
                break;
            }
            if answer.location().contains("code=") {
                let redeemed = world.redeem(&client, &answer.parameter("code")).await;
                if redeemed.status == 200 && world.is_active(&Tokens::of(&redeemed).access).await {
                    found.push((remembered, at));
                }
            }
        }
    }
    assert_eq!(found, vec![]);
}

#[tokio::test]
async fn a_sign_in_on_its_way_does_not_outlive_a_changed_password() {
    let mut found = vec![];
    for at in 0..4 {
        let (store, world) = troubled();
        let mut browser = Browser::default();
        let page = browser.get(&world, "/apps").await;
        let mut held = false;
        store.arm(Trouble::Held(at));
        {
            let step = browser.sign_in(&world, &page, "alice", PASSWORD);
            tokio::pin!(step);
            let change = async {
                store.held().await;
                held = true;
                // The password is changed: the one that was typed is wrong from here on.
                world.users.disabled.lock().expect("lock").insert("alice".into());
                world.server.revoke_subject(&alice()).await.expect("revoked");
                store.release();
            };
            tokio::select! { biased; _ = &mut step => {}, () = change => { step.await; } }
        }
        store.heal();
        if !held {
            break;
        }
        world.users.disabled.lock().expect("lock").clear();
        let page = browser.get(&world, "/apps").await;
        if page.body.contains("id=\"logout\"") {
            found.push(at);
        }
    }
    assert_eq!(found, Vec::<usize>::new());
}
