//! Many at once, on several threads (ATTACKS B02, D01, D09).

use std::collections::BTreeSet;
use std::sync::Arc;

use grantor::model::Subject;
use grantor::protocol::register::Registered;
use tokio::task::JoinSet;

use crate::world::{Answer, Tokens, World};

const ROUNDS: usize = 20;
const TASKS: usize = 200;

fn alice() -> Subject {
    Subject::parse("alice").expect("subject")
}

/// The same request from many tasks, spread over two processes on one store.
async fn all_at_once<F>(world: &Arc<World>, request: impl Fn(Arc<World>) -> F) -> Vec<Answer>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let other = Arc::new(world.restarted());
    let mut tasks = JoinSet::new();
    for n in 0..TASKS {
        let world = if n % 2 == 0 { world } else { &other };
        tasks.spawn(request(Arc::clone(world)));
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_redemptions_one_wins_and_then_all_is_revoked() {
    // Requirements 6749-042, 6749-043, OA21-013; ATTACKS B02: the others are replays by the client itself.
    let world = Arc::new(World::new());
    let client = Arc::new(world.confidential().await);
    for _ in 0..ROUNDS {
        let code = Arc::new(world.code(&client).await);
        let answers = all_at_once(&world, |world| {
            let (client, code) = (Arc::clone(&client), Arc::clone(&code));
            async move { world.redeem(&client, &code).await }
        })
        .await;
        let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(won.len(), 1);
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            answer.refused(400, "invalid_grant");
        }
        let tokens = Tokens::of(won[0]);
        assert!(!world.is_active(&tokens.access).await);
        world.refresh(&client, &tokens.refresh).await.refused(400, "invalid_grant");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_refreshes_get_one_and_the_same_answer() {
    // ATTACKS D01, D02: no forked family, and the session lives on.
    let world = Arc::new(World::new());
    for client in [world.confidential().await, world.public().await] {
        let client = Arc::new(client);
        let mut tokens = world.tokens(&client).await;
        for _ in 0..ROUNDS {
            let presented = Arc::new(tokens.refresh.clone());
            let answers = all_at_once(&world, |world| {
                let (client, presented) = (Arc::clone(&client), Arc::clone(&presented));
                async move { world.refresh(&client, &presented).await }
            })
            .await;
            let sets: BTreeSet<(String, String)> = answers
                .iter()
                .map(Tokens::of)
                .map(|tokens| (tokens.access, tokens.refresh))
                .collect();
            assert_eq!(sets.len(), 1, "{sets:?}");
            tokens = Tokens::of(&answers[0]);
            assert!(world.is_active(&tokens.access).await);
        }
    }
}

/// Something that ends a grant.
#[derive(Clone, Copy, Debug)]
enum End {
    RevokeRefresh,
    Withdraw,
    RevokeSubject,
    RevokeClient,
    RemoveClient,
}

async fn end(world: &World, client: &Registered, how: End, refresh: &str) {
    let id = &client.client.id;
    match how {
        End::RevokeRefresh => {
            let answer = world.call("/revoke", client, &[("token", refresh)]).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        End::Withdraw => world.server.withdraw_consent(&alice(), id).await.expect("withdrawn"),
        End::RevokeSubject => world.server.revoke_subject(&alice()).await.expect("revoked"),
        End::RevokeClient => world.server.revoke_client_grants(id).await.expect("revoked"),
        End::RemoveClient => world.server.remove_client(id).await.expect("removed"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_ended_is_not_brought_back_by_a_late_write() {
    // Requirements 7009-006, 9700-038; ATTACKS D09: refreshes and redemptions run while the grant is ended; when
    // all are done, nothing that any of them was given is alive.
    for how in [
        End::RevokeRefresh,
        End::Withdraw,
        End::RevokeSubject,
        End::RevokeClient,
        End::RemoveClient,
    ] {
        for _ in 0..ROUNDS {
            let world = Arc::new(World::new());
            let client = Arc::new(world.confidential().await);
            let tokens = world.tokens(&client).await;
            let code = Arc::new(world.code(&client).await);
            let start = Arc::new(tokio::sync::Barrier::new(3));
            let refreshing = tokio::spawn({
                let (world, client, start) =
                    (Arc::clone(&world), Arc::clone(&client), Arc::clone(&start));
                let mut refresh = tokens.refresh.clone();
                async move {
                    let mut given = Vec::new();
                    start.wait().await;
                    // Far more often than the end takes to arrive.
                    for _ in 0..20_000 {
                        let answer = world.refresh(&client, &refresh).await;
                        if answer.status != 200 {
                            return given;
                        }
                        let tokens = Tokens::of(&answer);
                        refresh = tokens.refresh.clone();
                        given.push(tokens);
                    }
                    panic!("{how:?} is answered, and the refresh token works on");
                }
            });
            let redeeming = tokio::spawn({
                let (world, client, start) =
                    (Arc::clone(&world), Arc::clone(&client), Arc::clone(&start));
                let code = Arc::clone(&code);
                async move {
                    start.wait().await;
                    world.redeem(&client, &code).await
                }
            });
            start.wait().await;
            end(&world, &client, how, &tokens.refresh).await;
            let mut given = refreshing.await.expect("refreshed");
            given.push(tokens);
            let redeemed = redeeming.await.expect("redeemed");
            // A revocation by the client concerns the one grant.
            if redeemed.status == 200 && !matches!(how, End::RevokeRefresh) {
                given.push(Tokens::of(&redeemed));
            }
            let world = world.restarted();
            for tokens in given {
                assert!(!world.is_active(&tokens.access).await, "{how:?}");
                let answer = world.refresh(&client, &tokens.refresh).await;
                // 429: a removed client that goes on asking.
                assert!([400, 401, 429].contains(&answer.status), "{how:?}: {answer:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_withdrawals_at_once_are_one() {
    // ATTACKS D09, D10: each is answered only once all of it is done.
    let world = Arc::new(World::new());
    let client = Arc::new(world.confidential().await);
    for _ in 0..ROUNDS {
        let live = world.tokens(&client).await;
        let mut tasks = JoinSet::new();
        for _ in 0..20 {
            let (world, client, access) =
                (Arc::clone(&world), Arc::clone(&client), live.access.clone());
            tasks.spawn(async move {
                // Whoever comes when it is over finds nothing to withdraw.
                let _ = world.server.withdraw_consent(&alice(), &client.client.id).await;
                assert!(!world.is_active(&access).await);
            });
        }
        tasks.join_all().await;
        assert!(world.server.connections(&alice()).await.expect("listed").is_empty());
    }
}
