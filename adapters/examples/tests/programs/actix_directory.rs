//! The actix-web program that asks a directory, as its users and their clients meet it: also while the
//! directory is slow, or broken, or away.

#[expect(unreachable_pub, reason = "the program, whose main is not run here")]
#[path = "../../examples/actix_directory.rs"]
mod program;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::visitor::{Browser, PASSWORD, Site, login, parameter};

/// How the directory is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    /// It knows nobody of the name alice any more.
    WithoutAlice,
    Failing,
    /// It says what nobody can read.
    Confused,
    /// It says that the question is wrong.
    Elsewhere,
    /// It says nothing.
    Silent,
}

/// The directory, for as long as this is there.
struct Directory {
    mood: watch::Sender<Mood>,
    /// Those who are asked about "slow" wait until there is one of these for them.
    released: Arc<Semaphore>,
    /// How many wait, or have waited.
    waiting: watch::Receiver<usize>,
    url: String,
}

#[derive(Clone)]
struct Inside {
    mood: watch::Receiver<Mood>,
    released: Arc<Semaphore>,
    waiting: watch::Sender<usize>,
}

#[derive(Deserialize)]
struct Asked {
    name: Option<String>,
    password: Option<String>,
    id: Option<String>,
}

async fn answer(
    State(inside): State<Inside>,
    Path(what): Path<String>,
    asked: Form<Asked>,
) -> Response {
    let mood = *inside.mood.borrow();
    let Form(Asked { name, password, id }) = asked;
    let name = name.or_else(|| id.as_deref()?.strip_prefix("id of ").map(str::to_owned));
    let name = name.unwrap_or_default();
    if name == "slow" && what == "check" {
        inside.waiting.send_modify(|waiting| *waiting += 1);
        inside.released.acquire().await.expect("it stays open").forget();
    }
    let known = ["alice", "bob", "slow"].contains(&name.as_str());
    match mood {
        Mood::Well => {}
        Mood::WithoutAlice if name != "alice" => {}
        Mood::WithoutAlice => return Json(None::<String>).into_response(),
        Mood::Failing => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Confused => return "<html>Welcome to the directory".into_response(),
        Mood::Elsewhere => return StatusCode::NOT_FOUND.into_response(),
        Mood::Silent => std::future::pending().await,
    }
    let answer = match what.as_str() {
        "check" => {
            (known && password.as_deref() == Some(PASSWORD)).then(|| format!("id of {name}"))
        }
        "name" => known.then_some(name),
        _ => panic!("nobody asks {what}"),
    };
    Json(answer).into_response()
}

impl Directory {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let ((mood, hears), (says, waiting)) = (watch::channel(Mood::Well), watch::channel(0));
        let released = Arc::new(Semaphore::new(0));
        let inside = Inside { mood: hears, released: Arc::clone(&released), waiting: says };
        let app = Router::new().route("/{what}", post(answer)).with_state(inside);
        tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { mood, released, waiting, url }
    }
}

/// Nobody is given up only because this machine is busy.
const UNHURRIED: Duration = Duration::from_secs(30);

/// The program, running beside a directory of its own, which it waits for so long.
async fn running(patience: Duration) -> (Site, Directory) {
    let (site, listener) = Site::new().await;
    let directory = Directory::new().await;
    let client = Client::builder().timeout(patience).no_proxy().build().expect("a client");
    let (builder, users) = (site.builder(), program::Users(client, directory.url.clone()));
    let listener = listener.into_std().expect("a listener");
    std::thread::spawn(move || {
        let run = program::run(listener, builder, users);
        actix_web::rt::System::new().block_on(run).expect("it runs");
    });
    (site, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_signs_in_at_the_host_and_comes_back() {
    let (site, _directory) = running(UNHURRIED).await;
    login::a_visitor_signs_in_at_the_host_and_comes_back(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_elsewhere() {
    let (site, _directory) = running(UNHURRIED).await;
    login::nobody_is_sent_elsewhere(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_signs_nobody_in() {
    let (site, _directory) = running(UNHURRIED).await;
    login::another_site_signs_nobody_in(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_signed_in_is_asked_again_only_where_that_is_wanted() {
    let (site, _directory) = running(UNHURRIED).await;
    login::who_is_signed_in_is_asked_again_only_where_that_is_wanted(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_at_the_host_is_nobody() {
    let (site, _directory) = running(UNHURRIED).await;
    let mut browser = Browser::new(&site);
    let token = browser.token(&site, "alice").await;
    let done = browser.send(browser.post("/logout")).await;
    assert_eq!(done.status, StatusCode::OK);
    assert!(browser.open(&site.authorize(&[])).await.is_login());
    // What was allowed before is not withdrawn by that.
    assert_eq!(site.me(&token).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_gone_has_no_live_token() {
    let (site, directory) = running(UNHURRIED).await;
    let mut browser = Browser::new(&site);
    let token = browser.token(&site, "alice").await;
    let other = Browser::new(&site).token(&site, "bob").await;
    directory.mood.send_replace(Mood::WithoutAlice);
    assert_eq!(site.me(&token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.me(&other).await.status, StatusCode::OK);
    let login = browser.open(&site.authorize(&[])).await;
    let refused = browser.sign_in(&login, "alice", PASSWORD).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

/// Whatever is wrong with the directory, nobody is told that a password is wrong, or a token; and
/// everything goes on where it was as soon as it is well again.
///
/// ATTACKS K04.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_fails_or_hangs_is_no_answer() {
    // Long enough where it does answer, on a busy machine; and waited for where it does not.
    let (site, directory) = running(Duration::from_secs(1)).await;
    let mut alice = Browser::new(&site);
    let token = alice.token(&site, "alice").await;
    let mut bob = Browser::new(&site);
    let login = bob.open(&site.authorize(&[])).await;
    for mood in [Mood::Failing, Mood::Confused, Mood::Elsewhere, Mood::Silent] {
        directory.mood.send_replace(mood);
        let refused = bob.sign_in(&login, "bob", PASSWORD).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{mood:?}: {refused:?}");
        assert!(refused.body.contains("Try again"), "{mood:?}: {refused:?}");
        let me = site.me(&token).await;
        assert_eq!(me.status, StatusCode::SERVICE_UNAVAILABLE, "{mood:?}: {me:?}");
        let back = alice.open(&site.authorize(&[])).await;
        assert_eq!(parameter(&back.location, "error"), "temporarily_unavailable", "{mood:?}");
        directory.mood.send_replace(Mood::Well);
        assert_eq!(site.me(&token).await.body, "alice", "{mood:?}");
    }
    let consent = bob.sign_in(&login, "bob", PASSWORD).await;
    assert!(consent.is_consent(), "{consent:?}");
}

/// More wait for the directory than the program has threads, and nobody else waits with them.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_directory_holds_up_nobody_else() {
    const SLOW: usize = 12;
    let (site, mut directory) = running(UNHURRIED).await;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut browser = Browser::new(&site);
        let login = browser.open(&site.authorize(&[])).await;
        slow.push(tokio::spawn(async move { browser.sign_in(&login, "slow", PASSWORD).await }));
    }
    let all = directory.waiting.wait_for(|waiting| *waiting == SLOW);
    let all = tokio::time::timeout(UNHURRIED, all).await;
    all.expect("all of them are asked about at once").expect("the directory is there");
    let token = Browser::new(&site).token(&site, "alice").await;
    assert_eq!(site.me(&token).await.body, "alice");
    assert!(slow.iter().all(|sign_in| !sign_in.is_finished()), "they are still waiting");
    directory.released.add_permits(SLOW);
    for sign_in in slow {
        let consent = sign_in.await.expect("no panic");
        assert!(consent.is_consent(), "{consent:?}");
    }
}
