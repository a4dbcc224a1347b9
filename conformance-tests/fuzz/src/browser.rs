//! What a browser sends along: cookies, languages, where it comes from.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::shared::with_server;
use crate::world::{ISSUER, authorize_url};

/// Header lines, as `name: value`; the first line is the `ui_locales` of the request.
///
/// Requirements 6749-081, 9700-033, HTTP-001, HTTP-002; ATTACKS G02, G04, J03, J11, K16.
pub(crate) fn headers(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let locales = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let headers: HeaderMap = lines
        .filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..at]).ok()?;
            let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii_start()).ok()?;
            Some((name, value))
        })
        .take(64)
        .collect();
    with_server(async |standing| {
        // Whatever comes along, nobody is signed in by it, and the page is in a language that there is.
        let page =
            standing.ask(Method::GET, "/apps", headers.clone(), b"").await.expect("a request");
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.body.contains("id=\"password\""), "{page:?}");
        let language = ["<html lang=\"en\"", "<html lang=\"ko\""];
        assert!(language.iter().any(|tag| page.body.contains(tag)), "{page:?}");
        let target = authorize_url(&standing.public, &[("ui_locales", Some(&locales))]);
        let answer =
            standing.ask(Method::GET, &target, headers.clone(), b"").await.expect("a request");
        if answer.status == 303 {
            let location = answer.location();
            let known = location.starts_with("/interaction?interaction=gri_")
                || location.starts_with("https://client.example/cb?error=");
            assert!(known, "{answer:?}");
            assert_eq!(answer.header("content-security-policy").matches("form-action").count(), 1);
        } else {
            assert!(answer.is_error_page(), "{answer:?}");
        }
        // A form of ours is answered by nobody who has no form token, and never from another site.
        let mut posted = headers.clone();
        posted.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let body = b"form_token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&client_id=x";
        let answer = standing.ask(Method::POST, "/apps/withdraw", posted, body).await;
        let answer = answer.expect("a request");
        assert!(answer.is_error_page() && answer.status == 403, "{answer:?}");
        let metadata = format!("{ISSUER}/.well-known/oauth-authorization-server");
        let answer = standing.ask(Method::GET, &metadata, headers, b"").await.expect("a request");
        assert_eq!(answer.json()["issuer"], ISSUER);
    });
}
