//! The pages between a request and its answer: sign-in and consent (RFC 6749 section 10.12 and 10.13,
//! RFC 9700 section 4.2 and 4.16, ATTACKS series G).

use std::time::Duration;

use grantor::model::{ClientId, RedirectUri};
use grantor::protocol::register::{Registered, Registration};
use grantor::storage::{Commit, CommitId, CommitOutcome, Key, Record};
use http::Method;

use crate::world::{
    Answer, Browser, CALLBACK, PASSWORD, World, action, authorize_url, borrowed, encode, hidden,
    scope, scopes_of,
};

const SAME_ORIGIN: [(&str, &str); 1] = [("sec-fetch-site", "same-origin")];

fn filled(page: &Answer, more: &[(&str, &str)]) -> String {
    let mut form = hidden(page);
    form.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    encode(&borrowed(&form))
}

const ALLOW: [(&str, &str); 2] = [("scope", "read"), ("decision", "allow")];
const LOGIN: [(&str, &str); 2] = [("username", "alice"), ("password", PASSWORD)];

#[tokio::test]
async fn the_consent_page_says_who_what_where_and_how_long() {
    // Requirements 6749-072, 9700-021, 9700-040; ATTACKS G05, G09, G16.
    let world = World::new();
    let client = world.public().await;
    let page = Browser::default().reach_consent(&world, &authorize_url(&client, &[])).await;
    for text in [
        "<bdi>Phone</bdi>",
        "client.example",
        "See your calendar",
        "Change your calendar",
        "alice",
        "90",
    ] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    assert_eq!(scopes_of(&page), ["read", "write"]);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("form-action 'self' https://client.example;"), "{policy}");
}

#[tokio::test]
async fn the_sign_in_page_asks_and_answers_one_way() {
    // Requirements 6749-010, 9700-003, 9700-032, OA21-002; ATTACKS G11, G15: an unknown user and a wrong password
    // look the same; the password is never sent on.
    let world = World::new();
    let client = world.public().await;
    let mut browser = Browser::default();
    let page = browser.open(&world, &authorize_url(&client, &[])).await;
    let mut bodies = Vec::new();
    for (name, password) in
        [("alice", "wrong"), ("nobody", "wrong"), ("alice", ""), ("", ""), ("nobody", PASSWORD)]
    {
        let answer = browser.sign_in(&world, &page, name, password).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(answer.header("set-cookie"), "");
        let typed = format!("value=\"{name}\"");
        bodies.push(answer.body.replace(&typed, "value=\"\"").replace(" autofocus", ""));
    }
    world.disable("mallory");
    let answer = browser.sign_in(&world, &page, "mallory", PASSWORD).await;
    bodies.push(answer.body.replace("value=\"mallory\"", "value=\"\"").replace(" autofocus", ""));
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let body = filled(&page, &LOGIN);
    let answer = browser.send(&world, Method::POST, &action(&page), &SAME_ORIGIN, &body).await;
    assert_eq!(answer.status, 303);
    assert!(answer.location().starts_with("/interaction?interaction=gri_"), "{answer:?}");
    assert!(!answer.location().contains(PASSWORD));
}

#[tokio::test]
async fn a_session_is_new_at_every_sign_in_and_dead_at_sign_out() {
    // Requirement HTTP-001; ATTACKS G04: what was in the browser before opens nothing afterwards.
    let world = World::new();
    let mut browser = Browser::of(&world, "alice").await;
    let name = "__Host-grantor-session";
    let first = browser.clone();
    // A cookie that somebody planted does not become the session.
    let mut planted = Browser::default();
    planted
        .cookies
        .insert(name.into(), first.cookies[name].replace(|c: char| c.is_ascii_digit(), "7"));
    let page = planted.get(&world, "/apps").await;
    let page = planted.sign_in(&world, &page, "mallory", PASSWORD).await;
    assert!(page.body.contains("mallory"));
    assert_ne!(planted.cookies[name], first.cookies[name]);
    // Signing in again ends the session that was there.
    world.pass(Duration::from_secs(1));
    let client = world.public().await;
    let url = authorize_url(&client, &[("prompt", Some("login"))]);
    let page = browser.open(&world, &url).await;
    browser.sign_in(&world, &page, "alice", PASSWORD).await;
    assert_ne!(browser.cookies[name], first.cookies[name]);
    let page = first.clone().get(&world, "/apps").await;
    assert!(page.body.contains("id=\"password\""), "the old session is dead");
    // Without the prefix it is not looked at.
    let mut sibling = Browser::default();
    sibling.cookies.insert("grantor-session".into(), browser.cookies[name].clone());
    let page = sibling.get(&world, "/apps").await;
    assert!(page.body.contains("id=\"password\""));
    let copy = browser.clone();
    let page = browser.get(&world, "/apps").await;
    let answer = browser.post(&world, "/apps/logout", &borrowed(&hidden(&page)[..1])).await;
    assert_eq!(answer.status, 200);
    assert!(!browser.cookies.contains_key(name));
    let page = copy.clone().get(&world, "/apps").await;
    assert!(page.body.contains("id=\"password\""), "signing out ends it on the server");
    // And it runs out.
    let lasting = Browser::of(&world, "alice").await;
    world.pass(Duration::from_secs(8 * 3600));
    let page = lasting.clone().get(&world, "/apps").await;
    assert!(page.body.contains("id=\"password\""));
}

/// A page with a form of ours, the path that it goes to, and what it takes to fill it in.
async fn pages(
    world: &World,
    client: &Registered,
) -> Vec<(Browser, String, Vec<(String, String)>)> {
    let url = authorize_url(client, &[("prompt", Some("consent"))]);
    let mut guest = Browser::default();
    let sign_in = guest.open(world, &url).await;
    let apps_sign_in = guest.get(world, "/apps").await;
    let mut user = Browser::of(world, "alice").await;
    let consent = user.reach_consent(world, &url).await;
    user.clone().walk(world, &url).await;
    let apps = user.get(world, "/apps").await;
    let token = hidden(&apps).swap_remove(0);
    let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let with = |page: &Answer, more: &[(&str, &str)]| [hidden(page), own(more)].concat();
    let id = client.client.id.as_str();
    vec![
        (guest.clone(), "/interaction/login".into(), with(&sign_in, &LOGIN)),
        (user.clone(), "/interaction/consent".into(), with(&consent, &ALLOW)),
        (user.clone(), "/interaction/consent".into(), with(&consent, &[("decision", "deny")])),
        (guest, "/apps/login".into(), with(&apps_sign_in, &LOGIN)),
        (
            user.clone(),
            "/apps/withdraw".into(),
            [vec![token.clone()], own(&[("client_id", id)])].concat(),
        ),
        (user, "/apps/logout".into(), vec![token]),
    ]
}

#[tokio::test]
async fn a_form_of_ours_is_answered_by_whom_it_was_shown_to_and_by_nobody_else() {
    // Requirements 6749-081, 9700-002, HTTP-008; ATTACKS G02, G03, B08: without its secret, with another
    // browser's, in another browser, from another site, by GET or HEAD. Afterwards the form is still good.
    let world = World::new();
    let client = world.public().await;
    let foreign = pages(&world, &client).await;
    for ((browser, path, form), (stranger, _, others)) in
        pages(&world, &client).await.into_iter().zip(foreign)
    {
        let good = encode(&borrowed(&form));
        for headers in [
            [("sec-fetch-site", "cross-site")],
            [("sec-fetch-site", "same-site")],
            [("sec-fetch-site", "evil")],
            [("origin", "https://evil.example")],
            [("origin", "https://as.example.evil")],
            [("origin", "http://as.example")],
            [("origin", "https://as.example:444")],
        ] {
            let answer = browser.clone().send(&world, Method::POST, &path, &headers, &good).await;
            answer.explained(403);
        }
        for method in [Method::GET, Method::HEAD, Method::PUT] {
            let target = format!("{path}?{good}");
            let answer = browser.clone().send(&world, method, &target, &SAME_ORIGIN, &good).await;
            assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
        }
        for (at, (name, value)) in form.iter().enumerate() {
            if !["interaction", "ticket", "form_token"].contains(&name.as_str()) {
                continue;
            }
            let theirs =
                others.iter().find(|(known, _)| known == name).expect("the same form").1.clone();
            let backwards: String = value.chars().rev().collect();
            for wrong in ["", "x", &theirs, &backwards] {
                let mut form = form.clone();
                form[at].1 = wrong.to_owned();
                let body = encode(&borrowed(&form));
                let answer =
                    browser.clone().send(&world, Method::POST, &path, &SAME_ORIGIN, &body).await;
                assert!((400..405).contains(&answer.status), "{path} {name}={wrong}: {answer:?}");
                assert!(answer.is_error_page(), "{path} {name}={wrong}: {answer:?}");
            }
        }
        for mut other in [Browser::default(), stranger, Browser::of(&world, "mallory").await] {
            let answer = other.send(&world, Method::POST, &path, &SAME_ORIGIN, &good).await;
            assert!((400..405).contains(&answer.status), "{path}: {answer:?}");
            assert!(answer.is_error_page(), "{path}: {answer:?}");
        }
        let headers = [("origin", "https://as.example")];
        let answer = browser.clone().send(&world, Method::POST, &path, &headers, &good).await;
        if path == "/interaction/consent" && good.contains("deny") {
            // The page was answered the other way in the turn before.
            answer.explained(400);
        } else {
            assert!([200, 303].contains(&answer.status), "{path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_interaction_belongs_to_the_browser_that_began_it() {
    // Requirements 6749-081, 9700-024; ATTACKS B08, D03, G04: a link that is sent to somebody else opens nothing
    // there, signed in or not; afterwards it is still good where it began.
    let world = World::new();
    let client = world.public().await;
    let mut mallory = Browser::of(&world, "mallory").await;
    let page = mallory.reach_consent(&world, &authorize_url(&client, &[])).await;
    let link = format!("/interaction?interaction={}", hidden(&page)[0].1);
    for mut victim in [Browser::default(), Browser::of(&world, "alice").await] {
        victim.get(&world, &link).await.explained(400);
        let answer = victim.decide(&world, &page, &["read"], "allow").await;
        assert!(answer.is_error_page(), "{answer:?}");
        let answer = victim.sign_in(&world, &page_of_login(&page), "alice", PASSWORD).await;
        assert!(answer.is_error_page(), "{answer:?}");
    }
    // A handle that was never given out, and one that is not one.
    for odd in ["gri_x", "", "x", "\u{e9}"] {
        let target = format!("/interaction?{}", encode(&[("interaction", odd)]));
        mallory.get(&world, &target).await.explained(404);
    }
    assert_eq!(mallory.decide(&world, &page, &["read"], "allow").await.status, 303);
}

/// The sign-in form of the same interaction.
fn page_of_login(consent: &Answer) -> Answer {
    let mut page = consent.clone();
    page.body = page.body.replace("consent", "login");
    page
}

#[tokio::test]
async fn another_user_cannot_answer_what_was_shown_to_one() {
    // Requirement 6749-081; ATTACKS B08, G06: same browser, the user changed between page and answer.
    let world = World::new();
    let client = world.public().await;
    let mut browser = Browser::default();
    let page = browser.reach_consent(&world, &authorize_url(&client, &[])).await;
    let apps = browser.get(&world, "/apps").await;
    browser.post(&world, "/apps/logout", &borrowed(&hidden(&apps)[..1])).await;
    browser.decide(&world, &page, &["read"], "allow").await.explained(403);
    let apps = browser.get(&world, "/apps").await;
    browser.sign_in(&world, &apps, "mallory", PASSWORD).await;
    browser.decide(&world, &page, &["read"], "allow").await.explained(403);
    browser.decide(&world, &page, &[], "deny").await.explained(403);
}

#[tokio::test]
async fn two_requests_in_one_browser_do_not_mix() {
    // ATTACKS G06, A16: each page leads where its own request came from, with its own parameters.
    let world = World::new();
    let honest = world.public().await;
    let evil = Registration::public("Evil", "https://evil.example/cb", scope("read write"));
    let evil = world.register(&evil).await;
    let mut browser = Browser::of(&world, "alice").await;
    let first =
        browser.reach_consent(&world, &authorize_url(&honest, &[("state", Some("first"))])).await;
    let change = [("redirect_uri", Some("https://evil.example/cb")), ("state", Some("second"))];
    let second = browser.reach_consent(&world, &authorize_url(&evil, &change)).await;
    // What the form does not know is ignored: nothing of the request is kept in the browser.
    let tampered = [
        ("scope", "read"),
        ("scope", "admin"),
        ("decision", "allow"),
        ("redirect_uri", "https://evil.example/cb"),
        ("client_id", evil.client.id.as_str()),
        ("state", "tampered"),
        ("code_challenge", "x"),
        ("user", "mallory"),
        ("sub", "mallory"),
    ];
    let body = filled(&first, &tampered);
    let answer = browser.send(&world, Method::POST, &action(&first), &SAME_ORIGIN, &body).await;
    assert!(answer.location().starts_with(CALLBACK), "{answer:?}");
    assert_eq!(answer.parameter("state"), "first");
    let tokens = world.redeem(&honest, &answer.parameter("code")).await;
    assert_eq!(tokens.json()["scope"], "read", "ATTACKS G14: {tokens:?}");
    let answer = browser.decide(&world, &second, &["read"], "allow").await;
    assert!(answer.location().starts_with("https://evil.example/cb?"), "{answer:?}");
    assert_eq!(answer.parameter("state"), "second");
}

#[tokio::test]
async fn the_user_may_say_no_or_less() {
    // Requirements 6749-037, 6749-047, 6749-048, 9207-001.
    let world = World::new();
    let client = world.public().await;
    for (scopes, decision) in
        [(vec![], "deny"), (vec!["read"], "deny"), (vec![], "allow"), (vec!["admin"], "allow")]
    {
        let mut browser = Browser::default();
        let page = browser.reach_consent(&world, &authorize_url(&client, &[])).await;
        let answer = browser.decide(&world, &page, &scopes, decision).await;
        answer.told("access_denied");
        assert_eq!(answer.parameter("state"), "a state");
        browser.decide(&world, &page, &["read"], "allow").await.explained(400);
    }
    let mut browser = Browser::default();
    let page = browser.reach_consent(&world, &authorize_url(&client, &[])).await;
    for decision in ["", "maybe", "ALLOW"] {
        browser.decide(&world, &page, &["read"], decision).await.explained(400);
    }
    for scope in ["read\"", "read  write", "\u{e9}"] {
        browser.decide(&world, &page, &[scope], "allow").await.explained(400);
    }
    assert_eq!(browser.decide(&world, &page, &["read"], "allow").await.status, 303);
}

#[tokio::test]
async fn twice_is_once_and_back_is_no_way_forward() {
    // Requirement 9700-024; ATTACKS B09, G06: the form sent twice gets the one code twice; once that is used, or
    // too late, or answered otherwise, it is over.
    let world = World::new();
    let client = world.public().await;
    let mut browser = Browser::default();
    let page = browser.reach_consent(&world, &authorize_url(&client, &[])).await;
    let link = format!("/interaction?interaction={}", hidden(&page)[0].1);
    let first = browser.decide(&world, &page, &["read"], "allow").await;
    let second = browser.decide(&world, &page, &["read"], "allow").await;
    assert_eq!(first.location(), second.location());
    browser.get(&world, &link).await.explained(400);
    let mut other = Browser::of(&world, "alice").await;
    assert!(other.decide(&world, &page, &["read"], "allow").await.is_error_page());
    assert_eq!(world.redeem(&client, &first.parameter("code")).await.status, 200);
    browser.decide(&world, &page, &["read"], "allow").await.explained(400);
    browser.get(&world, &link).await.explained(400);
    let page = browser
        .reach_consent(&world, &authorize_url(&client, &[("prompt", Some("consent"))]))
        .await;
    browser.decide(&world, &page, &["read"], "allow").await;
    world.pass(Duration::from_secs(60));
    browser.decide(&world, &page, &["read"], "allow").await.explained(400);
    // An open page that nobody answers runs out.
    let page = browser
        .reach_consent(&world, &authorize_url(&client, &[("prompt", Some("consent"))]))
        .await;
    world.pass(Duration::from_secs(600));
    browser.decide(&world, &page, &["read"], "allow").await.explained(400);
    let link = format!("/interaction?interaction={}", hidden(&page)[0].1);
    browser.get(&world, &link).await.explained(400);
}

#[tokio::test]
async fn a_page_that_is_open_does_not_outlive_what_it_is_about() {
    // ATTACKS A16, D06: client removed, its grants revoked, user disabled, while the page is open.
    for event in 0..3 {
        let world = World::new();
        let client = world.public().await;
        let mut browser = Browser::default();
        let page = browser.reach_consent(&world, &authorize_url(&client, &[])).await;
        let id: &ClientId = &client.client.id;
        match event {
            0 => world.server.remove_client(id).await.expect("removed"),
            1 => world.server.revoke_client_grants(id).await.expect("revoked"),
            _ => world.disable("alice"),
        }
        let answer = browser.decide(&world, &page, &["read"], "allow").await;
        assert!(answer.is_error_page(), "event {event}: {answer:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_no_longer_registered_gets_no_code() {
    // ATTACKS A16: the registration changes while the page is open; neither answer is sent there.
    let world = World::new();
    let client = world.public().await;
    let mut browser = Browser::default();
    let page = browser.reach_consent(&world, &authorize_url(&client, &[])).await;
    let key = Key::client(&client.client.id);
    let stored = world.storage.load(std::slice::from_ref(&key)).await.expect("loaded");
    let stored = stored[0].clone().expect("a client");
    let Record::Client(mut changed) = Record::decode(&key, &stored.value).expect("a record") else {
        panic!("a client");
    };
    changed.redirect_uris =
        vec![RedirectUri::parse("https://client.example/other").expect("a URI")];
    let commit = Commit {
        key,
        expect: Some(stored.commit),
        id: CommitId::from_bytes([7; 16]),
        record: Record::Client(changed).to_new_record(None).expect("a record"),
    };
    let outcome = world.storage.commit(commit).await.expect("committed");
    assert_eq!(outcome, CommitOutcome::Applied);
    for decision in ["allow", "deny"] {
        browser.decide(&world, &page, &["read"], decision).await.explained(400);
    }
    let link = format!("/interaction?interaction={}", hidden(&page)[0].1);
    browser.get(&world, &link).await.explained(400);
}

#[tokio::test]
async fn prompt_and_max_age_are_kept_to_the_end() {
    // ATTACKS G07: also when the page is skipped, the sign-in is abandoned, or the answer comes late.
    let world = World::new();
    let client = world.confidential().await;
    let mut browser = Browser::default();
    browser.walk(&world, &authorize_url(&client, &[])).await;
    world.pass(Duration::from_secs(100));
    let answer = browser.open(&world, &authorize_url(&client, &[("prompt", Some("none"))])).await;
    assert!(answer.parameter("code").starts_with("grc_"), "signed in and remembered");
    for change in [
        ("prompt", Some("login")),
        ("prompt", Some("select_account")),
        ("max_age", Some("99")),
        ("max_age", Some("0")),
    ] {
        let url = authorize_url(&client, &[change]);
        let page = browser.open(&world, &url).await;
        assert!(page.body.contains("id=\"password\""), "{change:?}");
        let link = format!("/interaction?interaction={}", hidden(&page)[0].1);
        // Looking again, or going straight to the other form, does not help.
        let page = browser.get(&world, &link).await;
        assert!(page.body.contains("id=\"password\""), "{change:?}");
        let mut straight = hidden(&page);
        straight.push(("decision".into(), "allow".into()));
        straight.push(("scope".into(), "read".into()));
        straight.push(("ticket".into(), "x".into()));
        let answer = browser.post(&world, "/interaction/consent", &borrowed(&straight)).await;
        assert!(answer.is_error_page(), "{answer:?}");
        let answer = browser.sign_in(&world, &page, "alice", PASSWORD).await;
        assert!(answer.parameter("code").starts_with("grc_"), "{change:?}: {answer:?}");
        world.pass(Duration::from_secs(100));
    }
    let fresh = authorize_url(&client, &[("max_age", Some("100"))]);
    assert!(browser.open(&world, &fresh).await.parameter("code").starts_with("grc_"));
    for (prompt, error) in [("none login", "invalid_request"), ("none consent", "invalid_request")]
    {
        world.get(&authorize_url(&client, &[("prompt", Some(prompt))])).await.told(error);
    }
    let silent = [("prompt", Some("none")), ("max_age", Some("1"))];
    browser.open(&world, &authorize_url(&client, &silent)).await.told("login_required");
    let more = [("prompt", Some("none"))];
    let other = world.confidential().await;
    browser.open(&world, &authorize_url(&other, &more)).await.told("consent_required");
    let page = browser.open(&world, &authorize_url(&client, &[("prompt", Some("consent"))])).await;
    assert!(page.body.contains("id=\"allow\""));
}

#[tokio::test]
async fn consent_is_remembered_where_it_is_sure_who_asks() {
    // Requirements 6749-071, 8252-009, 8252-010; ATTACKS G01: and only for what was allowed.
    let world = World::new();
    let registered = |uri: &str| Registration::public("App", uri, scope("read write"));
    for (registration, remembered) in [
        (Registration::confidential("Web", CALLBACK, scope("read write")), true),
        (registered(CALLBACK), true),
        (registered("http://127.0.0.1/cb"), false),
        (registered("com.example.app:/cb"), false),
    ] {
        let uri = registration.redirect_uris[0].clone();
        let client = world.register(&registration).await;
        let mut browser = Browser::default();
        let narrow = [("redirect_uri", Some(uri.as_str())), ("scope", Some("read"))];
        let page = browser.reach_consent(&world, &authorize_url(&client, &narrow)).await;
        browser.decide(&world, &page, &["read"], "allow").await;
        let again = browser.open(&world, &authorize_url(&client, &narrow)).await;
        assert_eq!(again.location().starts_with(&uri), remembered, "{uri}: {again:?}");
        let wider = [("redirect_uri", Some(uri.as_str()))];
        let page = browser.reach_consent(&world, &authorize_url(&client, &wider)).await;
        assert_eq!(scopes_of(&page), ["read", "write"]);
        // Another user was not asked.
        let mut other = Browser::of(&world, "mallory").await;
        other.reach_consent(&world, &authorize_url(&client, &narrow)).await;
    }
    let asking = World::with_policy(|policy| policy.remember_consent = false);
    let client = asking.confidential().await;
    let mut browser = Browser::default();
    for _ in 0..2 {
        let page = browser.reach_consent(&asking, &authorize_url(&client, &[])).await;
        browser.decide(&asking, &page, &["read", "write"], "allow").await;
    }
    let first_party = Registration {
        skip_consent: true,
        ..Registration::confidential("Own", CALLBACK, scope("read write"))
    };
    let own = asking.register(&first_party).await;
    assert!(
        browser.open(&asking, &authorize_url(&own, &[])).await.location().starts_with(CALLBACK)
    );
}

#[tokio::test]
async fn a_name_cannot_pretend_to_be_the_page() {
    // Requirement 6749-083; ATTACKS G08, G09: markup is shown as text, disguise is not registered.
    let world = World::new();
    for name in
        ["<script>alert(1)</script>", "\"><h1>evil", "{{ 7331*7331 }}", "&lt;b&gt;", "</title>"]
    {
        let client =
            world.register(&Registration::public(name, CALLBACK, scope("read write"))).await;
        let page = Browser::default().reach_consent(&world, &authorize_url(&client, &[])).await;
        for raw in ["<script>", "<h1>evil", "53743561"] {
            assert!(!page.body.contains(raw), "{page:?}");
        }
    }
    for name in ["", "a\u{202e}b", "a\u{200b}b", "a\nb", "a\0b", &"x".repeat(10_000)] {
        let registration = Registration::public(name, CALLBACK, scope("read write"));
        world.server.register_client(&registration).await.expect_err("a disguise");
    }
    for uri in [
        "javascript:alert(1)",
        "http://a.test/",
        "data:text/html,x",
        "https://u:p@a.test/",
        "https://a.test/\u{202e}",
    ] {
        let registration = Registration {
            policy_uri: Some(uri.into()),
            ..Registration::public("A", CALLBACK, scope("read write"))
        };
        world.server.register_client(&registration).await.expect_err("no web page");
    }
}

#[tokio::test]
async fn sign_ins_are_slowed_down_as_the_user_database_says() {
    // Requirements 6749-080, HTTP-007; ATTACKS G12: 429 with the time to wait; where the request came from is
    // told by the connection alone.
    use grantor::{Authenticator, AuthenticatorError, Credentials, Verdict};
    #[derive(Debug, Default)]
    struct Throttling(std::sync::Mutex<Vec<Option<std::net::IpAddr>>>);
    #[async_trait::async_trait]
    impl Authenticator for Throttling {
        async fn verify(&self, credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
            let mut seen = self.0.lock().expect("lock");
            seen.push(credentials.source);
            let spoofed = credentials.source != Some([192, 0, 2, 1].into());
            assert!(!spoofed, "{credentials:?}");
            Ok(Verdict::Throttled { retry_after: Duration::from_secs(30) })
        }
        async fn account(
            &self,
            _: &grantor::model::Subject,
        ) -> Result<Option<grantor::model::Account>, AuthenticatorError> {
            Ok(None)
        }
    }
    let world = World::with(|builder| builder.authenticator(Throttling::default()));
    let client = world.public().await;
    let mut browser = Browser::default();
    let page = browser.open(&world, &authorize_url(&client, &[])).await;
    let apps = browser.get(&world, "/apps").await;
    for page in [page, apps] {
        let cookies: Vec<String> =
            browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let headers = [
            ("cookie", cookies.as_str()),
            ("x-forwarded-for", "203.0.113.9"),
            ("forwarded", "for=203.0.113.9"),
        ];
        let mut request =
            crate::world::request(Method::POST, &action(&page), &headers, &filled(&page, &LOGIN));
        request.extensions_mut().insert(grantor::wire::PeerAddr([192, 0, 2, 1].into()));
        let answer = world.send(request).await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, "30"), "{answer:?}");
        assert!(answer.body.contains("id=\"problem\""), "{answer:?}");
    }
}
