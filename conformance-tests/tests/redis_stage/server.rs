//! One process: its life and death, and its options.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use grantor_conformance::redis::{
    Fsync, Network, Server, Tls, Value, shared_server, unique_prefix,
};

/// Sends an inline command as a client would and gives back what came until the server hung up.
fn talk(server: &Server, lines: &str) -> String {
    let mut stream = TcpStream::connect(server.addr()).expect("a connection");
    stream.write_all(lines.as_bytes()).expect("sent");
    stream.write_all(b"QUIT\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

/// Whether the process is there: a number is not given again so soon.
fn lives(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within 30 seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn it_answers_at_its_address() {
    let server = Server::start();
    assert_eq!(talk(&server, "PING\r\n"), "+PONG\r\n+OK\r\n");
    assert_eq!(server.url(), format!("redis://127.0.0.1:{}", server.port()));
    assert!(server.version()[0] >= 6);
    assert_eq!(server.info("replication")["role"], "master");
    assert_eq!(server.call(&["GET", "nothing"]), Value::Nil);
    assert!(server.call(&["GET"]).error().is_some_and(|error| error.starts_with("ERR wrong")));
    server.cli(&["CONFIG", "RESETSTAT"]);
    talk(&server, "SET a 1\r\nGET a\r\nGET b\r\n");
    let counts = server.command_counts();
    assert_eq!((counts["set"], counts["get"]), (1, 2));
}

#[test]
fn what_was_appended_survives_a_kill() {
    let server = Server::options().append_only(Fsync::Always).start();
    let port = server.port();
    for round in 0..3 {
        let round = round.to_string();
        server.cli(&["SET", &round, "kept"]);
        server.kill_9();
        assert!(!server.is_running());
        assert!(server.try_call(&["PING"]).is_err());
        assert!(TcpStream::connect(server.addr()).is_err());
        server.restart();
        assert_eq!(server.cli(&["GET", &round]), "kept");
    }
    // In order, too, and a running one.
    server.restart();
    assert_eq!(server.cli(&["DBSIZE"]), "3");
    assert_eq!(server.port(), port);
    assert_eq!(server.info("persistence")["aof_enabled"], "1");
    server.stop();
    assert!(!server.is_running());
}

#[test]
fn what_was_not_appended_does_not() {
    let server = Server::start();
    server.cli(&["SET", "a", "1"]);
    server.kill_9();
    server.restart();
    assert_eq!(server.call(&["GET", "a"]), Value::Nil);
}

#[test]
fn a_frozen_one_accepts_and_says_nothing_until_it_is_thawed() {
    let server = Server::start();
    let pid = server.pid().expect("a process");
    for _ in 0..3 {
        server.freeze();
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("there");
        assert!(state.contains(") T "), "{state}");
        let mut stream = TcpStream::connect(server.addr()).expect("accepted by the kernel");
        stream.write_all(b"PING\r\n").expect("sent");
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        assert!(stream.read(&mut [0; 1]).is_err(), "a frozen server has answered");
        server.thaw();
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).expect("answered");
        assert_eq!(&answer, b"+PONG\r\n");
    }
    server.freeze();
    server.stop();
    assert!(!lives(pid));
}

#[test]
fn a_dropped_one_is_gone_with_all_its_files() {
    for frozen in [false, true] {
        let server = Server::start();
        let (pid, directory) = (server.pid().expect("a process"), server.directory().to_owned());
        assert!(lives(pid) && directory.is_dir());
        if frozen {
            server.freeze();
        }
        drop(server);
        assert!(!lives(pid));
        assert!(!directory.exists());
    }
}

#[test]
fn memory_ends_where_it_is_told() {
    let server = Server::options().max_memory(3_000_000, "noeviction").start();
    let big = "x".repeat(100_000);
    let refused = (0..100)
        .find_map(|n| server.call(&["SET", &n.to_string(), &big]).error().map(str::to_owned))
        .expect("10 MB are more than 3");
    assert!(refused.starts_with("OOM"), "{refused}");

    let server = Server::options().max_memory(3_000_000, "allkeys-lru").start();
    for n in 0..100 {
        server.cli(&["SET", &n.to_string(), &big]);
    }
    assert_ne!(server.info("stats")["evicted_keys"], "0");
}

#[test]
fn passwords_and_users() {
    let server = Server::options()
        .password("two words \"\\ü")
        .acl_user("app on >secret ~app:* +get +set")
        .start();
    let port = server.port();
    assert_eq!(server.url(), format!("redis://:two%20words%20%22%5C%C3%BC@127.0.0.1:{port}"));
    assert_eq!(server.url_as("app", "a/b"), format!("redis://app:a%2Fb@127.0.0.1:{port}"));
    assert!(talk(&server, "GET a\r\n").starts_with("-NOAUTH"));
    let answer = talk(&server, "AUTH \"two words \\\"\\\\\\xc3\\xbc\"\r\nGET a\r\n");
    assert!(answer.starts_with("+OK\r\n$-1\r\n"), "{answer}");
    let answer = talk(&server, "AUTH app secret\r\nSET app:a 1\r\nSET b 1\r\n");
    assert!(answer.starts_with("+OK\r\n+OK\r\n-NOPERM"), "{answer}");
    // Whatever becomes of the users, the stage can still ask.
    server.cli(&["ACL", "SETUSER", "default", "off"]);
    assert_eq!(server.cli(&["GET", "app:a"]), "1");
}

#[test]
fn replicas_follow_and_writes_wait_for_them() {
    let primary = Server::options().password("p").min_replicas_to_write(1, 2).start();
    let refused = primary.call(&["SET", "a", "1"]);
    assert!(refused.error().is_some_and(|error| error.starts_with("NOREPLICAS")), "{refused}");
    let replica = Server::options().replica_of(&primary).start();
    primary.wait_for_replicas(1);
    until("writes are allowed", || primary.call(&["SET", "a", "1"]).error().is_none());
    primary.wait_for_replicas(1);
    assert_eq!(replica.cli(&["GET", "a"]), "1");
    assert_eq!(replica.info("replication")["role"], "slave");
}

#[test]
fn tls_and_nothing_else() {
    let tls = Tls::generate().mutual();
    let server = Server::options().tls(&tls).start();
    assert_eq!(server.url(), format!("rediss://127.0.0.1:{}", server.port()));
    assert_eq!(server.cli(&["PING"]), "PONG");
    let written = |name: &str, pem: &str| {
        let path = server.directory().join(name);
        std::fs::write(&path, pem).expect("written");
        path
    };
    let (certificate, key) =
        (written("c.pem", &tls.client_certificate), written("c-key.pem", &tls.client_key));
    // A client that we did not write.
    let ping = |with_certificate: bool| {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &server.port().to_string(), "--tls", "--cacert"]);
        command.arg(server.directory().join("ca.pem"));
        if with_certificate {
            command.arg("--cert").arg(&certificate).arg("--key").arg(&key);
        }
        let output = command.arg("PING").output().expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(ping(true), "PONG");
    assert_ne!(ping(false), "PONG");
    let replica = Server::options().tls(&tls).replica_of(&server).start();
    server.wait_for_replicas(1);
    drop(replica);
}

#[test]
fn many_at_once_have_ports_of_their_own() {
    let servers: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(Server::start)).collect();
        starts.into_iter().map(|start| start.join().expect("started")).collect()
    });
    for (n, server) in servers.iter().enumerate() {
        server.cli(&["SET", "me", &n.to_string()]);
    }
    for (n, server) in servers.iter().enumerate() {
        assert!(talk(server, "GET me\r\n").contains(&format!("\r\n{n}\r\n")));
    }
}

#[test]
fn a_chosen_port() {
    // Another test may get the port in the moment in which nobody has it.
    let again = |port: u16| std::panic::catch_unwind(|| Server::options().port(port).start()).ok();
    let chosen = |_| {
        let port = Server::start().port();
        Some((port, again(port)?))
    };
    let (port, server) = (0..5).find_map(chosen).expect("a server on the port that it is told");
    assert_eq!(server.port(), port);
    let taken = std::panic::catch_unwind(|| Server::options().port(port).start().port());
    assert!(taken.is_err(), "two servers on one port");
}

#[test]
fn one_that_does_not_start_says_why() {
    let failure = std::panic::catch_unwind(|| {
        let _ = Server::options().config("no-such-directive", "yes").start();
    })
    .expect_err("a server with nonsense in its configuration has started");
    let message = failure.downcast_ref::<String>().expect("a message");
    assert!(message.contains("no-such-directive"), "{message}");
}

#[test]
fn the_shared_one_is_one() {
    let ports: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| shared_server().port())).collect();
        asked.into_iter().map(|port| port.join().expect("asked")).collect()
    });
    assert!(ports.iter().all(|port| *port == ports[0]));
    assert_ne!(unique_prefix(), unique_prefix());
    let key = unique_prefix() + "key";
    shared_server().cli(&["SET", &key, "1"]);
    assert_eq!(shared_server().cli(&["GET", &key]), "1");
}

const STARTER: &str = "GRANTOR_STAGE_STARTER";

/// Not a test but the process that the next one kills: it starts servers and tells about them.
#[test]
fn starter() {
    if std::env::var_os(STARTER).is_none() {
        return;
    }
    let frozen = Server::start();
    frozen.freeze();
    for server in [shared_server(), &frozen] {
        println!("\nserver {} {}", server.pid().expect("a process"), server.directory().display());
    }
    // Where the machine allows it.
    let network = Network::new().map(|network| {
        let site = network.site();
        let name = site.command("ip").args(["netns", "identify"]).output().expect("ip");
        println!("\nnamespace {}", String::from_utf8_lossy(&name.stdout).trim());
        (network, site)
    });
    println!("\nall");
    loop {
        std::thread::park();
        // Nobody wakes it: both live until the end.
        let _ = (&frozen, &network);
    }
}

#[test]
fn nothing_survives_a_test_process_that_is_killed() {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "server::starter", "--nocapture"])
        .env(STARTER, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started again");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let mut servers: Vec<(u32, PathBuf)> = Vec::new();
    let mut namespace = None;
    for line in output.lines() {
        let line = line.expect("text");
        if line == "all" {
            break;
        }
        if let Some(name) = line.strip_prefix("namespace ") {
            namespace = Some(Path::new("/run/netns").join(name));
        }
        if let Some((pid, directory)) =
            line.strip_prefix("server ").and_then(|told| told.split_once(' '))
        {
            servers.push((pid.parse().expect("a number"), directory.into()));
        }
    }
    assert_eq!(servers.len(), 2);
    assert!(servers.iter().all(|(pid, directory)| lives(*pid) && directory.is_dir()));
    assert!(namespace.iter().all(|namespace| namespace.exists()));
    child.kill().expect("killed");
    child.wait().expect("ended");
    until("the servers are gone", || servers.iter().all(|(pid, _)| !lives(*pid)));
    let root: &Path = servers[0].1.parent().expect("a directory of the process");
    until("the directories are gone", || !root.exists());
    assert!(!namespace.is_some_and(|namespace| namespace.exists()));
}
