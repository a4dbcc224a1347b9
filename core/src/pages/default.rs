//! The pages that come with Grantor.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use minijinja::value::{Kwargs, Serde};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, HtmlEscape, UndefinedBehavior, Value, context,
};

use serde_json::Value as Json;

use super::custom::CustomPages;
use super::names::clean;
use super::texts::{ENGLISH, ErrorTexts, KOREAN, Texts};
use super::{
    Body, ConnectionsPage, ConsentPage, ErrorPage, Frame, Hidden, Page, Pages, SignInPage,
    SignInProblem, SignedOutPage,
};
use crate::model::RedirectUriKind;
use crate::protocol::authorize::ClientSummary;

pub(super) const STYLE: &str = include_str!("templates/style.css");

const LAYOUT: &str = "layout.html";
const SIGN_IN: &str = "sign-in.html";
const CONSENT: &str = "consent.html";
const CONNECTIONS: &str = "connections.html";
const SIGNED_OUT: &str = "signed-out.html";
const ERROR: &str = "error.html";

pub(super) const TEMPLATES: [(&str, &str); 6] = [
    (LAYOUT, include_str!("templates/layout.html")),
    (SIGN_IN, include_str!("templates/sign-in.html")),
    (CONSENT, include_str!("templates/consent.html")),
    (CONNECTIONS, include_str!("templates/connections.html")),
    (SIGNED_OUT, include_str!("templates/signed-out.html")),
    (ERROR, include_str!("templates/error.html")),
];

/// The pages that come with Grantor: English and Korean, no scripts, usable by keyboard, screen
/// reader and phone. Their look and their words can be changed, see [`customize`](Self::customize).
pub struct DefaultPages {
    templates: Environment<'static>,
    /// Never empty.
    languages: Vec<Language>,
    style: Cow<'static, str>,
}

/// All texts of a language, for us and for the templates.
struct Language {
    texts: Texts<String>,
    t: Value,
}

impl Language {
    fn new(texts: Texts<String>) -> Self {
        let t = Value::from(Serde(&texts));
        Self { texts, t }
    }
}

impl DefaultPages {
    /// The pages as they come.
    pub fn new() -> Self {
        let templates = TEMPLATES.map(|(name, source)| (name, Cow::Borrowed(source)));
        // Both always succeed: the tests put them together and render every page.
        let languages = built_in().map(|texts| read(texts).ok()).into_iter().flatten().collect();
        Self::assemble(templates, languages, STYLE.into()).unwrap_or_else(|_| Self {
            templates: Environment::empty(),
            languages: Vec::new(),
            style: STYLE.into(),
        })
    }

    /// The pages with a look and words of your own.
    pub fn customize() -> CustomPages {
        CustomPages::new()
    }

    pub(super) fn assemble(
        sources: impl IntoIterator<Item = (&'static str, Cow<'static, str>)>,
        languages: Vec<Texts<String>>,
        style: Cow<'static, str>,
    ) -> Result<Self, Error> {
        // Without the built-in filters no template can declare anything safe; what is not a text of
        // ours is escaped.
        let mut templates = Environment::empty();
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.add_filter("fill", fill);
        for (name, source) in sources {
            match source {
                Cow::Borrowed(source) => templates.add_template(name, source)?,
                Cow::Owned(source) => templates.add_template_owned(name, source)?,
            }
        }
        let languages = languages.into_iter().map(Language::new).collect();
        Ok(Self { templates, languages, style })
    }

    /// What it says in this language.
    pub(super) fn texts(&self, language: &str) -> Option<&Texts<String>> {
        self.language(language).map(|language| &language.texts)
    }

    fn language(&self, wanted: &str) -> Option<&Language> {
        let found = self.languages.iter().find(|l| l.texts.lang.eq_ignore_ascii_case(wanted));
        found.or(self.languages.first())
    }

    pub(super) fn try_render(&self, page: &Page<'_>, language: &str) -> Result<String, Error> {
        let missing = || Error::new(ErrorKind::BadSerialization, "no language");
        let Language { texts, t } = self.language(language).ok_or_else(missing)?;
        let frame = &page.frame;
        let (name, title, view) = match &page.body {
            Body::SignIn(page) => (SIGN_IN, &texts.sign_in_title, sign_in(page, frame, texts)),
            Body::Consent(page) => (CONSENT, &texts.consent_title, consent(page, texts)),
            Body::Connections(page) => {
                (CONNECTIONS, &texts.connections_title, connections(page, texts))
            }
            Body::SignedOut(page) => (SIGNED_OUT, &texts.signed_out_title, signed_out(page)),
            Body::Error(page) => {
                let says = texts.error(page.kind);
                (ERROR, &says.title, error(page, says))
            }
        };
        let content = self.templates.get_template(name)?.render(context! { t, page => view })?;
        self.templates.get_template(LAYOUT)?.render(context! {
            t,
            title,
            host => frame.host,
            stylesheet => frame.stylesheet,
            content => Value::from_safe_string(content),
        })
    }
}

/// The texts that come with Grantor, by their keys.
pub(super) fn built_in() -> [Json; 2] {
    [&ENGLISH, &KOREAN].map(|texts| serde_json::to_value(texts).unwrap_or_default())
}

/// The texts of a language, if none is missing.
pub(super) fn read(texts: Json) -> serde_json::Result<Texts<String>> {
    serde_json::from_value(texts)
}

impl Default for DefaultPages {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DefaultPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefaultPages").finish_non_exhaustive()
    }
}

impl Pages for DefaultPages {
    fn languages(&self) -> Vec<&str> {
        self.languages.iter().map(|language| language.texts.lang.as_str()).collect()
    }

    fn render(&self, page: &Page<'_>, language: &str) -> String {
        self.try_render(page, language).unwrap_or_else(|_| fallback())
    }

    fn stylesheet(&self) -> &str {
        &self.style
    }
}

/// What is shown if a template fails, which the tests, and the checks of a host's own templates, rule
/// out: nothing that came from anywhere.
fn fallback() -> String {
    let ErrorTexts { title, what, advice } = &ENGLISH.unavailable;
    format!(
        "<!doctype html>\n<html lang=\"{}\">\n<head><meta charset=\"utf-8\">\
         <title>{}</title></head>\n<body><main id=\"error\"><h1>{}</h1><p>{}</p><p>{}</p></main>\
         </body>\n</html>",
        HtmlEscape(ENGLISH.lang),
        HtmlEscape(title),
        HtmlEscape(title),
        HtmlEscape(what),
        HtmlEscape(advice),
    )
}

/// The filter `fill`: puts its named arguments, escaped, in the places of a text that bear their
/// names. An argument is never looked at for places. Each is set apart, so that a name written from
/// right to left cannot rearrange the sentence around it.
fn fill(text: &str, arguments: Kwargs) -> Result<Value, Error> {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| Error::new(ErrorKind::SyntaxError, "a place without an end"))?;
        let argument: Value = arguments.get(name)?;
        let argument = argument.to_string();
        write!(out, "{}<bdi>{}</bdi>", HtmlEscape(before), HtmlEscape(&argument))
            .map_err(|_| Error::new(ErrorKind::WriteFailure, "a string that cannot be written"))?;
        rest = after;
    }
    write!(out, "{}", HtmlEscape(rest))
        .map_err(|_| Error::new(ErrorKind::WriteFailure, "a string that cannot be written"))?;
    arguments.assert_all_used()?;
    Ok(Value::from_safe_string(out))
}

fn sign_in(page: &SignInPage<'_>, frame: &Frame<'_>, texts: &Texts<String>) -> Value {
    let problem = page.problem.map(|problem| match problem {
        SignInProblem::WrongCredentials => {
            context! { text => texts.wrong_credentials.as_str(), count => 0 }
        }
        SignInProblem::TooManyAttempts { retry_after_seconds: seconds } => {
            let (text, count) = match seconds {
                0 | 1 => (&texts.wait_second, 1),
                2..60 => (&texts.wait_seconds, seconds),
                60 => (&texts.wait_minute, 1),
                _ => (&texts.wait_minutes, seconds.div_ceil(60)),
            };
            context! { text => text.as_str(), count }
        }
    });
    context! {
        action => page.action,
        hidden => hidden(&page.hidden),
        host => frame.host,
        client => page.client.map(|client| shown(&client.name, texts)),
        username => page.username,
        again => page.again,
        problem,
        wrong => page.problem == Some(SignInProblem::WrongCredentials),
    }
}

fn consent(page: &ConsentPage<'_>, texts: &Texts<String>) -> Value {
    let (destination, caution) = match page.destination.kind() {
        RedirectUriKind::Https => (&texts.destination_https, &texts.destination_caution_https),
        RedirectUriKind::Loopback => {
            (&texts.destination_loopback, &texts.destination_caution_device)
        }
        RedirectUriKind::PrivateUse => {
            (&texts.destination_private_use, &texts.destination_caution_device)
        }
    };
    let duration = match page.lifetime_days {
        None => &texts.duration_token,
        Some(0) => &texts.duration_today,
        Some(1) => &texts.duration_day,
        Some(_) => &texts.duration_days,
    };
    context! {
        action => page.action,
        hidden => hidden(&page.hidden),
        client => shown(&page.client.name, texts),
        addresses => addresses(page.client, texts),
        destination => page.destination.display(),
        destination_text => destination.as_str(),
        caution => caution.as_str(),
        username => shown(page.username, texts),
        scopes => page
            .scopes
            .iter()
            .map(|scope| context! {
                name => scope.name,
                description => scope.description,
                allowed_before => scope.allowed_before,
            })
            .collect::<Vec<_>>(),
        duration => duration.as_str(),
        // The text for less than a day names no number.
        days => page.lifetime_days.filter(|days| *days > 0),
    }
}

fn addresses(client: &ClientSummary, texts: &Texts<String>) -> Vec<Value> {
    [
        (&texts.address_home, &client.client_uri),
        (&texts.address_policy, &client.policy_uri),
        (&texts.address_terms, &client.tos_uri),
    ]
    .into_iter()
    .filter_map(|(label, address)| {
        let address = address.as_deref()?;
        Some(context! { label => label.as_str(), address })
    })
    .collect()
}

fn connections(page: &ConnectionsPage<'_>, texts: &Texts<String>) -> Value {
    context! {
        action => page.action,
        sign_out => page.sign_out,
        hidden => hidden(&page.hidden),
        username => shown(page.username, texts),
        withdrawn => page.withdrawn,
        connections => page
            .connections
            .iter()
            .map(|connection| context! {
                client_id => connection.client_id,
                client => shown(connection.client_name, texts),
                scopes => connection.scopes.iter().copied().map(Value::from).collect::<Vec<_>>(),
                since => connection.since.as_str(),
            })
            .collect::<Vec<_>>(),
    }
}

fn signed_out(page: &SignedOutPage<'_>) -> Value {
    context! { sign_in => page.sign_in }
}

fn error(page: &ErrorPage<'_>, says: &ErrorTexts<String>) -> Value {
    context! {
        title => says.title.as_str(),
        what => says.what.as_str(),
        advice => says.advice.as_str(),
        detail => page.detail,
    }
}

fn hidden(fields: &Hidden<'_>) -> Vec<Value> {
    fields.iter().map(|(name, value)| context! { name => *name, value => *value }).collect()
}

/// A name as it may be shown, or the words for a client that has none.
fn shown(name: &str, texts: &Texts<String>) -> String {
    let name = clean(name);
    if name.is_empty() { texts.nameless.clone() } else { name }
}
