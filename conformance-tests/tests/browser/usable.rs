//! By keyboard, on a small screen, and with a name that would rather be markup.

use thirtyfour::Key;

use crate::answers::{sign_in, to_consent};
use crate::browser::Browser;
use crate::party::{Demo, Site};
use crate::words::Words;

crate::in_both_languages!(by_keyboard, the_return_key_allows_nothing, a_name_that_is_markup);

/// Where the focus goes from here, one tabulator key at a time.
async fn tab_order(browser: &Browser, steps: usize) -> Vec<String> {
    let mut order = Vec::new();
    for _ in 0..steps {
        browser.press(Key::Tab).await;
        order.push(browser.focus().await);
    }
    order
}

async fn by_keyboard(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    browser.go(&demo.planner("/")).await;
    browser.until_there_is("connect").await;
    browser.press(Key::Tab).await;
    assert_eq!(browser.focus().await, "connect");
    browser.press(Key::Enter).await;

    let page = browser.until_there_is("login").await;
    assert_eq!(page.lang, words.lang);
    assert_eq!(browser.label("username").await, words.username);
    assert_eq!(browser.label("password").await, words.password);
    assert_eq!(browser.label("login").await, words.sign_in);
    assert_eq!(browser.focus().await, "username");
    browser.type_text("demo").await;
    assert_eq!(tab_order(&browser, 2).await, ["password", "login"]);
    browser.press_back_tab().await;
    assert_eq!(browser.focus().await, "password");
    browser.type_text("demo-password").await;
    browser.press(Key::Enter).await;

    let page = browser.until_there_is("allow").await;
    assert_eq!(page.lang, words.lang);
    assert_eq!(browser.label("allow").await, words.allow);
    assert_eq!(browser.label("deny").await, words.deny);
    assert!(browser.label("scope-0").await.contains(words.read));
    assert!(browser.label("scope-1").await.contains(words.write));
    assert_eq!(tab_order(&browser, 4).await, ["scope-0", "scope-1", "deny", "allow"]);
    for _ in 0..2 {
        browser.press_back_tab().await;
    }
    assert_eq!(browser.focus().await, "scope-1");
    browser.press(Key::Space).await;
    assert!(!browser.is_ticked("scope-1").await);
    assert_eq!(tab_order(&browser, 2).await, ["deny", "allow"]);
    browser.press(Key::Enter).await;
    let page = browser.until_headed("Planner is connected").await;
    assert!(page.says("You allowed: calendar.read\n"), "{page:#?}");

    browser.go(&demo.server("/apps")).await;
    browser.until_headed(words.apps).await;
    assert_eq!(browser.label("withdraw-0").await, words.withdraw);
    assert_eq!(browser.label("logout").await, words.sign_out);
    assert_eq!(tab_order(&browser, 2).await, ["withdraw-0", "logout"]);
    browser.press_back_tab().await;
    browser.press(Key::Enter).await;
    browser.until(words.withdrawn, |sight| sight.says(words.withdrawn)).await;
    browser.close().await;
}

async fn the_return_key_allows_nothing(words: &'static Words) {
    let (demo, browser) = (Demo::start(), Browser::open(words).await);
    to_consent(&browser, &demo).await;
    assert_eq!(tab_order(&browser, 1).await, ["scope-0"]);
    browser.press(Key::Enter).await;
    let page = browser.until_headed("You said no").await;
    assert!(!page.has("read"));
    browser.close().await;
}

async fn a_name_that_is_markup(words: &'static Words) {
    let name = "<b>\"x\"</b>'{{7*7}}";
    let (site, browser) = (Site::start(name, ""), Browser::open(words).await);
    let as_text = async |page: &str, heading_has_it: bool| {
        let sight = browser.until(name, |sight| sight.says(name)).await;
        assert_eq!(sight.heading.contains(name), heading_has_it, "{page}");
        let elements = browser.run("return document.querySelectorAll('b, script').length").await;
        assert_eq!(elements, 0, "{page}");
        browser.look(&format!("markup-{page}")).await;
    };
    browser.go(&site.authorize("markup")).await;
    browser.until_there_is("login").await;
    as_text("sign-in", false).await;
    // What the user types comes back as text, too.
    browser.fill("username", "\"><b>x</b>").await;
    browser.fill("password", "wrong").await;
    browser.click("login").await;
    browser.until_there_is("problem").await;
    assert_eq!(browser.value("username").await, "\"><b>x</b>");
    as_text("sign-in-wrong", false).await;
    sign_in(&browser).await;
    browser.until_there_is("allow").await;
    as_text("consent", true).await;
    browser.click("allow").await;
    browser.until_headed("The app").await;
    browser.go(&site.url("/apps")).await;
    browser.until_headed(words.apps).await;
    as_text("apps", false).await;
    browser.close().await;
}
