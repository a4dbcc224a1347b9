//! A walk is taken: each step becomes requests to the real server, each turn is checked.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::bug::Bug;
use super::check::{Asked, check};
use super::coverage::Coverage;
use super::gate::{Ended, Trouble};
use super::invariant::Invariant;
use super::model::{User, World};
use super::request::{
    API, APP, Answer, Asking, By, ClientNo, EVIL, GrantNo, Pkce, Proof, Request, Shown, USERS,
    UserNo, WEB, Where, user_name,
};
use super::system::{BEGINNING, KnownToken, System};
use super::walk::{First, Step, Turn, Walk, Who};
use crate::storage::Backend;

/// A walk that broke an invariant.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was broken.
    pub invariant: Invariant,
    /// What happened, in numbered sentences.
    pub story: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nThis is broken: {}", self.story, self.invariant)
    }
}

/// How long a walk may take before it counts as hanging.
const DEADLINE: Duration = Duration::from_secs(120);
/// More possible worlds than this, and everything is looked at to tell them apart.
const MANY_WORLDS: usize = 48;
/// More than this after everything was looked at, and the walk ends here: too many answers were lost of
/// which no token tells, such as those to rotations of a secret.
const TOO_MANY_WORLDS: usize = 256;

/// Takes a walk over a fresh store of this backend.
pub async fn play<B: Backend>(walk: &Walk, bug: Bug) -> Result<Coverage, Failure> {
    let mut player = Player::<B>::new(bug).await;
    let done = tokio::time::timeout(DEADLINE, player.walk(walk)).await;
    match done {
        Ok(Ok(())) => Ok(player.coverage),
        Ok(Err(invariant)) => Err(Failure { invariant, story: player.story }),
        Err(_) => {
            player.story.push_str("and here the server hangs\n");
            Err(Failure { invariant: Invariant::AvailableWithoutTrouble, story: player.story })
        }
    }
}

struct Player<B: Backend> {
    system: Option<System<B>>,
    worlds: BTreeSet<World>,
    now: u64,
    next_grant: GrantNo,
    next_client: ClientNo,
    unanswered: Vec<Request>,
    story: String,
    sentences: usize,
    coverage: Coverage,
}

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

impl<B: Backend> Player<B> {
    async fn new(bug: Bug) -> Self {
        let system = System::<B>::new(bug).await;
        let mut world = World {
            users: vec![User::default(); USERS.len()],
            sessions: vec![None; USERS.len()],
            ..World::default()
        };
        for (client, registered) in &system.known.borrow().clients {
            let secrets = registered.secrets.iter().map(|secret| (Some(*secret), None)).collect();
            let public = registered.secrets.is_empty();
            let client = (*client, super::model::Client { public, secrets, gone: false });
            world.clients.extend([client]);
        }
        Self {
            system: Some(system),
            worlds: BTreeSet::from([world]),
            now: BEGINNING,
            next_grant: 1,
            next_client: API + 1,
            unanswered: Vec::new(),
            story: String::new(),
            sentences: 0,
            coverage: Coverage::default(),
        }
    }

    async fn walk(&mut self, walk: &Walk) -> Result<(), Invariant> {
        for turn in walk {
            self.first(turn.first).await?;
            self.turn(turn).await?;
            if self.worlds.len() > MANY_WORLDS {
                self.look_around().await?;
            }
            if self.worlds.len() > TOO_MANY_WORLDS {
                self.coverage.cut_short += 1;
                break;
            }
        }
        if self.worlds.len() <= TOO_MANY_WORLDS {
            self.look_around().await?;
            self.restart().await;
            self.look_around().await?;
        }
        let Some(system) = &self.system else { return Ok(()) };
        if system.tells_a_secret().await {
            return Err(Invariant::SecretsNeverTold);
        }
        self.coverage.upheld([Invariant::SecretsNeverTold]);
        self.coverage.walks += 1;
        Ok(())
    }

    fn say(&mut self, sentence: &str) {
        self.sentences += 1;
        let _ = writeln!(self.story, "{}. {sentence}", self.sentences);
    }

    async fn first(&mut self, first: First) -> Result<(), Invariant> {
        let Some(system) = &self.system else { return Ok(()) };
        match first {
            First::Nothing => return Ok(()),
            First::Pass(seconds) => {
                self.now += seconds;
                system.pass(seconds);
                self.say(&format!("{seconds} seconds pass"));
            }
            First::Disable(user) | First::Enable(user) => {
                let disabled = matches!(first, First::Disable(_));
                system.set_disabled(user, disabled);
                let worlds = std::mem::take(&mut self.worlds);
                self.worlds.extend(worlds.into_iter().map(|mut world| {
                    if let Some(user) = world.users.get_mut(user) {
                        user.disabled = disabled;
                    }
                    world
                }));
                let what = if disabled { "disabled" } else { "enabled" };
                self.say(&format!("{}'s account is {what}", user_name(user)));
            }
            First::LookAround => self.look_around().await?,
            First::Restart => {
                self.restart().await;
                self.say("the server is restarted");
            }
        }
        self.coverage.first(first);
        Ok(())
    }

    async fn restart(&mut self) {
        if let Some(system) = self.system.take() {
            self.system = Some(system.restart().await);
        }
    }

    async fn turn(&mut self, turn: &Turn) -> Result<(), Invariant> {
        let steps = self.together(&turn.steps);
        let Some(system) = &self.system else { return Ok(()) };
        let (mut grant, mut client) = (self.next_grant, self.next_client);
        let unanswered = &self.unanswered;
        let tasks: Vec<Task<'_>> = steps
            .iter()
            .map(|step| {
                grant += 1;
                client += usize::from(matches!(step, Step::Register { .. }));
                Box::pin(act(system, *step, grant, client - 1, unanswered)) as Task<'_>
            })
            .collect();
        let ended = run(system, tasks, &turn.order, turn.trouble).await;
        self.next_grant = grant;
        self.next_client = client;
        self.conclude(turn.trouble, ended).await
    }

    /// Every token is looked at, one after the other, with nothing going wrong.
    async fn look_around(&mut self) -> Result<(), Invariant> {
        let Some(system) = &self.system else { return Ok(()) };
        let tokens: Vec<KnownToken> = {
            let known = system.known.borrow();
            known.tokens.iter().rev().take(30).copied().collect()
        };
        let looks = async {
            for token in tokens {
                let client = if token.refresh { token.client } else { API };
                let by = system.known.borrow().by(client);
                if by.secret == Shown::Nothing {
                    continue;
                }
                system.ask(Request::Introspect { by, token: token.text }).await;
            }
        };
        let ended = run(system, vec![Box::pin(looks)], &[], Trouble::None).await;
        self.conclude(Trouble::None, ended).await
    }

    /// Checks what was answered in a turn.
    async fn conclude(&mut self, trouble: Trouble, ended: Ended) -> Result<(), Invariant> {
        let Some(system) = &self.system else { return Ok(()) };
        let asked = std::mem::take(&mut *system.asked.borrow_mut());
        let broken = system.broken.borrow().first().copied();
        let struck = system.gate.struck() || trouble == Trouble::Directory;
        let calls = system.gate.calls();
        self.tell(&asked, trouble, ended, struck);
        self.coverage.turn(&asked, trouble, ended, struck, calls);
        let again = |one: &&Asked| {
            one.answer.is_unknown() && !matches!(one.request, Request::Register { .. })
        };
        self.unanswered.extend(asked.iter().filter(again).map(|one| one.request));
        if let Some(broken) = broken {
            return Err(broken);
        }
        let sent_back =
            asked.iter().any(|one| matches!(one.answer, Answer::Code(_) | Answer::ErrorTo(_)));
        if sent_back {
            self.coverage
                .upheld([Invariant::RedirectOnlyToRegistered, Invariant::StateAndIssuerReturned]);
        }
        if !struck && asked.iter().any(|one| one.answer == Answer::NotNow) {
            return Err(Invariant::AvailableWithoutTrouble);
        }
        if !asked.is_empty() && !struck {
            self.coverage
                .upheld([Invariant::AvailableWithoutTrouble, Invariant::NothingUnforeseen]);
        }
        let mut possible = asked;
        if struck && trouble.leaves_writes_open() {
            let twins = overtaken(&possible);
            possible.extend(twins);
        }
        let found = check(&self.worlds, &possible, self.now)?;
        self.coverage.upheld(found.upheld);
        self.coverage.worlds(found.worlds.len());
        self.worlds = found.worlds;
        if ended == Ended::Died {
            self.restart().await;
        }
        Ok(())
    }

    fn tell(&mut self, asked: &[Asked], trouble: Trouble, ended: Ended, struck: bool) {
        let mut overlapping = false;
        let mut until = 0;
        for one in asked {
            overlapping |= one.from < until;
            until = until.max(one.until);
        }
        if overlapping {
            self.say("at once:");
        }
        for one in asked {
            let sentence = format!("{}: {}", one.request, one.answer);
            if overlapping {
                let _ = writeln!(self.story, "   - {sentence}");
            } else {
                self.say(&sentence);
            }
        }
        if struck {
            let _ = writeln!(self.story, "   (meanwhile: {trouble:?}: {})", trouble.name());
        }
        if ended == Ended::Died {
            let _ = writeln!(self.story, "   (and another process takes over)");
        }
    }

    /// The steps that can be taken at once: a person does one thing at a time in a browser, but may
    /// send a form twice, and may sign out in another window meanwhile.
    fn together(&self, steps: &[Step]) -> Vec<Step> {
        let Some(system) = &self.system else { return Vec::new() };
        let mut taken: Vec<(UserNo, Window)> = Vec::new();
        let mut kept = Vec::new();
        for step in steps {
            let window = match *step {
                Step::Begin { user, .. } => Some((user, Window::Begins)),
                Step::Connect { user, .. } => Some((user, Window::Walks)),
                Step::GoOn { pending, stranger, .. } => {
                    let browser = at(&system.known.borrow().pending, pending).map(|(_, b)| b);
                    browser.map(|b| (if stranger { other(b) } else { b }, Window::Walks))
                }
                Step::Answer { pending, .. } => at(&system.known.borrow().pending, pending)
                    .map(|(_, browser)| (browser, Window::Answers)),
                Step::SignOut { browser } => Some((browser, Window::Leaves)),
                Step::Again { nth } => match at(&self.unanswered, nth) {
                    Some(
                        Request::Look { browser, .. }
                        | Request::SignIn { browser, .. }
                        | Request::Decide { browser, .. }
                        | Request::Authorize(Asking { browser, .. })
                        | Request::SignOut { browser },
                    ) => Some((browser, Window::Walks)),
                    _ => None,
                },
                _ => None,
            };
            if let Some((browser, window)) = window {
                let mut others = taken.iter().filter(|(known, _)| *known == browser);
                if others.any(|(_, other)| !window.goes_with(*other)) {
                    continue;
                }
                taken.push((browser, window));
            }
            kept.push(*step);
        }
        kept
    }
}

/// A write of which the store did not say whether it happened is sent again. If somebody else has
/// replaced it meanwhile, the request is decided anew, and may be refused for what it has done itself: of
/// several redemptions of one code, the first one was written, the second one was a replay and ended the
/// authorization, and then the first one finds it ended. So such a request may have had an effect before
/// it was refused.
fn overtaken(asked: &[Asked]) -> Vec<Asked> {
    let overlaps = |one: &Asked| {
        let others = asked.iter().filter(|other| other.from != one.from);
        others.into_iter().any(|other| other.from < one.until && one.from < other.until)
    };
    let decided_anew = |one: &&Asked| {
        let answers = &one.answer;
        matches!(answers, Answer::Refused(_) | Answer::ErrorPage | Answer::Registered { .. })
            && overlaps(one)
    };
    let lost = |one: &Asked| Asked { answer: Answer::Lost, until: u32::MAX, ..one.clone() };
    asked.iter().filter(decided_anew).map(lost).collect()
}

/// What a person does in a browser.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Window {
    Begins,
    Walks,
    Answers,
    Leaves,
}

impl Window {
    fn goes_with(self, other: Self) -> bool {
        use Window::{Answers, Begins, Leaves};
        matches!(
            (self, other),
            (Answers, Answers | Leaves) | (Leaves, Answers | Begins) | (Begins, Leaves)
        )
    }
}

async fn run<B: Backend>(
    system: &System<B>,
    tasks: Vec<Task<'_>>,
    order: &[u8],
    trouble: Trouble,
) -> Ended {
    system.set_directory_away(trouble == Trouble::Directory);
    let ended = system.gate.turn(tasks, order, trouble).await;
    system.set_directory_away(false);
    ended
}

/// The `n`th from the end.
fn at<T: Copy>(list: &[T], n: u8) -> Option<T> {
    let back = usize::from(n) % list.len().max(1);
    list.iter().rev().nth(back).copied()
}

const fn other(user: UserNo) -> UserNo {
    1 - user
}

/// One step, as requests.
async fn act<B: Backend>(
    system: &System<B>,
    step: Step,
    grant: GrantNo,
    new_client: ClientNo,
    unanswered: &[Request],
) {
    let known = || system.known.borrow();
    let there = |client: ClientNo| known().clients.contains_key(&client);
    let client_or_web = |client: ClientNo| if there(client) { client } else { WEB };
    let request = match step {
        Step::Register { public } => Request::Register { client: new_client, public },
        Step::Rotate { client } => match client_or_web(client) {
            // A public client has no secret to rotate.
            client if known().by(client).secret == Shown::Nothing => {
                Request::Rotate { client: WEB }
            }
            client => Request::Rotate { client },
        },
        Step::Remove { client } => Request::Remove { client: client_or_web(client) },
        Step::RevokeClient { client } => Request::RevokeClient { client: client_or_web(client) },
        Step::RevokeUser { user } => Request::RevokeUser { user },
        Step::Withdraw { user, client } => {
            Request::Withdraw { user, client: client_or_web(client) }
        }
        Step::SignOut { browser } => Request::SignOut { browser },
        Step::Sweep => Request::Sweep,
        Step::Begin { user, client, to, scope, pkce, ask_again } => {
            let client = client_or_web(client);
            Request::Authorize(Asking { browser: user, client, to, scope, pkce, ask_again, grant })
        }
        Step::GoOn { pending, stranger, other_user, right, tick } => {
            let Some((grant, owner)) = at(&known().pending, pending) else { return };
            let browser = if stranger { other(owner) } else { owner };
            let user = if other_user { other(browser) } else { browser };
            through_the_pages(system, grant, browser, (user, right), tick).await;
            return;
        }
        Step::Answer { pending, tick } => {
            let Some((grant, browser)) = at(&known().pending, pending) else { return };
            let Some(shown_to) = known().page_user(grant) else { return };
            Request::Decide { browser, grant, shown_to, scope: tick }
        }
        Step::Connect { user, client, scope, tick, redeem } => {
            let client = client_or_web(client);
            connect(system, user, client, (scope, tick), (grant, redeem)).await;
            return;
        }
        Step::Redeem { code, who, verifier, redirect } => {
            let Some(code) = at(&known().codes, code) else { return };
            let by = known_by(system, code.client, who);
            Request::Redeem { by, code: code.text, verifier, redirect }
        }
        Step::Refresh { family, age, who, scope } => {
            let Some(token) = refresh_token(system, family, age) else { return };
            let by = known_by(system, token.client, who);
            Request::Refresh { by, token: token.text, scope }
        }
        Step::Service { who, scope } => Request::Service { by: known_by(system, API, who), scope },
        Step::Revoke { token, who } => {
            let Some(token) = at(&known().tokens, token) else { return };
            Request::Revoke { by: known_by(system, token.client, who), token: token.text }
        }
        Step::Introspect { token, who } => {
            let Some(token) = at(&known().tokens, token) else { return };
            Request::Introspect { by: known_by(system, token.client, who), token: token.text }
        }
        Step::Bearer { token, scope } => {
            let Some(token) = at(&known().tokens, token) else { return };
            Request::Bearer { token: token.text, scope }
        }
        Step::Again { nth } => match at(unanswered, nth) {
            // Whoever begins again begins another one.
            Some(Request::Authorize(asking)) => Request::Authorize(Asking { grant, ..asking }),
            Some(request) => request,
            None => return,
        },
    };
    system.ask(request).await;
}

/// The refresh tokens of one authorization: the newest, or one of those before it.
fn refresh_token<B: Backend>(system: &System<B>, family: u8, age: u8) -> Option<KnownToken> {
    let known = system.known.borrow();
    let mut families: Vec<Option<GrantNo>> = Vec::new();
    for token in known.tokens.iter().filter(|token| token.refresh) {
        families.retain(|grant| *grant != token.grant);
        families.push(token.grant);
    }
    let grant = at(&families, family)?;
    let tokens: Vec<KnownToken> =
        known.tokens.iter().filter(|t| t.refresh && t.grant == grant).copied().collect();
    at(&tokens, age)
}

fn known_by<B: Backend>(system: &System<B>, owner: ClientNo, who: Who) -> By {
    let known = system.known.borrow();
    let by = known.by(owner);
    match who {
        Who::Owner => by,
        Who::OwnerOldSecret => {
            let secrets = known.clients.get(&owner).map(|client| client.secrets.as_slice());
            let old = secrets.and_then(|secrets| secrets.iter().rev().nth(1));
            old.map_or(by, |old| By { client: owner, secret: Shown::Secret(*old) })
        }
        Who::Nameless => By { client: owner, secret: Shown::Nothing },
        Who::Inventive => By { client: owner, secret: Shown::Invented },
        Who::Thief => known.by(EVIL),
        Who::Api => known.by(API),
    }
}

/// From wherever an authorization stands to its end.
async fn through_the_pages<B: Backend>(
    system: &System<B>,
    grant: GrantNo,
    browser: UserNo,
    (user, right): (UserNo, bool),
    tick: u8,
) -> Answer {
    let mut page = system.ask(Request::Look { browser, grant }).await;
    if page == Answer::SignInPage {
        page = system.ask(Request::SignIn { browser, grant, user, right }).await;
        if page == Answer::SignedIn {
            page = system.ask(Request::Look { browser, grant }).await;
        }
    }
    if let Answer::ConsentPage { .. } = page {
        let shown_to = system.known.borrow().page_user(grant).unwrap_or(browser);
        page = system.ask(Request::Decide { browser, grant, shown_to, scope: tick }).await;
    }
    page
}

/// The whole way, with nothing wrong.
async fn connect<B: Backend>(
    system: &System<B>,
    browser: UserNo,
    client: ClientNo,
    (scope, tick): (u8, u8),
    (grant, redeem): (GrantNo, bool),
) {
    let asking = Asking {
        browser,
        client,
        to: Where::Registered,
        scope,
        pkce: Pkce::S256,
        ask_again: client == APP && grant.is_multiple_of(3),
        grant,
    };
    let mut page = system.ask(Request::Authorize(asking)).await;
    if page == Answer::Asks {
        page = through_the_pages(system, grant, browser, (browser, true), tick).await;
    }
    if let (Answer::Code(code), true) = (page, redeem) {
        let by = system.known.borrow().by(client);
        let (verifier, redirect) = (Proof::Right, Proof::Right);
        system.ask(Request::Redeem { by, code, verifier, redirect }).await;
    }
}
