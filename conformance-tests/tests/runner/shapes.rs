//! Servers of other shapes: with TLS, with a path, with clients that register themselves, without metadata.

use grantor_conformance::runner::config::Endpoint;
use grantor_conformance::runner::ours::conforms;
use grantor_conformance::runner::{Options, Report, Verdict};
use http::header;
use serde_json::json;

use crate::front::{Front, Shape};
use crate::spoil::{Answered, Spoil, get};

fn verdicts(report: &Report, ids: &[&str]) -> Vec<Verdict> {
    let of = |id: &&str| report.results.iter().find(|result| result.requirement.id == *id);
    ids.iter().map(|id| of(id).expect("a result").verdict).collect()
}

#[tokio::test]
async fn with_tls() {
    let front = Front::shaped(Shape { tls: true, ..Shape::default() }).await;
    let options = Options { strict: true, ..front.options() };
    let report = front.run(&options).await.expect("a report");
    conforms(&report);
    let of_tls = [
        "6749-013", "6749-031", "6749-078", "7009-002", "7662-001", "8414-001", "OA21-001",
        "HTTP-001",
    ];
    assert_eq!(verdicts(&report, &of_tls), [Verdict::Pass; 8]);

    let mut bare = Spoil::new(
        |_, _| None,
        |_, _, answered| drop(answered.headers.remove(header::STRICT_TRANSPORT_SECURITY)),
    );
    bare.in_clear = true;
    front.spoil(bare);
    let spoilt = front.check(&of_tls[..3]).await.expect("a report");
    assert_eq!(verdicts(&spoilt, &of_tls[..3]), [Verdict::Fail; 3]);

    let untrusted = Options { authority: None, ..front.options() };
    let error = front.run(&untrusted).await.expect_err("nobody knows its authority").to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn with_a_path() {
    for path in ["/t1", "/t1/"] {
        let front = Front::shaped(Shape { path, ..Shape::default() }).await;
        let report = front.run(&Options { strict: true, ..front.options() }).await;
        let report = report.expect("a report");
        conforms(&report);
        let slash = if path.ends_with('/') { Verdict::Pass } else { Verdict::NotApplicable };
        assert_eq!(verdicts(&report, &["8414-008", "8414-009"]), [Verdict::Pass, slash]);
        assert!(report.metadata.iter().all(|url| url.ends_with("/oauth-authorization-server/t1")));
    }
}

#[tokio::test]
async fn with_clients_that_register_themselves() {
    let front = Front::shaped(Shape { registers: true, ..Shape::default() }).await;
    let report = front.run(&front.options()).await.expect("a report");
    conforms(&report);
    assert_eq!(report.clients.len(), 7);
    let registration = report.results.iter().filter(|result| result.subject == "Registration");
    assert!(registration.clone().count() >= 15);
    assert!(registration.clone().all(|result| result.verdict == Verdict::Pass));
    // Afterwards the clients of the run are gone.
    let clients: Vec<_> = report.clients.values().cloned().collect();
    let mut options = front.options();
    options.config.registration.off = true;
    for id in clients {
        options.config.clients.insert(
            grantor_conformance::runner::config::Role::Public,
            grantor_conformance::runner::config::Client {
                id,
                secret: None,
                auth: None,
                redirect_uris: vec!["https://grantor-conformance.example/callback".to_owned()],
                scope: None,
                name: None,
            },
        );
        let error = front.run(&options).await.expect_err("removed").to_string();
        assert!(error.contains("a page with status 400"), "{error}");
    }
}

#[tokio::test]
async fn without_metadata() {
    let front = Front::start().await;
    front.spoil(Spoil::new(
        |_, asked| {
            let gone = Answered { status: 404, headers: Default::default(), body: vec![] };
            asked.path().starts_with("/.well-known/").then_some(gone)
        },
        |_, _, _| {},
    ));
    let mut options = front.options();
    let error = front.run(&options).await.expect_err("nothing to go by").to_string();
    assert!(error.contains("--token-endpoint") && error.contains("404"), "{error}");
    let issuer = options.config.issuer.clone().expect("an issuer");
    for (endpoint, path) in [
        (Endpoint::Authorization, "authorize"),
        (Endpoint::Token, "token"),
        (Endpoint::Revocation, "revoke"),
        (Endpoint::Introspection, "introspect"),
    ] {
        options.config.endpoints.insert(endpoint, format!("{issuer}/{path}"));
    }
    let report = front.run(&options).await.expect("a report");
    assert_eq!(
        verdicts(&report, &["9700-014", "8414-010"]),
        [Verdict::Fail, Verdict::NotApplicable]
    );
    let binding: Vec<_> = report.fatal().map(|result| result.requirement.id).collect();
    assert!(binding.is_empty(), "{binding:?}");
    assert!(report.count(Verdict::Pass) >= 150, "{}", report.count(Verdict::Pass));
}

#[tokio::test]
async fn with_a_query_in_the_address_of_the_endpoint() {
    let front = Front::start().await;
    front.spoil(Spoil::new(
        |_, asked| {
            let lost = asked.path() == "/authorize" && get(&asked.query(), "tenant") != Some("x y");
            let gone = Answered { status: 404, headers: Default::default(), body: vec![] };
            lost.then_some(gone)
        },
        |_, asked, answered| {
            if asked.path().starts_with("/.well-known/oauth") {
                let issuer = answered.member("issuer").unwrap_or_default();
                let at = json!(format!("{issuer}/authorize?tenant=x%20y"));
                answered.edit(|members| drop(members.insert("authorization_endpoint".into(), at)));
            }
        },
    ));
    let report = front.check(&["6749-01", "6749-04", "7636"]).await.expect("a report");
    assert_eq!(verdicts(&report, &["6749-011"]), [Verdict::Pass]);
    assert!(!report.has_failed(), "{:?}", report.fatal().next());
}
