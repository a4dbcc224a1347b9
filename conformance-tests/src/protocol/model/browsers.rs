//! What users do in their browsers, and what is done about users.

use super::{Code, Consent, End, Grant, Judge, Mark, Move, Phase, Session, Stage, TERMS, World};
use crate::protocol::invariant::Invariant as I;
use crate::protocol::request::{
    APP, Answer, Asking, ClientNo, GrantNo, Pkce, REGISTERED, Scopes, UserNo, Where,
};

/// The phase of an answer that takes up a withdrawal first.
const TAKEN_UP: u8 = 3;

/// What a pending authorization needs next.
enum Next {
    SignIn,
    Consent,
    Code(UserNo),
}

impl World {
    /// An authorization request arrives (RFC 6749 section 4.1.1).
    pub(super) fn authorize(
        mut self,
        asking: Asking,
        phase: Phase,
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        let Asking { browser, client, grant: no, .. } = asking;
        if phase.0 > 0 {
            return self.hand_out(browser, no, judge);
        }
        let known = self.clients.get(&client).is_some_and(|client| !client.gone);
        if !known || matches!(asking.to, Where::Elsewhere | Where::Lookalike) {
            return judge.error_page(self, None, I::RedirectOnlyToRegistered);
        }
        let faults = [
            (asking.pkce != Pkce::S256, "invalid_request", I::PkceRequired),
            (asking.scope == 0 || asking.scope & !REGISTERED != 0, "invalid_scope", I::ScopeKnown),
        ];
        if let Some((_, _, invariant)) = faults.iter().find(|(fault, ..)| *fault) {
            let said =
                |error: &str| faults.iter().any(|(fault, known, _)| *fault && *known == error);
            let good = match judge.answer {
                Answer::ErrorTo(error) => said(error),
                answer => answer.is_unknown(),
            };
            return judge.hold(*invariant, good, self);
        }
        let mut grant =
            Grant::new(client, asking.scope, Stage::Asked(judge.now + TERMS.interaction));
        grant.browser = Some(browser);
        grant.ask_again = asking.ask_again;
        let next = self.next(browser, &grant, judge.now);
        match next {
            Next::Code(user) => {
                if judge.answer.is_unknown() {
                    // Nobody holds the code, nor the page.
                    return vec![(self, None)];
                }
                self.grants.insert(no, grant);
                let asks_all_the_same = judge.overlapping && *judge.answer == Answer::Asks;
                if asks_all_the_same {
                    return vec![(self, None)];
                }
                self.issue(no, user, asking.scope, judge);
                vec![(self, Some(Phase(1, 0)))]
            }
            Next::SignIn | Next::Consent => {
                let invariant = match next {
                    Next::SignIn => I::SignInRequired,
                    _ => I::ConsentAsked,
                };
                self.grants.insert(no, grant);
                judge.asked(self, Some(no), &Answer::Asks, invariant)
            }
        }
    }

    fn next(&self, browser: UserNo, grant: &Grant, now: u64) -> Next {
        let session = self.session(browser).filter(|session| now < session.until);
        let Some(session) = session.filter(|session| !self.disabled(session.user)) else {
            return Next::SignIn;
        };
        let consent = self.consents.get(&(session.user, grant.client));
        let covered = consent.is_some_and(|consent| grant.asked & !consent.scope == 0);
        // Any program on the device can use the app's name at a loopback address (RFC 8252 section 8.6).
        if covered && grant.client != APP && !grant.ask_again {
            Next::Code(session.user)
        } else {
            Next::Consent
        }
    }

    /// Why a pending authorization does not open.
    fn shut(&self, browser: UserNo, no: GrantNo, now: u64) -> Option<I> {
        let Some(grant) = self.grants.get(&no) else { return Some(I::UnknownIsNothing) };
        match &grant.stage {
            Stage::Asked(_) if grant.browser != Some(browser) => Some(I::InteractionBoundToBrowser),
            Stage::Asked(until) if now >= *until => Some(I::InteractionAnsweredOnce),
            Stage::Asked(_) => None,
            Stage::Code(_) | Stage::Active(_) => Some(I::InteractionAnsweredOnce),
            Stage::Over(end) => Some(end.demands()),
        }
    }

    pub(super) fn look(
        mut self,
        browser: UserNo,
        no: GrantNo,
        phase: Phase,
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        if phase.0 > 0 {
            return self.hand_out(browser, no, judge);
        }
        if let Some(why) = self.shut(browser, no, judge.now) {
            return judge.error_page(self, Some(no), why);
        }
        let Some(grant) = self.grants.get(&no) else { return Vec::new() };
        let asked = grant.asked;
        let (invariant, page) = match self.next(browser, grant, judge.now) {
            Next::SignIn => (I::SignInRequired, Answer::SignInPage),
            Next::Consent => (I::ConsentAsked, Answer::ConsentPage { scope: asked }),
            Next::Code(user) => {
                let mut moves = Vec::new();
                if judge.overlapping && judge.is_page() {
                    moves.push((self.clone(), None));
                }
                // An error page may also be what became of the code when it was looked at once more.
                if moves.is_empty() || *judge.answer == Answer::ErrorPage {
                    self.issue(no, user, asked, judge);
                    moves.push((self, Some(Phase(1, 0))));
                }
                return moves;
            }
        };
        judge.asked(self, Some(no), &page, invariant)
    }

    /// The authorization becomes a code; whether it is handed out is seen in the next phase.
    fn issue(&mut self, no: GrantNo, user: UserNo, scope: Scopes, judge: &Judge<'_>) {
        let text = match judge.answer {
            Answer::Code(text) => Some(*text),
            _ => None,
        };
        let ending = self.users.get(user).is_some_and(|user| user.ending > 0);
        let Some(grant) = self.grants.get_mut(&no) else { return };
        grant.user = Some(user);
        grant.texts.extend(text);
        grant.stage = Stage::Code(Code { text, scope, until: judge.now + TERMS.code, wrong: 0 });
        grant.dying = ending.then_some((End::UserRevoked, Mark::During));
    }

    /// Before a code is handed out, what it stands on is looked at once more.
    fn hand_out(mut self, browser: UserNo, no: GrantNo, judge: &mut Judge<'_>) -> Vec<Move> {
        let signed_in = self.session(browser).is_some_and(|session| judge.now < session.until);
        let Some(grant) = self.grants.get_mut(&no) else { return Vec::new() };
        let why = match (&grant.stage, grant.dying) {
            (Stage::Over(end @ (End::Withdrawn | End::UserRevoked)), _) => Some(end.demands()),
            (_, Some((end, Mark::Before))) => Some(end.demands()),
            _ if !signed_in => Some(I::SignInRequired),
            _ => None,
        };
        if let Some(why) = why {
            grant.end(End::NeverHandedOut);
            return judge.error_page(self, Some(no), why);
        }
        let service = self.service_of(Some(no));
        match judge.answer {
            Answer::Code(_) => judge.hold(service, true, self),
            answer if answer.is_unknown() => vec![(self, None)],
            _ => judge.blame(service),
        }
    }

    /// A name and a password, on the sign-in page of an authorization.
    pub(super) fn sign_in(
        mut self,
        browser: UserNo,
        no: GrantNo,
        (user, right): (UserNo, bool),
        phase: Phase,
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        let asks = |world: &Self| {
            let grant = world.grants.get(&no)?;
            matches!(world.next(browser, grant, judge.now), Next::SignIn).then_some(())
        };
        if phase.0 == 0 && (self.shut(browser, no, judge.now).is_some() || asks(&self).is_none()) {
            return self.look(browser, no, phase, judge);
        }
        // What a page that was looked at instead leads to.
        if phase == Phase(1, 0) && self.grants.get(&no).is_some_and(|g| g.user.is_some()) {
            return self.hand_out(browser, no, judge);
        }
        let revocations = self.users.get(user).map_or(0, |user| user.revocations);
        if phase.0 == 0 && right && !self.disabled(user) {
            return vec![(self, Some(Phase(2, revocations)))];
        }
        if phase.0 == 0 || phase.1 != revocations {
            let good = judge.answer.is_unknown() || *judge.answer == Answer::SignInPage;
            return judge.hold(I::SignInRequired, good, self);
        }
        let until = judge.now + TERMS.session;
        let session = match judge.answer {
            Answer::SignedIn => {
                let ending = self.users.get(user).is_some_and(|user| user.ending > 0);
                Some(Session { user, until, dying: ending.then_some(Mark::During) })
            }
            // The session that was there before may have ended already.
            answer if answer.is_unknown() => None,
            _ => return judge.blame(I::HonestIsServed),
        };
        self.set_session(Some(browser), session);
        judge.hold(I::HonestIsServed, true, self)
    }

    pub(super) fn sign_out(mut self, browser: UserNo, judge: &mut Judge<'_>) -> Vec<Move> {
        self.set_session(Some(browser), None);
        judge.due(self, None, &Answer::Done)
    }

    /// The user answers the consent page.
    pub(super) fn decide(
        mut self,
        browser: UserNo,
        no: GrantNo,
        (shown_to, scope): (UserNo, Scopes),
        phase: Phase,
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        if phase.0 == 2 {
            return self.hand_out(browser, no, judge);
        }
        let session = self.session(browser).filter(|session| judge.now < session.until);
        let user = session.map(|session| session.user);
        // Whoever answers first takes up a withdrawal of their own that was cut short, also where the
        // page is refused.
        if let Some(pair) = user.zip(self.grants.get(&no).map(|grant| grant.client)) {
            match phase.0 {
                0 if self.consents.get(&pair).is_some_and(|consent| consent.withdrawing) => {
                    self.begin_withdrawal(pair);
                    return vec![(self, Some(Phase(TAKEN_UP, 0)))];
                }
                TAKEN_UP => self.finish_withdrawal(pair),
                _ => {}
            }
        }
        let user = user.filter(|user| !self.disabled(*user));
        let shut = self.shut(browser, no, judge.now);
        let (user, shut) = match (user, shut) {
            (_, Some(why)) => (user, Some(why)),
            (Some(user), None) if user == shown_to => (Some(user), None),
            (user, None) => (user, Some(I::SignInRequired)),
        };
        let Some(grant) = self.grants.get_mut(&no) else {
            return judge.error_page(self, Some(no), I::UnknownIsNothing);
        };
        if let Some(why) = shut {
            let same = grant.browser == Some(browser) && grant.user.is_some() && grant.user == user;
            if let Stage::Code(code) = &mut grant.stage
                && same
                && code.scope & !scope == 0
                && judge.now < code.until
            {
                // The same page again: the same code.
                if let Answer::Code(text) = judge.answer {
                    if *code.text.get_or_insert(*text) != *text {
                        return judge.blame(I::InteractionAnsweredOnce);
                    }
                    grant.texts.insert(*text);
                    judge.upheld.insert(I::InteractionAnsweredOnce);
                }
                return vec![(self, Some(Phase(2, 0)))];
            }
            return judge.error_page(self, Some(no), why);
        }
        let (Some(user), asked, client) = (user, grant.asked, grant.client) else {
            return Vec::new();
        };
        let allowed = scope & asked;
        if allowed == 0 {
            grant.end(End::Denied);
            let denied = Answer::ErrorTo("access_denied".into());
            return judge.asked(self, Some(no), &denied, I::ConsentAsked);
        }
        if phase.0 != 1 {
            let consent = self.consents.entry((user, client));
            let consent = consent.or_insert(Consent { scope: 0, withdrawing: false });
            // What was not asked this time stays as it was answered before.
            consent.scope = allowed | (consent.scope & !asked);
            return vec![(self, Some(Phase(1, 0)))];
        }
        let covered = self.consents.get(&(user, client)).is_some_and(|c| allowed & !c.scope == 0);
        if !covered {
            return judge.error_page(self, Some(no), I::WithdrawnIsOver);
        }
        self.issue(no, user, allowed, judge);
        vec![(self, Some(Phase(2, 0)))]
    }

    /// What a user allowed a client is withdrawn, and all that stood on it.
    pub(super) fn withdraw(
        mut self,
        pair: (UserNo, ClientNo),
        phase: Phase,
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        if phase.0 > 0 {
            self.finish_withdrawal(pair);
            return judge.due(self, None, &Answer::Done);
        }
        let Some(consent) = self.consents.get_mut(&pair).filter(|c| c.withdrawing || c.scope != 0)
        else {
            return judge.refused(self, None, &["unknown"], I::WithdrawnIsOver);
        };
        *consent = Consent { scope: 0, withdrawing: true };
        self.begin_withdrawal(pair);
        vec![(self, Some(Phase(1, 0)))]
    }

    fn begin_withdrawal(&mut self, pair: (UserNo, ClientNo)) {
        for grant in self.grants.values_mut().filter(|g| g.stands_on(pair)) {
            grant.dying = Some((End::Withdrawn, Mark::Before));
        }
    }

    fn finish_withdrawal(&mut self, pair: (UserNo, ClientNo)) {
        let Some(consent) = self.consents.get_mut(&pair).filter(|c| c.withdrawing) else { return };
        consent.withdrawing = false;
        for grant in self.grants.values_mut().filter(|g| g.stands_on(pair)) {
            grant.end(End::Withdrawn);
        }
    }

    /// Everything of a user is revoked: the password changed.
    pub(super) fn revoke_user(
        mut self,
        user: UserNo,
        phase: Phase,
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        let Some(known) = self.users.get_mut(user) else { return Vec::new() };
        let ended = phase.0 > 0;
        if ended {
            known.ending = known.ending.saturating_sub(1);
        } else {
            known.revocations += 1;
            known.ending += 1;
        }
        for session in &mut self.sessions {
            if let Some(found) = session.as_mut().filter(|session| session.user == user) {
                if !ended {
                    found.dying = Some(Mark::Before);
                } else if found.dying != Some(Mark::During) {
                    *session = None;
                }
            }
        }
        let issued = |grant: &&mut Grant| {
            grant.user == Some(user) && matches!(grant.stage, Stage::Code(_) | Stage::Active(_))
        };
        for grant in self.grants.values_mut().filter(issued) {
            if ended {
                if grant.dying != Some((End::UserRevoked, Mark::During)) {
                    grant.end(End::UserRevoked);
                }
            } else {
                grant.dying = Some((End::UserRevoked, Mark::Before));
            }
        }
        if ended {
            return judge.due(self, None, &Answer::Done);
        }
        vec![(self, Some(Phase(1, 0)))]
    }
}

impl Grant {
    fn stands_on(&self, (user, client): (UserNo, ClientNo)) -> bool {
        self.user == Some(user)
            && self.client == client
            && matches!(self.stage, Stage::Code(_) | Stage::Active(_))
    }
}
