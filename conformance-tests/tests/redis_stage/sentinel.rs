//! Sentinels: failovers that they decide and that they are asked for.

use grantor_conformance::redis::{Options, Sentinels, Server, Tls};

#[test]
fn a_primary_that_is_killed_is_replaced_and_comes_back_as_a_replica() {
    let sentinels = Sentinels::start();
    let old = sentinels.primary();
    assert_eq!(old.port(), sentinels.servers()[0].port());
    assert_eq!(sentinels.replicas().len(), 2);
    let ports: Vec<_> =
        sentinels.sentinels().iter().map(|it| format!("127.0.0.1:{}", it.port())).collect();
    assert_eq!(sentinels.url(), format!("redis+sentinel://{}/mymaster", ports.join(",")));
    old.cli(&["SET", "a", "1"]);
    old.wait_for_replicas(2);

    old.kill_9();
    let new = sentinels.wait_for_failover(old);
    assert_ne!(new.port(), old.port());
    assert_eq!(new.cli(&["GET", "a"]), "1");
    assert_eq!(new.cli(&["SET", "a", "2"]), "OK");
    old.restart();
    sentinels.wait_healthy();
    assert_eq!(sentinels.primary().port(), new.port());
    assert_eq!(old.info("replication")["role"], "slave");
    assert_eq!(old.cli(&["GET", "a"]), "2");

    // And back, in agreement.
    let promoted = sentinels.promote();
    assert_ne!(promoted.port(), new.port());
    assert_eq!(promoted.cli(&["GET", "a"]), "2");
    sentinels.wait_healthy();
}

#[test]
fn a_frozen_primary_is_replaced_and_follows_when_it_is_thawed() {
    let sentinels = Sentinels::options()
        .replicas(1)
        .servers(Server::options().password("p w").tls(&Tls::generate()))
        .start();
    assert!(sentinels.url().starts_with("rediss+sentinel://:p%20w@127.0.0.1:"));
    assert!(sentinels.url().ends_with(&format!("/{}", sentinels.name())));
    let old = sentinels.primary();
    old.freeze();
    let new = sentinels.wait_for_failover(old);
    new.cli(&["SET", "a", "1"]);
    old.thaw();
    sentinels.wait_healthy();
    assert_eq!(old.cli(&["GET", "a"]), "1");
}

#[test]
fn options_are_of_the_servers() {
    let options: Options = Server::options().config("maxclients", "321");
    let sentinels = Sentinels::options().replicas(1).servers(options).start();
    for server in sentinels.servers() {
        assert_eq!(server.cli(&["CONFIG", "GET", "maxclients"]), "maxclients\n321");
    }
}
