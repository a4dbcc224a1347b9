//! The axum program with sessions and a table of users, as its users and their clients meet it.

#[expect(dead_code, unreachable_pub, reason = "the program, whose main is not run here")]
#[path = "../../examples/axum_session.rs"]
mod program;

use argon2::{Argon2, PasswordHasher as _};
use grantor_conformance::postgres::{Schema, shared_server};
use reqwest::StatusCode;
use sqlx::PgPool;

use crate::chromium::Chromium;
use crate::visitor::{Browser, CALLBACK, PASSWORD, Site, login, parameter};

/// The program, running on a database of its own.
struct Running {
    site: Site,
    schema: Schema<'static>,
}

impl Running {
    async fn new() -> Self {
        let schema = shared_server().schema();
        let users = PgPool::connect(&schema.url()).await.expect("the database is there");
        let table = "CREATE TABLE users (id text, name text, password text, disabled boolean)";
        sqlx::query(table).execute(&users).await.expect("a new table");
        let hash = Argon2::default().hash_password_with_salt(PASSWORD.as_bytes(), b"some salt");
        let hash = hash.expect("hashed").to_string();
        for name in ["alice", "bob"] {
            let row = sqlx::query("INSERT INTO users VALUES ('id of ' || $1, $1, $2, false)");
            row.bind(name).bind(&hash).execute(&users).await.expect("a new user");
        }
        let (site, listener) = Site::new().await;
        let (builder, users) = (site.builder(), program::Users(users));
        tokio::spawn(async move {
            program::run(listener, builder, users).await.expect("it runs");
        });
        Self { site, schema }
    }

    fn sql(&self, statement: &str) {
        shared_server().sql(&format!("SET search_path = {}; {statement}", self.schema.name()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_signs_in_at_the_host_and_comes_back() {
    login::a_visitor_signs_in_at_the_host_and_comes_back(&Running::new().await.site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_elsewhere() {
    login::nobody_is_sent_elsewhere(&Running::new().await.site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_signs_nobody_in() {
    login::another_site_signs_nobody_in(&Running::new().await.site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_signed_in_is_asked_again_only_where_that_is_wanted() {
    login::who_is_signed_in_is_asked_again_only_where_that_is_wanted(&Running::new().await.site)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_at_the_host_is_nobody() {
    // ATTACKS G04: also in a copy of the cookies of before.
    let Running { site, .. } = &Running::new().await;
    let mut browser = Browser::new(site);
    let token = browser.token(site, "alice").await;
    let before = browser.clone();
    let done = browser.send(browser.post("/logout")).await;
    assert_eq!(done.status, StatusCode::OK);
    for mut browser in [browser, before] {
        let login = browser.open(&site.authorize(&[])).await;
        assert!(login.is_login(), "{login:?}");
    }
    // What was allowed before is not withdrawn by that.
    assert_eq!(site.me(&token).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_makes_a_new_session() {
    // ATTACKS G04: who made a visitor use a session of their own is not signed in with it.
    let Running { site, .. } = &Running::new().await;
    let mut browser = Browser::new(site);
    browser.token(site, "alice").await;
    let mut planted = browser.clone();
    let login = browser.open(&site.authorize(&[("prompt", "login")])).await;
    browser.sign_in(&login, "bob", PASSWORD).await;
    let login = planted.open(&site.authorize(&[])).await;
    assert!(login.is_login(), "the old session is still there: {login:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_has_no_live_token() {
    let running = &Running::new().await;
    let Running { site, .. } = running;
    let mut browser = Browser::new(site);
    let token = browser.token(site, "alice").await;
    let other = Browser::new(site).token(site, "bob").await;
    running.sql("UPDATE users SET disabled = true WHERE name = 'alice'");
    assert_eq!(site.me(&token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.me(&other).await.status, StatusCode::OK);
    let login = browser.open(&site.authorize(&[])).await;
    let refused = browser.sign_in(&login, "alice", PASSWORD).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    running.sql("UPDATE users SET disabled = false WHERE name = 'alice'");
    assert_eq!(site.me(&token).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_table_nobody_is_told_something_wrong() {
    // ATTACKS K04: neither "wrong password" nor "invalid token".
    let running = &Running::new().await;
    let Running { site, .. } = running;
    let mut browser = Browser::new(site);
    let token = browser.token(site, "alice").await;
    running.sql("ALTER TABLE users RENAME TO elsewhere");
    assert_eq!(site.me(&token).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let back = browser.open(&site.authorize(&[])).await;
    assert_eq!(parameter(&back.location, "error"), "temporarily_unavailable");
    let login = Browser::new(site).open("/login").await;
    let refused = Browser::new(site).sign_in(&login, "alice", PASSWORD).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    running.sql("ALTER TABLE elsewhere RENAME TO users");
    assert_eq!(site.me(&token).await.status, StatusCode::OK);
}

/// The page itself, in a browser that keeps to what cookies and forms say.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_in_a_browser() {
    let Running { site, .. } = &Running::new().await;
    let chromium = Chromium::open().await;
    chromium.go(&site.authorize(&[])).await;
    chromium.until_at(&format!("{}/login?return_to=", site.origin)).await;
    chromium.write("[name=username]", "alice").await;
    chromium.write("[name=password]", PASSWORD).await;
    chromium.click("button").await;
    chromium.click("#allow").await;
    let token = site.redeem(&chromium.until_at(CALLBACK).await).await;
    assert_eq!(site.me(&token).await.body, "alice");
    // From the client's site, and signed in.
    chromium.go(&site.authorize(&[])).await;
    site.redeem(&chromium.until_at(CALLBACK).await).await;
}
