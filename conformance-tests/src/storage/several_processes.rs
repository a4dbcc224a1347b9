//! *Every clause holds for all processes that share a store. A store for one process at a time refuses
//! the second.*

use std::sync::Arc;

use futures_util::future::join_all;
use grantor::storage::{CommitId, CommitOutcome, Durability, Kind, Storage};

use super::linearizability::{CLIENTS, explore};
use super::process::{Kill, Process};
use super::run::sized;
use super::toolkit::{StorageExt as _, create, key, stored};
use super::{Backend, Clause, Opened, Processes};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Several processes",
    why: "a server that runs twice, or is restarted while it still runs, has two processes on one \
          store; if one does not see what the other wrote, each redeems the same code.",
};

async fn start(address: &str) -> Result<Process, String> {
    Process::start(address, Kill::Never).await.map(|process| process.expect("nobody killed it"))
}

/// A record is committed here, and another process opens the same address: it sees it
/// ([`Processes::Shared`]), is refused until this one closes ([`Processes::Exclusive`]), or has a store
/// of its own ([`Processes::Private`]).
pub async fn a_second_process_is_let_in_or_refused_as_stated<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let commit = create(&key(Kind::Grant, "grant"), "value");
    backend.store().apply(&commit).await;
    let address = backend.place().address();
    let second = start(&address).await;
    match B::PROCESSES {
        Processes::Shared => {
            let second = second.unwrap_or_else(|reason| {
                panic!("the store is shared, and does not open in a second process: {reason}")
            });
            assert_eq!(
                second.store().get(&commit.key).await,
                Some(stored(&commit)),
                "a second process does not see what the first one has committed"
            );
            second.close();
        }
        Processes::Exclusive => {
            assert!(
                second.is_err(),
                "the store is for one process at a time, and a second one opened it beside the first"
            );
            let _place = backend.close();
            let second = start(&address).await.unwrap_or_else(|reason| {
                panic!(
                    "the first process has closed the store, and a second one is refused: {reason}"
                )
            });
            if second.store().promises().durability > Durability::None {
                assert_eq!(
                    second.store().get(&commit.key).await,
                    Some(stored(&commit)),
                    "what one process committed and closed is not there in the next"
                );
            }
            second.close();
        }
        Processes::Private => {
            if let Ok(second) = second {
                assert_eq!(
                    second.store().get(&commit.key).await,
                    None,
                    "the store is in the memory of its process, and another process sees it"
                );
            }
        }
    }
}

/// Processes that have one store open: one for each client where it is shared, and one for all of them
/// where it is not.
struct Clients<B: Backend> {
    processes: Vec<Process>,
    count: usize,
    _place: B,
}

impl<B: Backend> Clients<B> {
    async fn start(count: usize) -> Self {
        let place = B::create().await;
        let mut processes = Vec::new();
        for _ in 0..if B::PROCESSES == Processes::Shared { count } else { 1 } {
            match start(&place.address()).await {
                Ok(process) => processes.push(process),
                Err(reason) => panic!("the store does not open in another process: {reason}"),
            }
        }
        Self { processes, count, _place: place }
    }

    fn stores(&self) -> Vec<Arc<impl Storage + use<B>>> {
        self.processes.iter().cycle().take(self.count).map(Process::store).collect()
    }
}

/// All try to replace one version of a record at once, time after time; one is told that it did, and
/// all see its version. A store for one process has its clients there, in another process than this.
pub async fn of_contending_processes_one_replaces_each_version<B: Backend>() {
    let clients = Clients::<B>::start(4).await;
    let stores = clients.stores();
    let key = key(Kind::Grant, "grant");
    let mut last: Option<CommitId> = None;
    for version in 0..sized(50, 5_000) {
        let tries = stores.iter().enumerate().map(|(n, store)| {
            let mut commit = create(&key, format!("version {version} of client {n}"));
            commit.expect = last;
            async move { (store.try_commit(&commit).await, commit) }
        });
        let answers = join_all(tries).await;
        let mut winners = answers.iter().filter(|(outcome, _)| *outcome == CommitOutcome::Applied);
        let (Some((_, winner)), None) = (winners.next(), winners.next()) else {
            panic!(
                "of {} clients that replaced version {version} of a record at once, {} were told \
                 that they did; a code would be redeemed so many times",
                stores.len(),
                answers.iter().filter(|(outcome, _)| *outcome == CommitOutcome::Applied).count()
            );
        };
        for (n, store) in stores.iter().enumerate() {
            assert_eq!(
                store.get(&key).await,
                Some(stored(winner)),
                "client {n} does not see who replaced version {version}"
            );
        }
        last = Some(winner.id);
    }
}

/// The random programs of [`linearizability`](super::linearizability), with the clients in other
/// processes.
pub async fn what_several_processes_do_has_an_order_that_explains_it<B: Backend>() {
    let clients = Clients::<B>::start(CLIENTS).await;
    explore(&clients.stores(), sized(60, 2_000));
}
