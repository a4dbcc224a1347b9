//! What operators list, on a store that gives no more than the contract asks for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use grantor::protocol::register::Registration;
use grantor::storage::{Kind, Listing, Storage};

use crate::scanning::Scans;
use crate::world::{CALLBACK, ISSUER, World, scope};

#[tokio::test]
async fn every_grant_is_listed_once_however_the_store_walks() {
    let storage: Arc<dyn Storage> = Arc::new(Scans::default());
    let world = World::at(ISSUER, Arc::clone(&storage), |builder| builder);
    let service = world.service().await;
    let mut issued = BTreeSet::new();
    for n in 0..300 {
        let answer = world.call("/token", &service, &crate::world::SERVICE).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        if n % 50 == 0 {
            // Often enough that a walk loses its place in between.
            let grants = world.server.grants().await.expect("listed").into_iter();
            let ids: Vec<_> = grants.map(|grant| grant.id).collect();
            assert!(ids.is_sorted_by(|one, next| one < next), "once, by identifier");
            assert_eq!(ids.len(), n + 1, "all that was issued until then");
            issued.extend(ids);
        }
    }
    assert_eq!(issued.len(), 251);
    assert!(
        storage.list(&Listing::Kind(Kind::Grant), None, 9).await.expect("a page").keys.is_empty()
    );
}

#[tokio::test]
async fn clients_are_listed_by_index_until_they_are_removed() {
    let world = World::at(ISSUER, Arc::new(Scans::default()), |builder| builder);
    let (one, two) = (world.service().await.client.id, world.public().await.client.id);
    let listed = async || {
        let clients = world.server.clients().await.expect("listed").into_iter();
        clients.map(|client| client.id).collect::<BTreeSet<_>>()
    };
    assert_eq!(listed().await, BTreeSet::from([one.clone(), two.clone()]));
    // Later commits of the record repeat no entry.
    world.server.rotate_client_secret(&one).await.expect("rotated");
    world.server.remove_client(&two).await.expect("removed");
    assert_eq!(listed().await, BTreeSet::from([one.clone()]));
    world.pass(Duration::from_secs(2 * 86_400));
    let mut after = None;
    for _ in 0..100 {
        let swept = world.server.sweep(after.as_ref(), 3).await.expect("swept");
        after = swept.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(after, None, "a sweep ends, whichever of its steps look at nothing");
    assert_eq!(listed().await, BTreeSet::from([one]));
}

#[tokio::test]
async fn a_client_is_changed_and_what_it_has_goes_on() {
    let world = World::new();
    let client = world.confidential().await;
    let tokens = world.tokens(&client).await;
    let admin = crate::world::authorize_url(&client, &[("scope", Some("admin"))]);
    let mut browser = crate::world::Browser::default();
    browser.open(&world, &admin).await.told("invalid_scope");
    let registration = Registration::confidential("Calendar", CALLBACK, scope("read admin"));
    world.server.update_client(&client.client.id, &registration).await.expect("changed");
    let page = browser.reach_consent(&world, &admin).await;
    assert!(page.body.contains("Administer"), "{page:?}");
    // The secret is the one that it had, and what was issued stands; a refresh is of what is left.
    assert!(world.is_active(&tokens.access).await);
    let refreshed = world.refresh(&client, &tokens.refresh).await;
    assert_eq!((refreshed.status, &refreshed.json()["scope"]), (200, &"read".into()));
    let narrower = crate::world::authorize_url(&client, &[]);
    browser.open(&world, &narrower).await.told("invalid_scope");
    world.server.remove_client(&client.client.id).await.expect("removed");
    assert!(world.server.update_client(&client.client.id, &registration).await.is_err());
}
