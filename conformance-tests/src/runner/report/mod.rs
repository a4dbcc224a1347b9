//! A report, in the forms in which it is read.

mod html;
mod junit;
mod table;

use serde_json::json;

use super::Report;
use super::catalogue::requirement;
use super::check::{Kind, Subject};

pub use html::html;
pub use junit::junit;
pub use table::{list, table};

/// A report cannot be written in this form.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// As JSON.
    #[error("the results cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// As JUnit.
    #[error("the results cannot be written as JUnit: {0}")]
    Junit(#[from] quick_junit::SerializeError),
    /// As a page.
    #[error("the results cannot be written as a page: {0}")]
    Html(#[from] minijinja::Error),
}

/// The report as JSON, with the counts beside it.
///
/// # Errors
///
/// None that is known.
pub fn json(report: &Report) -> Result<String, WriteError> {
    let mut value = serde_json::to_value(report)?;
    if let Some(members) = value.as_object_mut() {
        let counts: serde_json::Map<_, _> = super::Verdict::ALL
            .into_iter()
            .map(|verdict| (verdict.words().replace(' ', "_"), report.count(verdict).into()))
            .collect();
        members.insert("counts".to_owned(), counts.into());
        members.insert("failed".to_owned(), report.has_failed().into());
    }
    Ok(serde_json::to_string_pretty(&value)?)
}

/// The checks as JSON.
///
/// # Errors
///
/// None that is known.
pub fn list_json(subjects: &[Subject]) -> Result<String, WriteError> {
    let checks = subjects.iter().flat_map(|subject| {
        subject.checks.iter().flat_map(|check| {
            check.ids.iter().filter_map(|id| {
                let requirement = requirement(id)?;
                let mut value = serde_json::to_value(&requirement).ok()?;
                let members = value.as_object_mut()?;
                let option = option_of(check.kind);
                members.insert("subject".to_owned(), json!(subject.name));
                members.insert("sends".to_owned(), json!(check.sends));
                members.insert("expects".to_owned(), json!(check.expects));
                members.insert("option".to_owned(), json!(option));
                Some(value)
            })
        })
    });
    Ok(serde_json::to_string_pretty(&checks.collect::<Vec<_>>())?)
}

/// The option without which a check is not done.
fn option_of(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Plain => None,
        Kind::Slow => Some("--patience"),
        Kind::Intrusive => Some("--intrusive"),
    }
}
