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
                _ => secrets.hide(part),
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
    } else if media_type.starts_with("text/html") {
        secrets.hide(&without_styles(&text))
    } else {
        secrets.hide(&text)
    };
    let _ = writeln!(out, "\n{}", clip(&text, MAX_BODY));
}

/// A page without what is in its `<style>` elements: what is left has more to say.
fn without_styles(html: &str) -> String {
    let mut shown = String::new();
    let mut rest = html;
    while let Some((before, style)) = rest.split_once("<style") {
        let (_, after) = style.split_once("</style>").unwrap_or_default();
        shown.push_str(before);
        shown.push_str("<style>\u{2026}</style>");
        rest = after;
    }
    shown.push_str(rest);
    // And without the empty lines that templates leave behind.
    shown.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
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
    fn pages_are_shown_without_their_styles() {
        let page = "<p>one\n\n  \n<style media=x>p { color: red }</style>two<style>unclosed";
        assert_eq!(
            without_styles(page),
            "<p>one\n<style>\u{2026}</style>two<style>\u{2026}</style>"
        );
    }

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
                http::HeaderValue::from_static("session=the-new-one; Path=/the-secret; HttpOnly"),
            )]),
            body: "{\"access_token\":\"the-access-token\",\"expires_in\":5}".into(),
        };
        let (shown, omitted) = show(&[Recorded { call, reply: Ok(reply) }], &secrets);
        let text = format!("{shown:?}");
        for secret in ["the-", "wonderland", "Y2xp"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert!(text.contains("; HttpOnly") && text.contains("expires_in"), "{text}");
        assert_eq!(omitted, 0);
    }
}
