//! One connection through a proxy: the commands that go one way and the replies that come the other.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::proxy::{Command, Fault, Harm, Shared};
use super::resp::{self, Malformed, Value};

/// A connection, until both ways have ended.
pub(super) fn serve(shared: &Shared, client: &TcpStream) {
    let Ok(server) = TcpStream::connect(shared.target) else {
        let _ = client.shutdown(Shutdown::Both);
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let Some(id) = shared.open(client, &server) else { return };
    let lane = Lane {
        shared,
        id,
        client,
        server: &server,
        expected: Mutex::default(),
        awaited: AtomicUsize::new(0),
        unread: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| lane.replies());
        lane.commands();
    });
    shared.ended(id);
}

/// A reply that is still to come.
#[derive(Debug, Clone, Copy)]
struct Expected {
    /// The number of its command.
    number: u64,
    /// The rule by which its command is harmed.
    rule: Option<u64>,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The client gets it.
    Passes,
    /// The client gets it when the rule is released.
    Held,
    /// The client gets nothing of it.
    Lost,
    /// The client gets so many bytes of it.
    Cut(usize),
    /// It is the second one of a command that was sent twice.
    Swallowed,
    /// There is none: the connection is cut.
    End,
}

struct Lane<'a> {
    shared: &'a Shared,
    id: u64,
    client: &'a TcpStream,
    server: &'a TcpStream,
    expected: Mutex<VecDeque<Expected>>,
    /// How many replies the client waits for.
    awaited: AtomicUsize,
    /// After what is expected everything passes as it is.
    unread: AtomicBool,
}

const CHUNK: usize = 64 * 1024;

impl Lane<'_> {
    fn expected(&self) -> MutexGuard<'_, VecDeque<Expected>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// Cuts when all that is expected has come.
    fn cut_after_all(&self) {
        let now = {
            let mut expected = self.expected();
            expected.push_back(Expected { number: 0, rule: None, fate: Fate::End });
            expected.len() == 1
        };
        if now {
            self.cut();
        }
    }

    fn to_server(&self, expected: &[Expected], bytes: &[u8]) {
        self.shared.wait_until_moving();
        // First, for the reply may come before this goes on.
        let awaited = expected.iter().filter(|reply| reply.fate != Fate::Swallowed).count();
        self.awaited.fetch_add(awaited, Ordering::SeqCst);
        self.expected().extend(expected);
        // If it fails, the server is away, which the other way will see.
        let _ = { self.server }.write_all(bytes);
    }

    fn to_client(&self, bytes: &[u8]) {
        self.shared.wait_until_moving();
        // If it fails, the client is away: what it has sent is executed nonetheless.
        let _ = { self.client }.write_all(bytes);
    }

    fn commands(&self) {
        let mut buffer = Vec::new();
        let mut chunk = vec![0; CHUNK];
        let mut counted = BTreeMap::new();
        let mut protocol = 2;
        loop {
            match { self.client }.read(&mut chunk) {
                Ok(count) if count > 0 => {
                    buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
                }
                _ => break,
            }
            let mut idle = self.awaited.load(Ordering::SeqCst) == 0;
            loop {
                if self.unread.load(Ordering::Relaxed) {
                    self.to_server(&[], &buffer);
                    buffer.clear();
                    break;
                }
                let (command, length) = match read_command(&buffer) {
                    Ok(Some(read)) => read,
                    Ok(None) => break,
                    Err(Malformed(_)) => {
                        self.unread.store(true, Ordering::Relaxed);
                        continue;
                    }
                };
                let bytes: Vec<_> = buffer.drain(..length).collect();
                if command.words.is_empty() {
                    continue;
                }
                let name = command.name();
                if is_internal(&name, &command) {
                    self.shared.is_internal(self.id, &counted);
                    self.unread.store(true, Ordering::Relaxed);
                    self.to_server(&[], &bytes);
                    continue;
                }
                if name == "HELLO" && command.words.get(1).is_some_and(|word| word == b"3") {
                    protocol = 3;
                }
                *counted.entry(name.clone()).or_default() += 1;
                let (number, harm) = self.shared.came(self.id, &command);
                if std::mem::take(&mut idle) {
                    self.shared.round_trip();
                }
                if SUBSCRIPTIONS.contains(&name.as_str()) && protocol == 3 {
                    // The replies are pushed.
                    self.to_server(&[], &bytes);
                } else if SUBSCRIPTIONS.contains(&name.as_str()) || name == "MONITOR" {
                    self.unread.store(true, Ordering::Relaxed);
                    self.to_server(&[], &bytes);
                } else if !self.command(number, &bytes, harm, &mut buffer) {
                    return;
                }
            }
        }
        let _ = self.server.shutdown(Shutdown::Write);
    }

    /// Sends a command on; false if nothing is to go this way any more.
    fn command(
        &self,
        number: u64,
        bytes: &[u8],
        harm: Option<(u64, Harm)>,
        rest: &mut Vec<u8>,
    ) -> bool {
        let rule = harm.map(|(rule, _)| rule);
        let reply = |fate| Expected { number, rule, fate };
        let Some((rule, harm)) = harm else {
            self.to_server(&[reply(Fate::Passes)], bytes);
            return true;
        };
        if !matches!(harm, Harm::Fault(Fault::CutReply(_))) {
            self.shared.length(rule, bytes.len());
        }
        match harm {
            Harm::HoldRequest => {
                self.shared.wait_until_released(rule);
                self.to_server(&[reply(Fate::Passes)], bytes);
                return true;
            }
            Harm::HoldReply => {
                self.to_server(&[reply(Fate::Held)], bytes);
                return true;
            }
            Harm::Fault(Fault::Twice) => {
                let both = [bytes, bytes].concat();
                self.to_server(&[reply(Fate::Passes), reply(Fate::Swallowed)], &both);
                return true;
            }
            Harm::Fault(Fault::CutBefore) => {}
            Harm::Fault(Fault::CutRequest(count)) => match bytes.get(..count) {
                Some(part) if count < bytes.len() => self.to_server(&[], part),
                _ => self.to_server(&[reply(Fate::Lost)], bytes),
            },
            Harm::Fault(fault @ (Fault::DropReply | Fault::CutReply(_))) => {
                let fate = match fault {
                    Fault::CutReply(count) => Fate::Cut(count),
                    _ => Fate::Lost,
                };
                self.to_server(&[reply(fate)], bytes);
                while let Ok(Some((command, length))) = read_command(rest) {
                    let bytes: Vec<_> = rest.drain(..length).collect();
                    let (number, _) = self.shared.came(self.id, &command);
                    self.to_server(&[Expected { number, rule: None, fate: Fate::Lost }], &bytes);
                }
            }
        }
        self.cut_after_all();
        false
    }

    fn replies(&self) {
        let mut buffer = Vec::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match { self.server }.read(&mut chunk) {
                Ok(count) if count > 0 => {
                    buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
                }
                _ => break,
            }
            loop {
                if self.unread.load(Ordering::Relaxed) && self.expected().is_empty() {
                    self.to_client(&buffer);
                    buffer.clear();
                    break;
                }
                match resp::parse(&buffer) {
                    Ok(Some((value, length))) => {
                        let bytes: Vec<_> = buffer.drain(..length).collect();
                        if !self.reply(&bytes, &value) {
                            return;
                        }
                    }
                    Ok(None) => break,
                    Err(Malformed(_)) => {
                        self.unread.store(true, Ordering::Relaxed);
                        self.expected().clear();
                    }
                }
            }
        }
        self.cut();
    }

    /// Passes a reply on; false if the connection is cut.
    fn reply(&self, bytes: &[u8], value: &Value) -> bool {
        if matches!(value, Value::Push(_)) {
            self.to_client(bytes);
            return true;
        }
        // It stays in front until it is dealt with: else a cut might overtake it.
        let Some(Expected { number, rule, fate }) = self.expected().front().copied() else {
            self.to_client(bytes);
            return true;
        };
        if fate != Fate::Swallowed {
            let cut = matches!(fate, Fate::Cut(_));
            self.shared.replied(number, rule, value, cut.then_some(bytes.len()));
        }
        if let (Fate::Held, Some(rule)) = (fate, rule) {
            self.shared.wait_until_released(rule);
        }
        if fate != Fate::Swallowed {
            // Before it has the reply and can answer to that.
            self.awaited.fetch_sub(1, Ordering::SeqCst);
        }
        match fate {
            Fate::Passes | Fate::Held => self.to_client(bytes),
            Fate::Cut(count) => self.to_client(bytes.get(..count).unwrap_or(bytes)),
            Fate::Lost | Fate::Swallowed | Fate::End => {}
        }
        let mut expected = self.expected();
        expected.pop_front();
        let end = expected.front().is_some_and(|next| next.fate == Fate::End);
        drop(expected);
        if end {
            self.cut();
        }
        !end
    }
}

/// Their replies are pushed with RESP3. With RESP2 replies are nothing but what is pushed from then on.
const SUBSCRIPTIONS: [&str; 6] =
    ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"];

/// The other end is a replica or a sentinel: such connections pass as they are.
fn is_internal(name: &str, command: &Command) -> bool {
    let word = |n: usize| command.words.get(n).map(Vec::as_slice).unwrap_or_default();
    match name {
        "PSYNC" | "SYNC" => true,
        "CLIENT" => word(1).eq_ignore_ascii_case(b"SETNAME") && word(2).starts_with(b"sentinel-"),
        _ => false,
    }
}

/// The first command in `bytes`, in RESP or as a line of text, and how many bytes it takes.
fn read_command(bytes: &[u8]) -> Result<Option<(Command, usize)>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'*') => Ok(resp::parse(bytes)?.map(|(value, length)| {
            let words = value.list().iter().filter_map(Value::bytes).map(<[u8]>::to_vec).collect();
            (Command { words }, length)
        })),
        Some(_) => {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
            let line = bytes.get(..end).unwrap_or_default();
            if !line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r')) {
                return Err(Malformed("neither RESP nor a line of text".into()));
            }
            let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            Ok(Some((Command { words: words.map(<[u8]>::to_vec).collect() }, end + 1)))
        }
    }
}
