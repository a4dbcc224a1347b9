//! What travelled between whom, as the pages of the demo show it.

use serde::Serialize;

/// One message and its answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Exchange {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// What it is, in a sentence.
    pub(super) title: String,
    pub(super) request: Vec<Line>,
    pub(super) response: Vec<Line>,
    /// Whether it was refused.
    pub(super) refused: bool,
}

/// One line of a message.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub(super) text: String,
    /// What it is for.
    pub(super) note: &'static str,
}

pub(super) fn line(text: impl Into<String>, note: &'static str) -> Line {
    Line { text: text.into(), note }
}

/// A secret as it may be shown: enough of it to recognise it on the next page.
pub(super) fn short(secret: &str) -> String {
    match (secret.get(..10), secret.len()) {
        (Some(start), len) if len > 16 => format!("{start}…"),
        _ => secret.to_owned(),
    }
}
