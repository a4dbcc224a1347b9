//! Metadata that says what is not so, or says it wrongly.

use http::header;
use serde_json::{Value, json};

use crate::mutants::Rule;
use crate::rules::{after, both};
use crate::spoil::{Answered, Asked};

fn is_metadata(asked: &Asked) -> bool {
    asked.path() == "/.well-known/oauth-authorization-server"
}

/// Replaces a member of the metadata.
fn says(asked: &Asked, answered: &mut Answered, name: &str, value: Value) {
    if is_metadata(asked) {
        answered.edit(|members| {
            members.insert(name.to_owned(), value);
        });
    }
}

pub(super) fn rules() -> Vec<Rule> {
    vec![
        after("the issuer is http", &["8414-001", "OA21-001"], |_, asked, answered| {
            says(asked, answered, "issuer", json!("http://as.example"));
        }),
        after("an endpoint has a fragment", &["6749-012", "6749-030"], |_, asked, answered| {
            if is_metadata(asked) {
                answered.edit(|members| {
                    members.insert(
                        "device_authorization_endpoint".into(),
                        json!("https://as.example/d#x"),
                    );
                });
            }
        }),
        after("revocation is in clear", &["7009-002"], |_, asked, answered| {
            says(asked, answered, "revocation_endpoint", json!("http://as.example/revoke"));
        }),
        after("introspection is in clear", &["7662-001"], |_, asked, answered| {
            says(asked, answered, "introspection_endpoint", json!("http://as.example/introspect"));
        }),
        after("an endpoint is not there", &["8414-002"], |_, asked, answered| {
            if is_metadata(asked) {
                let issuer = answered.member("issuer").unwrap_or_default();
                let gone = json!(format!("{issuer}/device"));
                says(asked, answered, "device_authorization_endpoint", gone);
            }
        }),
        after("clients may sign with none", &["8414-003"], |_, asked, answered| {
            let name = "token_endpoint_auth_signing_alg_values_supported";
            says(asked, answered, name, json!(["ES256", "none"]));
        }),
        after(
            "assertions of an algorithm that is not said",
            &["8414-004"],
            |_, asked, answered| {
                let name = "token_endpoint_auth_methods_supported";
                says(asked, answered, name, json!(["private_key_jwt", "client_secret_basic"]));
            },
        ),
        after("assertions without RS256", &["8414-006"], |_, asked, answered| {
            let name = "token_endpoint_auth_signing_alg_values_supported";
            says(asked, answered, name, json!(["ES256"]));
        }),
        both(
            "the private key is published",
            &["8414-005"],
            |_, asked| {
                let key = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "a", "d": "b"}]});
                asked.is("GET", "/jwks").then(|| Answered::json(200, &key))
            },
            |_, asked, answered| {
                if is_metadata(asked) {
                    let issuer = answered.member("issuer").unwrap_or_default();
                    says(asked, answered, "jwks_uri", json!(format!("{issuer}/jwks")));
                }
            },
        ),
        after("a grant type that is not listed works", &["8414-007"], |_, asked, answered| {
            if is_metadata(asked) {
                let listed = json!(["authorization_code", "refresh_token"]);
                says(asked, answered, "grant_types_supported", listed);
            }
            let form = asked.form();
            if asked.path() == "/token"
                && form.iter().any(|(_, value)| value == "client_credentials")
            {
                *answered = Answered::json(200, &json!({"access_token": "surprise"}));
            }
        }),
        after(
            "the document is of another issuer",
            &["8414-008", "8414-012"],
            |_, asked, answered| {
                says(asked, answered, "issuer", json!("https://other.example"));
            },
        ),
        after("the document is text", &["8414-010"], |_, asked, answered| {
            if is_metadata(asked) {
                answered.set(header::CONTENT_TYPE, "text/plain");
            }
        }),
        after("a list is empty", &["8414-011"], |_, asked, answered| {
            says(asked, answered, "claims_supported", json!([]));
        }),
        after("a member is null", &["8414-011"], |_, asked, answered| {
            says(asked, answered, "service_documentation", Value::Null);
        }),
        after("a header says where the server is", &["9700-033"], |_, asked, answered| {
            let host = asked.header(header::HeaderName::from_static("x-forwarded-host"));
            if is_metadata(asked) && !host.is_empty() {
                let at = json!(format!("https://{host}/token"));
                says(asked, answered, "token_endpoint", at);
            }
        }),
        after("iss is not advertised", &["9207-003"], |_, asked, answered| {
            says(asked, answered, "authorization_response_iss_parameter_supported", json!(false));
        }),
        after("iss is advertised and not sent", &["9207-003", "9207-001"], |_, _, answered| {
            answered.redirected(|answer| answer.retain(|(name, _)| name != "iss"));
        }),
        after("PKCE is not advertised", &["9700-007", "9700-027"], |_, asked, answered| {
            if is_metadata(asked) {
                answered.edit(|members| drop(members.remove("code_challenge_methods_supported")));
            }
        }),
        after("plain is advertised", &["7636-010"], |_, asked, answered| {
            says(asked, answered, "code_challenge_methods_supported", json!(["S256", "plain"]));
        }),
        after("the implicit grant is advertised", &["9700-008"], |_, asked, answered| {
            says(asked, answered, "response_types_supported", json!(["code", "token"]));
        }),
        after(
            "the password grant is advertised",
            &["6749-052", "9700-012"],
            |_, asked, answered| {
                let listed = json!(["authorization_code", "password", "client_credentials"]);
                says(asked, answered, "grant_types_supported", listed);
            },
        ),
    ]
}
