//! How far it is, on standard error.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar where somebody watches, a line now and then where not.
#[derive(Debug)]
pub(super) struct Progress {
    how: How,
    what: &'static str,
    done: u64,
    total: Option<u64>,
    said: u64,
}

#[derive(Debug)]
enum How {
    Quiet,
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        let how = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => How::Quiet,
            (false, false) => How::Lines,
            (false, true) => How::Bar(ProgressBar::hidden()),
        };
        Self { how, what: "", done: 0, total: None, said: 0 }
    }

    /// Begins with something, of which there is so much, if that is known.
    pub(super) fn begin(&mut self, what: &'static str, total: Option<u64>) {
        self.end();
        (self.what, self.done, self.total, self.said) = (what, 0, total, 0);
        match &mut self.how {
            How::Quiet => {}
            How::Lines => self.say(),
            How::Bar(bar) => {
                let template = match total {
                    Some(_) => "{msg:24} {wide_bar} {human_pos} of {human_len}, {eta}",
                    None => "{msg:24} {human_pos}",
                };
                let fresh = match total {
                    Some(total) => ProgressBar::new(total),
                    None => ProgressBar::no_length(),
                };
                // Only a template with a mistake in it is refused.
                let style = ProgressStyle::with_template(template);
                *bar = fresh.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_message(what);
            }
        }
    }

    pub(super) fn add(&mut self, count: u64) {
        self.done += count;
        match &self.how {
            How::Quiet => {}
            How::Bar(bar) => bar.set_position(self.done),
            How::Lines => {
                let step = self.total.map_or(10_000, |total| (total / 20).max(500));
                if self.done >= self.said + step {
                    self.say();
                }
            }
        }
    }

    /// Ends what was begun.
    pub(super) fn end(&mut self) {
        match &self.how {
            How::Quiet => {}
            How::Bar(bar) => bar.finish(),
            How::Lines if self.done > self.said => self.say(),
            How::Lines => {}
        }
        self.done = 0;
        self.said = 0;
    }

    fn say(&mut self) {
        let mut line = format!("{}: {}", self.what, self.done);
        if let Some(total) = self.total {
            // Writing to a String cannot fail.
            let _ = write!(line, " of {total}");
        }
        // Whoever is not listened to goes on.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
        self.said = self.done;
    }
}
