//! Many at once, over as many connections: exactly one wins.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use http::StatusCode;
use tokio::sync::Mutex;

use crate::connection::{Answer, Connection};
use crate::process::Server;
use crate::rounds;
use crate::walk::{Browser, Client};

const PARALLEL: usize = 200;

type Pool = Vec<Arc<Mutex<Connection>>>;

async fn connect(server: &Server) -> Pool {
    let mut pool = Vec::new();
    for _ in 0..PARALLEL {
        let connection = Connection::open(&server.address).await.expect("the server listens");
        pool.push(Arc::new(Mutex::new(connection)));
    }
    pool
}

/// The same request on every connection at once.
async fn all_at_once<F>(pool: &Pool, client: &Client, token: &str, call: F) -> Vec<Answer>
where
    F: AsyncFn(&Client, &mut Connection, &str) -> Option<Answer>,
{
    join_all(pool.iter().map(async |connection| {
        let mut connection = connection.lock().await;
        call(client, &mut connection, token).await.expect("an answer")
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_redemptions_of_one_code_one_gets_tokens_and_the_others_revoke_them() {
    // Requirements 6749-042, 6749-043, OA21-013; ATTACKS B02.
    let server = Server::start().await;
    let client = server.client();
    let browser = Browser::connect(&server, &client).await;
    let pool = connect(&server).await;
    let rounds = rounds(30, 1000);
    for round in 0..rounds {
        let code = browser.code(&mut *pool[0].lock().await, &client).await.expect("a code");
        let answers = all_at_once(&pool, &client, &code, Client::redeem).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == StatusCode::OK);
        assert_eq!(won.len(), 1, "round {round}");
        for answer in lost {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "round {round}: {answer:?}");
            assert_eq!(answer.text("error"), "invalid_grant");
        }
        let access = won[0].text("access_token");
        let active = client.is_active(&mut *pool[0].lock().await, &access).await;
        assert_eq!(active, Some(false), "round {round}: what a replayed code issued is revoked");
    }
    println!(
        "{rounds} rounds of {PARALLEL} redemptions: one token set each, {} refused",
        rounds * (PARALLEL - 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_refreshes_with_one_token_all_get_the_same_and_the_session_lives_on() {
    // ATTACKS D01, D02.
    let server = Server::start().await;
    let client = server.client();
    let browser = Browser::connect(&server, &client).await;
    let pool = connect(&server).await;
    let code = browser.code(&mut *pool[0].lock().await, &client).await.expect("a code");
    let answer = client.redeem(&mut *pool[0].lock().await, &code).await.expect("an answer");
    let mut refresh = answer.text("refresh_token");
    let rounds = rounds(30, 1000);
    for round in 0..rounds {
        let answers = all_at_once(&pool, &client, &refresh, Client::refresh).await;
        let sets: BTreeSet<(String, String)> = answers
            .iter()
            .map(|answer| {
                assert_eq!(answer.status, StatusCode::OK, "round {round}: {answer:?}");
                (answer.text("access_token"), answer.text("refresh_token"))
            })
            .collect();
        assert_eq!(sets.len(), 1, "round {round}: exactly one new token set");
        let (access, next) = sets.into_iter().next().expect("one");
        assert_ne!(next, refresh, "round {round}: it is a new one");
        let active = client.is_active(&mut *pool[0].lock().await, &access).await;
        assert_eq!(active, Some(true), "round {round}: the session lives on");
        refresh = next;
    }
    println!("{rounds} rounds of {PARALLEL} refreshes: one new token set each, every retry got it");
}
