//! Connections that nobody else can read, or pretend to be at the other end of.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use grantor::storage::Storage as _;
use grantor_conformance::redis::{Cluster, Fsync, Sentinels, Server, Tls};
use grantor_redis::{OpenError, RedisConfig, RedisStorage};
use tempfile::TempDir;

struct Files(TempDir);

impl Files {
    fn of(tls: &Tls) -> Self {
        let files = Self(TempDir::new().expect("a temporary directory"));
        for (name, content) in [
            ("ca.pem", &tls.ca),
            ("cert.pem", &tls.client_certificate),
            ("key.pem", &tls.client_key),
        ] {
            std::fs::write(files.path(name), content).expect("written");
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::join(self.0.path(), name)
    }

    fn options(&self, with_client: bool) -> String {
        let ca = format!("?tls_ca={}", self.path("ca.pem").display());
        match with_client {
            false => ca,
            true => format!(
                "{ca}&tls_cert={}&tls_key={}",
                self.path("cert.pem").display(),
                self.path("key.pem").display()
            ),
        }
    }
}

async fn serves(url: &str) {
    // No call is to be given up only because this machine is busy.
    let unhurried = format!("{url}&deadline_ms=30000");
    let storage = RedisStorage::open(&unhurried).await.expect("it is fit");
    storage.ready().await.expect("ready");
    assert!(storage.report().to_string().contains("version"));
}

async fn is_away(url: &str) -> String {
    let config = RedisConfig::new(url).expect("an address");
    match config.open_deadline(Duration::from_millis(300)).open().await {
        Err(OpenError::Away { why, .. }) => why,
        other => format!("not away: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_known_by_its_certificate() {
    // ATTACKS K02: a password goes to nobody but the server.
    let tls = Tls::generate();
    let server = Server::options().tls(&tls).password("geheim").start();
    let files = Files::of(&tls);
    assert!(server.url().starts_with("rediss://"));
    serves(&format!("{}{}", server.url(), files.options(false))).await;
    // Another authority, none but those of this machine, and no TLS at all.
    let other = Files::of(&Tls::generate());
    for url in [
        format!("{}{}", server.url(), other.options(false)),
        server.url(),
        server.url().replace("rediss", "redis"),
    ] {
        let why = is_away(&url).await;
        assert!(!why.starts_with("not away") && !why.contains("geheim"), "{why}");
    }
    let counts = server.info("clients");
    assert!(counts.contains_key("connected_clients"), "it is well");
    let missing = format!("{}?tls_ca={}", server.url(), files.path("nothing.pem").display());
    let refused = RedisStorage::open(&missing).await.expect_err("there is no such file");
    assert!(matches!(refused, OpenError::TlsFile { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_need_a_certificate_too() {
    let tls = Tls::generate().mutual();
    let server = Server::options().tls(&tls).start();
    let files = Files::of(&tls);
    serves(&format!("{}{}", server.url(), files.options(true))).await;
    let why = is_away(&format!("{}{}", server.url(), files.options(false))).await;
    assert!(!why.starts_with("not away"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_clusters_are_reached_in_the_same_way() {
    let tls = Tls::generate();
    let files = Files::of(&tls);
    let servers = Server::options().append_only(Fsync::EverySecond).tls(&tls);
    let unhurried = Duration::from_secs(30);
    let sentinels =
        Sentinels::options().replicas(1).servers(servers.clone()).down_after(unhurried).start();
    assert!(sentinels.url().starts_with("rediss+sentinel://"), "{}", sentinels.url());
    serves(&format!("{}{}", sentinels.url(), files.options(false))).await;
    drop(sentinels);
    let cluster = Cluster::options().servers(servers).node_timeout(unhurried).start();
    let url = cluster.url();
    assert!(url.starts_with("rediss"), "{url}");
    serves(&format!("{url}{}", files.options(false))).await;
}
