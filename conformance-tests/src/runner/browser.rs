//! A browser without scripts: keeps cookies, follows redirects, fills in forms.

use cookie_store::CookieStore;
use http::{Method, header};
use url::Url;

use super::config::{Forms, User};
use super::page::{Button, Form, Page};
use super::probe::Line;
use super::secrets::Secret;
use super::wire::{Call, FORM, Reply, WireError, encode};

/// More steps than any sign-in takes.
const MAX_STEPS: usize = 20;

/// How far a browser goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// To the first page that asks for anything.
    Look,
    /// To the consent page.
    SignIn,
    /// All the way, and the user allows.
    Allow,
    /// All the way, and the user denies.
    Deny,
}

/// Where a browser ended.
#[derive(Clone, Debug)]
pub(crate) enum Landing {
    /// At the client's redirect URI: what was added to it.
    Client(Answer),
    /// It was sent to an address that is neither the client's nor the server's.
    Away(String),
    /// At the sign-in page.
    SignIn(Shown),
    /// At the consent page.
    Consent(Shown),
    /// At another page, such as an error.
    Page(Reply),
}

impl Landing {
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Client(answer) => match answer.get("error") {
                Some(error) => format!("the client was told {error}"),
                None => "the client got a code".to_owned(),
            },
            Self::Away(location) => format!("a redirect to {location}"),
            Self::SignIn(_) => "the sign-in page".to_owned(),
            Self::Consent(_) => "the consent page".to_owned(),
            Self::Page(reply) => format!("a page with status {}", reply.status.as_u16()),
        }
    }
}

/// What the server added to the client's redirect URI.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The whole address.
    pub(crate) location: String,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Answer {
    pub(crate) fn read(location: &str) -> Self {
        let (place, fragment) = location.split_once('#').unwrap_or((location, ""));
        let query = place.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let pairs = |text: &str| -> Vec<(String, String)> {
            form_urlencoded::parse(text.as_bytes()).into_owned().collect()
        };
        let fragment = pairs(fragment);
        let in_fragment =
            fragment.iter().any(|(name, _)| ["code", "error", "access_token"].contains(&&**name));
        let mut parameters = pairs(query);
        if in_fragment {
            parameters.extend(fragment);
        }
        Self { location: location.to_owned(), parameters }
    }

    /// A parameter; `None` if it is not there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A page with a form on it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) reply: Reply,
    pub(crate) page: Page,
    pub(crate) form: Form,
}

/// Why a browser could not go on.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Stuck {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("{0}")]
    Page(String),
}

/// One user's browser.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    jar: CookieStore,
    home: Vec<String>,
}

/// Scheme, host and port.
fn origin(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.host_str()?;
    Some(url.origin().ascii_serialization())
}

impl Browser {
    /// A browser without cookies, which follows redirects within these origins.
    pub(crate) fn new(home: &[String]) -> Self {
        Self { jar: CookieStore::new(), home: home.iter().filter_map(|url| origin(url)).collect() }
    }

    /// The same browser after its user deleted the cookies.
    pub(crate) fn without_cookies(&self) -> Self {
        Self { jar: CookieStore::new(), home: self.home.clone() }
    }

    /// The names of its cookies.
    pub(crate) fn cookie_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.jar.iter_unexpired().map(|cookie| cookie.name().to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The same browser after its user deleted the cookies of this name.
    pub(crate) fn without_cookie(&self, name: &str) -> Self {
        let mut copy = self.clone();
        let found: Vec<(String, String)> = copy
            .jar
            .iter_any()
            .filter(|cookie| cookie.name() == name)
            .map(|cookie| (String::from(&cookie.domain), String::from(&cookie.path)))
            .collect();
        for (domain, path) in found {
            copy.jar.remove(&domain, &path, name);
        }
        copy
    }

    /// A request with the cookies that belong to the address.
    pub(crate) fn with_cookies(&self, call: Call) -> Call {
        let Ok(url) = Url::parse(&call.url) else { return call };
        let cookies: Vec<String> = self
            .jar
            .get_request_values(&url)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if cookies.is_empty() { call } else { call.header(header::COOKIE, &cookies.join("; ")) }
    }

    /// One request, with the cookies that belong to the address.
    pub(crate) async fn send(&mut self, line: &Line<'_>, call: Call) -> Result<Reply, WireError> {
        let reply = line.send(self.with_cookies(call)).await?;
        if let Ok(url) = Url::parse(&reply.url) {
            for value in reply.headers.get_all(header::SET_COOKIE) {
                // What a browser would refuse to keep is not kept.
                let _ = self.jar.parse(&String::from_utf8_lossy(value.as_bytes()), &url);
            }
        }
        Ok(reply)
    }

    /// Opens an address, as a link from another site would.
    pub(crate) async fn open(&mut self, line: &Line<'_>, url: &str) -> Result<Reply, WireError> {
        let call = Call::get(url)
            .header(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")
            .header(header::ACCEPT_LANGUAGE, "en");
        self.send(line, call).await
    }

    /// The request that a form would make.
    pub(crate) fn request_of(
        shown: &Shown,
        pairs: &[(String, String)],
        action: &str,
    ) -> Option<Call> {
        let base = Url::parse(&shown.reply.url).ok()?;
        let mut target = base.join(action).ok()?;
        target.set_fragment(None);
        if shown.form.method != "post" {
            target.set_query(Some(&encode(pairs)));
            return Some(Call::get(target.as_str()));
        }
        // What a browser says about where a form comes from.
        let site = if base.origin() == target.origin() { "same-origin" } else { "cross-site" };
        let call = Call::new(Method::POST, target.as_str())
            .typed(FORM, encode(pairs))
            .header(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")
            .header(header::ACCEPT_LANGUAGE, "en")
            .header(header::ORIGIN, &base.origin().ascii_serialization())
            .header(http::HeaderName::from_static("sec-fetch-site"), site);
        Some(call)
    }

    /// Goes where an authorization request leads, as far as the plan says.
    ///
    /// `redirect_uri` is where the client waits.
    pub(crate) async fn drive(
        &mut self,
        line: &Line<'_>,
        url: &str,
        redirect_uri: &str,
        filler: &Filler<'_>,
        plan: Plan,
    ) -> Result<Landing, Stuck> {
        let mut reply = self.open(line, url).await?;
        let mut signed_in = 0;
        let mut decided = 0;
        for _ in 0..MAX_STEPS {
            if let Some(location) = reply.location() {
                if let Some(landing) = self.leaves(&location, redirect_uri) {
                    return Ok(landing);
                }
                reply = self.open(line, &location).await?;
                continue;
            }
            if reply.status.as_u16() >= 400 || !reply.is_html() {
                return Ok(Landing::Page(reply));
            }
            let page = Page::parse(&reply.text());
            if let Some(target) = &page.refresh {
                let target = Url::parse(&reply.url).and_then(|base| base.join(target));
                let target = target.map(String::from).unwrap_or_default();
                if let Some(landing) = self.leaves(&target, redirect_uri) {
                    return Ok(landing);
                }
                reply = self.open(line, &target).await?;
                continue;
            }
            let call = if let Some(form) = page.forms.iter().find(|form| filler.is_sign_in(form)) {
                let shown = Shown { reply: reply.clone(), page: page.clone(), form: form.clone() };
                if plan == Plan::Look {
                    return Ok(Landing::SignIn(shown));
                }
                signed_in += 1;
                if signed_in > 1 {
                    return Err(Stuck::Page(
                        "the sign-in page came back: are the user name and the password right?"
                            .to_owned(),
                    ));
                }
                filler.sign_in(&shown)
            } else if let Some(form) = filler.consent_form(&page) {
                let shown = Shown { reply: reply.clone(), page: page.clone(), form: form.clone() };
                if matches!(plan, Plan::Look | Plan::SignIn) {
                    return Ok(Landing::Consent(shown));
                }
                decided += 1;
                if decided > 5 {
                    return Err(Stuck::Page("the consent page came back five times".to_owned()));
                }
                filler.decide(&shown, plan == Plan::Allow)
            } else {
                return Ok(Landing::Page(reply));
            };
            let call = call.map_err(Stuck::Page)?;
            reply = self.send(line, call).await?;
        }
        Err(Stuck::Page(format!("no end after {MAX_STEPS} pages and redirects")))
    }

    /// Whether a redirect leads out of the server's pages.
    fn leaves(&self, location: &str, redirect_uri: &str) -> Option<Landing> {
        if belongs_to(location, redirect_uri) {
            return Some(Landing::Client(Answer::read(location)));
        }
        let home = origin(location).is_some_and(|origin| self.home.contains(&origin));
        (!home).then(|| Landing::Away(location.to_owned()))
    }
}

/// Whether a redirect goes to this redirect URI, whatever was added to its query.
pub(crate) fn belongs_to(location: &str, redirect_uri: &str) -> bool {
    let place = |text: &str| text.split(['?', '#']).next().unwrap_or_default().to_owned();
    if redirect_uri.is_empty() {
        return false;
    }
    if place(location) == place(redirect_uri) {
        return true;
    }
    // The same address after a URL library has normalised it, as `https://client.example` to
    // `https://client.example/`.
    match (Url::parse(&place(location)), Url::parse(&place(redirect_uri))) {
        (Ok(one), Ok(other)) => one == other && redirect_uri.is_ascii() && location.is_ascii(),
        _ => false,
    }
}

/// Knows how to fill in the server's forms.
#[derive(Clone, Debug)]
pub(crate) struct Filler<'a> {
    pub(crate) user: &'a User,
    pub(crate) forms: &'a Forms,
}

const ALLOW: [&str; 11] = [
    "allow",
    "authorize",
    "authorise",
    "approve",
    "accept",
    "continue",
    "grant",
    "confirm",
    "yes",
    "agree",
    "consent",
];
const DENY: [&str; 10] = [
    "deny",
    "cancel",
    "refuse",
    "decline",
    "reject",
    "disallow",
    "disagree",
    "abort",
    "no",
    "don't allow",
];

/// Whether a word is in a text as a word.
fn says(text: &str, words: &[&str]) -> bool {
    let text = text.to_lowercase();
    words.iter().any(|word| {
        text.match_indices(word).any(|(at, _)| {
            let before = text.get(..at).and_then(|t| t.chars().next_back());
            let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
            [before, after].iter().all(|c| !c.is_some_and(char::is_alphanumeric))
        })
    })
}

fn is_called(button: &Button, wanted: &str) -> bool {
    [&button.name, &button.value, &button.label].iter().any(|text| text.as_str() == wanted)
}

fn button_says(button: &Button, words: &[&str]) -> bool {
    [&button.label, &button.value, &button.name].iter().any(|text| says(text, words))
}

impl Filler<'_> {
    fn is_sign_in(&self, form: &Form) -> bool {
        let named = self.forms.username_field.as_ref();
        form.asks_for_password()
            || named.is_some_and(|name| form.fields.iter().any(|field| &field.name == name))
    }

    fn allows(&self, button: &Button) -> bool {
        match &self.forms.allow {
            Some(wanted) => is_called(button, wanted),
            None => button_says(button, &ALLOW) && !button_says(button, &DENY),
        }
    }

    fn denies(&self, button: &Button) -> bool {
        match &self.forms.deny {
            Some(wanted) => is_called(button, wanted),
            None => button_says(button, &DENY),
        }
    }

    /// The form that asks for consent: it has a button that allows, or a field that was named.
    fn consent_form<'p>(&self, page: &'p Page) -> Option<&'p Form> {
        let named = |form: &&Form| {
            form.fields.iter().any(|field| self.forms.fields.contains_key(&field.name))
        };
        let allows = |form: &&Form| form.buttons.iter().any(|button| self.allows(button));
        page.forms.iter().find(named).or_else(|| page.forms.iter().find(allows))
    }

    /// The fields with what was configured; ticks everything that can be ticked if `tick`.
    fn filled(&self, form: &Form, tick: bool) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for field in &form.fields {
            if field.name.is_empty() {
                continue;
            }
            let chosen = self.forms.fields.get(&field.name);
            let value = match (chosen, field.kind.as_str()) {
                (Some(chosen), "checkbox" | "radio") => {
                    let is_it = *chosen == field.value || field.kind == "checkbox";
                    (tick && is_it).then(|| field.value.clone())
                }
                (Some(chosen), _) => Some(chosen.clone()),
                (None, "checkbox") => (field.on || tick).then(|| field.value.clone()),
                (None, _) => field.on.then(|| field.value.clone()),
            };
            pairs.extend(value.map(|value| (field.name.clone(), value)));
        }
        pairs
    }

    /// The request that signs the user in.
    pub(crate) fn sign_in(&self, shown: &Shown) -> Result<Call, String> {
        let password = self.user.password.as_ref().map(Secret::expose).unwrap_or_default();
        let name = self.user.username.as_deref().ok_or(
            "there is a sign-in page and no user: set --username and the password, or a --login-hook",
        )?;
        self.sign_in_as(shown, name, password)
    }

    /// The request that tries this name and password.
    pub(crate) fn sign_in_as(
        &self,
        shown: &Shown,
        name: &str,
        password: &str,
    ) -> Result<Call, String> {
        let form = &shown.form;
        let password_field =
            self.forms.password_field.as_deref().or_else(|| {
                form.fields.iter().find(|f| f.kind == "password").map(|f| f.name.as_str())
            });
        let is_text = |kind: &str| ["text", "email", "tel", "search"].contains(&kind);
        let name_field = self
            .forms
            .username_field
            .as_deref()
            .or_else(|| form.fields.iter().find(|f| is_text(&f.kind)).map(|f| f.name.as_str()));
        let mut pairs = self.filled(form, false);
        for (field, value) in [(name_field, name), (password_field, password)] {
            let Some(field) = field else { continue };
            for pair in pairs.iter_mut().filter(|(known, _)| known == field) {
                value.clone_into(&mut pair.1);
            }
        }
        let button =
            form.buttons.iter().find(|button| !self.denies(button)).or(form.buttons.first());
        submit(shown, pairs, button)
    }

    /// The request that allows or denies.
    pub(crate) fn decide(&self, shown: &Shown, allow: bool) -> Result<Call, String> {
        let pairs = self.filled(&shown.form, allow);
        let buttons = &shown.form.buttons;
        if allow {
            let button = buttons.iter().find(|button| self.allows(button)).or(buttons.first());
            return submit(shown, pairs, button);
        }
        if let Some(button) = buttons.iter().find(|button| self.denies(button)) {
            return submit(shown, pairs, Some(button));
        }
        // A form of its own, or a link.
        for form in &shown.page.forms {
            if let Some(button) = form.buttons.iter().find(|button| self.denies(button)) {
                let other = Shown { form: form.clone(), ..shown.clone() };
                return submit(&other, self.filled(form, false), Some(button));
            }
        }
        let link = shown.page.links.iter().find(|link| match &self.forms.deny {
            Some(wanted) => &link.label == wanted,
            None => says(&link.label, &DENY),
        });
        if let Some(link) = link {
            let target = Url::parse(&shown.reply.url).and_then(|base| base.join(&link.target));
            return Ok(Call::get(target.map_err(|e| e.to_string())?.as_str()));
        }
        // Some servers take a form without the tick for a no.
        let ticks = shown.form.fields.iter().any(|field| field.kind == "checkbox");
        if ticks && !self.forms.fields.is_empty() {
            return submit(shown, pairs, buttons.first());
        }
        Err("the consent page has no button or link that denies: set `deny` under [forms]"
            .to_owned())
    }
}

fn submit(
    shown: &Shown,
    mut pairs: Vec<(String, String)>,
    button: Option<&Button>,
) -> Result<Call, String> {
    let mut action = shown.form.action.as_str();
    if let Some(button) = button {
        if !button.name.is_empty() {
            pairs.push((button.name.clone(), button.value.clone()));
        }
        action = button.action.as_deref().unwrap_or(action);
    }
    Browser::request_of(shown, &pairs, action)
        .ok_or_else(|| format!("the form goes to {action:?}, which is no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_as_words() {
        assert!(says("[ Cancel ]", &DENY) && says("Do NOT: no", &DENY));
        assert!(!says("Now", &DENY) && !says("Cannot", &DENY) && !says("notebook", &DENY));
        assert!(says("Yes, allow access", &ALLOW) && !says("disallowed", &ALLOW));
    }

    #[test]
    fn an_answer_belongs_to_one_address() {
        let uri = "https://client.example/cb?a=1";
        assert!(belongs_to("https://client.example/cb?a=1&code=x", uri));
        assert!(belongs_to("com.example.app:/cb?code=x", "com.example.app:/cb"));
        assert!(belongs_to("https://client.example/?code=x", "https://client.example"));
        for other in ["https://client.example/cb2?code=x", "https://client.example.evil/cb", ""] {
            assert!(!belongs_to(other, uri), "{other}");
        }
    }
}
