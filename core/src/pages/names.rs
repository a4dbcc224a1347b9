//! Names that other people chose.

/// The longest name that is shown in full, in characters; clients may register no longer one.
const MAX_SHOWN_CHARS: usize = crate::model::Client::MAX_NAME_CHARS;

/// A name as it may be shown: on one line, no longer than a name may be, without characters that
/// cannot be seen or that change the order of others (ATTACKS G09).
pub(super) fn clean(name: &str) -> String {
    let mut out = String::new();
    let mut length = 0;
    for word in name.split(|c: char| c.is_whitespace() || c.is_control()) {
        let mut letters = word.chars().filter(|c| !is_invisible(*c)).peekable();
        if letters.peek().is_none() {
            continue;
        }
        if length > 0 {
            out.push(' ');
            length += 1;
        }
        for letter in letters {
            if length >= MAX_SHOWN_CHARS {
                out.push('…');
                return out;
            }
            out.push(letter);
            length += 1;
        }
    }
    out
}

/// Characters that take no room or that direct the writing.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
        | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_not_there() {
        // ATTACKS G09.
        assert_eq!(clean("Cal\u{202e}en\u{200b}dar \n\u{2800}  app"), "Calendar app");
        assert_eq!(clean(" \u{feff}\t"), "");
        assert_eq!(
            clean(&"x".repeat(MAX_SHOWN_CHARS + 1)),
            "x".repeat(MAX_SHOWN_CHARS) + "\u{2026}"
        );
    }
}
