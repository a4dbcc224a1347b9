//! The result for CI systems.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use crate::runner::Report;
use crate::runner::verdict::{CheckResult, Verdict, Weight};

use super::WriteError;

/// The report as JUnit XML: a suite for each subject, a case for each requirement. What is no
/// binding failure is a case that was skipped, with the reason.
///
/// # Errors
///
/// None that is known.
pub fn junit(report: &Report) -> Result<String, WriteError> {
    let mut junit = Junit::new(format!("grantor-conformance {}", report.issuer));
    junit.set_timestamp(report.started.fixed_offset());
    junit.set_time(Duration::from_millis(report.milliseconds));
    let mut subjects: Vec<&str> = Vec::new();
    for result in &report.results {
        if !subjects.contains(&result.subject) {
            subjects.push(result.subject);
        }
    }
    for subject in subjects {
        let mut suite = TestSuite::new(subject);
        for result in report.results.iter().filter(|result| result.subject == subject) {
            suite.add_test_case(case(result, report.strict));
        }
        junit.add_test_suite(suite);
    }
    Ok(junit.to_string()?)
}

fn case(result: &CheckResult, strict: bool) -> TestCase {
    let requirement = &result.requirement;
    let reason = result.reason.clone().unwrap_or_default();
    let mut status = match result.verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Fail if requirement.weight == Weight::Must => {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        }
        Verdict::Inconclusive if result.is_fatal(strict) => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
        _ => TestCaseStatus::skipped(),
    };
    if result.verdict != Verdict::Pass {
        let waiver = result.waiver.as_deref().map(|w| format!(" (waived: {w})"));
        let words = match (result.verdict, requirement.weight) {
            (Verdict::Fail, Weight::Should | Weight::May) => "warning",
            (verdict, _) => verdict.words(),
        };
        status.set_message(format!("{words}: {reason}{}", waiver.unwrap_or_default()));
        if !result.evidence.is_empty() {
            let evidence: Vec<String> = result
                .evidence
                .iter()
                .map(|one| format!("> {}\n\n< {}", one.request, one.response))
                .collect();
            status.set_description(evidence.join("\n\n----\n\n"));
        }
    }
    let name = format!("{} {}: {}", requirement.id, requirement.clause, requirement.sentence);
    let mut case = TestCase::new(name, status);
    case.set_classname(result.subject);
    case.set_time(result.took());
    case
}
