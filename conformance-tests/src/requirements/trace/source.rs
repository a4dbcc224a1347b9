//! A source as a reader of citations sees it: comments, strings, and which function they stand in.

use std::path::{Path, PathBuf};
use std::{fs, io, mem};

use super::{Cited, cited};

/// Where a source stands, and what the functions in it are called.
pub(super) struct Source {
    /// Its path from the root of the repository.
    pub(super) file: PathBuf,
    /// The path of its module: `wire::token`, `grantor::model::scope`.
    pub(super) module: String,
    /// Whether every function in it is test code.
    pub(super) tests: bool,
}

/// An id in a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Citation {
    pub(super) cited: Cited,
    pub(super) line: usize,
    /// The function that shows it, if it stands in one that is test code.
    pub(super) test: Option<String>,
}

impl Source {
    /// The source at this path from the root, of the package whose manifest is nearest above it.
    pub(super) fn new(root: &Path, file: &Path) -> io::Result<Self> {
        let mut package = file;
        let manifest = loop {
            package = package
                .parent()
                .ok_or_else(|| io::Error::other("a source outside of a package"))?;
            let manifest = root.join(package).join("Cargo.toml");
            if manifest.exists() {
                break fs::read_to_string(manifest)?;
            }
        };
        let name = manifest
            .lines()
            .find_map(|line| line.strip_prefix("name = "))
            .map_or_else(String::new, |name| name.trim_matches('"').replace('-', "_"));
        let inside = file.strip_prefix(package).map_err(io::Error::other)?;
        let mut path: Vec<String> = inside
            .with_extension("")
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        path.retain(|part| !matches!(part.as_str(), "main" | "mod" | "lib"));
        let tests = path.first().is_some_and(|first| first == "tests");
        match path.first_mut() {
            Some(first) if tests || first == "src" => {
                if tests {
                    path.remove(0);
                } else {
                    first.clone_from(&name);
                }
            }
            _ => {}
        }
        Ok(Self {
            file: file.to_owned(),
            module: path.join("::"),
            tests: tests || name.starts_with("grantor_conformance"),
        })
    }

    /// Every citation, in order.
    pub(super) fn citations(&self, text: &str) -> Vec<Citation> {
        let mut reader = Reader {
            source: self,
            found: Vec::new(),
            scopes: Vec::new(),
            above: Vec::new(),
            next: None,
        };
        let mut tokens = Tokens { text, at: 0, line: 1 }.peekable();
        while let Some((line, token)) = tokens.next() {
            match token {
                // Lines of one comment are one text: a list of ids may be longer than a line.
                Token::Comment(first) => {
                    let mut comment = first.to_owned();
                    while let Some((_, Token::Comment(more))) =
                        tokens.next_if(|(_, token)| matches!(token, Token::Comment(_)))
                    {
                        comment.push('\n');
                        comment.push_str(more);
                    }
                    reader.text(line, &comment, true);
                }
                Token::Text(text) => reader.text(line, text, false),
                Token::Word("fn") => {
                    if let Some((_, Token::Word(name))) =
                        tokens.next_if(|(_, token)| matches!(token, Token::Word(_)))
                    {
                        reader.next = Some(Scope::Function {
                            name: name.to_owned(),
                            test: reader.attribute(),
                            depth: 0,
                        });
                    }
                }
                Token::Word("mod") => {
                    if let Some((_, Token::Word(name))) =
                        tokens.next_if(|(_, token)| matches!(token, Token::Word(_)))
                    {
                        reader.next = Some(Scope::Module(name.to_owned()));
                    }
                }
                Token::Word(_) => {}
                Token::Attribute(text) => {
                    reader.text(line, text, false);
                    reader.above.push(Above::Attribute(text.to_owned()));
                }
                Token::Mark(mark) => reader.mark(mark),
            }
        }
        reader.above_nothing();
        reader.found
    }
}

/// What a brace opened, or is about to.
enum Scope {
    /// A function, and how many parentheses and brackets of its signature are open.
    Function {
        name: String,
        test: bool,
        depth: u32,
    },
    Module(String),
    Other,
}

/// What stands in front of an item.
enum Above {
    Attribute(String),
    Citation(Citation),
}

struct Reader<'a> {
    source: &'a Source,
    found: Vec<Citation>,
    scopes: Vec<Scope>,
    above: Vec<Above>,
    next: Option<Scope>,
}

impl Reader<'_> {
    fn text(&mut self, line: usize, text: &str, comment: bool) {
        for (cited, down) in cited(text, comment) {
            let citation = Citation { cited, line: line + down, test: self.function() };
            let outside = !self.scopes.iter().any(|scope| matches!(scope, Scope::Function { .. }));
            if outside && self.next.is_none() {
                self.above.push(Above::Citation(citation));
            } else {
                self.found.push(citation);
            }
        }
    }

    /// The outermost function that is open, if it is test code.
    fn function(&self) -> Option<String> {
        let mut path = vec![self.source.module.clone()];
        for scope in self.scopes.iter().chain(&self.next) {
            match scope {
                Scope::Module(name) => path.push(name.clone()),
                Scope::Function { name, test, .. } => {
                    path.push(name.clone());
                    return (*test || self.source.tests).then(|| path.join("::"));
                }
                Scope::Other => {}
            }
        }
        None
    }

    /// Whether what stands in front of the item makes it a test that runs.
    fn attribute(&self) -> bool {
        let attributes = self.above.iter().filter_map(|above| match above {
            Above::Attribute(text) => {
                Some(text.split(['(', '=']).next().unwrap_or_default().trim())
            }
            Above::Citation(_) => None,
        });
        let names: Vec<&str> =
            attributes.map(|path| path.rsplit("::").next().unwrap_or_default()).collect();
        names.contains(&"test") && !names.contains(&"ignore")
    }

    fn mark(&mut self, mark: char) {
        match (mark, &mut self.next) {
            ('(' | '[', Some(Scope::Function { depth, .. })) => *depth += 1,
            (')' | ']', Some(Scope::Function { depth, .. })) => *depth = depth.saturating_sub(1),
            (';', Some(Scope::Function { depth: 1.., .. })) => {}
            ('{', _) => {
                let scope = self.next.take().unwrap_or(Scope::Other);
                let function = matches!(scope, Scope::Function { .. });
                self.scopes.push(scope);
                let test = self.function();
                for above in mem::take(&mut self.above) {
                    if let Above::Citation(citation) = above {
                        let test = test.clone().filter(|_| function);
                        self.found.push(Citation { test, ..citation });
                    }
                }
            }
            ('}' | ';', _) => {
                if mark == '}' {
                    self.scopes.pop();
                }
                self.next = None;
                self.above_nothing();
            }
            _ => {}
        }
    }

    /// What stands above no function is cited, and shown by nothing.
    fn above_nothing(&mut self) {
        for above in mem::take(&mut self.above) {
            if let Above::Citation(citation) = above {
                self.found.push(citation);
            }
        }
    }
}

/// A piece of source.
enum Token<'a> {
    Comment(&'a str),
    Text(&'a str),
    Word(&'a str),
    /// What stands between `#[` and `]`.
    Attribute(&'a str),
    Mark(char),
}

#[derive(Clone)]
struct Tokens<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Tokens<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Takes so many bytes.
    fn take(&mut self, bytes: usize) -> &'a str {
        let taken = self.rest().get(..bytes).unwrap_or_else(|| self.rest());
        self.at += taken.len();
        self.line += taken.matches('\n').count();
        taken
    }

    /// How long the block comment is that begins here; they nest.
    fn block(&self) -> usize {
        let (bytes, mut depth) = (self.rest().as_bytes(), 0_u32);
        let mut at = 0;
        while at < bytes.len() {
            match bytes.get(at..at + 2) {
                Some(b"/*") => (depth, at) = (depth + 1, at + 2),
                Some(b"*/") => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
            if depth == 0 {
                break;
            }
        }
        at
    }

    /// How long the string is that begins here after its prefix, quotes and all.
    fn string(&self, prefix: usize, raw: bool) -> usize {
        let rest = self.rest();
        let hashes = rest[prefix..].bytes().take_while(|byte| *byte == b'#').count();
        let start = prefix + hashes + 1;
        if raw {
            let end = format!("\"{}", "#".repeat(hashes));
            return rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len());
        }
        let mut escaped = false;
        for (at, byte) in rest.bytes().enumerate().skip(start) {
            match byte {
                b'"' if !escaped => return at + 1,
                b'\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        rest.len()
    }

    /// How long the attribute is that begins here, brackets and all.
    fn attribute(&self) -> usize {
        let mut inside = Self { text: self.text, at: self.at + 1, line: 0 };
        let mut depth = 0_u32;
        for (_, token) in inside.by_ref() {
            match token {
                Token::Mark('[') => depth += 1,
                Token::Mark(']') => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                _ => {}
            }
        }
        inside.at - self.at
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (usize, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let space = self.rest().len() - self.rest().trim_start().len();
        self.take(space);
        let (line, rest) = (self.line, self.rest());
        let first = rest.chars().next()?;
        let word =
            rest.find(|mark: char| !(mark.is_alphanumeric() || mark == '_')).unwrap_or(rest.len());
        let prefixed = |prefixes: &[&str]| {
            prefixes.contains(&&rest[..word])
                && rest[word..].trim_start_matches('#').starts_with('"')
        };
        let token = if rest.starts_with("//") {
            Token::Comment(
                self.take(rest.find('\n').unwrap_or(rest.len())).trim_start_matches(['/', '!']),
            )
        } else if rest.starts_with("/*") {
            let length = self.block();
            Token::Comment(self.take(length))
        } else if rest.starts_with("#[") {
            let length = self.attribute();
            Token::Attribute(self.take(length).trim_start_matches("#[").trim_end_matches(']'))
        } else if first == '"' || prefixed(&["b", "c"]) {
            let length = self.string(word, false);
            Token::Text(self.take(length))
        } else if prefixed(&["r", "br", "cr"]) {
            let length = self.string(word, true);
            Token::Text(self.take(length))
        } else if first == '\'' || rest.starts_with("b'") {
            // A character or a lifetime.
            let start = rest.find('\'').unwrap_or_default() + 1;
            let mut inside = rest[start..].char_indices();
            let length = match inside.next() {
                Some((_, '\\')) => rest[start + 2..].find('\'').map(|end| start + 2 + end + 1),
                Some(_) => {
                    inside.next().filter(|(_, mark)| *mark == '\'').map(|(end, _)| start + end + 1)
                }
                None => None,
            };
            self.take(length.unwrap_or(start));
            Token::Mark('\'')
        } else if word > 0 {
            Token::Word(self.take(word))
        } else {
            self.take(first.len_utf8());
            Token::Mark(first)
        };
        Some((line, token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tests: bool, text: &str) -> Vec<(String, Option<String>)> {
        let source = Source { file: PathBuf::from("a.rs"), module: "wire".to_owned(), tests };
        let found = source.citations(text);
        found.into_iter().map(|citation| (citation.cited.to_string(), citation.test)).collect()
    }

    fn shown(text: &str) -> Option<String> {
        let mut found = read(false, text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        found.remove(0).1
    }

    #[test]
    fn a_citation_belongs_to_the_function_that_it_stands_in_or_above() {
        let one = Some("wire::one".to_owned());
        assert_eq!(shown("#[test]\nfn one() {\n    // 6749-001\n}"), one);
        assert_eq!(shown("/// 6749-001\n#[test]\nfn one() {}\nfn two() {}"), one);
        assert_eq!(
            shown(
                "#[tokio::test(flavor = \"multi_thread\")]\nasync fn one(a: [u8; 2]) { f(\"6749-001\") }"
            ),
            one
        );
        assert_eq!(
            shown("mod tests { #[test] fn one() { if a { /* 6749-001 */ } } }"),
            Some("wire::tests::one".into())
        );
        assert_eq!(shown("proptest! {\n/// 6749-001\n#[test]\nfn one(a in 0..2) {} }"), one);
        assert_eq!(shown("#[test] fn one() { fn helper() { r#\"6749-001 } \"#; } }"), one);
        assert_eq!(shown("#[test] fn one() { let a: &'a str = b'\\''; '{'; // 6749-001\n }"), one);
    }

    #[test]
    fn a_list_goes_on_in_the_next_line() {
        let found =
            read(true, "fn one() {\n    // ATTACKS A01,\n    // A02.\n    two();\n    // A03\n}");
        let one = Some("wire::one".to_owned());
        assert_eq!(found, [("ATTACKS A01".into(), one.clone()), ("ATTACKS A02".into(), one)]);
    }

    #[test]
    fn what_is_above_no_function_or_in_no_test_shows_nothing() {
        assert_eq!(shown("//! 6749-001\nuse a;\n#[test] fn one() {}"), None);
        assert_eq!(shown("/// 6749-001\nstruct A;\n#[test] fn one() {}"), None);
        assert_eq!(shown("/// 6749-001\nstruct A { b: u8 }\n#[test] fn one() {}"), None);
        assert_eq!(shown("const A: &str = \"6749-001\";\n#[test] fn one() {}"), None);
        assert_eq!(shown("fn one() { /* 6749-001 */ }"), None);
        assert_eq!(shown("#[test] #[ignore = \"slow\"] fn one() { /* 6749-001 */ }"), None);
        assert_eq!(shown("#[test] fn one() {}\n// 6749-001"), None, "at the end");
    }

    #[test]
    fn in_test_code_any_function_counts() {
        let found = read(true, "/// 6749-001\nfn rule() {}");
        assert_eq!(found, [("6749-001".into(), Some("wire::rule".into()))]);
    }
}
