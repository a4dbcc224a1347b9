//! The result on a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use crate::runner::Report;
use crate::runner::catalogue::requirement;
use crate::runner::check::Subject;
use crate::runner::verdict::{CheckResult, Verdict, Weight};

use super::option_of;

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    // Without a terminal nobody says how wide it is.
    table.set_width(terminal_width());
    table.set_header(header.to_vec());
    table
}

fn terminal_width() -> u16 {
    let measured = console::Term::stdout().size_checked();
    measured.map_or(120, |(_, columns)| columns).clamp(80, 160)
}

/// The report as a table: what has failed, then the counts. `all`: also what has passed.
pub fn table(report: &Report, all: bool) -> String {
    let mut out = String::new();
    let shared = shared_reasons(report);
    let shown: Vec<&CheckResult> = report
        .results
        .iter()
        .filter(|r| all || !matches!(r.verdict, Verdict::Pass | Verdict::NotApplicable))
        .filter(|r| all || !shared.contains_key(reason(r)))
        .collect();
    if !shown.is_empty() {
        let mut results = new_table(&["", "id", "clause", "what is required, and what was found"]);
        for result in shown {
            results.add_row([
                mark(result).to_owned(),
                result.requirement.id.to_owned(),
                format!("{}\n{}", result.requirement.clause, result.requirement.level),
                found(result),
            ]);
        }
        let _ = writeln!(out, "{results}\n");
    }
    let _ = writeln!(out, "{}\n", by_specification(report));
    for (reason, ids) in shared.iter().filter(|_| !all) {
        let _ = writeln!(out, "Not found out, since {reason}: {}.", ids.join(", "));
    }
    for id in &report.unused_waivers {
        let _ = writeln!(out, "The waiver of {id} is not needed: remove it.");
    }
    if !report.not_selected.is_empty() {
        let mut by_option = BTreeMap::<&str, Vec<&str>>::new();
        for (id, option) in &report.not_selected {
            by_option.entry(option).or_default().push(id);
        }
        for (option, ids) in by_option {
            let _ = writeln!(out, "Only with {option}: {}.", ids.join(", "));
        }
    }
    let _ = write!(out, "{}: {}", report.issuer, summary(report));
    out
}

fn reason(result: &CheckResult) -> &str {
    match result.verdict {
        Verdict::Inconclusive => result.reason.as_deref().unwrap_or_default(),
        _ => "",
    }
}

/// Why several requirements could not be looked at, such as a client that is missing: one line says as
/// much as a row for each.
fn shared_reasons(report: &Report) -> BTreeMap<&str, Vec<&str>> {
    let mut shared = BTreeMap::<&str, Vec<&str>>::new();
    for result in &report.results {
        if result.verdict == Verdict::Inconclusive {
            shared.entry(reason(result)).or_default().push(result.requirement.id);
        }
    }
    shared.retain(|_, ids| ids.len() > 2);
    shared
}

/// The report in one or two sentences.
pub(super) fn summary(report: &Report) -> String {
    let fatal = report.fatal().count();
    let warnings = report
        .results
        .iter()
        .filter(|r| r.verdict == Verdict::Fail && r.requirement.weight != Weight::Must)
        .count();
    let passed = report.count(Verdict::Pass);
    let apply = report.results.len() - report.count(Verdict::NotApplicable);
    let plural = |count: usize, one: &str, many: &str| {
        if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
    };
    let mut text =
        format!("{passed} of {} that apply hold.", plural(apply, "requirement", "requirements"));
    if fatal > 0 {
        let _ = write!(text, " {} not met.", plural(fatal, "binding one is", "binding ones are"));
    }
    for (count, one, many) in [
        (warnings, "warning", "warnings"),
        (report.count(Verdict::Waived), "waived", "waived"),
        (report.count(Verdict::Inconclusive), "could not be found out", "could not be found out"),
    ] {
        if count > 0 {
            let _ = write!(text, " {}.", plural(count, one, many));
        }
    }
    text
}

fn mark(result: &CheckResult) -> &'static str {
    match (result.verdict, result.requirement.weight) {
        (Verdict::Fail, Weight::Must) => "FAIL",
        (Verdict::Fail, _) => "warn",
        (Verdict::Inconclusive, _) => "?",
        (Verdict::Waived, _) => "waived",
        (Verdict::NotApplicable, _) => "n/a",
        (Verdict::Pass, _) => "ok",
    }
}

fn found(result: &CheckResult) -> String {
    let mut text = result.requirement.sentence.to_owned();
    if let Some(reason) = &result.reason {
        let _ = write!(text, "\n→ {reason}");
    }
    if let Some(waiver) = &result.waiver {
        let _ = write!(text, "\nwaived: {waiver}");
    }
    text
}

fn by_specification(report: &Report) -> Table {
    let mut counts = new_table(&["", "pass", "fail", "warn", "inconclusive", "waived", "n/a"]);
    let names = crate::requirements::specifications().iter().map(|one| one.name);
    let names = names.filter(|name| {
        report.results.iter().any(|result| result.requirement.specification == *name)
    });
    let mut add = |name: &str, results: Vec<&CheckResult>| {
        let count = |verdict: Verdict| results.iter().filter(|r| r.verdict == verdict).count();
        let fail = results
            .iter()
            .filter(|r| r.verdict == Verdict::Fail && r.requirement.weight == Weight::Must)
            .count();
        let row = [
            count(Verdict::Pass),
            fail,
            count(Verdict::Fail) - fail,
            count(Verdict::Inconclusive),
            count(Verdict::Waived),
            count(Verdict::NotApplicable),
        ];
        let cells = row.iter().map(|n| if *n == 0 { "·".to_owned() } else { n.to_string() });
        counts.add_row(std::iter::once(name.to_owned()).chain(cells).collect::<Vec<_>>());
    };
    for name in names {
        add(name, report.results.iter().filter(|r| r.requirement.specification == name).collect());
    }
    add("all", report.results.iter().collect());
    counts
}

/// The checks as a table.
pub fn list(subjects: &[Subject]) -> String {
    let mut table = new_table(&["id", "clause", "level", "sends", "expects"]);
    let mut count = 0;
    for subject in subjects {
        table.add_row([subject.name.to_uppercase()]);
        for check in subject.checks {
            for (at, id) in check.ids.iter().enumerate() {
                let Some(requirement) = requirement(id) else { continue };
                count += 1;
                let option = option_of(check.kind);
                let sends = match option {
                    Some(option) => format!("{} ({option})", check.sends),
                    None => check.sends.to_owned(),
                };
                let (sends, expects) = if at == 0 {
                    (sends, check.expects.to_owned())
                } else {
                    ("the same".to_owned(), String::new())
                };
                table.add_row([
                    requirement.id.to_owned(),
                    requirement.clause,
                    requirement.level.to_owned(),
                    sends,
                    expects,
                ]);
            }
        }
    }
    let checks: usize = subjects.iter().map(|subject| subject.checks.len()).sum();
    format!("{table}\n{count} requirements, {checks} checks")
}
