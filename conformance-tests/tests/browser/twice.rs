//! The same thing twice, and two things at once.

use crate::answers::{read, sign_in, to_consent};
use crate::browser::Browser;
use crate::party::{Demo, Site};
use crate::words::Words;

crate::in_both_languages!(
    an_answer_after_the_code_was_used,
    the_same_answer_in_two_tabs,
    a_button_pressed_twice,
    two_authorizations_at_once,
    a_sign_in_page_left_open,
);

async fn an_answer_after_the_code_was_used(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    let consent = to_consent(&browser, &demo).await;
    let first = browser.this_tab().await;
    browser.tab().await;
    browser.go(&consent.url).await;
    browser.until_there_is("allow").await;
    browser.click("allow").await;
    browser.until_headed("Planner is connected").await;
    browser.switch(&first).await;
    browser.click("allow").await;
    browser.until("that it was answered", |sight| sight.explains(words.answered)).await;
    // Asking twice has broken nothing.
    browser.go(&demo.planner("/")).await;
    assert_eq!(read(&browser).await.heading, "The calendar answered");
    browser.go(&demo.server("/apps")).await;
    let page = browser.until_headed(words.apps).await;
    assert!(page.has("withdraw-0") && !page.has("withdraw-1"));
    browser.close().await;
}

async fn the_same_answer_in_two_tabs(words: &'static Words) {
    let (site, browser) = (Site::start("Planner", ""), Browser::open(words).await);
    browser.go(&site.authorize("once")).await;
    sign_in(&browser).await;
    let consent = browser.until_there_is("allow").await;
    let first = browser.this_tab().await;
    let second = browser.tab().await;
    browser.go(&consent.url).await;
    browser.until_there_is("allow").await;
    for tab in [first, second] {
        browser.switch(&tab).await;
        browser.click("allow").await;
        browser.until_headed("The app").await;
    }
    let answers = site.app.answers();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0], answers[1], "one code, whoever brings it");
    assert_eq!(site.grants(), 1);
    browser.close().await;
}

async fn a_button_pressed_twice(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    to_consent(&browser, &demo).await;
    browser
        .run(
            "const button = document.getElementById('allow');
            button.form.requestSubmit(button);
            button.form.requestSubmit(button);",
        )
        .await;
    browser.until_headed("Planner is connected").await;
    assert_eq!(read(&browser).await.heading, "The calendar answered");
    browser.go(&demo.server("/apps")).await;
    let page = browser.until_headed(words.apps).await;
    assert!(page.has("withdraw-0") && !page.has("withdraw-1"));
    browser.close().await;
}

async fn two_authorizations_at_once(words: &'static Words) {
    let (site, browser) = (Site::start("Planner", ""), Browser::open(words).await);
    browser.go(&site.authorize("first")).await;
    sign_in(&browser).await;
    browser.until_there_is("allow").await;
    let first = browser.this_tab().await;
    browser.tab().await;
    browser.go(&site.authorize("second")).await;
    browser.until_there_is("allow").await;
    browser.click("allow").await;
    let page = browser.until_headed("The app").await;
    assert!(page.url.contains("&state=second&"), "{page:#?}");
    browser.switch(&first).await;
    browser.click("allow").await;
    let page = browser.until_headed("The app").await;
    assert!(page.url.contains("&state=first&"), "{page:#?}");
    two_answers(&site);
    browser.close().await;
}

/// A page that asks for the password still, when another tab has signed in and allowed meanwhile.
async fn a_sign_in_page_left_open(words: &'static Words) {
    let (site, browser) = (Site::start("Planner", ""), Browser::open(words).await);
    browser.go(&site.authorize("first")).await;
    browser.until_there_is("login").await;
    let first = browser.this_tab().await;
    browser.tab().await;
    browser.go(&site.authorize("second")).await;
    sign_in(&browser).await;
    browser.click("allow").await;
    browser.until_headed("The app").await;
    browser.switch(&first).await;
    sign_in(&browser).await;
    let page = browser.until_headed("The app").await;
    assert!(page.url.contains("&state=first&"), "{page:#?}");
    two_answers(&site);
    browser.close().await;
}

fn two_answers(site: &Site) {
    let answers = site.app.answers();
    assert_eq!(answers.len(), 2);
    assert_ne!(code(&answers[0]), code(&answers[1]));
    assert_eq!(site.grants(), 2);
}

fn code(answer: &str) -> String {
    form_urlencoded::parse(answer.as_bytes())
        .find(|(name, _)| name == "code")
        .map(|(_, code)| code.into_owned())
        .expect("a code")
}
