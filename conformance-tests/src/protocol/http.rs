//! Requests and pages, as a client and a browser see them.

use base64::Engine as _;
use bytes::Bytes;
use grantor::model::ClientId;
use http::{HeaderMap, Method, Request, Response};
use serde_json::Value;

/// A response, read.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as text.
    pub body: String,
}

impl Reply {
    /// Reads a response.
    pub fn of(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        let body = String::from_utf8_lossy(&body).into_owned();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// A header, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body, if it is JSON; otherwise null.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The parameters of a redirect, decoded.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let query = self.header("location").split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// The hidden fields of a page.
    pub fn hidden(&self) -> Vec<(String, String)> {
        hidden(&self.body)
    }

    /// The values of the fields of this name.
    pub fn values(&self, name: &str) -> Vec<String> {
        values(&self.body, name)
    }
}

/// The hidden fields of a page, by name.
pub fn hidden(page: &str) -> Vec<(String, String)> {
    tags(page, "input")
        .filter(|tag| attribute(tag, "type").as_deref() == Some("hidden"))
        .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)))
        .collect()
}

/// The values of the fields of this name.
pub fn values(page: &str, name: &str) -> Vec<String> {
    tags(page, "input")
        .filter(|tag| attribute(tag, "name").as_deref() == Some(name))
        .filter_map(|tag| attribute(tag, "value"))
        .collect()
}

/// Where the first form of a page is sent.
pub fn action(page: &str) -> Option<String> {
    tags(page, "form").find_map(|tag| attribute(tag, "action"))
}

fn tags<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let tags = page.split('<').filter_map(move |rest| rest.strip_prefix(name));
    let tags = tags.filter(|rest| rest.starts_with([' ', '\n']));
    tags.map(|rest| rest.split_once('>').map_or(rest, |(tag, _)| tag))
}

/// The attribute of a tag, with the escapes that our own pages use undone.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    let escapes =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#x2f;", "/")];
    let plain = escapes.iter().fold(value.to_owned(), |text, (escape, c)| text.replace(escape, c));
    Some(plain.replace("&amp;", "&"))
}

/// A request; a posted one is a form unless a header says otherwise. Empty headers are left out.
pub fn request(
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Bytes> {
    let mut builder = Request::builder().method(method.clone()).uri(target);
    let typed = headers.iter().any(|(name, _)| *name == "content-type");
    if method == Method::POST && !typed {
        builder = builder.header("content-type", "application/x-www-form-urlencoded");
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        builder = builder.header(*name, *value);
    }
    builder.body(Bytes::from(body.to_owned())).expect("a request that is well formed")
}

/// HTTP Basic, as a client authenticates with it (RFC 6749 section 2.3.1).
pub fn basic(id: &ClientId, secret: &str) -> String {
    let pair = format!("{id}:{secret}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// A form as a body or a query.
pub fn encode(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}
