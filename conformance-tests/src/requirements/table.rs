//! The catalogue as a page.

use std::fmt::Write as _;
use std::path::Path;

use super::trace::{Cited, Trace};
use super::{Status, attacks, requirements, specifications};

const HEAD: &str = "\
# Requirements

What the specifications ask of an authorization server and of what accepts its tokens, what went wrong in real
servers, and which test shows that it holds here. A test names what it shows by the ids of this page.

This page is written by `cargo run -p grantor-conformance --example requirements`, from the catalogue in
[`catalogue`](catalogue) and from the sources of the tests; a test fails when it is out of date, when a row has neither
a test nor a reason, and when a test names an id that is not here.

* A level of **described** is what a specification says without a key word of RFC 2119, **hardening** what no
  specification asks for and real servers were attacked for.
* Requirements of a *protected resource* are marked so; all others are the authorization server's.
* **Runner**: whether the black-box runner asks any server about it.
* **Partly**: a test shows a part. **Waived**: does not concern Grantor, or no test can show it. **Later**: comes with
  what is not built yet.
";

/// The page, for the folder `conformance-tests`.
#[must_use]
pub fn table(trace: &Trace) -> String {
    let mut page = String::from(HEAD);
    let mut counts = Vec::new();
    let mut tables = String::new();
    for specification in specifications() {
        let rows: Vec<_> =
            requirements().iter().filter(|row| row.specification == specification).collect();
        let heading = format!("{}: {}", specification.name, specification.title);
        counts.push(Count::of(&heading, rows.iter().map(|row| row.status)));
        let _ = write!(
            tables,
            "\n## {heading}\n\n<{}>\n\n| id | section | level | requirement | runner | shown by |\n|---|---|---|---|---|---|\n",
            specification.address
        );
        for row in rows {
            let resource = match row.role {
                super::Role::AuthorizationServer => "",
                super::Role::ProtectedResource => "*Protected resource:* ",
            };
            let cited = Cited::Requirement(row.id.to_owned());
            let (section, level) = (row.section, row.level);
            let mut sentence = escaped(row.sentence);
            if !row.checked.is_empty() {
                let _ = write!(sentence, "<br><sub>Compared with {}.</sub>", escaped(row.checked));
            }
            let asked = if trace.is_asked(&cited) { "yes" } else { "" };
            let shown = shown(trace, &cited, row.status);
            let _ = writeln!(
                tables,
                "| {} | {section} | {level} | {resource}{sentence} | {asked} | {shown} |",
                row.id
            );
        }
    }
    let _ = write!(
        tables,
        "\n## Attacks\n\n| id | subject | what must not succeed | shown by |\n|---|---|---|---|\n"
    );
    for row in attacks() {
        let shown = shown(trace, &Cited::Attack(row.id.to_owned()), row.status);
        let _ = writeln!(
            tables,
            "| {} | {} | {} | {shown} |",
            row.id,
            escaped(row.subject),
            escaped(row.sentence)
        );
    }

    page.push_str("\n| | rows | covered | partly | waived | later |\n|---|--:|--:|--:|--:|--:|\n");
    for count in &counts {
        count.write(&mut page, &format!("[{}](#{})", count.name, anchor(&count.name)));
    }
    Count::of("", requirements().iter().map(|row| row.status))
        .write(&mut page, "**all requirements**");
    Count::of("", attacks().iter().map(|row| row.status)).write(&mut page, "[attacks](#attacks)");
    page + &tables
}

/// How many rows there are of each status.
struct Count {
    name: String,
    covered: usize,
    partly: usize,
    waived: usize,
    later: usize,
}

impl Count {
    fn of(name: &str, rows: impl Iterator<Item = Status>) -> Self {
        let mut count = Self { name: name.to_owned(), covered: 0, partly: 0, waived: 0, later: 0 };
        for status in rows {
            *match status {
                Status::Covered => &mut count.covered,
                Status::Partly(_) => &mut count.partly,
                Status::Waived(_) => &mut count.waived,
                Status::Later(_) => &mut count.later,
            } += 1;
        }
        count
    }

    fn write(&self, page: &mut String, name: &str) {
        let Self { covered, partly, waived, later, .. } = self;
        let rows = covered + partly + waived + later;
        let _ = writeln!(page, "| {name} | {rows} | {covered} | {partly} | {waived} | {later} |");
    }
}

/// The last cell of a row: the tests, and what the catalogue says where they are not all.
fn shown(trace: &Trace, cited: &Cited, status: Status) -> String {
    let mut parts = Vec::new();
    match status {
        Status::Covered => {}
        Status::Partly(reason) => parts.push(format!("**Partly**: {}", escaped(reason))),
        Status::Waived(reason) => parts.push(format!("**Waived**: {}", escaped(reason))),
        Status::Later(what) => parts.push(format!("**Later**: {}", escaped(what))),
    }
    for test in trace.tests(cited) {
        let file = test.file.strip_prefix("conformance-tests").map_or_else(
            |_| Path::new("..").join(&test.file).display().to_string(),
            |inside| inside.display().to_string(),
        );
        parts.push(format!("[`{}`]({file})", test.name));
    }
    parts.join("<br>")
}

/// The fragment that code-hosting pages give a heading.
fn anchor(heading: &str) -> String {
    let kept =
        heading.chars().filter(|mark| mark.is_alphanumeric() || matches!(mark, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Text for a cell of a table: what is markup outside of `code` is not.
fn escaped(text: &str) -> String {
    let mut code = false;
    let mut out = String::with_capacity(text.len());
    for mark in text.chars() {
        match mark {
            '`' => code = !code,
            '|' => out.push('\\'),
            '<' | '*' | '_' | '[' if !code => out.push('\\'),
            _ => {}
        }
        out.push(mark);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        assert_eq!(escaped("a|b <i> *x* `a_b`, a_b"), "a\\|b \\<i> \\*x\\* `a_b`, a\\_b");
        assert_eq!(anchor("RFC 6749: The OAuth 2.0 Framework"), "rfc-6749-the-oauth-20-framework");
    }
}
