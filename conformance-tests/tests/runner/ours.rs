//! Good servers: ours in process with a protected resource, and the binary as operators run it.

use grantor_conformance::runner::ours::conforms;
use grantor_conformance::runner::{Options, Verdict, run};

use crate::binary::Served;
use crate::front::Front;

#[tokio::test]
async fn a_good_server_passes() {
    let front = Front::start().await;
    let options = Options { intrusive: true, strict: true, ..front.options() };
    // Where users are a stub nothing slows guesses down; the binary's users are another test.
    let options = Options { skip: vec!["6749-080".to_owned()], ..options };
    let report = front.run(&options).await.expect("a report");
    conforms(&report);
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
    let report = run(&options, &mut ()).await.expect("a report");
    conforms(&report);
    assert!(report.count(Verdict::Pass) >= 165, "{}", report.count(Verdict::Pass));
    // The test user is throttled now, and that is what one of the checks asks for.
    let guessing = report.results.iter().find(|result| result.requirement.id == "6749-080");
    assert_eq!(guessing.map(|result| result.verdict), Some(Verdict::Pass));
}
