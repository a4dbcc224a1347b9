//! A path through the world, in sentences.

use std::collections::HashMap;
use std::fmt::Write as _;

use grantor::model::{ConsentState, GrantState, HandleKind};
use grantor::storage::{Kind, Listing, Record};

use crate::cast::{self, App, Ask, Caller, TaskId, Who};
use crate::rules::Rule;
use crate::scenes::Start;
use crate::server::{Answer, Call, Next, Outcome};
use crate::tables::Id;
use crate::world::{Action, State, Twist, World};

/// The story of how a rule came to be broken.
pub(crate) fn tell(world: &World, rule: Rule, actions: &[Action]) -> String {
    let mut teller = Teller { world, names: HashMap::new(), counts: HashMap::new() };
    let mut story = String::new();
    let mut state = world.start().clone();
    writeln!(story, "Before: {}", teller.beginning(&state)).expect("a string");
    let mut number = 0;
    for action in actions {
        let after = world.after(&state, action).expect("it happened before");
        for sentence in teller.sentences(&state, action, &after) {
            number += 1;
            let sentence = capitalised(&sentence);
            writeln!(story, "{number:>3}. {sentence}").expect("a string");
        }
        state = after;
    }
    write!(story, "This breaks the rule: {}.", rule.in_every_interleaving()).expect("a string");
    story
}

fn capitalised(sentence: &str) -> String {
    let (first, rest) = sentence.split_at(1);
    first.to_uppercase() + rest
}

struct Teller<'a> {
    world: &'a World,
    /// What the secrets are called in this story.
    names: HashMap<Id, String>,
    counts: HashMap<&'static str, u32>,
}

impl Teller<'_> {
    fn beginning(&mut self, state: &State) -> String {
        let apps: Vec<&str> = self.world.scene.apps.iter().map(|app| app.name()).collect();
        let (apps, it) = match apps[..] {
            [only] => (only.to_owned(), "it"),
            _ => (apps.join(" and "), "each"),
        };
        for hand in &state.hands {
            for text in [hand.code, hand.access, hand.refresh].into_iter().flatten() {
                self.name(text);
            }
        }
        let begun = match self.world.scene.start {
            Start::Nothing => format!("{apps} is registered."),
            Start::Consent => format!("Alice has once allowed {apps} to read."),
            Start::Code => format!("Alice has just allowed {apps} to read, and {it} has its code."),
            Start::Tokens => format!("Alice has just allowed {apps} to read, and {it} has tokens."),
        };
        match self.world.mutation {
            Some(mutation) => format!("{begun} The seeded bug: {}.", mutation.words()),
            None => begun,
        }
    }

    /// What a secret is called.
    fn name(&mut self, text: Id) -> String {
        if let Some(name) = self.names.get(&text) {
            return name.clone();
        }
        let kind = match self.world.server.tables.texts.at(text).names {
            Some((HandleKind::Code, _)) => "code",
            Some((HandleKind::AccessToken, _)) => "access token",
            Some((HandleKind::RefreshToken, _)) => "refresh token",
            Some(_) => "page",
            None => "ticket",
        };
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let name = format!("{kind} {count}");
        self.names.insert(text, name.clone());
        name
    }

    fn sentences(&mut self, before: &State, action: &Action, after: &State) -> Vec<String> {
        match action {
            Action::Send(who, ask) => {
                let mut told = vec![format!("{}.", self.asks(*who, ask))];
                // A request that needs no look at the store is answered at once.
                let is_new = |id: TaskId| before.tasks.iter().all(|task| task.id != id);
                if let Some(task) = after.tasks.iter().find(|task| is_new(task.id)) {
                    told.extend(self.answer(task.id, task.history));
                }
                told
            }
            Action::Step(id, twist) => self.step(before, *id, *twist, after),
            Action::Deliver(id) => vec![format!("The answer reaches {}.", id.who.name())],
            Action::Lose(id) => {
                vec![format!("The answer to {} is lost on the way.", self.request(*id))]
            }
            Action::Crash(id) => vec![format!(
                "The server process that serves {} crashes and starts again.",
                self.request(*id)
            )],
            Action::Steal(text) => vec![format!("Mallory copies {}.", self.name(*text))],
            Action::Wait => vec![format!("Time passes. It is {}.", cast::time_words(after.rung))],
            Action::Sweep(key) => {
                let row = before.store.row(*key);
                vec![format!("The sweep removes {}.", self.row(*key, row))]
            }
            Action::CatchUp => {
                vec!["The store makes up for what it had acknowledged too early.".into()]
            }
        }
    }

    /// A request, as it is spoken of.
    fn request(&self, id: TaskId) -> String {
        format!("{}'s request {}", id.who.name(), self.world.number(id))
    }

    fn asks(&mut self, who: Who, ask: &Ask) -> String {
        let name = who.name();
        let name = match who {
            Who::Archive => "The archive",
            Who::Operator => "The operator",
            _ => name,
        };
        let by = |by: Caller| match by {
            Caller::Itself(app) if app.who() == who && app != App::Lantern => String::new(),
            Caller::Itself(App::Lantern) => ", as the client Lantern,".into(),
            Caller::Itself(app) => format!(", with all that {} can show,", app.name()),
            Caller::NameOnly(app) => format!(", with nothing but the name {},", app.name()),
        };
        match *ask {
            Ask::Register(app) => format!("{} is registered", app.name()),
            Ask::Redeem { by: caller, code, verifier } => format!(
                "{name}{} asks for tokens with {}{}",
                by(caller),
                self.name(code),
                if verifier { " and the verifier" } else { " and without the verifier" },
            ),
            Ask::Refresh { by: caller, token } => {
                format!("{name}{} asks for new tokens with {}", by(caller), self.name(token))
            }
            Ask::Revoke { by: caller, token } => {
                format!("{name}{} asks to revoke {}", by(caller), self.name(token))
            }
            Ask::Use { token } => format!("{name} is shown {} and checks it", self.name(token)),
            Ask::Arrive { app, all } => format!(
                "{} sends Alice's browser to the server to ask for {}",
                app.name(),
                if all { cast::ASKED } else { cast::ALLOWED },
            ),
            Ask::Decide { interaction, allow, .. } => format!(
                "Alice {} on {}",
                if allow { "allows \"read\"" } else { "denies everything" },
                self.name(interaction),
            ),
            Ask::Withdraw { app } => format!("Alice withdraws what she allowed {}", app.name()),
            Ask::EndUser => "The operator ends everything of Alice".into(),
            Ask::EndClient { app } => {
                format!("The operator revokes everything of {}", app.name())
            }
        }
    }

    fn step(&mut self, before: &State, id: TaskId, twist: Twist, after: &State) -> Vec<String> {
        let find = |state: &State| state.tasks.iter().find(|task| task.id == id).cloned();
        let task = find(before).expect("it was in flight");
        let request = self.request(id);
        let next = self.world.server.next(task.history);
        let Next::Call(call) = &*next else { panic!("a call") };
        let moved = self.world.moved(before, id, twist);
        let answered = self.world.server.last_answer(moved.history);
        let mut told = Vec::new();
        match call {
            Call::Load(keys) => {
                let rows = match answered {
                    Some(Answer::Rows(rows)) if moved.history != task.history => rows,
                    _ => moved.read.clone(),
                };
                let lag = if twist == Twist::Lagging { ", from a replica that lags" } else { "" };
                let read: Vec<String> = std::iter::zip(keys, &rows)
                    .skip(task.read.len())
                    .map(|(key, row)| self.row(*key, *row))
                    .collect();
                told.push(format!("For {request} the server reads{lag}: {}.", read.join("; ")));
            }
            Call::List(Listing::Index(index)) => {
                let what = index.as_str().split(':').next().unwrap_or_default();
                told.push(format!("For {request} the server lists Alice's {what}."));
            }
            Call::List(Listing::Kind(kind)) => {
                told.push(format!("For {request} the server lists every {kind:?}."));
            }
            Call::Commit(commit) => {
                let record = Record::decode(&commit.key, &commit.record.value);
                let what = record.map_or_else(|_| "?".into(), |record| describe(&record, ""));
                let changed = before.store != after.store;
                let outcome = match (twist, answered) {
                    (Twist::DoneInSilence, _) => "The store does it and its answer is lost",
                    (Twist::LostInSilence, _) => "The store never hears of it, and does not answer",
                    (_, Some(Answer::Conflict)) => {
                        "The store refuses: the record was changed meanwhile. It starts over"
                    }
                    (_, _) if changed => "The store says that it is done",
                    (_, _) => "The store says that it is done, and has written nothing",
                };
                told.push(format!("For {request} the server commits: {what}. {outcome}."));
            }
        }
        told.extend(self.answer(id, moved.history));
        told
    }

    fn answer(&mut self, id: TaskId, history: Id) -> Option<String> {
        let next = self.world.server.next(history);
        let Next::Done(outcome) = &*next else { return None };
        let request = self.request(id);
        Some(match outcome {
            Outcome::Tokens { access, refresh, scope } => {
                let access = self.name(*access);
                let refresh = refresh.map(|token| format!(" and {}", self.name(token)));
                format!(
                    "{request} is answered: {access}{} for \"{scope}\".",
                    refresh.unwrap_or_default()
                )
            }
            Outcome::Code(code) => {
                let code = self.name(*code);
                format!("{request} is answered: the browser takes {code} to the client.")
            }
            Outcome::Page { interaction, .. } => {
                let page = self.name(*interaction);
                format!("{request} is answered: the browser shows consent {page}.")
            }
            Outcome::Active { scope } => {
                format!("{request} is answered: the token is good for \"{scope}\".")
            }
            Outcome::Done => format!("{request} is answered: it is done."),
            Outcome::Refused { words, clause, .. } => {
                format!("{request} is refused: {words} ({clause}).")
            }
            Outcome::Unavailable { .. } => format!("{request} is told to come back later."),
            Outcome::Registered { .. } => format!("{request} is answered: registered."),
        })
    }

    /// A record as it was read.
    fn row(&self, key: Id, row: Option<Id>) -> String {
        match row {
            Some(row) => describe(&self.world.server.tables.record(key, row), ", which"),
            None => match self.world.server.tables.keys.at(key).kind() {
                Kind::Client => "no such client".into(),
                Kind::Grant => "no such authorization".into(),
                Kind::Consent => "no consent".into(),
                Kind::RevokedSubject => "nothing was revoked of Alice".into(),
                Kind::Session | Kind::User | Kind::Throttle | Kind::Replay => "nothing".into(),
            },
        }
    }
}

/// A record and where it stands.
fn describe(record: &Record, which: &str) -> String {
    match record {
        Record::Client(client) => format!("the client {}", client.name),
        Record::Grant(grant) => {
            let state = match &grant.state {
                GrantState::Pending(_) => "is pending".into(),
                GrantState::CodeIssued(_) => "has a code".into(),
                GrantState::Active(active) => {
                    let tokens = match active.access_tokens.len() {
                        1 => "one access token".into(),
                        count => format!("{count} access tokens"),
                    };
                    let refresh = active.refresh.as_ref();
                    let renewed = refresh.is_some_and(|token| token.previous.is_some());
                    let how = if renewed { ", renewed" } else { "" };
                    format!("is active with {tokens}{how}")
                }
                GrantState::Revoked(end) => format!("is revoked ({:?})", end.reason),
            };
            format!("{}'s authorization{which} {state}", grant.client_id)
        }
        Record::Consent(consent) => {
            let state = match consent.state {
                ConsentState::Allowed => format!("allows \"{}\"", consent.scope),
                ConsentState::Withdrawing => "is being withdrawn".into(),
                ConsentState::Withdrawn => "is withdrawn".into(),
            };
            format!("the consent for {}{which} {state}", consent.client_id)
        }
        Record::Session(_) => "a session".into(),
        Record::RevokedSubject(_) => "everything of Alice was revoked".into(),
    }
}
