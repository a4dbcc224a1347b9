//! Everything allowed, a part of it, nothing; and a password that is wrong at first.

use crate::browser::{Browser, Sight};
use crate::party::Demo;
use crate::words::Words;

crate::in_both_languages!(allow_everything, allow_a_part, deny, wrong_password);

pub(crate) const PASSWORD: &str = "demo-password";

/// From the app to the consent page, signing in on the way.
pub(crate) async fn to_consent(browser: &Browser, demo: &Demo) -> Sight {
    browser.go(&demo.planner("/")).await;
    browser.click("connect").await;
    sign_in(browser).await;
    browser.until_there_is("allow").await
}

pub(crate) async fn sign_in(browser: &Browser) {
    browser.fill("username", "demo").await;
    browser.fill("password", PASSWORD).await;
    browser.click("login").await;
}

/// Uses what the app has got.
pub(crate) async fn read(browser: &Browser) -> Sight {
    browser.click("read").await;
    browser
        .until("an answer of the calendar", |sight| sight.heading.starts_with("The calendar"))
        .await
}

async fn allow_everything(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    browser.go(&demo.planner("/")).await;
    browser.until_headed("Plan your week").await;
    browser.look_at_any("planner").await;
    browser.click("connect").await;
    let page = browser.until_there_is("login").await;
    assert_eq!(page.heading, words.sign_in);
    assert!(page.says(words.sent_by), "{page:#?}");
    assert!(page.url.starts_with(&demo.server("/interaction?")));
    browser.look("sign-in").await;
    sign_in(&browser).await;

    let page = browser.until_there_is("allow").await;
    assert_eq!(page.heading, words.consent);
    for text in [words.signed_in_as, words.read, words.write, &demo.planner_host()] {
        assert!(page.says(text), "{text}: {page:#?}");
    }
    assert!(browser.is_ticked("scope-0").await && browser.is_ticked("scope-1").await);
    browser.look("consent").await;
    browser.click("allow").await;

    let page = browser.until_headed("Planner is connected").await;
    assert_eq!(page.url, demo.planner("/"));
    assert!(page.says("You allowed: calendar.read calendar.write"));
    browser.look_at_any("planner-connected").await;
    let page = read(&browser).await;
    assert_eq!(page.heading, "The calendar answered");
    assert!(page.says("Friday: dinner with Mina"));
    browser.click("write").await;
    let added = "Event 3: added by planner";
    browser.until(added, |sight| sight.says(added)).await;
    browser.click("refresh").await;
    browser.until_headed("Refreshed").await;
    assert_eq!(read(&browser).await.heading, "The calendar answered");
    browser.click("revoke").await;
    browser.until_headed("Revoked").await;
    let page = read(&browser).await;
    assert_eq!(page.heading, "The calendar refused");
    assert!(page.says("401 Unauthorized") && page.says("invalid_token"));
    browser.look_at_any("planner-refused").await;
    browser.close().await;
}

async fn allow_a_part(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    to_consent(&browser, &demo).await;
    browser.click("scope-1").await;
    assert!(!browser.is_ticked("scope-1").await);
    browser.click("allow").await;
    let page = browser.until_headed("Planner is connected").await;
    assert!(page.says("You allowed: calendar.read\n"), "{page:#?}");
    assert_eq!(read(&browser).await.heading, "The calendar answered");
    browser.click("write").await;
    let page = browser.until_headed("The calendar refused").await;
    assert!(page.says("403 Forbidden") && page.says("insufficient_scope"));
    assert!(page.says("you did not allow this"));
    browser.look_at_any("planner-forbidden").await;
    browser.close().await;
}

async fn deny(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    to_consent(&browser, &demo).await;
    browser.click("deny").await;
    let page = browser.until_headed("You said no").await;
    assert!(page.url.starts_with(&demo.planner("/callback?")));
    assert!(page.says("error=access_denied") && !page.says("code="));
    assert!(!page.has("read") && page.has("connect"));
    browser.look_at_any("planner-denied").await;
    browser.go(&demo.server("/apps")).await;
    let page = browser.until_headed(words.apps).await;
    assert!(page.says(words.no_apps), "{page:#?}");
    browser.look("apps-none").await;
    browser.close().await;
}

async fn wrong_password(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    browser.go(&demo.planner("/")).await;
    browser.click("connect").await;
    browser.fill("username", "demo").await;
    browser.fill("password", "not the password").await;
    browser.click("login").await;
    let page = browser.until_there_is("problem").await;
    assert!(page.says(words.wrong) && page.says(words.sent_by));
    assert_eq!(browser.value("username").await, "demo");
    assert_eq!(browser.value("password").await, "");
    assert_eq!(browser.focus().await, "password");
    browser.look("sign-in-wrong").await;
    browser.fill("password", PASSWORD).await;
    browser.click("login").await;
    assert_eq!(browser.until_there_is("allow").await.heading, words.consent);
    browser.close().await;
}
