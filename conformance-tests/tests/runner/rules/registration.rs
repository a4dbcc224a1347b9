//! Registration that takes whatever it gets. These rules spoil a server that registers clients.

use serde_json::json;

use crate::mutants::Rule;
use crate::rules::{after, before};
use crate::spoil::{Answered, Asked};

fn registers(asked: &Asked) -> bool {
    asked.path() == "/register"
}

/// Whatever is refused is registered.
fn anything_goes(asked: &Asked, answered: &mut Answered) {
    if registers(asked) && answered.status >= 400 {
        let registered = json!({
            "client_id": "whoever",
            "client_secret": "a-secret-for-whoever",
            "client_secret_expires_at": 0,
        });
        *answered = Answered::json(201, &registered);
    }
}

pub(crate) fn rules() -> Vec<Rule> {
    vec![
        after(
            "every registration is accepted",
            &[
                "6749-023", "6749-024", "6749-025", "7591-001", "7591-003", "7591-010", "7591-016",
                "7591-017", "8252-008", "9700-016",
            ],
            |_, asked, answered| anything_goes(asked, answered),
        ),
        before("native apps have no redirect URI on loopback", &["8252-002"], |memory, asked| {
            // The native client of the run itself is the first.
            let refusal = json!({"error": "invalid_redirect_uri"});
            let local = String::from_utf8_lossy(&asked.body).contains("http://127.0.0.1");
            let again = local && memory.words.insert("seen".into(), String::new()).is_some();
            (registers(asked) && again).then(|| Answered::json(400, &refusal))
        }),
        after("everybody gets a secret", &["6749-069"], |_, asked, answered| {
            if registers(asked) && answered.status == 201 {
                answered.edit(|members| {
                    members.entry("client_secret").or_insert(json!("a-secret-nobody-asked-for"));
                });
            }
        }),
        after("everybody gets the same secret", &["7591-012"], |memory, asked, answered| {
            // Clients of the run itself have to work.
            let count = memory.words.len();
            if registers(asked) && answered.member("client_secret").is_some() {
                memory.words.insert(count.to_string(), String::new());
                if count > 3 {
                    answered.edit(|members| {
                        members.insert("client_secret".into(), json!("the-same-for-everybody"));
                    });
                }
            }
        }),
        after("a registration is 200", &["7591-012"], |_, asked, answered| {
            if registers(asked) && answered.status == 201 {
                answered.status = 200;
            }
        }),
        after("unknown members are kept", &["7591-004"], |_, asked, answered| {
            if registers(asked) && answered.status == 201 {
                answered
                    .edit(|members| drop(members.insert("x_grantor_unknown".into(), json!("1"))));
            }
        }),
        after("errors of a registration are 422", &["7591-016"], |_, asked, answered| {
            if registers(asked) && answered.status == 400 {
                answered.status = 422;
            }
        }),
        after("nobody says when a secret expires", &["7591-013"], |_, asked, answered| {
            if registers(asked) {
                answered.edit(|members| drop(members.remove("client_secret_expires_at")));
            }
        }),
    ]
}
