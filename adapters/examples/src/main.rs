//! How long the examples are: `cargo run -p grantor-examples`.
//!
//! A line counts unless it is blank, a comment, or part of a `use`: so the HTML of a page counts. All files of
//! one name are one example.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    #[expect(clippy::print_stdout, reason = "this is what it is for")]
    {
        print!("{}", table(&examples()?));
    }
    Ok(())
}

/// The examples and their lines, by name.
fn examples() -> io::Result<BTreeMap<String, usize>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut examples = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        *examples.entry(name).or_default() += lines(&fs::read_to_string(path)?);
    }
    Ok(examples)
}

fn table(examples: &BTreeMap<String, usize>) -> String {
    examples.iter().map(|(name, lines)| format!("{lines:3} examples/{name}\n")).collect()
}

/// The lines that count.
fn lines(source: &str) -> usize {
    let mut importing = false;
    let counts = |line: &&str| {
        let line = line.trim();
        let import = importing || line.starts_with("use ");
        importing = import && !line.ends_with(';');
        !import && !line.is_empty() && !line.starts_with("//")
    };
    source.lines().filter(counts).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_sixty_lines_at_most() {
        let examples = examples().expect("they are here");
        assert_eq!(examples.len(), 3, "{examples:?}");
        for (name, lines) in &examples {
            assert!(*lines <= 60, "{name} has {lines} lines");
        }
        let said = table(&examples);
        assert!(include_str!("../README.md").contains(&said), "README.md does not say:\n{said}");
    }

    #[test]
    fn what_does_something_counts() {
        let source = "//! Says.\nuse a::b;\nuse c::{\n    d, e,\n};\n\n/// Does.\nfn f() {\n    // Why.\n    g(\"<p>\n    \
                      </p>\");\n}\n";
        assert_eq!(lines(source), 4);
    }
}
