//! A server that is easily persuaded of who is calling.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use serde_json::json;

use crate::mutants::Rule;
use crate::rules::{as_it_comes, before, both};
use crate::spoil::{Answered, Asked, Memory, get};

/// The credentials of every client that has shown any, by its id; and of whom each handle is.
fn notice(memory: &mut Memory, asked: &Asked) {
    let header = asked.header(header::AUTHORIZATION);
    let pair = STANDARD.decode(header.trim_start_matches("Basic ")).unwrap_or_default();
    let pair = String::from_utf8(pair).unwrap_or_default();
    if let Some((id, secret)) = pair.split_once(':')
        && !secret.starts_with("grantor-wrong")
        && !memory.words.contains_key(id)
    {
        memory.words.insert(id.to_owned(), header);
    }
    if asked.is("GET", "/authorize") {
        let id = get(&asked.query(), "client_id").unwrap_or_default().to_owned();
        memory.words.insert("last".into(), id);
    }
}

/// Presents the credentials of the client of this id, whoever is calling.
fn pretend(memory: &Memory, asked: &mut Asked, id: &str) {
    let mut form = asked.form();
    form.retain(|(name, _)| name != "client_id" && name != "client_secret");
    form.retain(|(name, _)| !name.starts_with("client_assertion"));
    match memory.words.get(id) {
        Some(header) => {
            let header = header.clone();
            asked.set(header::AUTHORIZATION, &header);
        }
        None => {
            asked.headers.remove(header::AUTHORIZATION);
            form.push(("client_id".into(), id.to_owned()));
        }
    }
    asked.set_form(&form);
}

/// Everybody who names a client, or guesses its secret, is that client.
fn believe(memory: &mut Memory, asked: &mut Asked) -> Option<Answered> {
    notice(memory, asked);
    if asked.method != "POST" || asked.path().starts_with("/interaction") {
        return None;
    }
    let header = asked.header(header::AUTHORIZATION);
    let pair = STANDARD.decode(header.trim_start_matches("Basic ")).unwrap_or_default();
    let named = String::from_utf8(pair).unwrap_or_default().split(':').next().map(str::to_owned);
    let named = named.filter(|id| !id.is_empty());
    let id = named.or_else(|| get(&asked.form(), "client_id").map(str::to_owned));
    let id = id.or_else(|| memory.words.get("last").cloned())?;
    if memory.words.contains_key(&id) {
        pretend(memory, asked, &id);
    }
    None
}

/// A handle works for whoever brings it: the client that it was given to is pretended.
fn of_anybody(memory: &mut Memory, asked: &mut Asked) -> Option<Answered> {
    notice(memory, asked);
    let form = asked.form();
    let handle = get(&form, "code").or(get(&form, "refresh_token")).or(get(&form, "token"));
    let owner = memory.answers.get(handle.unwrap_or_default());
    if let (Some(owner), false) = (owner.map(Answered::text), asked.path() == "/introspect") {
        pretend(memory, asked, &owner);
    }
    None
}

/// Notices whose each handle is.
fn owned(memory: &mut Memory, asked: &Asked, answered: &mut Answered) {
    let mut owner = Answered::json(200, &json!(null));
    let location = answered.location();
    let last = memory.words.get("last").cloned().unwrap_or_default();
    owner.body = last.into_bytes();
    if let Some((_, rest)) = location.split_once("code=") {
        let code = rest.split('&').next().unwrap_or_default().to_owned();
        memory.answers.insert(code, owner.clone());
    }
    let form = asked.form();
    let from = get(&form, "code").or(get(&form, "refresh_token")).unwrap_or_default();
    if let Some(owner) = memory.answers.get(from).cloned() {
        for name in ["access_token", "refresh_token"] {
            memory.answers.extend(answered.member(name).map(|token| (token, owner.clone())));
        }
    }
}

pub(super) fn rules() -> Vec<Rule> {
    vec![
        before(
            "whoever names a client is that client",
            &["6749-001", "6749-002", "6749-035", "6749-063", "6749-070", "6749-009", "7662-003"],
            believe,
        ),
        both(
            "a handle works for whoever brings it",
            &["6749-036", "6749-044", "6749-050", "6749-064", "6749-074", "7009-003"],
            of_anybody,
            owned,
        ),
        before("of two methods the first counts", &["6749-004"], |_, asked| {
            if !asked.header(header::AUTHORIZATION).is_empty() {
                asked.post("/token", |form| {
                    form.retain(|(name, _)| name != "client_secret" && name != "client_id");
                });
            }
            None
        }),
        before("credentials may be in the address", &["6749-007"], |_, asked| {
            let query = asked.query();
            if asked.path() == "/token" && !query.is_empty() {
                let mut form = asked.form();
                form.extend(query);
                asked.target = "/token".into();
                asked.set_form(&form);
            }
            None
        }),
        both(
            "Basic is not taken",
            &["6749-005", "6749-006"],
            |memory, asked| {
                // The run itself needs its first tokens.
                let basic = asked.header(header::AUTHORIZATION).starts_with("Basic");
                if asked.path() == "/token" && basic {
                    memory.words.entry("count".into()).or_default().push('x');
                }
                let refusal = json!({"error": "invalid_client"});
                let count = memory.words.get("count").map_or(0, String::len);
                (count > 1 && basic).then(|| Answered::json(401, &refusal))
            },
            as_it_comes,
        ),
        before("Basic is not decoded", &["6749-006"], |_, asked| {
            let header = asked.header(header::AUTHORIZATION);
            let pair = STANDARD.decode(header.trim_start_matches("Basic ")).unwrap_or_default();
            let refusal = json!({"error": "invalid_client"});
            pair.contains(&b'%').then(|| Answered::json(401, &refusal))
        }),
        before("a secret in the body is not taken", &["OA21-006"], |_, asked| {
            let refusal = json!({"error": "invalid_client"});
            get(&asked.form(), "client_secret").map(|_| Answered::json(401, &refusal))
        }),
        before("a made-up secret opens introspection", &["6749-003"], |_, asked| {
            let live = json!({"active": true});
            (asked.path() == "/introspect").then(|| Answered::json(200, &live))
        }),
    ]
}
