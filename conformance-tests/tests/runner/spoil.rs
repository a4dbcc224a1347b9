//! Requests and answers as a front sees them, and how they are spoilt.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

pub(crate) type Pairs = Vec<(String, String)>;

fn pairs(text: &str) -> Pairs {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

fn encode(pairs: &Pairs) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The value of a pair, if it is there.
pub(crate) fn get<'p>(pairs: &'p Pairs, name: &str) -> Option<&'p str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Replaces a pair, or adds it.
pub(crate) fn set(pairs: &mut Pairs, name: &str, value: &str) {
    pairs.retain(|(known, _)| known != name);
    pairs.push((name.to_owned(), value.to_owned()));
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path() == path
    }

    pub(crate) fn query(&self) -> Pairs {
        self.target.split_once('?').map(|(_, query)| pairs(query)).unwrap_or_default()
    }

    pub(crate) fn set_query(&mut self, query: &Pairs) {
        self.target = format!("{}?{}", self.path(), encode(query));
    }

    pub(crate) fn form(&self) -> Pairs {
        pairs(&String::from_utf8_lossy(&self.body))
    }

    pub(crate) fn set_form(&mut self, form: &Pairs) {
        self.body = encode(form).into_bytes();
        self.set(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.headers.remove(header::CONTENT_LENGTH);
    }

    /// Changes the query of an authorization request.
    pub(crate) fn ask(&mut self, change: impl FnOnce(&mut Pairs)) {
        if self.is("GET", "/authorize") {
            let mut query = self.query();
            change(&mut query);
            self.set_query(&query);
        }
    }

    /// Changes the form of a request to a path.
    pub(crate) fn post(&mut self, path: &str, change: impl FnOnce(&mut Pairs)) {
        if self.is("POST", path) {
            let mut form = self.form();
            change(&mut form);
            self.set_form(&form);
        }
    }

    pub(crate) fn set(&mut self, name: HeaderName, value: &str) {
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header"));
    }

    pub(crate) fn header(&self, name: HeaderName) -> String {
        let value = self.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    }
}

impl Answered {
    /// A JSON answer.
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { status, headers, body: value.to_string().into_bytes() }
    }

    /// A redirect.
    pub(crate) fn redirect(location: &str) -> Self {
        let mut answered = Self { status: 303, headers: HeaderMap::new(), body: Vec::new() };
        answered.set(header::LOCATION, location);
        answered
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn member(&self, name: &str) -> Option<String> {
        Some(self.value().get(name)?.as_str()?.to_owned())
    }

    /// Changes a JSON object.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
        let mut value = self.value();
        if let Some(members) = value.as_object_mut() {
            change(members);
            self.body = value.to_string().into_bytes();
        }
    }

    pub(crate) fn location(&self) -> String {
        let value = self.headers.get(header::LOCATION).map(HeaderValue::as_bytes);
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    }

    /// Changes the query of a redirect to a client.
    pub(crate) fn redirected(&mut self, change: impl FnOnce(&mut Pairs)) {
        let location = self.location();
        let Some((place, query)) = location.split_once('?') else { return };
        let mut parameters = pairs(query);
        if get(&parameters, "code").is_none() && get(&parameters, "error").is_none() {
            return;
        }
        change(&mut parameters);
        self.set(header::LOCATION, &format!("{place}?{}", encode(&parameters)));
    }

    pub(crate) fn set(&mut self, name: HeaderName, value: &str) {
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header"));
    }

    pub(crate) fn is_html(&self) -> bool {
        let value = self.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        value.unwrap_or_default().starts_with(b"text/html")
    }
}

/// What a spoilt server remembers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) answers: BTreeMap<String, Answered>,
    pub(crate) words: BTreeMap<String, String>,
}

pub(crate) type Before = fn(&mut Memory, &mut Asked) -> Option<Answered>;
pub(crate) type After = fn(&mut Memory, &Asked, &mut Answered);

/// How a server is spoilt: what becomes of a request before it is answered, or is answered in its
/// place, and of the answer before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Spoil {
    pub(crate) before: Before,
    pub(crate) after: After,
    /// A server with TLS answers without TLS as well.
    pub(crate) in_clear: bool,
    memory: Memory,
}

impl Default for Spoil {
    fn default() -> Self {
        Self::new(|_, _| None, |_, _, _| {})
    }
}

impl Spoil {
    pub(crate) fn new(before: Before, after: After) -> Self {
        Self { before, after, in_clear: false, memory: Memory::default() }
    }

    pub(crate) fn request(&mut self, asked: &mut Asked) -> Option<Answered> {
        (self.before)(&mut self.memory, asked)
    }

    pub(crate) fn answer(&mut self, asked: &Asked, answered: &mut Answered) {
        (self.after)(&mut self.memory, asked, answered);
    }
}
