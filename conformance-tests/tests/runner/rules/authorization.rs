//! An authorization endpoint that is too kind, too strict, or says the wrong thing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header;
use serde_json::json;

use crate::mutants::Rule;
use crate::rules::{after, as_it_comes, before, both};
use crate::spoil::{Answered, Asked, Memory, get, set};

/// Where a request wants its answer.
fn back_to(asked: &Asked) -> Option<String> {
    get(&asked.query(), "redirect_uri").map(str::to_owned)
}

/// A server that sends the browser wherever the request says.
fn redirects_anywhere(_: &mut Memory, asked: &Asked, answered: &mut Answered) {
    if asked.is("GET", "/authorize")
        && answered.status == 400
        && let Some(uri) = back_to(asked)
        && http::HeaderValue::from_str(&uri).is_ok()
    {
        let mark = if uri.contains('?') { '&' } else { '?' };
        *answered = Answered::redirect(&format!("{uri}{mark}code=a-stolen-code&state=x"));
    }
}

/// The values of these parameters are taken as they were meant.
fn repaired(asked: &mut Asked, name: &str, value: &str) {
    asked.ask(|query| set(query, name, value));
}

/// Whether somebody has asked for tokens already: the run itself, before its first check.
fn has_tokens(memory: &mut Memory, asked: &Asked) -> bool {
    if asked.path() == "/token" {
        memory.words.insert("tokens".into(), String::new());
    }
    memory.words.contains_key("tokens")
}

fn only_first(pairs: &mut Vec<(String, String)>) {
    let mut seen = std::collections::BTreeSet::new();
    pairs.retain(|(name, _)| seen.insert(name.clone()));
}

/// A native app gets its last answer again.
fn replayed(memory: &mut Memory, asked: &Asked, answered: &mut Answered) {
    let native = back_to(asked).is_some_and(|uri| uri.starts_with("http://127.0.0.1"));
    if asked.is("GET", "/authorize")
        && native
        && let Some(earlier) = memory.answers.get("native")
    {
        *answered = earlier.clone();
    }
    if answered.location().starts_with("http://127.0.0.1/callback?code=") {
        memory.answers.insert("native".into(), answered.clone());
    }
}

pub(super) fn rules() -> Vec<Rule> {
    vec![
        after(
            "a redirect goes wherever the request says",
            &[
                "6749-020", "6749-022", "6749-027", "6749-028", "6749-029", "8252-004", "8252-005",
                "9700-001", "9700-019", "OA21-004",
            ],
            redirects_anywhere,
        ),
        before("one of several redirect URIs is guessed", &["6749-026", "OA21-011"], |_, asked| {
            if asked.is("GET", "/authorize") && back_to(asked).is_none() {
                repaired(asked, "redirect_uri", grantor_conformance::runner::ours::CALLBACK);
            }
            None
        }),
        after("the query of a redirect URI is lost", &["6749-021"], |_, _, answered| {
            answered.redirected(|answer| answer.retain(|(name, _)| name != "a" && name != "b"));
        }),
        before("native apps come back on the registered port only", &["8252-003"], |_, asked| {
            let uri = back_to(asked).unwrap_or_default();
            let page = Answered { status: 400, headers: Default::default(), body: vec![] };
            uri.starts_with("http://127.0.0.1:").then_some(page)
        }),
        before("native apps need a secret", &["8252-001", "OA21-022"], |_, asked| {
            let bare = asked.header(header::AUTHORIZATION).is_empty();
            let native = asked.form().iter().any(|(_, value)| value.starts_with("http://127"));
            let refusal = json!({"error": "invalid_client"});
            (asked.is("POST", "/token") && bare && native).then(|| Answered::json(401, &refusal))
        }),
        after("a code without signing in", &["6749-010"], |memory, asked, answered| {
            // The run itself has to sign in first.
            if has_tokens(memory, asked)
                && asked.is("GET", "/authorize")
                && asked.header(header::COOKIE).is_empty()
                && let Some(uri) = back_to(asked)
            {
                *answered = Answered::redirect(&format!("{uri}?code=for-anybody"));
            }
        }),
        after("GET is refused", &["6749-014"], |memory, asked, answered| {
            if has_tokens(memory, asked) && asked.is("GET", "/authorize") {
                answered.status = 405;
                answered.headers.remove(header::LOCATION);
            }
        }),
        after("an empty parameter is a wrong one", &["6749-015"], |_, asked, answered| {
            if asked.is("GET", "/authorize") && get(&asked.query(), "prompt") == Some("") {
                answered.status = 400;
                answered.headers.remove(header::LOCATION);
            }
        }),
        after("an unknown parameter is refused", &["6749-016"], |_, asked, answered| {
            if asked.query().iter().any(|(name, _)| name.starts_with("x_")) {
                answered.status = 400;
                answered.headers.remove(header::LOCATION);
            }
        }),
        before("of two values the first counts", &["6749-017", "OA21-008"], |_, asked| {
            asked.ask(only_first);
            None
        }),
        before("every response type is code", &["6749-018", "6749-047"], |_, asked| {
            repaired(asked, "response_type", "code");
            None
        }),
        before("the implicit grant", &["9700-008"], |_, asked| {
            let uri = back_to(asked).unwrap_or_default();
            (get(&asked.query(), "response_type") == Some("token"))
                .then(|| Answered::redirect(&format!("{uri}#access_token=an-implicit-one")))
        }),
        before("answers by postMessage", &["9700-041"], |_, asked| {
            let mut page = Answered::json(200, &json!({}));
            page.set(header::CONTENT_TYPE, "text/html");
            page.body = b"<script>opener.postMessage('code', '*')</script>".to_vec();
            (get(&asked.query(), "response_mode") == Some("web_message")).then_some(page)
        }),
        after("no scope is a wrong request", &["6749-038"], |_, asked, answered| {
            if asked.is("GET", "/authorize") && get(&asked.query(), "scope").is_none() {
                answered.redirected(|answer| set(answer, "error", "server_error"));
            }
        }),
        before("scopes are tidied up", &["6749-039", "8414-013"], |_, asked| {
            asked.ask(|query| {
                let scope = get(query, "scope").unwrap_or_default().to_lowercase();
                let kept: String =
                    scope.chars().filter(|c| c.is_ascii_lowercase() || *c == ' ').collect();
                set(query, "scope", &kept);
            });
            None
        }),
        both(
            "a client is guessed",
            &["6749-040"],
            |memory, asked| {
                if asked.is("GET", "/authorize") {
                    match get(&asked.query(), "client_id") {
                        Some(id) if !id.is_empty() => {
                            drop(memory.words.insert("id".into(), id.into()))
                        }
                        _ => repaired(asked, "client_id", &memory.words["id"]),
                    }
                }
                None
            },
            as_it_comes,
        ),
        after("state loses what is not ASCII", &["6749-045"], |_, _, answered| {
            answered.redirected(|answer| {
                let state = get(answer, "state").unwrap_or_default();
                let kept: String = state.chars().filter(char::is_ascii).collect();
                set(answer, "state", &kept);
            });
        }),
        after("state is decoded twice", &["6749-045"], |_, _, answered| {
            answered.redirected(|answer| {
                let state = get(answer, "state").unwrap_or_default().replace('+', " ");
                set(answer, "state", &state);
            });
        }),
        after("descriptions quote the request", &["6749-046"], |_, _, answered| {
            answered.redirected(|answer| {
                if get(answer, "error").is_some() {
                    set(answer, "error_description", "\"<b>evil</b>\" is wrong");
                }
            });
        }),
        after("errors stay with the user", &["6749-047"], |_, _, answered| {
            if answered.location().contains("error=") {
                answered.status = 400;
                answered.headers.remove(header::LOCATION);
            }
        }),
        after("a refusal is a failure", &["6749-048"], |_, _, answered| {
            answered.redirected(|answer| {
                if get(answer, "error") == Some("access_denied") {
                    set(answer, "error", "server_error");
                }
            });
        }),
        after("a refusal without the state", &["6749-048"], |_, _, answered| {
            answered.redirected(|answer| {
                if get(answer, "error") == Some("access_denied") {
                    answer.retain(|(name, _)| name != "state");
                }
            });
        }),
        after("errors without iss", &["9207-001"], |_, _, answered| {
            answered.redirected(|answer| {
                if get(answer, "error").is_some() {
                    answer.retain(|(name, _)| name != "iss");
                }
            });
        }),
        both(
            "the ID token is of another issuer",
            &["9207-004"],
            |_, asked| {
                let query = asked.query();
                let hybrid = get(&query, "response_type") == Some("code id_token");
                let claims = URL_SAFE_NO_PAD.encode("{\"iss\":\"https://other.example\"}");
                let uri = get(&query, "redirect_uri").unwrap_or_default();
                let answer =
                    format!("{uri}#code=c&id_token=e30.{claims}.c2ln&iss=https://as.example");
                (asked.path() == "/authorize" && hybrid).then(|| Answered::redirect(&answer))
            },
            |_, asked, answered| {
                if asked.path() == "/.well-known/oauth-authorization-server" {
                    let types = json!(["code", "code id_token"]);
                    answered.edit(|members| {
                        drop(members.insert("response_types_supported".into(), types))
                    });
                }
            },
        ),
        after("no iss at all", &["9700-025"], |_, _, answered| {
            answered.redirected(|answer| answer.retain(|(name, _)| name != "iss"));
        }),
        after("iss has a slash too many", &["9207-002"], |_, _, answered| {
            answered.redirected(|answer| {
                let iss = format!("{}/", get(answer, "iss").unwrap_or_default());
                set(answer, "iss", &iss);
            });
        }),
        after("scripts of other sites may ask", &["9700-017", "OA21-007"], |_, asked, answered| {
            if asked.path() == "/authorize" {
                answered.set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
            }
        }),
        after("error pages repeat the request", &["6749-083", "HTTP-002"], |_, asked, answered| {
            if answered.is_html() {
                for (_, value) in asked.query() {
                    answered.body.extend_from_slice(value.as_bytes());
                }
            }
        }),
        after("what is no UTF-8 breaks it", &["6749-084"], |_, asked, answered| {
            if asked.target.contains("%ff") {
                answered.status = 500;
            }
        }),
        before("a parameter says where to go next", &["9700-002"], |_, asked| {
            let next = get(&asked.query(), "return_to").map(Answered::redirect);
            next.filter(|_| asked.path() == "/authorize")
        }),
        after("native apps are not asked again", &["6749-071", "8252-010"], replayed),
        before("a request without PKCE is accepted", &["OA21-012"], |_, asked| {
            asked.ask(|query| {
                if get(query, "code_challenge").is_none_or(str::is_empty) {
                    set(query, "code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
                    set(query, "code_challenge_method", "S256");
                }
            });
            None
        }),
        after(
            "PKCE is required and the error is another",
            &["7636-006", "8252-006"],
            |_, _, answered| {
                answered.redirected(|answer| {
                    if get(answer, "error").is_some() {
                        set(answer, "error", "access_denied");
                    }
                });
            },
        ),
        before("an unknown method is S256", &["7636-007"], |_, asked| {
            repaired(asked, "code_challenge_method", "S256");
            None
        }),
        before("no method is S256", &["7636-003"], |_, asked| {
            asked.ask(|query| {
                if get(query, "code_challenge_method").is_none() {
                    set(query, "code_challenge_method", "S256");
                }
            });
            None
        }),
        before("plain is as good", &["7636-010"], |_, asked| {
            asked.ask(|query| {
                if get(query, "code_challenge_method") == Some("plain") {
                    set(query, "code_challenge_method", "S256");
                    let right = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
                    set(query, "code_challenge", right);
                }
            });
            None
        }),
        both(
            "the challenge is in the redirect",
            &["7636-005"],
            |memory, asked| {
                if let Some(challenge) = get(&asked.query(), "code_challenge") {
                    memory.words.insert("challenge".into(), challenge.to_owned());
                }
                None
            },
            |memory, _, answered| {
                answered.redirected(|answer| {
                    let challenge = memory.words.get("challenge").cloned().unwrap_or_default();
                    set(answer, "code_challenge", &challenge);
                });
            },
        ),
    ]
}
