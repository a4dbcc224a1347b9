//! Whether the world is what it stands for: its store is the reference store, and a request that is
//! driven step by step does what the production server does when nobody interferes.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use grantor::model::{Subject, Timestamp};
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Index, Key, Kind, Listing, MemoryStorage, NewRecord, Storage,
    Stored,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::cast;
use crate::scenes::Scene;
use crate::store::Store;
use crate::tables::{Id, Tables};
use crate::world::{Action, State, World};

/// What can be done to a store.
#[derive(Clone, Debug)]
enum Deed {
    Commit { key: u8, expect: Option<u8>, id: u8, purge_at: i64, index: Option<u8> },
    Sweep { now: i64 },
}

/// Any sequence of commits and sweeps has the same answers here and in the reference, and leaves the
/// same records and listings.
pub(crate) fn the_store_of_the_world_is_the_reference() -> Result<(), String> {
    let commit = (0..3_u8, any::<Option<u8>>(), 0..6_u8, 0..10_i64, any::<Option<u8>>()).prop_map(
        |(key, expect, id, purge_at, index)| Deed::Commit {
            key,
            expect: expect.map(|id| id % 6),
            id,
            purge_at,
            index: index.map(|index| index % 2),
        },
    );
    let sweep = (0..10_i64).prop_map(|now| Deed::Sweep { now });
    let deeds = proptest::collection::vec(prop_oneof![9 => commit, 1 => sweep], 1..40);
    runner(256)
        .run(&deeds, |deeds| {
            let (tables, mut here, there) = (Tables::new(), Store::default(), MemoryStorage::new());
            for deed in deeds {
                match deed {
                    Deed::Commit { key, expect, id, purge_at, index } => {
                        let commit = Commit {
                            key: Key::new(Kind::Grant, vec![key + 1]).expect("a key"),
                            expect: expect.map(|id| CommitId::from_bytes([id; 16])),
                            id: CommitId::from_bytes([id; 16]),
                            record: NewRecord {
                                value: vec![id, key],
                                purge_at: Timestamp::from_millis(purge_at),
                                indexes: index.map(name).into_iter().collect(),
                            },
                        };
                        let (ours, _) = here.commit(&tables, &commit);
                        let theirs: CommitOutcome = now(there.commit(commit)).expect("memory");
                        prop_assert_eq!(ours, theirs);
                    }
                    Deed::Sweep { now: at } => sweep_both(&tables, &mut here, &there, at)?,
                }
                let listings = [Listing::Kind(Kind::Grant), listing(0), listing(1)];
                same(&tables, &here, &there, &listings)?;
            }
            Ok(())
        })
        .map_err(|error| error.to_string())
}

/// Whatever people ask one after the other is answered by the driven server as by the production
/// server on the reference store, and leaves the same records behind: same bytes, same commits.
pub(crate) fn a_driven_request_does_what_the_server_does(scenes: &[Scene]) -> Result<(), String> {
    for scene in scenes {
        let choices = proptest::collection::vec(any::<prop::sample::Index>(), 1..16);
        runner(16)
            .run(&choices, |choices| {
                let world = World::new(*scene, None);
                let there: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
                for (id, ask) in world.before() {
                    world.server.straight(Arc::clone(&there), id, &ask, 0);
                }
                let mut state = world.start().clone();
                for choice in choices {
                    let mut possible = Vec::new();
                    world.possible(&state, &mut possible);
                    if possible.is_empty() {
                        break;
                    }
                    do_both(&world, &there, &mut state, choice.get(&possible))?;
                }
                Ok(())
            })
            .map_err(|error| format!("{}: {error}", scene.name))?;
    }
    Ok(())
}

fn do_both(
    world: &World,
    there: &Arc<dyn Storage>,
    state: &mut State,
    action: &Action,
) -> Result<(), TestCaseError> {
    match *action {
        Action::Send(who, ask) => {
            let id = world.next_id(state, who);
            let ours = world.run(state, who, ask);
            let theirs = world.server.straight(Arc::clone(there), id, &ask, state.rung);
            prop_assert_eq!(ours, theirs, "{:?} asked {:?}", who, ask);
        }
        Action::Sweep(_) => {
            let at = cast::time(state.rung).as_millis();
            sweep_both(&world.server.tables, &mut state.store, &**there, at)?;
        }
        _ => *state = world.after(state, action).expect("it can happen"),
    }
    let alice = Subject::parse("alice").expect("a subject");
    let mut listings: Vec<Listing> = Kind::ALL.into_iter().map(Listing::Kind).collect();
    listings.push(Listing::Index(Index::clients()));
    listings.push(Listing::Index(Index::grants_of(&alice)));
    listings.push(Listing::Index(Index::consents_of(&alice)));
    same(&world.server.tables, &state.store, &**there, &listings)
}

/// Sweeps everything that may be swept.
fn sweep_both(
    tables: &Tables,
    here: &mut Store,
    there: &dyn Storage,
    at: i64,
) -> Result<(), TestCaseError> {
    let at = Timestamp::from_millis(at);
    let over: Vec<Id> = here.rows().map(|(key, _)| key).collect();
    let over: Vec<Id> = over.into_iter().filter(|key| here.may_sweep(tables, *key, at)).collect();
    for key in &over {
        here.remove(*key);
    }
    let swept = now(there.sweep(at, None, 1000)).expect("memory");
    prop_assert_eq!(over.len(), swept.removed);
    Ok(())
}

/// Whether both stores list and hold the same.
fn same(
    tables: &Tables,
    here: &Store,
    there: &dyn Storage,
    listings: &[Listing],
) -> Result<(), TestCaseError> {
    for listing in listings {
        let mut ours: Vec<Key> = here
            .list(tables, listing)
            .into_iter()
            .map(|key| (*tables.keys.at(key)).clone())
            .collect();
        let mut theirs = now(there.list(listing, None, 1000)).expect("memory").keys;
        // In any order.
        if matches!(listing, Listing::Kind(_)) {
            ours.sort_unstable();
            theirs.sort_unstable();
        }
        prop_assert_eq!(&ours, &theirs, "{:?}", listing);
        let held = |key: &Key| {
            here.row(tables.keys.id(key.clone())).map(|row| Stored::from(&*tables.rows.at(row)))
        };
        let ours: Vec<Option<Stored>> = ours.iter().map(held).collect();
        prop_assert_eq!(ours, now(there.load(&theirs)).expect("memory"));
    }
    Ok(())
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

fn name(index: u8) -> Index {
    Index::new(&format!("index{index}")).expect("a name")
}

fn listing(index: u8) -> Listing {
    Listing::Index(name(index))
}

/// The result of a future that does not wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("a store in memory does not wait"),
    }
}
