//! Requests and answers as a report shows them.

use std::fmt::Write as _;

use http::HeaderMap;
use http::header::{self, HeaderName};

use super::secrets::Secrets;
use super::verdict::Exchange;
use super::wire::{Call, FORM, Reply};

/// The last exchanges before a failure are the ones that show it.
const SHOWN: usize = 6;
/// How much of a body is shown, in characters.
const MAX_BODY: usize = 1500;
/// Headers of answers that say nothing about what is tested.
const DULL: [&str; 8] = [
    "date",
    "server",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "etag",
    "x-powered-by",
    "vary",
];

/// What was sent, and what came back or why nothing did.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) call: Call,
    pub(crate) reply: Result<Reply, String>,
}

/// The exchanges that show a failure, and how many are left out.
pub(crate) fn show(recorded: &[Recorded], secrets: &Secrets) -> (Vec<Exchange>, usize) {
    let omitted = recorded.len().saturating_sub(SHOWN);
    let shown = recorded.iter().skip(omitted).map(|one| exchange(one, secrets)).collect();
    (shown, omitted)
}

fn exchange(recorded: &Recorded, secrets: &Secrets) -> Exchange {
    let Recorded { call, reply } = recorded;
    let mut request = format!("{} {}\n", call.method, secrets.url(&call.url));
    headers(&mut request, &call.headers, secrets);
    body(&mut request, &call.headers, &call.body, secrets);
    let response = match reply {
        Ok(reply) => {
            let mut response = format!("{}\n", reply.status);
            headers(&mut response, &reply.headers, secrets);
            body(&mut response, &reply.headers, &reply.body, secrets);
            response
        }
        Err(reason) => format!("no answer: {reason}"),
    };
    Exchange { request: request.trim_end().to_owned(), response: response.trim_end().to_owned() }
}

fn headers(out: &mut String, headers: &HeaderMap, secrets: &Secrets) {
    for (name, value) in headers {
        if DULL.contains(&name.as_str()) {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let value = secret_header(name, &value, secrets);
        let _ = writeln!(out, "{name}: {}", clip(&value, 600));
    }
}

fn secret_header(name: &HeaderName, value: &str, secrets: &Secrets) -> String {
    if *name == header::AUTHORIZATION {
        let hidden = secrets.hide(value);
        return match value.split_once(' ') {
            Some(_) if hidden != value => hidden,
            Some((scheme, rest)) => {
                format!("{scheme} \u{2039}credentials, {} characters\u{203a}", rest.len())
            }
            None => hidden,
        };
    }
    if *name == header::COOKIE || *name == header::SET_COOKIE {
        return value
            .split("; ")
            .map(|part| match part.split_once('=') {
                Some((name, value)) if !is_attribute(name) => {
                    let hidden = secrets.hide(value);
                    let is_hidden = hidden != value || value.is_empty();
                    let text = if is_hidden { hidden } else { "\u{2039}cookie\u{203a}".to_owned() };
                    format!("{name}={text}")
                }
                _ => part.to_owned(),
            })
            .collect::<Vec<_>>()
            .join("; ");
    }
    if *name == header::LOCATION {
        return secrets.url(value);
    }
    secrets.hide(value)
}

fn is_attribute(name: &str) -> bool {
    ["path", "domain", "expires", "max-age", "samesite"]
        .contains(&name.to_ascii_lowercase().as_str())
}

fn body(out: &mut String, headers: &HeaderMap, bytes: &[u8], secrets: &Secrets) {
    if bytes.is_empty() {
        return;
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default();
    let text = String::from_utf8_lossy(bytes);
    let text = if media_type.starts_with(FORM) {
        secrets.form(&text)
    } else if let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes)
        && value.is_object()
    {
        secrets.json(&value).to_string()
    } else {
        secrets.hide(&text)
    };
    let _ = writeln!(out, "\n{}", clip(&text, MAX_BODY));
}

fn clip(text: &str, at: usize) -> String {
    let count = text.chars().count();
    if count <= at {
        return text.to_owned();
    }
    let kept: String = text.chars().take(at).collect();
    format!("{kept} \u{2026} ({} more characters)", count - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_in_the_evidence() {
        let secrets = Secrets::default();
        secrets.learn("client_secret", "the-secret");
        let call = Call::form(
            "https://as.example/token?code=the-first-code",
            &[
                ("client_secret".into(), "the-secret".into()),
                ("password".into(), "wonderland".into()),
            ],
        )
        .header(header::AUTHORIZATION, "Basic Y2xpZW50OnRoZS1zZWNyZXQ=")
        .header(header::COOKIE, "session=the-session; other=the-other");
        let reply = Reply {
            url: String::new(),
            status: http::StatusCode::OK,
            headers: HeaderMap::from_iter([(
                header::SET_COOKIE,
                http::HeaderValue::from_static("session=the-new-one; Path=/; HttpOnly"),
            )]),
            body: "{\"access_token\":\"the-access-token\",\"expires_in\":5}".into(),
        };
        let (shown, omitted) = show(&[Recorded { call, reply: Ok(reply) }], &secrets);
        let text = format!("{shown:?}");
        for secret in ["the-", "wonderland", "Y2xp"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert!(text.contains("Path=/; HttpOnly") && text.contains("expires_in"), "{text}");
        assert_eq!(omitted, 0);
    }
}
