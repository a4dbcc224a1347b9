//! Good servers: ours in process with a protected resource, and the binary as operators run it.

use grantor_conformance::runner::{Options, Report, Verdict, Weight, run};

use crate::binary::Served;
use crate::front::{Front, Quiet};

/// What a server of ours does not do, each with the reason: SHOULD, never MUST.
const KNOWN: [(&str, &str); 4] = [
    ("9700-009", "sender-constrained tokens need DPoP or mutual TLS, which there are not yet"),
    ("9700-013", "private_key_jwt and mutual TLS are not there yet"),
    ("6750-014", "audiences need resource indicators, which are not there yet"),
    ("9700-030", "audiences need resource indicators, which are not there yet"),
];

#[track_caller]
pub(crate) fn passes(report: &Report) {
    for result in &report.results {
        let known = KNOWN.iter().any(|(id, _)| *id == result.requirement.id);
        let fine = match result.verdict {
            Verdict::Pass | Verdict::NotApplicable => !known,
            Verdict::Fail => known && result.requirement.weight != Weight::Must,
            _ => false,
        };
        assert!(
            fine,
            "{} {:?}: {:?}\n{:#?}",
            result.requirement.id, result.verdict, result.reason, result.evidence
        );
    }
    assert!(!report.has_failed());
}

#[tokio::test]
async fn a_good_server_passes() {
    let front = Front::start().await;
    let options = Options { intrusive: true, strict: true, ..front.options() };
    // Where users are a stub nothing slows guesses down; the binary's users are another test.
    let options = Options { skip: vec!["6749-080".to_owned()], ..options };
    let report = front.run(&options).await.expect("a report");
    passes(&report);
    let bearer = report.results.iter().filter(|result| result.subject == "Bearer tokens");
    assert!(bearer.clone().count() >= 10);
    assert!(bearer.clone().all(|result| result.verdict == Verdict::Pass));
    assert!(report.count(Verdict::Pass) >= 170, "{}", report.count(Verdict::Pass));
}

#[tokio::test]
async fn the_binary_passes() {
    let served = Served::start();
    let options = Options {
        config: served.config.clone(),
        intrusive: true,
        strict: true,
        ..Options::default()
    };
    let report = run(&options, &mut Quiet).await.expect("a report");
    passes(&report);
    assert!(report.count(Verdict::Pass) >= 165, "{}", report.count(Verdict::Pass));
    // The test user is throttled now, and that is what one of the checks asks for.
    let guessing = report.results.iter().find(|result| result.requirement.id == "6749-080");
    assert_eq!(guessing.map(|result| result.verdict), Some(Verdict::Pass));
}
