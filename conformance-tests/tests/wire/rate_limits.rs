//! Wrong secrets, counted in all processes that share a store.

use std::sync::Arc;
use std::time::Duration;

use grantor::engine::RateLimited;
use grantor::model::ClientId;
use grantor::protocol::rate_limit::Limit;
use grantor::protocol::register::Registered;
use grantor::storage::{Key, Kind, Listing, Storage};

use crate::store::{Trouble, TroubledStorage};
use crate::world::{Answer, ISSUER, SERVICE, World, basic};

const BURST: usize = 50;

/// Two processes on one store, by one clock.
fn two(storage: &Arc<TroubledStorage>) -> [World; 2] {
    let one = World::at(ISSUER, storage.clone(), |builder| builder);
    let other = one.restarted();
    [one, other]
}

async fn guess(world: &World, client_id: &str) -> Answer {
    let header = basic(&ClientId::parse(client_id).expect("an id"), "a guess");
    world.post("/token", &[("authorization", &header)], &SERVICE).await
}

async fn ask(world: &World, client: &Registered) -> Answer {
    world.call("/token", client, &SERVICE).await
}

async fn buckets(storage: &dyn Storage) -> Vec<Key> {
    let page = storage.list(&Listing::Kind(Kind::Throttle), None, 1_000).await;
    page.expect("listed").keys
}

#[tokio::test]
async fn wrong_secrets_count_in_every_process() {
    // Requirements 6749-008, 7009-012; ATTACKS E14.
    let storage = TroubledStorage::shared();
    let worlds = two(&storage);
    let service = worlds[0].service().await;
    // Whether there is such a client makes no difference.
    for name in [service.client.id.as_str(), "nobody"] {
        for n in 0..BURST {
            guess(&worlds[n % 2], name).await.refused(401, "invalid_client");
        }
        for world in &worlds {
            let answer = guess(world, name).await;
            answer.refused(429, "invalid_client");
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
    for world in &worlds {
        assert_eq!(
            ask(world, &service).await.status,
            200,
            "the right secret is always let through"
        );
    }
    worlds[0].pass(Duration::from_secs(1));
    guess(&worlds[1], "nobody").await.refused(401, "invalid_client");
    guess(&worlds[0], "nobody").await.refused(429, "invalid_client");
    guess(&worlds[0], "somebody-else").await.refused(401, "invalid_client");
}

#[tokio::test]
async fn only_wrong_secrets_cost_the_store_anything() {
    // Requirement 6749-008.
    let storage = TroubledStorage::shared();
    let [world, other] = two(&storage);
    let service = world.service().await;
    let id = service.client.id.as_str();
    let (before, _) = storage.calls_of(ask(&world, &service)).await;
    let (wrong, _) = storage.calls_of(guess(&world, id)).await;
    assert_eq!((before, wrong), (2, 3), "load and commit; load, and load and commit of the count");
    for _ in 1..BURST {
        guess(&other, id).await.refused(401, "invalid_client");
    }
    let (learns, _) = storage.calls_of(guess(&world, id)).await;
    let (knows, answer) = storage.calls_of(guess(&world, id)).await;
    answer.refused(429, "invalid_client");
    assert_eq!((learns, knows), (2, 1), "what is known to be full is not asked for");
    let (after, _) = storage.calls_of(ask(&world, &service)).await;
    assert_eq!(after, before, "a right secret costs what it did");
}

#[tokio::test]
async fn in_a_store_of_one_process_nothing_is_written() {
    let storage = TroubledStorage::new();
    let worlds = two(&storage);
    let service = worlds[0].service().await;
    for world in &worlds {
        for _ in 0..BURST {
            guess(world, service.client.id.as_str()).await.refused(401, "invalid_client");
        }
        guess(world, service.client.id.as_str()).await.refused(429, "invalid_client");
    }
    assert_eq!(buckets(&*storage).await, []);
}

#[tokio::test]
async fn what_strangers_send_enters_no_key_and_does_not_stay() {
    // ATTACKS I04, I08.
    let storage = TroubledStorage::shared();
    let [world, _] = two(&storage);
    let long = "x".repeat(64);
    let names = ["a.b", "-.~_", "Z", long.as_str()];
    for name in names {
        guess(&world, name).await.refused(401, "invalid_client");
    }
    let limit = Limit { burst: 1, refill: Duration::from_secs(1) };
    let hosts = world.server.rate_limit("what a host counts", limit);
    hosts.take(b"{a}:b *?[\0").await.expect("any bytes");
    let keys = buckets(&*storage).await;
    assert_eq!(keys.len(), names.len() + 1);
    for (key, stored) in keys.iter().zip(storage.load(&keys).await.expect("loaded")) {
        assert_eq!(key.id().len(), 32, "a digest");
        let stored = stored.expect("it was listed");
        let until = world.server.now().plus(Duration::from_secs(120));
        assert!(stored.purge_at < until, "{stored:?}");
        assert!(stored.value.len() < 40, "{stored:?}");
    }
    world.pass(Duration::from_secs(120));
    let mut after = None;
    loop {
        after = world.server.sweep(after.as_ref(), 100).await.expect("swept").next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(buckets(&*storage).await, []);
}

#[tokio::test]
async fn a_crowd_at_one_bucket_is_not_told_that_the_server_is_away() {
    let storage = TroubledStorage::shared();
    let [world, _] = two(&storage);
    // Others are always faster.
    storage.arm(Trouble::Conflicts(usize::MAX));
    for _ in 0..BURST {
        guess(&world, "nobody").await.refused(401, "invalid_client");
    }
    // Of each process, a burst at most.
    guess(&world, "nobody").await.refused(429, "invalid_client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_are_as_many_as_one_after_another() {
    let storage = TroubledStorage::shared();
    let world = Arc::new(World::at(ISSUER, storage.clone(), |builder| builder));
    let limit = Limit { burst: 10, refill: Duration::from_secs(60) };
    let processes: Vec<_> =
        (0..3).map(|_| Arc::new(world.server.rate_limit("test", limit))).collect();
    let mut attempts = tokio::task::JoinSet::new();
    for n in 0..300 {
        let rate = Arc::clone(&processes[n % 3]);
        attempts.spawn(async move { rate.take(b"one and the same").await });
    }
    let answers = attempts.join_all().await;
    let passed = answers.iter().filter(|answer| answer.is_ok()).count();
    let limited = |answer: &Result<(), RateLimited>| {
        matches!(answer, Err(RateLimited::Exceeded { .. })) || answer.is_ok()
    };
    assert!(answers.iter().all(limited), "{answers:?}");
    assert!((10..=30).contains(&passed), "{passed}: one burst, and in no case more than one each");
    // Now all of them know.
    for rate in &processes {
        assert!(rate.take(b"one and the same").await.is_err());
        rate.take(b"another").await.expect("each for itself");
    }
    let other = world.server.rate_limit("another purpose", limit);
    other.take(b"one and the same").await.expect("each purpose for itself");
}

#[tokio::test]
async fn where_the_count_is_not_to_be_had_the_request_waits() {
    let storage = TroubledStorage::shared();
    let [world, _] = two(&storage);
    for at in [1, 2] {
        storage.arm(Trouble::from(at, false));
        let answer = guess(&world, "nobody").await;
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    // A commit whose answer was lost is repeated, and counts once.
    storage.arm(Trouble::once(2, true));
    guess(&world, "nobody").await.refused(401, "invalid_client");
    assert_eq!(storage.heal(), 4);
}
