//! What an answer of the server says, and whether it says a secret.

use std::collections::HashMap;
use std::sync::PoisonError;

use grantor::model::Subject;
use grantor::resource::Guard;
use grantor::storage::{Kind, Listing, Storage as _};
use http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::Value;

use super::known::ConsentPage;
use super::{ISSUER, System, scopes};
use crate::protocol::bug::Bug;
use crate::protocol::http::Reply;
use crate::protocol::invariant::Invariant;
use crate::protocol::request::{Answer, GrantNo, Scopes, Told, USERS, UserNo, scope_set};
use crate::storage::Backend;

impl<B: Backend> System<B> {
    fn breaks(&self, invariant: Invariant) {
        self.broken.borrow_mut().push(invariant);
    }

    /// Where a browser is sent, or what it is shown.
    pub(super) fn read_page(&self, browser: UserNo, grant: GrantNo, reply: &Reply) -> Answer {
        let mut known = self.known.borrow_mut();
        if reply.status == 303 {
            let location = self.bug.location(reply.header("location"));
            let own = location.strip_prefix(ISSUER).unwrap_or(&location);
            if let Some(query) = own.strip_prefix("/interaction") {
                if let Some(handle) = query.strip_prefix("?interaction=") {
                    known.handles.insert(grant, handle.to_owned());
                    known.number(handle);
                }
                return Answer::Asks;
            }
            let (to, _) = location.split_once('?').unwrap_or((&location, ""));
            let Some(context) = known.contexts.get(&grant).cloned() else {
                return Answer::Odd(format!("a redirect to {to}"));
            };
            if to != context.redirect_uri {
                self.breaks(Invariant::RedirectOnlyToRegistered);
            }
            let parameters = reply.parameters();
            let one = |name: &str| {
                let mut found = parameters.iter().filter(|(known, _)| known == name);
                match (found.next(), found.next()) {
                    (Some((_, value)), None) => Some(self.bug.parameter(name, value)),
                    _ => None,
                }
            };
            if one("state").as_deref() != Some(context.state.as_str())
                || one("iss").as_deref() != Some(ISSUER)
            {
                self.breaks(Invariant::StateAndIssuerReturned);
            }
            return match (one("code"), one("error").as_deref()) {
                (None, Some("temporarily_unavailable")) => Answer::NotNow,
                (None, Some(error)) => Answer::ErrorTo(error.to_owned()),
                (Some(code), None) => Answer::Code(known.number(&code)),
                _ => Answer::Odd(format!("a redirect with {parameters:?}")),
            };
        }
        match reply.status {
            503 => Answer::NotNow,
            _ if reply.body.contains("id=\"password\"") => Answer::SignInPage,
            200 if reply.body.contains("id=\"allow\"") => {
                let scope = scope_set(&reply.values("scope").join(" "));
                let user = known.user_in(browser).unwrap_or(browser);
                known.pages.insert(grant, ConsentPage { user, hidden: reply.hidden() });
                Answer::ConsentPage { scope }
            }
            400..500 if reply.body.contains("id=\"error\"") => Answer::ErrorPage,
            status => Answer::Odd(format!("{status} {}", reply.body)),
        }
    }

    pub(super) fn read_tokens(&self, reply: &Reply) -> Answer {
        let body = reply.json();
        let mut known = self.known.borrow_mut();
        let (Some(access), 200) = (text(&body, "access_token"), reply.status) else {
            return refusal(reply);
        };
        if text(&body, "token_type") != Some("Bearer") {
            return Answer::Odd(format!("{body}"));
        }
        Answer::Tokens {
            access: known.number(access),
            refresh: text(&body, "refresh_token").map(|text| known.number(text)),
            scope: scope_set(text(&body, "scope").unwrap_or_default()),
            lasts: body.get("expires_in").and_then(Value::as_u64).unwrap_or_default(),
        }
    }

    pub(super) fn read_introspection(&self, reply: &Reply) -> Answer {
        let body = reply.json();
        let known = self.known.borrow();
        match (reply.status, body.get("active").and_then(Value::as_bool)) {
            (200, Some(false)) if body.as_object().is_some_and(|body| body.len() == 1) => {
                Answer::Inactive
            }
            (200, Some(true)) => {
                let id = text(&body, "client_id").unwrap_or_default();
                let found = known.clients.iter().find(|(_, client)| client.id.as_str() == id);
                let user = text(&body, "sub");
                Answer::Active(Told {
                    client: found.map_or(usize::MAX, |(no, _)| *no),
                    user: user.and_then(|name| USERS.iter().position(|user| *user == name)),
                    name_told: body.get("username").is_some(),
                    scope: scope_set(text(&body, "scope").unwrap_or_default()),
                    until: body.get("exp").and_then(Value::as_u64).unwrap_or_default(),
                })
            }
            (200, _) => Answer::Odd(format!("{body}")),
            _ => refusal(reply),
        }
    }

    pub(super) async fn bearer(&self, token: &str, scope: Scopes) -> Answer {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        headers.insert(header::AUTHORIZATION, value.expect("a token is ASCII"));
        let uri = Uri::from_static("/events");
        match Guard::from(&self.server).check(&headers, &uri, &scopes(scope)).await {
            Ok(token) => {
                let known = self.known.borrow();
                let found = known
                    .clients
                    .iter()
                    .find(|(_, client)| Some(&client.id) == token.client_id.as_ref());
                let user = token.subject.as_ref().map(Subject::as_str);
                Answer::Active(Told {
                    client: found.map_or(usize::MAX, |(no, _)| *no),
                    user: user.and_then(|name| USERS.iter().position(|user| *user == name)),
                    name_told: token.username.is_some(),
                    scope: scope_set(&token.scope.to_string()),
                    until: token
                        .expires_at
                        .and_then(|instant| u64::try_from(instant.as_seconds()).ok())
                        .unwrap_or_default(),
                })
            }
            Err(response) => {
                let reply = Reply::of(response);
                let challenge = reply.header("www-authenticate");
                match ["invalid_token", "insufficient_scope"]
                    .into_iter()
                    .find(|error| challenge.contains(&format!("error=\"{error}\"")))
                {
                    Some(error) => Answer::Refused(error.to_owned()),
                    None if reply.status == 503 => Answer::NotNow,
                    None => Answer::Odd(format!("{} {challenge}", reply.status)),
                }
            }
        }
    }

    /// Whether a secret that anybody was given stands in an event or in the store.
    pub(crate) async fn tells_a_secret(&self) -> bool {
        let mut told: Vec<u8> = Vec::new();
        for event in self.log.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            told.extend(format!("{event:?}\n").bytes());
            told.extend(serde_json::to_vec(event).unwrap_or_default());
        }
        if self.bug == Bug::LogsTokens {
            told.extend(self.known.borrow().texts.concat().bytes());
        }
        for kind in Kind::ALL {
            let mut after = None;
            while let Ok(page) = self.gate.list(&Listing::Kind(kind), after.as_ref(), 100).await {
                let found = self.gate.load(&page.keys).await.unwrap_or_default();
                told.extend(found.into_iter().flatten().flat_map(|stored| stored.value));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        let known = self.known.borrow();
        let raw = |text: &String| {
            use base64::Engine as _;
            let body = text.get(4..)?;
            let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).ok()?;
            Some(bytes.get(12..44)?.to_vec())
        };
        let texts = known.texts.iter().map(|text| text.clone().into_bytes());
        let secrets = texts.chain(known.texts.iter().filter_map(raw));
        // By their last bytes, since all tokens begin alike.
        let mut by_end: HashMap<[u8; 4], Vec<Vec<u8>>> = HashMap::new();
        for secret in secrets.filter(|secret| secret.len() >= 16) {
            if let Some(end) = secret.last_chunk() {
                by_end.entry(*end).or_default().push(secret);
            }
        }
        told.windows(4).enumerate().any(|(at, end)| {
            let found = <[u8; 4]>::try_from(end).ok().and_then(|end| by_end.get(&end));
            let until = told.get(..at + 4).unwrap_or_default();
            found.is_some_and(|secrets| secrets.iter().any(|secret| until.ends_with(secret)))
        })
    }
}

pub(super) fn refusal(reply: &Reply) -> Answer {
    let body = reply.json();
    match text(&body, "error") {
        Some("temporarily_unavailable") => Answer::NotNow,
        Some(error) => Answer::Refused(error.to_owned()),
        None if reply.status == 503 => Answer::NotNow,
        None => Answer::Odd(format!("{} {}", reply.status, reply.body)),
    }
}

fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}
