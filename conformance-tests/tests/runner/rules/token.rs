//! A token endpoint that takes what it should not, or answers otherwise than it should.

use http::header::{self, HeaderName};
use serde_json::{Value, json};

use crate::mutants::Rule;
use crate::rules::{after, as_it_comes, before, both};
use crate::spoil::{Answered, Asked, Memory, get, set};

fn is_token(asked: &Asked) -> bool {
    asked.path() == "/token"
}

/// Changes an answer that has tokens.
fn issued(
    asked: &Asked,
    answered: &mut Answered,
    change: impl FnOnce(&mut serde_json::Map<String, Value>),
) {
    if is_token(asked) && answered.member("access_token").is_some() {
        answered.edit(change);
    }
}

/// Changes an answer that has an error.
fn failed(asked: &Asked, answered: &mut Answered, change: impl FnOnce(&mut Answered)) {
    if is_token(asked) && answered.status >= 400 {
        change(answered);
    }
}

fn says(answered: &mut Answered, error: &str) {
    let error = json!(error);
    answered.edit(|members| drop(members.insert("error".into(), error)));
}

/// As if the verifier were not looked at: a challenge of the server's own on the way in, its verifier on the
/// way to the token endpoint.
fn without_pkce(_: &mut Memory, asked: &mut Asked) -> Option<Answered> {
    asked.ask(|query| {
        set(query, "code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        set(query, "code_challenge_method", "S256");
    });
    asked.post("/token", |form| {
        set(form, "code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    });
    None
}

/// The first answer to a code, for whoever brings it again.
fn remembered(memory: &mut Memory, asked: &Asked, answered: &mut Answered) {
    let form = asked.form();
    let (Some(code), true) = (get(&form, "code"), is_token(asked)) else { return };
    match memory.answers.get(code) {
        Some(first) => *answered = first.clone(),
        None if answered.status == 200 => {
            drop(memory.answers.insert(code.into(), answered.clone()))
        }
        None => {}
    }
}

/// Other tokens each time a code is brought again.
fn issued_again(memory: &mut Memory, asked: &Asked, answered: &mut Answered) {
    let count = memory.words.len();
    remembered(memory, asked, answered);
    if is_token(asked) && answered.status == 200 {
        let name = format!("another-{count}");
        memory.words.insert(name.clone(), String::new());
        answered.edit(|members| drop(members.insert("access_token".into(), json!(name))));
    }
}

/// A code that was used stops everything that it had yielded, whoever brings it.
fn touchy(memory: &mut Memory, asked: &Asked, answered: &mut Answered) {
    let form = asked.form();
    if let (Some(code), true) = (get(&form, "code"), is_token(asked)) {
        match memory.answers.get(code) {
            Some(first) => {
                for name in ["access_token", "refresh_token"] {
                    memory.words.insert(first.member(name).unwrap_or_default(), "dead".into());
                }
            }
            None if answered.status == 200 => {
                memory.answers.insert(code.into(), answered.clone());
            }
            None => {}
        }
    }
    let token = get(&form, "token").or(get(&form, "refresh_token")).unwrap_or_default();
    if memory.words.contains_key(token) {
        *answered = match asked.path() {
            "/introspect" => Answered::json(200, &json!({"active": false})),
            _ => Answered::json(400, &json!({"error": "invalid_grant"})),
        };
    }
}

pub(super) fn rules() -> Vec<Rule> {
    vec![
        before("GET gets tokens", &["6749-032"], |_, asked| {
            if asked.is("GET", "/token") {
                let form = asked.query();
                asked.method = "POST".into();
                asked.set_form(&form);
                asked.target = "/token".into();
            }
            None
        }),
        before("PUT is POST", &["6749-032"], |_, asked| {
            if asked.is("PUT", "/token") {
                asked.method = "POST".into();
            }
            None
        }),
        after("unknown parameters are refused", &["6749-033"], |_, asked, answered| {
            if is_token(asked) && asked.form().iter().any(|(name, _)| name.starts_with("x_")) {
                *answered = Answered::json(400, &json!({"error": "invalid_request"}));
            }
        }),
        before("of two values the first counts", &["6749-034"], |_, asked| {
            asked.post("/token", |form| {
                let mut seen = std::collections::BTreeSet::new();
                form.retain(|(name, _)| seen.insert(name.clone()));
            });
            None
        }),
        after("an unknown grant type is a success", &["6749-056"], |_, asked, answered| {
            failed(asked, answered, |answered| answered.status = 200);
        }),
        before("the password grant works", &["6749-052", "9700-012"], |_, asked| {
            let tokens = json!({"access_token": "by-password", "token_type": "Bearer"});
            (is_token(asked) && get(&asked.form(), "grant_type") == Some("password"))
                .then(|| Answered::json(200, &tokens))
        }),
        after("expires_in is text", &["6749-057", "6750-012", "6750-013"], |_, asked, answered| {
            issued(asked, answered, |members| {
                drop(members.insert("expires_in".into(), json!("3600")))
            });
        }),
        after("there is no token_type", &["6749-057"], |_, asked, answered| {
            issued(asked, answered, |members| drop(members.remove("token_type")));
        }),
        after("tokens last for ever", &["6750-012", "6750-013"], |_, asked, answered| {
            issued(asked, answered, |members| drop(members.remove("expires_in")));
        }),
        after("tokens last for a day", &["6750-013"], |_, asked, answered| {
            issued(asked, answered, |members| {
                drop(members.insert("expires_in".into(), json!(86400)))
            });
        }),
        after("answers may be stored", &["6749-058", "OA21-009"], |_, _, answered| {
            answered.headers.remove(header::CACHE_CONTROL);
        }),
        after("errors may be stored", &["6749-058", "OA21-009"], |_, asked, answered| {
            failed(asked, answered, |answered| {
                drop(answered.headers.remove(header::CACHE_CONTROL))
            });
        }),
        after("there is no Pragma", &["6749-058"], |_, _, answered| {
            answered.headers.remove(header::PRAGMA);
        }),
        after("tokens are text", &["6749-059"], |_, asked, answered| {
            if is_token(asked) {
                answered.set(header::CONTENT_TYPE, "text/html; charset=utf-8");
            }
        }),
        after(
            "every error is invalid_request",
            &["6749-051", "6749-061", "7636-009", "6749-050"],
            |_, asked, answered| {
                failed(asked, answered, |answered| says(answered, "invalid_request"));
            },
        ),
        after("errors are 401", &["6749-061"], |_, asked, answered| {
            failed(asked, answered, |answered| answered.status = 401);
        }),
        after("descriptions quote the request", &["6749-062"], |_, asked, answered| {
            failed(asked, answered, |answered| {
                answered.edit(|members| {
                    members.insert("error_description".into(), json!("\u{e9} is \"wrong\""));
                });
            });
        }),
        both(
            "unknown scopes are dropped in silence",
            &["6749-037"],
            |_, asked| {
                asked.ask(|query| {
                    let scope =
                        get(query, "scope").unwrap_or_default().replace(" grantor_unknown", "");
                    set(query, "scope", &scope);
                });
                None
            },
            |_, asked, answered| issued(asked, answered, |members| drop(members.remove("scope"))),
        ),
        before(
            "client credentials of anybody",
            &["6749-053", "6749-054", "OA21-015", "6749-001", "6749-003"],
            |_, asked| {
                let tokens = json!({"access_token": "for-anybody", "token_type": "Bearer"});
                (is_token(asked) && get(&asked.form(), "grant_type") == Some("client_credentials"))
                    .then(|| Answered::json(200, &tokens))
            },
        ),
        after("client credentials yield a refresh token", &["6749-055"], |_, asked, answered| {
            issued(asked, answered, |members| {
                members.entry("refresh_token").or_insert(json!("a-refresh-token"));
            });
        }),
        after("a service is a user", &["9700-015", "9700-039"], |_, asked, answered| {
            if asked.path() == "/introspect" {
                answered.edit(|members| drop(members.insert("sub".into(), json!("alice"))));
            }
        }),
        after("scripts of other sites come with cookies", &["9700-018"], |_, asked, answered| {
            if is_token(asked) {
                let origin = asked.header(header::ORIGIN);
                if !origin.is_empty() {
                    answered.set(header::ACCESS_CONTROL_ALLOW_ORIGIN, &origin);
                    answered.set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
                }
            }
        }),
        before("JSON is a form", &["HTTP-003"], |_, asked| {
            if is_token(asked) && asked.header(header::CONTENT_TYPE) == "application/json" {
                let value: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
                let members = value.as_object().cloned().unwrap_or_default();
                let form = members
                    .into_iter()
                    .map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()))
                    .collect();
                asked.set_form(&form);
            }
            None
        }),
        after("large requests break it", &["HTTP-005"], |_, asked, answered| {
            if asked.body.len() > 1_000_000 {
                answered.status = 502;
            }
        }),
        after(
            "a code works again, with the same tokens",
            &["6749-042", "6749-076", "6749-043", "9700-023", "OA21-020"],
            remembered,
        ),
        after(
            "a code works again, with other tokens",
            &["6749-042", "6749-076", "9700-024", "OA21-013"],
            issued_again,
        ),
        after("whoever has an old code ends the session", &["OA21-020"], touchy),
        both(
            "a replay revokes nothing",
            &["6749-043"],
            |memory, asked| {
                let form = asked.form();
                let used = get(&form, "code").is_some_and(|code| memory.words.contains_key(code));
                if let (Some(code), true) = (get(&form, "code"), is_token(asked)) {
                    memory.words.insert(code.to_owned(), String::new());
                }
                used.then(|| Answered::json(400, &json!({"error": "invalid_grant"})))
            },
            as_it_comes,
        ),
        both(
            "a refusal uses up the code",
            &[
                "6749-002", "6749-004", "6749-007", "6749-009", "6749-035", "6749-051", "6749-070",
                "HTTP-003",
            ],
            |memory, asked| {
                let form = asked.form();
                let burnt = json!({"error": "invalid_grant"});
                (is_token(asked) && form.iter().any(|(_, value)| memory.words.contains_key(value)))
                    .then(|| Answered::json(400, &burnt))
            },
            |memory, asked, answered| {
                if is_token(asked) && answered.status >= 400 {
                    // Codes that were never given out begin like the one that was.
                    let all = memory.answers.keys().cloned().collect::<Vec<_>>();
                    for code in all {
                        memory.words.insert(code, String::new());
                    }
                }
                let location = answered.location();
                if let Some((_, rest)) = location.split_once("code=") {
                    let code = rest.split('&').next().unwrap_or_default().to_owned();
                    memory.answers.clear();
                    memory.words.clear();
                    memory.answers.insert(code, answered.clone());
                }
            },
        ),
        before(
            "no verifier is looked at",
            &[
                "7636-001", "7636-002", "7636-004", "7636-008", "7636-009", "9700-004", "9700-005",
                "9700-006", "9700-026", "9700-028", "OA21-010", "OA21-012", "OA21-014",
            ],
            without_pkce,
        ),
        before("any redirect_uri redeems", &["6749-049", "6749-077", "OA21-023"], |_, asked| {
            asked.post("/token", |form| {
                if get(form, "code").is_some() {
                    set(form, "redirect_uri", grantor_conformance::runner::ours::CALLBACK);
                }
            });
            None
        }),
        both(
            "codes are numbers",
            &["6749-079"],
            |memory, asked| {
                asked.post("/token", |form| {
                    let code = get(form, "code").and_then(|code| memory.words.get(code)).cloned();
                    if let Some(code) = code {
                        set(form, "code", &code);
                    }
                });
                None
            },
            |memory, _, answered| {
                answered.redirected(|answer| {
                    let Some(code) = get(answer, "code").map(str::to_owned) else { return };
                    let number = format!("{:08}", memory.words.len());
                    memory.words.insert(number.clone(), code);
                    set(answer, "code", &number);
                });
            },
        ),
        after("a failed login has no challenge", &["6749-060"], |_, _, answered| {
            answered.headers.remove(header::WWW_AUTHENTICATE);
        }),
        after("a failed login is 400", &["6749-060"], |_, asked, answered| {
            failed(asked, answered, |answered| answered.status = 400);
        }),
        after("types may be guessed", &["HTTP-004"], |_, asked, answered| {
            if is_token(asked) {
                answered.headers.remove(HeaderName::from_static("x-content-type-options"));
            }
        }),
    ]
}
