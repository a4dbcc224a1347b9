//! Pages that can be framed, forged, or tell too little or too much.

use http::header::{self, HeaderName};

use crate::mutants::Rule;
use crate::rules::{after, as_it_comes, before, both};
use crate::spoil::{Answered, Asked};

fn without(answered: &mut Answered, name: HeaderName) {
    answered.headers.remove(name);
}

/// A page with some of its text replaced.
fn rewritten(answered: &mut Answered, from: &str, to: &str) {
    if answered.is_html() {
        answered.body = answered.text().replace(from, to).into_bytes();
    }
}

fn is_consent(asked: &Asked) -> bool {
    asked.is("POST", "/interaction/consent")
}

pub(super) fn rules() -> Vec<Rule> {
    vec![
        after("pages can be framed", &["6749-082", "9700-040"], |_, _, answered| {
            without(answered, header::X_FRAME_OPTIONS);
            without(answered, header::CONTENT_SECURITY_POLICY);
        }),
        after("a script of somebody else's", &["9700-021"], |_, _, answered| {
            rewritten(
                answered,
                "</body>",
                "<script src=\"https://metrics.example/x.js\"></script></body>",
            );
        }),
        after("addresses are told to others", &["9700-022"], |_, _, answered| {
            answered.set(header::REFERRER_POLICY, "unsafe-url");
            rewritten(answered, "no-referrer", "unsafe-url");
        }),
        after(
            "forms are answered with 307",
            &["9700-003", "9700-032", "OA21-002"],
            |memory, asked, answered| {
                // The run itself has to get through: the page that follows is asked for with GET again.
                if asked.method == "POST"
                    && answered.status == 303
                    && asked.path().contains("login")
                {
                    answered.status = 307;
                }
                let _ = memory;
            },
        ),
        after("scripts can read the cookies", &["HTTP-001"], |_, _, answered| {
            let lines: Vec<_> =
                answered.headers.get_all(header::SET_COOKIE).iter().cloned().collect();
            answered.headers.remove(header::SET_COOKIE);
            for line in lines {
                let line = line.to_str().expect("ASCII").replace("; HttpOnly", "");
                answered.headers.append(header::SET_COOKIE, line.parse().expect("a header"));
            }
        }),
        after("other sites send the cookies", &["HTTP-001"], |_, _, answered| {
            let lines: Vec<_> =
                answered.headers.get_all(header::SET_COOKIE).iter().cloned().collect();
            answered.headers.remove(header::SET_COOKIE);
            for line in lines {
                let line = line.to_str().expect("ASCII").replace("SameSite=Lax", "SameSite=None");
                answered.headers.append(header::SET_COOKIE, line.parse().expect("a header"));
            }
        }),
        after("the consent page does not say who asks", &["6749-072"], |_, _, answered| {
            rewritten(answered, "Conformance", "An application");
        }),
        after("nobody can deny", &["6749-072"], |_, _, answered| {
            rewritten(answered, "value=\"deny\"", "value=\"allow\"");
            rewritten(answered, "Deny", "Later");
        }),
        both(
            "a consent form is good from anywhere",
            &["6749-081"],
            |memory, asked| {
                if asked.header(header::COOKIE).contains("session") {
                    memory.words.insert("cookie".into(), asked.header(header::COOKIE));
                }
                if is_consent(asked)
                    && let Some(cookie) = memory.words.get("cookie")
                {
                    let cookie = cookie.clone();
                    asked.set(header::COOKIE, &cookie);
                    asked.headers.remove(header::ORIGIN);
                    asked.headers.remove("sec-fetch-site");
                }
                None
            },
            as_it_comes,
        ),
        before("consent can be given by a link", &["6749-081"], |_, asked| {
            if asked.is("GET", "/interaction/consent") {
                let form = asked.query();
                asked.method = "POST".into();
                asked.set_form(&form);
                asked.target = "/interaction/consent".into();
                asked.set(HeaderName::from_static("sec-fetch-site"), "same-origin");
            }
            None
        }),
        after("types may be guessed", &["HTTP-004"], |_, _, answered| {
            without(answered, header::X_CONTENT_TYPE_OPTIONS);
        }),
        after("inline scripts run", &["HTTP-004"], |_, _, answered| {
            answered.set(header::CONTENT_SECURITY_POLICY, "script-src 'self' 'unsafe-inline'");
        }),
        after("an unknown path is echoed", &["HTTP-008"], |_, asked, answered| {
            if answered.status == 404 {
                let path = percent_encoding::percent_decode_str(asked.path());
                answered.body = path.decode_utf8_lossy().into_owned().into_bytes();
                answered.set(header::CONTENT_TYPE, "text/html");
            }
        }),
        after("an unknown path is fine", &["HTTP-008"], |_, _, answered| {
            if answered.status == 404 {
                answered.status = 200;
            }
        }),
    ]
}
