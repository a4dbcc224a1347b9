//! The stage on which stores on PostgreSQL are tested does what it says.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use grantor_conformance::postgres::{Cut, FaultProxy, Server, shared_server};

#[test]
fn what_was_committed_survives_a_crash_and_a_stop() {
    let server = Server::start();
    server.sql("CREATE TABLE promise (word text); INSERT INTO promise VALUES ('kept')");
    server.kill_9();
    assert!(!server.is_running());
    server.restart();
    assert_eq!(server.sql("SELECT word FROM promise"), "kept", "{}", server.log_tail());
    assert!(server.log_tail().contains("not properly shut down"), "{}", server.log_tail());
    server.stop();
    server.restart();
    assert_eq!(server.sql("SELECT word FROM promise"), "kept");
}

#[test]
fn a_frozen_server_goes_on_where_it_stood_and_can_be_killed() {
    let server = Server::start();
    server.freeze();
    assert!(server.is_running());
    server.thaw();
    assert_eq!(server.sql("SELECT 1"), "1");
    server.freeze();
    server.kill_9();
    server.restart();
    assert_eq!(server.sql("SELECT 1"), "1");
    // Dropped as it is.
    server.freeze();
}

#[test]
fn it_is_configured_as_it_is_told() {
    let server = Server::options().config("fsync", "off").start();
    assert_eq!(server.sql("SHOW fsync"), "off");
    assert_eq!(shared_server().sql("SHOW fsync"), "on");
}

#[test]
fn each_schema_is_new_and_its_user_is_no_superuser() {
    let (one, other) = (shared_server().schema(), shared_server().schema());
    assert_ne!(one.name(), other.name());
    assert!(one.url().ends_with(one.name()), "{}", one.url());
    assert_eq!(shared_server().sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'grantor'"), "f");
}

/// The first message of a client that asks for TLS, and the one byte with which the server declines.
const ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

fn ask(proxy: &FaultProxy) -> Vec<u8> {
    let authority = proxy.url().split(['@', '/']).nth(3).expect("scheme://user@authority/path");
    let mut stream = TcpStream::connect(authority).expect("the proxy listens");
    let _ = stream.write_all(&ASKS_FOR_TLS);
    let mut answer = [0];
    let length = stream.read(&mut answer).unwrap_or(0);
    answer.iter().copied().take(length).collect()
}

#[test]
fn the_wire_breaks_once_and_where_it_is_told() {
    let proxy = FaultProxy::to(shared_server());
    assert_eq!(ask(&proxy), b"N");
    proxy.cut(Cut::Request(7));
    assert_eq!(ask(&proxy), b"", "a byte of the request is missing");
    assert!(!proxy.mend(), "it broke");
    proxy.cut(Cut::Reply(0));
    assert_eq!(ask(&proxy), b"");
    proxy.cut(Cut::Reply(1));
    assert_eq!(ask(&proxy), b"N", "the first byte goes through");
    assert!(proxy.mend(), "it has not come to the second");
    assert_eq!(ask(&proxy), b"N");
}
