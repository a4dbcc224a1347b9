//! What the specifications ask of an authorization server, and what has gone wrong in real ones: the catalogue that
//! the tests of this repository name and that the black-box runner reports by.
//!
//! [`requirements`] has one row per requirement: an id such as `6749-042`, the section that asks for it, how strongly,
//! and one sentence. [`attacks`] has one row per attack: an id such as `B02` and one sentence. Neither says which test
//! shows it: that is read from the sources of the tests by [`trace`], so that it is written once, where the test is.
//! What no test shows has a [`Status`] that says why.
//!
//! The rows are the files in `conformance-tests/catalogue`, compiled in.

mod table;
pub mod trace;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

pub use table::table;

/// A document that asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Specification {
    /// What the ids of its requirements begin with: `6749`, `OA21`, `HTTP`.
    pub family: &'static str,
    /// What it is called in a sentence: `RFC 6749`.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// Where it can be read.
    pub address: &'static str,
}

/// How strongly a requirement is meant, in the words of RFC 2119.
///
/// `REQUIRED` is [`Must`](Level::Must), `RECOMMENDED` is [`Should`](Level::Should), `OPTIONAL` is [`May`](Level::May),
/// as section 1 to 5 of RFC 2119 say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `MUST`.
    Must,
    /// `MUST NOT`: the sentence says what is forbidden, or what is true when it is obeyed.
    MustNot,
    /// The specification says that it is so without a key word of RFC 2119: as binding as [`Level::Must`].
    Described,
    /// `SHOULD`.
    Should,
    /// `SHOULD NOT`.
    ShouldNot,
    /// `MAY`: if it is done, it is done as the sentence says.
    May,
    /// No specification asks for it in so many words; real servers were attacked where it was missing.
    Hardening,
}

impl Level {
    /// Whether a server that does otherwise breaks the specification.
    #[must_use]
    pub const fn is_binding(self) -> bool {
        matches!(self, Self::Must | Self::MustNot | Self::Described)
    }

    /// The level as the catalogue and the specifications write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Described => "described",
            Self::Should => "SHOULD",
            Self::ShouldNot => "SHOULD NOT",
            Self::May => "MAY",
            Self::Hardening => "hardening",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Must,
            Self::MustNot,
            Self::Described,
            Self::Should,
            Self::ShouldNot,
            Self::May,
            Self::Hardening,
        ];
        all.into_iter().find(|level| level.as_str() == text)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Of whom something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The authorization server.
    AuthorizationServer,
    /// The protected resource: what checks an access token.
    ProtectedResource,
}

/// Whether a test is expected to show a row, and why not if not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// A test shows all of it.
    Covered,
    /// A test shows a part of it; the reason says what is missing and why.
    Partly(&'static str),
    /// It does not concern Grantor, or no test can show it; the reason says why.
    Waived(&'static str),
    /// Grantor does not have what it is about yet; the text says what it comes with.
    Later(&'static str),
}

impl Status {
    fn parse(text: &'static str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Covered);
        }
        let (kind, reason) = text.split_once(": ")?;
        match kind {
            "partly" => Some(Self::Partly(reason)),
            "waived" => Some(Self::Waived(reason)),
            "later" => Some(Self::Later(reason)),
            _ => None,
        }
    }
}

/// One thing that a specification asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// The id by which tests and reports name it: `6749-042`.
    pub id: &'static str,
    /// What asks for it.
    pub specification: &'static Specification,
    /// Where in the specification: `4.1.2`, `appendix B`; a subject where the specification has no numbers.
    pub section: &'static str,
    /// How strongly.
    pub level: Level,
    /// Of whom.
    pub role: Role,
    /// What, in one sentence.
    pub sentence: &'static str,
    /// What the row was compared with, where it was not taken from the text of the specification; else empty.
    pub checked: &'static str,
    /// What a test is expected to show of it.
    pub status: Status,
}

impl Requirement {
    /// Specification and section as a sentence names them: `RFC 6749 section 4.1.2`.
    #[must_use]
    pub fn clause(&self) -> String {
        let numbered = self.section.starts_with(|first: char| first.is_ascii_digit());
        let section = if numbered { "section " } else { "" };
        format!("{} {section}{}", self.specification.name, self.section)
    }
}

/// Something that went wrong in real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attack {
    /// The id by which tests name it, after the word `ATTACKS`: `B02`.
    pub id: &'static str,
    /// What it is about.
    pub subject: &'static str,
    /// What must not succeed, in one sentence.
    pub sentence: &'static str,
    /// What a test is expected to show of it.
    pub status: Status,
}

/// Every requirement, in the order of the catalogue: specification by specification, ids ascending.
#[must_use]
pub fn requirements() -> &'static [Requirement] {
    &CATALOGUE.requirements
}

/// Every attack, ids ascending.
#[must_use]
pub fn attacks() -> &'static [Attack] {
    &CATALOGUE.attacks
}

/// Every specification, in the order of [`requirements`].
#[must_use]
pub fn specifications() -> &'static [Specification] {
    &SPECIFICATIONS
}

/// The requirement with this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Requirement> {
    CATALOGUE.requirement_of_id.get(id).and_then(|&at| CATALOGUE.requirements.get(at))
}

/// The attack with this id.
#[must_use]
pub fn find_attack(id: &str) -> Option<&'static Attack> {
    CATALOGUE.attack_of_id.get(id).and_then(|&at| CATALOGUE.attacks.get(at))
}

struct Catalogue {
    requirements: Vec<Requirement>,
    attacks: Vec<Attack>,
    requirement_of_id: BTreeMap<&'static str, usize>,
    attack_of_id: BTreeMap<&'static str, usize>,
}

static SPECIFICATIONS: LazyLock<Vec<Specification>> = LazyLock::new(|| {
    rows::<4>("specifications", include_str!("../../catalogue/specifications.tsv"))
        .map(|[family, name, title, address]| Specification { family, name, title, address })
        .collect()
});

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let requirements: Vec<Requirement> =
        rows::<7>("requirements", include_str!("../../catalogue/requirements.tsv"))
            .map(|row| {
                requirement(row).unwrap_or_else(|wrong| panic!("requirement {}: {wrong}", row[0]))
            })
            .collect();
    let attacks: Vec<Attack> = rows::<4>("attacks", include_str!("../../catalogue/attacks.tsv"))
        .map(|[id, subject, sentence, status]| {
            let status = Status::parse(status)
                .unwrap_or_else(|| panic!("attack {id}: no such status: {status}"));
            Attack { id, subject, sentence, status }
        })
        .collect();
    let requirement_of_id = requirements.iter().enumerate().map(|(at, row)| (row.id, at)).collect();
    let attack_of_id = attacks.iter().enumerate().map(|(at, row)| (row.id, at)).collect();
    Catalogue { requirements, attacks, requirement_of_id, attack_of_id }
});

fn requirement(row: [&'static str; 7]) -> Result<Requirement, String> {
    let [id, section, level, role, sentence, checked, status] = row;
    let (family, _) = id.rsplit_once('-').ok_or("the id has no number")?;
    Ok(Requirement {
        id,
        specification: SPECIFICATIONS
            .iter()
            .find(|specification| specification.family == family)
            .ok_or_else(|| format!("there is no specification {family}"))?,
        section,
        level: Level::parse(level).ok_or_else(|| format!("no such level: {level}"))?,
        role: match role {
            "AS" => Role::AuthorizationServer,
            "RS" => Role::ProtectedResource,
            _ => return Err(format!("no such role: {role}")),
        },
        sentence,
        checked,
        status: Status::parse(status).ok_or_else(|| format!("no such status: {status}"))?,
    })
}

/// The rows under the heading. A file that is compiled in and is not a table is a mistake of whoever edited it, which
/// every test of this crate that asks for a row reports.
fn rows<const COLUMNS: usize>(
    name: &'static str,
    text: &'static str,
) -> impl Iterator<Item = [&'static str; COLUMNS]> {
    text.lines().skip(1).map(move |line| {
        let cells: Vec<&str> = line.split('\t').collect();
        cells.try_into().unwrap_or_else(|cells: Vec<&str>| {
            panic!("catalogue/{name}.tsv: {} columns instead of {COLUMNS}: {line}", cells.len())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_id_and_named_by_clause() {
        let row = find("6749-042").expect("in the catalogue");
        assert_eq!(row.clause(), "RFC 6749 section 4.1.2");
        assert_eq!((row.level, row.role), (Level::Must, Role::AuthorizationServer));
        assert_eq!(find("6749-084").expect("in the catalogue").clause(), "RFC 6749 appendix B");
        assert!(find("6749-999").is_none() && find_attack("Z99").is_none());
        assert_eq!(find_attack("B02").expect("in the catalogue").id, "B02");
    }

    #[test]
    fn ids_are_unique_and_ascend_within_their_family() {
        let families: Vec<&str> =
            specifications().iter().map(|specification| specification.family).collect();
        let place = |row: &Requirement| {
            let family = families.iter().position(|family| *family == row.specification.family);
            (family, row.id)
        };
        assert!(requirements().is_sorted_by(|one, next| place(one) < place(next)));
        assert!(attacks().is_sorted_by(|one, next| one.id < next.id));
        assert_eq!(CATALOGUE.requirement_of_id.len(), requirements().len());
    }

    #[test]
    fn every_row_is_a_sentence_and_every_excuse_says_something() {
        let sentences = requirements().iter().map(|row| (row.id, row.sentence, row.status));
        let sentences =
            sentences.chain(attacks().iter().map(|row| (row.id, row.sentence, row.status)));
        for (id, sentence, status) in sentences {
            assert!(sentence.len() > 15 && sentence.ends_with('.'), "{id}: {sentence}");
            assert_eq!(sentence.trim(), sentence, "{id}");
            match status {
                Status::Covered => {}
                Status::Later(what) => assert!(what.len() > 3, "{id}"),
                Status::Partly(reason) | Status::Waived(reason) => {
                    assert!(reason.len() > 20, "{id}: {reason}")
                }
            }
        }
    }
}
