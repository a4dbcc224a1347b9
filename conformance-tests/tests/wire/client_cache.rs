//! Records of clients that are used a little longer: what that saves, and what it must not cost.

use std::sync::Arc;
use std::time::Duration;

use grantor::AuthorizationServer;
use grantor::engine::{BuildError, Builder};
use grantor::model::{ClientId, SecretString};
use grantor::protocol::register::{Registered, Registration};

use crate::store::{Trouble, TroubledStorage};
use crate::world::{
    Answer, Browser, ISSUER, SERVICE, Tokens, World, authorize_url, basic, redemption, renewal,
    scope,
};

const LIFETIME: Duration = Duration::from_secs(30);

/// A process without a cache, to make and to change things, and one with a cache.
fn two(storage: &Arc<TroubledStorage>) -> (World, World) {
    let plain = World::at(ISSUER, storage.clone(), |builder| builder);
    let cached = caching(&plain);
    (plain, cached)
}

/// Another process, whose cache is cold.
fn caching(world: &World) -> World {
    world.another(|builder| builder.client_cache(LIFETIME))
}

async fn service_token(world: &World, client: &Registered) -> Answer {
    world.call("/token", client, &SERVICE).await
}

async fn introspects(world: &World, caller: &Registered, token: &str) -> bool {
    let answer = world.call("/introspect", caller, &[("token", token)]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["active"].as_bool().expect("7662-004: active is a boolean")
}

async fn bears(world: &World, token: &str) -> bool {
    world.server.check_bearer(token, &scope("read")).await.is_ok()
}

fn access_token(answer: &Answer) -> String {
    Tokens::of(answer).access
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Redemption,
    Refresh,
    ClientCredentials,
    IntrospectionOfItsOwn,
    IntrospectionByAResourceServer,
    Revocation,
    Bearer,
}

#[tokio::test]
async fn so_many_calls_of_the_store_a_request_takes() {
    use Asked::*;

    let storage = TroubledStorage::shared();
    let (plain, _) = two(&storage);
    let (app, service) = (plain.confidential().await, plain.service().await);
    let resource = plain.resource_server().await;
    let table = [
        (Redemption, 2, 2),
        (Refresh, 2, 2),
        (ClientCredentials, 2, 1),
        (IntrospectionOfItsOwn, 1, 1),
        (IntrospectionByAResourceServer, 2, 1),
        (Revocation, 2, 2),
        (Bearer, 2, 1),
    ];
    for (asked, cold, warm) in table {
        let processes = [(caching(&plain), [cold, warm, warm]), (plain.restarted(), [cold; 3])];
        for (world, expected) in processes {
            let mut counted = [0; 3];
            for count in &mut counted {
                let code = plain.code(&app).await;
                let tokens = plain.tokens(&app).await;
                let request = async {
                    match asked {
                        Redemption => world.call("/token", &app, &redemption(&code)).await,
                        Refresh => world.call("/token", &app, &renewal(&tokens.refresh)).await,
                        ClientCredentials => service_token(&world, &service).await,
                        IntrospectionOfItsOwn => {
                            world.call("/introspect", &app, &[("token", &tokens.access)]).await
                        }
                        IntrospectionByAResourceServer => {
                            world.call("/introspect", &resource, &[("token", &tokens.access)]).await
                        }
                        Revocation => {
                            world.call("/revoke", &app, &[("token", &tokens.access)]).await
                        }
                        Bearer => {
                            assert!(bears(&world, &tokens.access).await);
                            return None;
                        }
                    }
                    .into()
                };
                let (calls, answer): (usize, Option<Answer>) = storage.calls_of(request).await;
                assert!(answer.is_none_or(|answer| answer.status == 200), "{asked:?}");
                *count = calls;
            }
            let cache = world.server.client_cache();
            assert_eq!(counted, expected, "{asked:?} with a cache of {cache:?}");
        }
    }
}

#[tokio::test]
async fn what_another_process_changes_is_seen_when_the_time_is_over() {
    // Requirement 6749-008 in several processes: no longer than was stated.
    let storage = TroubledStorage::shared();
    for change in ["remove", "revoke", "rotate"] {
        let (plain, cached) = two(&storage);
        let service = plain.service().await;
        let resource = plain.resource_server().await;
        let token = access_token(&service_token(&cached, &service).await);
        assert!(bears(&cached, &token).await && introspects(&cached, &resource, &token).await);
        plain.pass(Duration::from_secs(10));
        let id = &service.client.id;
        match change {
            "remove" => plain.server.remove_client(id).await.expect("removed"),
            "revoke" => plain.server.revoke_client_grants(id).await.expect("revoked"),
            _ => {
                // Three times, so that the first is not one of those that still work.
                for _ in 0..3 {
                    plain.server.rotate_client_secret(id).await.expect("rotated");
                }
            }
        }
        let dead = change != "rotate";
        assert_eq!(bears(&plain, &token).await, !dead, "{change}");
        plain.pass(Duration::from_millis(19_999));
        assert!(bears(&cached, &token).await, "{change}");
        assert!(introspects(&cached, &resource, &token).await, "{change}");
        let late = service_token(&cached, &service).await;
        assert_eq!(late.status, 200, "{change}: {late:?}");
        // What is issued on what was known is worth nothing where more is known.
        assert_eq!(bears(&plain, &access_token(&late)).await, !dead, "{change}");
        plain.pass(Duration::from_millis(1));
        assert_eq!(bears(&cached, &token).await, !dead, "{change}");
        assert_eq!(introspects(&cached, &resource, &token).await, !dead, "{change}");
        let refused = service_token(&cached, &service).await.status;
        assert_eq!(refused, if change == "revoke" { 200 } else { 401 }, "{change}");
    }
}

#[tokio::test]
async fn what_this_process_changes_is_seen_at_once() {
    let storage = TroubledStorage::new();
    let (_, cached) = two(&storage);
    let service = cached.service().await;
    let id = &service.client.id;
    let token = access_token(&service_token(&cached, &service).await);
    cached.server.revoke_client_grants(id).await.expect("revoked");
    assert!(!bears(&cached, &token).await);
    let again = access_token(&service_token(&cached, &service).await);
    assert!(bears(&cached, &again).await);
    cached.server.remove_client(id).await.expect("removed");
    assert!(!bears(&cached, &again).await);
    service_token(&cached, &service).await.refused(401, "invalid_client");
}

#[tokio::test]
async fn a_load_that_was_overtaken_by_a_change_is_not_kept() {
    let storage = TroubledStorage::new();
    let (plain, cached) = two(&storage);
    let service = plain.service().await;
    let token = access_token(&service_token(&plain, &service).await);
    // The check has found grant and client as they were, and is held before it knows.
    storage.arm(Trouble::HeldWithAnswer(1));
    let cached = Arc::new(cached);
    let checking = {
        let (cached, token) = (Arc::clone(&cached), token.clone());
        tokio::spawn(async move { bears(&cached, &token).await })
    };
    storage.held().await;
    cached.server.remove_client(&service.client.id).await.expect("removed");
    storage.heal();
    storage.release();
    assert!(checking.await.expect("ended"), "it began before");
    assert!(!bears(&cached, &token).await, "and leaves nothing behind");
}

#[tokio::test]
async fn nobody_is_refused_on_what_is_not_fresh() {
    let storage = TroubledStorage::shared();
    let (plain, cached) = two(&storage);
    let service = plain.service().await;
    assert_eq!(service_token(&cached, &service).await.status, 200);
    // A secret of which this process does not know yet.
    let rotated = plain.server.rotate_client_secret(&service.client.id).await.expect("rotated");
    let (calls, answer) = storage.calls_of(service_token(&cached, &rotated)).await;
    assert_eq!((calls, answer.status), (2, 200), "{answer:?}");
    let (calls, _) = storage.calls_of(service_token(&cached, &rotated)).await;
    assert_eq!(calls, 1, "and knows it then");

    // All was revoked, and the user has allowed the client anew.
    let app = plain.confidential().await;
    let before = plain.tokens(&app).await;
    assert!(introspects(&cached, &app, &before.access).await);
    plain.server.revoke_client_grants(&app.client.id).await.expect("revoked");
    let code = plain.code(&app).await;
    let after = Tokens::of(&cached.redeem(&app, &code).await);
    assert!(bears(&cached, &after.access).await);
    // Which has told this process as well.
    assert!(!bears(&cached, &before.access).await);
    cached.refresh(&app, &before.refresh).await.refused(400, "invalid_grant");
    assert_eq!(cached.refresh(&app, &after.refresh).await.status, 200);

    // The same where a resource server asks.
    let (other, resource) = (plain.confidential().await, plain.resource_server().await);
    let before = plain.tokens(&other).await;
    assert!(introspects(&cached, &resource, &before.access).await);
    plain.server.revoke_client_grants(&other.client.id).await.expect("revoked");
    let after = plain.tokens(&other).await;
    assert!(introspects(&cached, &resource, &after.access).await);
    assert!(!introspects(&cached, &resource, &before.access).await);
}

#[tokio::test]
async fn who_is_unknown_is_not_remembered_as_such() {
    // ATTACKS E14, I04.
    let storage = TroubledStorage::shared();
    let (plain, cached) = two(&storage);
    let id = ClientId::parse("soon").expect("an id");
    let header = basic(&id, "a guess");
    for _ in 0..3 {
        let unknown = cached.post("/token", &[("authorization", &header)], &SERVICE).await;
        unknown.refused(401, "invalid_client");
    }
    let registration =
        Registration { client_id: Some(id), ..Registration::service("Soon", scope("read write")) };
    let soon = plain.register(&registration).await;
    assert_eq!(service_token(&cached, &soon).await.status, 200);
    // Wrong secrets are compared with what is there now, and cost what they did.
    let wrong = Registered { client_secret: Some(SecretString::new("a guess")), ..soon };
    let (calls, answer) = storage.calls_of(service_token(&cached, &wrong)).await;
    answer.refused(401, "invalid_client");
    let (without, _) = storage.calls_of(service_token(&plain, &wrong)).await;
    assert_eq!(calls, without);
}

#[tokio::test]
async fn a_clock_that_is_set_back_prolongs_nothing() {
    // ATTACKS J09.
    let storage = TroubledStorage::shared();
    let (plain, cached) = two(&storage);
    let service = plain.service().await;
    let token = access_token(&service_token(&cached, &service).await);
    plain.server.remove_client(&service.client.id).await.expect("removed");
    plain.pass(Duration::from_secs(29));
    assert!(bears(&cached, &token).await);
    plain.step_back(Duration::from_secs(20));
    assert!(!bears(&cached, &token).await);
}

#[tokio::test]
async fn the_pages_and_administration_load_for_themselves() {
    let storage = TroubledStorage::shared();
    let (plain, cached) = two(&storage);
    let app = plain.confidential().await;
    let tokens = plain.tokens(&app).await;
    assert!(introspects(&cached, &app, &tokens.access).await);
    plain.server.remove_client(&app.client.id).await.expect("removed");
    assert!(introspects(&cached, &app, &tokens.access).await, "it is in the cache");
    assert_eq!(cached.server.client(&app.client.id).await.expect("asked"), None);
    assert_eq!(cached.server.clients().await.expect("listed"), []);
    let mut browser = Browser::default();
    browser.get(&cached, &authorize_url(&app, &[])).await.explained(400);
}

#[tokio::test]
async fn a_change_whose_outcome_is_unknown_is_forgotten_too() {
    let storage = TroubledStorage::shared();
    let (_, cached) = two(&storage);
    let service = cached.service().await;
    for trouble in [Trouble::Conflicts(usize::MAX), Trouble::from(1, true)] {
        assert_eq!(service_token(&cached, &service).await.status, 200);
        storage.arm(trouble);
        cached.server.revoke_client_grants(&service.client.id).await.expect_err("no answer");
        storage.heal();
        let (calls, _) = storage.calls_of(service_token(&cached, &service)).await;
        assert_eq!(calls, 2, "it is loaded again after {trouble:?}");
    }
}

#[test]
fn it_is_not_kept_for_longer_than_a_removed_client_is_remembered() {
    let build = |lifetime| {
        let builder = AuthorizationServer::builder(ISSUER.parse().expect("issuer"));
        builder.client_cache(lifetime).build().err()
    };
    assert_eq!(Builder::MAX_CLIENT_CACHE, Duration::from_secs(3600));
    // Only what else is missing is missed.
    assert_eq!(build(Builder::MAX_CLIENT_CACHE), Some(BuildError::NoStorage));
    let longer = Builder::MAX_CLIENT_CACHE + Duration::from_millis(1);
    assert_eq!(build(longer), Some(BuildError::ClientCache));
}
