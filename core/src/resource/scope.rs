//! Scopes as types.

use std::marker::PhantomData;

use crate::model::{ScopeSet, ScopeToken};

/// A scope as a type: what a handler needs stands in its signature, and a name that is no scope does
/// not compile.
///
/// ```
/// struct CalendarRead;
/// impl grantor::resource::RequiredScope for CalendarRead {
///     const SCOPE: &'static str = "calendar.read";
/// }
/// ```
///
/// ```compile_fail
/// struct Broken;
/// impl grantor::resource::RequiredScope for Broken {
///     const SCOPE: &'static str = "calendar\"read";
/// }
/// # fn guard() -> grantor::resource::Guard { unimplemented!() }
/// # let (guard, headers, uri) = (guard(), http::HeaderMap::new(), http::Uri::default());
/// let _ = guard.check_for::<Broken>(&headers, &uri);
/// ```
pub trait RequiredScope: Send + Sync + 'static {
    /// The scopes, divided by spaces (RFC 6749 section 3.3). The empty text asks for an active token
    /// and no more.
    const SCOPE: &'static str;
}

/// No scope: the token has to be active, and that is all.
impl RequiredScope for () {
    const SCOPE: &'static str = "";
}

/// Evaluated by the compiler, for each scope that is used. It is not part of the trait, so that no
/// implementation can leave it out.
struct Checked<S>(PhantomData<S>);

impl<S: RequiredScope> Checked<S> {
    const GRAMMAR: () = assert!(
        is_scope(S::SCOPE.as_bytes()),
        "SCOPE is no list of scopes (RFC 6749 section 3.3): printable ASCII without quotes and \
         backslashes, divided by single spaces"
    );
}

/// The scope that `S` names.
pub(super) fn of<S: RequiredScope>() -> ScopeSet {
    let () = Checked::<S>::GRAMMAR;
    // A door that nobody opens, if the two readings ever differed: no scope that exists is this long.
    ScopeSet::parse(S::SCOPE).unwrap_or_else(|_| ScopeSet::impossible())
}

/// What [`ScopeSet::parse`] accepts, for the compiler.
const fn is_scope(text: &[u8]) -> bool {
    if text.is_empty() {
        return true;
    }
    let (mut at, mut length, mut count, mut rest) = (0, 0, 1, text);
    while let [byte, more @ ..] = rest {
        if *byte == b' ' {
            if length == 0 {
                return false;
            }
            length = 0;
            count += 1;
        } else if matches!(*byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e) {
            length += 1;
        } else {
            return false;
        }
        if length > ScopeToken::MAX_LEN {
            return false;
        }
        at += 1;
        rest = more;
    }
    length > 0 && at <= ScopeSet::MAX_LEN && count <= ScopeSet::MAX_COUNT
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_compiler_reads_scopes_as_the_server_does(
            text in "([a-c!#\\[\\]~ \"\\\\\u{7f}é]{0,8}|[a-z]{120,135}|([a-z]{1,3} ){60,66}[a-z])"
        ) {
            // A scope named twice counts twice here and once there: the compiler may be stricter.
            let read = ScopeSet::parse(&text).is_ok();
            prop_assert!(read || !is_scope(text.as_bytes()), "{text:?}");
            let words: Vec<&str> = text.split(' ').collect();
            if words.len() <= ScopeSet::MAX_COUNT {
                prop_assert_eq!(is_scope(text.as_bytes()), read);
            }
        }
    }
}
