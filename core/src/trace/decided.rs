//! What a decision came to, without its secrets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Consent;
use crate::protocol::authorize::{Answer, AuthorizationError, Outcome};
use crate::protocol::introspect::{ActiveToken, Introspection};
use crate::protocol::token::TokenResponse;
use crate::protocol::{Decision, Refusal};
use crate::wire::error::on_the_wire;

/// What a decision came to: what was answered, written, and told the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// What was answered.
    pub outcome: Told,
    /// The record that was written, as it stands in the store; base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) write: Option<Written>,
    /// What was told the audit log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Value>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The request was granted.
    Granted {
        /// What with, in words.
        what: String,
    },
    /// The request was refused.
    Refused {
        /// Which check failed.
        reason: String,
        /// The clause that demands the refusal.
        clause: String,
        /// The `error` that is told.
        error: String,
        /// Where it is told: in the answer, on a page, or by a redirect to this address.
        to: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) key: String,
    pub(super) record: String,
}

impl Decided {
    /// Of a decision.
    pub(crate) fn of<T: Granted, E: Refused>(decision: &Decision<T, E>) -> Self {
        let events = decision.events.iter();
        Self {
            outcome: match &decision.outcome {
                Ok(answer) => Told::Granted { what: answer.what() },
                Err(error) => error.told(),
            },
            write: decision.write.as_ref().map(|record| Written {
                key: URL_SAFE_NO_PAD.encode(record.key().to_bytes()),
                // A record that cannot be written was not: the request failed before its answer.
                record: URL_SAFE_NO_PAD.encode(record.encode().unwrap_or_default()),
            }),
            events: events.filter_map(|event| serde_json::to_value(event).ok()).collect(),
        }
    }

    /// Of a decision that never writes.
    pub(crate) fn of_answer<T: Granted>(answer: &Result<T, Refusal>) -> Self {
        let outcome = match answer {
            Ok(answer) => Told::Granted { what: answer.what() },
            Err(refusal) => refusal.told(),
        };
        Self { outcome, write: None, events: Vec::new() }
    }

    /// Of a refusal.
    pub(crate) fn refused(refusal: &Refusal) -> Self {
        Self { outcome: refusal.told(), write: None, events: Vec::new() }
    }

    /// Whether the request was refused.
    pub const fn is_refusal(&self) -> bool {
        matches!(self.outcome, Told::Refused { .. })
    }

    /// Whether `other` is the same decision about the same request under other secrets: the same
    /// answer, the same kind of write, the same events.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let kinds = |decided: &Self| -> Vec<Value> {
            decided.events.iter().map(|event| event["event"].clone()).collect()
        };
        self.outcome == other.outcome
            && self.write.is_some() == other.write.is_some()
            && kinds(self) == kinds(other)
    }
}

/// An answer that can be told in words.
pub(crate) trait Granted {
    fn what(&self) -> String;
}

impl Granted for TokenResponse {
    fn what(&self) -> String {
        let refresh = if self.refresh_token.is_some() { ", and a refresh token" } else { "" };
        format!(
            "an access token for \"{}\" that works for {}{refresh}",
            self.scope,
            super::explain::span(self.expires_in)
        )
    }
}

impl Granted for () {
    fn what(&self) -> String {
        "done".to_owned()
    }
}

impl Granted for Introspection {
    fn what(&self) -> String {
        match self {
            Self::Inactive => "active: false".to_owned(),
            Self::AccessToken(token) => format!("an access token that is {}", token.what()),
            Self::RefreshToken(token) => format!("a refresh token that is {}", token.what()),
        }
    }
}

impl Granted for ActiveToken {
    fn what(&self) -> String {
        let subject = self.subject.as_ref().map_or("nobody", |subject| subject.as_str());
        format!(
            "active for \"{}\", of client {} and user {subject}, until {}",
            self.scope,
            self.client_id.as_str(),
            self.expires_at
        )
    }
}

impl Granted for Option<Consent> {
    fn what(&self) -> String {
        match self {
            Some(consent) => format!("the user's consent to \"{}\" is remembered", consent.scope),
            None => "nothing to remember".to_owned(),
        }
    }
}

impl Granted for Outcome {
    fn what(&self) -> String {
        match self {
            Self::LoginRequired(_) => "the user has to sign in first".to_owned(),
            Self::ReauthenticationRequired(_) => "the user has to sign in once more".to_owned(),
            Self::ConsentRequired(prompt) => {
                let names: Vec<_> = prompt.scope.iter().map(|scope| scope.name.as_str()).collect();
                format!("the user has to be asked about \"{}\"", names.join(" "))
            }
            Self::Redirect(response) => {
                let what = match &response.answer {
                    Answer::Code(_) => "a code".to_owned(),
                    Answer::Error(refusal) => format!("the error {}", on_the_wire(refusal).code),
                };
                format!("a redirect to {} with {what}", response.redirect_uri)
            }
        }
    }
}

/// An error that can be told in words.
pub(crate) trait Refused {
    fn told(&self) -> Told;
}

impl Refused for Refusal {
    fn told(&self) -> Told {
        told(self, "in the answer".to_owned())
    }
}

impl Refused for AuthorizationError {
    fn told(&self) -> Told {
        let to = match self.response("") {
            Some(response) => format!("by a redirect to {}", response.redirect_uri),
            None => "on a page, and not to the client".to_owned(),
        };
        told(&self.refusal, to)
    }
}

fn told(refusal: &Refusal, to: String) -> Told {
    Told::Refused {
        reason: refusal.to_string(),
        clause: refusal.clause().to_owned(),
        error: on_the_wire(refusal).code.to_owned(),
        to,
    }
}
