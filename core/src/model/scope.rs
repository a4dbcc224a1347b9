//! Scopes (RFC 6749 section 3.3).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::read_text;

/// One scope: printable ASCII without space, quote and backslash, compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeToken(Box<str>);

impl ScopeToken {
    /// The longest accepted scope, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Checks and wraps one scope.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        // RFC 6749 appendix A.4: scope-token = 1*NQCHAR, %x21 / %x23-5B / %x5D-7E.
        let nqchar = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(nqchar) {
            return Err(InvalidScope);
        }
        Ok(Self(text.into()))
    }

    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ScopeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ScopeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for ScopeToken {
    type Err = InvalidScope;
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Self::parse(text)
    }
}

impl Serialize for ScopeToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ScopeToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, Self::parse)
    }
}

/// A set of scopes. The order in which a client wrote them has no meaning (RFC 6749 section 3.3),
/// so none is kept.
///
/// Cloning is cheap.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeSet(
    /// In byte order, each once; `None`: there is none.
    Option<Arc<[ScopeToken]>>,
);

impl ScopeSet {
    /// The most scopes that may be asked for at once, and that a policy may define.
    pub const MAX_COUNT: usize = 64;
    /// The longest list of scopes that may be asked for, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// No scope.
    pub const fn empty() -> Self {
        Self(None)
    }

    /// A scope that no token has: longer than any that can be asked for.
    pub(crate) fn impossible() -> Self {
        Self::from_iter([ScopeToken("!".repeat(ScopeToken::MAX_LEN + 1).into())])
    }

    /// Reads a space-delimited list. The empty text is the empty set.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let set = if text.len() > Self::MAX_LEN { Err(InvalidScope) } else { Self::read(text) }?;
        if set.len() > Self::MAX_COUNT { Err(InvalidScope) } else { Ok(set) }
    }

    /// Reads a list of any length: one of our own.
    fn read(text: &str) -> Result<Self, InvalidScope> {
        if text.is_empty() {
            return Ok(Self::empty());
        }
        text.split(' ').map(ScopeToken::parse).collect()
    }

    fn tokens(&self) -> &[ScopeToken] {
        self.0.as_deref().unwrap_or_default()
    }

    fn has(&self, token: &ScopeToken) -> bool {
        self.tokens().binary_search(token).is_ok()
    }

    /// Which scopes of `whole` are in this set, as bits in the order of `whole`.
    pub(crate) fn bits_in(&self, whole: &Self) -> u64 {
        let bits = whole.iter().zip(0..u64::BITS).filter(|(token, _)| self.has(token));
        bits.fold(0, |mask, (_, bit)| mask | 1 << bit)
    }

    /// The scopes of this set that [`bits_in`](Self::bits_in) names.
    pub(crate) fn pick(&self, bits: u64) -> Self {
        let tokens = self.iter().zip(0..u64::BITS).filter(|(_, bit)| bits & (1 << bit) != 0);
        tokens.map(|(token, _)| token.clone()).collect()
    }

    /// Whether there is no scope in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many scopes it holds.
    pub fn len(&self) -> usize {
        self.tokens().len()
    }

    /// The scopes, in byte order.
    pub fn iter(&self) -> impl Iterator<Item = &ScopeToken> {
        self.tokens().iter()
    }

    /// Whether `scope` is in it.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|token| token.as_str() == scope)
    }

    /// Whether every scope of this set is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|token| other.has(token))
    }

    /// The scopes of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).cloned().collect()
    }

    /// The scopes that both have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        if self.is_subset(other) {
            return self.clone();
        }
        self.iter().filter(|token| other.has(token)).cloned().collect()
    }
}

impl FromIterator<ScopeToken> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = ScopeToken>>(tokens: I) -> Self {
        let mut tokens = tokens.into_iter();
        let Some(first) = tokens.next() else { return Self::empty() };
        let Some(second) = tokens.next() else { return Self(Some([first].into())) };
        let mut tokens: Vec<ScopeToken> = [first, second].into_iter().chain(tokens).collect();
        tokens.sort_unstable();
        tokens.dedup();
        Self(Some(tokens.into()))
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, token) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl FromStr for ScopeSet {
    type Err = InvalidScope;
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Self::parse(text)
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.tokens() {
            [only] => only.serialize(serializer),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, Self::read)
    }
}

/// The text is not a list of scopes (RFC 6749 section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is printable ASCII without quote and backslash; scopes are divided by one space")]
pub struct InvalidScope;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grammar_of_rfc_6749_is_enforced() {
        // Requirement 6749-039, ATTACKS J14.
        for bad in
            ["a  b", " a", "a ", "a\tb", "a\nb", "a\"b", "a\\b", "a\0", "caf\u{e9}", "\u{7f}"]
        {
            assert_eq!(ScopeSet::parse(bad), Err(InvalidScope), "{bad:?}");
        }
        assert_eq!(ScopeSet::parse("a b"), ScopeSet::parse("b a"));
        assert_ne!(ScopeSet::parse("READ"), ScopeSet::parse("read"));
        assert_eq!(ScopeSet::parse(""), Ok(ScopeSet::empty()));
    }

    #[test]
    fn a_list_without_end_is_refused() {
        // ATTACKS J06.
        let many: Vec<String> = (0..=ScopeSet::MAX_COUNT).map(|n| n.to_string()).collect();
        assert_eq!(ScopeSet::parse(&many.join(" ")), Err(InvalidScope));
        assert_eq!(ScopeToken::parse(&"x".repeat(129)), Err(InvalidScope));
    }

    #[test]
    fn a_part_of_a_set_is_a_handful_of_bits() {
        let whole: Vec<String> = (0..64).map(|n| format!("scope-{n}")).collect();
        let whole = ScopeSet::parse(&whole.join(" ")).expect("64 scopes");
        for part in ["", "scope-0", "scope-63 scope-7 scope-12"] {
            let part = ScopeSet::parse(part).expect("scopes");
            assert_eq!(whole.pick(part.bits_in(&whole)), part);
        }
        assert_eq!(whole.pick(whole.bits_in(&whole)), whole);
    }

    proptest! {
        #[test]
        fn text_and_set_are_the_same_thing(tokens in proptest::collection::vec("[!#-\\[\\]-~]{1,12}", 0..9)) {
            let set = ScopeSet::parse(&tokens.join(" ")).expect("grammar");
            prop_assert_eq!(ScopeSet::parse(&set.to_string()).expect("its own text"), set);
        }
    }
}
