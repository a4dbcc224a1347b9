//! Starting, running, stopping.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{PASSWORD, PATIENCE, Server, VERIFIER, World, text};

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("there").permissions().mode() & 0o777
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).expect("listening");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

#[test]
fn a_server_says_what_it_keeps_and_answers_its_probes() {
    let world = World::new();
    let server = world.serve();
    let mut browser = server.browser();
    let health = browser.get("/healthz");
    assert_eq!((health.status, &*health.body), (200, "ok\n"));
    let ready = browser.get("/readyz");
    assert_eq!((ready.status, &*ready.body), (200, "ready\n"));
    assert_eq!(browser.post("/readyz", &[]).status, 405);
    let metadata = browser.get("/.well-known/oauth-authorization-server").json();
    assert_eq!(metadata["issuer"], "http://127.0.0.1:8400");
    assert_eq!(browser.get("/nothing?secret=1").status, 404);

    let log = server.stop();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |message: &str| {
        let found = lines.iter().find(|line| line["message"] == message);
        found.unwrap_or_else(|| panic!("no {message} in {log}")).clone()
    };
    let listening = of("listening");
    assert_eq!(listening["durability"], "Power");
    assert_eq!(listening["linearizable"], true);
    assert_eq!(listening["issuer"], "http://127.0.0.1:8400");
    let mut requests = lines.iter().filter(|line| line["message"] == "request");
    let last = requests.next_back().expect("logged");
    assert_eq!(last["path"], "/nothing", "without the query");
    assert_eq!((&last["method"], &last["status"]), (&"GET".into(), &404.into()));
    assert!(last["micros"].is_u64());
    of("stopped");
}

#[test]
fn the_data_is_its_owners_and_nobody_elses() {
    let world = World::new();
    let server = world.serve();
    let socket = world.data().join("admin.sock");
    assert_eq!(mode(&world.data()), 0o700);
    assert_eq!(mode(&socket), 0o600);
    assert!(std::fs::symlink_metadata(&socket).expect("there").file_type().is_socket());
    server.stop();
    assert!(!socket.exists(), "the socket goes with the server");
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let world = World::new();
    let server = world.serve();
    let failed = world.run(&["serve"]).failed();
    assert!(failed.contains("is in use by another process"), "{failed}");
    world.run(&["client", "list"]).ok();
    // Who has the directory but not the socket is told what to do.
    let elsewhere = world.root().join("elsewhere.sock");
    let elsewhere = elsewhere.to_str().expect("text");
    let failed = world.run(&["client", "list", "--admin-socket", elsewhere]).failed();
    assert!(failed.contains("does not answer on"), "{failed}");
    server.stop();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let (world, other) = (World::new(), World::new());
    let server = world.serve();
    let address = server.address.to_string();
    let failed = other.run(&["serve", "--listen", &address]).failed();
    assert!(failed.contains(&format!("cannot listen on {address}: ")), "{failed}");
    assert!(!other.data().join("admin.sock").exists());
}

#[test]
fn a_killed_server_leaves_nothing_that_is_in_the_way() {
    let world = World::new();
    let server = world.serve();
    world.add_user("alice");
    server.signal(Signal::KILL);
    server.wait();
    assert!(world.data().join("admin.sock").exists());
    let users = world.run(&["user", "list", "--json"]).json();
    assert_eq!(users[0]["username"], "alice");
    let server = world.serve();
    let users = world.run(&["user", "list", "--json"]).json();
    assert_eq!(users[0]["username"], "alice");
    server.stop();
}

#[test]
fn a_name_that_fits_no_socket_and_a_file_in_its_place_are_explained() {
    let world = World::new();
    let long = world.root().join("x".repeat(200));
    let failed = world.run(&["serve", "--admin-socket", long.to_str().expect("text")]);
    let failed = failed.failed();
    assert!(failed.contains("choose a shorter --admin-socket"), "{failed}");
    let config = world.config();
    let failed = world.run(&["serve", "--admin-socket", config.to_str().expect("text")]);
    let failed = failed.failed();
    assert!(failed.contains("is not a socket"), "{failed}");
    assert!(config.exists(), "and it is still there");
}

#[test]
fn nonsense_on_the_socket_is_answered_and_forgotten() {
    let world = World::new();
    let server = world.serve();
    let ask = |line: &[u8]| {
        let path = world.data().join("admin.sock");
        let mut stream = std::os::unix::net::UnixStream::connect(path).expect("listening");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        // What is too long is cut off while it is being written.
        let _ = stream.write_all(line);
        let mut reply = String::new();
        let _ = BufReader::new(stream).read_line(&mut reply);
        reply
    };
    assert!(ask(b"{}\n").contains("failed"));
    assert!(ask(b"\"user_list\"\n").contains("users"));
    let guess = ask(b"{\"user_add\":{\"username\":\"a\",\"password\":\"hunter22\"\n");
    assert!(guess.contains("failed") && !guess.contains("hunter22"), "{guess}");
    ask(&vec![b'x'; 1024 * 1024]);
    world.run(&["user", "list"]).ok();
    let log = server.stop();
    assert!(!log.contains("hunter22"), "{log}");
}

#[test]
fn a_request_under_way_is_answered_before_the_server_stops() {
    let world = World::new();
    let server = world.serve();
    let _idle = connect(&server);
    let mut kept_alive = connect(&server);
    kept_alive.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut kept_alive = BufReader::new(kept_alive);
    let mut line = String::new();
    kept_alive.read_line(&mut line).expect("answered");
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");

    let body = "grant_type=nonsense&client_id=nobody";
    let mut under_way = connect(&server);
    write!(
        under_way,
        "POST /token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .expect("sent");
    let mut answer = BufReader::new(under_way.try_clone().expect("cloned"));
    line.clear();
    answer.read_line(&mut line).expect("answered");
    assert!(line.starts_with("HTTP/1.1 100"), "the server waits for the body: {line}");

    server.signal(Signal::TERM);
    // The end of the idle connection says that the shutdown has begun.
    let mut rest = Vec::new();
    kept_alive.read_to_end(&mut rest).expect("closed");
    under_way.write_all(body.as_bytes()).expect("sent");
    let mut text = String::new();
    answer.read_to_string(&mut text).expect("answered, then closed");
    assert!(text.contains("HTTP/1.1 400"), "{text}");
    let (status, log) = server.wait();
    assert!(status.success(), "{status} {log}");
}

#[test]
fn a_second_signal_does_not_wait() {
    let world = World::new();
    let server = world.serve();
    let mut under_way = connect(&server);
    under_way
        .write_all(
            b"POST /token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        )
        .expect("sent");
    let mut kept_alive = connect(&server);
    kept_alive.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let (mut line, mut rest) = (String::new(), Vec::new());
    BufReader::new(&under_way).read_line(&mut line).expect("answered");
    server.signal(Signal::INT);
    kept_alive.read_to_end(&mut rest).expect("the shutdown has begun");
    server.signal(Signal::INT);
    let (status, log) = server.wait();
    assert!(status.success() && log.contains("stopped without waiting"), "{log}");
}

#[test]
fn no_secret_reaches_the_log_however_much_is_logged() {
    let world = World::new();
    let mut command = world.command(&["serve"]);
    command.env("RUST_LOG", "trace");
    let server = Server::start(command);
    world.add_user("alice");
    let client = world.add_client(&[]);
    let renewed = ["client", "rotate-secret", text(&client, "client_id"), "--json"];
    let renewed = world.run(&renewed).json();
    let mut browser = server.browser();
    let page = browser.authorize(text(&client, "client_id"));
    browser.sign_in(&page, "alice", "a wrong password");
    let mut browser = server.browser();
    let tokens = browser.tokens(&client, "alice");
    assert!(browser.is_active(&client, text(&tokens, "access_token")));
    let refreshed = browser.refresh(&client, text(&tokens, "refresh_token")).json();
    browser.post("/token", &[("client_secret", "grk_wrong-and-secret")]);
    browser.get("/apps?access_token=in-the-query");
    let set = ["user", "set-password", "alice", "--password-stdin"];
    world.run_with(&set, "another password").ok();

    let mut secrets = vec![
        PASSWORD,
        "a wrong password",
        "another password",
        "grk_wrong-and-secret",
        "in-the-query",
        VERIFIER,
        text(&client, "client_secret"),
        text(&renewed, "client_secret"),
        text(&tokens, "code"),
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
        text(&refreshed, "access_token"),
        text(&refreshed, "refresh_token"),
        "argon2id",
    ];
    assert!(browser.cookies.len() >= 2);
    secrets.extend(browser.cookies.values().map(String::as_str));
    let log = server.stop();
    assert!(log.contains("\"event\":\"code_redeemed\""), "{log}");
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}
