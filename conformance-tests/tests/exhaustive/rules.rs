//! What must hold, whatever happens in which order.

use grantor::model::{GrantState, HandleKind, RevocationReason, ScopeSet};
use grantor::storage::{Key, Record};

use crate::cast::{self, App, Ask, Caller, TaskId, Who};
use crate::server::{Outcome, Why};
use crate::store::Written;
use crate::tables::{Id, Stand, Standing, grant};
use crate::world::{State, Task, World};

/// A rule that no interleaving may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rule {
    OneCodeOneTokenSet,
    OneTokenOneSuccessor,
    AnsweredIsStored,
    EndedStaysEnded,
    ToldIsDead,
    ReuseIsNoticed,
    ThiefGetsNothing,
    NoEndWithoutCause,
    RetryIsNotPunished,
    WithinConsent,
    WithdrawnIsDead,
    EverybodyIsAnswered,
}

impl Rule {
    pub(crate) const ALL: [Self; 12] = [
        Self::OneCodeOneTokenSet,
        Self::OneTokenOneSuccessor,
        Self::AnsweredIsStored,
        Self::EndedStaysEnded,
        Self::ToldIsDead,
        Self::ReuseIsNoticed,
        Self::ThiefGetsNothing,
        Self::NoEndWithoutCause,
        Self::RetryIsNotPunished,
        Self::WithinConsent,
        Self::WithdrawnIsDead,
        Self::EverybodyIsAnswered,
    ];

    /// The rule, and where it comes from.
    pub(crate) const fn in_every_interleaving(self) -> &'static str {
        match self {
            Self::OneCodeOneTokenSet => {
                "one code yields one token set (6749-042, OA21-013; ATTACKS B01, B02)"
            }
            Self::OneTokenOneSuccessor => {
                "one refresh token yields one successor (9700-036; ATTACKS D01, D02)"
            }
            Self::AnsweredIsStored => {
                "what was answered is in the store, and stays there (storage contract, durability)"
            }
            Self::EndedStaysEnded => {
                "an authorization that ended stays ended (7009-006; ATTACKS D09)"
            }
            Self::ToldIsDead => {
                "what somebody was told is over opens nothing any more (7009-006, 6749-043)"
            }
            Self::ReuseIsNoticed => {
                "a used code or a retired refresh token, shown with proof, ends the authorization \
                 (6749-043, 9700-036; ATTACKS B03)"
            }
            Self::ThiefGetsNothing => {
                "whoever lacks the proof gets no token (9700-026, 6749-044, 6749-074)"
            }
            Self::NoEndWithoutCause => {
                "nothing ends without a cause: no thief without proof and no stranger's step ends \
                 an authorization (OA21-020; ATTACKS B04)"
            }
            Self::RetryIsNotPunished => {
                "a client that repeats its newest refresh inside the window is not punished \
                 (ATTACKS D01, D02)"
            }
            Self::WithinConsent => {
                "no token opens more than the user allowed (9700-035; ATTACKS D05)"
            }
            Self::WithdrawnIsDead => {
                "once a withdrawal is answered, nothing that stood on what was withdrawn is alive \
                 (ATTACKS D06)"
            }
            Self::EverybodyIsAnswered => "no request is turned away because of others",
        }
    }
}

/// What the rules remember. No request can see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Memory {
    /// A bit for each broken rule.
    broken: u16,
    /// What was answered to whom presented what. Sorted.
    issued: Vec<Issued>,
    /// The fate of every authorization that had one. Sorted.
    fates: Vec<(Id, Fate)>,
    /// Access tokens that a client revoked one by one, and those of them for which it was told so.
    /// Sorted.
    removed: Vec<Id>,
    revoked: Vec<Id>,
    /// By client: the number of the consent from which on something can be alive.
    pub(crate) withdrawn: [u32; 3],
    pub(crate) user_ended: u32,
    pub(crate) clients_ended: [u32; 3],
    /// Requests that give an end its cause, as bits of [`Cause`].
    causes: u16,
    /// The latest generation of a refresh token that its client has shown.
    latest: [u8; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Issued {
    presented: Id,
    access: Id,
    refresh: Option<Id>,
    at: u8,
    /// From when on the access token has expired.
    until: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Fate {
    /// It was revoked or swept.
    over: bool,
    /// Somebody was told that it is over.
    told: bool,
    /// A code of it left the server.
    handed: bool,
    /// The number of the user when the code was made.
    user: u32,
}

/// Why an authorization may end.
#[derive(Clone, Copy)]
enum Cause {
    /// The code was shown with proof, once and once more.
    CodeShown,
    CodeShownAgain,
    /// A thief with proof has shown a refresh token.
    TokenStolen,
    ClientRevokes(App),
    UserWithdraws(App),
    UserEnds,
}

impl Cause {
    const fn bit(self) -> u16 {
        1 << match self {
            Self::CodeShown => 0,
            Self::CodeShownAgain => 1,
            Self::TokenStolen => 2,
            Self::UserEnds => 3,
            Self::ClientRevokes(app) => 4 + app as u16,
            Self::UserWithdraws(app) => 8 + app as u16,
        }
    }
}

/// What is noted about a request when it is sent, for the time when it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Note {
    /// What it presents was dead already, and somebody had been told.
    dead: bool,
    /// What it presents was used up already, and nobody could take it for a retry.
    used: bool,
    /// The number that a withdrawal or the like has to reach.
    target: u32,
    /// The generation of the refresh token, and when its client first showed it.
    generation: u8,
    first_shown: u8,
}

impl Memory {
    pub(crate) const fn holds(&self, rule: Rule) -> bool {
        self.broken & (1 << rule as u16) == 0
    }

    fn break_rule(&mut self, rule: Rule) {
        self.broken |= 1 << rule as u16;
    }

    fn check(&mut self, rule: Rule, holds: bool) {
        if !holds {
            self.break_rule(rule);
        }
    }

    fn fate(&self, grant: Id) -> Fate {
        let at = self.fates.binary_search_by_key(&grant, |(id, _)| *id);
        at.map_or_else(|_| Fate::default(), |at| self.fates[at].1)
    }

    fn fate_mut(&mut self, grant: Id) -> &mut Fate {
        let at = match self.fates.binary_search_by_key(&grant, |(id, _)| *id) {
            Ok(at) => at,
            Err(at) => {
                self.fates.insert(at, (grant, Fate::default()));
                at
            }
        };
        &mut self.fates[at].1
    }

    fn issued(&self, presented: Id) -> Option<&Issued> {
        self.issued.iter().find(|issued| issued.presented == presented)
    }

    fn has(&self, cause: Cause) -> bool {
        self.causes & cause.bit() != 0
    }

    /// The record was swept.
    pub(crate) fn swept(&mut self, key: Id) {
        self.fate_mut(key).over = true;
    }

    /// Whether tokens were answered to whoever presented the same.
    pub(crate) fn has_answered(&self, ask: &Ask) -> bool {
        ask.presents().is_some_and(|presented| self.issued(presented).is_some())
    }

    fn issue(&mut self, new: Issued) {
        if let Err(at) = self.issued.binary_search(&new) {
            self.issued.insert(at, new);
        }
    }
}

/// Whether a request shows all that the secret it presents is bound to.
fn proves(who: Who, ask: &Ask, owner: Option<App>) -> bool {
    match *ask {
        Ask::Redeem { by, verifier, .. } => verifier && is_owner(by, owner),
        Ask::Refresh { by, .. } => is_owner(by, owner),
        _ => who != Who::Mallory,
    }
}

fn is_owner(by: Caller, owner: Option<App>) -> bool {
    match by {
        Caller::Itself(app) => owner == Some(app),
        // A public client can show no more than its name.
        Caller::NameOnly(app) => app == App::Phone && owner == Some(app),
    }
}

impl World {
    fn standing(&self, state: &State, key: Id) -> Option<Standing> {
        self.server.tables.standing(key, state.store.row(key)?)
    }

    fn client_epoch(&self, state: &State, app: App) -> u32 {
        let key = self.clients[app as usize];
        let record = state.store.row(key).map(|row| self.server.tables.record(key, row));
        match record.as_deref() {
            Some(Record::Client(client)) => client.epoch,
            _ => u32::MAX,
        }
    }

    /// Whether an authorization could still be used for anything.
    fn is_alive(&self, state: &State, key: Id) -> bool {
        self.standing(state, key).is_some_and(|standing| {
            matches!(standing.state, Stand::CodeIssued | Stand::Active)
                && self.client_epoch(state, standing.app) == standing.client_epoch
        })
    }

    /// Whether what an authorization stood on was taken away, and that was answered.
    fn has_lost_ground(&self, state: &State, key: Id) -> bool {
        let memory = &state.memory;
        self.standing(state, key).is_some_and(|standing| {
            let app = standing.app as usize;
            standing.consent_epoch.is_some_and(|epoch| epoch < memory.withdrawn[app])
                || memory.fate(key).user < memory.user_ended
                || standing.client_epoch < memory.clients_ended[app]
        })
    }

    /// A request is sent.
    pub(crate) fn note(&self, state: &mut State, task: TaskId, ask: &Ask) -> Note {
        let tables = &self.server.tables;
        let mut note = Note::default();
        if let Some(text) = ask.presents()
            && let Some((_, key)) = tables.texts.at(text).names
        {
            let fate = state.memory.fate(key);
            note.dead = fate.told
                || state.memory.revoked.contains(&text)
                || (fate.handed && self.has_lost_ground(state, key));
            let owner = self.standing(state, key).map(|standing| standing.app);
            let proves = proves(task.who, ask, owner);
            let memory = &mut state.memory;
            let now = cast::time(state.rung);
            match ask {
                Ask::Redeem { .. } if proves => {
                    note.used = memory.issued(text).is_some();
                    let again = memory.has(Cause::CodeShown);
                    let cause = if again { Cause::CodeShownAgain } else { Cause::CodeShown };
                    memory.causes |= cause.bit();
                }
                Ask::Refresh { .. } if proves => {
                    if let Some(issued) = memory.issued(text).copied() {
                        let successor_used =
                            issued.refresh.is_some_and(|next| memory.issued(next).is_some());
                        let late = now.since(cast::time(issued.at)) >= cast::retry_window();
                        note.used = successor_used || late;
                    }
                    match App::HONEST.into_iter().find(|app| app.who() == task.who) {
                        None => memory.causes |= Cause::TokenStolen.bit(),
                        Some(app) => {
                            let hand = &state.hands[app as usize];
                            note.generation = hand.generation;
                            note.first_shown = hand.first_shown.unwrap_or(state.rung);
                            let latest = &mut memory.latest[app as usize];
                            *latest = (*latest).max(hand.generation);
                        }
                    }
                }
                _ => {}
            }
        }
        match *ask {
            Ask::Withdraw { app } => {
                note.target = self.consent_epoch_after(state, app);
                state.memory.causes |= Cause::UserWithdraws(app).bit();
            }
            Ask::EndUser => {
                note.target = state.memory.user_ended + 1;
                state.memory.causes |= Cause::UserEnds.bit();
            }
            Ask::EndClient { app } => note.target = self.client_epoch(state, app) + 1,
            Ask::Revoke { by: Caller::Itself(app) | Caller::NameOnly(app), .. } => {
                state.memory.causes |= Cause::ClientRevokes(app).bit();
            }
            _ => {}
        }
        note
    }

    /// The number that a consent has once a withdrawal that is asked for now is answered.
    fn consent_epoch_after(&self, state: &State, app: App) -> u32 {
        use grantor::model::ConsentState;

        let key = Key::consent(&crate::server::subject(), &app.id());
        let key = self.server.tables.keys.id(key);
        let record = state.store.row(key).map(|row| self.server.tables.record(key, row));
        match record.as_deref() {
            Some(Record::Consent(consent)) if consent.state == ConsentState::Allowed => {
                consent.epoch + 1
            }
            Some(Record::Consent(consent)) => consent.epoch,
            _ => 0,
        }
    }

    /// A commit of a request was applied.
    pub(crate) fn judge_commit(&self, state: &mut State, task: &Task, written: Written) {
        let tables = &self.server.tables;
        let record = tables.record(written.key, written.row);
        let Some(grant) = grant(&record) else { return };
        let fate = state.memory.fate(written.key);
        let ask = &self.ask(task.history);
        if let Ask::Revoke { token, .. } = ask {
            insert(&mut state.memory.removed, *token);
        }
        let GrantState::Revoked(end) = &grant.state else {
            state.memory.check(Rule::EndedStaysEnded, !fate.over);
            if let GrantState::CodeIssued(code) = &grant.state {
                state.memory.fate_mut(written.key).user = code.subject_epoch;
            }
            return;
        };
        state.memory.fate_mut(written.key).over = true;
        let app = tables.standing(written.key, written.row).map(|standing| standing.app);
        let proven = proves(task.id.who, ask, app);
        let before = written.before.and_then(|row| tables.standing(written.key, row));
        let had_issued = before.is_some_and(|before| before.state == Stand::Active);
        let memory = &mut state.memory;
        let withdrawn = |memory: &Memory| {
            app.is_some_and(|app| memory.has(Cause::UserWithdraws(app)))
                || memory.has(Cause::UserEnds)
        };
        let has_cause = match end.reason {
            RevocationReason::CodeReplayed => proven && memory.has(Cause::CodeShownAgain),
            // Whether the honest client's own retry was punished is a rule of its own.
            RevocationReason::RefreshTokenReused => proven,
            RevocationReason::TooManyGuesses => !had_issued,
            RevocationReason::Client => {
                app.is_some_and(|app| memory.has(Cause::ClientRevokes(app)))
            }
            RevocationReason::User => withdrawn(memory),
            RevocationReason::AccountChanged => memory.has(Cause::UserEnds),
            RevocationReason::Denied => matches!(ask, Ask::Decide { allow: false, .. }),
            RevocationReason::Operator => false,
        };
        memory.check(Rule::NoEndWithoutCause, has_cause);
    }

    /// A request has its answer.
    pub(crate) fn judge_answer(&self, state: &mut State, task: &Task, outcome: &Outcome) {
        let ask = self.ask(task.history);
        match outcome {
            Outcome::Tokens { access, refresh, scope } => {
                self.judge_tokens(state, task, &ask, (*access, *refresh), scope);
            }
            Outcome::Active { scope } => {
                state.memory.check(Rule::ToldIsDead, !task.note.dead);
                state.memory.check(Rule::WithinConsent, is_allowed(scope));
            }
            Outcome::Code(code) => {
                let key = self.server.tables.grant_of(*code);
                state.memory.fate_mut(key).handed = true;
                let standing = self.standing(state, key);
                let stored = standing.is_some_and(|standing| standing.state != Stand::Pending);
                let over = state.memory.fate(key).over;
                state.memory.check(Rule::AnsweredIsStored, stored || over);
            }
            Outcome::Refused { why, .. } => self.judge_refusal(state, task, &ask, *why),
            Outcome::Done => self.judge_end(state, task, &ask),
            Outcome::Unavailable { contention } => {
                state.memory.check(Rule::EverybodyIsAnswered, !contention);
            }
            Outcome::Page { .. } | Outcome::Registered { .. } => {}
        }
    }

    fn judge_tokens(
        &self,
        state: &mut State,
        task: &Task,
        ask: &Ask,
        (access, refresh): (Id, Option<Id>),
        scope: &str,
    ) {
        let presented = ask.presents().expect("tokens are given for something");
        let key = self.server.tables.grant_of(presented);
        let owner = self.standing(state, key).map(|standing| standing.app);
        let proven = proves(task.id.who, ask, owner);
        let stored = self.is_stored(state, access);
        let (at, until) = (state.rung, self.expiry(state, access));
        let memory = &mut state.memory;
        memory.check(Rule::WithinConsent, is_allowed(scope));
        memory.check(Rule::ThiefGetsNothing, proven);
        memory.check(Rule::ToldIsDead, !task.note.dead);
        memory.check(Rule::AnsweredIsStored, stored);
        memory.check(Rule::ReuseIsNoticed, !task.note.used);
        let before = memory.issued(presented).copied();
        match (ask, before) {
            (Ask::Redeem { .. }, Some(_)) => memory.break_rule(Rule::OneCodeOneTokenSet),
            (_, Some(before)) => memory.check(
                Rule::OneTokenOneSuccessor,
                (before.access, before.refresh) == (access, refresh),
            ),
            (_, None) => memory.issue(Issued { presented, access, refresh, at, until }),
        }
    }

    /// Whether the store knows a token that was answered, or why it does not any more.
    fn is_stored(&self, state: &State, access: Id) -> bool {
        let tables = &self.server.tables;
        let key = tables.grant_of(access);
        let fate = state.memory.fate(key);
        if fate.over || state.memory.removed.contains(&access) {
            return true;
        }
        state.store.row(key).is_some_and(|row| tables.knows(key, row, access))
    }

    /// From which rung on an access token has expired.
    fn expiry(&self, state: &State, access: Id) -> u8 {
        let tables = &self.server.tables;
        let key = tables.grant_of(access);
        let record = state.store.row(key).map(|row| tables.record(key, row));
        let secret = &tables.handle(access).secret;
        let Some(GrantState::Active(active)) =
            record.as_deref().and_then(grant).map(|grant| &grant.state)
        else {
            return 0;
        };
        let kept = active.access_tokens.iter().find(|token| token.hash.matches(secret));
        kept.map_or(0, |token| {
            let expired = |rung: &u8| token.expires_at.has_passed(cast::time(*rung));
            (0..=cast::LAST_RUNG).find(expired).unwrap_or(cast::LAST_RUNG + 1)
        })
    }

    fn judge_refusal(&self, state: &mut State, task: &Task, ask: &Ask, why: Why) {
        let Some(text) = ask.presents() else { return };
        let Some((_, key)) = self.server.tables.texts.at(text).names else { return };
        if task.note.used {
            let noticed = !self.is_alive(state, key);
            state.memory.check(Rule::ReuseIsNoticed, noticed);
        }
        if matches!(why, Why::CodeReplayed | Why::RefreshTokenReused) {
            state.memory.fate_mut(key).told = true;
        }
        let is_reuse = matches!(why, Why::RefreshTokenReused | Why::RefreshTokenUnknown);
        let app = App::HONEST.into_iter().find(|app| app.who() == task.id.who);
        if let (Ask::Refresh { .. }, Some(app), true) = (ask, app, is_reuse) {
            let first = cast::time(task.note.first_shown);
            let in_window = cast::time(state.rung).since(first) < cast::retry_window();
            let newest = state.memory.latest[app as usize] == task.note.generation;
            // What ran out and was swept is no punishment.
            let alone = !state.memory.has(Cause::TokenStolen) && state.store.row(key).is_some();
            state.memory.check(Rule::RetryIsNotPunished, !(in_window && newest && alone));
        }
    }

    /// Somebody who wanted an end is told that it is done.
    fn judge_end(&self, state: &mut State, task: &Task, ask: &Ask) {
        let raise = |known: &mut u32| *known = (*known).max(task.note.target);
        match *ask {
            Ask::Withdraw { app } => raise(&mut state.memory.withdrawn[app as usize]),
            Ask::EndUser => raise(&mut state.memory.user_ended),
            Ask::EndClient { app } => raise(&mut state.memory.clients_ended[app as usize]),
            Ask::Revoke { token, .. } => {
                let (kind, key) = self.server.tables.texts.at(token).names.expect("a token");
                if kind == HandleKind::RefreshToken {
                    state.memory.fate_mut(key).told = true;
                } else {
                    insert(&mut state.memory.revoked, token);
                }
            }
            _ => {}
        }
    }

    /// What must be true of the store at any time.
    pub(crate) fn judge_store(&self, state: &mut State) {
        let memory = &state.memory;
        let tables = &self.server.tables;
        let mut told_is_dead = true;
        let mut withdrawn_is_dead = true;
        for (key, fate) in &memory.fates {
            if (fate.told || fate.handed) && self.is_alive(state, *key) {
                told_is_dead &= !fate.told;
                withdrawn_is_dead &= !(fate.handed && self.has_lost_ground(state, *key));
            }
        }
        for access in &memory.revoked {
            let key = tables.grant_of(*access);
            let row = state.store.row(key);
            told_is_dead &= !row.is_some_and(|row| tables.knows(key, row, *access));
        }
        // Until an access token expires nothing but an end makes its record forget it.
        let mut current = memory.issued.iter().filter(|issued| state.rung < issued.until);
        let stored = current.all(|issued| self.is_stored(state, issued.access));
        let memory = &mut state.memory;
        memory.check(Rule::ToldIsDead, told_is_dead);
        memory.check(Rule::WithdrawnIsDead, withdrawn_is_dead);
        memory.check(Rule::AnsweredIsStored, stored);
    }
}

fn insert(sorted: &mut Vec<Id>, id: Id) {
    if let Err(at) = sorted.binary_search(&id) {
        sorted.insert(at, id);
    }
}

fn is_allowed(scope: &str) -> bool {
    let scope: ScopeSet = scope.parse().expect("a scope");
    scope.is_subset(&cast::ALLOWED.parse().expect("a scope"))
}
