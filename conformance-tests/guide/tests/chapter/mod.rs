//! Reading a chapter.

/// What stands between two fences.
pub(crate) struct Block<'a> {
    /// What the first fence says: `sh`, `rust,no_run`, ...
    pub(crate) language: &'a str,
    pub(crate) text: &'a str,
}

/// The fenced blocks of a chapter, in order.
pub(crate) fn blocks(chapter: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut rest = chapter;
    while let Some((_, begun)) = rest.split_once("\n```") {
        let (language, text) = begun.split_once('\n').expect("a line after the fence");
        let (text, after) = text.split_once("\n```\n").expect("a fence that closes");
        // With the line end that belongs to the last line.
        let text = &begun[language.len() + 1..language.len() + 2 + text.len()];
        found.push(Block { language, text });
        rest = after;
    }
    found
}

/// Whether a line is what is shown, where `...` stands for anything.
pub(crate) fn looks_like(line: &str, shown: &str) -> bool {
    let mut parts = shown.split("...");
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.is_empty() || shown.ends_with("...")
}

#[test]
fn a_line_is_compared_with_what_is_shown() {
    assert!(looks_like("abc", "abc"));
    assert!(looks_like("a123c456e", "a...c...e"));
    assert!(!looks_like("abc", "ab"));
    assert!(!looks_like("abc", "abcd"));
    assert!(!looks_like("a123c456", "a...c...e"));
}
