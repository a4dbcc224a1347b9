//! What a migration came to, for people and for scripts.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use grantor::storage::{Key, Kind};
use serde_json::{Value, json};

use super::{Outcome, Problems, Sides, Verdict};

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Client => "clients",
        Kind::Grant => "grants",
        Kind::Consent => "consents",
        Kind::Session => "sessions",
        Kind::User => "users",
        Kind::RevokedSubject => "revoked users",
        Kind::Throttle => "counted attempts",
        Kind::Replay => "used assertions",
    }
}

fn shown(key: &Key) -> String {
    format!("{key:?}")
}

/// Writes it as text.
pub fn text(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["KIND", "FROM", "TO", "CHECKSUM FROM", "CHECKSUM TO", ""]);
    for (kind, Sides { source, target }) in &outcome.kinds {
        table.add_row([
            name(*kind),
            &source.records.to_string(),
            &target.records.to_string(),
            &format!("{:016x}", source.checksum),
            &format!("{:016x}", target.checksum),
            match source == target {
                true => "same",
                false => "different",
            },
        ]);
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim())?;
    }
    if outcome.past > 0 {
        writeln!(out, "Left out, since their time is over: {}", outcome.past)?;
    }
    if !outcome.dry_run && outcome.foreign.count == 0 {
        writeln!(
            out,
            "Index entries: {}, of which the target lacks {}",
            outcome.entries, outcome.missing_entries
        )?;
    }
    problems(out, "Not copied, since this version cannot read them", &outcome.unreadable)?;
    problems(out, "In the target, and not from this source", &outcome.foreign)?;
    match outcome.verdict() {
        Verdict::Complete => writeln!(out, "Everything is there."),
        Verdict::DryRun => writeln!(out, "Nothing was written."),
        _ => Ok(()),
    }
}

fn problems(out: &mut impl Write, what: &str, problems: &Problems) -> io::Result<()> {
    if problems.count == 0 {
        return Ok(());
    }
    writeln!(out, "{what}: {}", problems.count)?;
    for (key, why) in &problems.first {
        writeln!(out, "  {}: {why}", shown(key))?;
    }
    match problems.count.saturating_sub(problems.first.len() as u64) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

/// Writes it as JSON.
pub fn json(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let sum = |sum: super::Sum| json!({ "records": sum.records, "checksum": format!("{:016x}", sum.checksum) });
    let kinds = outcome.kinds.iter().map(|(kind, sides)| {
        let sides = json!({ "from": sum(sides.source), "to": sum(sides.target) });
        (name(*kind).to_owned(), sides)
    });
    let problems = |problems: &Problems| {
        let first = problems.first.iter();
        let first = first.map(|(key, why)| json!({ "key": shown(key), "why": why }));
        json!({ "count": problems.count, "first": first.collect::<Vec<_>>() })
    };
    let value = json!({
        "verdict": match outcome.verdict() {
            Verdict::Complete => "complete",
            Verdict::Foreign => "foreign",
            Verdict::Changed => "changed",
            Verdict::Unreadable => "unreadable",
            Verdict::Different => "different",
            Verdict::DryRun => "dry_run",
        },
        "kinds": kinds.collect::<serde_json::Map<String, Value>>(),
        "past": outcome.past,
        "index_entries": outcome.entries,
        "missing_index_entries": outcome.missing_entries,
        "unreadable": problems(&outcome.unreadable),
        "foreign": problems(&outcome.foreign),
        "changed": outcome.changed,
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}
