//! Users and clients of an authorization server whose store is failing over, and what they hold it to.
//!
//! Each actor takes one authorization after the other through its life: a code, its redemption, a chain
//! of refreshes, an end. It writes down what was answered, and looks again at what others wrote down. A
//! request that got no answer is repeated as it was, at whichever server.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use grantor::engine::{Browser, Error, TokenRequest};
use grantor::model::{
    Account, Authentication, ClientAuthMethod, ClientId, Policy, ScopeSet, SecretString, Subject,
};
use grantor::protocol::authorize::{Answer, AuthorizationRequest, Outcome};
use grantor::protocol::client_auth::PresentedClient;
use grantor::protocol::code::{self, RedeemRequest};
use grantor::protocol::consent::{ConsentAnswer, ConsentRequest};
use grantor::protocol::introspect::Introspection;
use grantor::protocol::refresh::{self, RefreshRequest};
use grantor::protocol::register::Registration;
use grantor::protocol::{Refusal, token::TokenResponse};
use grantor::storage::{Key, Storage};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};

use super::Random;
use super::witness::{Books, Witness};

const REDIRECT_URI: &str = "https://client.example/cb";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// How much is looked at at once in the end.
const AT_ONCE: usize = 16;
/// How long a client waits before it asks again.
const PATIENCE: Duration = Duration::from_millis(25);
/// What happens to one authorization of a user before another user is taken.
const OF_A_USER: usize = 12;

/// Everybody has an account.
#[derive(Debug)]
struct Everybody;

#[async_trait]
impl Authenticator for Everybody {
    async fn verify(&self, _: &Credentials) -> Result<Verdict, AuthenticatorError> {
        Ok(Verdict::Refused)
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(Some(Account::new(subject.clone(), subject.as_str())))
    }
}

/// A server on this store, as every process would run it.
pub(crate) fn server(store: Arc<dyn Storage>) -> AuthorizationServer {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let mut policy = Policy { code_lifetime: minutes(10), ..Policy::default() };
    policy.access_token_lifetime = minutes(24 * 60);
    if let Some(refresh) = &mut policy.refresh {
        refresh.retry_window = minutes(10);
    }
    AuthorizationServer::builder("https://as.example".parse().expect("an issuer"))
        .shared_storage(store)
        .authenticator(Everybody)
        .policy(policy)
        .scope("read", "See")
        .build()
        .expect("a server")
}

fn scope() -> ScopeSet {
    ScopeSet::parse("read").expect("a scope")
}

/// One authorization, as its client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    key: Key,
    subject: Subject,
    code: String,
    /// Every access token and every refresh token, oldest first.
    access: Vec<String>,
    refresh: Vec<String>,
}

/// Something that must not have happened, and the records that it happened to.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) keys: Vec<Key>,
    pub(crate) what: String,
}

/// What was written down.
#[derive(Debug, Default)]
struct Written {
    /// Authorizations that nobody has ended and nobody is busy with.
    alive: Vec<Life>,
    /// Those whose end was acknowledged.
    over: Vec<Life>,
    /// Users who take back, or have taken back, all that they allowed.
    leaving: BTreeSet<Subject>,
    violations: Vec<Violation>,
    last_refusal: String,
}

/// How often what happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: AtomicU64,
    pub(crate) unavailable: AtomicU64,
    /// Codes whose redemption got no answer, and which were refused when they were shown again.
    pub(crate) begun_again: AtomicU64,
    pub(crate) redeemed: AtomicU64,
    pub(crate) refreshed: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) looked_at: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The servers, their client, and all who use it.
pub(crate) struct Load {
    servers: RwLock<Vec<AuthorizationServer>>,
    books: Arc<Books>,
    client: PresentedClient,
    client_id: ClientId,
    written: Mutex<Written>,
    pub(crate) tally: Tally,
    random: Arc<Random>,
    stopped: AtomicBool,
}

/// What came of a request.
enum Got<T> {
    Done(T),
    Refused(Refusal),
    /// Nothing, and it may have had its effect.
    Nothing,
}

impl Life {
    pub(crate) fn has_tokens(&self) -> bool {
        !self.refresh.is_empty()
    }
}

impl Load {
    /// A client of servers on these stores.
    pub(crate) async fn new(
        stores: Vec<Arc<dyn Storage>>,
        books: Arc<Books>,
        random: Arc<Random>,
    ) -> Self {
        let witnessed = |store| server(Arc::new(Witness::new(store, Arc::clone(&books))));
        let servers: Vec<_> = stores.into_iter().map(witnessed).collect();
        let first = servers.first().expect("a server");
        let mut registration = Registration::confidential("Client", REDIRECT_URI, scope());
        registration.resource_server = true;
        let registered = first.register_client(&registration).await.expect("a healthy store");
        let secret = registered.client_secret.expect("a confidential client");
        let client_id = registered.client.id;
        Self {
            servers: RwLock::new(servers),
            client: PresentedClient {
                client_id: client_id.as_str().to_owned(),
                secret: Some((ClientAuthMethod::ClientSecretBasic, secret)),
            },
            client_id,
            books,
            written: Mutex::default(),
            tally: Tally::default(),
            random,
            stopped: false.into(),
        }
    }

    /// The server number `n` has another process for its store from now on.
    pub(crate) fn replace(&self, n: usize, store: Arc<dyn Storage>) {
        let server = server(Arc::new(Witness::new(store, Arc::clone(&self.books))));
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = servers.get_mut(n) {
            *slot = server;
        }
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn servers(&self) -> Vec<AuthorizationServer> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn any(&self) -> AuthorizationServer {
        let servers = self.servers();
        self.random.choose(&servers).cloned().expect("a server")
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrong(&self, life: &Life, what: &str) {
        let keys = vec![life.key.clone(), Key::consent(&life.subject, &self.client_id)];
        let what = format!("{:?}: {what}", life.key);
        self.written().violations.push(Violation { keys, what });
    }

    pub(crate) fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut self.written().violations)
    }

    /// How many authorizations are kept an eye on: alive, and over.
    pub(crate) fn watched(&self) -> (usize, usize) {
        let written = self.written();
        (written.alive.len(), written.over.len())
    }

    fn took<T>(&self, answer: Result<T, Error>) -> Got<T> {
        count(&self.tally.requests);
        match answer {
            Ok(done) => Got::Done(done),
            Err(Error::Refused(Refusal::TemporarilyUnavailable) | Error::Unavailable(_)) => {
                count(&self.tally.unavailable);
                Got::Nothing
            }
            Err(Error::Refused(refusal)) => {
                self.written().last_refusal = format!("the last refusal: {refusal:?}");
                Got::Refused(refusal)
            }
        }
    }

    /// For a diagnosis.
    pub(crate) fn last_refusal(&self) -> String {
        self.written().last_refusal.clone()
    }

    // ---------------------------------------------------------------------------- requests

    async fn authorize(&self, subject: &Subject) -> Got<String> {
        let server = self.any();
        let authentication = Authentication { subject: subject.clone(), auth_time: server.now() };
        let mut browser = Browser { authentication: Some(authentication), ..Browser::default() };
        let request = AuthorizationRequest {
            client_id: Some(self.client_id.as_str().to_owned()),
            redirect_uri: Some(REDIRECT_URI.to_owned()),
            response_type: Some("code".to_owned()),
            scope: Some("read".to_owned()),
            code_challenge: Some(CHALLENGE.to_owned()),
            code_challenge_method: Some("S256".to_owned()),
            ..AuthorizationRequest::default()
        };
        let mut outcome = server.authorize(&request, &browser).await;
        if let Ok(Outcome::ConsentRequired(prompt)) = outcome {
            browser.secret = Some(prompt.interaction.browser.clone());
            let consent = ConsentRequest {
                interaction: prompt.interaction.handle.clone(),
                ticket: prompt.ticket.clone(),
                answer: ConsentAnswer::Allow(scope()),
            };
            outcome = self.any().consent(&consent, &browser).await;
        }
        let flat = match outcome {
            Ok(Outcome::Redirect(response)) => match response.answer {
                Answer::Code(code) => Ok(code.expose().to_owned()),
                Answer::Error(refusal) => Err(Error::Refused(refusal)),
            },
            Ok(_) => panic!("a signed-in user was asked to sign in"),
            Err(Error::Refused(error)) => Err(Error::Refused(error.refusal)),
            Err(Error::Unavailable(cause)) => Err(Error::Unavailable(cause)),
        };
        self.took(flat)
    }

    async fn redeem(&self, server: &AuthorizationServer, code: &str) -> Got<TokenResponse> {
        let request = TokenRequest::AuthorizationCode(RedeemRequest {
            code: code::parse(code),
            redirect_uri: Some(REDIRECT_URI.to_owned()),
            code_verifier: Some(VERIFIER.to_owned()),
        });
        self.took(server.token(&self.client, &request).await)
    }

    async fn refresh(&self, token: &str) -> Got<TokenResponse> {
        let request = TokenRequest::RefreshToken(RefreshRequest {
            refresh_token: refresh::parse(token),
            scope: None,
        });
        self.took(self.any().token(&self.client, &request).await)
    }

    async fn is_active(&self, token: &str) -> Got<bool> {
        let answer = self.any().introspect_token(&self.client, token).await;
        self.took(answer.map(|found| found != Introspection::Inactive))
    }

    // --------------------------------------------------------------------------- what is done

    /// One user after the other, until it is stopped.
    pub(crate) async fn act(self: Arc<Self>, actor: usize) {
        for user in 0.. {
            let subject = Subject::parse(format!("actor{actor}user{user}")).expect("a subject");
            for _ in 0..=self.random.below(OF_A_USER) {
                if self.is_stopped() {
                    return;
                }
                self.life(&subject).await;
                self.look_back().await;
            }
            if self.random.percent(40) {
                self.withdraw(&subject).await;
            }
        }
    }

    async fn pause(&self) {
        tokio::time::sleep(PATIENCE).await;
    }

    async fn life(&self, subject: &Subject) {
        let Some(mut life) = self.begin(subject).await else { return };
        let begun = match self.random.percent(25) {
            true => self.race(&mut life).await,
            false => self.exchange(&mut life).await,
        };
        if !begun {
            return;
        }
        for _ in 0..self.random.below(5) {
            if self.is_stopped() || !self.renew(&mut life).await {
                return;
            }
            if self.random.percent(40) {
                self.must_be_active(&life).await;
            }
        }
        match self.random.below(100) {
            0..35 => self.revoke(life).await,
            35..50 if life.refresh.len() > 2 => self.reuse(life).await,
            _ => self.written().alive.push(life),
        }
    }

    pub(crate) async fn begin(&self, subject: &Subject) -> Option<Life> {
        while !self.is_stopped() {
            match self.authorize(subject).await {
                Got::Done(code) => {
                    let id = code::parse(&code).expect("a code").id;
                    let key = Key::grant(id);
                    let subject = subject.clone();
                    let (access, refresh) = (Vec::new(), Vec::new());
                    return Some(Life { key, subject, code, access, refresh });
                }
                // Other requests of the same user take the same consent record.
                Got::Refused(_) | Got::Nothing => self.pause().await,
            }
        }
        None
    }

    fn issued(&self, life: &mut Life, tokens: &TokenResponse) {
        life.access.push(tokens.access_token.expose().to_owned());
        life.refresh.extend(tokens.refresh_token.iter().map(|token| token.expose().to_owned()));
    }

    /// One client with one code, which asks until it is answered.
    pub(crate) async fn exchange(&self, life: &mut Life) -> bool {
        let mut unanswered = false;
        while !self.is_stopped() {
            match self.redeem(&self.any(), &life.code).await {
                Got::Done(tokens) => {
                    count(&self.tally.redeemed);
                    self.issued(life, &tokens);
                    return true;
                }
                Got::Refused(_) if unanswered => {
                    // It had its effect, and nobody has the tokens. This ends it, or it had.
                    count(&self.tally.begun_again);
                    self.written().over.push(life.clone());
                    return false;
                }
                Got::Refused(refusal) => {
                    self.wrong(life, &format!("a code was refused to its client: {refusal:?}"));
                    return false;
                }
                Got::Nothing => {
                    unanswered = true;
                    self.pause().await;
                }
            }
        }
        false
    }

    /// A code that is presented several times at once, at all servers.
    async fn race(&self, life: &mut Life) -> bool {
        let servers = self.servers();
        let code = life.code.clone();
        let tries = servers.iter().chain(servers.first()).map(|server| self.redeem(server, &code));
        let answers = join_all(tries).await;
        let mut is_over = false;
        let mut redeemed = 0;
        for answer in &answers {
            match answer {
                Got::Done(tokens) => {
                    redeemed += 1;
                    count(&self.tally.redeemed);
                    self.issued(life, tokens);
                }
                // The second one is a replay, and ends what the first one got.
                Got::Refused(_) => is_over = true,
                Got::Nothing => {}
            }
        }
        if redeemed > 1 {
            self.wrong(life, &format!("a code was redeemed {redeemed} times"));
        }
        if is_over {
            count(&self.tally.ended);
            self.written().over.push(life.clone());
        } else if redeemed == 0 {
            // Nobody knows; nobody has a token.
        } else if answers.iter().any(|answer| matches!(answer, Got::Nothing)) {
            // An unanswered replay may have ended it, or may be about to.
        } else {
            self.wrong(life, "of several presentations of a code none was refused");
        }
        false
    }

    fn is_leaving(&self, life: &Life) -> bool {
        self.written().leaving.contains(&life.subject)
    }

    /// The next tokens. `false`: there is no use in going on.
    pub(crate) async fn renew(&self, life: &mut Life) -> bool {
        let Some(token) = life.refresh.last().cloned() else { return false };
        while !self.is_stopped() {
            match self.refresh(&token).await {
                Got::Done(tokens) => {
                    count(&self.tally.refreshed);
                    self.issued(life, &tokens);
                    if life.refresh.last() == Some(&token) {
                        self.wrong(life, "a refresh token was not rotated");
                    }
                    // A client that is not sure whether it was answered asks again.
                    if self.random.percent(15)
                        && let Got::Done(again) = self.refresh(&token).await
                    {
                        let same = life.access.last().map(String::as_str)
                            == Some(again.access_token.expose())
                            && life.refresh.last().map(String::as_str)
                                == again.refresh_token.as_ref().map(SecretString::expose);
                        if !same && !self.is_leaving(life) {
                            self.wrong(life, "the same refresh token had two successors");
                        }
                    }
                    return true;
                }
                Got::Refused(_) if self.is_leaving(life) => return false,
                Got::Refused(refusal) => {
                    let what = format!("an honest client was refused a refresh: {refusal:?}");
                    self.wrong(life, &what);
                    return false;
                }
                Got::Nothing => self.pause().await,
            }
        }
        false
    }

    pub(crate) async fn must_be_active(&self, life: &Life) -> bool {
        let Some(token) = life.access.last() else { return true };
        count(&self.tally.looked_at);
        match self.is_active(token).await {
            Got::Done(false) if self.is_leaving(life) => false,
            Got::Done(false) => {
                self.wrong(life, "a token that nobody has revoked is not active");
                false
            }
            _ => true,
        }
    }

    /// The client ends it, and is told that it is over.
    pub(crate) async fn revoke(&self, life: Life) {
        let Some(token) = life.refresh.last() else { return };
        while !self.is_stopped() {
            let answer = self.any().revoke_token(&self.client, token).await;
            match self.took(answer) {
                Got::Done(()) => return self.end(life).await,
                Got::Refused(refusal) => {
                    return self.wrong(&life, &format!("a revocation was refused: {refusal:?}"));
                }
                Got::Nothing => self.pause().await,
            }
        }
    }

    /// A thief has a token that was exchanged long ago.
    pub(crate) async fn reuse(&self, life: Life) {
        let Some(token) = life.refresh.first() else { return };
        while !self.is_stopped() {
            match self.refresh(token).await {
                Got::Done(_) => {
                    return self.wrong(&life, "a refresh token was exchanged twice");
                }
                Got::Refused(_) => return self.end(life).await,
                Got::Nothing => self.pause().await,
            }
        }
    }

    /// The user takes back what they allowed, all of it.
    pub(crate) async fn withdraw(&self, subject: &Subject) {
        let mine: Vec<Life> = {
            let mut written = self.written();
            written.leaving.insert(subject.clone());
            let (mine, others) = std::mem::take(&mut written.alive)
                .into_iter()
                .partition(|it| it.subject == *subject);
            written.alive = others;
            mine
        };
        while !self.is_stopped() {
            let answer = self.any().withdraw_consent(subject, &self.client_id).await;
            match self.took(answer) {
                Got::Done(()) => {
                    for life in mine {
                        self.end(life).await;
                    }
                    return;
                }
                // There was none, or it is withdrawn already: an earlier request had its effect.
                Got::Refused(_) => return,
                Got::Nothing => self.pause().await,
            }
        }
    }

    /// What was acknowledged to be over is, everywhere and at once.
    async fn end(&self, life: Life) {
        count(&self.tally.ended);
        self.must_be_over(&life, false).await;
        self.written().over.push(life);
    }

    pub(crate) async fn must_be_over(&self, life: &Life, all: bool) {
        let tokens: Vec<&String> = match all {
            true => life.access.iter().chain(&life.refresh).collect(),
            false => life.access.last().into_iter().chain(life.refresh.last()).collect(),
        };
        for token in tokens {
            count(&self.tally.looked_at);
            if let Got::Done(true) = self.is_active(token).await {
                self.wrong(life, "a token of what was acknowledged to be over is active");
            }
        }
        let Some(token) = life.refresh.last().filter(|_| all || self.random.percent(30)) else {
            return;
        };
        if let Got::Done(_) = self.refresh(token).await {
            self.wrong(life, "what was acknowledged to be over was renewed");
        }
        if let Got::Done(_) = self.redeem(&self.any(), &life.code).await {
            self.wrong(life, "the code of what was acknowledged to be over was redeemed");
        }
    }

    /// Looks at something that somebody else wrote down, perhaps before the last failover.
    async fn look_back(&self) {
        let over = {
            let written = self.written();
            self.random.choose(&written.over).cloned()
        };
        if let Some(life) = over {
            self.must_be_over(&life, false).await;
        }
        let alive = {
            let mut written = self.written();
            let place = self.random.below(written.alive.len());
            (place < written.alive.len()).then(|| written.alive.swap_remove(place))
        };
        if let Some(mut life) = alive
            && self.must_be_active(&life).await
            && (self.random.percent(60) || self.renew(&mut life).await)
        {
            self.written().alive.push(life);
        }
    }

    /// Looks at everything that was written down, when nobody else does anything any more.
    pub(crate) async fn look_at_all(&self) {
        let (alive, over) = {
            let written = self.written();
            (written.alive.clone(), written.over.clone())
        };
        self.stopped.store(false, Ordering::Relaxed);
        for some in over.chunks(AT_ONCE) {
            join_all(some.iter().map(|life| self.must_be_over(life, true))).await;
        }
        for some in alive.chunks(AT_ONCE) {
            join_all(some.iter().cloned().map(|life| self.look_at_last(life))).await;
        }
        self.stop();
    }

    /// It is listed, active, can be renewed, and its code gets nothing any more.
    async fn look_at_last(&self, mut life: Life) {
        match self.any().grants_of(&life.subject).await {
            Ok(listed) if !listed.iter().any(|grant| Key::grant(grant.id) == life.key) => {
                self.wrong(&life, "it is not among those of its user");
            }
            _ => {}
        }
        if self.must_be_active(&life).await
            && self.renew(&mut life).await
            && let Got::Done(_) = self.redeem(&self.any(), &life.code).await
        {
            self.wrong(&life, "a code was redeemed twice");
        }
    }

    /// Sweeps, as every server does in the background.
    pub(crate) async fn sweep(self: Arc<Self>) {
        let mut after = None;
        while !self.is_stopped() {
            after = match self.any().sweep(after.as_ref(), 200).await {
                Ok(swept) => swept.next,
                Err(_) => None,
            };
            self.pause().await;
        }
    }
}
