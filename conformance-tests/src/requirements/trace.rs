//! Which test shows which requirement, read from the sources of the tests.
//!
//! A test names what it shows in a comment or a string inside the function or right above it: `Requirements 6749-042,
//! OA21-013; ATTACKS B01, D02 to D04`. [`Trace::read`] finds those citations in every source of a repository, with the
//! function that each stands in; [`Trace::defects`] holds them against the catalogue.
//!
//! What counts as a test: a function with a test attribute anywhere, and any function of a `tests` folder or of this
//! crate (helpers that check every answer, clauses of a suite, invariants of a model). What stands above no function,
//! as at the top of a file, or in the code of a product, is held to be an id of the catalogue and shows nothing.
//! The checks of the black-box runner ask any server, so what they name says what the runner asks and not what Grantor
//! shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Status, attacks, find, find_attack, requirements, specifications};

mod source;

use source::Source;

/// A requirement or an attack, as tests name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cited {
    /// A requirement by its id: `6749-042`.
    Requirement(String),
    /// An attack by its id: `B02`, which tests write as `ATTACKS B02`.
    Attack(String),
}

impl std::fmt::Display for Cited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Requirement(id) => f.write_str(id),
            Self::Attack(id) => write!(f, "ATTACKS {id}"),
        }
    }
}

/// A function that shows something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Test {
    /// Its path: `wire::token::a_code_is_single_use`.
    pub name: String,
    /// Its source, from the root of the repository.
    pub file: PathBuf,
}

/// The citations of a repository.
#[derive(Debug, Default)]
pub struct Trace {
    tests: BTreeMap<Cited, BTreeSet<Test>>,
    asked: BTreeSet<Cited>,
    unknown: Vec<String>,
}

impl Trace {
    /// Reads every Rust source below the folder, except what is built, the catalogue's own code and the
    /// servers that are spoilt for the black-box runner.
    ///
    /// # Errors
    ///
    /// A file or folder that cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut trace = Self::default();
        for file in sources(root)? {
            let text = fs::read_to_string(root.join(&file))?;
            trace.add(&Source::new(root, &file)?, &text);
        }
        Ok(trace)
    }

    fn add(&mut self, source: &Source, text: &str) {
        for citation in source.citations(text) {
            let known = match &citation.cited {
                Cited::Requirement(id) => find(id).is_some(),
                Cited::Attack(id) => find_attack(id).is_some(),
            };
            if !known {
                let (file, line) = (source.file.display(), citation.line);
                self.unknown.push(format!(
                    "{file}:{line} names {}, which the catalogue does not have",
                    citation.cited
                ));
            } else if source.file.starts_with("conformance-tests/src/runner") {
                self.asked.insert(citation.cited);
            } else if let Some(name) = citation.test {
                let test = Test { name, file: source.file.clone() };
                self.tests.entry(citation.cited).or_default().insert(test);
            }
        }
    }

    /// The tests that show a row, by name.
    pub fn tests(&self, cited: &Cited) -> impl Iterator<Item = &Test> {
        self.tests.get(cited).into_iter().flatten()
    }

    /// Whether the black-box runner asks a server about a row.
    #[must_use]
    pub fn is_asked(&self, cited: &Cited) -> bool {
        self.asked.contains(cited)
    }

    /// Everything in which the tests and the catalogue disagree, a line each: an id that does not exist, a row that
    /// nothing shows and nothing excuses, an excuse for a row that a test shows.
    #[must_use]
    pub fn defects(&self) -> Vec<String> {
        let rows =
            requirements().iter().map(|row| (Cited::Requirement(row.id.to_owned()), row.status));
        let rows =
            rows.chain(attacks().iter().map(|row| (Cited::Attack(row.id.to_owned()), row.status)));
        let wrong = rows.filter_map(|(cited, status)| {
            let test = self.tests(&cited).next();
            match (status, test) {
                (Status::Covered | Status::Partly(_), None) => Some(format!(
                    "{cited}: no test names it; write one, or say why not in the catalogue"
                )),
                (Status::Waived(reason) | Status::Later(reason), Some(test)) => Some(format!(
                    "{cited}: {} shows it, so the excuse is stale: {reason}",
                    test.name
                )),
                _ => None,
            }
        });
        self.unknown.iter().cloned().chain(wrong).collect()
    }
}

/// Every Rust source below the root, sorted, by its path from there.
fn sources(root: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let own = [
                "conformance-tests/src/requirements",
                "conformance-tests/tests/traceability.rs",
                // Servers that are spoilt to see the checks of the runner fail.
                "conformance-tests/tests/runner",
            ];
            let own = own.iter().any(|own| path.starts_with(own));
            if own || name.starts_with('.') || name == "target" {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(path);
            }
        }
    }
    Ok(found)
}

/// The ids that a text names, each with how many lines into it. Of a shape of id whose family the catalogue does not
/// have, only comments are asked: in a string it may be anything.
fn cited(text: &str, comment: bool) -> Vec<(Cited, usize)> {
    let mut found = Vec::new();
    let mut words = words(text).peekable();
    while let Some((line, word)) = words.next() {
        if word == "ATTACKS" {
            while let Some((line, first)) = words.next_if(|(_, word)| attack_number(word).is_some())
            {
                let mut last = first;
                if words.next_if(|(_, word)| *word == "to").is_some()
                    && let Some((_, end)) = words.next_if(|(_, word)| attack_number(word).is_some())
                {
                    last = end;
                }
                let (series, from) = attack_number(first).unwrap_or_default();
                let (_, to) = attack_number(last).unwrap_or_default();
                found.extend(
                    (from..=to).map(|at| (Cited::Attack(format!("{series}{at:02}")), line)),
                );
                words.next_if(|(_, word)| *word == "and");
            }
        } else if let Some((family, number)) = requirement_number(word) {
            let known = specifications().iter().any(|specification| specification.family == family);
            if !known && (!comment || matches!(family, "SHA" | "AES")) {
                continue;
            }
            let mut last = number;
            let mut ahead = words.clone();
            if ahead.next().is_some_and(|(_, word)| word == "to")
                && let Some((other, end)) =
                    ahead.next().and_then(|(_, word)| requirement_number(word))
                && other == family
            {
                (last, words) = (end, ahead);
            }
            found.extend(
                (number..=last).map(|at| (Cited::Requirement(format!("{family}-{at:03}")), line)),
            );
        }
    }
    found
}

/// The words of a text, without the marks around them, each with how many lines into it.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> + Clone {
    text.split('\n').enumerate().flat_map(|(line, text)| {
        text.split(|mark: char| !(mark.is_alphanumeric() || mark == '-' || mark == '_'))
            .filter(|word| !word.is_empty())
            .map(move |word| (line, word))
    })
}

/// `B02` as its series and number.
fn attack_number(word: &str) -> Option<(&str, u32)> {
    let (series, number) = word.split_at_checked(1)?;
    let shaped = series.bytes().all(|byte| byte.is_ascii_uppercase()) && number.len() == 2;
    Some((series, number.parse().ok()?)).filter(|_| shaped)
}

/// `6749-042` as its family and number.
fn requirement_number(word: &str) -> Option<(&str, u32)> {
    let (family, number) = word.rsplit_once('-')?;
    let letters = family.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let digits = family.bytes().all(|byte| byte.is_ascii_digit());
    let shaped =
        letters && number.len() == 3 && if digits { family.len() >= 4 } else { family.len() >= 3 };
    Some((family, number.parse().ok()?)).filter(|_| shaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        cited(text, true).into_iter().map(|(cited, _)| cited.to_string()).collect()
    }

    #[test]
    fn citations_are_lists_and_ranges() {
        assert_eq!(names("Requirements 6749-001, OA21-002; and so on"), ["6749-001", "OA21-002"]);
        assert_eq!(names("6749-001 to 6749-003"), ["6749-001", "6749-002", "6749-003"]);
        assert_eq!(
            names("ATTACKS A01 to A03, B07 and K15: whatever"),
            ["ATTACKS A01", "ATTACKS A02", "ATTACKS A03", "ATTACKS B07", "ATTACKS K15"]
        );
        assert_eq!(
            names("ATTACKS J01,\nJ02; requirement HTTP-003"),
            ["ATTACKS J01", "ATTACKS J02", "HTTP-003"]
        );
        assert_eq!(
            names("ATTACKS series J, SHA-256, UTF-8, P-256, 2026-11-21, A01"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_family_that_nobody_knows_is_an_id_in_a_comment_only() {
        assert_eq!(names("7800-001, OIDX-001"), ["7800-001", "OIDX-001"]);
        assert!(cited("7800-001, OIDX-001", false).is_empty());
        assert_eq!(cited("6749-001", false).len(), 1);
    }

    fn read(file: &str, text: &str) -> Trace {
        let mut trace = Trace::default();
        trace.add(
            &Source { file: PathBuf::from(file), module: "wire".to_owned(), tests: true },
            text,
        );
        trace
    }

    #[test]
    fn what_the_runner_names_is_asked_and_not_shown() {
        let trace =
            read("conformance-tests/src/runner/a.rs", "#[test]\nfn one() { /* 6749-001 */ }");
        let cited = Cited::Requirement("6749-001".to_owned());
        assert!(trace.is_asked(&cited) && trace.tests(&cited).next().is_none());
    }

    #[test]
    fn an_unknown_id_is_a_defect_with_its_line() {
        let trace = read("a.rs", "fn one() {}\n// Above nothing:\n// 6749-999\n");
        assert_eq!(trace.unknown, ["a.rs:3 names 6749-999, which the catalogue does not have"]);
        assert!(trace.defects().contains(&trace.unknown[0]));
    }

    #[test]
    fn a_row_without_test_or_excuse_is_a_defect_and_so_is_an_excuse_beside_a_test() {
        let waived =
            requirements().iter().find(|row| matches!(row.status, Status::Waived(_))).expect("one");
        let due = requirements().iter().find(|row| row.status == Status::Covered).expect("one");
        let trace = read("a.rs", &format!("#[test]\nfn one() {{ /* {} */ }}", waived.id));
        let defects = trace.defects();
        assert!(
            defects
                .iter()
                .any(|defect| defect.starts_with(&format!("{}: wire::one shows", waived.id)))
        );
        assert!(defects.iter().any(|defect| defect.starts_with(&format!("{}: no test", due.id))));
        let trace = read("a.rs", &format!("#[test]\nfn one() {{ /* {} */ }}", due.id));
        assert!(!trace.defects().iter().any(|defect| defect.starts_with(due.id)));
    }
}
