//! Decisions that were recorded, and what is said about them later.
//!
//! Every decision of every test in this suite is recorded, made again and compared: see
//! [`world`](crate::world). Here is what a reader of a trace gets to see.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::trace::{InvalidTrace, Told, Trace};

use crate::world::{Browser, Tokens, World, authorize_url, redemption};

/// The explanation of the last decision.
fn last(world: &World) -> String {
    let traces = world.traces();
    traces.last().expect("a decision").explain().expect("a whole trace").to_string()
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in\n{text}");
    }
}

#[tokio::test]
async fn why_a_code_was_refused() {
    let world = World::new();
    let client = world.confidential().await;
    let code = world.code(&client).await;
    let wrong = redemption(&code).map(|(name, value)| match name {
        "code_verifier" => (name, "a-verifier-that-is-long-enough-but-is-another-one"),
        _ => (name, value),
    });
    world.pass(Duration::from_secs(12));
    world.call("/token", &client, &wrong).await.refused(400, "invalid_grant");
    let text = last(&world);
    says(
        &text,
        &[
            "asked     tokens for a code (grant_type=authorization_code)",
            "with client_secret_basic",
            "a code_verifier of 49 characters",
            "the code is good for 48 s more",
            "the account of user alice (alice) stands",
            "decided   refused: the code_verifier is wrong, 4 attempts are left",
            "told in the answer: invalid_grant",
            "because   RFC 7636 section 4.6",
            "1 wrong verifiers",
            "\"event\":\"wrong_verifier\"",
            "replayed  the same decision",
        ],
    );
    // The client was told less.
    assert!(!world.call("/token", &client, &wrong).await.body.contains("verifier"));

    world.pass(Duration::from_secs(48));
    world.redeem(&client, &code).await.refused(400, "invalid_grant");
    says(
        &last(&world),
        &["refused: the code has expired", "RFC 6749 section 4.1.2", "expired 0 s"],
    );
}

#[tokio::test]
async fn why_a_session_ended() {
    let world = World::new();
    let client = world.public().await;
    let first = world.tokens(&client).await;
    let second = Tokens::of(&world.refresh(&client, &first.refresh).await);
    says(&last(&world), &["granted: an access token for \"read write\" that works for 1 h"]);
    world.refresh(&client, &first.refresh).await;
    says(&last(&world), &["inside the retry window", "written   nothing", "refresh_retried"]);
    world.refresh(&client, &second.refresh).await;
    world.refresh(&client, &first.refresh).await.refused(400, "invalid_grant");
    let text = last(&world);
    says(
        &text,
        &[
            "refused: a retired refresh token was presented",
            "RFC 9700 section 4.14.2",
            "revoked 0 s ago: refresh_token_reused",
        ],
    );
}

#[tokio::test]
async fn why_a_browser_was_sent_where_it_was() {
    let world = World::new();
    let client = world.confidential().await;
    let mut browser = Browser::default();
    browser.get(&world, &authorize_url(&client, &[("prompt", Some("none"))])).await;
    let text = last(&world);
    says(
        &text,
        &[
            "prompt \"none\"",
            "state of 7 bytes",
            "by a browser that nobody is signed in with",
            "refused: the user would have to sign in, and prompt is none",
            "by a redirect to https://client.example/cb: login_required",
        ],
    );
    browser.get(&world, &authorize_url(&client, &[])).await;
    says(&last(&world), &["written   a new authorization of client", "waits for its user"]);
    let elsewhere = authorize_url(&client, &[("redirect_uri", Some("https://evil.example/"))]);
    browser.get(&world, &elsewhere).await;
    says(&last(&world), &["on a page, and not to the client", "RFC 9700 section 4.1.3"]);
    let twice = format!("{}&prompt=login&prompt=none", authorize_url(&client, &[]));
    browser.get(&world, &twice).await;
    says(&last(&world), &["prompt more than once", "RFC 6749 section 3.1"]);
    browser.walk(&world, &authorize_url(&client, &[])).await;
    says(&last(&world), &["a code for what the user allowed", "a redirect to", "with a code"]);
}

#[tokio::test]
async fn what_a_stranger_sent_stays_in_its_line() {
    // ATTACKS J03.
    let world = World::new();
    let forged = "/authorize?client_id=x%0Areplayed%20%20forged%0D%1B%5B2J&redirect_uri=%C2%9Bx%07";
    Browser::default().get(&world, forged).await;
    let text = last(&world);
    assert!(!text.lines().any(|line| line.starts_with("replayed  forged")), "{text}");
    assert!(!text.replace('\n', "").contains(char::is_control), "{text}");
}

#[tokio::test]
async fn a_trace_is_found_by_its_client_step_and_audit_line() {
    let world = World::new();
    let client = world.confidential().await;
    let tokens = world.tokens(&client).await;
    world.is_active(&tokens.access).await;
    let traces = world.traces();
    let redeemed = traces.iter().find(|trace| trace.step() == "redeem").expect("one");
    assert_eq!(redeemed.client_id().as_deref(), Some(client.client.id.as_str()));
    assert!(matches!(&redeemed.decided().outcome, Told::Granted { .. }));
    let real = URL_SAFE_NO_PAD.decode(&tokens.access["gra_".len()..]).expect("base64");
    assert_eq!(
        redeemed.audit()[0]["grant"],
        URL_SAFE_NO_PAD.encode(&real[..12]),
        "the real authorization, as the audit log names it"
    );
}

#[tokio::test]
async fn what_is_no_trace_is_refused_and_harms_nobody() {
    let world = World::new();
    let client = world.confidential().await;
    world.code(&client).await;
    let json = world.traces().pop().expect("a decision").to_json();
    let newer = json.replacen("\"format\":3", "\"format\":4", 1);
    assert!(matches!(Trace::parse(&newer), Err(InvalidTrace::Format { found: 4 })));
    assert!(matches!(Trace::parse("{}"), Err(InvalidTrace::Json(_))));
    // Every text in it cut short or swapped: an error or an explanation, never a panic.
    let whole: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let mut paths = Vec::new();
    texts(&whole, String::new(), &mut paths);
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        for with in ["", "AAAA", "A\u{0}\u{fffd}", "null"] {
            let mut spoiled = whole.clone();
            *spoiled.pointer_mut(&path).expect("it is there") = with.into();
            if let Ok(trace) = Trace::parse(&spoiled.to_string()) {
                let _ = trace.explain().map(|explanation| explanation.to_string());
                let _ = (trace.step(), trace.client_id());
            }
        }
    }
}

fn texts(value: &serde_json::Value, path: String, paths: &mut Vec<String>) {
    match value {
        serde_json::Value::String(_) => paths.push(path),
        serde_json::Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                texts(item, format!("{path}/{at}"), paths);
            }
        }
        serde_json::Value::Object(fields) => {
            for (name, item) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                texts(item, format!("{path}/{name}"), paths);
            }
        }
        _ => {}
    }
}
