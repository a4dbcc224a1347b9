//! A Cluster: failovers, slots that move, and nodes that are started again.

use std::time::Duration;

use grantor_conformance::redis::{Cluster, Fsync, Server, Tls, Value, slot_of};

fn key(n: usize) -> String {
    format!("key {n}")
}

fn fill(cluster: &Cluster, keys: usize) {
    for n in 0..keys {
        cluster.primary_of(key(n)).cli(&["SET", &key(n), &n.to_string()]);
    }
}

fn check(cluster: &Cluster, keys: usize) {
    for n in 0..keys {
        assert_eq!(cluster.primary_of(key(n)).cli(&["GET", &key(n)]), n.to_string());
    }
}

#[test]
fn failovers_that_happen_and_that_are_asked_for() {
    let cluster = Cluster::start();
    assert_eq!(cluster.nodes().len(), 6);
    assert_eq!(cluster.primaries().len(), 3);
    assert_eq!(cluster.url().split(',').count(), 6);
    for key in
        ["", "a", "123456789", "{a}b", "x{a}b", "{}a", "{a", "a}{b}{c}", "{{a}}", "\u{1f980}"]
    {
        let said = cluster.nodes()[0].call(&["CLUSTER", "KEYSLOT", key]);
        assert_eq!(said, Value::Integer(slot_of(key).into()), "{key}");
    }
    fill(&cluster, 20);

    // A crash.
    let old = cluster.primary_of(key(0));
    let replica = cluster.replicas_of(old)[0];
    old.wait_for_replicas(1);
    old.kill_9();
    let new = cluster.wait_for_failover(old);
    assert_eq!(new.port(), replica.port());
    assert_eq!(cluster.primary_of(key(0)).port(), new.port());
    old.restart();
    cluster.wait_healthy();
    assert_eq!(cluster.replicas_of(new)[0].port(), old.port());
    check(&cluster, 20);

    // In agreement, and back by force.
    cluster.promote(old);
    assert_eq!(cluster.primary_of(key(0)).port(), old.port());
    cluster.wait_healthy();
    check(&cluster, 20);
    cluster.take_over(new);
    assert_eq!(cluster.primary_of(key(0)).port(), new.port());
    cluster.wait_healthy();
    check(&cluster, 20);

    // Frozen, and back as a replica. Another one, since for four seconds nobody votes twice about one.
    let frozen = (1..).map(|n| cluster.primary_of(key(n))).find(|it| it.port() != new.port());
    let frozen = frozen.expect("another primary");
    frozen.wait_for_replicas(1);
    frozen.freeze();
    let heir = cluster.wait_for_failover(frozen);
    frozen.thaw();
    cluster.wait_healthy();
    assert_eq!(cluster.replicas_of(heir)[0].port(), frozen.port());
    check(&cluster, 20);
}

#[test]
fn slots_move_with_their_keys() {
    let cluster = Cluster::start();
    fill(&cluster, 50);
    let [first, second, ..] = cluster.primaries()[..] else { panic!("no two primaries") };
    let before = cluster.slots_of(first);
    assert_eq!(before, [(0, 5460)]);
    cluster.move_slots(first, second, 200);
    cluster.wait_healthy();
    assert_eq!(cluster.slots_of(first), [(200, 5460)]);
    assert_eq!(cluster.slots_of(second), [(0, 199), (5461, 10921)]);
    check(&cluster, 50);

    // Step by step, with all of a slot's keys: half of them here and half of them there.
    let slot = slot_of("{tag}");
    let from = cluster.primary_of("{tag}");
    let to = cluster.primaries().into_iter().find(|it| it.port() != from.port()).expect("another");
    for n in 0..10 {
        from.cli(&["SET", &format!("{{tag}}{n}"), "1"]);
    }
    let step = cluster.begin_move(slot, to);
    assert_eq!((step.from().port(), step.to().port()), (from.port(), to.port()));
    assert_eq!(step.migrate(4), 4);
    assert_eq!(step.remaining(), 6);
    let answers: Vec<_> = (0..10).map(|n| from.call(&["GET", &format!("{{tag}}{n}")])).collect();
    let ask = format!("ASK {slot} 127.0.0.1:{}", to.port());
    assert_eq!(answers.iter().filter(|it| it.error() == Some(&ask)).count(), 4);
    assert_eq!(answers.iter().filter(|it| it.text().as_deref() == Some("1")).count(), 6);
    step.finish();
    cluster.wait_healthy();
    assert_eq!(cluster.primary_of("{tag}").port(), to.port());
    let moved = from.call(&["GET", "{tag}0"]);
    assert_eq!(moved.error(), Some(&*format!("MOVED {slot} 127.0.0.1:{}", to.port())));
    for n in 0..10 {
        assert_eq!(to.cli(&["GET", &format!("{{tag}}{n}")]), "1");
    }
}

#[test]
fn a_rolling_restart_loses_nothing_even_without_persistence() {
    let cluster = Cluster::options().primaries(1).node_timeout(Duration::from_secs(4)).start();
    assert_eq!(cluster.nodes().len(), 2);
    fill(&cluster, 20);
    let pids: Vec<_> = cluster.nodes().iter().map(Server::pid).collect();
    cluster.rolling_restart();
    let after: Vec<_> = cluster.nodes().iter().map(Server::pid).collect();
    assert!(pids.iter().zip(&after).all(|(before, after)| before != after));
    check(&cluster, 20);
}

#[test]
fn with_tls_and_persistence_and_no_replicas() {
    let options = Server::options().tls(&Tls::generate()).append_only(Fsync::Always).password("p");
    let cluster = Cluster::options().replicas(0).servers(options).start();
    assert!(cluster.url().starts_with("rediss://:p@127.0.0.1:"));
    fill(&cluster, 10);
    let [first, second, ..] = cluster.primaries()[..] else { panic!("no two primaries") };
    let from = cluster.primary_of(key(0)).port();
    let to = if from == first.port() { second } else { first };
    cluster.move_slot(slot_of(key(0)), to);
    assert_eq!(cluster.primary_of(key(0)).port(), to.port());
    cluster.move_slots(second, first, 10);
    for node in cluster.nodes() {
        node.kill_9();
        node.restart();
    }
    cluster.wait_healthy();
    check(&cluster, 10);
}
