//! Pages with a look and words of the host's own.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::check::{self, Fault};
use super::default::{DefaultPages, STYLE, TEMPLATES, built_in, read};

/// Changes [`DefaultPages`], and checks the result when it is put together: nothing that a page needs
/// can be forgotten, and a mistake shows when the program starts.
///
/// ```
/// use grantor::pages::DefaultPages;
///
/// # fn main() -> Result<(), grantor::pages::InvalidPages> {
/// let pages = DefaultPages::customize()
///     .more_style(
///         ":root { --accent: #b3123f; --accent-over: #8f0e32 } @media (prefers-color-scheme: dark) \
///          { :root { --accent: #ff9db5; --accent-over: #ffb8c9; --on-accent: #3a0412 } }",
///     )
///     .text("en", "sign_in_title", "Sign in to Example")
///     .text("en", "bad_request.advice", "Write to help@example.com.")
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CustomPages {
    templates: BTreeMap<String, Cow<'static, str>>,
    style: Option<Cow<'static, str>>,
    more_style: String,
    texts: Vec<(String, String, String)>,
}

impl CustomPages {
    pub(super) const fn new() -> Self {
        Self {
            templates: BTreeMap::new(),
            style: None,
            more_style: String::new(),
            texts: Vec::new(),
        }
    }

    /// Another template for a page: `layout.html`, which holds the others as `content`, `sign-in.html`,
    /// `consent.html`, `connections.html`, `signed-out.html` or `error.html`. Begin with a copy of ours;
    /// [`template_source`](Self::template_source) has it.
    ///
    /// The language is that of [minijinja](https://docs.rs/minijinja), without its built-in filters; what
    /// is printed is escaped. `t` holds the texts, `page` what is on the page, and the filter `fill` puts
    /// values into the places of a text. Write attributes in double quotes. A page can have no script and
    /// nothing from elsewhere: the headers that it is sent with forbid that.
    pub fn template(mut self, name: &str, source: impl Into<Cow<'static, str>>) -> Self {
        self.templates.insert(name.to_owned(), source.into());
        self
    }

    /// The template of this name as it comes.
    pub fn template_source(name: &str) -> Option<&'static str> {
        TEMPLATES.into_iter().find(|(known, _)| *known == name).map(|(_, source)| source)
    }

    /// Another style sheet.
    pub fn style(mut self, css: impl Into<Cow<'static, str>>) -> Self {
        self.style = Some(css.into());
        self
    }

    /// Rules that follow those of the style sheet: a theme.
    pub fn more_style(mut self, css: &str) -> Self {
        self.more_style.push('\n');
        self.more_style.push_str(css);
        self
    }

    /// Another text in this language (a BCP 47 tag in lower case). In a language that is not there yet,
    /// all texts must be given.
    ///
    /// [`texts`](Self::texts) lists the keys. The places in braces must be those of the original.
    pub fn text(mut self, language: &str, key: &str, text: impl Into<String>) -> Self {
        self.texts.push((language.to_owned(), key.to_owned(), text.into()));
        self
    }

    /// All texts in English, by key: for a translation to begin with.
    pub fn texts() -> BTreeMap<String, String> {
        let [english, ..] = built_in();
        let mut flat = BTreeMap::new();
        for (key, text) in english.as_object().into_iter().flatten() {
            match text {
                Json::String(text) if key != LANG => {
                    flat.insert(key.clone(), text.clone());
                }
                Json::Object(parts) => flat.extend(parts.iter().filter_map(|(part, text)| {
                    Some((format!("{key}.{part}"), text.as_str()?.to_owned()))
                })),
                _ => {}
            }
        }
        flat
    }

    /// The pages, if all of them can be shown and nothing is missing on them.
    pub fn build(self) -> Result<DefaultPages, InvalidPages> {
        let mut sources = TEMPLATES.map(|(name, source)| (name, Cow::Borrowed(source)));
        for (name, source) in self.templates {
            let known = sources.iter_mut().find(|(known, _)| *known == name);
            let (_, place) = known.ok_or(InvalidPages::UnknownTemplate(name))?;
            *place = source;
        }
        let originals = Self::texts();
        let mut languages = built_in().to_vec();
        for (language, key, text) in self.texts {
            if !is_language(&language) {
                return Err(InvalidPages::Language(language));
            }
            let original = originals.get(&key);
            let original = original.ok_or_else(|| InvalidPages::UnknownText(key.clone()))?;
            if places(original) != places(&text) {
                return Err(InvalidPages::Places { language, key });
            }
            put(&mut languages, &language, &key, text);
        }
        let mut texts = Vec::with_capacity(languages.len());
        for language in languages {
            let name = language.get(LANG).and_then(Json::as_str).unwrap_or_default().to_owned();
            let whole = read(language);
            texts.push(whole.map_err(|error| InvalidPages::MissingText {
                language: name,
                reason: error.to_string(),
            })?);
        }
        let style = self.style.unwrap_or(Cow::Borrowed(STYLE));
        let style = match self.more_style.as_str() {
            "" => style,
            more => Cow::Owned(style.into_owned() + more),
        };
        let pages = DefaultPages::assemble(sources, texts, style).map_err(|error| {
            let template = error.name().unwrap_or_default().to_owned();
            InvalidPages::Template { template, reason: error.to_string() }
        })?;
        check::all(&pages).map_err(|(page, fault)| match fault {
            Fault::Template(error) => {
                let template = error.name().unwrap_or(page).to_owned();
                InvalidPages::Template { template, reason: error.to_string() }
            }
            Fault::Missing(what) => InvalidPages::Missing { page, what },
            Fault::Forbidden(what) => InvalidPages::Forbidden { page, what },
        })?;
        Ok(pages)
    }
}

/// The key of the language's own tag.
const LANG: &str = "lang";

/// Puts a text in its place, in a language that may be new.
fn put(languages: &mut Vec<Json>, language: &str, key: &str, text: String) {
    let is_it = |texts: &Json| {
        let tag = texts.get(LANG).and_then(Json::as_str);
        tag.is_some_and(|tag| tag.eq_ignore_ascii_case(language))
    };
    if !languages.iter().any(is_it) {
        let tag = (LANG.to_owned(), Json::from(language));
        languages.push(Json::Object(Map::from_iter([tag])));
    }
    let Some(Json::Object(texts)) = languages.iter_mut().find(|texts| is_it(texts)) else {
        return;
    };
    match key.split_once('.') {
        None => {
            texts.insert(key.to_owned(), text.into());
        }
        Some((key, part)) => {
            let parts = texts.entry(key).or_insert_with(|| Map::new().into());
            if let Json::Object(parts) = parts {
                parts.insert(part.to_owned(), text.into());
            }
        }
    }
}

/// Whether a text has the form of a BCP 47 tag in lower case.
fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let lower = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let primary = parts.next().unwrap_or_default();
    (2..=8).contains(&primary.len())
        && primary.bytes().all(|b| b.is_ascii_lowercase())
        && parts.all(|part| (1..=8).contains(&part.len()) && lower(part))
}

/// The places of a text that are filled in, in alphabetical order.
fn places(text: &str) -> Vec<&str> {
    let mut found: Vec<&str> = text
        .split('{')
        .skip(1)
        .map(|rest| rest.split_once('}').map_or("{", |(name, _)| name))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Why pages cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPages {
    /// There is no page of this name.
    #[error("there is no template {0}")]
    UnknownTemplate(String),
    /// There is no text with this key.
    #[error("there is no text {0}")]
    UnknownText(String),
    /// It is not the name of a language.
    #[error("{0:?} is no language: a tag such as \"de\" or \"pt-br\" (BCP 47), in lower case")]
    Language(String),
    /// A text has other places in braces than the original.
    #[error("the text {key} in {language} must have the same places in braces as the original")]
    Places {
        /// The language.
        language: String,
        /// The key of the text.
        key: String,
    },
    /// A language lacks a text.
    #[error("the language {language} is not whole: {reason}")]
    MissingText {
        /// The language.
        language: String,
        /// Which text it lacks.
        reason: String,
    },
    /// A template cannot be read or filled in.
    #[error("the template {template}: {reason}")]
    Template {
        /// The template.
        template: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something is not on a page without which it does not work.
    #[error("{what} is missing on the page {page}")]
    Missing {
        /// The template of the page.
        page: &'static str,
        /// What is missing, as it is written in ours.
        what: String,
    },
    /// Something is on a page that cannot be there.
    #[error("{what} on the page {page}")]
    Forbidden {
        /// The template of the page.
        page: &'static str,
        /// What it is.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, change: impl FnOnce(&str) -> String) -> Result<DefaultPages, InvalidPages> {
        let source = CustomPages::template_source(name).expect("a template");
        DefaultPages::customize().template(name, change(source)).build()
    }

    #[test]
    fn what_is_not_changed_stays() {
        use crate::pages::Pages as _;
        let pages = DefaultPages::customize().build().expect("as they come");
        assert_eq!(pages.languages(), ["en", "ko"]);
        assert_eq!(pages.stylesheet(), DefaultPages::new().stylesheet());
        let pages = DefaultPages::customize().more_style("a{}").build().expect("a theme");
        assert!(pages.stylesheet().starts_with(DefaultPages::new().stylesheet()));
        assert!(pages.stylesheet().ends_with("\na{}"));
        let pages = DefaultPages::customize().style("b{}").build().expect("a style");
        assert_eq!(pages.stylesheet(), "b{}");
    }

    #[test]
    fn what_a_page_needs_cannot_be_forgotten() {
        // Each of these would lock users out, or answer for them, in the middle of the night.
        for (name, part, missing) in [
            ("sign-in.html", "name=\"username\"", "name=\"username\""),
            ("sign-in.html", "name=\"password\"", "name=\"password\""),
            ("sign-in.html", "action=\"{{ page.action }}\"", "action="),
            ("sign-in.html", "value=\"{{ field.value }}\"", "value="),
            ("sign-in.html", "method=\"post\"", "method=\"post\""),
            ("sign-in.html", "fill(client=page.client)", "template"),
            ("consent.html", "{{ t.signed_in_as | fill(username=page.username) }}", "user"),
            ("consent.html", "{{ scope.description }}", "scope"),
            ("connections.html", "name=\"{{ field.name }}\"", "name="),
            ("consent.html", "name=\"{{ field.name }}\"", "name="),
            ("consent.html", "value=\"{{ scope.name }}\"", "value="),
            ("consent.html", "name=\"scope\"", "name=\"scope\""),
            ("consent.html", "value=\"allow\"", "value=\"allow\""),
            ("consent.html", "value=\"deny\"", "value=\"deny\""),
            ("consent.html", "fill(client=page.client)", "template"),
            ("connections.html", "value=\"{{ connection.client_id }}\"", "value="),
            ("connections.html", "action=\"{{ page.sign_out }}\"", "action="),
            ("signed-out.html", "href=\"{{ page.sign_in }}\"", "href="),
            ("error.html", "{{ page.what }}", "is missing"),
            ("layout.html", "{{ content }}", "method"),
            ("layout.html", "href=\"{{ stylesheet }}\"", "href="),
        ] {
            let refused = with(name, |source| source.replace(part, "")).expect_err(part);
            assert!(refused.to_string().contains(missing), "{part}: {refused}");
        }
    }

    #[test]
    fn what_a_page_must_not_do_is_refused() {
        // ATTACKS G09, G15.
        for (name, from, to) in [
            (
                "consent.html",
                "{{ scope.description }}",
                "{% autoescape false %}{{ scope.description }}{% endautoescape %}",
            ),
            ("error.html", "<h1>", "<script>alert(1)</script><h1>"),
            ("error.html", "<h1>", "<h1 onclick=\"x()\">"),
            ("error.html", "<h1>", "<h1 style='color: red'>"),
            ("layout.html", "<main", "<img src=\"https://example.com/logo.png\"><main"),
            ("layout.html", "<title>", "<meta http-equiv=\"refresh\" content=\"0\"><title>"),
            // Fields in no form, or in one that cannot be answered.
            ("consent.html", "</fieldset>", "</fieldset></form>"),
            ("sign-in.html", "<label for=\"password\">", "</form><label for=\"password\">"),
            (
                "consent.html",
                "<button type=\"submit\" name=\"decision\" value=\"allow\"",
                "</form><form method=\"post\" action=\"{{ page.action }}\">\
                 <button type=\"submit\" name=\"decision\" value=\"allow\"",
            ),
            // There is not always an address.
            ("consent.html", "<dl>", "<p>{{ page.addresses[0].address }}</p><dl>"),
            ("error.html", "{{ page.what }}", "{{ page.whatever }}"),
            ("error.html", "{{ page.what }}", "{{ page.what | safe }}"),
            ("error.html", "{{ page.what }}", "{{ page.what"),
            ("error.html", "{{ page.what }}", "{% include 'x' %}"),
        ] {
            let refused = with(name, |source| source.replace(from, to));
            assert!(refused.is_err(), "{to}");
        }
        let fine =
            with("sign-in.html", |source| source.replace("method=\"post\"", "method=\"POST\""));
        assert!(fine.is_ok(), "{fine:?}");
        let refused = DefaultPages::customize().template("other.html", "").build();
        assert_eq!(refused.err(), Some(InvalidPages::UnknownTemplate("other.html".into())));
    }

    #[test]
    fn a_language_is_whole_or_it_is_none() {
        use crate::pages::Pages as _;
        let mut german = DefaultPages::customize();
        for (key, text) in CustomPages::texts() {
            german = german.text("de", &key, format!("{text} auf Deutsch"));
        }
        let pages = german.clone().build().expect("whole");
        assert_eq!(pages.languages(), ["en", "ko", "de"]);
        let one = DefaultPages::customize().text("fr", "allow", "Autoriser").build();
        assert!(matches!(one, Err(InvalidPages::MissingText { .. })), "{one:?}");
        for tag in ["", "d", "DE", "pt_br", "de<", "de-", "deutschland"] {
            let refused = DefaultPages::customize().text(tag, "allow", "x").build();
            assert_eq!(refused.err(), Some(InvalidPages::Language(tag.into())));
        }
        let unknown = DefaultPages::customize().text("en", "nothing", "x").build();
        assert_eq!(unknown.err(), Some(InvalidPages::UnknownText("nothing".into())));
        for text in ["Allow?", "Allow {app}?", "{client} {client", "{client} {username}"] {
            let refused = DefaultPages::customize().text("en", "consent_heading", text).build();
            assert!(matches!(refused, Err(InvalidPages::Places { .. })), "{text}: {refused:?}");
        }
        let fine =
            DefaultPages::customize().text("en", "consent_heading", "{client}? <b>{client}</b>");
        assert!(fine.build().is_ok(), "what is markup elsewhere is text here");
    }
}
