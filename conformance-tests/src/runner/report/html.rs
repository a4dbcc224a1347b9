//! The result as a page to read: one file, no scripts, nothing loaded.

use minijinja::value::Serde;
use minijinja::{Environment, HtmlEscape, UndefinedBehavior, Value, context};
use serde::Serialize;

use crate::requirements::specifications;
use crate::runner::Report;
use crate::runner::verdict::{CheckResult, Verdict, Weight};

use super::WriteError;

/// One specification's section of the page.
#[derive(Serialize)]
struct Section<'r> {
    name: &'static str,
    title: &'static str,
    address: &'static str,
    passed: usize,
    results: Vec<Entry<'r>>,
}

#[derive(Serialize)]
struct Entry<'r> {
    #[serde(flatten)]
    result: &'r CheckResult,
    /// The class of the entry: a failure of what is not binding is a warning.
    kind: &'static str,
    words: &'static str,
}

#[derive(Serialize)]
struct Count {
    kind: &'static str,
    words: &'static str,
    count: usize,
    percent: f64,
}

/// How entries are told apart, the worst first.
const KINDS: [(&str, &str); 6] = [
    ("fail", "failed"),
    ("warn", "warning"),
    ("inconclusive", "inconclusive"),
    ("waived", "waived"),
    ("na", "not applicable"),
    ("pass", "passed"),
];

fn kind(result: &CheckResult) -> (&'static str, &'static str) {
    let at = match (result.verdict, result.requirement.weight) {
        (Verdict::Fail, Weight::Must) => 0,
        (Verdict::Fail, _) => 1,
        (Verdict::Inconclusive, _) => 2,
        (Verdict::Waived, _) => 3,
        (Verdict::NotApplicable, _) => 4,
        (Verdict::Pass, _) => 5,
    };
    KINDS.get(at).copied().unwrap_or_default()
}

/// A sentence of the catalogue, in which what is between backticks is code.
fn marked(text: &str) -> Value {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        let escaped = HtmlEscape(part).to_string();
        html.push_str(&if at % 2 == 1 { format!("<code>{escaped}</code>") } else { escaped });
    }
    Value::from_safe_string(html)
}

/// The report as a page.
///
/// # Errors
///
/// If the template does not fit the report, which a test would show.
pub fn html(report: &Report) -> Result<String, WriteError> {
    let total = report.results.len().max(1);
    let counts: Vec<Count> = KINDS
        .into_iter()
        .map(|(name, words)| {
            let count = report.results.iter().filter(|result| kind(result).0 == name).count();
            let share = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
            Count { kind: name, words, count, percent: 100.0 * share(count) / share(total) }
        })
        .collect();
    let mut sections: Vec<Section<'_>> = Vec::new();
    for result in &report.results {
        let name = result.requirement.specification;
        let (kind, words) = kind(result);
        let entry = Entry { result, kind, words };
        match sections.iter_mut().find(|section| section.name == name) {
            Some(section) => section.results.push(entry),
            None => sections.push(Section {
                name,
                title: result.requirement.title,
                address: result.requirement.address,
                passed: 0,
                results: vec![entry],
            }),
        }
    }
    let order = |name: &str| specifications().iter().position(|one| one.name == name);
    sections.sort_by_key(|section| order(section.name));
    for section in &mut sections {
        section.results.sort_by_key(|entry| entry.result.requirement.id);
        section.passed =
            section.results.iter().filter(|entry| entry.result.verdict == Verdict::Pass).count();
    }
    let failures: Vec<_> = sections
        .iter()
        .flat_map(|section| &section.results)
        .filter(|entry| entry.kind == "fail")
        .map(|entry| &entry.result.requirement)
        .collect();
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.add_filter("marked", marked);
    // The name makes minijinja escape for HTML.
    environment.add_template("report.html", include_str!("report.html"))?;
    let took = std::time::Duration::from_secs(report.milliseconds.div_ceil(1000));
    let page = environment.get_template("report.html")?.render(context! {
        report => Serde(report),
        summary => super::table::summary(report),
        counts => Serde(&counts),
        sections => Serde(&sections),
        failures => Serde(&failures),
        failed => report.has_failed(),
        day => report.started.format("%-d %B %Y, %H:%M UTC").to_string(),
        took => humantime::format_duration(took).to_string(),
    })?;
    Ok(page)
}
