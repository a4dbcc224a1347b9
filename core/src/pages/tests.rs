use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::{
    ApplicationType, Client, ClientId, ClientType, GrantType, Issuer, Policy, RedirectUri,
    ScopeDefinition, ScopeSet, ScopeToken, Timestamp,
};
use crate::protocol::authorize::{self, AuthorizationRequest, Outcome, Visitor};
use crate::protocol::{Context, Entropy};

const HTTPS: &str = "https://notes.example/callback";
const LOOPBACK: &str = "http://127.0.0.1:49152/callback";
const LOOPBACK_V6: &str = "http://[::1]:49152/callback";
const PRIVATE_USE: &str = "com.example.notes:/callback";
const DESTINATIONS: [&str; 4] = [HTTPS, LOOPBACK, LOOPBACK_V6, PRIVATE_USE];

/// A destination, from the only place that makes one.
fn destination(redirect_uri: &str) -> Destination {
    let issuer = Issuer::parse("https://id.example").unwrap();
    let now = Timestamp::from_millis(1_790_000_000_000);
    let mut policy = Policy::default();
    policy.scopes.insert(ScopeToken::parse("read").unwrap(), ScopeDefinition::new("Read"));
    let client = Client {
        id: ClientId::parse("notes").unwrap(),
        client_type: ClientType::Public,
        application_type: ApplicationType::Native,
        secrets: Vec::new(),
        auth_methods: Vec::new(),
        redirect_uris: vec![RedirectUri::parse(redirect_uri).unwrap()],
        localhost_any_port: false,
        grant_types: vec![GrantType::AuthorizationCode],
        extension_grants: Vec::new(),
        scope: ScopeSet::parse("read").unwrap(),
        name: "Notes".to_owned(),
        client_uri: None,
        logo_uri: None,
        policy_uri: None,
        tos_uri: None,
        pkce_optional: false,
        skip_consent: false,
        resource_server: false,
        epoch: 0,
        created_at: now,
        removed_at: None,
    };
    let request = AuthorizationRequest {
        client_id: Some("notes".to_owned()),
        redirect_uri: Some(redirect_uri.to_owned()),
        response_type: Some("code".to_owned()),
        response_mode: None,
        scope: Some("read".to_owned()),
        state: None,
        code_challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned()),
        code_challenge_method: Some("S256".to_owned()),
        prompt: None,
        max_age: None,
        login_hint: None,
        ui_locales: None,
        request: None,
        request_uri: None,
        faulty: Vec::new(),
    };
    let ctx = Context { issuer: &issuer, policy: &policy, now };
    let mut entropy = Entropy::from_seed([7; 32]);
    let begun = authorize::begin(&request, Some(&client), Visitor::default(), ctx, &mut entropy);
    match begun.outcome {
        Ok(Outcome::LoginRequired(interaction)) => interaction.destination,
        other => panic!("{redirect_uri} led to {other:?}"),
    }
}

/// What the pages are filled with.
#[derive(Clone, Debug)]
struct Input {
    host: String,
    address: String,
    hidden: String,
    client: ClientSummary,
    username: String,
    scope: String,
    description: String,
    detail: String,
    since: String,
}

impl Input {
    fn ordinary() -> Self {
        Self {
            host: "id.example".to_owned(),
            address: "/interaction".to_owned(),
            hidden: "g_1.abc-DEF_123".to_owned(),
            client: ClientSummary {
                name: "Zed Notes".to_owned(),
                client_uri: Some("https://notes.example/".to_owned()),
                policy_uri: Some("https://notes.example/privacy".to_owned()),
                tos_uri: Some("https://notes.example/terms".to_owned()),
            },
            username: "mina".to_owned(),
            scope: "notes:read".to_owned(),
            description: "Read your notes".to_owned(),
            detail: "redirect_uri is not registered".to_owned(),
            since: "2026-01-31".to_owned(),
        }
    }

    /// The same text everywhere.
    fn all(text: &str) -> Self {
        Self {
            host: text.to_owned(),
            address: text.to_owned(),
            hidden: text.to_owned(),
            client: ClientSummary {
                name: text.to_owned(),
                client_uri: Some(text.to_owned()),
                policy_uri: Some(text.to_owned()),
                tos_uri: Some(text.to_owned()),
            },
            username: text.to_owned(),
            scope: text.to_owned(),
            description: text.to_owned(),
            detail: text.to_owned(),
            since: text.to_owned(),
        }
    }

    fn hidden(&self) -> Hidden<'_> {
        vec![("interaction", &self.hidden), ("ticket", &self.hidden)]
    }

    /// Every page in every shape, with the ids that it must have.
    fn bodies<'a>(&'a self, destinations: &'a [Destination]) -> Vec<(Body<'a>, Vec<&'static str>)> {
        let mut bodies = Vec::new();
        let waits = [0, 1, 2, 59, 60, 61, 3600, u32::MAX].map(|retry_after_seconds| {
            Some(SignInProblem::TooManyAttempts { retry_after_seconds })
        });
        for problem in [None, Some(SignInProblem::WrongCredentials)].into_iter().chain(waits) {
            for client in [None, Some(&self.client)] {
                for again in [false, true] {
                    for username in ["", &self.username] {
                        let page = SignInPage {
                            action: &self.address,
                            hidden: self.hidden(),
                            client,
                            username,
                            again,
                            problem,
                        };
                        let mut ids = vec!["username", "password", "login"];
                        ids.extend(problem.map(|_| "problem"));
                        bodies.push((Body::SignIn(page), ids));
                    }
                }
            }
        }
        let row = |allowed_before| ScopeRow {
            name: &self.scope,
            description: &self.description,
            allowed_before,
        };
        for destination in destinations {
            for lifetime_days in [None, Some(0), Some(1), Some(90), Some(u64::MAX)] {
                for scopes in [vec![], vec![row(false), row(true)]] {
                    let mut ids = vec!["allow", "deny"];
                    if !scopes.is_empty() {
                        ids.extend(["scope-0", "scope-1"]);
                    }
                    let page = ConsentPage {
                        action: &self.address,
                        hidden: self.hidden(),
                        client: &self.client,
                        destination,
                        username: &self.username,
                        scopes,
                        lifetime_days,
                    };
                    bodies.push((Body::Consent(page), ids));
                }
            }
        }
        let app = |scopes| ConnectionRow {
            client_id: &self.scope,
            client_name: &self.client.name,
            scopes,
            since: self.since.clone(),
        };
        for withdrawn in [false, true] {
            for connections in [vec![], vec![app(vec![]), app(vec![&self.description, "Delete"])]] {
                let mut ids = vec!["logout"];
                if !connections.is_empty() {
                    ids.extend(["withdraw-0", "withdraw-1"]);
                }
                let page = ConnectionsPage {
                    action: &self.address,
                    sign_out: Some(&self.address),
                    hidden: self.hidden(),
                    username: &self.username,
                    connections,
                    withdrawn,
                };
                bodies.push((Body::Connections(page), ids));
            }
        }
        let page = SignedOutPage { sign_in: &self.address };
        bodies.push((Body::SignedOut(page), vec![]));
        for kind in ErrorKind::ALL {
            for detail in ["", &self.detail] {
                let page = ErrorPage { kind, detail };
                bodies.push((Body::Error(page), vec!["error"]));
            }
        }
        bodies
    }

    fn frame(&self) -> Frame<'_> {
        Frame { stylesheet: "/style.css", host: &self.host }
    }

    /// Renders everything in every language.
    fn each(&self, mut check: impl FnMut(&Page<'_>, &str, &str, &[&str])) {
        let pages = DefaultPages::new();
        let destinations = DESTINATIONS.map(destination);
        for (body, ids) in self.bodies(&destinations) {
            let frame = self.frame();
            let page = Page { frame, body };
            for language in pages.languages() {
                check(&page, language, &pages.render(&page, language), &ids);
            }
        }
    }
}

/// The tags of a page, in order, without what stands between them. Panics where a page is not put
/// together as ours are: quoted attributes, every element closed, no `<` in text or attributes.
fn tags(html: &str) -> Vec<String> {
    const VOID: [&str; 3] = ["meta", "link", "input"];
    // Children of a drawing; written as `<path .../>`.
    const SHAPES: [&str; 2] = ["path", "circle"];

    let mut tags = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = html.strip_prefix("<!doctype html>\n").expect("the type of the document");
    while let Some((text, after)) = rest.split_once('<') {
        assert!(!text.contains('>'), "a stray `>` after {text:?}");
        let (tag, after) = after.split_once('>').expect("an end of the tag");
        assert!(!tag.contains('<'), "a `<` in {tag:?}");
        assert_eq!(tag.matches('"').count() % 2, 0, "an open quote in {tag:?}");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed out of order");
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default().to_owned();
        let is_closed = tag.ends_with('/');
        assert_eq!(is_closed, SHAPES.contains(&name.as_str()), "{tag:?}");
        if !is_closed && !VOID.contains(&name.as_str()) {
            open.push(name);
        }
        tags.push(tag.to_owned());
    }
    assert!(open.is_empty(), "left open: {open:?}");
    assert_eq!(rest, "");
    tags
}

/// The value of an attribute of a tag.
fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let (_, after) = tag.split_once(&format!(" {name}=\""))?;
    after.split_once('"').map(|(value, _)| value)
}

/// The tags with the values of all attributes left out: what no input may change.
fn skeleton(html: &str) -> Vec<String> {
    tags(html).iter().map(|tag| tag.split('"').step_by(2).collect()).collect()
}

fn one(body: Body<'_>, language: &str) -> String {
    let input = Input::ordinary();
    let frame = input.frame();
    DefaultPages::new().render(&Page { frame, body }, language)
}

fn consent_html(client: &ClientSummary, redirect_uri: &str, language: &str) -> String {
    let page = ConsentPage {
        action: "/consent",
        hidden: vec![],
        client,
        destination: &destination(redirect_uri),
        username: "mina",
        scopes: vec![],
        lifetime_days: Some(90),
    };
    one(Body::Consent(page), language)
}

#[test]
fn every_page_has_its_ids_in_every_language() {
    Input::ordinary().each(|page, language, html, ids| {
        let tags = tags(html);
        let found: Vec<_> = tags.iter().filter_map(|tag| attribute(tag, "id")).collect();
        let distinct: BTreeSet<_> = found.iter().collect();
        assert_eq!(distinct.len(), found.len(), "an id twice in {page:?}");
        for id in ids {
            assert!(distinct.contains(id), "no {id} in {page:?}");
        }
        for tag in &tags {
            for refers in ["for", "aria-describedby", "aria-labelledby"] {
                if let Some(id) = attribute(tag, refers) {
                    assert!(distinct.contains(&id), "{tag} refers to nothing");
                }
            }
        }
        assert!(tags.contains(&format!("html lang=\"{language}\"")));
        assert_eq!(html.matches("<h1>").count(), 1);
    });
}

#[test]
fn no_page_loads_anything_or_leads_away() {
    // Requirement 9700-021; ATTACKS G16.
    for input in [Input::ordinary(), Input::all("https://evil.example/\" style=\"x")] {
        input.each(|_, _, html, _| {
            for tag in tags(html) {
                let attributes: Vec<_> = tag.split('"').step_by(2).collect();
                for attribute in attributes {
                    let name = attribute.rsplit(' ').next().unwrap_or_default();
                    assert!(!name.starts_with("on") && name != "style=" && name != "src=", "{tag}");
                }
                let name = tag.split(' ').next().unwrap_or_default();
                let known = [
                    "html", "head", "meta", "title", "link", "body", "main", "p", "svg", "path",
                    "circle", "bdi", "h1", "h2", "span", "form", "input", "div", "label", "button",
                    "fieldset", "legend", "code", "dl", "dt", "dd", "ul", "li", "a", "details",
                    "summary",
                ];
                assert!(known.contains(&name), "{tag}");
                if name == "link" {
                    assert_eq!(attribute(&tag, "href"), Some("&#x2f;style.css"), "{tag}");
                    assert_eq!(attribute(&tag, "rel"), Some("stylesheet"), "{tag}");
                }
                // The only link is to our own sign-in page.
                if name == "a" {
                    let href = attribute(&tag, "href").unwrap();
                    assert_eq!(unescape(href), input.address);
                }
            }
            assert!(!html.contains("http://") && !html.contains("https://"));
        });
    }
}

#[test]
fn the_style_sheet_loads_nothing() {
    let pages = DefaultPages::new();
    let style = pages.stylesheet();
    for loads in ["url(", "@import", "http", "expression"] {
        assert!(!style.contains(loads), "{loads}");
    }
    assert_eq!(style.matches('{').count(), style.matches('}').count());
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#x27;", "'")
        .replace("&#x2f;", "/")
        .replace("&amp;", "&")
}

const HOSTILE: [&str; 12] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' autofocus onfocus='alert(1)",
    "</title><script>alert(1)</script>",
    "</textarea></style></noscript>--><svg onload=alert(1)>",
    "{{ 97*89 }}{% raw %}{# x #}",
    "{client}{username}{host}{count}{",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "javascript:alert(1)",
    "Bank \u{202E}gnihsihp\u{2066}\u{200B}",
    "line\r\nSet-Cookie: a=b\u{0}\u{2028}",
    "<!--<script>",
];

#[test]
fn hostile_text_stays_text() {
    // Requirement 6749-083; ATTACKS G08, G09.
    let mut plain = Vec::new();
    Input::all("plain").each(|_, _, html, _| plain.push(skeleton(html)));
    for text in HOSTILE {
        let mut expected = plain.iter();
        Input::all(text).each(|page, _, html, _| {
            assert_eq!(Some(&skeleton(html)), expected.next(), "{text:?} in {page:?}");
            assert!(!html.contains("8633"), "{text:?} was evaluated in {page:?}");
            assert!(!html.contains("{{ t") && !html.contains("{%- "), "{html}");
        });
    }
}

#[test]
fn what_goes_back_to_the_server_is_what_came_from_it() {
    for text in HOSTILE {
        let input = Input::all(text);
        input.each(|page, _, html, _| {
            for tag in tags(html) {
                if attribute(&tag, "type") == Some("hidden")
                    || attribute(&tag, "name") == Some("scope")
                    || attribute(&tag, "name") == Some("client_id")
                {
                    let value = attribute(&tag, "value").unwrap();
                    assert_eq!(unescape(value), text, "{page:?}");
                }
                if tag.starts_with("form ") {
                    assert_eq!(unescape(attribute(&tag, "action").unwrap()), text);
                    assert_eq!(attribute(&tag, "method"), Some("post"));
                }
            }
        });
    }
}

#[test]
fn nothing_is_left_to_fill_in() {
    Input::ordinary().each(|page, language, html, _| {
        assert!(!html.contains(['{', '}']), "{page:?}");
        let unavailable = matches!(
            &page.body,
            Body::Error(error) if error.kind == ErrorKind::Unavailable
        );
        let says = match language {
            "ko" => "지금은 이용할 수 없습니다",
            _ => "Not available at the moment",
        };
        assert_eq!(html.contains(says), unavailable, "{page:?} fell back");
        let first = &tags(html)[0];
        assert!(html.contains("stylesheet"), "{first}");
    });
}

#[test]
fn names_are_shown_on_one_line_without_tricks_and_not_for_ever() {
    // ATTACKS G09.
    let shows = |name: &str, language: &str| {
        let client = ClientSummary {
            name: name.to_owned(),
            client_uri: None,
            policy_uri: None,
            tos_uri: None,
        };
        let html = consent_html(&client, HTTPS, language);
        let (_, after) = html.split_once("<h1>").unwrap();
        let (_, after) = after.split_once("<bdi>").unwrap();
        after.split_once("</bdi>").unwrap().0.to_owned()
    };
    assert_eq!(shows("Zed Notes", "en"), "Zed Notes");
    assert_eq!(shows("메모 앱", "ko"), "메모 앱");
    assert_eq!(shows(" a\r\n\tb\u{2028}c\u{0}", "en"), "a b c");
    assert_eq!(shows("elgo\u{202E}Goo\u{200B}gle\u{2069}", "en"), "elgoGoogle");
    assert_eq!(shows("\u{200B}\u{3164} \n", "en"), "(no name)");
    assert_eq!(shows("", "ko"), "(이름 없음)");
    assert_eq!(shows(&"x".repeat(80), "en"), "x".repeat(80));
    assert_eq!(shows(&"x".repeat(10_000), "en"), "x".repeat(80) + "…");
}

#[test]
fn the_consent_page_says_where_the_code_goes_and_that_the_name_proves_nothing() {
    // ATTACKS G09.
    let client = &Input::ordinary().client;
    let english = |uri| consent_html(client, uri, "en");
    let korean = |uri| consent_html(client, uri, "ko");
    assert!(english(HTTPS).contains("The web site <bdi>notes.example</bdi>"));
    assert!(english(LOOPBACK).contains("An app on this device (<bdi>127.0.0.1:49152</bdi>)"));
    assert!(english(LOOPBACK_V6).contains("An app on this device (<bdi>[::1]:49152</bdi>)"));
    assert!(english(PRIVATE_USE).contains("An app on this device (<bdi>com.example.notes</bdi>)"));
    assert!(english(HTTPS).contains("has not been verified"));
    assert!(korean(HTTPS).contains("<bdi>notes.example</bdi> 웹사이트"));
    assert!(korean(LOOPBACK).contains("이 기기의 앱(<bdi>127.0.0.1:49152</bdi>)"));
    assert!(korean(HTTPS).contains("확인된 이름이 아닙니다"));
}

#[test]
fn the_return_key_allows_nothing() {
    // The first submit button of a form is the one that the return key presses.
    Input::ordinary().each(|page, _, html, _| {
        if let Body::Consent(_) = &page.body {
            let first = tags(html).into_iter().find(|tag| tag.starts_with("button")).unwrap();
            assert!(first.contains("value=\"deny\""), "{first}");
            assert!(!html.contains("autofocus"));
        }
    });
}

#[test]
fn one_field_has_the_focus_at_first() {
    for (username, field) in [("", "username"), ("mina", "password")] {
        let page = SignInPage {
            action: "/login",
            hidden: vec![],
            client: None,
            username,
            again: false,
            problem: None,
        };
        let html = one(Body::SignIn(page), "en");
        let focused: Vec<_> =
            tags(&html).into_iter().filter(|tag| tag.ends_with(" autofocus")).collect();
        assert_eq!(focused.len(), 1);
        assert_eq!(attribute(&focused[0], "id"), Some(field));
    }
}

#[test]
fn an_unknown_language_falls_back_to_the_first() {
    let page = || Body::Error(ErrorPage { kind: ErrorKind::NotFound, detail: "" });
    for language in ["", "en-GB", "xx", "<script>", "한국어"] {
        assert_eq!(one(page(), language), one(page(), "en"));
    }
    assert_eq!(one(page(), "KO"), one(page(), "ko"));
    assert_ne!(one(page(), "ko"), one(page(), "en"));
}

#[test]
fn waits_are_told_in_the_unit_that_fits() {
    let says = |retry_after_seconds| {
        let page = SignInPage {
            action: "/login",
            hidden: vec![],
            client: None,
            username: "",
            again: false,
            problem: Some(SignInProblem::TooManyAttempts { retry_after_seconds }),
        };
        let html = one(Body::SignIn(page), "en");
        let (_, after) = html.split_once("again in ").unwrap();
        let (told, _) = after.split_once('.').unwrap();
        told.replace("<bdi>", "").replace("</bdi>", "")
    };
    assert_eq!(says(0), "1 second");
    assert_eq!(says(1), "1 second");
    assert_eq!(says(59), "59 seconds");
    assert_eq!(says(60), "1 minute");
    assert_eq!(says(61), "2 minutes");
    assert_eq!(says(900), "15 minutes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_becomes_markup(
        text in prop_oneof![
            any::<String>(),
            r#"[<>"'&/{}%# =a-z\u{202a}-\u{202e}\u{0}-\u{20}]{0,40}"#,
        ],
        language in prop_oneof![Just("en".to_owned()), Just("ko".to_owned()), any::<String>()],
        client_is_named in any::<bool>(),
    ) {
        let render = |text: &str, destinations: &[Destination]| -> Vec<Vec<String>> {
            let input = Input::all(text);
            let pages = DefaultPages::new();
            input
                .bodies(destinations)
                .into_iter()
                .filter(|(body, _)| match body {
                    Body::SignIn(page) => page.client.is_some() == client_is_named,
                    _ => true,
                })
                .map(|(body, _)| skeleton(&pages.render(&Page { frame: input.frame(), body }, &language)))
                .collect()
        };
        // An empty text leaves out what would hold it.
        prop_assume!(!text.is_empty());
        let destinations = [destination(HTTPS)];
        prop_assert_eq!(render(&text, &destinations), render("plain", &destinations));
    }
}
