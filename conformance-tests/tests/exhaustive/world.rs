//! The world: its state, what can happen next, and what comes of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use grantor::model::SecretString;
use grantor::storage::{Commit, CommitOutcome, Key, Kind};

use crate::cast::{App, Ask, Caller, TaskId, Who};
use crate::mutation::Mutation;
use crate::rules::{Memory, Note, Rule};
use crate::scenes::{Scene, Start};
use crate::server::{Answer, Call, Next, Outcome, Server, Why};
use crate::sights::Sight;
use crate::store::Store;
use crate::tables::{Id, Tables};

/// A bounded world.
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) server: Server,
    /// The requests of the time before the story.
    before: Mutex<Vec<(TaskId, Ask)>>,
    /// How often something worth seeing happened, by [`Sight`].
    sights: [AtomicU64; Sight::ALL.len()],
    start: State,
    /// The keys of the clients, by [`App`].
    pub(crate) clients: [Id; App::ALL.len()],
}

/// All that is true at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// What time it is, as a rung of the ladder of times.
    pub(crate) rung: u8,
    pub(crate) store: Store,
    /// The requests in flight, sorted.
    pub(crate) tasks: Vec<Task>,
    /// How many requests everybody has sent.
    pub(crate) sent: [u8; Who::COUNT],
    /// What the honest clients hold.
    pub(crate) hands: [Hand; 2],
    /// What the thief holds. Sorted.
    pub(crate) loot: Vec<Id>,
    /// The consent pages in Alice's browser, and how often each was sent.
    pub(crate) pages: Vec<(Id, Id, App, u8)>,
    pub(crate) spent: Spent,
    pub(crate) memory: Memory,
}

/// What an honest client holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Hand {
    pub(crate) code: Option<Id>,
    pub(crate) access: Option<Id>,
    pub(crate) refresh: Option<Id>,
    /// How often what it holds was sent and not answered.
    pub(crate) tries: u8,
    /// How often its tokens were renewed.
    pub(crate) generation: u8,
    /// When it first sent its refresh token.
    pub(crate) first_shown: Option<u8>,
}

/// What has been used of the bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Spent {
    pub(crate) thefts: u8,
    pub(crate) uses: u8,
    pub(crate) revocations: u8,
    pub(crate) arrivals: u8,
    pub(crate) withdrawals: u8,
    pub(crate) user_ends: u8,
    pub(crate) client_ends: u8,
    pub(crate) crashes: u8,
    pub(crate) losses: u8,
    pub(crate) silences: u8,
}

/// A request in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// What was asked and all that the store answered.
    pub(crate) history: Id,
    /// The records that the load under way has read so far.
    pub(crate) read: Vec<Option<Id>>,
    /// Answered, and the answer is on its way.
    pub(crate) answered: bool,
    /// Whether it has changed the record of an authorization.
    wrote: bool,
    pub(crate) note: Note,
}

/// Something that can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Somebody sends a request.
    Send(Who, Ask),
    /// The store answers a request in flight.
    Step(TaskId, Twist),
    /// The answer arrives, or it does not.
    Deliver(TaskId),
    Lose(TaskId),
    /// The process that serves a request dies.
    Crash(TaskId),
    /// The thief copies what an honest client holds.
    Steal(Id),
    /// Time passes, to the next moment that matters.
    Wait,
    /// The sweep looks at a record.
    Sweep(Id),
    /// A seeded bug makes up for what it left undone.
    CatchUp,
}

/// How the store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Twist {
    Plainly,
    /// The commit is done and the answer does not arrive.
    DoneInSilence,
    /// Neither is the commit done nor does an answer arrive.
    LostInSilence,
    /// A seeded bug: a replica answers that lags.
    Lagging,
}

impl World {
    /// The world of a scene, at its beginning.
    pub(crate) fn new(scene: Scene, mutation: Option<Mutation>) -> Self {
        let same_randomness = mutation == Some(Mutation::DrawsTheSameRandomness);
        let tables = Arc::new(Tables::new());
        let mut world = Self {
            scene,
            mutation: None,
            clients: App::ALL.map(|app| tables.keys.id(Key::client(&app.id()))),
            server: Server::new(tables, same_randomness),
            before: Mutex::default(),
            sights: Default::default(),
            start: State::default(),
        };
        world.start = world.beginning();
        // What happened before the story begins went well.
        world.mutation = mutation;
        for sight in &world.sights {
            sight.store(0, Ordering::Relaxed);
        }
        world
    }

    pub(crate) fn seen(&self, sight: Sight) -> u64 {
        self.sights[sight as usize].load(Ordering::Relaxed)
    }

    fn saw(&self, sight: Sight) {
        self.sights[sight as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A request in flight after the store's answer, even if that leads it out of the server.
    pub(crate) fn moved(&self, before: &State, id: TaskId, twist: Twist) -> Task {
        self.advance(&mut before.clone(), id, twist)
    }

    /// The number of a request in the story.
    pub(crate) fn number(&self, id: TaskId) -> u8 {
        id.nth - self.start.sent[id.who as usize] + 1
    }

    /// What a request in flight asked.
    pub(crate) fn ask(&self, history: Id) -> Ask {
        self.server.ask(history)
    }

    /// The requests of the time before the story.
    pub(crate) fn before(&self) -> Vec<(TaskId, Ask)> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn run_before(&self, state: &mut State, who: Who, ask: Ask) -> Outcome {
        let id = self.next_id(state, who);
        self.before.lock().unwrap_or_else(PoisonError::into_inner).push((id, ask));
        self.run(state, who, ask)
    }

    /// The number of the next request of somebody.
    pub(crate) fn next_id(&self, state: &State, who: Who) -> TaskId {
        TaskId { who, nth: state.sent[who as usize] }
    }

    /// Registers the clients and lets happen what the scene begins with.
    fn beginning(&self) -> State {
        let mut state = State::default();
        let mut secrets = HashMap::new();
        for app in App::ALL {
            let outcome = self.run_before(&mut state, Who::Before, Ask::Register(app));
            let Outcome::Registered { secret } = outcome else { panic!("registered") };
            secrets.extend(secret.map(|secret| (app, SecretString::new(secret))));
        }
        self.server.tell_secrets(secrets);
        for &app in self.scene.apps {
            if self.scene.start == Start::Nothing {
                continue;
            }
            let arrived = self.run_before(&mut state, Who::Before, Ask::Arrive { app, all: true });
            let Outcome::Page { interaction, ticket } = arrived else { panic!("a page") };
            let decide = Ask::Decide { interaction, ticket, allow: true };
            let Outcome::Code(code) = self.run_before(&mut state, Who::Before, decide) else {
                panic!("a code")
            };
            if self.scene.start == Start::Consent {
                continue;
            }
            state.hands[app as usize].code = Some(code);
            if self.scene.start == Start::Tokens {
                let redeem = Ask::Redeem { by: Caller::Itself(app), code, verifier: true };
                self.run_before(&mut state, app.who(), redeem);
            }
        }
        state
    }

    /// One request from its beginning to its end, with nobody else about.
    pub(crate) fn run(&self, state: &mut State, who: Who, ask: Ask) -> Outcome {
        let (id, mut answer) = self.send(state, who, ask);
        loop {
            if let Some(outcome) = answer {
                // A refusal has left already.
                if let Some(at) = state.tasks.iter().position(|task| task.id == id) {
                    let task = state.tasks.remove(at);
                    self.deliver(state, &task, &outcome);
                }
                return outcome;
            }
            answer = self.step(state, id, Twist::Plainly);
        }
    }

    fn send(&self, state: &mut State, who: Who, ask: Ask) -> (TaskId, Option<Outcome>) {
        let id = self.next_id(state, who);
        state.sent[who as usize] += 1;
        let note = self.note(state, id, &ask);
        if let Some(app) = App::HONEST.into_iter().find(|app| app.who() == who)
            && matches!(ask, Ask::Redeem { .. } | Ask::Refresh { .. })
        {
            let hand = &mut state.hands[app as usize];
            hand.tries += 1;
            if matches!(ask, Ask::Refresh { .. }) {
                hand.first_shown = hand.first_shown.or(Some(state.rung));
            }
        }
        let spent = &mut state.spent;
        match ask {
            Ask::Use { .. } => spent.uses += 1,
            Ask::Revoke { .. } if who != Who::Mallory => spent.revocations += 1,
            Ask::Arrive { .. } => spent.arrivals += u8::from(who != Who::Before),
            Ask::Withdraw { .. } => spent.withdrawals += 1,
            Ask::EndUser => spent.user_ends += 1,
            Ask::EndClient { .. } => spent.client_ends += 1,
            Ask::Decide { interaction, .. } => {
                for page in state.pages.iter_mut().filter(|page| page.0 == interaction) {
                    page.3 += 1;
                }
            }
            _ => {}
        }
        let task = Task {
            id,
            history: self.server.begin(id, &ask, state.rung),
            read: Vec::new(),
            answered: false,
            wrote: false,
            note,
        };
        let at = state.tasks.partition_point(|task| task.id < id);
        state.tasks.insert(at, task);
        (id, self.settle(state, id))
    }

    /// The store answers what a request waits for, and the request goes on.
    fn step(&self, state: &mut State, id: TaskId, twist: Twist) -> Option<Outcome> {
        let task = self.advance(state, id, twist);
        let moving = task.read.is_empty();
        let at = state.tasks.iter().position(|task| task.id == id).expect("in flight");
        state.tasks[at] = task;
        if moving { self.settle(state, id) } else { None }
    }

    /// A request in flight, with the next answer of the store. While a load of several records is
    /// under way, with what was read so far.
    fn advance(&self, state: &mut State, id: TaskId, twist: Twist) -> Task {
        let task = state.tasks.iter().find(|task| task.id == id);
        let mut task = task.expect("in flight").clone();
        let next = self.server.next(task.history);
        let Next::Call(call) = &*next else { panic!("nothing is asked of the store") };
        let answer = match call {
            Call::Load(keys) => {
                self.load(state, &mut task, keys, twist);
                if task.read.len() < keys.len() {
                    return task;
                }
                Answer::Rows(std::mem::take(&mut task.read))
            }
            Call::List(listing) => Answer::Keys(state.store.list(&self.server.tables, listing)),
            Call::Commit(commit) => self.commit(state, &mut task, commit, twist),
        };
        task.history = self.server.resume(task.history, answer, state.rung);
        task
    }

    fn commit(&self, state: &mut State, task: &mut Task, commit: &Commit, twist: Twist) -> Answer {
        let tables = &self.server.tables;
        let (outcome, written) = match self.mutation {
            _ if twist == Twist::LostInSilence => (CommitOutcome::Conflict, None),
            Some(mutation) => mutation.commit(&mut state.store, tables, commit),
            None => state.store.commit(tables, commit),
        };
        if let Some(written) = written {
            task.wrote |= tables.keys.at(written.key).kind() == Kind::Grant;
            self.judge_commit(state, task, written);
            self.judge_store(state);
        }
        match (twist, outcome) {
            (Twist::DoneInSilence | Twist::LostInSilence, _) => {
                self.saw(Sight::CommitRepeated);
                state.spent.silences += 1;
                Answer::Nothing
            }
            (_, CommitOutcome::Applied) => Answer::Applied,
            (_, CommitOutcome::Conflict) => {
                self.saw(Sight::Conflict);
                Answer::Conflict
            }
        }
    }

    /// Reads on, up to and with the first record that anybody in this scene may change. A load of
    /// several records is no snapshot.
    fn load(&self, state: &State, task: &mut Task, keys: &[Id], twist: Twist) {
        let mut changeable_read = false;
        for &key in keys.iter().skip(task.read.len()) {
            let kind = self.server.tables.keys.at(key).kind();
            let changeable = self.scene.changes(kind);
            if changeable_read && changeable {
                return;
            }
            changeable_read |= changeable;
            let blind = self.mutation == Some(Mutation::DoesNotLookAtTheConsentAgain)
                && task.wrote
                && kind == Kind::Consent
                && matches!(self.ask(task.history), Ask::Arrive { .. } | Ask::Decide { .. });
            let stale = twist == Twist::Lagging || blind;
            let before = stale.then(|| state.store.row_before(key)).flatten();
            task.read.push(before.or_else(|| state.store.row(key)));
        }
    }

    /// A request that was answered leaves the server.
    fn settle(&self, state: &mut State, id: TaskId) -> Option<Outcome> {
        let at = state.tasks.iter().position(|task| task.id == id).expect("in flight");
        let task = state.tasks[at].clone();
        let next = self.server.next(task.history);
        let done = match &*next {
            Next::Done(outcome) => Some(outcome),
            Next::Call(_) => None,
        };
        if let Some(outcome) = done {
            self.look_at(state, &task, outcome);
            self.judge_answer(state, &task, outcome);
            match outcome {
                // Whether a refusal arrives changes nothing but what its client tries next.
                Outcome::Refused { .. } | Outcome::Unavailable { .. } | Outcome::Active { .. } => {
                    self.deliver(state, &task, outcome);
                    state.tasks.remove(at);
                }
                _ => state.tasks[at].answered = true,
            }
            self.judge_store(state);
        }
        done.cloned()
    }

    fn look_at(&self, state: &State, task: &Task, outcome: &Outcome) {
        let ask = self.ask(task.history);
        let thief = task.id.who == Who::Mallory;
        match outcome {
            Outcome::Tokens { .. } if state.memory.has_answered(&ask) => {
                self.saw(Sight::SameAnswerAgain);
            }
            Outcome::Tokens { .. } if thief => self.saw(Sight::ThiefServed),
            Outcome::Tokens { .. } => self.saw(Sight::TokensIssued),
            Outcome::Active { .. } => self.saw(Sight::TokenAccepted),
            Outcome::Refused { why: Why::CodeReplayed, .. } => self.saw(Sight::CodeReplayNoticed),
            Outcome::Refused { why: Why::RefreshTokenReused, .. } => self.saw(Sight::ReuseNoticed),
            Outcome::Refused { .. } if thief => self.saw(Sight::ThiefRefused),
            Outcome::Refused { .. } if matches!(ask, Ask::Use { .. }) => {
                self.saw(Sight::TokenRefused);
            }
            Outcome::Code(_) if matches!(ask, Ask::Arrive { .. }) => {
                self.saw(Sight::ConsentRemembered);
            }
            Outcome::Code(_) => self.saw(Sight::CodeIssued),
            Outcome::Page { .. } => self.saw(Sight::PageShown),
            Outcome::Done if matches!(ask, Ask::Withdraw { .. }) => self.saw(Sight::Withdrawn),
            Outcome::Done => self.saw(Sight::Revoked),
            _ => {}
        }
    }

    /// The answer arrives.
    fn deliver(&self, state: &mut State, task: &Task, outcome: &Outcome) {
        let ask = self.ask(task.history);
        if task.id.who == Who::Before {
            return;
        }
        if task.id.who == Who::Mallory {
            if let Outcome::Tokens { access, refresh, .. } = outcome {
                state.loot.extend(refresh.iter().chain([access]));
                state.loot.sort_unstable();
                state.loot.dedup();
            }
            return;
        }
        if let Some(app) = App::HONEST.into_iter().find(|app| app.who() == task.id.who) {
            let hand = &mut state.hands[app as usize];
            let presented = ask.presents();
            let awaited = match ask {
                Ask::Redeem { .. } => hand.code == presented,
                Ask::Refresh { .. } => hand.refresh == presented,
                _ => false,
            };
            if !awaited {
                return;
            }
            (hand.tries, hand.first_shown) = (0, None);
            hand.code = None;
            match outcome {
                Outcome::Tokens { access, refresh, .. } => {
                    (hand.access, hand.refresh) = (Some(*access), *refresh);
                    if matches!(ask, Ask::Refresh { .. }) {
                        hand.generation += 1;
                    }
                }
                // It gives up: the user has to be asked again.
                _ => hand.refresh = None,
            }
            return;
        }
        match (outcome, ask) {
            (Outcome::Page { interaction, ticket }, Ask::Arrive { app, .. }) => {
                let page = (*interaction, *ticket, app, 0);
                state.pages.push(page);
                state.pages.sort_unstable();
            }
            (Outcome::Code(code), _) => {
                let app = match ask {
                    Ask::Arrive { app, .. } => app,
                    Ask::Decide { interaction, .. } => {
                        let page = state.pages.iter().find(|page| page.0 == interaction);
                        let Some(page) = page else { return };
                        page.2
                    }
                    _ => return,
                };
                let hand = &mut state.hands[app as usize];
                if hand.code != Some(*code) {
                    hand.code = Some(*code);
                    hand.tries = 0;
                }
            }
            _ => {}
        }
    }
}

impl World {
    /// How it begins.
    pub(crate) fn start(&self) -> &State {
        &self.start
    }

    /// What comes of it; `None`: nothing.
    pub(crate) fn after(&self, before: &State, action: &Action) -> Option<State> {
        let mut state = before.clone();
        match *action {
            Action::Send(who, ask) => {
                self.send(&mut state, who, ask);
            }
            Action::Step(id, twist) => {
                self.step(&mut state, id, twist);
                // A lagging replica that does not lag is no news.
                if twist == Twist::Lagging {
                    let mut plain = before.clone();
                    self.step(&mut plain, id, Twist::Plainly);
                    if plain == state {
                        return None;
                    }
                }
            }
            Action::Deliver(id) => {
                let task = state.tasks.iter().find(|task| task.id == id)?.clone();
                if let Next::Done(outcome) = &*self.server.next(task.history) {
                    self.deliver(&mut state, &task, outcome);
                }
                state.tasks.retain(|task| task.id != id);
            }
            Action::Lose(id) => {
                self.saw(Sight::AnswerLost);
                state.spent.losses += 1;
                state.tasks.retain(|task| task.id != id);
            }
            Action::Crash(id) => {
                self.saw(Sight::Crash);
                state.spent.crashes += 1;
                state.tasks.retain(|task| task.id != id);
                state.store.crash();
                self.judge_store(&mut state);
            }
            Action::Steal(text) => {
                state.spent.thefts += 1;
                state.loot.push(text);
                state.loot.sort_unstable();
            }
            Action::Wait => state.rung += 1,
            Action::Sweep(key) => {
                self.saw(Sight::Swept);
                let early = self.mutation == Some(Mutation::SweepsTooEarly);
                state.store.remove(key);
                if !early {
                    state.memory.swept(key);
                }
                self.judge_store(&mut state);
            }
            Action::CatchUp => {
                state.store.catch_up();
                self.judge_store(&mut state);
            }
        }
        Some(state)
    }
}

impl World {
    /// With a seeded bug only the rule that it breaks is looked at, so that the story is about it.
    pub(crate) fn watches(&self, rule: Rule) -> bool {
        self.mutation.is_none_or(|mutation| mutation.breaks() == rule)
    }

    /// Nothing is to be learned from what happens after a rule was broken.
    pub(crate) fn is_over(&self, state: &State) -> bool {
        Rule::ALL.into_iter().any(|rule| self.watches(rule) && !state.memory.holds(rule))
    }
}
