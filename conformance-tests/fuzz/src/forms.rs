//! Forms, queries and the credentials of a client, as the token and authorization endpoints read them.
//!
//! The reader is held against `form_urlencoded`, which reads everything: what we accept must be what it saw.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::shared::with_server;
use crate::world::{CALLBACK, CHALLENGE};

fn form_headers() -> HeaderMap {
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    HeaderMap::from_iter([(header::CONTENT_TYPE, form)])
}

/// The one value of a name; empty counts as absent.
fn only<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    let mut values =
        pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let value = values.next();
    assert!(values.next().is_none(), "a repeated {name} was accepted");
    value.filter(|value| !value.is_empty())
}

fn read(bytes: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(bytes).into_owned().collect()
}

/// A body at the token endpoint. `$id` and `$secret` in it stand for a client's own.
///
/// Requirements 6749-004, 6749-015, 6749-034, 6749-061, 6749-084; ATTACKS J01, J10.
pub(crate) fn form(data: &[u8]) {
    with_server(async |standing| {
        let client = &standing.service;
        let secret = client.client_secret.as_ref().expect("it has a secret").expose();
        let text = replaced(data, b"$id", client.client.id.as_str());
        let body = replaced(&text, b"$secret", secret);
        let answer = standing.ask(Method::POST, "/token", form_headers(), &body).await;
        let answer = answer.expect("a request");
        match answer.status {
            200 => {
                let pairs = read(&body);
                assert_eq!(only(&pairs, "grant_type"), Some("client_credentials"));
                assert_eq!(only(&pairs, "client_id"), Some(client.client.id.as_str()));
                assert_eq!(only(&pairs, "client_secret"), Some(secret));
                assert_eq!(only(&pairs, "client_assertion"), None);
                let asked = only(&pairs, "scope").unwrap_or("read write");
                let mut asked: Vec<&str> = asked.split(' ').collect();
                asked.sort_unstable();
                asked.dedup();
                assert_eq!(answer.json()["scope"], asked.join(" "));
            }
            400 | 401 | 413 | 429 => {
                let known = [
                    "invalid_request",
                    "invalid_client",
                    "invalid_grant",
                    "unauthorized_client",
                    "unsupported_grant_type",
                    "invalid_scope",
                ];
                assert!(known.contains(&answer.error().as_str()), "{answer:?}");
            }
            status => panic!("{status} for a form"),
        }
    });
}

/// A query at the authorization endpoint. `$id` in it stands for a client's own, `$callback` for its address and
/// `$challenge` for a challenge.
///
/// Requirements 6749-017, 6749-027, 6749-029, 6749-040, 9700-002, 9700-019; ATTACKS A14, A15, J01.
pub(crate) fn query(data: &[u8]) {
    with_server(async |standing| {
        let id = standing.public.client.id.as_str();
        let query = replaced(&replaced(data, b"$id", id), b"$callback", CALLBACK);
        let query = replaced(&query, b"$challenge", CHALLENGE);
        let Ok(query) = std::str::from_utf8(&query) else {
            return;
        };
        let target = format!("/authorize?{query}");
        let Some(answer) = standing.ask(Method::GET, &target, HeaderMap::new(), b"").await else {
            return;
        };
        let known = answer.location();
        if answer.status != 303 {
            assert!(answer.is_error_page() && answer.status < 500, "{answer:?}");
            return;
        }
        // Whoever is sent anywhere was sent for a client that is known, to an address that it has. (What HTTP calls
        // the query ends at a fragment, which no browser sends.)
        let query = query.split('#').next().unwrap_or_default();
        let pairs = read(query.as_bytes());
        assert_eq!(only(&pairs, "client_id"), Some(id), "{answer:?}");
        let named = only(&pairs, "redirect_uri");
        assert!(named.is_none_or(|uri| uri == CALLBACK), "{answer:?}");
        if let Some(interaction) = known.strip_prefix("/interaction?interaction=gri_") {
            assert_eq!(interaction.len(), 64, "{answer:?}");
            assert_eq!(only(&pairs, "response_type"), Some("code"));
            assert_eq!(only(&pairs, "code_challenge").map(str::len), Some(43));
            assert_eq!(only(&pairs, "code_challenge_method"), Some("S256"));
        } else {
            assert!(known.starts_with(&format!("{CALLBACK}?error=")), "{answer:?}");
            let states: Vec<_> = pairs.iter().filter(|(name, _)| name == "state").collect();
            if let [(_, state)] = states.as_slice()
                && !state.is_empty()
                && answer.parameters().iter().any(|(name, _)| name == "state")
            {
                assert_eq!(&answer.parameter("state"), state, "6749-045");
            }
        }
    });
}

/// Credentials in the `Authorization` header: the first byte says whether the rest is the header, the pair that is
/// encoded into it, or a secret that is to be compared with the right one.
///
/// Requirements 6749-005, 6749-006, 6749-060; ATTACKS E13, J02.
pub(crate) fn basic(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    with_server(async |standing| {
        let client = &standing.service;
        let secret = client.client_secret.as_ref().expect("it has a secret").expose();
        let value = match kind % 3 {
            0 => rest.to_vec(),
            1 => format!("Basic {}", STANDARD.encode(rest)).into_bytes(),
            _ => {
                let shown: String = form_urlencoded::byte_serialize(rest).collect();
                let shown = if rest.is_empty() { secret.to_owned() } else { shown };
                format!("bAsIc {}", STANDARD.encode(format!("{}:{shown}", client.client.id)))
                    .into_bytes()
            }
        };
        let Ok(value) = HeaderValue::from_bytes(&value) else {
            return;
        };
        let mut headers = form_headers();
        headers.insert(header::AUTHORIZATION, value.clone());
        let body = b"grant_type=client_credentials&scope=read";
        let answer = standing.ask(Method::POST, "/token", headers, body).await.expect("a request");
        match answer.status {
            200 => {
                let value = value.to_str().expect("visible");
                let (scheme, pair) = value.split_once(' ').expect("two parts");
                assert!(scheme.eq_ignore_ascii_case("basic"));
                let pair = STANDARD.decode(pair.trim_matches(' ')).expect("base64");
                let pair = String::from_utf8(pair).expect("UTF-8");
                let (id, shown) = pair.split_once(':').expect("a pair");
                let decoded = |text: &str| read(format!("x={text}").as_bytes())[0].1.clone();
                assert_eq!(
                    (decoded(id).as_str(), decoded(shown).as_str()),
                    (client.client.id.as_str(), secret)
                );
            }
            400 => assert_eq!(answer.error(), "invalid_request"),
            401 | 429 => assert_eq!(answer.error(), "invalid_client"),
            status => panic!("{status} for a header"),
        }
        if kind % 3 == 2 {
            let right = rest.is_empty() || rest == secret.as_bytes();
            assert_eq!(answer.status == 200, right, "{answer:?}");
        }
    });
}

/// Every `from` replaced.
fn replaced(bytes: &[u8], from: &[u8], to: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to.as_bytes());
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}
