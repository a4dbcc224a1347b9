//! What is so at every program with a sign-in page of its own that knows alice.

use reqwest::StatusCode;

use super::{Browser, CALLBACK, PASSWORD, Site, parameter};

pub(crate) async fn a_visitor_signs_in_at_the_host_and_comes_back(site: &Site) {
    // Requirements 6749-010, 6750-001; ATTACKS A18, G11.
    let mut browser = Browser::new(site);
    let login = browser.open(&site.authorize(&[])).await;
    assert!(login.is_login(), "{login:?}");
    let mut refusals = Vec::new();
    for (name, password) in [("alice", "wrong"), ("nobody", PASSWORD), ("", "")] {
        let refused = browser.sign_in(&login, name, password).await;
        assert_eq!((refused.status, refused.is_login()), (StatusCode::FORBIDDEN, true));
        refusals.push(refused.body);
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "an unknown name is told apart: {refusals:?}");
    let consent = browser.sign_in(&login, "alice", PASSWORD).await;
    assert!(consent.body.contains("alice"), "{consent:?}");
    let location = browser.allow(&consent).await;
    let token = site.redeem(&location).await;
    let me = site.me(&token).await;
    assert_eq!((me.status, me.body.as_str()), (StatusCode::OK, "alice"));
    assert_eq!(site.me("gra_wrong").await.status, StatusCode::UNAUTHORIZED);
}

pub(crate) async fn nobody_is_sent_elsewhere(site: &Site) {
    // ATTACKS A18.
    for query in [
        "",
        "?return_to=https://evil.example",
        "?return_to=//evil.example",
        "?return_to=/%5Cevil.example",
        "?return_to=https://evil.example/interaction%3Finteraction%3Dx",
        "?return_to=/apps&return_to=https://evil.example",
        "?return_to=%ff",
    ] {
        let mut browser = Browser::new(site);
        let login = browser.open(&format!("/login{query}")).await;
        let form = [("username", "alice"), ("password", PASSWORD)];
        let answer = browser.send(browser.post(&login.url).form(&form)).await;
        assert!(answer.status.is_redirection(), "{query}: {answer:?}");
        assert_eq!(answer.location, "/", "{query}");
    }
    // With a genuine request beside it, the visitor still comes back to that.
    let mut browser = Browser::new(site);
    let url = site.authorize(&[("return_to", "https://evil.example")]);
    let login = browser.open(&url).await;
    let consent = browser.sign_in(&login, "alice", PASSWORD).await;
    assert!(browser.allow(&consent).await.starts_with(CALLBACK));
}

pub(crate) async fn another_site_signs_nobody_in(site: &Site) {
    // ATTACKS G03: the password is right, and is that of whoever posts it.
    let login = Browser::new(site).open(&site.authorize(&[])).await;
    let mut browser = Browser::new(site);
    browser.origin = "https://evil.example".into();
    let refused = browser.sign_in(&login, "alice", PASSWORD).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let stranger = browser.open(&site.authorize(&[("prompt", "none")])).await;
    assert_eq!(parameter(&stranger.location, "error"), "login_required");
}

pub(crate) async fn who_is_signed_in_is_asked_again_only_where_that_is_wanted(site: &Site) {
    // ATTACKS G07.
    let mut browser = Browser::new(site);
    browser.token(site, "alice").await;
    let back = browser.open(&site.authorize(&[])).await;
    assert!(back.location.starts_with(CALLBACK), "signed in, and allowed before: {back:?}");
    site.redeem(&back.location).await;
    let silent = browser.open(&site.authorize(&[("prompt", "none")])).await;
    assert!(!parameter(&silent.location, "code").is_empty());
    for prompt in ["login", "login consent"] {
        let login = browser.open(&site.authorize(&[("prompt", prompt)])).await;
        assert!(login.is_login() && login.url.contains("reauthenticate=true"), "{login:?}");
        // Going back without signing in again does not help.
        let again = browser.open(&parameter(&login.url, "return_to")).await;
        assert!(again.is_login(), "{again:?}");
        let refused = browser.sign_in(&login, "alice", "wrong").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        let page = browser.sign_in(&login, "alice", PASSWORD).await;
        assert!(page.is_consent() || page.location.starts_with(CALLBACK), "{page:?}");
    }
    // Another session is another session.
    let stranger = Browser::new(site).open(&site.authorize(&[("prompt", "none")])).await;
    assert_eq!(parameter(&stranger.location, "error"), "login_required");
}
