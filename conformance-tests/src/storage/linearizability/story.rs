//! A history as a story: who called what, when, and what was answered.

use std::fmt::Write as _;

use grantor::storage::CommitOutcome;

use super::checker::{Call, What, broken};
use super::concurrent::{CLIENTS, Did, Event, History, KEYS};

/// The story, if no order of its calls explains it.
pub(super) fn of_what_is_broken(history: &History) -> Option<String> {
    (0..KEYS).find_map(|key| {
        let problem = problem(key, &history.events, history)?;
        let events = essence(key, &problem, history);
        Some(format!("{problem}\n{}", tell(&events, history)))
    })
}

/// What is wrong with what was answered about one key, in one line.
fn problem(key: usize, events: &[Event], history: &History) -> Option<String> {
    let name = name(key);
    for event in events {
        match &event.did {
            Did::Load(found) => {
                let mut found = found.iter().filter(|(at, _)| *at == key);
                if let Some((_, Err(torn))) = found.find(|(_, found)| found.is_err()) {
                    return Some(format!(
                        "a load of record {name} shows what nobody wrote, which breaks \
                         \"Atomicity\": {torn:?}"
                    ));
                }
            }
            Did::ListIndex { index, keys } if keys.contains(&key) => {
                let mut commits = history.commits.iter();
                if !commits.any(|made| made.key == key && made.entries & (1 << index) != 0) {
                    return Some(format!(
                        "an index lists record {name}, which was never committed with it, which \
                         breaks \"Isolation\""
                    ));
                }
            }
            _ => {}
        }
    }
    let calls: Vec<_> = events.iter().flat_map(|event| calls_on(key, event, history)).collect();
    broken(&calls).map(|broken| {
        format!(
            "no order of these calls explains what was answered about record {name}, which breaks \
             {:?}: {}",
            broken.heading, broken.why
        )
    })
}

/// The events without those that have no part in the problem. What changed nothing can be left out:
/// if the rest has an explanation without it, it is part of the problem.
fn essence(key: usize, found: &str, history: &History) -> Vec<Event> {
    let mut events = history.events.clone();
    let mut at = 0;
    while let Some(event) = events.get(at) {
        let passive = match &event.did {
            Did::Commit { outcome: Some(CommitOutcome::Conflict), .. } => true,
            Did::Commit { .. } | Did::Sweep { .. } => calls_on(key, event, history).is_empty(),
            Did::Load(_) | Did::ListKind(_) | Did::ListIndex { .. } => true,
        };
        let event = events.remove(at);
        if !passive || problem(key, &events, history).as_deref() != Some(found) {
            events.insert(at, event);
            at += 1;
        }
    }
    events
}

/// What an event says about one key.
fn calls_on(key: usize, event: &Event, history: &History) -> Vec<Call> {
    let what = match &event.did {
        Did::Commit { number, outcome, repeated } => {
            let made = history.commits.get(*number).filter(|made| made.key == key);
            let commit = made.map(|made| What::Commit {
                id: *number,
                expect: made.expect,
                entries: made.entries,
                purge_at: made.purge_at,
                outcome: *outcome,
                repeated: *repeated,
            });
            commit.into_iter().collect()
        }
        Did::Load(found) => found
            .iter()
            .filter(|(at, _)| *at == key)
            .filter_map(|(_, found)| found.as_ref().ok().map(|found| What::Load(*found)))
            .collect(),
        Did::ListKind(keys) => vec![What::Listed(keys.contains(&key))],
        Did::ListIndex { index, keys } if !keys.contains(&key) => {
            vec![What::NotInIndex(1 << index)]
        }
        // An entry may dangle.
        Did::ListIndex { .. } => vec![],
        // A store may come by again: one that walks in no order of its own, and one that looks where something has
        // become due meanwhile.
        Did::Sweep { now } => vec![What::Sweep { now: *now }; CLIENTS],
    };
    let (invoked, returned) = (event.invoked, event.returned);
    what.into_iter().map(|what| Call { invoked, returned, what }).collect()
}

fn name(key: usize) -> char {
    char::from(b'a' + u8::try_from(key).unwrap_or(25).min(25))
}

fn seen(found: Option<usize>) -> String {
    found.map_or_else(|| "nothing".to_owned(), |number| format!("c{number}"))
}

/// One line an event: the moments of its begin and its answer, the client, the call, the answer.
fn tell(events: &[Event], history: &History) -> String {
    let mut story = String::new();
    for Event { client, invoked, returned, did } in events {
        let until = returned.map_or_else(|| "?".to_owned(), |returned| returned.to_string());
        let line = match did {
            Did::Commit { number, outcome, repeated } => {
                let Some(made) = history.commits.get(*number) else { continue };
                let verb = if *repeated { "commits again" } else { "commits" };
                let mut line = format!("{verb} c{number} to {}", name(made.key));
                let _ = write!(line, ", replacing {}", seen(made.expect));
                let _ = write!(line, ", to be kept until {}", made.purge_at);
                for (bit, index) in [(1, "first"), (2, "second")] {
                    if made.entries & bit != 0 {
                        let _ = write!(line, ", in the {index} index");
                    }
                }
                let answer = match outcome {
                    Some(CommitOutcome::Applied) => "applied",
                    Some(CommitOutcome::Conflict) => "conflict",
                    None => "dropped before an answer",
                };
                format!("{line}: {answer}")
            }
            Did::Load(found) => {
                let shown = found.iter().map(|(key, found)| match found {
                    Ok(found) => format!("{} holds {}", name(*key), seen(*found)),
                    Err(_) => format!("{} holds what nobody wrote", name(*key)),
                });
                format!("loads: {}", shown.collect::<Vec<_>>().join(", "))
            }
            Did::ListKind(keys) => format!("lists the kind: {}", names(keys)),
            Did::ListIndex { index, keys } => {
                let which = if *index == 0 { "first" } else { "second" };
                format!("lists the {which} index: {}", names(keys))
            }
            Did::Sweep { now } => format!("sweeps at {now}"),
        };
        let _ = writeln!(story, "  {invoked:>3} to {until:>3}  client {}  {line}", client + 1);
    }
    story
}

fn names(keys: &std::collections::BTreeSet<usize>) -> String {
    if keys.is_empty() {
        return "nothing".to_owned();
    }
    keys.iter().map(|key| name(*key).to_string()).collect::<Vec<_>>().join(", ")
}
