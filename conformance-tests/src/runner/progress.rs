//! How a run goes on: a bar on a terminal, a line per failure elsewhere.

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};

use super::run::Observer;
use super::verdict::{CheckResult, Verdict};

/// Shows on standard error how a run goes on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    subject: String,
    failed: usize,
    all: bool,
}

impl Progress {
    /// `all`: also what has passed.
    pub(crate) fn new(all: bool) -> Self {
        Self { all, ..Self::default() }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                let _ = writeln!(std::io::stderr().lock(), "{text}");
            }
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn started(&mut self, checks: usize) {
        if !std::io::stderr().is_terminal() {
            self.say(&format!("{checks} checks"));
            return;
        }
        let bar = ProgressBar::new(u64::try_from(checks).unwrap_or(u64::MAX));
        let style = "{bar:30} {pos}/{len}  {elapsed}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        self.bar = Some(bar);
    }

    fn began(&mut self, subject: &str, ids: &[&str]) {
        if let Some(bar) = &self.bar {
            let failed =
                if self.failed == 0 { String::new() } else { format!("{} failed  ", self.failed) };
            bar.set_message(format!("{failed}{subject}: {}", ids.join(" ")));
        } else if self.subject != subject {
            subject.clone_into(&mut self.subject);
            self.say(subject);
        }
    }

    fn ended(&mut self, results: &[CheckResult]) {
        for result in results {
            let is_bad = matches!(result.verdict, Verdict::Fail | Verdict::Inconclusive);
            self.failed += usize::from(result.verdict == Verdict::Fail);
            if is_bad || self.all {
                let reason = result.reason.as_deref().unwrap_or_default();
                let verdict = result.verdict.words();
                let id = result.requirement.id;
                self.say(format!("  {verdict:<14} {id:<9} {reason}").trim_end());
            }
        }
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    fn note(&mut self, text: &str) {
        self.say(text);
    }
}
