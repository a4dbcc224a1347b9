//! Each rule spoils a good server in one way, and the checks of just that fail.

use std::collections::BTreeSet;

use grantor_conformance::runner::{Kind, SUBJECTS, Verdict};

use crate::front::{Front, Shape};
use crate::rules;
use crate::spoil::Spoil;

/// One way to spoil a server.
pub(crate) struct Rule {
    /// What the server then does.
    pub(crate) story: &'static str,
    /// The requirements of which a check must fail.
    pub(crate) fails: &'static [&'static str],
    pub(crate) spoil: Spoil,
}

#[tokio::test]
async fn every_rule_is_found_out() {
    finds_all(&Front::start().await, rules::all()).await;
}

#[tokio::test]
async fn every_rule_of_registration_is_found_out() {
    let front = Front::shaped(Shape { registers: true, ..Shape::default() }).await;
    finds_all(&front, rules::registration::rules()).await;
}

async fn finds_all(front: &Front, rules: Vec<Rule>) {
    let mut missed = Vec::new();
    for rule in rules {
        front.spoil(rule.spoil.clone());
        let report = match front.check(rule.fails).await {
            Ok(report) => report,
            Err(error) => {
                missed.push(format!("{}: no run: {error}", rule.story));
                continue;
            }
        };
        for result in &report.results {
            let id = result.requirement.id;
            if result.verdict != Verdict::Fail {
                let verdict = format!("{:?}: {:?}", result.verdict, result.reason);
                missed.push(format!("{}: {id} is {verdict}", rule.story));
                continue;
            }
            assert!(result.reason.as_ref().is_some_and(|reason| reason.len() > 8), "{id}");
            assert!(!result.evidence.is_empty(), "{id}: {:?}", result.reason);
        }
        assert!(!report.results.is_empty(), "{}", rule.story);
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}

/// Requirements whose check no rule makes fail, with the reason.
const NOT_SPOILT: [(&[&str], &str); 4] = [
    (&["9700-009", "9700-013"], "the good server fails them already, as the test of it says"),
    (&["6749-011"], "a server that loses the query of its endpoint cannot be run against at all"),
    (&["8414-009"], "it is the check of 8414-008 for issuers of another shape"),
    (
        &["9700-014", "6749-013", "6749-031", "6749-078"],
        "they are spoilt in the tests of servers of other shapes: without metadata, with TLS",
    ),
];

#[test]
fn every_check_can_fail() {
    let mut rules = rules::all();
    rules.extend(rules::registration::rules());
    let spoilt: BTreeSet<&str> = rules.iter().flat_map(|rule| rule.fails).copied().collect();
    let excused: BTreeSet<&str> = NOT_SPOILT.iter().flat_map(|(ids, _)| *ids).copied().collect();
    assert!(NOT_SPOILT.iter().all(|(_, reason)| reason.len() > 20));
    let all = SUBJECTS.iter().flat_map(|subject| subject.checks);
    let plain = all.filter(|check| check.kind == Kind::Plain);
    let left: Vec<&str> = plain
        .flat_map(|check| check.ids)
        .copied()
        .filter(|id| !spoilt.contains(id) && !excused.contains(id))
        .collect();
    assert!(left.is_empty(), "no rule makes these fail: {left:?}");
    let both: Vec<_> = spoilt.intersection(&excused).collect();
    assert!(both.is_empty(), "these are both: {both:?}");
}
