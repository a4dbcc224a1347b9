//! What can happen next.

use grantor::model::{Handle, HandleKind, RecordId, Secret};
use grantor::storage::Kind;

use crate::cast::{self, App, Ask, Caller, Who};
use crate::mutation::Mutation;
use crate::scenes::Arms;
use crate::server::{Call, Next};
use crate::tables::Id;
use crate::world::{Action, State, Twist, World};

impl World {
    /// Everything that can happen now.
    pub(crate) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        if self.is_over(state) {
            return;
        }
        if state.tasks.len() < self.scene.in_flight {
            self.requests(state, actions);
        }
        let scene = &self.scene;
        for task in &state.tasks {
            if task.answered {
                actions.push(Action::Deliver(task.id));
                if state.spent.losses < scene.losses {
                    actions.push(Action::Lose(task.id));
                }
                continue;
            }
            actions.push(Action::Step(task.id, Twist::Plainly));
            let is_commit = matches!(&*self.server.next(task.history), Next::Call(Call::Commit(_)));
            if is_commit && state.spent.silences < scene.silences {
                actions.push(Action::Step(task.id, Twist::DoneInSilence));
                actions.push(Action::Step(task.id, Twist::LostInSilence));
            }
            if !is_commit && self.mutation == Some(Mutation::ReadsALaggingReplica) {
                actions.push(Action::Step(task.id, Twist::Lagging));
            }
            if state.spent.crashes < scene.crashes {
                actions.push(Action::Crash(task.id));
            }
        }
        if state.spent.thefts < scene.thefts {
            let held = state.hands.iter().flat_map(|hand| [hand.code, hand.refresh, hand.access]);
            let new = held.flatten().filter(|text| !state.loot.contains(text));
            actions.extend(new.map(Action::Steal));
        }
        if state.rung < scene.last_rung {
            actions.push(Action::Wait);
        }
        let now = cast::time(state.rung);
        let early = self.mutation == Some(Mutation::SweepsTooEarly);
        for (key, _) in state.store.rows() {
            let is_grant = self.server.tables.keys.at(key).kind() == Kind::Grant;
            if early && is_grant || state.store.may_sweep(&self.server.tables, key, now) {
                actions.push(Action::Sweep(key));
            }
        }
        if state.store.has_unfinished() {
            actions.push(Action::CatchUp);
        }
    }

    /// The requests that somebody may send now.
    pub(crate) fn requests(&self, state: &State, actions: &mut Vec<Action>) {
        let scene = &self.scene;
        let mut send = |who, ask| actions.push(Action::Send(who, ask));
        for &app in scene.apps {
            let (who, by) = (app.who(), Caller::Itself(app));
            let hand = &state.hands[app as usize];
            if let Some(code) = hand.code.filter(|_| hand.tries < scene.tries) {
                send(who, Ask::Redeem { by, code, verifier: true });
            }
            if let Some(token) = hand.refresh {
                if hand.tries < scene.tries && hand.generation < scene.refreshes {
                    send(who, Ask::Refresh { by, token });
                }
                if state.spent.revocations < scene.revocations {
                    send(who, Ask::Revoke { by, token });
                }
            }
            if let Some(token) = hand.access.filter(|_| state.spent.revocations < scene.revocations)
            {
                send(who, Ask::Revoke { by, token });
            }
            if state.spent.arrivals < scene.arrivals {
                for all in [true, false] {
                    send(Who::Alice, Ask::Arrive { app, all });
                }
            }
            if state.spent.withdrawals < scene.withdrawals {
                send(Who::Alice, Ask::Withdraw { app });
            }
            if state.spent.client_ends < scene.client_ends {
                send(Who::Operator, Ask::EndClient { app });
            }
        }
        if state.spent.user_ends < scene.user_ends {
            send(Who::Operator, Ask::EndUser);
        }
        for &(interaction, ticket, _, tries) in &state.pages {
            if tries < scene.tries {
                for allow in [true, false] {
                    send(Who::Alice, Ask::Decide { interaction, ticket, allow });
                }
            }
        }
        if state.spent.uses < scene.uses {
            let held = state.hands.iter().filter_map(|hand| hand.access);
            let mut tokens: Vec<Id> =
                held.chain(self.loot(state, HandleKind::AccessToken)).collect();
            tokens.sort_unstable();
            tokens.dedup();
            for token in tokens {
                send(Who::Archive, Ask::Use { token });
            }
        }
        if state.sent[Who::Mallory as usize] < scene.crimes {
            self.crimes(state, &mut send);
        }
    }

    fn loot(&self, state: &State, kind: HandleKind) -> impl Iterator<Item = Id> {
        let named = |text: &Id| self.server.tables.texts.at(*text).names.map(|(kind, _)| kind);
        state.loot.iter().copied().filter(move |text| named(text) == Some(kind))
    }

    /// What the thief can try with what is stolen.
    fn crimes(&self, state: &State, send: &mut impl FnMut(Who, Ask)) {
        let who = Who::Mallory;
        let lantern = Caller::Itself(App::Lantern);
        for &arms in self.scene.arms {
            let (by, verifier) = match arms {
                Arms::Stranger => (lantern, false),
                Arms::NameOnly(app) => (Caller::NameOnly(app), false),
                Arms::Secret(app) => (Caller::Itself(app), false),
                Arms::Everything(app) => (Caller::Itself(app), true),
            };
            for code in self.loot(state, HandleKind::Code) {
                send(who, Ask::Redeem { by, code, verifier });
            }
            for token in self.loot(state, HandleKind::RefreshToken) {
                send(who, Ask::Refresh { by, token });
                if by == lantern {
                    send(who, Ask::Revoke { by, token });
                }
            }
            if self.scene.guesses {
                let mut known: Vec<Id> =
                    state.loot.iter().map(|text| self.server.tables.grant_of(*text)).collect();
                known.sort_unstable();
                known.dedup();
                for key in known {
                    send(who, Ask::Refresh { by, token: self.guess(key) });
                }
            }
        }
    }

    /// A refresh token that was never issued, for an authorization that is known by name.
    fn guess(&self, key: Id) -> Id {
        let key = self.server.tables.keys.at(key);
        let id = key.id().try_into().map(RecordId::from_bytes);
        let handle = Handle::new(
            HandleKind::RefreshToken,
            id.expect("12 bytes"),
            Secret::from_bytes([5; 32]),
        );
        self.server.tables.text(handle.encode().expose())
    }
}
