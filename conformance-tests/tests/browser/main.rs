//! The pages in a real browser: Chromium, driven through WebDriver, in English and in Korean.
//!
//! The servers are the binary `grantor`, once as the demo and once as `serve`. Pictures of the pages are
//! left in `target/screenshots`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests report by panicking, also in their helpers"
)]

mod answers;
mod apps;
mod browser;
mod interrupted;
mod party;
mod twice;
mod usable;
mod words;

/// Runs each test once per language.
macro_rules! in_both_languages {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[tokio::test]
            async fn english() {
                super::$name(&crate::words::ENGLISH).await;
            }

            #[tokio::test]
            async fn korean() {
                super::$name(&crate::words::KOREAN).await;
            }
        })+
    };
}
pub(crate) use in_both_languages;
