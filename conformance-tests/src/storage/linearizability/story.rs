//! A history as a story: who called what, when, and what was answered.

use std::fmt::Write as _;

use grantor::storage::CommitOutcome;

use super::checker::{Call, What, broken};
use super::concurrent::{Did, Event, History, KEYS};

/// The story, if no order of its calls explains it.
pub(super) fn of_what_is_broken(history: &History) -> Option<String> {
    for key in 0..KEYS {
        let torn = history.events.iter().find_map(|event| match &event.did {
            Did::Load(found) => {
                found.iter().find_map(|(at, found)| found.as_ref().err().filter(|_| *at == key))
            }
            _ => None,
        });
        if let Some(torn) = torn {
            return Some(format!(
                "a load of record {} shows what nobody wrote, which breaks \"Atomicity\": {torn:?}\n{}",
                name(key),
                tell(history)
            ));
        }
        let stray = history.events.iter().any(|event| match &event.did {
            Did::ListIndex { index, keys } if keys.contains(&key) => {
                let mut commits = history.commits.iter();
                !commits.any(|made| made.key == key && made.entries & (1 << index) != 0)
            }
            _ => false,
        });
        if stray {
            return Some(format!(
                "an index lists record {}, which was never committed with it, which breaks \
                 \"Isolation\"\n{}",
                name(key),
                tell(history)
            ));
        }
        let calls: Vec<_> =
            history.events.iter().flat_map(|event| calls_on(key, event, history)).collect();
        if let Some(broken) = broken(&calls) {
            return Some(format!(
                "no order of these calls explains what was answered about record {}, which breaks \
                 {:?}: {}\n{}",
                name(key),
                broken.heading,
                broken.why,
                tell(history)
            ));
        }
    }
    None
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
        // A store that walks in no order of its own may come by twice.
        Did::Sweep { now } => vec![What::Sweep { now: *now }; 2],
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
fn tell(history: &History) -> String {
    let mut story = String::new();
    for Event { client, invoked, returned, did } in &history.events {
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
