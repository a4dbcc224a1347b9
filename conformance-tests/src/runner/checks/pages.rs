//! The pages on which users sign in and consent.

use http::header;

use crate::runner::browser::{Browser, Landing, Plan, Shown};
use crate::runner::check::{Check, check};
use crate::runner::config::Role;
use crate::runner::page::Page;
use crate::runner::probe::{Probe, named};
use crate::runner::verdict::{Outcome, Stop, require};
use crate::runner::wire::{Call, Reply};

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["6749-082", "9700-040"],
        no_framing,
        "GET of the sign-in page, the consent page and an error page",
        "Content-Security-Policy frame-ancestors or X-Frame-Options"
    ),
    check!(
        ["9700-021"],
        nothing_foreign,
        "GET of the sign-in and the consent page",
        "nothing is loaded from another origin"
    ),
    check!(
        ["9700-022"],
        no_referrer,
        "GET of the sign-in and the consent page",
        "a Referrer-Policy that gives no path and no query to others"
    ),
    check!(
        ["9700-003", "9700-032", "OA21-002"],
        see_other,
        "the user's name and password, and the consent, posted as forms",
        "redirects with 302 or 303, never with 307 or 308"
    ),
    check!(
        ["HTTP-001"],
        cookie_attributes,
        "sign-in; a request without each of the cookies, to see which are the session's",
        "the cookies of the session are HttpOnly and SameSite; over https they are Secure, with the prefix __Host-"
    ),
    check!(
        ["6749-072"],
        says_who_asks,
        "GET of the consent page",
        "the name (or else the id) of the client, and the user can deny"
    ),
    check!(
        ["6749-081"],
        forgery,
        "the consent form from another browser: without cookies, with the cookies of another session, by GET",
        "no code"
    ),
    check!(
        ["6749-071", "8252-010"],
        asks_again,
        "a second request of a native app after the user has allowed the first",
        "the user is asked again"
    ),
    check!(
        ["HTTP-004"],
        hardened,
        "GET of the sign-in page and a token request",
        "X-Content-Type-Options: nosniff; a Content-Security-Policy that allows no inline scripts"
    ),
    check!(
        ["6749-078"],
        strict_transport,
        "GET of the sign-in page",
        "Strict-Transport-Security, where the issuer is https"
    ),
    check!(
        Intrusive,
        ["6749-080"],
        guessing_passwords,
        "40 wrong passwords for a user who does not exist, then 20 for the test user, at the sign-in page",
        "the server slows the guesses down, and says the same about both users"
    ),
];

/// The first pages that a user without a session sees, and the consent page if there is one.
async fn shown(probe: &Probe<'_>) -> Outcome<Vec<(&'static str, Reply)>> {
    let client = probe.client(Role::Public).or_else(|_| probe.any_client())?;
    let ask = probe.ask(client)?;
    let mut found = Vec::new();
    match probe.look(&ask).await? {
        Landing::SignIn(shown) => found.push(("the sign-in page", shown.reply)),
        Landing::Consent(shown) => found.push(("the consent page", shown.reply)),
        Landing::Page(reply) if reply.is_html() => found.push(("the first page", reply)),
        other => {
            return Err(Stop::Inconclusive(format!(
                "no page to look at, but {}",
                other.describe()
            )));
        }
    }
    if probe.target.hook.is_none()
        && let Ok(consent) = consent_page(probe).await
    {
        found.push(("the consent page", consent.reply));
    }
    Ok(found)
}

/// A consent page in the user's browser.
async fn consent_page(probe: &Probe<'_>) -> Outcome<Shown> {
    let candidates = [Role::Public, Role::Native, Role::Confidential];
    let mut last = Stop::Inconclusive("there is no client that uses the code grant".to_owned());
    for role in candidates {
        let Ok(client) = probe.client(role) else { continue };
        for prompt in [None, Some("consent")] {
            let mut ask = probe.ask(client)?;
            if let Some(prompt) = prompt {
                ask = ask.with("prompt", prompt);
            }
            match probe.walk(&ask, Plan::SignIn).await? {
                Landing::Consent(shown) => return Ok(shown),
                other => {
                    last = Stop::Inconclusive(format!("no consent page, but {}", other.describe()));
                }
            }
        }
    }
    Err(last)
}

fn policy(reply: &Reply, directive: &str) -> Option<String> {
    let all = reply.header(header::CONTENT_SECURITY_POLICY).to_ascii_lowercase();
    all.split([';', ',']).map(str::trim).find_map(|one| {
        let (name, rest) = one.split_once(' ').unwrap_or((one, ""));
        (name == directive).then(|| rest.trim().to_owned())
    })
}

fn frames_refused(reply: &Reply) -> bool {
    let options = reply.header(header::X_FRAME_OPTIONS).to_ascii_lowercase();
    let by_header = ["deny", "sameorigin"].contains(&options.as_str());
    let by_policy =
        policy(reply, "frame-ancestors").is_some_and(|v| !v.split(' ').any(|s| s == "*"));
    by_header || by_policy
}

async fn no_framing(probe: &Probe<'_>) -> Outcome {
    for (what, reply) in shown(probe).await? {
        require!(frames_refused(&reply), "{what} may be framed by any site");
    }
    Ok(())
}

async fn nothing_foreign(probe: &Probe<'_>) -> Outcome {
    for (what, reply) in shown(probe).await? {
        let base = url::Url::parse(&reply.url).ok();
        let page = Page::parse(&reply.text());
        for (element, address) in &page.addresses {
            // Links and forms lead away only when the user follows them.
            if ["a", "form", "button", "input"].contains(&element.as_str()) {
                continue;
            }
            let target = base.as_ref().and_then(|base| base.join(address).ok());
            let foreign = target.as_ref().zip(base.as_ref()).is_some_and(|(target, base)| {
                ["http", "https"].contains(&target.scheme()) && target.origin() != base.origin()
            });
            require!(!foreign, "{what} loads <{element}> from {address}");
        }
    }
    Ok(())
}

async fn no_referrer(probe: &Probe<'_>) -> Outcome {
    for (what, reply) in shown(probe).await? {
        // What the page says itself comes last, and counts.
        let in_page = Page::parse(&reply.text()).referrer;
        let policy = in_page.unwrap_or_else(|| reply.header(header::REFERRER_POLICY));
        let policy = policy.to_ascii_lowercase();
        let last = policy.rsplit(',').next().unwrap_or_default().trim();
        let fine = [
            "no-referrer",
            "same-origin",
            "origin",
            "strict-origin",
            "origin-when-cross-origin",
            "strict-origin-when-cross-origin",
        ];
        require!(fine.contains(&last), "{what} has Referrer-Policy {last:?}");
    }
    Ok(())
}

/// The first sign-in of the run, as it was recorded.
fn story<'p>(probe: &Probe<'p>) -> Outcome<Vec<(&'p Call, &'p Reply)>> {
    let recorded = &probe.target.story;
    probe.line.quote(recorded);
    let posts: Vec<_> =
        recorded.iter().filter_map(|one| Some((&one.call, one.reply.as_ref().ok()?))).collect();
    if probe.target.hook.is_some() || posts.is_empty() {
        return Err(Stop::Inconclusive("the sign-in was not seen".to_owned()));
    }
    Ok(posts)
}

async fn see_other(probe: &Probe<'_>) -> Outcome {
    let mut seen = 0;
    for (call, reply) in story(probe)? {
        if call.method == http::Method::POST && reply.status.is_redirection() {
            seen += 1;
            require!(
                [302, 303].contains(&reply.status.as_u16()),
                "a posted form is answered with {}",
                reply.status
            );
        }
    }
    if seen == 0 {
        return Err(Stop::NotApplicable("no posted form is answered with a redirect".to_owned()));
    }
    Ok(())
}

/// The cookies without which the user has to sign in again.
async fn session_cookies(probe: &Probe<'_>) -> Outcome<Vec<String>> {
    let browser = probe.signed_in().await?;
    let ask = probe.ask(probe.any_client()?)?;
    let mut found = Vec::new();
    for name in browser.cookie_names() {
        let mut without = browser.without_cookie(&name);
        let landing = without
            .drive(&probe.line, &ask.url(), &ask.redirect_uri, &probe.filler(), Plan::Look)
            .await
            .map_err(|stuck| Stop::Inconclusive(stuck.to_string()))?;
        if matches!(landing, Landing::SignIn(_)) {
            found.push(name);
        }
    }
    Ok(found)
}

async fn cookie_attributes(probe: &Probe<'_>) -> Outcome {
    let secure = probe.target.issuer.starts_with("https://");
    let names = session_cookies(probe).await?;
    let mut seen = false;
    for (_, reply) in story(probe)? {
        for line in reply.headers.get_all(header::SET_COOKIE) {
            let line = String::from_utf8_lossy(line.as_bytes()).into_owned();
            let name = line.split('=').next().unwrap_or_default().trim().to_owned();
            if !names.contains(&name) {
                continue;
            }
            seen = true;
            let lower = line.to_ascii_lowercase();
            let has =
                |wanted: &str| lower.split(';').skip(1).any(|part| part.trim().starts_with(wanted));
            require!(has("httponly"), "the session cookie {name} is not HttpOnly");
            require!(
                has("samesite=lax") || has("samesite=strict"),
                "the session cookie {name} is neither SameSite=Lax nor Strict"
            );
            require!(!secure || has("secure"), "the session cookie {name} is not Secure");
            require!(
                !secure || name.starts_with("__Host-"),
                "the session cookie {name} has no prefix __Host-"
            );
        }
    }
    if !seen {
        return Err(Stop::Inconclusive("no session cookie was seen at the sign-in".to_owned()));
    }
    Ok(())
}

async fn says_who_asks(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Public).or_else(|_| probe.any_client())?;
    let ask = probe.ask(client)?.with("prompt", "consent");
    let Landing::Consent(shown) = probe.walk(&ask, Plan::SignIn).await? else {
        return Err(Stop::Inconclusive("there is no consent page to look at".to_owned()));
    };
    match &client.name {
        Some(name) => {
            require!(shown.page.text.contains(name), "the consent page does not say {name:?}");
        }
        None if shown.page.text.contains(&client.id) => {}
        None => {
            return Err(Stop::Inconclusive(
                "what users call the client is not known: set its `name`".to_owned(),
            ));
        }
    }
    let denial = probe.filler().decide(&shown, false);
    require!(denial.is_ok(), "the user cannot deny");
    Ok(())
}

fn code_of(reply: &Reply) -> Option<String> {
    let location = reply.location()?;
    let (_, parameters) = location.split_once(['?', '#'])?;
    let mut pairs = form_urlencoded::parse(parameters.as_bytes());
    pairs.find(|(name, _)| name == "code").map(|(_, code)| code.into_owned())
}

/// Sends a form and follows the server's own redirects: the code that comes of it, if one does.
async fn code_from(
    probe: &Probe<'_>,
    browser: &mut Browser,
    call: Call,
) -> Outcome<Option<String>> {
    let mut reply = browser.send(&probe.line, call).await?;
    for _ in 0..5 {
        if let Some(code) = code_of(&reply) {
            return Ok(Some(code));
        }
        let Some(location) = reply.location() else { break };
        if !location.starts_with(&probe.target.issuer) {
            break;
        }
        reply = browser.open(&probe.line, &location).await?;
    }
    Ok(code_of(&reply))
}

async fn forgery(probe: &Probe<'_>) -> Outcome {
    let victim = probe.signed_in().await?;
    let shown = consent_page(probe).await?;
    let allow = probe.filler().decide(&shown, true).map_err(Stop::Inconclusive)?;
    let mut nobody = victim.without_cookies();
    require!(
        code_from(probe, &mut nobody, allow.clone()).await?.is_none(),
        "the form yields a code in a browser without cookies"
    );
    let query = String::from_utf8_lossy(&allow.body).into_owned();
    let target = format!("{}?{query}", allow.url.split('?').next().unwrap_or_default());
    let mut browser = current(probe).await?;
    if allow.method == http::Method::POST {
        require!(
            code_from(probe, &mut browser, Call::get(target)).await?.is_none(),
            "the form yields a code when it is sent with GET, as a link could"
        );
    }
    // Somebody else's form, in the browser of this user, as another site would send it.
    let ask = probe.ask(probe.client(Role::Public).or_else(|_| probe.any_client())?)?;
    let mut other = probe.fresh_browser();
    let theirs = other
        .drive(
            &probe.line,
            &ask.with("prompt", "consent").url(),
            shown_redirect(probe)?,
            &probe.filler(),
            Plan::SignIn,
        )
        .await
        .map_err(|stuck| Stop::Inconclusive(stuck.to_string()))?;
    let Landing::Consent(theirs) = theirs else {
        return Err(Stop::Inconclusive(format!(
            "a second browser saw no consent page, but {}",
            theirs.describe()
        )));
    };
    let mut forged = probe.filler().decide(&theirs, true).map_err(Stop::Inconclusive)?;
    forged.headers.remove(header::ORIGIN);
    forged.headers.remove("sec-fetch-site");
    let forged = forged
        .header(header::ORIGIN, "https://evil.example")
        .header(named("sec-fetch-site"), "cross-site");
    let mut browser = current(probe).await?;
    require!(
        code_from(probe, &mut browser, forged).await?.is_none(),
        "another session's form, sent by another site, yields a code in this user's browser"
    );
    Ok(())
}

fn shown_redirect<'p>(probe: &Probe<'p>) -> Outcome<&'p str> {
    Ok(probe.client(Role::Public).or_else(|_| probe.any_client())?.redirect_uri())
}

/// The user's browser as it is now.
async fn current(probe: &Probe<'_>) -> Outcome<Browser> {
    let session = probe.target.session.lock().await;
    session.clone().ok_or_else(|| Stop::Inconclusive("there is no session".to_owned()))
}

async fn asks_again(probe: &Probe<'_>) -> Outcome {
    let client = probe.client(Role::Native)?;
    if client.secret.is_some() {
        return Err(Stop::NotApplicable("the native client has a secret".to_owned()));
    }
    // Without parameters of the configuration, which may ask for the consent page themselves.
    let mut ask = probe.ask(client)?;
    for name in probe.target.config.authorization.keys() {
        ask = ask.without(name);
    }
    probe.code(&ask).await?;
    let landing = probe.walk(&ask, Plan::SignIn).await?;
    require!(
        !matches!(&landing, Landing::Client(answer) if answer.get("code").is_some()),
        "the second request got a code without asking"
    );
    Ok(())
}

async fn hardened(probe: &Probe<'_>) -> Outcome {
    let pages = shown(probe).await?;
    for (what, reply) in &pages {
        let nosniff = reply.header(header::X_CONTENT_TYPE_OPTIONS);
        require!(nosniff.eq_ignore_ascii_case("nosniff"), "{what} has no nosniff");
        let scripts = policy(reply, "script-src").or_else(|| policy(reply, "default-src"));
        let scripts =
            scripts.ok_or_else(|| Stop::Fail(format!("{what} has no policy for scripts")))?;
        let inline = scripts.contains("'unsafe-inline'")
            && !scripts.contains("'nonce-")
            && !scripts.contains("'sha");
        require!(!inline, "{what} allows inline scripts: {scripts}");
    }
    let reply = probe.token_bare(&crate::runner::probe::Form::default()).await?;
    let nosniff = reply.header(header::X_CONTENT_TYPE_OPTIONS);
    require!(nosniff.eq_ignore_ascii_case("nosniff"), "the token endpoint has no nosniff");
    Ok(())
}

async fn strict_transport(probe: &Probe<'_>) -> Outcome {
    if !probe.target.issuer.starts_with("https://") {
        return Err(Stop::NotApplicable("the issuer is on loopback, for development".to_owned()));
    }
    for (what, reply) in shown(probe).await? {
        let value = reply.header(header::STRICT_TRANSPORT_SECURITY);
        require!(value.contains("max-age="), "{what} has no Strict-Transport-Security");
    }
    Ok(())
}

async fn guessing_passwords(probe: &Probe<'_>) -> Outcome {
    let ask = probe.ask(probe.any_client()?)?;
    let Landing::SignIn(_) = probe.look(&ask).await? else {
        return Err(Stop::Inconclusive("there is no sign-in page".to_owned()));
    };
    let known = probe.target.config.user.username.clone().unwrap_or_default();
    for (name, guesses) in [("grantor-conformance-nobody", 40), (known.as_str(), 20)] {
        let mut slowed = false;
        for _ in 0..guesses {
            let mut browser = probe.fresh_browser();
            let filler = probe.filler();
            let landing = browser
                .drive(&probe.line, &ask.url(), &ask.redirect_uri, &filler, Plan::Look)
                .await
                .map_err(|stuck| Stop::Inconclusive(stuck.to_string()))?;
            let Landing::SignIn(shown) = landing else { continue };
            let call = filler.sign_in_as(&shown, name, "grantor-wrong-password");
            let call = call.map_err(Stop::Inconclusive)?.impatient();
            let reply = browser.send(&probe.line, call).await?;
            if reply.is_slowed_down() || reply.status.as_u16() == 423 {
                slowed = true;
                break;
            }
        }
        require!(slowed, "{guesses} wrong passwords for {name} and nothing slows them down");
    }
    Ok(())
}
