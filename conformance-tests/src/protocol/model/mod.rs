//! The reference: an authorization's life as plain data, and what each request may do to it.
//!
//! This is written from the specifications and knows nothing of the production code: no records,
//! no epochs, no hashes, no commits. A [`World`] is what is true at one moment. A rule is given a
//! world, a request and the answer that the real server gave; it says what may be true afterwards,
//! or which [`Invariant`] that answer breaks. Where an answer was never given, a rule says what
//! *may* have happened, and the checker goes on with every world that is still possible.
//!
//! A request that changes several things one after the other has several phases; between two
//! of them other requests may come, and a crash may end it.

mod browsers;
mod clients;

use std::collections::{BTreeMap, BTreeSet};

use super::invariant::Invariant;
use super::request::{Answer, By, ClientNo, GrantNo, Request, Scopes, Shown, Text, UserNo, caller};

/// The lifetimes that the reference reckons with, in seconds.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is named after the setting of the policy")]
pub struct Terms {
    pub interaction: u64,
    pub code: u64,
    pub guesses: u8,
    pub access: u64,
    pub refresh_idle: u64,
    pub refresh_absolute: u64,
    pub retry_window: u64,
    pub session: u64,
    pub secret_overlap: u64,
    /// The most access tokens of one authorization that are alive at once.
    pub access_tokens: usize,
}

/// What the walks use.
pub const TERMS: Terms = Terms {
    interaction: 600,
    code: 60,
    guesses: 5,
    access: 3600,
    refresh_idle: 14 * 86_400,
    refresh_absolute: 90 * 86_400,
    retry_window: 60,
    session: 8 * 3600,
    secret_overlap: 86_400,
    access_tokens: 16,
};

/// Authorizations that clients asked for themselves are numbered by their token, from here on.
pub(super) const SERVICE_GRANTS: GrantNo = 1 << 24;

/// What is true at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are named after what they hold")]
pub struct World {
    pub clients: BTreeMap<ClientNo, Client>,
    pub users: Vec<User>,
    /// The session that the cookie in each user's browser opens.
    pub sessions: Vec<Option<Session>>,
    pub consents: BTreeMap<(UserNo, ClientNo), Consent>,
    pub grants: BTreeMap<GrantNo, Grant>,
}

/// A client (RFC 6749 section 2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    /// It has no secret.
    pub public: bool,
    /// Its secrets, newest first, and until when each works; one that nobody was told is `None`.
    pub secrets: Vec<(Option<Text>, Option<u64>)>,
    /// Removed.
    pub gone: bool,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// The account does not stand now.
    pub disabled: bool,
    /// How often everything of the user was revoked.
    pub revocations: u32,
    /// How many such revocations are under way.
    pub ending: u8,
}

/// A user who is signed in with a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// Who.
    pub user: UserNo,
    /// Until when.
    pub until: u64,
    /// It is being ended: it may be over already.
    pub dying: Option<Mark>,
}

/// What a user allowed a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consent {
    /// All that is allowed; nothing, once withdrawn.
    pub scope: Scopes,
    /// A withdrawal was begun and not finished.
    pub withdrawing: bool,
}

/// One authorization.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// Whose.
    pub client: ClientNo,
    /// Where it was begun; `None`: the client asked for itself.
    pub browser: Option<UserNo>,
    /// What was asked for.
    pub asked: Scopes,
    /// The user is asked even if it was allowed before.
    pub ask_again: bool,
    /// Who allowed it.
    pub user: Option<UserNo>,
    /// Where it stands.
    pub stage: Stage,
    /// It is being ended: it may be over already.
    pub dying: Option<(End, Mark)>,
    /// Its end was begun and cut short: it is over, or not, and the next answer about it will tell.
    pub unsure: Option<End>,
    /// Somebody was refused at it: if it suffers now, that is why.
    pub provoked: bool,
    /// It was seen to be over.
    pub seen_over: bool,
    /// The texts of its codes and tokens that were ever seen.
    pub texts: BTreeSet<Text>,
}

/// When a session or an authorization that is being ended began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Before the end began: a code of it may not be handed out any more.
    Before,
    /// While it was under way: the end may have passed it by.
    During,
}

/// Where an authorization stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The user has not answered, and has time until then.
    Asked(u64),
    /// Allowed, and not redeemed.
    Code(Code),
    /// Tokens are out.
    Active(Active),
    /// Over.
    Over(End),
}

/// An authorization code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code {
    /// Its text, once somebody has seen it.
    pub text: Option<Text>,
    /// What was allowed.
    pub scope: Scopes,
    /// Until when it works.
    pub until: u64,
    /// Wrong verifiers so far.
    pub wrong: u8,
}

/// What came of a code, or of a client's own request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Active {
    /// The code that was redeemed.
    pub code: Option<Text>,
    /// What was allowed.
    pub scope: Scopes,
    /// Every access token that there ever was, oldest first.
    pub access: Vec<Access>,
    /// The refresh side.
    pub refresh: Option<Refresh>,
}

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// Its text, once somebody has seen it.
    pub text: Option<Text>,
    /// What it opens.
    pub scope: Scopes,
    /// Until when it works.
    pub until: u64,
    /// Its client revoked it, or it was one too many.
    pub revoked: bool,
}

/// The refresh tokens of an authorization.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refresh {
    /// The one that works, once somebody has seen it.
    pub current: Option<Text>,
    /// Until when it works unless it is used.
    pub idle: u64,
    /// Until when any works.
    pub end: u64,
    /// The one before, when it was exchanged, and which access token (by its place) it was exchanged for.
    pub previous: Option<(Text, u64, usize)>,
    /// All before that.
    pub retired: BTreeSet<Text>,
}

/// Why an authorization ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named after what ended it")]
pub enum End {
    Denied,
    Guessed,
    Replayed,
    Reused,
    RevokedByClient,
    Withdrawn,
    UserRevoked,
    ClientGone,
    NeverHandedOut,
}

impl End {
    /// Which invariant is broken if it lives on.
    pub const fn demands(self) -> Invariant {
        match self {
            Self::Denied => Invariant::ConsentAsked,
            Self::Guessed => Invariant::CodeBoundToVerifier,
            Self::Replayed => Invariant::ReplayEndsTheGrant,
            Self::Reused => Invariant::ReuseEndsTheGrant,
            Self::RevokedByClient => Invariant::RevokedByClientIsOver,
            Self::Withdrawn => Invariant::WithdrawnIsOver,
            Self::UserRevoked => Invariant::UserRevokedIsOver,
            Self::ClientGone => Invariant::ClientGoneIsOver,
            Self::NeverHandedOut => Invariant::InteractionAnsweredOnce,
        }
    }
}

/// How far a request has got. The number beside it is what it remembers from before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Phase(pub u8, pub u32);

/// The world after a phase, and the next phase; `None`: the request is done.
pub type Move = (World, Option<Phase>);

/// What a rule decides by besides the world, and what it finds.
#[derive(Debug)]
pub struct Judge<'a> {
    /// The time, in seconds.
    pub now: u64,
    /// The answer that the server gave.
    pub answer: &'a Answer,
    /// Other requests were under way at the same time. What a *page* shows is then not held against
    /// the world: it may have been put together from several moments, and gives nobody anything.
    pub overlapping: bool,
    /// What was checked and found good.
    pub upheld: BTreeSet<Invariant>,
    /// What the answer would break.
    pub broken: Vec<Invariant>,
}

impl<'a> Judge<'a> {
    /// A judge of one answer.
    pub fn new(now: u64, answer: &'a Answer, overlapping: bool) -> Self {
        Self { now, answer, overlapping, upheld: BTreeSet::new(), broken: Vec::new() }
    }

    fn blame(&mut self, invariant: Invariant) -> Vec<Move> {
        self.broken.push(invariant);
        Vec::new()
    }

    /// `world`, if this holds.
    fn hold(&mut self, invariant: Invariant, holds: bool, world: World) -> Vec<Move> {
        if !holds {
            return self.blame(invariant);
        }
        if !self.answer.is_unknown() {
            self.upheld.insert(invariant);
        }
        vec![(world, None)]
    }

    /// The request is to be refused, with one of these errors, because of this invariant; it
    /// changes nothing.
    fn refused(
        &mut self,
        mut world: World,
        grant: Option<GrantNo>,
        errors: &[&str],
        invariant: Invariant,
    ) -> Vec<Move> {
        if let Some(grant) = grant.and_then(|grant| world.grants.get_mut(&grant)) {
            grant.provoked |= !self.answer.is_unknown();
        }
        let good = match self.answer {
            Answer::Refused(error) => errors.contains(&error.as_str()),
            Answer::Odd(_) => return self.blame(Invariant::NothingUnforeseen),
            answer => answer.is_unknown(),
        };
        self.hold(invariant, good, world)
    }

    /// The same, at an authorization that may be over.
    fn refused_at(
        &mut self,
        mut world: World,
        no: GrantNo,
        errors: &[&str],
        otherwise: Invariant,
    ) -> Vec<Move> {
        let seen = !self.answer.is_unknown();
        let over = world.grants.get_mut(&no).map(|grant| grant.over(otherwise, seen));
        self.refused(world, Some(no), errors, over.unwrap_or(otherwise))
    }

    /// The answer is to be a page without a way on.
    fn error_page(
        &mut self,
        mut world: World,
        grant: Option<GrantNo>,
        invariant: Invariant,
    ) -> Vec<Move> {
        if let Some(grant) = grant.and_then(|grant| world.grants.get_mut(&grant)) {
            grant.provoked |= !self.answer.is_unknown();
        }
        let good = self.answer.is_unknown() || *self.answer == Answer::ErrorPage;
        let good = good || (self.overlapping && self.is_page());
        self.hold(invariant, good, world)
    }

    /// The answer is to be this, and instead of a code, because of this invariant.
    fn asked(
        &mut self,
        world: World,
        grant: Option<GrantNo>,
        page: &Answer,
        invariant: Invariant,
    ) -> Vec<Move> {
        let good =
            self.answer.is_unknown() || self.answer == page || (self.overlapping && self.is_page());
        // A page too many is no harm to the user; it is one to the client.
        let harm = matches!(self.answer, Answer::Code(_) | Answer::ConsentPage { .. });
        let blamed = if good || harm { invariant } else { world.service_of(grant) };
        self.hold(blamed, good, world)
    }

    fn is_page(&self) -> bool {
        matches!(
            self.answer,
            Answer::Asks | Answer::SignInPage | Answer::ConsentPage { .. } | Answer::ErrorPage
        )
    }

    /// The answer is to be this, to whoever asked with nothing wrong.
    fn due(&mut self, world: World, grant: Option<GrantNo>, answer: &Answer) -> Vec<Move> {
        let invariant = world.service_of(grant);
        let good = self.answer.is_unknown() || self.answer == answer;
        self.hold(invariant, good, world)
    }
}

impl Grant {
    pub(super) fn new(client: ClientNo, asked: Scopes, stage: Stage) -> Self {
        Self {
            client,
            browser: None,
            asked,
            ask_again: false,
            user: None,
            stage,
            dying: None,
            unsure: None,
            provoked: false,
            seen_over: false,
            texts: BTreeSet::new(),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    fn end(&mut self, end: End) {
        if !self.is_over() {
            self.stage = Stage::Over(end);
        }
        self.dying = None;
        self.unsure = None;
    }

    fn active(&self) -> Option<&Active> {
        match &self.stage {
            Stage::Active(active) => Some(active),
            _ => None,
        }
    }

    /// Which invariant a refusal at this grant stands for; `seen`: somebody sees now that it is over.
    fn over(&mut self, otherwise: Invariant, seen: bool) -> Invariant {
        let Stage::Over(end) = self.stage else { return otherwise };
        let again = self.seen_over;
        self.seen_over |= seen;
        if again { Invariant::DeadStaysDead } else { end.demands() }
    }
}

impl Active {
    /// Adds an access token; beyond the bound the oldest that is alive goes.
    fn mint(&mut self, text: Option<Text>, scope: Scopes, now: u64) {
        let alive = self.access.iter_mut().filter(|token| !token.revoked && now < token.until);
        let mut alive: Vec<_> = alive.collect();
        if alive.len() >= TERMS.access_tokens
            && let Some(oldest) = alive.first_mut()
        {
            oldest.revoked = true;
        }
        self.access.push(Access { text, scope, until: now + TERMS.access, revoked: false });
    }
}

impl World {
    /// Which invariant is broken if an honest request is refused here.
    fn service_of(&self, grant: Option<GrantNo>) -> Invariant {
        let provoked = grant.and_then(|grant| self.grants.get(&grant)).is_some_and(|g| g.provoked);
        if provoked { Invariant::ThiefHarmsNobody } else { Invariant::HonestIsServed }
    }

    /// What one phase of a request may lead to, given how it was answered in the end.
    pub fn moves(&self, request: &Request, phase: Phase, judge: &mut Judge<'_>) -> Vec<Move> {
        if let Answer::Odd(_) = judge.answer {
            return judge.blame(Invariant::NothingUnforeseen);
        }
        if !self.lets_old_secrets_in(request, judge) {
            return judge.blame(Invariant::RotatedSecretOverlaps);
        }
        let worlds = self.certain(request);
        worlds.into_iter().flat_map(|world| world.rule(request, phase, judge)).collect()
    }

    /// Whether a caller with a replaced secret that still works is let in.
    fn lets_old_secrets_in(&self, request: &Request, judge: &mut Judge<'_>) -> bool {
        let Some(by) = caller(request).filter(|by| self.authenticates(*by, judge.now)) else {
            return true;
        };
        let replaced = |client: &Client| {
            let mut secrets = client.secrets.iter();
            secrets
                .any(|(text, until)| until.is_some() && text.map(Shown::Secret) == Some(by.secret))
        };
        if judge.answer.is_unknown() || !self.clients.get(&by.client).is_some_and(replaced) {
            return true;
        }
        judge.upheld.insert(Invariant::RotatedSecretOverlaps);
        !matches!(judge.answer, Answer::Refused(error) if error == "invalid_client")
    }

    fn rule(self, request: &Request, phase: Phase, judge: &mut Judge<'_>) -> Vec<Move> {
        match *request {
            Request::Register { client, public } => self.register(client, public, judge),
            Request::Rotate { client } => self.rotate(client, judge),
            Request::Remove { client } => self.remove(client, judge),
            Request::RevokeClient { client } => self.revoke_client(client, judge),
            Request::RevokeUser { user } => self.revoke_user(user, phase, judge),
            Request::Withdraw { user, client } => self.withdraw((user, client), phase, judge),
            Request::SignOut { browser } => self.sign_out(browser, judge),
            Request::Sweep => judge.due(self, None, &Answer::Done),
            Request::Authorize(asking) => self.authorize(asking, phase, judge),
            Request::Look { browser, grant } => self.look(browser, grant, phase, judge),
            Request::SignIn { browser, grant, user, right } => {
                self.sign_in(browser, grant, (user, right), phase, judge)
            }
            Request::Decide { browser, grant, shown_to, scope } => {
                self.decide(browser, grant, (shown_to, scope), phase, judge)
            }
            Request::Redeem { by, code, verifier, redirect } => {
                self.redeem(by, code, (verifier, redirect), judge)
            }
            Request::Refresh { by, token, scope } => self.refresh(by, token, scope, judge),
            Request::Service { by, scope } => self.service(by, scope, judge),
            Request::Revoke { by, token } => self.revoke(by, token, judge),
            Request::Introspect { by, token } => self.introspect(by, token, judge),
            Request::Bearer { token, scope } => self.bearer(token, scope, judge),
        }
    }

    /// Decides about everything that is being ended and that this request looks at: it is over
    /// already, or not yet.
    fn certain(&self, request: &Request) -> Vec<World> {
        let grant = self.grant_of(request);
        let browser = match request {
            Request::Authorize(asking) => Some(asking.browser),
            Request::Look { browser, .. }
            | Request::SignIn { browser, .. }
            | Request::Decide { browser, .. } => Some(*browser),
            _ => None,
        };
        let mut alive = self.clone();
        let mut worlds = Vec::new();
        if let Some((no, found)) = grant.and_then(|no| Some((no, self.grants.get(&no)?)))
            && let Some(end) = found.unsure.or(found.dying.map(|(end, _)| end))
        {
            let mut over = self.clone();
            over.grants.entry(no).and_modify(|grant| grant.end(end));
            worlds.push(over);
            alive.grants.entry(no).and_modify(|grant| grant.unsure = None);
        }
        worlds.push(alive);
        let dying =
            browser.filter(|b| self.session(*b).is_some_and(|session| session.dying.is_some()));
        for mut world in dying.map(|_| worlds.clone()).unwrap_or_default() {
            world.set_session(dying, None);
            worlds.push(world);
        }
        worlds
    }

    /// The authorization that a request is about.
    pub fn grant_of(&self, request: &Request) -> Option<GrantNo> {
        match *request {
            Request::Look { grant, .. }
            | Request::SignIn { grant, .. }
            | Request::Decide { grant, .. } => Some(grant),
            Request::Redeem { code, .. } => self.of(code),
            Request::Refresh { token, .. }
            | Request::Revoke { token, .. }
            | Request::Introspect { token, .. }
            | Request::Bearer { token, .. } => self.of(token),
            _ => None,
        }
    }

    /// Nothing is under way any more: whatever was being ended is over, or lives on. For authorizations,
    /// of which there may be many, that is left open until somebody looks.
    pub fn at_rest(mut self) -> Vec<World> {
        for user in &mut self.users {
            user.ending = 0;
        }
        for grant in self.grants.values_mut() {
            grant.unsure = grant.dying.take().map(|(end, _)| end).or(grant.unsure);
        }
        let mut worlds = vec![self];
        for browser in 0..worlds.first().map_or(0, |world| world.sessions.len()) {
            for mut world in std::mem::take(&mut worlds) {
                if let Some(mut session) =
                    world.session(browser).filter(|session| session.dying.is_some())
                {
                    let mut over = world.clone();
                    over.set_session(Some(browser), None);
                    worlds.push(over);
                    session.dying = None;
                    world.set_session(Some(browser), Some(session));
                }
                worlds.push(world);
            }
        }
        worlds
    }

    fn session(&self, browser: UserNo) -> Option<Session> {
        self.sessions.get(browser).copied().flatten()
    }

    fn set_session(&mut self, browser: Option<UserNo>, session: Option<Session>) {
        if let Some(slot) = browser.and_then(|browser| self.sessions.get_mut(browser)) {
            *slot = session;
        }
    }

    fn disabled(&self, user: UserNo) -> bool {
        self.users.get(user).is_none_or(|user| user.disabled)
    }

    /// The authorization of a code or a token.
    fn of(&self, text: Text) -> Option<GrantNo> {
        let (no, _) = self.grants.iter().find(|(_, grant)| grant.texts.contains(&text))?;
        Some(*no)
    }

    /// Whether this is who it says (RFC 6749 section 2.3, section 3.2.1).
    fn authenticates(&self, by: By, now: u64) -> bool {
        let Some(client) = self.clients.get(&by.client).filter(|client| !client.gone) else {
            return false;
        };
        match by.secret {
            Shown::Nothing => client.public,
            Shown::Invented => false,
            Shown::Secret(text) => client
                .secrets
                .iter()
                .any(|(known, until)| *known == Some(text) && until.is_none_or(|at| now < at)),
        }
    }

    fn end_all_of_client(&mut self, client: ClientNo) {
        for grant in self.grants.values_mut().filter(|grant| grant.client == client) {
            grant.end(End::ClientGone);
        }
    }
}
