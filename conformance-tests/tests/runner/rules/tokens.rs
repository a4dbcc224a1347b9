//! Tokens that live on, change hands or grow.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::mutants::Rule;
use crate::rules::{after, as_it_comes, before, both};
use crate::spoil::{Answered, Asked, Memory, get, set};

fn refreshes(asked: &Asked) -> bool {
    asked.path() == "/token" && get(&asked.form(), "grant_type") == Some("refresh_token")
}

fn introspects(
    asked: &Asked,
    answered: &mut Answered,
    change: impl FnOnce(&mut serde_json::Map<String, Value>),
) {
    if asked.is("POST", "/introspect") {
        answered.edit(change);
    }
}

/// Under the first refresh token of a session goes whichever is current.
fn stands_still(memory: &mut Memory, asked: &mut Asked) -> Option<Answered> {
    asked.post("/token", |form| {
        let first = get(form, "refresh_token").unwrap_or_default().to_owned();
        if let Some(current) = memory.words.get(&first).cloned() {
            set(form, "refresh_token", &current);
            set(form, "x_first", &first);
        }
    });
    None
}

fn shows_the_first(memory: &mut Memory, asked: &Asked, answered: &mut Answered) {
    let Some(new) = answered.member("refresh_token") else { return };
    let form = asked.form();
    let first = get(&form, "x_first").or(get(&form, "refresh_token")).unwrap_or(&new).to_owned();
    memory.words.insert(first.clone(), new);
    answered.edit(|members| drop(members.insert("refresh_token".into(), json!(first))));
}

/// A token that begins like one that was issued is taken for it.
fn forgives_the_end(memory: &mut Memory, asked: &mut Asked) -> Option<Answered> {
    for path in ["/introspect", "/token"] {
        asked.post(path, |form| {
            for name in ["token", "refresh_token", "code"] {
                let Some(token) = get(form, name).map(str::to_owned) else { continue };
                let start = token.get(..20).unwrap_or(&token);
                if let Some(known) = memory.words.get(start).cloned() {
                    set(form, name, &known);
                }
            }
        });
    }
    None
}

fn notices_the_start(memory: &mut Memory, _: &Asked, answered: &mut Answered) {
    let mut notice = |token: String| {
        let start = token.get(..20).unwrap_or(&token).to_owned();
        memory.words.insert(start, token);
    };
    for name in ["access_token", "refresh_token"] {
        answered.member(name).into_iter().for_each(&mut notice);
    }
    answered.redirected(|answer| {
        get(answer, "code").map(str::to_owned).into_iter().for_each(&mut notice);
    });
}

/// Says 200 to a revocation and does nothing.
fn ignores_revocation(_: &mut Memory, asked: &mut Asked) -> Option<Answered> {
    asked.is("POST", "/revoke").then(|| Answered::json(200, &json!({})))
}

pub(super) fn rules() -> Vec<Rule> {
    vec![
        both(
            "refresh tokens do not rotate",
            &["6749-075", "9700-010", "OA21-016", "OA21-017", "9700-036"],
            stands_still,
            shows_the_first,
        ),
        after(
            "a used refresh token works again",
            &["OA21-017", "9700-036"],
            |memory, asked, answered| {
                if !refreshes(asked) {
                    return;
                }
                let token = get(&asked.form(), "refresh_token").unwrap_or_default().to_owned();
                if let Some(first) = memory.answers.get(&token) {
                    *answered = first.clone();
                } else if answered.status == 200 {
                    memory.answers.insert(token, answered.clone());
                }
            },
        ),
        both(
            "reuse ends nothing",
            &["OA21-017", "9700-036"],
            |memory, asked| {
                let token = get(&asked.form(), "refresh_token").unwrap_or_default().to_owned();
                if !refreshes(asked) {
                    return None;
                }
                let again = memory.words.insert(token, String::new()).is_some();
                again.then(|| Answered::json(400, &json!({"error": "invalid_grant"})))
            },
            as_it_comes,
        ),
        both(
            "a refresh gets whatever scope it asks for",
            &["6749-065", "9700-035"],
            |memory, asked| {
                asked.post("/token", |form| {
                    if get(form, "grant_type") == Some("refresh_token")
                        && let Some(scope) = get(form, "scope").map(str::to_owned)
                    {
                        memory.words.insert("asked".into(), scope);
                        form.retain(|(name, _)| name != "scope");
                    }
                });
                None
            },
            |memory, asked, answered| {
                if let (true, Some(scope)) = (refreshes(asked), memory.words.remove("asked")) {
                    answered.edit(|members| drop(members.insert("scope".into(), json!(scope))));
                }
            },
        ),
        after(
            "too much scope is a wrong grant",
            &["6749-065", "9700-035"],
            |_, asked, answered| {
                if refreshes(asked) && answered.status == 400 {
                    answered.edit(|members| {
                        drop(members.insert("error".into(), json!("invalid_grant")))
                    });
                }
            },
        ),
        after("a refresh loses scope", &["6749-066", "6749-067"], |_, asked, answered| {
            if refreshes(asked) && answered.status == 200 {
                answered.edit(|members| drop(members.insert("scope".into(), json!("read"))));
            }
        }),
        both(
            "the end of a token is not looked at",
            &["6749-051", "6749-073", "6750-010", "9700-037", "7662-005", "7662-007", "7662-006"],
            forgives_the_end,
            notices_the_start,
        ),
        before(
            "revocation does nothing",
            &["7009-001", "7009-004", "7009-005", "7009-006", "7009-007", "7009-009", "7662-008"],
            ignores_revocation,
        ),
        after("only the refresh token is revoked", &["7009-007"], |memory, asked, answered| {
            let form = asked.form();
            let token = get(&form, "token").unwrap_or_default().to_owned();
            if asked.is("POST", "/introspect") {
                if answered.text().contains("true") {
                    memory.answers.insert(token, answered.clone());
                } else if let Some(before) = memory.answers.get(&token) {
                    *answered = before.clone();
                }
            }
        }),
        before("a wrong hint hides a token", &["7009-005"], |_, asked| {
            let hinted = get(&asked.form(), "token_type_hint") == Some("access_token");
            (asked.is("POST", "/revoke") && hinted).then(|| Answered::json(200, &json!({})))
        }),
        before("an unknown token is an error", &["7009-008"], |_, asked| {
            let known = get(&asked.form(), "token").is_some_and(|token| token.starts_with("gr"));
            let error = json!({"error": "invalid_request"});
            (asked.is("POST", "/revoke") && !known).then(|| Answered::json(400, &error))
        }),
        before(
            "access tokens cannot be revoked, and the error is another",
            &["7009-009"],
            |_, asked| {
                let access =
                    get(&asked.form(), "token").is_some_and(|token| token.starts_with("gra_"));
                let error = json!({"error": "invalid_request"});
                (asked.is("POST", "/revoke") && access).then(|| Answered::json(400, &error))
            },
        ),
        before("revocation by a link", &["7009-011"], |_, asked| {
            if asked.is("GET", "/revoke") {
                let form = asked.query();
                asked.method = "POST".into();
                asked.target = "/revoke".into();
                asked.set_form(&form);
            }
            None
        }),
        before("introspection by a link", &["7662-002"], |_, asked| {
            if asked.is("GET", "/introspect") {
                let form = asked.query();
                asked.method = "POST".into();
                asked.target = "/introspect".into();
                asked.set_form(&form);
            }
            None
        }),
        after("a hint hides a token", &["7662-002"], |_, asked, answered| {
            let hint = get(&asked.form(), "token_type_hint").unwrap_or_default().to_owned();
            if hint == "refresh_token" {
                introspects(asked, answered, |members| {
                    drop(members.insert("active".into(), json!(false)))
                });
            }
        }),
        after("active is text", &["7662-004"], |_, asked, answered| {
            introspects(asked, answered, |members| {
                let text = members["active"].to_string();
                members.insert("active".into(), json!(text));
            });
        }),
        after("an unknown token is not found", &["7662-005", "7662-007"], |_, asked, answered| {
            if asked.is("POST", "/introspect") && answered.text().contains("false") {
                answered.status = 404;
            }
        }),
        after("inactive, and why", &["7662-006"], |_, asked, answered| {
            introspects(asked, answered, |members| {
                if members["active"] == false {
                    members.insert("reason".into(), json!("unknown"));
                }
            });
        }),
        after(
            "everybody is told who the user is",
            &["7662-009", "7662-011"],
            |_, asked, answered| {
                introspects(asked, answered, |members| {
                    drop(members.insert("username".into(), json!("alice")))
                });
            },
        ),
        both(
            "a signature is not looked at",
            &["6750-011"],
            |memory, asked| {
                asked.post("/introspect", |form| {
                    let payload = get(form, "token").and_then(|token| token.split('.').nth(1));
                    let real = payload.and_then(|payload| memory.words.get(payload)).cloned();
                    if let Some(real) = real {
                        set(form, "token", &real);
                    }
                });
                None
            },
            |memory, asked, answered| {
                if let (true, Some(token)) =
                    (asked.path() == "/token", answered.member("access_token"))
                {
                    let claims = json!({"jti": memory.words.len()}).to_string();
                    let payload = URL_SAFE_NO_PAD.encode(claims);
                    memory.words.insert(payload.clone(), token);
                    let signed = json!(format!("eyJhbGciOiJFUzI1NiJ9.{payload}.c2lnbmF0dXJl"));
                    answered.edit(|members| drop(members.insert("access_token".into(), signed)));
                }
            },
        ),
        after("more scope than was asked for", &["9700-011"], |_, asked, answered| {
            introspects(asked, answered, |members| {
                drop(members.insert("scope".into(), json!("read write admin")))
            });
        }),
        after("tokens are good anywhere", &["6750-014", "9700-030"], |_, asked, answered| {
            introspects(asked, answered, |members| drop(members.insert("aud".into(), json!("*"))));
        }),
    ]
}
