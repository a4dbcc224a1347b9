//! The identifier in a key.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A short byte string. Those of authorizations, sessions and most clients lie in the key itself: a key
/// is made, copied and thrown away several times for every request.
#[derive(Clone)]
pub(super) enum Id {
    Here { len: u8, bytes: [u8; Id::HERE] },
    Elsewhere(Box<[u8]>),
}

impl Id {
    /// As much as fits beside a pointer and a length.
    const HERE: usize = 22;

    pub(super) fn of(id: &[u8]) -> Self {
        let mut bytes = [0; Self::HERE];
        match (bytes.get_mut(..id.len()), u8::try_from(id.len())) {
            (Some(here), Ok(len)) => {
                here.copy_from_slice(id);
                Self::Here { len, bytes }
            }
            _ => Self::Elsewhere(id.into()),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Here { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Elsewhere(bytes) => bytes,
        }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Id {}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_its_bytes_wherever_they_lie(
            one in prop::collection::vec(any::<u8>(), 0..40),
            other in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let (a, b) = (Id::of(&one), Id::of(&other));
            prop_assert_eq!(a.as_bytes(), one.as_slice());
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            prop_assert_eq!(a == b, one == other);
        }
    }

    #[test]
    fn it_is_no_larger_than_what_it_replaces_by_much() {
        assert_eq!(size_of::<Id>(), size_of::<Box<[u8]>>() + 8);
    }
}
