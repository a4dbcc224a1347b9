//! A network that falls apart. Where the machine allows none, the reason is printed.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use grantor_conformance::redis::{Cluster, Network, Sentinels, Server, Site};

fn network() -> Option<Network> {
    Network::new()
        // Past the test harness, which keeps the output of what passes to itself.
        .map_err(|why| writeln!(std::io::stderr(), "not done: {why}").expect("said"))
        .ok()
}

/// Looks whether a process at `site` reaches those servers. Nobody misses a packet that is lost, so
/// where none is to arrive the look is short.
fn sees<const N: usize>(site: &Site, addrs: [SocketAddr; N], expected: [bool; N]) {
    for (addr, expected) in addrs.into_iter().zip(expected) {
        let (host, port) = (addr.ip().to_string(), addr.port().to_string());
        let mut command = site.command("timeout");
        command.args([if expected { "30" } else { "0.4" }, "redis-cli", "-h", &host, "-p", &port]);
        let output = command.arg("PING").stdin(Stdio::null()).output().expect("redis-cli");
        let reached = String::from_utf8_lossy(&output.stdout).trim() == "PONG";
        assert_eq!(reached, expected, "{addr} from {}", site.addr());
    }
}

#[test]
fn sites_are_cut_off_and_come_back() {
    let Some(network) = network() else { return };
    let servers: Vec<_> = (0..3).map(|_| Server::options().at(&network.site()).start()).collect();
    let [a, b, c] = &servers[..] else { panic!("three servers") };
    let all = [a, b, c].map(Server::addr);
    sees(network.host(), all, [true; 3]);
    sees(a.site(), all, [true; 3]);

    network.isolate(&[a.site(), b.site()]);
    sees(network.host(), all, [false, false, true]);
    sees(a.site(), all, [true, true, false]);
    sees(c.site(), all, [false, false, true]);
    // The test itself still has its say.
    a.cli(&["SET", "a", "1"]);

    network.isolate(&[b.site()]);
    sees(a.site(), all, [true, false, false]);
    network.heal();
    sees(network.host(), all, [true; 3]);
    sees(b.site(), all, [true; 3]);
}

#[test]
fn control_is_never_cut() {
    let Some(network) = network() else { return };
    let site = network.site();
    let server = Server::options().at(&site).config("bind", "0.0.0.0").start();
    network.isolate(&[&site]);
    let control = SocketAddr::new(site.control_addr(), server.port());
    sees(network.host(), [server.addr(), control], [false, true]);
}

/// Both at once, for either does nothing but wait.
#[test]
fn a_new_primary_is_elected_on_the_side_of_the_majority() {
    std::thread::scope(|scope| {
        scope.spawn(a_cluster_elects);
        scope.spawn(sentinels_elect);
    });
}

fn a_cluster_elects() {
    let Some(network) = network() else { return };
    let cluster = Cluster::options().in_network(&network).start();
    let old = cluster.primary_of("a");
    network.isolate(&[old.site()]);
    let new = cluster.wait_for_failover(old);
    // It notices that it is alone.
    wait_until(|| {
        old.call(&["SET", "a", "1"]).error().is_some_and(|it| it.starts_with("CLUSTERDOWN"))
    });
    new.cli(&["SET", "a", "2"]);
    network.heal();
    cluster.wait_healthy();
    assert_eq!(cluster.replicas_of(new)[0].port(), old.port());
}

fn sentinels_elect() {
    let Some(network) = network() else { return };
    let sentinels = Sentinels::options().in_network(&network).start();
    let old = sentinels.primary();
    // With one of the sentinels, which is no majority.
    network.isolate(&[old.site(), sentinels.sentinels()[0].site()]);
    old.cli(&["SET", "a", "lost"]);
    let new = sentinels.wait_for_failover(old);
    new.cli(&["SET", "a", "kept"]);
    assert_eq!(old.cli(&["GET", "a"]), "lost");
    network.heal();
    sentinels.wait_healthy();
    assert_eq!(old.cli(&["GET", "a"]), "kept");
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 30 seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}
