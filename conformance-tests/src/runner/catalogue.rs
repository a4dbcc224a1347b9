//! What is required, as results carry it.

use serde::Serialize;

use crate::requirements::{self, Level};

use super::verdict::Weight;

/// A requirement of the [catalogue](crate::requirements).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// Its name, such as `6749-042`.
    pub id: &'static str,
    /// The specification, such as `RFC 6749`.
    pub specification: &'static str,
    /// What the specification is about.
    pub title: &'static str,
    /// Where it can be read.
    pub address: &'static str,
    /// Specification and section.
    pub clause: String,
    /// The word of the specification: MUST, SHOULD NOT ...
    pub level: &'static str,
    /// What the level comes to.
    pub weight: Weight,
    /// The requirement in one sentence.
    pub sentence: &'static str,
}

/// The requirement with this id; `None` if the catalogue has none.
pub(crate) fn requirement(id: &str) -> Option<Requirement> {
    let found = requirements::find(id)?;
    let weight = match found.level {
        level if level.is_binding() => Weight::Must,
        Level::May => Weight::May,
        _ => Weight::Should,
    };
    Some(Requirement {
        id: found.id,
        specification: found.specification.name,
        title: found.specification.title,
        address: found.specification.address,
        clause: found.clause(),
        level: found.level.as_str(),
        weight,
        sentence: found.sentence,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::checks::SUBJECTS;
    use super::*;

    #[test]
    fn every_check_is_of_a_known_requirement_and_no_requirement_is_checked_twice() {
        let mut seen = BTreeSet::new();
        for subject in SUBJECTS {
            for check in subject.checks {
                assert!(!check.ids.is_empty() && !check.sends.is_empty());
                assert!(!check.expects.is_empty());
                for id in check.ids {
                    assert!(requirement(id).is_some(), "{id} is in no catalogue");
                    assert!(seen.insert(*id), "{id} is checked twice");
                }
            }
        }
        assert!(seen.len() >= 150, "{}", seen.len());
    }
}
