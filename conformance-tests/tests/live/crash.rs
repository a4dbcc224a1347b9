//! Killed with SIGKILL in the middle of its work, again and again: nothing that was answered is lost,
//! no code works twice, no revoked token works.
//!
//! DURABILITY invariants: S1 single use, S2 revocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::StatusCode;
use tokio::sync::{Mutex, Notify};

use crate::connection::Connection;
use crate::disk::Image;
use crate::patience;
use crate::process::{Home, Server};
use crate::rounds;
use crate::walk::{Browser, Client};

/// What the server has answered, and must stand by.
#[derive(Debug, Default)]
struct Answered {
    /// Codes that were redeemed.
    used_codes: Vec<String>,
    /// Refresh tokens that were exchanged and whose successor was used too: presenting one is theft.
    retired: Vec<String>,
    /// Refresh tokens whose revocation was answered, with an access token of the same grant.
    revoked: Vec<(String, String)>,
    /// Live tokens: the last pair of each session that is still going on.
    live: Vec<(String, String)>,
}

const WORKERS: usize = 16;

/// Counts answers, and says when there have been enough.
#[derive(Debug)]
struct Answers {
    so_far: AtomicUsize,
    enough: usize,
    reached: Notify,
}

impl Answers {
    fn count(&self, answers: usize) {
        if self.so_far.fetch_add(answers, Ordering::SeqCst) + answers >= self.enough {
            self.reached.notify_one();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill() {
    // ATTACKS B03, D04; requirements 6749-042, 7009-006.
    let home = Home::new();
    let mut server = home.start().await;
    let client = server.client();
    let browser = Browser::connect(&server, &client).await;
    let rounds = rounds(8, 500);
    let (mut answers, mut checks) = (0, 0);
    for round in 0..rounds {
        let (answered, given) =
            under_load(&mut server, &client, &browser, round, Server::kill).await;
        server = home.start().await;
        answers += given;
        checks += check(&server, &client, answered, round).await;
    }
    assert!(answers > 0 && checks > 0, "the campaign did something");
    println!(
        "{rounds} kills: {answers} answers given, {checks} of them checked afterwards, 0 lost"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_power_cut() {
    // The server is stopped at an arbitrary moment and the file behind its file system is copied: the
    // copy holds what the disk had been given by then, and nothing that was still in memory.
    let files = tempfile::TempDir::new().expect("a directory");
    let [image, copy, point] = ["image", "copy", "disk"].map(|name| files.path().join(name));
    let Some(mut disk) = Image::create(&image, &point) else { return };
    let home = Home::at(point.clone());
    let mut server = home.start().await;
    let client = server.client();
    let browser = Browser::connect(&server, &client).await;
    let rounds = rounds(3, 100);
    let (mut answers, mut checks) = (0, 0);
    for round in 0..rounds {
        let cut = |server: &mut Server| {
            server.freeze();
            std::fs::copy(&image, &copy).expect("room for a copy");
            server.kill();
        };
        let (answered, given) = under_load(&mut server, &client, &browser, round, cut).await;
        drop(disk);
        std::fs::rename(&copy, &image).expect("the copy is the disk now");
        disk = Image::mount(&image, &point).expect("the file system recovers");
        server = home.start().await;
        answers += given;
        checks += check(&server, &client, answered, round).await;
    }
    drop(server);
    assert!(answers > 0 && checks > 0, "the campaign did something");
    println!(
        "{rounds} power cuts: {answers} answers given, {checks} of them checked afterwards, 0 lost"
    );
}

/// Puts the server under load and ends it in the middle of it; what it had answered by then, and how
/// many answers that were.
async fn under_load(
    server: &mut Server,
    client: &Client,
    browser: &Browser,
    round: usize,
    end: impl FnOnce(&mut Server),
) -> (Answered, usize) {
    let answered = Arc::new(Mutex::new(Answered::default()));
    // The end wanders through the work: after more answers in each round, and then from the start.
    let answers = Arc::new(Answers {
        so_far: AtomicUsize::new(0),
        enough: 20 + (round * 97) % 400,
        reached: Notify::new(),
    });
    let stopping = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let (client, browser) = (client.clone(), browser.clone());
            let (answered, answers) = (Arc::clone(&answered), Arc::clone(&answers));
            let stopping = Arc::clone(&stopping);
            let address = server.address.clone();
            tokio::spawn(async move {
                let tally = (&*answered, &*answers);
                work(&address, worker, &client, &browser, tally, &stopping).await;
            })
        })
        .collect();
    patience::within("the work before the end", answers.reached.notified()).await;
    tokio::task::block_in_place(|| end(server));
    stopping.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.expect("a worker");
    }
    let answered = Arc::try_unwrap(answered).expect("all workers ended").into_inner();
    (answered, answers.so_far.load(Ordering::SeqCst))
}

/// One client that goes through code, token, refresh, refresh, revoke. It stops when its connection
/// breaks.
async fn work(
    address: &str,
    worker: usize,
    client: &Client,
    browser: &Browser,
    (answered, answers): (&Mutex<Answered>, &Answers),
    stopping: &AtomicBool,
) {
    let Some(mut connection) = Connection::open(address).await else { return };
    let Some(mut second_line) = Connection::open(address).await else { return };
    for turn in 0.. {
        if stopping.load(Ordering::SeqCst) {
            break;
        }
        let Some(code) = browser.code(&mut connection, client).await else {
            break;
        };
        let Some(first) = client.redeem(&mut connection, &code).await else {
            break;
        };
        assert_eq!(first.status, StatusCode::OK, "{first:?}");
        answered.lock().await.used_codes.push(code);
        answers.count(2);
        let Some(second) = client.refresh(&mut connection, &first.text("refresh_token")).await
        else {
            break;
        };
        assert_eq!(second.status, StatusCode::OK, "{second:?}");
        // Twice at once: whoever is answered first must be answered for good.
        let token = second.text("refresh_token");
        let (third, twin) = tokio::join!(
            client.refresh(&mut connection, &token),
            client.refresh(&mut second_line, &token),
        );
        let Some(third) = third.or(twin) else { break };
        assert_eq!(third.status, StatusCode::OK, "{third:?}");
        answers.count(2);
        let (access, refresh) = (third.text("access_token"), third.text("refresh_token"));
        match (worker + turn) % 3 {
            0 => {
                let (answer, twin) = tokio::join!(
                    client.revoke(&mut connection, &refresh),
                    client.revoke(&mut second_line, &refresh),
                );
                let Some(answer) = answer.or(twin) else { break };
                assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
                answered.lock().await.revoked.push((refresh, access));
                answers.count(1);
            }
            1 => answered.lock().await.retired.push(first.text("refresh_token")),
            _ => answered.lock().await.live.push((refresh, access)),
        }
    }
}

/// What the server that came up again must still know; returns how much was checked.
async fn check(server: &Server, client: &Client, answered: Answered, round: usize) -> usize {
    let mut connection = server.connect().await;
    let mut checks = 0;
    for (refresh, access) in answered.live.iter().take(20) {
        let active = client.is_active(&mut connection, access).await;
        assert_eq!(active, Some(true), "round {round}: an answered access token was lost");
        let answer = client.refresh(&mut connection, refresh).await.expect("an answer");
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "round {round}: an answered refresh token was lost"
        );
        checks += 2;
    }
    for (refresh, access) in answered.revoked.iter().take(20) {
        let active = client.is_active(&mut connection, access).await;
        assert_eq!(active, Some(false), "round {round}: a revocation was lost");
        let answer = client.refresh(&mut connection, refresh).await.expect("an answer");
        assert_eq!(answer.text("error"), "invalid_grant", "round {round}: a revoked token works");
        checks += 2;
    }
    for code in answered.used_codes.iter().rev().take(40) {
        let answer = client.redeem(&mut connection, code).await.expect("an answer");
        assert_eq!(answer.text("error"), "invalid_grant", "round {round}: a code worked twice");
        checks += 1;
    }
    for token in answered.retired.iter().take(20) {
        let answer = client.refresh(&mut connection, token).await.expect("an answer");
        assert_eq!(answer.text("error"), "invalid_grant", "round {round}: a retired token works");
        checks += 1;
    }
    checks
}
