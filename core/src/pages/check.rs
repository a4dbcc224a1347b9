//! Whether pages can be shown, and what they need is on them: tried with samples, before a user does.

use minijinja::HtmlEscape;

use super::default::DefaultPages;
use super::{
    Body, ConnectionRow, ConnectionsPage, ConsentPage, ErrorKind, ErrorPage, Frame, Page,
    Pages as _, ScopeRow, SignInPage, SignInProblem, SignedOutPage,
};
use crate::protocol::authorize::{ClientSummary, Destination};

/// What is wrong with a page.
#[derive(Debug)]
pub(super) enum Fault {
    Template(minijinja::Error),
    Missing(String),
    Forbidden(&'static str),
}

/// Stands everywhere where text comes from others. Unescaped it would be an element.
const HOSTILE: &str = "<i data-from='another\"one'>&";

/// Tries every page in every language.
pub(super) fn all(pages: &DefaultPages) -> Result<(), (&'static str, Fault)> {
    let client = ClientSummary {
        name: HOSTILE.to_owned(),
        client_uri: Some(HOSTILE.to_owned()),
        policy_uri: Some(HOSTILE.to_owned()),
        tos_uri: Some(HOSTILE.to_owned()),
    };
    let destinations =
        ["https://client.example/cb", "http://127.0.0.1:1/cb", "com.example.app:/cb"]
            .map(Destination::sample);
    for language in pages.languages() {
        for (name, body, mut needs) in samples(&client, &destinations) {
            if let (Body::Error(page), Some(texts)) = (&body, pages.texts(language)) {
                needs.push(HtmlEscape(&texts.error(page.kind).what).to_string());
            }
            let page = Page { frame: Frame { stylesheet: STYLESHEET, host: "host.example" }, body };
            one(pages, &page, &needs, language).map_err(|fault| (name, fault))?;
        }
    }
    Ok(())
}

const STYLESHEET: &str = "/sample/style.css";
const ACTION: &str = "/sample/action";
const SIGN_OUT: &str = "/sample/sign-out";

fn one(
    pages: &DefaultPages,
    page: &Page<'_>,
    needs: &[String],
    language: &str,
) -> Result<(), Fault> {
    let html = pages.try_render(page, language).map_err(Fault::Template)?;
    let sheet = format!("href=\"{}\"", HtmlEscape(STYLESHEET));
    if let Some(missing) = needs.iter().chain([&sheet]).find(|part| !html.contains(part.as_str())) {
        return Err(Fault::Missing(missing.clone()));
    }
    let lower = html.to_ascii_lowercase();
    if lower.contains("<i data-from") {
        return Err(Fault::Forbidden("what others wrote is not escaped"));
    }
    for (part, what) in [
        ("<script", "a script, which the headers forbid, is"),
        ("<style", "a style that is not in the style sheet is"),
        (" style=\"", "a style that is not in the style sheet is"),
        ("<iframe", "a frame, which the headers forbid, is"),
        ("<base", "an element `base`, which the headers forbid, is"),
    ] {
        if lower.contains(part) {
            return Err(Fault::Forbidden(what));
        }
    }
    Ok(())
}

/// Every page in the shapes that differ, with what must be on it.
fn samples<'a>(
    client: &'a ClientSummary,
    destinations: &'a [Destination],
) -> Vec<(&'static str, Body<'a>, Vec<String>)> {
    let hidden = || vec![("sample-field", "sample-secret")];
    let form = |action: &str| {
        vec![
            "method=\"post\"".to_owned(),
            attribute("action", action),
            attribute("name", "sample-field"),
            attribute("value", "sample-secret"),
        ]
    };
    let with = |mut needs: Vec<String>, more: &[(&str, &str)]| {
        needs.extend(more.iter().map(|(name, value)| attribute(name, value)));
        needs
    };
    let mut samples = Vec::new();
    let throttled = |retry_after_seconds| SignInProblem::TooManyAttempts { retry_after_seconds };
    let problems = [1, 2, 60, 120].map(throttled).map(Some);
    for problem in [None, Some(SignInProblem::WrongCredentials)].into_iter().chain(problems) {
        for (client, username, again) in [(None, "", false), (Some(client), HOSTILE, true)] {
            let page =
                SignInPage { action: ACTION, hidden: hidden(), client, username, again, problem };
            let needs = with(form(ACTION), &[("name", "username"), ("name", "password")]);
            samples.push(("sign-in.html", Body::SignIn(page), needs));
        }
    }
    for destination in destinations {
        for lifetime_days in [None, Some(0), Some(1), Some(90)] {
            for names in [&[][..], &["sample-read", "sample-write"]] {
                let row = |name| ScopeRow {
                    name,
                    description: HOSTILE,
                    allowed_before: lifetime_days.is_some(),
                };
                let page = ConsentPage {
                    action: ACTION,
                    hidden: hidden(),
                    client,
                    destination,
                    username: HOSTILE,
                    scopes: names.iter().copied().map(row).collect(),
                    lifetime_days,
                };
                let answers = [("name", "decision"), ("value", "allow"), ("value", "deny")];
                let mut needs = with(form(ACTION), &answers);
                for name in names {
                    needs = with(needs, &[("name", "scope"), ("value", name)]);
                }
                // Who asks, and where the code goes, are what the user decides about.
                needs.push(HtmlEscape(HOSTILE).to_string());
                needs.push(HtmlEscape(destination.display()).to_string());
                samples.push(("consent.html", Body::Consent(page), needs));
            }
        }
    }
    for (withdrawn, count) in [(false, 2), (true, 0)] {
        let row = ConnectionRow {
            client_id: "sample-client",
            client_name: HOSTILE,
            scopes: vec![HOSTILE],
            since: "2026-01-31".to_owned(),
        };
        let page = ConnectionsPage {
            action: ACTION,
            sign_out: SIGN_OUT,
            hidden: hidden(),
            username: HOSTILE,
            connections: vec![row; count],
            withdrawn,
        };
        let mut needs = form(SIGN_OUT);
        if count > 0 {
            needs.extend(form(ACTION));
            needs = with(needs, &[("name", "client_id"), ("value", "sample-client")]);
        }
        samples.push(("connections.html", Body::Connections(page), needs));
    }
    let page = SignedOutPage { sign_in: ACTION };
    samples.push(("signed-out.html", Body::SignedOut(page), vec![attribute("href", ACTION)]));
    for kind in ErrorKind::ALL {
        for detail in ["", HOSTILE] {
            let page = ErrorPage { kind, detail };
            samples.push(("error.html", Body::Error(page), Vec::new()));
        }
    }
    samples
}

fn attribute(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", HtmlEscape(value))
}
