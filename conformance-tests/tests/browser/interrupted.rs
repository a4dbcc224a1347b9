//! What comes in between: time, the back button, another browser, a crash.

use crate::answers::{read, sign_in, to_consent};
use crate::browser::Browser;
use crate::party::{Demo, Site};
use crate::words::Words;

crate::in_both_languages!(
    taking_too_long,
    the_way_back,
    another_browser,
    a_crash_of_the_demo,
    a_crash_with_the_app_still_there,
    no_such_page,
);

async fn taking_too_long(words: &'static Words) {
    let (site, browser) =
        (Site::start("Planner", "interaction_lifetime = \"3s\""), Browser::open(words).await);
    browser.go(&site.authorize("first")).await;
    let page = browser.until_there_is("login").await;
    let filled_in_late = browser.this_tab().await;
    browser.fill("username", "demo").await;
    browser.fill("password", "demo-password").await;
    browser.tab().await;
    browser.go(&page.url).await;
    browser.reload_until("the page has expired", |sight| sight.explains(words.expired)).await;
    browser.look("expired").await;
    browser.switch(&filled_in_late).await;
    browser.click("login").await;
    browser.until("the form has expired", |sight| sight.explains(words.expired)).await;
    assert!(site.app.answers().is_empty());
    browser.close().await;
}

async fn the_way_back(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    let consent = to_consent(&browser, &demo).await;
    browser.click("allow").await;
    browser.until_headed("Planner is connected").await;
    // One step is back to the page that was answered: anew, or as the browser kept it.
    browser.back().await;
    let page = browser.until("the page that was answered", |sight| sight.url == consent.url).await;
    if page.has("allow") {
        browser.click("allow").await;
        browser.until("that it was answered", |sight| sight.explains(words.answered)).await;
        browser.go(&consent.url).await;
    }
    let page = browser.until("that it was answered", |sight| sight.explains(words.answered)).await;
    assert!(!page.has("allow"));
    browser.look("answered").await;
    browser.reload().await;
    browser.until("that it was answered", |sight| sight.explains(words.answered)).await;
    // What the app has still works, and there is one app.
    browser.go(&demo.planner("/")).await;
    browser.until_headed("Planner is connected").await;
    assert_eq!(read(&browser).await.heading, "The calendar answered");
    browser.close().await;
}

async fn another_browser(words: &'static Words) {
    let demo = Demo::start();
    let (browser, stranger) = (Browser::open(words).await, Browser::open(words).await);
    let consent = to_consent(&browser, &demo).await;
    let expected = words.another_browser;
    stranger.go(&consent.url).await;
    stranger.until("that it is another browser", |sight| sight.explains(expected)).await;
    stranger.look("another-browser").await;
    // Not even somebody who is signed in there.
    stranger.go(&demo.server("/apps")).await;
    sign_in(&stranger).await;
    stranger.until_headed(words.apps).await;
    stranger.go(&consent.url).await;
    let page = stranger.until("that it is another browser", |sight| sight.explains(expected)).await;
    assert!(!page.has("allow"));
    // Whose page it is can go on.
    browser.click("allow").await;
    browser.until_headed("Planner is connected").await;
    stranger.close().await;
    browser.close().await;
}

async fn a_crash_of_the_demo(words: &'static Words) {
    let (mut demo, browser) = (Demo::start(), Browser::open(words).await);
    to_consent(&browser, &demo).await;
    demo.crash_and_restart();
    browser.click("allow").await;
    // The app keeps what it knows in memory: it has forgotten its question.
    let page = browser.until_headed("Plan your week").await;
    assert_eq!(page.url, demo.planner("/"));
    // The server has not forgotten who this is, nor what was allowed.
    browser.click("connect").await;
    let page = browser.until_headed("Planner is connected").await;
    assert!(page.says("You allowed: calendar.read calendar.write"));
    assert_eq!(read(&browser).await.heading, "The calendar answered");
    browser.close().await;
}

async fn a_crash_with_the_app_still_there(words: &'static Words) {
    let (mut site, browser) = (Site::start("Planner", ""), Browser::open(words).await);
    browser.go(&site.authorize("before the crash")).await;
    browser.until_there_is("login").await;
    site.crash_and_restart();
    sign_in(&browser).await;
    browser.until_there_is("allow").await;
    site.crash_and_restart();
    browser.click("allow").await;
    let page = browser.until_headed("The app").await;
    assert!(page.url.starts_with(&format!("{}?code=", site.app.callback())));
    assert!(page.url.contains("&state=before+the+crash&"), "{page:#?}");
    assert_eq!(site.app.answers().len(), 1);
    assert_eq!(site.grants(), 1);
    browser.close().await;
}

async fn no_such_page(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    browser.go(&demo.server("/nowhere")).await;
    browser.until("that there is none", |sight| sight.explains(words.not_found)).await;
    browser.look("not-found").await;
    browser.go(&demo.server("/authorize?client_id=nobody")).await;
    browser.until_there_is("error").await;
    browser.look("bad-request").await;
    browser.close().await;
}
