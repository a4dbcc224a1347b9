//! What must never be shown, and what is shown instead.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

/// A secret that was given to the runner. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret with this value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, to be sent to the server under test and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Names of parameters, JSON members and form fields whose values are secrets, wherever they are met.
const SECRET_NAMES: [&str; 14] = [
    "access_token",
    "assertion",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "id_token",
    "id_token_hint",
    "password",
    "refresh_token",
    "registration_access_token",
    "subject_token",
    "token",
];

/// A secret this short would blank out innocent text.
const SHORTEST: usize = 6;

/// Every secret that a run has met, each under a name by which a reader can follow it: `code 2` in one
/// exchange is `code 2` in the next.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    labels: BTreeMap<String, String>,
    counts: BTreeMap<String, usize>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.labels.len())
    }
}

impl Secrets {
    /// Remembers a secret of some kind, such as `code`.
    pub(crate) fn learn(&self, kind: &str, value: &str) {
        if value.len() < SHORTEST {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.labels.contains_key(value) {
            return;
        }
        let count = known.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        let label = format!("\u{2039}{kind} {count}\u{203a}");
        known.labels.insert(value.to_owned(), label);
    }

    /// Remembers what is secret in a JSON answer.
    pub(crate) fn learn_from_json(&self, value: &Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(text) if SECRET_NAMES.contains(&name.as_str()) => {
                            self.learn(name, text);
                        }
                        other => self.learn_from_json(other),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn_from_json(item)),
            _ => {}
        }
    }

    /// Remembers what is secret in the query or fragment of a redirect.
    pub(crate) fn learn_from_location(&self, location: &str) {
        let Some((_, parameters)) = location.split_once(['?', '#']) else { return };
        for (name, value) in form_urlencoded::parse(parameters.as_bytes()) {
            if SECRET_NAMES.contains(&&*name) {
                self.learn(&name, &value);
            }
        }
    }

    /// The text with every known secret in it replaced, also where it is percent-encoded.
    pub(crate) fn hide(&self, text: &str) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut secrets: Vec<(&String, &String)> = known.labels.iter().collect();
        // The longest first: one secret may be the beginning of another.
        secrets.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        let mut hidden = text.to_owned();
        for (value, label) in secrets {
            hidden = hidden.replace(value.as_str(), label);
            for set in [NON_ALPHANUMERIC, FORM] {
                let encoded = utf8_percent_encode(value, set).to_string();
                if &encoded != value {
                    hidden = hidden.replace(&encoded, label);
                }
            }
        }
        hidden
    }

    /// The value of a parameter, as a report may show it.
    pub(crate) fn value(&self, name: &str, value: &str) -> String {
        if !SECRET_NAMES.contains(&name) || value.len() < SHORTEST {
            return self.hide(value);
        }
        let hidden = self.hide(value);
        if hidden.contains('\u{2039}') {
            return hidden;
        }
        // Not one that the server gave out: made up or mutated by a check, or sent by a page.
        format!("\u{2039}{name}, {} characters\u{203a}", value.chars().count())
    }

    /// A form or a query, as a report may show it.
    pub(crate) fn form(&self, encoded: &str) -> String {
        let pairs: Vec<String> = encoded
            .split('&')
            .map(|pair| {
                let Some((name, _)) = pair.split_once('=') else { return self.hide(pair) };
                let value = form_urlencoded::parse(pair.as_bytes()).next();
                match value {
                    Some((plain, value)) if SECRET_NAMES.contains(&&*plain) => {
                        format!("{name}={}", self.value(&plain, &value))
                    }
                    _ => self.hide(pair),
                }
            })
            .collect();
        pairs.join("&")
    }

    /// A URL, as a report may show it.
    pub(crate) fn url(&self, url: &str) -> String {
        let Some(at) = url.find(['?', '#']) else { return self.hide(url) };
        let (place, rest) = url.split_at(at);
        let (mark, parameters) = rest.split_at(1);
        format!("{}{mark}{}", self.hide(place), self.form(parameters))
    }

    /// A JSON document, as a report may show it.
    pub(crate) fn json(&self, value: &Value) -> Value {
        match value {
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| {
                    let value = match value {
                        Value::String(text) => Value::String(self.value(name, text)),
                        other => self.json(other),
                    };
                    (name.clone(), value)
                })
                .collect(),
            Value::Array(items) => items.iter().map(|item| self.json(item)).collect(),
            Value::String(text) => Value::String(self.hide(text)),
            other => other.clone(),
        }
    }
}

/// What forms leave as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_every_spelling_and_can_be_followed() {
        let secrets = Secrets::default();
        secrets.learn("client_secret", "a+b/c=d e");
        secrets
            .learn_from_json(&serde_json::json!({"access_token": "token-one", "x": ["token-one"]}));
        secrets.learn_from_location("https://client.example/cb?code=code-one&state=s");
        let shown = secrets.hide("a+b/c=d e a%2Bb%2Fc%3Dd%20e token-one code-one token-one");
        assert_eq!(
            shown,
            "‹client_secret 1› ‹client_secret 1› ‹access_token 1› ‹code 1› ‹access_token 1›"
        );
        assert_eq!(
            secrets.form("code=code-one&code=other-code&x=1"),
            "code=‹code 1›&code=‹code, 10 characters›&x=1"
        );
        assert_eq!(
            secrets.url("https://a/b?token=token-one"),
            "https://a/b?token=‹access_token 1›"
        );
        let shown = secrets.json(&serde_json::json!({"id_token": "never-seen", "expires_in": 3}));
        assert_eq!(
            shown,
            serde_json::json!({"id_token": "‹id_token, 10 characters›", "expires_in": 3})
        );
    }

    #[test]
    fn debug_shows_nothing() {
        let secrets = Secrets::default();
        secrets.learn("code", "a-secret-code");
        assert!(!format!("{secrets:?} {:?}", Secret::new("hidden")).contains("a-secret-code"));
    }
}
