//! A protected resource that opens too easily, or refuses in the wrong words.

use http::header;

use crate::mutants::Rule;
use crate::rules::{after, before};
use crate::spoil::{Answered, Asked, get};

fn is_resource(asked: &Asked) -> bool {
    asked.path() == "/resource"
}

fn refused(asked: &Asked, answered: &mut Answered, change: impl FnOnce(&mut Answered)) {
    if is_resource(asked) && answered.status >= 400 {
        change(answered);
    }
}

fn bearer(asked: &mut Asked, token: Option<String>) {
    if let (true, Some(token)) = (is_resource(asked), token) {
        asked.method = "GET".into();
        asked.set(header::AUTHORIZATION, &format!("Bearer {token}"));
    }
}

pub(super) fn rules() -> Vec<Rule> {
    vec![
        after("any token opens", &["6749-068"], |_, asked, answered| {
            if is_resource(asked) {
                answered.status = 200;
            }
        }),
        before("a token in the query opens", &["6750-001", "6750-004", "OA21-019"], |_, asked| {
            let token = get(&asked.query(), "access_token").map(str::to_owned);
            bearer(asked, token);
            None
        }),
        before("a token in any body opens", &["6750-001", "6750-003"], |_, asked| {
            let token = get(&asked.form(), "access_token").map(str::to_owned);
            bearer(asked, token);
            None
        }),
        before("the scheme has one spelling", &["6750-002"], |_, asked| {
            let header = asked.header(header::AUTHORIZATION);
            (is_resource(asked) && header.starts_with("bearer")).then(|| Answered {
                status: 401,
                headers: Default::default(),
                body: vec![],
            })
        }),
        after("there is no challenge", &["6750-005", "6750-008"], |_, asked, answered| {
            refused(asked, answered, |answered| {
                drop(answered.headers.remove(header::WWW_AUTHENTICATE))
            });
        }),
        after("the challenge is bare", &["6750-005"], |_, asked, answered| {
            refused(asked, answered, |answered| answered.set(header::WWW_AUTHENTICATE, "Bearer"));
        }),
        after("the challenge repeats itself", &["6750-006"], |_, asked, answered| {
            refused(asked, answered, |answered| {
                answered.set(header::WWW_AUTHENTICATE, "Bearer realm=\"a\", realm=\"b\"");
            });
        }),
        after("the challenge repeats the token", &["6750-007"], |_, asked, answered| {
            let sent: String = asked
                .header(header::AUTHORIZATION)
                .chars()
                .filter(|c| c.is_ascii() && *c != '"' && *c != '\\')
                .collect();
            refused(asked, answered, |answered| {
                let challenge = format!("Bearer error_description=\"{sent} is wrong\"");
                answered.set(header::WWW_AUTHENTICATE, &challenge);
            });
        }),
        after("a bad token is forbidden", &["6750-008"], |_, asked, answered| {
            refused(asked, answered, |answered| answered.status = 403);
        }),
        after("no token is a bad token", &["6750-009"], |_, asked, answered| {
            refused(asked, answered, |answered| {
                answered.set(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"");
            });
        }),
    ]
}
