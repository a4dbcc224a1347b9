//! A trace in words.

use std::fmt;
use std::time::Duration;

use super::decided::Told;
use super::recorded::{Caller, Fault, Opener, Recorded, Visitor};
use super::{InvalidTrace, Trace, read_key, read_record};
use crate::model::{
    Client, ClientType, Consent, ConsentState, Grant, GrantState, Session, Timestamp,
};
use crate::protocol::extension::Authorized;
use crate::storage::Record;

/// A decision in words; [`Display`](fmt::Display) prints it, a line for every thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the decision is the same when it is made again.
    pub identical: bool,
    sections: Vec<(&'static str, Vec<String>)>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, lines) in &self.sections {
            let mut label = *label;
            for line in lines {
                // What a stranger sent must neither drive the reader's terminal nor pass for a line
                // of this text.
                let line = line.replace(char::is_control, "\u{fffd}");
                writeln!(f, "{label:<9} {line}")?;
                label = "";
            }
        }
        Ok(())
    }
}

impl Explanation {
    pub(super) fn of(trace: &Trace) -> Result<Self, InvalidTrace> {
        let replay = trace.replay()?;
        let now = trace.at;
        let mut known = Vec::new();
        for fact in &trace.facts {
            let (key, record) = fact.read()?;
            known.push(match record {
                Some(record) => describe(&record, now),
                None => format!("nothing under {key:?}"),
            });
        }
        match &trace.account {
            Some(account) => known.push(format!(
                "the account of user {} ({}) stands",
                account.subject.as_str(),
                account.username
            )),
            None => known.push("no account".to_owned()),
        }
        let (decided, clauses) = match &trace.decided.outcome {
            Told::Granted { what } => (vec![format!("granted: {what}")], granted_because(trace)),
            Told::Refused { reason, clause, error, to } => (
                vec![format!("refused: {reason}"), format!("told {to}: {error}")],
                vec![format!("{clause}: {reason}")],
            ),
        };
        let written = match &trace.decided.write {
            Some(written) => {
                let key = read_key(&written.key)?;
                let record = read_record(&key, &written.record)?;
                let found = trace.facts.iter().any(|fact| fact.key == written.key);
                vec![match record {
                    // The name that it got here is as made up as its secrets.
                    Record::Grant(grant) if !found => {
                        let client = grant.client_id.as_str();
                        format!("a new authorization of client {client}: {}", stands(&grant, now))
                    }
                    record => describe(&record, now),
                }]
            }
            None => vec!["nothing".to_owned()],
        };
        let audit = trace.audit.iter().map(ToString::to_string).collect();
        let mut replayed = vec![if replay.identical {
            "the same decision".to_owned()
        } else {
            format!("a DIFFERENT decision: {:?}", replay.decided.outcome)
        }];
        if !trace.faithful {
            replayed.push("the decision about the real request was another one".to_owned());
        }
        let sections = vec![
            ("at", vec![format!("{now}, grantor {}, {}", trace.version, trace.issuer.as_str())]),
            ("asked", asked(&trace.question)),
            ("known", known),
            ("decided", decided),
            ("because", clauses),
            ("written", written),
            ("audit", audit),
            ("replayed", replayed),
        ];
        let sections = sections.into_iter().filter(|(_, lines)| !lines.is_empty());
        Ok(Self { identical: replay.identical && trace.faithful, sections: sections.collect() })
    }
}

/// What was asked, in the words of the request.
fn asked(question: &Recorded) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |line: String| lines.push(line);
    let optional = |name: &str, value: &Option<String>| match value {
        Some(value) => format!("{name} \"{value}\""),
        None => format!("no {name}"),
    };
    match question {
        Recorded::Redeem { caller: by, code, redirect_uri, code_verifier } => {
            say("tokens for a code (grant_type=authorization_code)".to_owned());
            say(caller(by));
            say(opener("code", code.as_ref()));
            say(optional("redirect_uri", redirect_uri));
            say(match code_verifier {
                Some(text) => format!("a code_verifier of {} characters", text.len()),
                None => "no code_verifier".to_owned(),
            });
        }
        Recorded::Refresh { caller: by, refresh_token, scope } => {
            say("tokens for a refresh token (grant_type=refresh_token)".to_owned());
            say(caller(by));
            say(opener("refresh token", refresh_token.as_ref()));
            say(optional("scope", scope));
        }
        Recorded::ClientCredentials { caller: by, scope } => {
            say("a token for the client itself (grant_type=client_credentials)".to_owned());
            say(caller(by));
            say(optional("scope", scope));
        }
        Recorded::ExtensionGrant { caller: by, grant_type, scope, authorized } => {
            say(format!("a token by a grant type of the host's (grant_type={grant_type})"));
            say(caller(by));
            say(optional("scope", scope));
            say(match authorized {
                None => "the host has not been asked".to_owned(),
                Some(Authorized { subject: Some(subject), scope }) => {
                    format!("the host says: for user {}, at most \"{scope}\"", subject.as_str())
                }
                Some(Authorized { subject: None, scope }) => {
                    format!("the host says: for the client itself, at most \"{scope}\"")
                }
            });
        }
        Recorded::Revoke { caller: by, token } => {
            say("to revoke a token".to_owned());
            say(caller(by));
            say(opener("token", token.as_ref()));
        }
        Recorded::Introspect { caller: by, token } => {
            say("what a token means (introspection)".to_owned());
            say(caller(by));
            say(opener("token", token.as_ref()));
        }
        Recorded::Bearer { token, scope } => {
            say(format!("to pass a protected resource that needs \"{scope}\""));
            say(opener("token", Some(token)));
        }
        Recorded::Authorize { parameters, faulty, browser } => {
            say("an authorization".to_owned());
            for (name, value) in parameters {
                say(match name.as_str() {
                    "state" | "request" | "request_uri" => {
                        format!("{name} of {} bytes", value.len())
                    }
                    _ => format!("{name} \"{value}\""),
                });
            }
            for fault in faulty {
                say(format!(
                    "{} {}",
                    fault.name,
                    match fault.why {
                        Fault::Repeated => "more than once",
                        Fault::TooLong => "too long",
                        Fault::Malformed => "malformed",
                        Fault::NotUtf8 => "not as UTF-8",
                    }
                ));
            }
            say(visitor(browser));
        }
        Recorded::Resume { interaction, browser } => {
            say("where a pending authorization goes now".to_owned());
            say(opener("interaction", Some(interaction)));
            say(visitor(browser));
        }
        Recorded::Remember(consent) | Recorded::Answer(consent) => {
            say(match (question, &consent.allowed) {
                (_, None) => "the user's answer to the consent page: no".to_owned(),
                (Recorded::Remember(_), Some(scope)) => {
                    format!("to remember the user's consent to \"{scope}\"")
                }
                (_, Some(scope)) => format!("a code for what the user allowed: \"{scope}\""),
            });
            say(opener("interaction", Some(&consent.interaction)));
            say(visitor(&consent.browser));
        }
    }
    lines
}

fn caller(caller: &Caller) -> String {
    match caller.method {
        Some(method) => format!("by client {} with {}", caller.client_id, method.as_str()),
        None => format!("by client {}, which showed no secret", caller.client_id),
    }
}

fn opener(name: &str, opener: Option<&Opener>) -> String {
    match opener {
        Some(opener) => format!("with a {name} of authorization {}", opener.record),
        None => format!("with a {name} that is none of this server's"),
    }
}

fn visitor(browser: &Visitor) -> String {
    match (&browser.authentication, &browser.session) {
        (Some(found), _) => {
            format!("by a browser of user {}, as the host says", found.subject.as_str())
        }
        (None, Some(session)) => format!("by a browser with session {}", session.record),
        (None, None) => "by a browser that nobody is signed in with".to_owned(),
    }
}

/// The checks that a granted request has passed, each with its clause, in the order in which they
/// are made.
fn granted_because(trace: &Trace) -> Vec<String> {
    const CLIENT: &str = "RFC 6749 section 3.2.1: the client is who it says";
    const OWNER: &str = "RFC 6749 section 5.2: client and user of the authorization still stand";
    let repeated = trace.audit.iter().any(|event| event["event"] == "refresh_retried");
    let checks: &[&str] = match &trace.question {
        Recorded::Redeem { .. } => &[
            CLIENT,
            "RFC 6749 section 4.1.3: the code was issued to this client",
            OWNER,
            "RFC 6749 section 4.1.2: the code was not used, and has not expired",
            "RFC 6749 section 4.1.3: the redirect_uri is the one that the code was sent to",
            "RFC 7636 section 4.6: the code_verifier fits the code_challenge",
        ],
        Recorded::Refresh { .. } if repeated => &[
            CLIENT,
            "RFC 6749 section 6: the refresh token was issued to this client",
            OWNER,
            "RFC 9700 section 4.14.2: the token was exchanged before, but inside the retry window, \
             and its successor was not used: the same answer again",
        ],
        Recorded::Refresh { .. } => &[
            CLIENT,
            "RFC 6749 section 6: the refresh token was issued to this client, and is the current one",
            OWNER,
            "OAuth 2.1 section 4.3.3: it has not expired",
            "RFC 6749 section 6: no more scope is asked for than was granted",
        ],
        Recorded::ClientCredentials { .. } => &[
            CLIENT,
            "RFC 6749 section 4.4: the client is confidential, and registered for this grant type",
            "RFC 6749 section 3.3: the scope exists, and the client may have it",
        ],
        Recorded::ExtensionGrant { .. } => &[
            CLIENT,
            "RFC 6749 section 4.5: the client is registered for this grant type",
            OWNER,
            "RFC 6749 section 3.3: the scope exists, and the host and the client's registration allow it",
        ],
        Recorded::Revoke { .. } => &[
            CLIENT,
            "RFC 7009 section 2.1, section 2.2: the token is the client's own, or revoked already",
        ],
        Recorded::Introspect { .. } => {
            &[CLIENT, "RFC 7662 section 2.2, section 4: what the caller may know about the token"]
        }
        Recorded::Bearer { .. } => &[
            "RFC 6750 section 3.1: the token is active",
            OWNER,
            "RFC 6750 section 3.1: it has the scope that is needed",
        ],
        Recorded::Authorize { .. } => &[
            "RFC 6749 section 3.1.2.3: client and redirect_uri are registered",
            "RFC 6749 section 4.1.1, RFC 7636 section 4.3: the request is whole",
            "OpenID Connect Core 1.0 section 3.1.2.3: who is signed in, since when, and what they \
             allowed before, decide where it goes",
        ],
        Recorded::Resume { .. } => &[
            "RFC 6749 section 10.12: the browser is the one that began it",
            "OpenID Connect Core 1.0 section 3.1.2.3: who is signed in, since when, and what they \
             allowed before, decide where it goes",
        ],
        Recorded::Remember(_) | Recorded::Answer(_) => &[
            "RFC 6749 section 10.12: the browser is the one that began it, and the page was made for \
             the user who is signed in",
            "RFC 6749 section 3.3: nothing is allowed that was not asked for",
        ],
    };
    checks.iter().map(|&check| check.to_owned()).collect()
}

/// A record in a line.
fn describe(record: &Record, now: Timestamp) -> String {
    match record {
        Record::Client(client) => describe_client(client, now),
        Record::Grant(grant) => format!(
            "authorization {} of client {}: {}",
            grant.id,
            grant.client_id.as_str(),
            stands(grant, now)
        ),
        Record::Consent(consent) => describe_consent(consent),
        Record::Session(session) => describe_session(session, now),
        Record::RevokedSubject(revoked) => format!(
            "everything of user {} was revoked {} ago",
            revoked.subject.as_str(),
            span(now.since(revoked.at))
        ),
    }
}

fn describe_client(client: &Client, now: Timestamp) -> String {
    let kind = match client.client_type {
        ClientType::Confidential => "confidential",
        ClientType::Public => "public",
    };
    let mut text = format!(
        "client {} \"{}\": {kind}, may have \"{}\"",
        client.id.as_str(),
        client.name.escape_debug(),
        client.scope
    );
    for secret in &client.secrets {
        text += &match secret.expires_at {
            Some(at) => format!(", a secret {}", until(at, now)),
            None => ", a secret".to_owned(),
        };
    }
    if let Some(at) = client.removed_at {
        text += &format!(", removed {} ago", span(now.since(at)));
    }
    text
}

/// Where an authorization stands.
fn stands(grant: &Grant, now: Timestamp) -> String {
    match &grant.state {
        GrantState::Pending(pending) => format!(
            "waits for its user, who is asked for \"{}\"; {}",
            pending.scope,
            until(pending.expires_at, now)
        ),
        GrantState::CodeIssued(code) => {
            let mut text = format!(
                "user {} allowed \"{}\"; the code {}",
                code.subject.as_str(),
                code.scope,
                until(code.expires_at, now)
            );
            if code.wrong_guesses > 0 {
                text += &format!("; {} wrong verifiers", code.wrong_guesses);
            }
            text
        }
        GrantState::Active(active) => {
            let subject = active.subject.as_ref();
            let whose = subject.map_or("the client itself", |subject| subject.as_str());
            let mut text = format!("active for \"{}\" of {whose}", active.scope);
            for token in &active.access_tokens {
                text += &format!("; an access token {}", until(token.expires_at, now));
            }
            if let Some(refresh) = &active.refresh {
                text += &format!("; a refresh token {}", until(refresh.idle_expires_at, now));
                if let Some(previous) = &refresh.previous {
                    let ago = span(now.since(previous.rotated_at));
                    text += &format!("; its predecessor was exchanged {ago} ago");
                }
            }
            text
        }
        GrantState::Revoked(end) => {
            let reason = serde_json::to_value(end.reason).unwrap_or_default();
            let reason = reason.as_str().unwrap_or_default().to_owned();
            format!("revoked {} ago: {reason}", span(now.since(end.at)))
        }
    }
}

fn describe_consent(consent: &Consent) -> String {
    let (subject, client) = (consent.subject.as_str(), consent.client_id.as_str());
    match consent.state {
        ConsentState::Allowed => {
            format!("user {subject} allows client {client} \"{}\"", consent.scope)
        }
        ConsentState::Withdrawing => {
            format!("user {subject} is withdrawing what client {client} was allowed")
        }
        ConsentState::Withdrawn => {
            format!("user {subject} has withdrawn what client {client} was allowed")
        }
    }
}

fn describe_session(session: &Session, now: Timestamp) -> String {
    let state = if session.ended { "ended".to_owned() } else { until(session.expires_at, now) };
    format!("session {} of user {}: {state}", session.id, session.subject.as_str())
}

fn until(end: Timestamp, now: Timestamp) -> String {
    if end.has_passed(now) {
        format!("expired {} ago", span(now.since(end)))
    } else {
        format!("is good for {} more", span(end.since(now)))
    }
}

/// A time span in its two largest units.
pub(super) fn span(span: Duration) -> String {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];
    let mut millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for (unit, size) in UNITS {
        let count = millis / size;
        millis %= size;
        if count > 0 {
            parts.push(format!("{count} {unit}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_their_largest_units() {
        let told = |millis| span(Duration::from_millis(millis));
        assert_eq!(told(0), "0 s");
        assert_eq!(told(59_999), "59 s 999 ms");
        assert_eq!(told(60_000), "1 min");
        assert_eq!(told(3_600_000 + 5), "1 h");
        assert_eq!(told(90 * 86_400_000 + 3_600_000), "90 d 1 h");
        assert!(told(u64::MAX).starts_with("213503982334 d"));
    }
}
