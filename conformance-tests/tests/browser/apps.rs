//! The page of connected apps.

use crate::answers::{read, sign_in, to_consent};
use crate::browser::Browser;
use crate::party::Demo;
use crate::words::Words;

crate::in_both_languages!(withdraw_what_was_allowed, sign_out_and_in_again);

async fn withdraw_what_was_allowed(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    to_consent(&browser, &demo).await;
    browser.click("allow").await;
    browser.until_headed("Planner is connected").await;

    // What was allowed is not asked again.
    browser.click("forget").await;
    browser.until_headed("Plan your week").await;
    browser.click("connect").await;
    browser.until_headed("Planner is connected").await;

    browser.click("apps").await;
    let page = browser.until_headed(words.apps).await;
    for text in ["Planner", words.read, words.write, words.signed_in_as, words.withdraw] {
        assert!(page.says(text), "{text}: {page:#?}");
    }
    assert!(page.has("withdraw-0") && !page.has("withdraw-1"));
    browser.look("apps").await;
    browser.click("withdraw-0").await;
    let page = browser.until(words.withdrawn, |sight| sight.says(words.withdrawn)).await;
    assert!(page.says(words.no_apps) && !page.has("withdraw-0"));
    browser.look("apps-withdrawn").await;

    browser.go(&demo.planner("/")).await;
    browser.until_headed("Planner is connected").await;
    let page = read(&browser).await;
    assert_eq!(page.heading, "The calendar refused");
    assert!(page.says("401 Unauthorized"));
    browser.click("refresh").await;
    browser.until_headed("The refresh was refused").await;

    // What was withdrawn is asked again.
    browser.click("forget").await;
    browser.click("connect").await;
    let page = browser.until_there_is("allow").await;
    assert_eq!(page.heading, words.consent);
    browser.close().await;
}

async fn sign_out_and_in_again(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    browser.go(&demo.server("/apps")).await;
    browser.until_headed(words.sign_in).await;
    browser.look("apps-sign-in").await;
    sign_in(&browser).await;
    browser.until_headed(words.apps).await;
    browser.click("logout").await;
    let page = browser.until_headed(words.signed_out).await;
    assert!(!page.has("logout"));
    browser.look("signed-out").await;
    browser.click_link(words.sign_in_again).await;
    let page = browser.until_headed(words.sign_in).await;
    assert_eq!(page.url, demo.server("/apps"));
    sign_in(&browser).await;
    browser.until_headed(words.apps).await;
    browser.click("logout").await;
    browser.until_headed(words.signed_out).await;

    // The page that was left cannot be had back.
    browser.back().await;
    browser.until_headed(words.sign_in).await;
    browser.fill("username", "demo").await;
    browser.fill("password", "not the password").await;
    browser.click("login").await;
    browser.until_there_is("problem").await;
    browser.fill("password", crate::answers::PASSWORD).await;
    browser.click("login").await;
    browser.until_headed(words.apps).await;
    browser.close().await;
}
