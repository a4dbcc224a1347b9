//! Requests and pages, as a client and a browser see them.

use base64::Engine as _;
use bytes::Bytes;
use grantor::model::ClientId;
use http::{HeaderMap, Method, Request, Response};
use serde_json::Value;

/// A response, read.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn of(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        let body = String::from_utf8_lossy(&body).into_owned();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body, if it is JSON; otherwise null.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The parameters of a redirect, decoded.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        let query = self.header("location").split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// The hidden fields of the first form of a page.
    pub(crate) fn hidden(&self) -> Vec<(String, String)> {
        self.inputs(|tag| attribute(tag, "type").as_deref() == Some("hidden"))
            .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)))
            .collect()
    }

    /// The values of the fields of this name.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        self.inputs(|tag| attribute(tag, "name").as_deref() == Some(name))
            .filter_map(|tag| attribute(tag, "value"))
            .collect()
    }

    fn inputs(&self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
        let tags = self.body.split("<input").skip(1);
        tags.filter_map(|rest| rest.split_once('>'))
            .map(|(tag, _)| tag)
            .filter(move |tag| wanted(tag))
    }
}

/// The attribute of a tag, with the escapes of our own pages undone.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    let escapes =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#x2f;", "/")];
    let plain = escapes.iter().fold(value.to_owned(), |text, (escape, c)| text.replace(escape, c));
    Some(plain.replace("&amp;", "&"))
}

pub(crate) fn request(
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Bytes> {
    let mut builder = Request::builder().method(method.clone()).uri(target);
    if method == Method::POST {
        builder = builder.header("content-type", "application/x-www-form-urlencoded");
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        builder = builder.header(*name, *value);
    }
    builder.body(Bytes::from(body.to_owned())).expect("a request that is well formed")
}

pub(crate) fn basic(id: &ClientId, secret: &str) -> String {
    let pair = format!("{id}:{secret}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

pub(crate) fn encode(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}
