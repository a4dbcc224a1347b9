#![doc = include_str!("../docs/guide/guide.md")]

// The snippets are compiled by the package `grantor-guide`: they need frameworks and stores, which the
// core must not know.

/// A chapter, from the file of its name.
macro_rules! chapters {
    ($($name:ident)*) => {
        $(
            #[doc = include_str!(concat!("../docs/guide/", stringify!($name), ".md"))]
            pub mod $name {}
        )*
    };
}

chapters! {
    start concepts embedding users storage resources production security errors customising migration
}
