//! Failures that somebody accepts, and why.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::config::{FileError, explained, read};

/// A waiver file: an entry `[[waiver]]` with `id` and `reason` for each requirement.
#[derive(Clone, Debug, Default)]
pub struct Waivers {
    reasons: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    waiver: Vec<Waiver>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiver {
    id: String,
    #[serde(default)]
    reason: String,
}

/// Fewer characters are no reason.
const SHORTEST_REASON: usize = 10;

impl Waivers {
    /// Reads a waiver file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, names a requirement that no check has, names one twice, or gives no
    /// reason.
    pub fn load(path: &Path, is_known: impl Fn(&str) -> bool) -> Result<Self, FileError> {
        let text = read(path)?;
        let wrong = |reason: String| FileError::Content { path: path.to_owned(), reason };
        let file: File = toml::from_str(&text).map_err(|error| explained(path, &text, &error))?;
        let mut reasons = BTreeMap::new();
        for Waiver { id, reason } in file.waiver {
            let reason = reason.trim().to_owned();
            if reason.chars().count() < SHORTEST_REASON {
                return Err(wrong(format!("the waiver of {id} has no reason")));
            }
            if !is_known(&id) {
                return Err(wrong(format!("no check is called {id}")));
            }
            if reasons.insert(id.clone(), reason).is_some() {
                return Err(wrong(format!("{id} is waived twice")));
            }
        }
        Ok(Self { reasons })
    }

    /// Why a failure of this requirement is accepted.
    pub fn reason(&self, id: &str) -> Option<&str> {
        self.reasons.get(id).map(String::as_str)
    }

    /// The requirements that are waived.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.reasons.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn load(text: &str) -> Result<Waivers, FileError> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        Waivers::load(file.path(), |id| id.starts_with("6749-"))
    }

    #[test]
    fn a_waiver_has_a_reason_or_is_refused() {
        let good =
            "[[waiver]]\nid = \"6749-001\"\nreason = \"The test user has no second factor.\"";
        let waivers = load(good).expect("a good file");
        assert!(waivers.reason("6749-001").is_some() && waivers.reason("6749-002").is_none());
        let without = load("[[waiver]]\nid = \"6749-001\"").expect_err("no reason");
        assert!(without.to_string().contains("has no reason"), "{without}");
        load("[[waiver]]\nid = \"6749-001\"\nreason = \"  \"").expect_err("an empty reason");
        load("[[waiver]]\nid = \"1234-001\"\nreason = \"Long enough.\"").expect_err("unknown");
        load(&format!("{good}\n{good}")).expect_err("twice");
        load("[[waiver]]\nid = \"6749-001\"\nreasn = \"Long enough.\"").expect_err("misspelt");
    }
}
