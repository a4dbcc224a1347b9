//! The real thing: a server over the backend under test, its clients, its users and their browsers.

mod answers;
mod cast;
mod known;

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use grantor::AuthorizationServer;
use grantor::engine::Error;
use grantor::model::{
    ClientId, Handle, HandleKind, Policy, RefreshPolicy, Rotation, ScopeSet, Subject,
};
use grantor::protocol::register::Registration;
use grantor::storage::{Cursor, Storage};
use http::{HeaderMap, Method, header};

use self::answers::refusal;
use self::cast::{
    CountedEntropy, Directory, Log, PASSWORD, SharedDirectory, SharedEntropy, ToldClock,
};
use self::known::{Context, Registered};
pub(crate) use self::known::{Known, KnownCode, KnownToken};
use super::bug::Bug;
use super::check::Asked;
use super::gate::Gate;
use super::http::{Reply, basic, encode, request};
use super::invariant::Invariant;
use super::model::TERMS;
use super::request::{
    API, APP, Answer, Asking, By, ClientNo, EVIL, GrantNo, Pkce, Proof, Request, Scopes, Shown,
    Text, UserNo, WEB, Where, client_name, scope_text, user_name,
};
use crate::storage::{Backend, Opened};

/// PKCE pairs; which one a client uses depends on the authorization.
const PKCE: [(&str, &str); 2] = [
    ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
    (
        "another-verifier-that-is-long-enough-0123456789",
        "FFWYB1uxEpPEkVokPeaD_WQITphgPGPYlqaWaaQBai8",
    ),
];

const ISSUER: &str = "https://as.example";
/// When a walk begins, in seconds: in the year 2100, so that a store which expires records by a clock of
/// its own takes none.
pub(crate) const BEGINNING: u64 = 4_102_444_800;

/// The server over its store, and everybody around it.
pub(crate) struct System<B: Backend> {
    opened: Opened<B>,
    server: AuthorizationServer,
    pub(crate) gate: Arc<Gate>,
    clock: Arc<ToldClock>,
    entropy: Arc<CountedEntropy>,
    directory: Arc<Directory>,
    log: Log,
    bug: Bug,
    pub(crate) known: RefCell<Known>,
    pub(crate) asked: RefCell<Vec<Asked>>,
    /// What was seen to be broken in an answer itself.
    pub(crate) broken: RefCell<Vec<Invariant>>,
    events: Cell<u32>,
}

fn policy() -> Policy {
    let seconds = Duration::from_secs;
    Policy {
        interaction_lifetime: seconds(TERMS.interaction),
        code_lifetime: seconds(TERMS.code),
        code_guesses: TERMS.guesses,
        access_token_lifetime: seconds(TERMS.access),
        refresh: Some(RefreshPolicy {
            rotation: Rotation::Always,
            idle_lifetime: seconds(TERMS.refresh_idle),
            absolute_lifetime: seconds(TERMS.refresh_absolute),
            retry_window: seconds(TERMS.retry_window),
        }),
        session_lifetime: seconds(TERMS.session),
        secret_overlap: seconds(TERMS.secret_overlap),
        ..Policy::default()
    }
}

fn scopes(scope: Scopes) -> ScopeSet {
    ScopeSet::parse(&scope_text(scope)).unwrap_or_else(|_| ScopeSet::empty())
}

fn subject(user: UserNo) -> Subject {
    Subject::parse(user_name(user)).expect("the name of a user is a subject")
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds * 1000).unwrap_or(i64::MAX)
}

impl<B: Backend> System<B> {
    /// A server over a fresh store, with the cast of every walk.
    pub(crate) async fn new(bug: Bug) -> Self {
        let opened = Opened::<B>::create().await;
        let clock = Arc::new(ToldClock(AtomicI64::new(millis(BEGINNING))));
        let entropy: Arc<CountedEntropy> = Arc::default();
        let directory: Arc<Directory> = Arc::default();
        directory.lenient.store(bug == Bug::DisabledUsersStand, Ordering::SeqCst);
        let log = Log::default();
        let gate = Gate::new(bug.storage(opened.store()));
        let mut system = Self {
            server: assemble(&gate, &clock, &entropy, &directory, &log, bug),
            opened,
            gate,
            clock,
            entropy,
            directory,
            log,
            bug,
            known: RefCell::default(),
            asked: RefCell::default(),
            broken: RefCell::default(),
            events: Cell::new(0),
        };
        let cast = [
            (WEB, false, Some("https://web.example/cb")),
            (APP, true, Some("http://127.0.0.1/cb")),
            (EVIL, false, Some("https://evil.example/cb")),
            (API, false, None),
        ];
        for (client, public, redirect_uri) in cast {
            system.introduce(client, public, redirect_uri.map(str::to_owned)).await;
        }
        system.asked.get_mut().clear();
        system
    }

    pub(crate) fn pass(&self, seconds: u64) {
        if self.bug != Bug::ClockStands {
            self.clock.0.fetch_add(millis(seconds), Ordering::SeqCst);
        }
    }

    pub(crate) fn set_disabled(&self, user: UserNo, disabled: bool) {
        let mut set = self.directory.disabled.lock().unwrap_or_else(PoisonError::into_inner);
        if disabled {
            set.insert(user_name(user).to_owned());
        } else {
            set.remove(user_name(user));
        }
    }

    pub(crate) fn set_directory_away(&self, away: bool) {
        self.directory.away.store(away, Ordering::SeqCst);
    }

    /// The process ended, and another one opens the same store.
    pub(crate) async fn restart(self) -> Self {
        let Self { opened, server, gate, .. } = self;
        drop(server);
        drop(gate);
        let opened = opened.reopen().await;
        let gate = Gate::new(self.bug.storage(opened.store()));
        let (clock, entropy) = (&self.clock, &self.entropy);
        let server = assemble(&gate, clock, entropy, &self.directory, &self.log, self.bug);
        Self {
            opened,
            server,
            gate,
            clock: self.clock,
            entropy: self.entropy,
            directory: self.directory,
            log: self.log,
            bug: self.bug,
            known: self.known,
            asked: self.asked,
            broken: self.broken,
            events: self.events,
        }
    }

    fn tick(&self) -> u32 {
        let now = self.events.get();
        self.events.set(now + 1);
        now
    }

    /// Sends a request and writes down what was answered.
    pub(crate) async fn ask(&self, request: Request) -> Answer {
        let from = self.tick();
        let at = {
            let mut asked = self.asked.borrow_mut();
            asked.push(Asked { request, answer: Answer::Lost, from, until: u32::MAX });
            asked.len() - 1
        };
        let twisted = self.bug.request(request, &self.known.borrow());
        let answer = match twisted {
            Some(request) => self.perform(request).await,
            None => Answer::Done,
        };
        let answer = self.bug.answer(&request, answer, &mut self.known.borrow_mut().numbers);
        self.learn(&request, &answer);
        let until = if answer.is_unknown() { u32::MAX } else { self.tick() };
        if let Some(one) = self.asked.borrow_mut().get_mut(at) {
            one.answer = answer.clone();
            one.until = until;
        }
        answer
    }

    /// What anybody learns from an answer.
    fn learn(&self, request: &Request, answer: &Answer) {
        let mut known = self.known.borrow_mut();
        match (request, answer) {
            (Request::Authorize(asking), Answer::Asks) => {
                known.pending.push((asking.grant, asking.browser));
            }
            (
                Request::Authorize(Asking { grant, .. })
                | Request::Look { grant, .. }
                | Request::SignIn { grant, .. }
                | Request::Decide { grant, .. },
                Answer::Code(text),
            ) => {
                let client = known.contexts.get(grant).map_or(WEB, |context| context.client);
                if known.code(*text).is_none() {
                    known.codes.push(KnownCode { text: *text, grant: *grant, client });
                }
            }
            (Request::SignIn { browser, user, .. }, Answer::SignedIn) => {
                if let Some(slot) = known.users_in.get_mut(*browser) {
                    *slot = Some(*user);
                }
            }
            (_, Answer::Tokens { access, refresh, .. }) => {
                let (client, grant) = match request {
                    Request::Redeem { by, code, .. } => {
                        (by.client, known.code(*code).map(|code| code.grant))
                    }
                    Request::Refresh { by, token, .. } => {
                        (by.client, known.token(*token).and_then(|token| token.grant))
                    }
                    Request::Service { by, .. } => (by.client, None),
                    _ => return,
                };
                let given = [(Some(*access), false), (*refresh, true)];
                for (text, refresh) in given {
                    if let Some(text) = text.filter(|text| known.token(*text).is_none()) {
                        known.tokens.push(KnownToken { text, grant, client, refresh });
                    }
                }
            }
            _ => {}
        }
    }

    async fn perform(&self, request: Request) -> Answer {
        match request {
            Request::Register { client, public } => {
                let redirect_uri = format!("https://client{client}.example/cb");
                self.introduce(client, public, Some(redirect_uri)).await
            }
            Request::Rotate { client } => {
                let Some(id) = self.client_id(client) else { return Answer::Lost };
                match self.server.rotate_client_secret(&id).await {
                    Ok(registered) => {
                        let secret = registered.client_secret.map(|secret| {
                            let mut known = self.known.borrow_mut();
                            let secret = known.number(secret.expose());
                            if let Some(client) = known.clients.get_mut(&client) {
                                client.secrets.push(secret);
                            }
                            secret
                        });
                        Answer::Registered { secret }
                    }
                    Err(error) => of_error(&error),
                }
            }
            Request::Remove { client } => {
                let Some(id) = self.client_id(client) else { return Answer::Lost };
                of_done(self.server.remove_client(&id).await)
            }
            Request::RevokeClient { client } => {
                let Some(id) = self.client_id(client) else { return Answer::Lost };
                of_done(self.server.revoke_client_grants(&id).await)
            }
            Request::RevokeUser { user } => {
                of_done(self.server.revoke_subject(&subject(user)).await)
            }
            Request::Withdraw { user, client } => {
                let Some(id) = self.client_id(client) else { return Answer::Lost };
                of_done(self.server.withdraw_consent(&subject(user), &id).await)
            }
            Request::SignOut { browser } => self.sign_out(browser).await,
            Request::Sweep => self.sweep().await,
            Request::Authorize(asking) => self.authorize(asking).await,
            Request::Look { browser, grant } => {
                let handle = self.handle(grant);
                let target = format!("/interaction?interaction={handle}");
                let reply = self.browse(browser, Method::GET, &target, "").await;
                self.read_page(browser, grant, &reply)
            }
            Request::SignIn { browser, grant, user, right } => {
                let handle = self.handle(grant);
                let password = if right { PASSWORD } else { "wrong horse" };
                let form = [
                    ("interaction", handle.as_str()),
                    ("username", user_name(user)),
                    ("password", password),
                ];
                let reply =
                    self.browse(browser, Method::POST, "/interaction/login", &encode(&form)).await;
                match self.read_page(browser, grant, &reply) {
                    Answer::Asks => Answer::SignedIn,
                    answer => answer,
                }
            }
            Request::Decide { browser, grant, scope, .. } => {
                let page = self.known.borrow().pages.get(&grant).cloned();
                let hidden = page.map(|page| page.hidden).unwrap_or_default();
                let names = scope_text(scope);
                let mut form: Vec<(&str, &str)> =
                    hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                form.extend(names.split(' ').filter(|s| !s.is_empty()).map(|s| ("scope", s)));
                form.push(("decision", if scope == 0 { "deny" } else { "allow" }));
                let body = encode(&form);
                let reply = self.browse(browser, Method::POST, "/interaction/consent", &body).await;
                self.read_page(browser, grant, &reply)
            }
            Request::Redeem { by, code, verifier, redirect } => {
                self.redeem(by, code, verifier, redirect).await
            }
            Request::Refresh { by, token, scope } => {
                let (token, scope) = (self.text(token), scope_text(scope));
                let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", &token)];
                form.extend((!scope.is_empty()).then_some(("scope", scope.as_str())));
                let reply = self.call("/token", by, &form).await;
                self.read_tokens(&reply)
            }
            Request::Service { by, scope } => {
                let scope = scope_text(scope);
                let mut form = vec![("grant_type", "client_credentials")];
                form.extend((!scope.is_empty()).then_some(("scope", scope.as_str())));
                let reply = self.call("/token", by, &form).await;
                self.read_tokens(&reply)
            }
            Request::Revoke { by, token } => {
                let reply = self.call("/revoke", by, &[("token", &self.text(token))]).await;
                if reply.status == 200 { Answer::Done } else { refusal(&reply) }
            }
            Request::Introspect { by, token } => {
                let reply = self.call("/introspect", by, &[("token", &self.text(token))]).await;
                self.read_introspection(&reply)
            }
            Request::Bearer { token, scope } => self.bearer(&self.text(token), scope).await,
        }
    }

    fn text(&self, number: Text) -> String {
        self.known.borrow().text(number)
    }

    fn handle(&self, grant: GrantNo) -> String {
        self.known.borrow().handles.get(&grant).cloned().unwrap_or_default()
    }

    fn client_id(&self, client: ClientNo) -> Option<ClientId> {
        self.known.borrow().clients.get(&client).map(|client| client.id.clone())
    }

    async fn introduce(
        &self,
        client: ClientNo,
        public: bool,
        redirect_uri: Option<String>,
    ) -> Answer {
        let name = client_name(client);
        let (may, uri) = (scopes(super::request::REGISTERED), redirect_uri.clone());
        let mut registration = match uri {
            Some(uri) if public => Registration::public(name, uri, may),
            Some(uri) => Registration::confidential(name, uri, may),
            None => Registration::service(name, may),
        };
        registration.resource_server = client == API;
        self.bug.registration(&mut registration);
        match self.server.register_client(&registration).await {
            Ok(registered) => {
                let mut known = self.known.borrow_mut();
                let secret = registered.client_secret.map(|secret| known.number(secret.expose()));
                let secrets = secret.into_iter().collect();
                let id = registered.client.id;
                known.clients.insert(client, Registered { id, secrets, redirect_uri });
                Answer::Registered { secret }
            }
            Err(error) => of_error(&error),
        }
    }

    async fn sign_out(&self, browser: UserNo) -> Answer {
        let cookie = {
            let known = self.known.borrow();
            let jar = known.jars.get(browser);
            jar.and_then(|jar| jar.get("__Host-grantor-session").cloned())
        };
        let handle = cookie.and_then(|text| Handle::parse(HandleKind::Session, &text));
        let Some(handle) = handle else { return Answer::Done };
        let answer = of_done(self.server.sign_out(&handle).await);
        if answer == Answer::Done {
            // A thief may have kept the cookie: it stays in the jar, and opens nothing.
            let mut known = self.known.borrow_mut();
            if let Some(slot) = known.users_in.get_mut(browser) {
                *slot = None;
            }
        }
        answer
    }

    async fn sweep(&self) -> Answer {
        let mut after: Option<Cursor> = None;
        loop {
            match self.server.sweep(after.as_ref(), 7).await {
                Ok(swept) if swept.next.is_some() => after = swept.next,
                Ok(_) => return Answer::Done,
                Err(error) => return of_error(&error),
            }
        }
    }

    async fn authorize(&self, asking: Asking) -> Answer {
        let state = format!("state of {} & \"<%20+>\"", asking.grant);
        let (target, context) = {
            let known = self.known.borrow();
            let Some(client) = known.clients.get(&asking.client) else { return Answer::Lost };
            let registered = client.redirect_uri.clone().unwrap_or_default();
            // A native app listens where it can (RFC 8252 section 7.3).
            let port = 49_152 + asking.grant % 1000;
            let own = match asking.client {
                APP if asking.to == Where::Registered => format!("http://127.0.0.1:{port}/cb"),
                _ => registered.clone(),
            };
            let sent = match asking.to {
                Where::Registered => Some(own.clone()),
                Where::Unsaid => None,
                Where::Elsewhere => Some("https://elsewhere.example/cb".to_owned()),
                Where::Lookalike => Some(own.replacen("/cb", ".elsewhere.example/cb", 1)),
            };
            let scope = scope_text(asking.scope);
            let (verifier, challenge) = pkce(asking.grant);
            let mut parameters = vec![
                ("client_id", client.id.as_str()),
                ("response_type", "code"),
                ("state", state.as_str()),
            ];
            parameters.extend(sent.as_deref().map(|uri| ("redirect_uri", uri)));
            parameters.extend((!scope.is_empty()).then_some(("scope", scope.as_str())));
            parameters.extend(asking.ask_again.then_some(("prompt", "consent")));
            match asking.pkce {
                Pkce::S256 => parameters
                    .extend([("code_challenge", challenge), ("code_challenge_method", "S256")]),
                Pkce::Plain => parameters
                    .extend([("code_challenge", verifier), ("code_challenge_method", "plain")]),
                Pkce::Missing => {}
            }
            let target = format!("/authorize?{}", encode(&parameters));
            let context = Context { client: asking.client, redirect_uri: own, state };
            (target, context)
        };
        self.known.borrow_mut().contexts.insert(asking.grant, context);
        let reply = self.browse(asking.browser, Method::GET, &target, "").await;
        self.read_page(asking.browser, asking.grant, &reply)
    }

    async fn redeem(&self, by: By, code: Text, verifier: Proof, redirect: Proof) -> Answer {
        let (text, grant, uri) = {
            let known = self.known.borrow();
            let grant = known.code(code).map_or(0, |code| code.grant);
            let uri = known.contexts.get(&grant).map(|context| context.redirect_uri.clone());
            (known.text(code), grant, uri.unwrap_or_default())
        };
        let mut form = vec![("grant_type", "authorization_code"), ("code", text.as_str())];
        match redirect {
            Proof::Right => form.push(("redirect_uri", uri.as_str())),
            Proof::Wrong => form.push(("redirect_uri", "https://elsewhere.example/cb")),
            Proof::Missing => {}
        }
        match verifier {
            Proof::Right => form.push(("code_verifier", pkce(grant).0)),
            Proof::Wrong => form.push(("code_verifier", pkce(grant + 1).0)),
            Proof::Missing => {}
        }
        let reply = self.call("/token", by, &form).await;
        self.read_tokens(&reply)
    }

    /// A client calls one of its endpoints: with a secret in the header or, every other one, in the form.
    async fn call(&self, path: &str, by: By, form: &[(&str, &str)]) -> Reply {
        let Some(id) = self.client_id(by.client) else { return gone() };
        let secret = match by.secret {
            Shown::Nothing => None,
            Shown::Secret(text) => Some((self.text(text), text % 2 == 0)),
            Shown::Invented => Some(("an invented secret".to_owned(), true)),
        };
        let mut form = form.to_vec();
        let mut authorization = String::new();
        match &secret {
            Some((secret, true)) => authorization = basic(&id, secret),
            Some((secret, false)) => {
                form.extend([("client_id", id.as_str()), ("client_secret", secret.as_str())]);
            }
            None => form.push(("client_id", id.as_str())),
        }
        let headers = [("authorization", authorization.as_str())];
        let request = request(Method::POST, path, &headers, &encode(&form));
        Reply::of(self.server.handle(request).await)
    }

    async fn browse(&self, browser: UserNo, method: Method, target: &str, body: &str) -> Reply {
        let cookie = {
            let known = self.known.borrow();
            let jar = known.jars.get(browser).into_iter().flatten();
            jar.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
        };
        let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
        let reply = Reply::of(self.server.handle(request(method, target, &headers, body)).await);
        let mut known = self.known.borrow_mut();
        for line in reply.headers.get_all(header::SET_COOKIE) {
            let pair = line.to_str().ok().and_then(|line| line.split_once(';'));
            let pair = pair.and_then(|(pair, rest)| Some((pair.split_once('=')?, rest)));
            let (Some(((name, value), rest)), Some(jar)) = (pair, known.jars.get_mut(browser))
            else {
                continue;
            };
            if rest.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
                known.number(value);
            }
        }
        reply
    }
}

fn assemble(
    gate: &Arc<Gate>,
    clock: &Arc<ToldClock>,
    entropy: &Arc<CountedEntropy>,
    directory: &Arc<Directory>,
    log: &Log,
    bug: Bug,
) -> AuthorizationServer {
    let mut policy = policy();
    bug.policy(&mut policy);
    AuthorizationServer::builder(ISSUER.parse().expect("an issuer"))
        .shared_storage(Arc::clone(gate) as Arc<dyn Storage>)
        .authenticator(SharedDirectory(Arc::clone(directory)))
        .audit(log.clone())
        .clock(Arc::clone(clock))
        .entropy(SharedEntropy(Arc::clone(entropy)))
        .policy(policy)
        .scope("read", "See your calendar")
        .scope("write", "Change your calendar")
        .scope("admin", "Administer")
        .build()
        .expect("a store that keeps the default policy")
}

fn pkce(grant: GrantNo) -> (&'static str, &'static str) {
    if grant.is_multiple_of(2) { PKCE[0] } else { PKCE[1] }
}

fn gone() -> Reply {
    Reply { status: 503, headers: HeaderMap::new(), body: String::new() }
}

fn of_done(done: Result<(), Error>) -> Answer {
    match done {
        Ok(()) => Answer::Done,
        Err(error) => of_error(&error),
    }
}

fn of_error(error: &Error) -> Answer {
    match error {
        Error::Refused(_) => Answer::Refused("unknown".into()),
        Error::Unavailable(_) => Answer::NotNow,
    }
}
