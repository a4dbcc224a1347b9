//! A proxy between clients and one server that knows commands and replies, and does them harm.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::lane;
use super::options::Options;
use super::resp::Value;
use super::server::Server;
use crate::ground::{PATIENCE, Port};

/// What happens to one command.
///
/// Whatever is cut, the commands before on the same connection are answered first. A cut is seen by
/// both sides as the orderly end of a connection, in the middle of whatever it interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut before the server sees anything of the command.
    CutBefore,
    /// The server gets so many of the first bytes of the command, then the connection is cut. With all of
    /// them, or more, the command is executed and the client has no reply.
    CutRequest(usize),
    /// The command is executed, and when its reply comes, the connection is cut instead. What the client
    /// had sent by then together with the command is executed too.
    DropReply,
    /// As [`DropReply`](Self::DropReply), but the client gets so many of the first bytes of the reply.
    CutReply(usize),
    /// The server gets the command twice, one right after the other, and the client the first reply.
    Twice,
}

/// A command as the client sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its name and its arguments.
    pub words: Vec<Vec<u8>>,
}

impl Command {
    /// Its name, in capitals.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.words.first().map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(name).to_ascii_uppercase()
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, word) in self.words.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            word.escape_ascii().fmt(f)?;
        }
        Ok(())
    }
}

/// A command that came by, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Passed {
    /// Which connection it came by: they are counted from 0.
    pub connection: u64,
    /// The command.
    pub command: Command,
    /// What the server replied, whether or not the client got it. Nothing yet, or nothing at all.
    pub reply: Option<Value>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Harm {
    Fault(Fault),
    HoldRequest,
    HoldReply,
}

pub(super) type Matches = Box<dyn Fn(&Command) -> bool + Send>;

pub(super) struct Rule {
    id: u64,
    matches: Matches,
    /// How many matches from now: 1 is the next.
    countdown: u64,
    harm: Harm,
}

/// What came of a rule.
#[derive(Debug, Default)]
struct Strike {
    struck: bool,
    length: Option<usize>,
    reply: Option<Value>,
    released: bool,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) closed: bool,
    stalled: bool,
    next: u64,
    rules: Vec<Rule>,
    strikes: HashMap<u64, Strike>,
    counts: BTreeMap<String, u64>,
    round_trips: u64,
    record: Option<Vec<(u64, Passed)>>,
    connections: HashMap<u64, Connection>,
    accepted: u64,
    came: u64,
}

struct Connection {
    ends: [TcpStream; 2],
    /// Of a replica or a sentinel.
    internal: bool,
}

pub(super) struct Shared {
    pub(super) target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changed.notify_all();
        changed
    }

    /// Waits while that is so, without an end: it is the test that decides.
    fn wait_while(&self, mut is_so: impl FnMut(&State) -> bool) {
        let waited = self.changed.wait_while(self.state(), |state| !state.closed && is_so(state));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn wait_until_moving(&self) {
        self.wait_while(|state| state.stalled);
    }

    pub(super) fn wait_until_released(&self, rule: u64) {
        self.wait_while(|state| state.strikes.get(&rule).is_some_and(|strike| !strike.released));
    }

    pub(super) fn open(&self, client: &TcpStream, server: &TcpStream) -> Option<u64> {
        let ends = [client.try_clone().ok()?, server.try_clone().ok()?];
        self.change(|state| {
            let id = state.accepted;
            state.accepted += 1;
            state.connections.insert(id, Connection { ends, internal: false });
            (!state.closed).then_some(id)
        })
    }

    /// The connection is none of a client's, and nothing of it is to be seen.
    pub(super) fn is_internal(&self, connection: u64, counted: &BTreeMap<String, u64>) {
        self.change(|state| {
            if let Some(connection) = state.connections.get_mut(&connection) {
                connection.internal = true;
            }
            for (name, count) in counted {
                if let Some(all) = state.counts.get_mut(name) {
                    *all = all.saturating_sub(*count);
                }
            }
            state.counts.retain(|_, count| *count > 0);
            if let Some(record) = &mut state.record {
                record.retain(|(_, passed)| passed.connection != connection);
            }
        });
    }

    pub(super) fn ended(&self, connection: u64) {
        self.change(|state| state.connections.remove(&connection));
    }

    /// A command has come: it gets a number, and what is to happen to it, by which rule.
    pub(super) fn came(&self, connection: u64, command: &Command) -> (u64, Option<(u64, Harm)>) {
        self.change(|state| {
            state.came += 1;
            let number = state.came;
            *state.counts.entry(command.name()).or_default() += 1;
            if let Some(record) = &mut state.record {
                let passed = Passed { connection, command: command.clone(), reply: None };
                record.push((number, passed));
            }
            for rule in &mut state.rules {
                if (rule.matches)(command) {
                    rule.countdown = rule.countdown.saturating_sub(1);
                }
            }
            let due = state.rules.iter().position(|rule| rule.countdown == 0);
            let harm = due.map(|due| {
                let rule = state.rules.remove(due);
                state.strikes.entry(rule.id).or_default().struck = true;
                (rule.id, rule.harm)
            });
            (number, harm)
        })
    }

    pub(super) fn round_trip(&self) {
        self.change(|state| state.round_trips += 1);
    }

    pub(super) fn length(&self, rule: u64, length: usize) {
        self.change(|state| state.strikes.entry(rule).or_default().length = Some(length));
    }

    /// The reply to a command has come; of a cut reply the length is of interest.
    pub(super) fn replied(
        &self,
        number: u64,
        rule: Option<u64>,
        reply: &Value,
        length: Option<usize>,
    ) {
        self.change(|state| {
            if let Some(rule) = rule {
                let strike = state.strikes.entry(rule).or_default();
                strike.reply = Some(reply.clone());
                strike.length = length.or(strike.length);
            }
            let mut record = state.record.iter_mut().flatten();
            if let Some((_, passed)) = record.find(|(it, _)| *it == number) {
                passed.reply = Some(reply.clone());
            }
        });
    }
}

/// A proxy on a port of its own between clients and one server without TLS.
///
/// It reads RESP2 and RESP3, pipelined or not, and passes on what it is not told to harm. Each
/// [fault](Fault) is scripted beforehand: what happens to the n-th command, from now on, of that name,
/// or of whatever description. There are no delays but those which the test ends.
///
/// ```no_run
/// use grantor_conformance::redis::{Fault, FaultProxy, Server};
///
/// let server = Server::start();
/// let proxy = FaultProxy::to(&server);
/// // A client of `proxy.url()` will not see the reply to its second EVALSHA, which is executed.
/// let lost = proxy.inject("EVALSHA", 2, Fault::DropReply);
/// // ... the client does what it does ...
/// lost.wait_answered();
/// assert!(proxy.counts()["EVALSHA"] >= 2);
/// ```
///
/// Connections of replicas and sentinels pass unread and are neither counted nor cut; what comes after
/// `MONITOR`, or after `SUBSCRIBE` of a client with RESP2, passes unread too, and so does what is not
/// RESP. `CLIENT REPLY` is not understood.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    port: Port,
    options: Options,
}

impl FaultProxy {
    /// A proxy to that server.
    ///
    /// # Panics
    /// When the server speaks TLS, which a proxy cannot read.
    #[must_use]
    pub fn to(server: &Server) -> Self {
        Self::between(server.addr(), server.options_of().clone())
    }

    pub(super) fn between(target: SocketAddr, options: Options) -> Self {
        assert!(options.tls.is_none(), "a proxy cannot read TLS");
        let (port, listener) = loop {
            let port = Port::free();
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())) {
                break (port, listener);
            }
        };
        let shared = Arc::new(Shared { target, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.state().closed {
                    return;
                }
                let (Ok(client), shared) = (client, Arc::clone(&accepting)) else { continue };
                std::thread::spawn(move || lane::serve(&shared, &client));
            }
        });
        Self { shared, port, options }
    }

    /// Where clients reach it.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// The port of [`addr`](Self::addr).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The [URL of the server](Server::url), with the port of the proxy.
    #[must_use]
    pub fn url(&self) -> String {
        self.options.url(self.port(), None)
    }

    /// Harms the n-th command of that name which comes from now on: with 1 the next.
    ///
    /// Of several faults that would strike one command only the first injected does.
    pub fn inject(&self, name: &str, n: u64, fault: Fault) -> Injected {
        let name = name.to_ascii_uppercase();
        self.inject_where(move |command| command.name() == name, n, fault)
    }

    /// Harms the n-th command of which that is true. What decides must not ask the proxy.
    pub fn inject_where(
        &self,
        matches: impl Fn(&Command) -> bool + Send + 'static,
        n: u64,
        fault: Fault,
    ) -> Injected {
        self.rule(Box::new(matches), n, Harm::Fault(fault))
    }

    /// Holds the n-th command of that name back, with all that comes after it on the same connection,
    /// until it is released. The server gets it then even if the client has given up and gone.
    pub fn hold_request(&self, name: &str, n: u64) -> Held {
        let name = name.to_ascii_uppercase();
        let matches = Box::new(move |command: &Command| command.name() == name);
        Held(self.rule(matches, n, Harm::HoldRequest))
    }

    /// Lets the n-th command of that name be executed, and holds its reply back, with all that comes
    /// after it on the same connection, until it is released.
    pub fn hold_reply(&self, name: &str, n: u64) -> Held {
        let name = name.to_ascii_uppercase();
        let matches = Box::new(move |command: &Command| command.name() == name);
        Held(self.rule(matches, n, Harm::HoldReply))
    }

    fn rule(&self, matches: Matches, n: u64, harm: Harm) -> Injected {
        assert!(n > 0, "the next command is the first, not the zeroth");
        let id = self.shared.change(|state| {
            state.next += 1;
            let id = state.next;
            state.rules.push(Rule { id, matches, countdown: n, harm });
            state.strikes.insert(id, Strike::default());
            id
        });
        Injected { shared: Arc::clone(&self.shared), id }
    }

    /// Takes back all faults that have not struck yet.
    pub fn clear(&self) {
        self.shared.change(|state| state.rules.clear());
    }

    /// Cuts all connections of clients. New ones are welcome.
    pub fn cut(&self) {
        self.cut_where(|connection| !connection.internal);
    }

    fn cut_where(&self, which: impl Fn(&Connection) -> bool) {
        for connection in self.shared.state().connections.values().filter(|it| which(it)) {
            for end in &connection.ends {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }

    /// Passes nothing on any more, in either direction, until [`resume`](Self::resume): connections stay
    /// open and new ones are accepted, as where packets are lost.
    pub fn stall(&self) {
        self.shared.change(|state| state.stalled = true);
    }

    /// Ends a [`stall`](Self::stall): all that was sent meanwhile arrives.
    pub fn resume(&self) {
        self.shared.change(|state| state.stalled = false);
    }

    /// How many commands clients have sent since the start or [`reset_counts`](Self::reset_counts), by
    /// their names in capitals.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.shared.state().counts.clone()
    }

    /// How often a client has sent something while it was waiting for nothing on the same connection:
    /// with one request at a time, how often that had to wait for the network.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.shared.state().round_trips
    }

    /// Counts from zero again.
    pub fn reset_counts(&self) {
        self.shared.change(|state| {
            state.counts.clear();
            state.round_trips = 0;
        });
    }

    /// Begins to write down what comes by, from nothing.
    pub fn record(&self) {
        self.shared.change(|state| state.record = Some(Vec::new()));
    }

    /// What has come by since [`record`](Self::record), in order.
    #[must_use]
    pub fn recorded(&self) -> Vec<Passed> {
        let record = self.shared.state().record.clone().unwrap_or_default();
        record.into_iter().map(|(_, passed)| passed).collect()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.change(|state| state.closed = true);
        self.cut_where(|_| true);
        // Wakes the one who accepts.
        drop(TcpStream::connect(self.addr()));
    }
}

/// A fault that is injected, and whether it has struck.
#[derive(Debug)]
pub struct Injected {
    shared: Arc<Shared>,
    id: u64,
}

impl Injected {
    fn look<T>(&self, look: impl FnOnce(&Strike) -> T) -> Option<T> {
        self.shared.state().strikes.get(&self.id).map(look)
    }

    /// Whether it has struck.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.look(|strike| strike.struck).unwrap_or_default()
    }

    /// How many bytes the command had which it struck, or with [`Fault::CutReply`] the reply: so a test
    /// that cuts at every byte knows when it has done them all.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        self.look(|strike| strike.length).flatten()
    }

    /// What the server replied to the command which it struck, whether or not the client got that.
    #[must_use]
    pub fn reply(&self) -> Option<Value> {
        self.look(|strike| strike.reply.clone()).flatten()
    }

    /// Waits until it has struck. Where a client runs on the same thread: [`struck`](Self::struck).
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn wait(&self) {
        wait(&self.shared, self.id, "a fault strikes", |strike| strike.struck);
    }

    /// Waits until the server has replied to the command which it struck.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn wait_answered(&self) {
        wait(&self.shared, self.id, "a command is answered", |strike| strike.reply.is_some());
    }

    /// As [`wait`](Self::wait), for asynchronous tests with any runtime.
    ///
    /// # Panics
    /// When it does not strike within a minute.
    pub async fn struck(&self) {
        self.on_a_thread("a fault strikes", |strike| strike.struck).await;
    }

    /// As [`wait_answered`](Self::wait_answered), for asynchronous tests with any runtime.
    ///
    /// # Panics
    /// When the server does not reply within a minute.
    pub async fn answered(&self) {
        self.on_a_thread("a command is answered", |strike| strike.reply.is_some()).await;
    }

    /// Not with a timer of the runtime: the test may have stopped its clock.
    async fn on_a_thread(&self, what: &'static str, is_so: fn(&Strike) -> bool) {
        let (done, waiting) = tokio::sync::oneshot::channel();
        let (shared, id) = (Arc::clone(&self.shared), self.id);
        std::thread::spawn(move || {
            wait(&shared, id, what, is_so);
            let _ = done.send(());
        });
        waiting.await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
    }
}

fn wait(shared: &Shared, id: u64, what: &str, is_so: fn(&Strike) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut state = shared.state();
    while !state.strikes.get(&id).is_some_and(is_so) {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{what}: not within {PATIENCE:?}; came by: {:?}", state.counts);
        let waited = shared.changed.wait_timeout(state, left);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// A command or a reply that is held back, or will be when it comes. Dropping this releases it.
#[derive(Debug)]
#[must_use = "it is released when this is dropped"]
pub struct Held(Injected);

impl Held {
    /// Lets it go on its way.
    pub fn release(&self) {
        let Injected { shared, id } = &self.0;
        shared.change(|state| state.strikes.entry(*id).or_default().released = true);
    }
}

impl std::ops::Deref for Held {
    type Target = Injected;

    fn deref(&self) -> &Injected {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}
