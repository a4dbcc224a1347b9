//! Assertions of hosts, used once in all processes.

use std::sync::Arc;
use std::time::Duration;

use grantor::engine::Error;
use grantor::protocol::replay::{NotAccepted, OneTime};
use grantor::storage::{Kind, Listing, Storage as _};

use crate::store::{Trouble, TroubledStorage};
use crate::world::{ISSUER, World};

const MINUTE: Duration = Duration::from_secs(60);

fn two(storage: &Arc<TroubledStorage>) -> [World; 2] {
    let one = World::at(ISSUER, storage.clone(), |builder| builder);
    let other = one.restarted();
    [one, other]
}

/// An assertion that is good for a minute.
async fn present(world: &World, issuer: &str, id: &str) -> Result<(), Error<NotAccepted>> {
    let expires_at = world.server.now().plus(MINUTE);
    let assertion = OneTime { purpose: "client assertion", issuer, id, expires_at };
    world.server.accept_once(&assertion).await
}

fn replayed(answer: &Result<(), Error<NotAccepted>>) -> bool {
    matches!(answer, Err(Error::Refused(NotAccepted::Replayed)))
}

#[tokio::test]
async fn an_assertion_is_used_once_wherever_it_comes_to() {
    // ATTACKS E05, E06.
    let storage = TroubledStorage::shared();
    let [one, other] = two(&storage);
    let (calls, first) = storage.calls_of(present(&one, "client", "id")).await;
    first.expect("the first use");
    assert_eq!(calls, 1);
    for world in [&one, &other] {
        let (calls, again) = storage.calls_of(present(world, "client", "id")).await;
        assert!(replayed(&again), "{again:?}");
        assert_eq!(calls, 2);
    }
    // Another issuer's, another identifier, another purpose: where one text ends is part of the name.
    for (issuer, id) in [("clien", "tid"), ("clienti", "d"), ("client", "ID"), ("client", "id ")] {
        present(&other, issuer, id).await.expect("another one");
    }
    let expires_at = one.server.now().plus(MINUTE);
    let proof = OneTime { purpose: "proof", issuer: "client", id: "id", expires_at };
    one.server.accept_once(&proof).await.expect("for another purpose");
}

#[tokio::test]
async fn it_is_remembered_until_nobody_accepts_it() {
    let storage = TroubledStorage::shared();
    let [one, other] = two(&storage);
    present(&one, "client", "id").await.expect("the first use");
    let old = OneTime {
        purpose: "client assertion",
        issuer: "client",
        id: "id",
        expires_at: one.server.now().plus(MINUTE),
    };
    one.pass(Duration::from_secs(59));
    assert!(replayed(&one.server.accept_once(&old).await));
    let swept = one.server.sweep(None, 100).await.expect("swept");
    assert_eq!(swept.removed, 0);
    one.pass(Duration::from_secs(1));
    let late = other.server.accept_once(&old).await;
    assert!(matches!(late, Err(Error::Refused(NotAccepted::Expired))), "{late:?}");
    // Not forgotten before a process whose clock is a minute behind calls it expired too.
    one.pass(Duration::from_secs(59));
    assert!(replayed(&present(&one, "client", "id").await), "a new one of the same name");
    one.pass(Duration::from_secs(1));
    present(&one, "client", "id").await.expect("over a mark that nobody swept");
    assert!(replayed(&present(&other, "client", "id").await));
    one.pass(2 * MINUTE);
    assert_eq!(one.server.sweep(None, 100).await.expect("swept").removed, 1);
    present(&other, "client", "id").await.expect("long forgotten");
}

#[tokio::test]
async fn what_is_expired_or_out_of_bounds_is_refused_without_a_trace() {
    // ATTACKS I04, I08, J09.
    let storage = TroubledStorage::shared();
    let [world, _] = two(&storage);
    let long = "x".repeat(OneTime::MAX_ID_LEN + 1);
    let (calls, answer) = storage.calls_of(present(&world, "client", &long)).await;
    assert!(matches!(answer, Err(Error::Refused(NotAccepted::Malformed))), "{answer:?}");
    assert_eq!(calls, 0);
    present(&world, "{a}:\0*", &long[1..]).await.expect("any text of that length");
    let page = storage.list(&Listing::Kind(Kind::Replay), None, 9).await.expect("listed");
    let lengths: Vec<_> = page.keys.iter().map(|key| key.id().len()).collect();
    assert_eq!(lengths, [32], "a digest");
    let stored = storage.load(&page.keys).await.expect("loaded").remove(0).expect("there");
    assert!(stored.value.len() < 40, "{stored:?}");
}

#[tokio::test]
async fn our_own_repetition_is_no_replay() {
    let storage = TroubledStorage::shared();
    let [world, other] = two(&storage);
    // It ran, and the answer was lost.
    storage.arm(Trouble::once(0, true));
    present(&world, "client", "id").await.expect("the commit is repeated, not the use");
    assert!(replayed(&present(&other, "client", "id").await));
    // It did not run.
    storage.arm(Trouble::once(0, false));
    present(&world, "client", "another").await.expect("the commit is repeated");
    assert!(replayed(&present(&other, "client", "another").await));
    // Nobody knows whether it ran: it counts as used.
    storage.arm(Trouble::from(0, true));
    let unknown = present(&world, "client", "a third").await;
    assert!(matches!(unknown, Err(Error::Unavailable(_))), "{unknown:?}");
    storage.heal();
    assert!(replayed(&present(&other, "client", "a third").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_uses_at_once_one_is_the_first() {
    let storage = TroubledStorage::shared();
    let worlds: Vec<_> = two(&storage).into_iter().map(Arc::new).collect();
    for round in 0..20 {
        let mut uses = tokio::task::JoinSet::new();
        for n in 0..20 {
            let world = Arc::clone(&worlds[n % 2]);
            uses.spawn(async move { present(&world, "client", &round.to_string()).await });
        }
        let answers = uses.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        assert_eq!(answers.iter().filter(|answer| replayed(answer)).count(), 19, "{answers:?}");
    }
}
