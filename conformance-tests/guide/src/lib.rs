//! The guide, tried. It stands in `core/docs/guide` and is read as `grantor::guide`; its snippets
//! are compiled here, because they need what the core must not know: frameworks and stores.

#![doc(test(attr(deny(unused_imports, unused_must_use, deprecated))))]

/// A chapter, for `cargo test --doc`.
macro_rules! chapters {
    ($($name:ident)*) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("../../../core/docs/guide/", stringify!($name), ".md"))]
            mod $name {}
        )*
    };
}

chapters! {
    concepts customising embedding errors migration production resources security start storage users
}
