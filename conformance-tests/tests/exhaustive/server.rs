//! The production server, driven one storage call at a time.
//!
//! A request in flight is the future of [`AuthorizationServer`]'s own method. It is polled against a
//! store that answers what it is told to; where the script ends, the future waits, and the call it
//! waits for is the next step of that request. A future cannot be copied, so a request in flight is
//! kept as what determines it: who asks what, and every answer of the store so far, each with the
//! time at which it came. To go on, the future is made anew and is fed all answers from the start.
//! That happens once for every such history, however many states of the world it is part of.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context as Polling, Poll, Waker};

use async_trait::async_trait;
use grantor::engine::{Browser, Clock, EntropySource, Error, TokenRequest, Unavailable};
use grantor::model::{
    Account, Authentication, ClientAuthMethod, Secret, SecretString, Subject, Timestamp,
};
use grantor::pages::{Page, Pages};
use grantor::protocol::authorize::{Answer as Redirect, AuthorizationRequest, Outcome as Arrived};
use grantor::protocol::client_auth::PresentedClient;
use grantor::protocol::code::RedeemRequest;
use grantor::protocol::consent::{ConsentAnswer, ConsentRequest};
use grantor::protocol::refresh::RefreshRequest;
use grantor::protocol::register::Registration;
use grantor::protocol::token::TokenResponse;
use grantor::protocol::{Refusal, code, refresh};
use grantor::storage::{
    Commit, CommitOutcome, Cursor, Durability, Key, Listing, Page as Keys, Promises, Storage,
    StorageError, Stored, Swept,
};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};

use crate::cast::{self, App, Ask, Caller, TaskId};
use crate::tables::{Id, Tables};

/// What a request in flight waits for.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Load(Vec<Id>),
    Commit(Commit),
    List(Listing),
}

/// What the store answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Rows(Vec<Option<Id>>),
    Applied,
    Conflict,
    /// It did not answer: the commit may have happened.
    Nothing,
    Keys(Vec<Id>),
}

/// What a request was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Registered {
        secret: Option<String>,
    },
    Tokens {
        access: Id,
        refresh: Option<Id>,
        scope: String,
    },
    /// The browser goes back to the client with a code.
    Code(Id),
    /// The browser shows a consent page.
    Page {
        interaction: Id,
        ticket: Id,
    },
    /// The access token is good.
    Active {
        scope: String,
    },
    Done,
    Refused {
        why: Why,
        words: String,
        clause: &'static str,
    },
    Unavailable {
        contention: bool,
    },
}

/// The refusals that the rules of the world ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    CodeReplayed,
    RefreshTokenReused,
    RefreshTokenUnknown,
    Other,
}

/// Where a request in flight stands.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    Call(Call),
    Done(Outcome),
}

/// The production server and all the histories of its requests.
pub(crate) struct Server {
    pub(crate) tables: Arc<Tables>,
    /// Gives every request the same random numbers, as after a restart with a fixed seed. A seeded bug.
    same_randomness: bool,
    secrets: OnceLock<HashMap<App, SecretString>>,
    histories: Mutex<Histories>,
}

#[derive(Default)]
struct Histories {
    all: Vec<Arc<History>>,
    begun: HashMap<(TaskId, Ask), Vec<Branch>>,
    after: HashMap<(Id, Answer), Vec<Branch>>,
}

/// A way on: at one time, or, where the clock was not read, at any.
#[derive(Clone, Copy)]
struct Branch {
    at: Option<u8>,
    to: Id,
}

struct History {
    task: TaskId,
    ask: Ask,
    /// The history before the last answer, and that answer.
    last: Option<(Id, Answer)>,
    /// The time of the last answer, or of the beginning.
    rung: u8,
    next: Arc<Next>,
}

impl Server {
    pub(crate) fn new(tables: Arc<Tables>, same_randomness: bool) -> Self {
        Self { tables, same_randomness, secrets: OnceLock::new(), histories: Mutex::default() }
    }

    /// Hands out the secrets that the clients were registered with.
    pub(crate) fn tell_secrets(&self, secrets: HashMap<App, SecretString>) {
        assert!(self.secrets.set(secrets).is_ok(), "the clients are registered once");
    }

    /// How many different histories of a request there were.
    pub(crate) fn histories(&self) -> usize {
        self.lock().all.len()
    }

    /// A request arrives.
    pub(crate) fn begin(&self, task: TaskId, ask: &Ask, rung: u8) -> Id {
        let known = self.lock().begun.get(&(task, *ask)).and_then(|ways| way(ways, rung));
        known.unwrap_or_else(|| {
            let (next, clock_read) = self.replay(task, ask, &[], rung);
            let new = History { task, ask: *ask, last: None, rung, next: Arc::new(next) };
            let mut histories = self.lock();
            let at = clock_read.then_some(rung);
            let to = histories.add(new);
            let ways = histories.begun.entry((task, *ask)).or_default();
            settle(ways, Branch { at, to })
        })
    }

    /// The store answers what a request in flight waits for.
    pub(crate) fn resume(&self, history: Id, answer: Answer, rung: u8) -> Id {
        let step = (history, answer);
        let known = self.lock().after.get(&step).and_then(|ways| way(ways, rung));
        known.unwrap_or_else(|| {
            let (first, answers) = self.script(&step, rung);
            let (task, ask, begun) = (first.task, first.ask, first.rung);
            let (next, clock_read) = self.replay(task, &ask, &answers, begun);
            let last = Some(step.clone());
            let new = History { task, ask, last, rung, next: Arc::new(next) };
            let mut histories = self.lock();
            let at = clock_read.then_some(rung);
            let to = histories.add(new);
            settle(histories.after.entry(step).or_default(), Branch { at, to })
        })
    }

    /// What a request in flight asked.
    pub(crate) fn ask(&self, history: Id) -> Ask {
        self.lock().all[history as usize].ask
    }

    /// What the store answered last to a request in flight.
    pub(crate) fn last_answer(&self, history: Id) -> Option<Answer> {
        self.lock().all[history as usize].last.as_ref().map(|(_, answer)| answer.clone())
    }

    /// Where a request in flight stands.
    pub(crate) fn next(&self, history: Id) -> Arc<Next> {
        Arc::clone(&self.lock().all[history as usize].next)
    }

    /// Everything the store answered to a request, from the beginning.
    fn script(&self, step: &(Id, Answer), rung: u8) -> (Arc<History>, Vec<(u8, Answer)>) {
        let histories = self.lock();
        let mut answers = vec![(rung, step.1.clone())];
        let mut at = Arc::clone(&histories.all[step.0 as usize]);
        while let Some((before, answer)) = &at.last {
            answers.push((at.rung, answer.clone()));
            at = Arc::clone(&histories.all[*before as usize]);
        }
        answers.reverse();
        (at, answers)
    }

    /// Runs the production server from the beginning of a request to the end of the script. Also says
    /// whether the clock was read after the last answer.
    fn replay(&self, task: TaskId, ask: &Ask, answers: &[(u8, Answer)], begun: u8) -> (Next, bool) {
        let stage = self.stage(task, begun);
        stage.lock().answers = answers.iter().cloned().collect();
        let server = production(Arc::new(stage.clone()), &stage);
        let mut answering = pin!(self.answer(&server, ask));
        let polled = answering.as_mut().poll(&mut Polling::from_waker(Waker::noop()));
        let script = stage.lock();
        assert!(script.answers.is_empty(), "the server asked for less than before: {ask:?}");
        let next = match (polled, &script.waits_for) {
            (Poll::Ready(outcome), None) => Next::Done(outcome),
            (Poll::Pending, Some(call)) => Next::Call(call.clone()),
            (polled, call) => panic!("{ask:?} waits for {call:?} and gave {polled:?}"),
        };
        (next, script.clock_read)
    }

    /// The outside world of a request that begins now.
    fn stage(&self, task: TaskId, begun: u8) -> Stage {
        Stage(Arc::new(Mutex::new(Script {
            tables: Arc::clone(&self.tables),
            answers: VecDeque::new(),
            now: cast::time(begun),
            clock_read: false,
            waits_for: None,
            seed: if self.same_randomness { [0; 2] } else { task.seed() },
            seeds_drawn: 0,
        })))
    }

    /// The same request to the production server on a store of its own, from beginning to end.
    pub(crate) fn straight(
        &self,
        storage: Arc<dyn Storage>,
        task: TaskId,
        ask: &Ask,
        rung: u8,
    ) -> Outcome {
        let server = production(storage, &self.stage(task, rung));
        let mut answering = pin!(self.answer(&server, ask));
        match answering.as_mut().poll(&mut Polling::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("a store in memory does not wait"),
        }
    }

    async fn answer(&self, server: &AuthorizationServer, ask: &Ask) -> Outcome {
        let tables = &*self.tables;
        match *ask {
            Ask::Register(app) => {
                server.register_client(&registration(app)).await.map_or_else(refused, |known| {
                    let secret = known.client_secret.map(|secret| secret.expose().to_owned());
                    Outcome::Registered { secret }
                })
            }
            Ask::Redeem { by, code, verifier } => {
                let text = &tables.texts.at(code).text;
                let request = TokenRequest::AuthorizationCode(RedeemRequest {
                    code: code::parse(text),
                    redirect_uri: Some(cast::CALLBACK.into()),
                    code_verifier: verifier.then(|| cast::VERIFIER.into()),
                });
                self.tokens(server.token(&self.present(by), &request).await)
            }
            Ask::Refresh { by, token } => {
                let text = &tables.texts.at(token).text;
                let refresh_token = refresh::parse(text);
                let request =
                    TokenRequest::RefreshToken(RefreshRequest { refresh_token, scope: None });
                self.tokens(server.token(&self.present(by), &request).await)
            }
            Ask::Revoke { by, token } => {
                let text = &tables.texts.at(token).text;
                let done = server.revoke_token(&self.present(by), text).await;
                done.map_or_else(refused, |()| Outcome::Done)
            }
            Ask::Use { token } => {
                let scope = "read".parse().expect("a scope");
                let found = server.check_bearer(&tables.texts.at(token).text, &scope).await;
                found.map_or_else(refused, |token| Outcome::Active {
                    scope: token.scope.to_string(),
                })
            }
            Ask::Arrive { app, all } => {
                let outcome = server.authorize(&arrival(app, all), &alice()).await;
                self.arrived(outcome.map_err(for_page))
            }
            Ask::Decide { interaction, ticket, allow } => {
                let request = ConsentRequest {
                    interaction: tables.handle(interaction),
                    ticket: SecretString::new(tables.texts.at(ticket).text.clone()),
                    answer: if allow {
                        ConsentAnswer::Allow(cast::ALLOWED.parse().expect("a scope"))
                    } else {
                        ConsentAnswer::Deny
                    },
                };
                self.arrived(server.consent(&request, &alice()).await.map_err(for_page))
            }
            Ask::Withdraw { app } => {
                let done = server.withdraw_consent(&subject(), &app.id()).await;
                done.map_or_else(refused, |()| Outcome::Done)
            }
            Ask::EndUser => {
                let done = server.revoke_subject(&subject()).await;
                done.map_or_else(refused, |()| Outcome::Done)
            }
            Ask::EndClient { app } => {
                let done = server.revoke_client_grants(&app.id()).await;
                done.map_or_else(refused, |()| Outcome::Done)
            }
        }
    }

    fn present(&self, by: Caller) -> PresentedClient {
        let (app, with_secret) = match by {
            Caller::Itself(app) => (app, true),
            Caller::NameOnly(app) => (app, false),
        };
        let known = self.secrets.get().and_then(|secrets| secrets.get(&app));
        let secret = known.filter(|_| with_secret).cloned();
        PresentedClient {
            client_id: app.id().to_string(),
            secret: secret.map(|secret| (ClientAuthMethod::ClientSecretBasic, secret)),
        }
    }

    fn tokens(&self, answer: Result<TokenResponse, Error>) -> Outcome {
        answer.map_or_else(refused, |tokens| Outcome::Tokens {
            access: self.tables.text(tokens.access_token.expose()),
            refresh: tokens.refresh_token.map(|token| self.tables.text(token.expose())),
            scope: tokens.scope.to_string(),
        })
    }

    fn arrived(&self, answer: Result<Arrived, Error>) -> Outcome {
        answer.map_or_else(refused, |arrived| match arrived {
            Arrived::ConsentRequired(prompt) => Outcome::Page {
                interaction: self.tables.text(prompt.interaction.handle.encode().expose()),
                ticket: self.tables.text(prompt.ticket.expose()),
            },
            Arrived::Redirect(response) => match response.answer {
                Redirect::Code(code) => Outcome::Code(self.tables.text(code.expose())),
                Redirect::Error(refusal) => refusal_of(&refusal),
            },
            Arrived::LoginRequired(_) | Arrived::ReauthenticationRequired(_) => {
                panic!("Alice is signed in")
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Histories> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Histories {
    fn add(&mut self, history: History) -> Id {
        let id = Id::try_from(self.all.len()).expect("fewer than 2^32 histories");
        self.all.push(Arc::new(history));
        id
    }
}

/// The production server.
fn production(storage: Arc<dyn Storage>, stage: &Stage) -> AuthorizationServer {
    AuthorizationServer::builder("https://as.example".parse().expect("an issuer"))
        .policy(cast::policy())
        .shared_storage(storage)
        .authenticator(stage.clone())
        .clock(stage.clone())
        .entropy(stage.clone())
        .pages(NoPages)
        .build()
        .expect("a policy that can be served")
}

fn way(ways: &[Branch], rung: u8) -> Option<Id> {
    ways.iter().find(|way| way.at.is_none_or(|at| at == rung)).map(|way| way.to)
}

/// Another thread may have replayed the same history meanwhile; the first one counts.
fn settle(ways: &mut Vec<Branch>, new: Branch) -> Id {
    match ways.iter().find(|way| way.at == new.at) {
        Some(known) => known.to,
        None => {
            ways.push(new);
            new.to
        }
    }
}

fn refusal_of(refusal: &Refusal) -> Outcome {
    let why = match refusal {
        Refusal::CodeReplayed => Why::CodeReplayed,
        Refusal::RefreshTokenReused => Why::RefreshTokenReused,
        Refusal::RefreshTokenUnknown => Why::RefreshTokenUnknown,
        _ => Why::Other,
    };
    Outcome::Refused { why, words: refusal.to_string(), clause: refusal.clause() }
}

fn refused(error: Error) -> Outcome {
    match error {
        Error::Refused(refusal) => refusal_of(&refusal),
        Error::Unavailable(why) => {
            Outcome::Unavailable { contention: matches!(why, Unavailable::Contention) }
        }
    }
}

fn for_page(error: Error<grantor::protocol::authorize::AuthorizationError>) -> Error {
    match error {
        Error::Refused(error) => Error::Refused(error.refusal),
        Error::Unavailable(why) => Error::Unavailable(why),
    }
}

pub(crate) fn subject() -> Subject {
    Subject::parse("alice").expect("a subject")
}

/// Alice's browser, signed in by the host.
fn alice() -> Browser {
    Browser {
        secret: Some(Secret::from_bytes([9; 32])),
        session: None,
        authentication: Some(Authentication { subject: subject(), auth_time: cast::time(0) }),
    }
}

fn registration(app: App) -> Registration {
    let scope = cast::ASKED.parse().expect("a scope");
    let registration = match app {
        App::Phone => Registration::public(app.name(), cast::CALLBACK, scope),
        App::Calendar | App::Lantern => {
            Registration::confidential(app.name(), cast::CALLBACK, scope)
        }
    };
    Registration { client_id: Some(app.id()), ..registration }
}

fn arrival(app: App, all: bool) -> AuthorizationRequest {
    AuthorizationRequest {
        client_id: Some(app.id().to_string()),
        redirect_uri: Some(cast::CALLBACK.into()),
        response_type: Some("code".into()),
        scope: Some(if all { cast::ASKED } else { cast::ALLOWED }.into()),
        code_challenge: Some(cast::CHALLENGE.into()),
        code_challenge_method: Some("S256".into()),
        ..AuthorizationRequest::default()
    }
}

/// All of the outside world, as one request is told of it.
#[derive(Clone)]
struct Stage(Arc<Mutex<Script>>);

struct Script {
    tables: Arc<Tables>,
    answers: VecDeque<(u8, Answer)>,
    now: Timestamp,
    /// Whether the clock was read since the last answer.
    clock_read: bool,
    waits_for: Option<Call>,
    seed: [u8; 2],
    seeds_drawn: u8,
}

impl Stage {
    fn lock(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next answer of the script; where it ends, the request waits for ever.
    async fn ask(&self, call: impl Fn(&Tables) -> Call) -> Answer {
        std::future::poll_fn(|_| {
            let mut script = self.lock();
            match script.answers.pop_front() {
                Some((rung, answer)) => {
                    script.now = cast::time(rung);
                    script.clock_read = false;
                    Poll::Ready(answer)
                }
                None => {
                    script.waits_for = Some(call(&script.tables));
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stage(..)")
    }
}

#[async_trait]
impl Storage for Stage {
    fn promises(&self) -> Promises {
        Promises { durability: Durability::Power, linearizable: true, evicts: false, shared: false }
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        let ids = |tables: &Tables| keys.iter().map(|key| tables.keys.id(key.clone())).collect();
        let Answer::Rows(rows) = self.ask(|tables| Call::Load(ids(tables))).await else {
            panic!("rows were asked for");
        };
        let tables = Arc::clone(&self.lock().tables);
        let stored = |row: Id| Stored::from(&*tables.rows.at(row));
        Ok(rows.into_iter().map(|row: Option<Id>| row.map(stored)).collect())
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        match self.ask(|_| Call::Commit(commit.clone())).await {
            Answer::Applied => Ok(CommitOutcome::Applied),
            Answer::Conflict => Ok(CommitOutcome::Conflict),
            Answer::Nothing => Err(StorageError::unavailable("the store did not answer")),
            other => panic!("a commit was asked for, not {other:?}"),
        }
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Keys, StorageError> {
        assert!(after.is_none(), "one page is enough for this world");
        let Answer::Keys(keys) = self.ask(|_| Call::List(listing.clone())).await else {
            panic!("keys were asked for");
        };
        assert!(keys.len() < limit, "one page is enough for this world");
        let tables = Arc::clone(&self.lock().tables);
        let keys = keys.into_iter().map(|key| (*tables.keys.at(key)).clone()).collect();
        Ok(Keys { keys, next: None })
    }

    async fn sweep(
        &self,
        _now: Timestamp,
        _after: Option<&Cursor>,
        _budget: usize,
    ) -> Result<Swept, StorageError> {
        Err(StorageError::unavailable("the world sweeps record by record"))
    }

    async fn ready(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

#[async_trait]
impl Authenticator for Stage {
    async fn verify(&self, _credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
        Ok(Verdict::Refused)
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(Some(Account::new(subject.clone(), "Alice")))
    }
}

impl Clock for Stage {
    fn now(&self) -> Timestamp {
        let mut script = self.lock();
        script.clock_read = true;
        script.now
    }
}

impl EntropySource for Stage {
    /// The nth seed of a request is its own, and the same in every interleaving.
    fn seed(&self) -> Option<[u8; 32]> {
        let mut script = self.lock();
        script.seeds_drawn += 1;
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&script.seed);
        seed[2] = script.seeds_drawn;
        Some(seed)
    }
}

/// Nothing is rendered here.
#[derive(Debug)]
struct NoPages;

impl Pages for NoPages {
    fn languages(&self) -> Vec<&str> {
        vec!["en"]
    }

    fn render(&self, _page: &Page<'_>, _language: &str) -> String {
        String::new()
    }

    fn stylesheet(&self) -> &str {
        ""
    }
}
