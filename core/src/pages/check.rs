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

/// Stand where text comes from others: each is another one, so that none is taken for the other.
/// Unescaped they would be elements.
const CLIENT: &str = "<i data-from='client\"one'>&";
const USER: &str = "<i data-from='user\"one'>&";
const SCOPE: &str = "<i data-from='scope\"one'>&";
const HOSTILE: &str = "<i data-from='another\"one'>&";

/// Tries every page in every language.
pub(super) fn all(pages: &DefaultPages) -> Result<(), (&'static str, Fault)> {
    let clients = [None, Some(HOSTILE.to_owned())].map(|address| ClientSummary {
        name: CLIENT.to_owned(),
        client_uri: address.clone(),
        policy_uri: address.clone(),
        tos_uri: address,
    });
    let destinations =
        ["https://client.example/cb", "http://127.0.0.1:1/cb", "com.example.app:/cb"]
            .map(Destination::sample);
    for language in pages.languages() {
        for Sample { name, body, mut needs, forms } in samples(&clients, &destinations) {
            if let (Body::Error(page), Some(texts)) = (&body, pages.texts(language)) {
                needs.push(HtmlEscape(&texts.error(page.kind).what).to_string());
            }
            let page = Page { frame: Frame { stylesheet: STYLESHEET, host: "host.example" }, body };
            one(pages, &page, &needs, &forms, language).map_err(|fault| (name, fault))?;
        }
    }
    Ok(())
}

const STYLESHEET: &str = "/sample/style.css";
const ACTION: &str = "/sample/action";
const SIGN_OUT: &str = "/sample/sign-out";

/// A page, and what must be on it: anywhere, and in the forms that are posted to an address.
struct Sample<'a> {
    name: &'static str,
    body: Body<'a>,
    needs: Vec<String>,
    forms: Vec<(&'static str, Vec<String>)>,
}

fn one(
    pages: &DefaultPages,
    page: &Page<'_>,
    needs: &[String],
    forms: &[(&'static str, Vec<String>)],
    language: &str,
) -> Result<(), Fault> {
    let html = pages.try_render(page, language).map_err(Fault::Template)?;
    for (action, needs) in forms {
        let action = attribute("action", action);
        let found = html.split("<form").skip(1).filter_map(|rest| {
            let form = rest.split_once("</form>").map_or(rest, |(form, _)| form);
            let (tag, _) = form.split_once('>')?;
            // HTML reads the method in any case.
            let posted = tag.to_ascii_lowercase().contains("method=\"post\"");
            (posted && tag.contains(&action)).then_some(form)
        });
        let found: Vec<&str> = found.collect();
        if found.is_empty() {
            return Err(Fault::Missing(format!("a form with method=\"post\" and {action}")));
        }
        // All of them: a form of its own for each button is none that can be answered.
        for form in found {
            if let Some(missing) = needs.iter().find(|part| !form.contains(part.as_str())) {
                return Err(Fault::Missing(format!("in the form with {action}: {missing}")));
            }
        }
    }
    let sheet = format!("href=\"{}\"", HtmlEscape(STYLESHEET));
    if let Some(missing) = needs.iter().chain([&sheet]).find(|part| !html.contains(part.as_str())) {
        return Err(Fault::Missing(missing.clone()));
    }
    let lower = html.to_ascii_lowercase();
    if lower.contains("<i data-from") {
        return Err(Fault::Forbidden("what others wrote is not escaped"));
    }
    let tags = lower.split('<').skip(1).filter_map(|rest| rest.split_once('>'));
    let mut attributes = tags.flat_map(|(tag, _)| tag.split_ascii_whitespace().skip(1));
    if attributes.any(|attribute| attribute.starts_with("on") && attribute.contains('=')) {
        return Err(Fault::Forbidden("a script in an attribute, which the headers forbid, is"));
    }
    for (part, what) in [
        ("<script", "a script, which the headers forbid, is"),
        ("<style", "a style that is not in the style sheet is"),
        (" style=", "a style that is not in the style sheet is"),
        (" src=", "something to load, which the headers forbid, is"),
        ("http-equiv", "a header in the place of ours is"),
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
fn samples<'a>(clients: &'a [ClientSummary], destinations: &'a [Destination]) -> Vec<Sample<'a>> {
    let hidden = || vec![("sample-field", "sample-secret")];
    let form = |more: &[(&str, &str)]| {
        let mut needs =
            vec![attribute("name", "sample-field"), attribute("value", "sample-secret")];
        needs.extend(more.iter().map(|(name, value)| attribute(name, value)));
        needs
    };
    let text = |text: &str| HtmlEscape(text).to_string();
    let mut samples = Vec::new();
    let throttled = |retry_after_seconds| SignInProblem::TooManyAttempts { retry_after_seconds };
    let problems = [1, 2, 60, 120].map(throttled).map(Some);
    for problem in [None, Some(SignInProblem::WrongCredentials)].into_iter().chain(problems) {
        for client in clients.iter().map(Some).chain([None]) {
            for (username, again) in [("", false), ("", true), (HOSTILE, false), (HOSTILE, true)] {
                let hidden = hidden();
                let page = SignInPage { action: ACTION, hidden, client, username, again, problem };
                samples.push(Sample {
                    name: "sign-in.html",
                    body: Body::SignIn(page),
                    needs: client.map(|_| text(CLIENT)).into_iter().collect(),
                    forms: vec![(ACTION, form(&[("name", "username"), ("name", "password")]))],
                });
            }
        }
    }
    for (client, destination) in
        clients.iter().flat_map(|c| destinations.iter().map(move |d| (c, d)))
    {
        for lifetime_days in [None, Some(0), Some(1), Some(90)] {
            for names in [&[][..], &["sample-read", "sample-write"]] {
                let row = |name| ScopeRow {
                    name,
                    description: SCOPE,
                    allowed_before: lifetime_days.is_some(),
                };
                let page = ConsentPage {
                    action: ACTION,
                    hidden: hidden(),
                    client,
                    destination,
                    username: USER,
                    scopes: names.iter().copied().map(row).collect(),
                    lifetime_days,
                };
                let mut needed =
                    form(&[("name", "decision"), ("value", "allow"), ("value", "deny")]);
                // Who asks whom for what, and where the code goes, are what the user decides about.
                let mut needs = vec![text(CLIENT), text(USER), text(destination.display())];
                for name in names {
                    needed.extend([attribute("name", "scope"), attribute("value", name)]);
                    needs.push(text(SCOPE));
                }
                samples.push(Sample {
                    name: "consent.html",
                    body: Body::Consent(page),
                    needs,
                    forms: vec![(ACTION, needed)],
                });
            }
        }
    }
    for (withdrawn, count, scopes, sign_out) in [
        (false, 2, 1, Some(SIGN_OUT)),
        (true, 0, 0, Some(SIGN_OUT)),
        (false, 1, 0, None),
        (false, 0, 0, None),
    ] {
        let row = ConnectionRow {
            client_id: "sample-client",
            client_name: CLIENT,
            scopes: vec![HOSTILE; scopes],
            since: "2026-01-31".to_owned(),
        };
        let page = ConnectionsPage {
            action: ACTION,
            sign_out,
            hidden: hidden(),
            username: HOSTILE,
            connections: vec![row; count],
            withdrawn,
        };
        let mut needs = Vec::new();
        let mut forms: Vec<_> = sign_out.map(|action| (action, form(&[]))).into_iter().collect();
        if count > 0 {
            needs.push(text(CLIENT));
            forms.push((ACTION, form(&[("name", "client_id"), ("value", "sample-client")])));
        }
        samples.push(Sample {
            name: "connections.html",
            body: Body::Connections(page),
            needs,
            forms,
        });
    }
    let page = SignedOutPage { sign_in: ACTION };
    samples.push(Sample {
        name: "signed-out.html",
        body: Body::SignedOut(page),
        needs: vec![attribute("href", ACTION)],
        forms: Vec::new(),
    });
    for kind in ErrorKind::ALL {
        for detail in ["", HOSTILE] {
            samples.push(Sample {
                name: "error.html",
                body: Body::Error(ErrorPage { kind, detail }),
                needs: Vec::new(),
                forms: Vec::new(),
            });
        }
    }
    samples
}

fn attribute(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", HtmlEscape(value))
}
