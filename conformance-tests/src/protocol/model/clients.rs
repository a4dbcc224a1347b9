//! The endpoints that clients and resource servers call, and what operators do with clients.

use std::collections::BTreeSet;

use super::{Active, Client, Code, End, Grant, Judge, Move, Refresh, Stage, TERMS, World};
use crate::protocol::invariant::Invariant as I;
use crate::protocol::request::{
    API, Answer, By, ClientNo, Proof, REGISTERED, Scopes, Shown, Text, Told,
};

const GRANT: &[&str] = &["invalid_grant"];
const CLIENT: &[&str] = &["invalid_client"];

impl World {
    pub(super) fn register(
        mut self,
        client: ClientNo,
        public: bool,
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        let secret = match judge.answer {
            Answer::Registered { secret } => *secret,
            // Nobody was told its name.
            _ => return judge.hold(I::HonestIsServed, judge.answer.is_unknown(), self),
        };
        let secrets = secret.map(|secret| (Some(secret), None)).into_iter().collect();
        self.clients.insert(client, Client { public, secrets, gone: false });
        judge.hold(I::HonestIsServed, public == secret.is_none(), self)
    }

    pub(super) fn rotate(mut self, client: ClientNo, judge: &mut Judge<'_>) -> Vec<Move> {
        let Some(known) = self.clients.get_mut(&client).filter(|client| !client.gone) else {
            return judge.refused(self, None, &["unknown"], I::ClientGoneIsOver);
        };
        let until = judge.now + TERMS.secret_overlap;
        for (_, old) in &mut known.secrets {
            *old = Some(old.map_or(until, |at| at.min(until)));
        }
        let secret = match judge.answer {
            Answer::Registered { secret: Some(secret) } => Some(*secret),
            answer if answer.is_unknown() => None,
            _ => return judge.blame(I::HonestIsServed),
        };
        known.secrets.insert(0, (secret, None));
        known.secrets.truncate(2);
        judge.hold(I::HonestIsServed, true, self)
    }

    pub(super) fn remove(mut self, client: ClientNo, judge: &mut Judge<'_>) -> Vec<Move> {
        let Some(known) = self.clients.get_mut(&client).filter(|client| !client.gone) else {
            return judge.refused(self, None, &["unknown"], I::ClientGoneIsOver);
        };
        known.gone = true;
        self.end_all_of_client(client);
        judge.due(self, None, &Answer::Done)
    }

    pub(super) fn revoke_client(mut self, client: ClientNo, judge: &mut Judge<'_>) -> Vec<Move> {
        if self.clients.get(&client).is_none_or(|client| client.gone) {
            // Nothing of it is left either way.
            let good = judge.answer.is_unknown()
                || matches!(judge.answer, Answer::Done | Answer::Refused(_));
            return judge.hold(I::ClientGoneIsOver, good, self);
        }
        self.end_all_of_client(client);
        judge.due(self, None, &Answer::Done)
    }

    /// The answer has tokens, or it is open what it has. `None`: it is a refusal, where none is due.
    fn tokens_given(judge: &Judge<'_>) -> Option<Given> {
        match judge.answer {
            Answer::Tokens { access, refresh, scope, lasts } => Some(Given {
                access: Some(*access),
                refresh: *refresh,
                scope: Some(*scope),
                lasts: Some(*lasts),
            }),
            answer if answer.is_unknown() => Some(Given::default()),
            _ => None,
        }
    }

    /// Why a caller of the token endpoint is not let in.
    fn stranger(&self, by: By, judge: &Judge<'_>) -> bool {
        !self.authenticates(by, judge.now)
    }

    /// A code is exchanged (RFC 6749 section 4.1.3, RFC 7636 section 4.6).
    pub(super) fn redeem(
        mut self,
        by: By,
        code: Text,
        (verifier, redirect): (Proof, Proof),
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        if self.stranger(by, judge) {
            let no = self.of(code);
            return judge.refused(self, no, CLIENT, I::ClientAuthenticates);
        }
        if by.client == API {
            return judge.refused(self, None, &["unauthorized_client"], I::CodeBoundToClient);
        }
        let Some(no) = self.of(code) else {
            return judge.refused(self, None, GRANT, I::UnknownIsNothing);
        };
        let Some(grant) = self.grants.get(&no).cloned() else { return Vec::new() };
        if grant.client != by.client {
            return judge.refused(self, Some(no), GRANT, I::CodeBoundToClient);
        }
        let proven = match (redirect, verifier) {
            (Proof::Wrong, _) => Err(I::CodeBoundToRedirectUri),
            // OAuth 2.1 section 4.1.3 no longer asks for the redirection URI: the verifier binds better.
            (_, Proof::Right) => Ok(()),
            (_, Proof::Wrong | Proof::Missing) => Err(I::CodeBoundToVerifier),
        };
        match grant.stage.clone() {
            Stage::Code(issued) if issued.text == Some(code) => {
                if judge.now >= issued.until {
                    return judge.refused(self, Some(no), GRANT, I::CodeExpires);
                }
                if grant.user.is_none_or(|user| self.disabled(user)) {
                    return judge.refused(self, Some(no), GRANT, I::UserGoneIsOver);
                }
                match proven {
                    Ok(()) => self.exchange(no, &grant, &issued, judge),
                    Err(invariant) => {
                        if redirect != Proof::Wrong && verifier == Proof::Wrong {
                            self.count_guess(no);
                        }
                        judge.refused(self, Some(no), GRANT, invariant)
                    }
                }
            }
            Stage::Active(active) if active.code == Some(code) => {
                if proven.is_ok() {
                    let known = self.grants.entry(no);
                    known.and_modify(|grant| grant.end(End::Replayed));
                }
                if !judge.answer.is_unknown() && !matches!(judge.answer, Answer::Refused(_)) {
                    return judge.blame(I::OneTokenSetPerCode);
                }
                judge.refused(self, Some(no), GRANT, I::OneTokenSetPerCode)
            }
            _ => {
                let fresh = matches!(judge.answer, Answer::Tokens { .. });
                if fresh && grant.texts.len() > 1 && !grant.seen_over {
                    // It had issued tokens before it ended.
                    return judge.blame(I::OneTokenSetPerCode);
                }
                judge.refused_at(self, no, GRANT, I::UnknownIsNothing)
            }
        }
    }

    fn count_guess(&mut self, no: u32) {
        let Some(grant) = self.grants.get_mut(&no) else { return };
        if let Stage::Code(code) = &mut grant.stage {
            code.wrong += 1;
            if code.wrong >= TERMS.guesses {
                grant.end(End::Guessed);
            }
        }
    }

    fn exchange(
        mut self,
        no: u32,
        grant: &Grant,
        issued: &Code,
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        let Some(given) = Self::tokens_given(judge) else {
            return judge.blame(self.service_of(Some(no)));
        };
        if given.texts().any(|text| self.of(text).is_some()) {
            return judge.blame(I::OneTokenSetPerCode);
        }
        if !given.is_scope(issued.scope) {
            return judge.blame(I::ScopeWithinConsent);
        }
        if given.access.is_some() && given.refresh.is_none() {
            return judge.blame(I::HonestIsServed);
        }
        let now = judge.now;
        let mut active =
            Active { code: issued.text, scope: issued.scope, access: Vec::new(), refresh: None };
        active.mint(given.access, issued.scope, now);
        let end = now + TERMS.refresh_absolute;
        active.refresh = Some(Refresh {
            current: given.refresh,
            idle: (now + TERMS.refresh_idle).min(end),
            end,
            previous: None,
            retired: BTreeSet::new(),
        });
        let mut next = grant.clone();
        next.texts.extend(given.texts());
        next.stage = Stage::Active(active);
        self.grants.insert(no, next);
        judge.upheld.insert(I::ScopeWithinConsent);
        let service = self.service_of(Some(no));
        if given.lasts.is_some_and(|lasts| lasts != TERMS.access) {
            return judge.blame(I::AnswerIsTrue);
        }
        judge.hold(service, true, self)
    }

    /// A refresh (RFC 6749 section 6, RFC 9700 section 4.14.2).
    pub(super) fn refresh(
        mut self,
        by: By,
        token: Text,
        scope: Scopes,
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        let found = self.of(token);
        if self.stranger(by, judge) {
            return judge.refused(self, found, CLIENT, I::ClientAuthenticates);
        }
        if by.client == API {
            return judge.refused(
                self,
                found,
                &["unauthorized_client"],
                I::RefreshTokenBoundToClient,
            );
        }
        let Some((no, grant)) = found.and_then(|no| Some((no, self.grants.get(&no)?.clone())))
        else {
            return judge.refused(self, None, GRANT, I::UnknownIsNothing);
        };
        if grant.client != by.client {
            return judge.refused(self, Some(no), GRANT, I::RefreshTokenBoundToClient);
        }
        let Some((active, refresh)) =
            grant.active().and_then(|active| Some((active, active.refresh.as_ref()?)))
        else {
            return judge.refused_at(self, no, GRANT, I::UnknownIsNothing);
        };
        if grant.user.is_some_and(|user| self.disabled(user)) {
            return judge.refused(self, Some(no), GRANT, I::UserGoneIsOver);
        }
        if refresh.current == Some(token) {
            if judge.now >= refresh.idle.min(refresh.end) {
                return judge.refused(self, Some(no), GRANT, I::RefreshTokenExpires);
            }
            if scope & !active.scope != 0 {
                let errors = &["invalid_scope"];
                return judge.refused(self, Some(no), errors, I::RefreshedScopeWithinGranted);
            }
            return self.renew(no, &grant, token, scope, judge);
        }
        match refresh.previous {
            Some((previous, at, successor))
                if previous == token && judge.now < at + TERMS.retry_window =>
            {
                self.repeat(no, &grant, successor, scope, judge)
            }
            previous => {
                let known = previous.is_some_and(|(previous, ..)| previous == token)
                    || refresh.retired.contains(&token);
                if !known {
                    return judge.refused(self, Some(no), GRANT, I::UnknownIsNothing);
                }
                self.grants.entry(no).and_modify(|grant| grant.end(End::Reused));
                judge.refused(self, Some(no), GRANT, I::ReuseEndsTheGrant)
            }
        }
    }

    fn renew(
        mut self,
        no: u32,
        grant: &Grant,
        token: Text,
        scope: Scopes,
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        let Some(given) = Self::tokens_given(judge) else {
            return judge.blame(self.service_of(Some(no)));
        };
        let mut next = grant.clone();
        let Stage::Active(active) = &mut next.stage else { return Vec::new() };
        let narrowed = if scope == 0 { active.scope } else { scope };
        if !given.is_scope(narrowed) {
            return judge.blame(I::RefreshedScopeWithinGranted);
        }
        // Rotation: both are new.
        if given.texts().any(|text| self.of(text).is_some())
            || (given.access.is_some() && given.refresh.is_none())
        {
            return judge.blame(I::ReuseEndsTheGrant);
        }
        active.mint(given.access, narrowed, judge.now);
        let successor = active.access.len() - 1;
        let Some(refresh) = &mut active.refresh else { return Vec::new() };
        refresh.retired.extend(refresh.previous.map(|(text, ..)| text));
        refresh.previous = Some((token, judge.now, successor));
        refresh.current = given.refresh;
        refresh.idle = (judge.now + TERMS.refresh_idle).min(refresh.end);
        next.texts.extend(given.texts());
        self.grants.insert(no, next);
        judge.upheld.insert(I::RefreshedScopeWithinGranted);
        if given.lasts.is_some_and(|lasts| lasts != TERMS.access) {
            return judge.blame(I::AnswerIsTrue);
        }
        let service = self.service_of(Some(no));
        judge.hold(service, true, self)
    }

    /// The predecessor inside the window: the same answer again.
    fn repeat(
        mut self,
        no: u32,
        grant: &Grant,
        successor: usize,
        scope: Scopes,
        judge: &mut Judge<'_>,
    ) -> Vec<Move> {
        let mut next = grant.clone();
        let Stage::Active(active) = &mut next.stage else { return Vec::new() };
        let asked = if scope == 0 { active.scope } else { scope };
        let (now, Some(issued)) = (judge.now, active.access.get_mut(successor)) else {
            return Vec::new();
        };
        let over = issued.revoked || now >= issued.until;
        if over || asked != issued.scope {
            // It did arrive, or it is not the same request: refused, and nobody is punished. What is
            // wrong about the scope may be said first.
            let errors = &["invalid_grant", "invalid_scope"];
            return judge.refused(self, Some(no), errors, I::RetryGetsTheSameAnswer);
        }
        let Some(given) = Self::tokens_given(judge) else {
            return judge.blame(I::RetryGetsTheSameAnswer);
        };
        let lasts = issued.until - now;
        if let Some(access) = given.access {
            let known = *issued.text.get_or_insert(access);
            let Some(refresh) = &mut active.refresh else { return Vec::new() };
            let (Some(shown), true) = (given.refresh, known == access) else {
                return judge.blame(I::RetryGetsTheSameAnswer);
            };
            if *refresh.current.get_or_insert(shown) != shown || !given.is_scope(asked) {
                return judge.blame(I::RetryGetsTheSameAnswer);
            }
            if given.lasts != Some(lasts) {
                return judge.blame(I::AnswerIsTrue);
            }
            next.texts.extend(given.texts());
        }
        self.grants.insert(no, next);
        judge.hold(I::RetryGetsTheSameAnswer, true, self)
    }

    /// A client asks for itself (RFC 6749 section 4.4). Its authorization is numbered by its token.
    pub(super) fn service(mut self, by: By, scope: Scopes, judge: &mut Judge<'_>) -> Vec<Move> {
        if self.stranger(by, judge) {
            return judge.refused(self, None, CLIENT, I::ClientAuthenticates);
        }
        if by.client != API {
            return judge.refused(self, None, &["unauthorized_client"], I::ClientAuthenticates);
        }
        if scope == 0 || scope & !REGISTERED != 0 {
            return judge.refused(self, None, &["invalid_scope"], I::ScopeKnown);
        }
        let Some(given) = Self::tokens_given(judge) else {
            return judge.blame(I::HonestIsServed);
        };
        let Some(access) = given.access else { return vec![(self, None)] };
        if given.refresh.is_some() {
            return judge.blame(I::NoRefreshForServices);
        }
        if !given.is_scope(scope) {
            return judge.blame(I::ScopeWithinConsent);
        }
        let mut active = Active { code: None, scope, access: Vec::new(), refresh: None };
        active.mint(Some(access), scope, judge.now);
        let mut grant = Grant::new(by.client, scope, Stage::Active(active));
        grant.texts.insert(access);
        self.grants.insert(super::SERVICE_GRANTS + access, grant);
        judge.hold(I::NoRefreshForServices, true, self)
    }

    /// A revocation by a client (RFC 7009).
    pub(super) fn revoke(mut self, by: By, token: Text, judge: &mut Judge<'_>) -> Vec<Move> {
        let found = self.of(token);
        if self.stranger(by, judge) {
            return judge.refused(self, found, CLIENT, I::ClientAuthenticates);
        }
        let Some((no, grant)) = found.and_then(|no| Some((no, self.grants.get_mut(&no)?))) else {
            return judge.due(self, None, &Answer::Done);
        };
        let (now, owner) = (judge.now, grant.client == by.client);
        let Stage::Active(active) = &mut grant.stage else {
            // Over already: the owner is told so; whoever else asks may be told it, or that it is not theirs.
            let good = judge.answer.is_unknown()
                || *judge.answer == Answer::Done
                || (!owner && matches!(judge.answer, Answer::Refused(_)));
            return judge.hold(I::RevocationIsTheOwners, good, self);
        };
        let renewable = active.refresh.as_ref().is_some_and(|r| now < r.idle.min(r.end));
        let access = active.access.iter_mut().find(|kept| kept.text == Some(token));
        let alive = access.as_ref().map_or(renewable, |kept| !kept.revoked && now < kept.until);
        if !owner && alive {
            return judge.refused(self, Some(no), GRANT, I::RevocationIsTheOwners);
        }
        match access {
            _ if !owner => {
                let good = judge.answer.is_unknown()
                    || matches!(judge.answer, Answer::Done | Answer::Refused(_));
                return judge.hold(I::RevocationIsTheOwners, good, self);
            }
            Some(access) => access.revoked = true,
            None if active.code == Some(token) => {}
            None => grant.end(End::RevokedByClient),
        }
        judge.due(self, Some(no), &Answer::Done)
    }

    /// What a token means now, if it is active; otherwise, why it is not.
    fn standing(&mut self, token: Text, judge: &Judge<'_>, refresh_too: bool) -> Result<Told, I> {
        let no = self.of(token).ok_or(I::UnknownIsNothing)?;
        let gone = self.grants.get(&no).and_then(|grant| grant.user);
        let gone = gone.is_some_and(|user| self.disabled(user));
        let grant = self.grants.get_mut(&no).ok_or(I::UnknownIsNothing)?;
        let Stage::Active(active) = &grant.stage else {
            return Err(grant.over(I::UnknownIsNothing, !judge.answer.is_unknown()));
        };
        let told = |scope, until| Told {
            client: grant.client,
            user: grant.user,
            name_told: false,
            scope,
            until,
        };
        let told = if let Some(access) = active.access.iter().find(|a| a.text == Some(token)) {
            if judge.now >= access.until {
                return Err(I::AccessTokenExpires);
            }
            if access.revoked {
                return Err(I::RevokedByClientIsOver);
            }
            told(access.scope, access.until)
        } else {
            let refresh = active.refresh.as_ref().ok_or(I::UnknownIsNothing)?;
            if !refresh_too || active.code == Some(token) {
                return Err(I::UnknownIsNothing);
            }
            if refresh.current != Some(token) {
                return Err(I::ReuseEndsTheGrant);
            }
            let until = refresh.idle.min(refresh.end);
            if judge.now >= until {
                return Err(I::RefreshTokenExpires);
            }
            told(active.scope, until)
        };
        if gone { Err(I::UserGoneIsOver) } else { Ok(told) }
    }

    /// An introspection (RFC 7662).
    pub(super) fn introspect(mut self, by: By, token: Text, judge: &mut Judge<'_>) -> Vec<Move> {
        if self.stranger(by, judge) {
            return judge.refused(self, None, CLIENT, I::ClientAuthenticates);
        }
        if by.secret == Shown::Nothing {
            return judge.refused(self, None, CLIENT, I::IntrospectionDisclosesNothing);
        }
        let no = self.of(token);
        let is_refresh = no
            .and_then(|no| self.grants.get(&no)?.active())
            .is_some_and(|active| active.access.iter().all(|access| access.text != Some(token)));
        match self.standing(token, judge, true) {
            Err(why) => {
                let good = judge.answer.is_unknown() || *judge.answer == Answer::Inactive;
                judge.hold(why, good, self)
            }
            Ok(told) => {
                let sees = by.client == told.client || (by.client == API && !is_refresh);
                if !sees {
                    let good = judge.answer.is_unknown() || *judge.answer == Answer::Inactive;
                    return judge.hold(I::IntrospectionDisclosesNothing, good, self);
                }
                let name_told = by.client == API && told.user.is_some() && !is_refresh;
                match judge.answer {
                    Answer::Active(said) => {
                        let true_told = Told { name_told, ..told };
                        if said.scope != told.scope {
                            return judge.blame(I::ScopeWithinConsent);
                        }
                        let service = self.service_of(no);
                        judge.upheld.insert(service);
                        judge.hold(I::AnswerIsTrue, *said == true_told, self)
                    }
                    answer if answer.is_unknown() => vec![(self, None)],
                    _ => judge.blame(self.service_of(no)),
                }
            }
        }
    }

    /// A token at a protected resource (RFC 6750).
    pub(super) fn bearer(mut self, token: Text, scope: Scopes, judge: &mut Judge<'_>) -> Vec<Move> {
        let no = self.of(token);
        match self.standing(token, judge, false) {
            Err(why) => {
                let good =
                    matches!(judge.answer, Answer::Refused(error) if error == "invalid_token");
                let good = good || judge.answer.is_unknown();
                judge.hold(why, good, self)
            }
            Ok(told) if scope & !told.scope != 0 => {
                judge.refused(self, None, &["insufficient_scope"], I::TokenOpensItsScopeOnly)
            }
            Ok(told) => match judge.answer {
                Answer::Active(said) => {
                    let true_told = Told { name_told: told.user.is_some(), ..told };
                    judge.hold(I::AnswerIsTrue, *said == true_told, self)
                }
                answer if answer.is_unknown() => vec![(self, None)],
                _ => judge.blame(self.service_of(no)),
            },
        }
    }
}

/// The tokens in an answer; all open, where the answer is.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    access: Option<Text>,
    refresh: Option<Text>,
    scope: Option<Scopes>,
    lasts: Option<u64>,
}

impl Given {
    fn texts(&self) -> impl Iterator<Item = Text> {
        self.access.into_iter().chain(self.refresh)
    }

    fn is_scope(&self, scope: Scopes) -> bool {
        self.scope.is_none_or(|given| given == scope)
    }
}
