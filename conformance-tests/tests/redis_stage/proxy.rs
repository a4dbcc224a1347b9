//! The proxy does exactly the harm that it is told to do, and counts right.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use grantor_conformance::redis::{
    Cluster, Fault, FaultProxy, Sentinels, Server, Value, parse, slot_of,
};

/// A client that sends what it is told.
struct Client {
    stream: TcpStream,
    /// What has come and was not looked at.
    came: Vec<u8>,
}

impl Client {
    fn new(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        Self { stream, came: Vec::new() }
    }

    fn send(&mut self, command: &str) {
        self.stream.write_all(&encoded(command)).expect("sent");
    }

    /// All commands in one piece.
    fn pipeline(&mut self, commands: &[&str]) {
        let bytes: Vec<_> = commands.iter().flat_map(|command| encoded(command)).collect();
        self.stream.write_all(&bytes).expect("sent");
    }

    /// The next thing that comes, or nothing if the connection ends.
    fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((value, length)) = parse(&self.came).expect("RESP") {
                self.came.drain(..length);
                return Some(value);
            }
            let mut chunk = vec![0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(count) if count > 0 => self.came.extend(chunk.get(..count).expect("read")),
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("neither a reply nor the end: {error}"),
            }
        }
        assert!(self.came.is_empty(), "only a part: {}", self.came.escape_ascii());
        None
    }

    fn ask(&mut self, command: &str) -> Value {
        self.send(command);
        self.next().expect("a reply")
    }

    /// What comes until the connection ends.
    fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.came);
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection does not end: {error}"),
        }
        rest
    }

    fn says_nothing(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        let silent = self.came.is_empty() && self.stream.read(&mut [0]).is_err();
        self.stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        silent
    }
}

fn encoded(command: &str) -> Vec<u8> {
    let words: Vec<_> = command.split(' ').collect();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    bytes
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

fn stage() -> (Server, FaultProxy) {
    let server = Server::start();
    let proxy = FaultProxy::to(&server);
    (server, proxy)
}

/// What the counter `n` stands at, by a way past the proxy.
fn counted(server: &Server) -> i64 {
    server.call(&["INCRBY", "n", "0"]).integer().expect("a number")
}

#[test]
fn what_is_not_harmed_passes_and_is_counted() {
    let (server, proxy) = stage();
    assert_eq!(proxy.url(), format!("redis://127.0.0.1:{}", proxy.port()));
    let mut client = Client::new(proxy.addr());
    proxy.record();
    assert_eq!(client.ask("SET a 1"), ok());
    client.pipeline(&["get a", "GET b", "INCR n"]);
    let replies: Vec<_> = (0..3).map(|_| client.next().expect("a reply")).collect();
    assert_eq!(replies, [Value::Bulk(b"1".into()), Value::Nil, Value::Integer(1)]);
    client.stream.write_all(b"PING\r\n").expect("a line of text");
    assert_eq!(client.next(), Some(Value::Simple("PONG".into())));
    // A value that comes in many pieces, both ways.
    let big = "x".repeat(3_000_000);
    assert_eq!(client.ask(&format!("SET big {big}")), ok());
    assert_eq!(client.ask("GET big"), Value::Bulk(big.clone().into()));
    assert_eq!(server.cli(&["STRLEN", "big"]), "3000000");

    let counts: Vec<_> = proxy.counts().into_iter().collect();
    let expected = [("GET", 3), ("INCR", 1), ("PING", 1), ("SET", 2)];
    assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)));
    // Each of the five waits was for the network; the pipeline was one.
    assert_eq!(proxy.round_trips(), 5);
    let recorded = proxy.recorded();
    assert_eq!(recorded[0].command.to_string(), "SET a 1");
    assert_eq!(recorded[0].reply, Some(ok()));
    assert_eq!(recorded[3].command.name(), "INCR");
    assert_eq!(recorded[3].reply, Some(Value::Integer(1)));
    assert!(recorded.iter().all(|passed| passed.connection == 0));
    proxy.reset_counts();
    assert_eq!((proxy.counts().len(), proxy.round_trips()), (0, 0));
}

#[test]
fn a_request_is_cut_at_every_byte() {
    let (server, proxy) = stage();
    let mut executed = 0;
    for count in 0.. {
        let mut client = Client::new(proxy.addr());
        let cut = proxy.inject("INCR", 2, Fault::CutRequest(count));
        // The first one passes, and the one in the same piece after the cut never arrives.
        client.pipeline(&["INCR n", "INCR n", "INCR n"]);
        executed += 1;
        assert_eq!(client.next(), Some(Value::Integer(executed)));
        assert_eq!(client.rest(), b"");
        assert!(cut.has_struck());
        assert_eq!(cut.length(), Some(encoded("INCR n").len()));
        if Some(count) == cut.length() {
            cut.wait_answered();
            assert_eq!(counted(&server), executed + 1);
            return;
        }
        assert_eq!(cut.reply(), None);
        assert_eq!(counted(&server), executed);
    }
}

#[test]
fn a_reply_is_cut_at_every_byte() {
    let (server, proxy) = stage();
    server.cli(&["SET", "text", "some text"]);
    let whole = b"$9\r\nsome text\r\n";
    for count in 0.. {
        let mut client = Client::new(proxy.addr());
        let cut = proxy.inject("GET", 1, Fault::CutReply(count));
        // What is sent together with it is executed, and its reply is lost.
        client.pipeline(&["GET text", "INCR n"]);
        assert_eq!(client.rest(), &whole[..count.min(whole.len())]);
        assert_eq!(cut.reply(), Some(Value::Bulk(b"some text".into())));
        assert_eq!(counted(&server), i64::try_from(count).expect("few") + 1);
        if cut.length() == Some(count) {
            assert_eq!(count, whole.len());
            return;
        }
    }
}

#[test]
fn cut_before_and_after_the_execution() {
    let (server, proxy) = stage();
    let mut client = Client::new(proxy.addr());
    let cut = proxy.inject("INCR", 1, Fault::CutBefore);
    client.pipeline(&["SET a 1", "INCR n"]);
    assert_eq!(client.next(), Some(ok()));
    assert_eq!(client.rest(), b"");
    assert!(cut.has_struck() && cut.reply().is_none());
    assert_eq!(counted(&server), 0);

    let mut client = Client::new(proxy.addr());
    let dropped = proxy.inject("incr", 1, Fault::DropReply);
    client.pipeline(&["SET a 2", "INCR n"]);
    assert_eq!(client.next(), Some(ok()));
    assert_eq!(client.rest(), b"");
    assert_eq!(dropped.reply(), Some(Value::Integer(1)));
    assert_eq!(counted(&server), 1);

    // A fault strikes once, and one that is taken back never.
    let never = proxy.inject("INCR", 2, Fault::CutBefore);
    let mut client = Client::new(proxy.addr());
    assert_eq!(client.ask("INCR n"), Value::Integer(2));
    proxy.clear();
    assert_eq!(client.ask("INCR n"), Value::Integer(3));
    assert!(!never.has_struck());

    let by_argument = proxy.inject_where(
        |command| command.words.get(1).is_some_and(|key| key == b"special"),
        1,
        Fault::CutBefore,
    );
    assert_eq!(client.ask("GET ordinary"), Value::Nil);
    client.send("GET special");
    assert_eq!(client.rest(), b"");
    assert!(by_argument.has_struck());
}

#[test]
fn a_command_is_sent_twice_and_answered_once() {
    let (server, proxy) = stage();
    let mut client = Client::new(proxy.addr());
    proxy.inject("INCR", 1, Fault::Twice);
    client.pipeline(&["INCR n", "GET n"]);
    assert_eq!(client.next(), Some(Value::Integer(1)));
    assert_eq!(client.next(), Some(Value::Bulk(b"2".into())));
    assert_eq!(counted(&server), 2);
    assert_eq!(proxy.counts()["INCR"], 1);
}

#[test]
fn a_command_is_held_and_arrives_after_the_client_has_gone() {
    let (server, proxy) = stage();
    let held = proxy.hold_request("SET", 1);
    let mut client = Client::new(proxy.addr());
    client.send("SET a late");
    held.wait();
    assert_eq!(server.call(&["GET", "a"]), Value::Nil);
    drop(client);
    // Others pass.
    assert_eq!(Client::new(proxy.addr()).ask("SET a early"), ok());
    assert_eq!(server.cli(&["GET", "a"]), "early");
    held.release();
    held.wait_answered();
    assert_eq!(server.cli(&["GET", "a"]), "late");

    // One that is not awaited is released by its drop.
    let mut client = Client::new(proxy.addr());
    let held = proxy.hold_request("GET", 1);
    client.send("GET a");
    held.wait();
    assert!(client.says_nothing());
    drop(held);
    assert_eq!(client.next(), Some(Value::Bulk(b"late".into())));
}

#[test]
fn a_reply_is_held() {
    let (server, proxy) = stage();
    let held = proxy.hold_reply("INCR", 1);
    let mut client = Client::new(proxy.addr());
    client.send("INCR n");
    held.wait_answered();
    assert_eq!(counted(&server), 1);
    assert!(client.says_nothing());
    held.release();
    assert_eq!(client.next(), Some(Value::Integer(1)));
}

#[test]
fn an_asynchronous_test_waits_without_a_clock() {
    let (_server, proxy) = stage();
    let held = proxy.hold_reply("PING", 1);
    let addr = proxy.addr();
    let client = std::thread::spawn(move || Client::new(addr).ask("PING"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        held.struck().await;
        held.answered().await;
    });
    held.release();
    assert_eq!(client.join().expect("a client"), Value::Simple("PONG".into()));
}

#[test]
fn everything_stalls_and_everything_is_cut() {
    let (server, proxy) = stage();
    let mut client = Client::new(proxy.addr());
    assert_eq!(client.ask("INCR n"), Value::Integer(1));
    proxy.stall();
    client.send("INCR n");
    let mut other = Client::new(proxy.addr());
    other.send("INCR n");
    assert!(client.says_nothing() && other.says_nothing());
    assert_eq!(counted(&server), 1);
    proxy.resume();
    let mut both = [client.next(), other.next()].map(|reply| reply.and_then(|it| it.integer()));
    both.sort_unstable();
    assert_eq!(both, [Some(2), Some(3)]);

    proxy.cut();
    assert_eq!(client.rest(), b"");
    assert_eq!(other.rest(), b"");
    assert_eq!(Client::new(proxy.addr()).ask("INCR n"), Value::Integer(4));

    // Where there is no server, there is no connection; and when it is back, there is.
    server.kill_9();
    assert_eq!(Client::new(proxy.addr()).rest(), b"");
    server.restart();
    assert_eq!(Client::new(proxy.addr()).ask("INCR n"), Value::Integer(1));
}

#[test]
fn what_is_pushed_does_not_count_as_a_reply() {
    let (server, proxy) = stage();
    let mut client = Client::new(proxy.addr());
    assert!(matches!(client.ask("HELLO 3"), Value::Map(_)));
    assert_eq!(client.ask("CLIENT TRACKING ON"), ok());
    assert_eq!(client.ask("GET n"), Value::Nil);
    server.cli(&["SET", "n", "1"]);
    assert!(matches!(client.next(), Some(Value::Push(_))));
    client.send("SUBSCRIBE news");
    assert!(matches!(client.next(), Some(Value::Push(_))));
    // The second INCR is executed, and that its reply is dropped says that none was mistaken.
    let dropped = proxy.inject("INCR", 2, Fault::DropReply);
    assert_eq!(client.ask("INCR n"), Value::Integer(2));
    server.cli(&["PUBLISH", "news", "today"]);
    assert!(matches!(client.next(), Some(Value::Push(_))));
    client.send("INCR n");
    assert_eq!(client.rest(), b"");
    assert_eq!(dropped.reply(), Some(Value::Integer(3)));

    // With RESP2 there is nothing else than what is pushed.
    let mut client = Client::new(proxy.addr());
    assert_eq!(client.ask("SUBSCRIBE news").list().len(), 3);
    server.cli(&["PUBLISH", "news", "today"]);
    assert_eq!(client.next().expect("news").list().len(), 3);
}

#[test]
fn a_cluster_behind_proxies_tells_of_nothing_else() {
    let cluster = Cluster::options().behind_proxies().start();
    let proxies: Vec<_> = cluster.nodes().iter().map(|node| cluster.proxy(node)).collect();
    let ports: Vec<_> = proxies.iter().map(|proxy| i64::from(proxy.port())).collect();
    let urls: Vec<_> = proxies.iter().map(|proxy| proxy.url()).collect();
    assert_eq!(cluster.url(), urls.join(","));

    let mut client = Client::new(proxies[0].addr());
    for range in client.ask("CLUSTER SLOTS").list() {
        for node in &range.list()[2..] {
            assert!(ports.contains(&node.list()[1].integer().expect("a port")), "{node:?}");
        }
    }
    let owner = cluster.primary_of("a");
    let other = cluster.primaries().into_iter().find(|it| it.port() != owner.port()).expect("one");
    let moved = Client::new(cluster.proxy(other).addr()).ask("GET a");
    let told = format!("MOVED {} 127.0.0.1:{}", slot_of("a"), cluster.proxy(owner).port());
    assert_eq!(moved.error(), Some(told.as_str()));

    // The replica came by there too, unseen; and its connection is not cut.
    let proxy = cluster.proxy(owner);
    assert_eq!(proxy.counts().keys().collect::<Vec<_>>(), Vec::<&String>::new());
    proxy.cut();
    let mut client = Client::new(proxy.addr());
    client.pipeline(&["SET a 1", "WAIT 1 20000"]);
    assert_eq!((client.next(), client.next()), (Some(ok()), Some(Value::Integer(1))));
    // Where packets are lost, no replica answers.
    let mut past = Client::new(owner.addr());
    proxy.stall();
    past.pipeline(&["SET a 2", "WAIT 1 50"]);
    assert_eq!((past.next(), past.next()), (Some(ok()), Some(Value::Integer(0))));
    proxy.resume();

    cluster.move_slot(slot_of("a"), other);
    cluster.wait_healthy();
    assert_eq!(Client::new(cluster.proxy(other).addr()).ask("GET a"), Value::Bulk(b"2".into()));
    let replica = cluster.replicas_of(other)[0];
    cluster.promote(replica);
    cluster.wait_healthy();
    assert_eq!(Client::new(cluster.proxy(replica).addr()).ask("GET a"), Value::Bulk(b"2".into()));
}

#[test]
fn sentinels_see_a_stall_and_tell_of_the_proxies() {
    let sentinels = Sentinels::options().replicas(1).behind_proxies().start();
    let told = || -> Vec<_> {
        let command = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinels.name()];
        let told = |sentinel: &Server| sentinel.call(&command).list()[1].integer();
        sentinels.sentinels().iter().map(told).collect()
    };
    let old = sentinels.primary();
    assert_eq!(told(), [Some(i64::from(sentinels.proxy(old).port())); 3]);
    assert!(sentinels.proxy(old).counts().is_empty(), "{:?}", sentinels.proxy(old).counts());
    assert_eq!(Client::new(sentinels.proxy(old).addr()).ask("SET a 1"), ok());
    old.wait_for_replicas(1);

    sentinels.proxy(old).stall();
    let new = sentinels.wait_for_failover(old);
    sentinels.proxy(old).resume();
    sentinels.wait_healthy();
    assert_eq!(told(), [Some(i64::from(sentinels.proxy(new).port())); 3]);
    assert_eq!(Client::new(sentinels.proxy(new).addr()).ask("GET a"), Value::Bulk(b"1".into()));
}
