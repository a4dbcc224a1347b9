//! What a thief finds in the store and in the log (ATTACKS K01, K02).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::model::{Grant, GrantState};
use grantor::storage::{Kind, Listing, Record};

use crate::world::{
    Browser, PASSWORD, SERVICE, Tokens, VERIFIER, World, authorize_url, hidden, renewal,
};

/// Every byte of every record, with its key, of every event, and of every trace.
async fn dump(world: &World) -> Vec<u8> {
    let mut bytes = Vec::new();
    for kind in Kind::ALL {
        let page = world.storage.list(&Listing::Kind(kind), None, 10_000).await.expect("listed");
        assert!(page.next.is_none());
        let found = world.storage.load(&page.keys).await.expect("loaded");
        for (key, stored) in page.keys.iter().zip(found) {
            bytes.extend(key.to_bytes());
            bytes.extend(stored.expect("there").value);
        }
    }
    for event in world.events() {
        bytes.extend(serde_json::to_vec(&event).expect("JSON"));
        bytes.extend(format!("{event:?}").into_bytes());
    }
    for trace in world.traces() {
        let json = trace.to_json();
        spread(&serde_json::from_str(&json).expect("JSON"), &mut bytes);
        bytes.extend(json.into_bytes());
        bytes.extend(trace.explain().expect("a whole trace").to_string().into_bytes());
    }
    bytes.extend(format!("{:?} {:?}", world.server, world.storage).into_bytes());
    bytes
}

/// What the base64 in it stands for.
fn spread(value: &serde_json::Value, bytes: &mut Vec<u8>) {
    match value {
        serde_json::Value::String(text) => {
            bytes.extend(URL_SAFE_NO_PAD.decode(text).unwrap_or_default());
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| spread(item, bytes)),
        serde_json::Value::Object(fields) => fields.values().for_each(|item| spread(item, bytes)),
        _ => {}
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// The forms in which a secret could lie around: the text, its part after the prefix, and what the
/// base64 in it stands for, whole and the secret half alone.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let body = secret
        .split_once('_')
        .filter(|(prefix, _)| prefix.len() == 3)
        .map_or(secret, |(_, body)| body);
    let mut forms = vec![secret.as_bytes().to_vec(), body.as_bytes().to_vec()];
    for text in [secret, body] {
        if let Ok(decoded) = URL_SAFE_NO_PAD.decode(text) {
            for part in [
                &decoded[..],
                decoded.get(12..44).unwrap_or_default(),
                decoded.get(..32).unwrap_or_default(),
            ] {
                if part.len() >= 24 {
                    forms.push(part.to_vec());
                    forms.push(part.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect());
                }
            }
        }
    }
    forms
}

#[tokio::test]
async fn nothing_that_opens_anything_is_stored_or_logged() {
    // Requirements 6749-073, 6749-079, 9700-029; ATTACKS K01, K02, F10: the whole story, and then a look into
    // the store and the log for every secret that travelled.
    let world = World::new();
    let mut secrets: BTreeSet<String> = [PASSWORD.to_owned(), VERIFIER.to_owned()].into();
    for client in [world.confidential().await, world.public().await, world.without_pkce().await] {
        secrets.extend(client.client_secret.iter().map(|secret| secret.expose().to_owned()));
        let mut browser = Browser::default();
        // An old client, whose challenge is its verifier.
        let plain = [("code_challenge", Some(VERIFIER)), ("code_challenge_method", Some("plain"))];
        browser.get(&world, &authorize_url(&client, &plain)).await.told("invalid_request");
        let page = browser.open(&world, &authorize_url(&client, &[])).await;
        secrets.extend(hidden(&page).into_iter().map(|(_, value)| value));
        browser.sign_in(&world, &page, "alice", "a wrong password").await;
        secrets.insert("a wrong password".into());
        let page = browser.sign_in(&world, &page, "alice", PASSWORD).await;
        secrets.extend(hidden(&page).into_iter().map(|(_, value)| value));
        secrets.extend(browser.cookies.values().cloned());
        let code = browser.decide(&world, &page, &["read"], "allow").await.parameter("code");
        let unused = world.code(&client).await;
        let tokens = Tokens::of(&world.redeem(&client, &code).await);
        let next = Tokens::of(&world.refresh(&client, &tokens.refresh).await);
        let apps = browser.get(&world, "/apps").await;
        secrets.extend(hidden(&apps).into_iter().map(|(_, value)| value));
        // Errors, retries, replays and reuse are logged too.
        world.refresh(&client, &tokens.refresh).await;
        world.call("/token", &client, &SERVICE).await;
        let wrong = [
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens.refresh.as_str()),
            ("client_secret", "grk_a_thief_tried"),
        ];
        world.post("/token", &[], &wrong).await;
        let last = Tokens::of(&world.refresh(&client, &next.refresh).await);
        world
            .call("/token", &client, &renewal(&tokens.refresh))
            .await
            .refused(400, "invalid_grant");
        world.redeem(&client, &code).await.refused(400, "invalid_grant");
        for tokens in [tokens, next, last] {
            secrets.extend([tokens.access, tokens.refresh]);
        }
        secrets.extend([code, unused, "grk_a_thief_tried".to_owned()]);
    }
    let service = world.service().await;
    secrets.insert(Tokens::of(&world.call("/token", &service, &SERVICE).await).access);
    let bytes = dump(&world).await;
    assert!(holds(&bytes, b"alice") && holds(&bytes, b"Calendar"), "the dump is one");
    assert!(secrets.len() > 40, "{}", secrets.len());
    for secret in &secrets {
        for form in forms(secret) {
            assert!(!holds(&bytes, &form), "{secret} lies around as {}", form.escape_ascii());
        }
    }
}

#[tokio::test]
async fn nothing_that_carries_a_secret_shows_it_when_printed() {
    // Requirement 9700-029; ATTACKS K02: `Debug` of what a host gets in hand.
    let world = World::new();
    let client = world.confidential().await;
    let secret = client.client_secret.as_ref().expect("a secret").expose().to_owned();
    let printed = Arc::new(Mutex::new(format!("{client:?}")));
    let credentials = grantor::Credentials {
        username: "alice".into(),
        password: grantor::model::SecretString::new(PASSWORD),
        source: None,
    };
    printed.lock().expect("lock").push_str(&format!("{credentials:?}"));
    let printed = printed.lock().expect("lock").clone();
    assert!(!printed.contains(&secret) && !printed.contains(PASSWORD), "{printed}");
    let mut browser = Browser::default();
    let answer = browser.walk(&world, &authorize_url(&client, &[])).await;
    // Headers that hold a secret are marked, so that whoever logs headers can leave them out.
    assert!(answer.headers["location"].is_sensitive());
    assert!(!format!("{:?}", answer.headers).contains("grc_"));
}

#[tokio::test]
async fn a_copy_of_the_store_redeems_nothing() {
    // Requirement 6749-073; ATTACKS K01: the hashes in a record are no tokens, under any prefix.
    let world = World::new();
    let client = world.public().await;
    let tokens = world.tokens(&client).await;
    let page = world.storage.list(&Listing::Kind(Kind::Grant), None, 10).await.expect("listed");
    let found = world.storage.load(&page.keys).await.expect("loaded");
    for (key, stored) in page.keys.iter().zip(found) {
        let value = stored.expect("there").value;
        for window in value.windows(32) {
            let mut bytes = key.id().to_vec();
            bytes.extend(window);
            for prefix in ["gra_", "grr_"] {
                let forged = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(&bytes));
                world.refresh(&client, &forged).await.refused(400, "invalid_grant");
            }
        }
    }
    assert_eq!(world.refresh(&client, &tokens.refresh).await.status, 200);
}

#[tokio::test]
async fn no_trace_leads_from_one_refresh_token_to_another() {
    // ATTACKS D02, K02: with the nonce the current token could be made out of the retired one, with the
    // family one that was never issued would pass for retired and end the authorization.
    let world = World::new();
    let client = world.public().await;
    let tokens = world.tokens(&client).await;
    world.refresh(&client, &tokens.refresh).await;
    world.refresh(&client, &tokens.refresh).await;
    let grants = world.storage.list(&Listing::Kind(Kind::Grant), None, 10).await.expect("listed");
    let found = world.storage.load(&grants.keys).await.expect("loaded");
    let stored = found.into_iter().flatten().next().expect("one authorization").value;
    let record = Record::decode(&grants.keys[0], &stored).expect("whole");
    let Record::Grant(Grant { state: GrantState::Active(active), .. }) = record else {
        panic!("it was refreshed")
    };
    let refresh = active.refresh.expect("it was refreshed");
    let nonce = refresh.previous.expect("it was rotated").nonce;
    let mut traces = Vec::new();
    for trace in world.traces() {
        spread(&serde_json::from_str(&trace.to_json()).expect("JSON"), &mut traces);
    }
    for secret in [refresh.family, nonce] {
        assert!(holds(&stored, &secret), "the form in which it is looked for");
        assert!(!holds(&traces, &secret));
    }
}
