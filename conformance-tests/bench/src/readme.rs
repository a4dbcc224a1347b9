//! The README's own copy of what came out last.

use std::fs;
use std::path::Path;

use crate::contender::Fatal;

/// What of the README is written by the program that measures it.
#[derive(Clone, Copy, Debug)]
pub enum Section {
    /// Everybody by turns.
    Contest,
    /// While grants pile up.
    Scale,
    /// While something else goes on.
    Tail,
}

impl Section {
    const fn name(self) -> &'static str {
        match self {
            Self::Contest => "contest",
            Self::Scale => "scale",
            Self::Tail => "tail",
        }
    }

    /// Where the report goes, and what it is made of.
    pub(crate) const fn files(self) -> (&'static str, &'static str) {
        match self {
            Self::Contest => ("table.md", "results.json"),
            Self::Scale => ("scale.md", "scale.json"),
            Self::Tail => ("tail.md", "tail.json"),
        }
    }
}

/// Puts `text` where this README keeps what comes out of this.
pub(crate) fn replace(readme: &Path, section: Section, text: &str) -> Result<(), Fatal> {
    let whole = fs::read_to_string(readme)?;
    fs::write(readme, replaced(&whole, section.name(), text)?)?;
    Ok(())
}

fn replaced(whole: &str, section: &str, text: &str) -> Result<String, Fatal> {
    let (begin, end) =
        (format!("<!-- {section} begins -->\n"), format!("<!-- {section} ends -->\n"));
    let missing = || format!("the README has no section {section}");
    let (before, rest) = whole.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}{}\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_nothing_else() -> Result<(), Fatal> {
        let whole =
            "a\n<!-- x begins -->\nold\n<!-- x ends -->\nb\n<!-- y begins -->\n<!-- y ends -->\n";
        let new = replaced(whole, "x", "new\n\n")?;
        assert_eq!(new, whole.replace("old", "new"));
        assert_eq!(replaced(&new, "x", "old")?, whole);
        assert!(replaced(whole, "z", "new").is_err());
        Ok(())
    }

    #[test]
    fn this_readme_has_a_place_for_each() -> Result<(), Fatal> {
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let whole = fs::read_to_string(readme)?;
        for section in [Section::Contest, Section::Scale, Section::Tail] {
            replaced(&whole, section.name(), "")?;
        }
        Ok(())
    }
}
