//! Recorded decisions: why did this client get `invalid_grant` last night?
//!
//! A decision depends on nothing but its request, the records, the time, and random bytes. So all of
//! it can be written down, asked again later, and explained: which check of which clause of which RFC
//! decided. Give the builder of the server a [`TraceSink`](crate::engine::TraceSink), keep the
//! [`Trace`]s that it gets ([`to_json`](Trace::to_json)), and read them with [`Trace::parse`] and
//! [`explain`](Trace::explain).
//!
//! # What a trace holds, and what it does not
//!
//! A trace holds no secret. Everything secret that was presented (codes, tokens, client secrets,
//! verifiers, cookies, `state`) is exchanged for something of the same form that opens nothing, in the
//! request and, as a hash, in the records alike; so is what a record knows refresh tokens by. The decision about the one is the decision about the
//! other; a trace says so itself ([`is_faithful`](Trace::is_faithful)). What the decision made new (tokens,
//! the name of a new record) is as made up; [`audit`](Trace::audit) has the real names. A trace does hold what an audit log holds, and what
//! the records do: who asked for what, user names, redirection URIs. Keep it as you keep that.
//!
//! Recorded are the decisions about requests from outside: at the token, revocation, introspection
//! and authorization endpoints, on the consent page, and at protected resources. Not recorded are
//! requests that no decision was made about, because they were not understood or nothing could be
//! loaded (the audit log has those), the look that is taken once more before a code is handed out, that
//! a wrong client secret was one too many (the trace has that it was wrong), signing in and out, and
//! what operators do.

mod decided;
mod explain;
mod question;
mod recorded;
mod redact;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::decided::{Decided, Told};
pub(crate) use self::decided::{Granted, Refused};
pub use self::explain::Explanation;
pub(crate) use self::question::Question;
use self::recorded::Recorded;
use self::redact::Redactor;
use crate::engine::Facts;
use crate::model::{Account, Issuer, Policy, Secret, SecretString, Timestamp};
use crate::protocol::{Context, Entropy};
use crate::storage::{Key, Record};

/// One decision, with everything that it was made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trace {
    format: u32,
    /// The version that decided.
    version: String,
    at: Timestamp,
    issuer: Issuer,
    question: Recorded,
    facts: Vec<Fact>,
    account: Option<Account>,
    /// The seed of the random bytes that the decision used.
    entropy: String,
    decided: Decided,
    /// What the audit log was told: about the real request, so that the trace can be found from there.
    audit: Vec<Value>,
    faithful: bool,
    policy: Policy,
}

/// A record that was looked for, and what was there, as it stands in the store; base64url.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fact {
    key: String,
    record: Option<String>,
}

/// The format that this version writes, and the only one that it reads: a decision can only be asked
/// again of the rules that it was made by.
const FORMAT: u32 = 3;

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTrace {
    /// It is no trace.
    #[error("this is not a trace: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of another version.
    #[error(
        "the trace has format {found}, and this version reads {FORMAT}: use the version that wrote it"
    )]
    Format {
        /// The version of its format.
        found: u32,
    },
    /// The request in it makes no sense.
    #[error("the request in the trace makes no sense")]
    Question,
    /// A record in it cannot be read.
    #[error("a record in the trace cannot be read")]
    Record,
}

/// A decision that was asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// What it comes to now.
    pub decided: Decided,
    /// Whether that is what it came to then.
    pub identical: bool,
}

impl Trace {
    /// Records a decision. `seed` must be fresh; it is not kept.
    pub(crate) fn new(
        question: Question<'_>,
        facts: &Facts,
        account: Option<&Account>,
        ctx: Context<'_>,
        decided: Decided,
        seed: &Secret,
    ) -> Self {
        // Claims decide nothing, and are nobody's business here.
        let account =
            account.map(|account| Account::new(account.subject.clone(), account.username.clone()));
        let mut redactor = Redactor::new(seed, facts, account.as_ref());
        let question = Recorded::of(question, &mut redactor);
        let facts = facts.iter().map(|(key, record)| Fact {
            key: URL_SAFE_NO_PAD.encode(key.to_bytes()),
            record: record
                .and_then(|record| redactor.record(record))
                .map(|bytes| URL_SAFE_NO_PAD.encode(bytes)),
        });
        let mut trace = Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: ctx.now,
            issuer: ctx.issuer.clone(),
            facts: facts.collect(),
            question,
            entropy: SecretString::of(&seed.derive("grantor trace entropy", b""))
                .expose()
                .to_owned(),
            account,
            decided: Decided { outcome: decided.outcome.clone(), write: None, events: Vec::new() },
            audit: decided.events.clone(),
            faithful: false,
            policy: ctx.policy.clone(),
        };
        if let Ok(again) = trace.ask() {
            trace.faithful = again.agrees_with(&decided);
            trace.decided = again;
        }
        trace
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> String {
        // Every field is a text, a number, or a list or a map of these by texts.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    pub fn parse(json: &str) -> Result<Self, InvalidTrace> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }

        let Head { format: found } = serde_json::from_str(json)?;
        if found != FORMAT {
            return Err(InvalidTrace::Format { found });
        }
        Ok(serde_json::from_str(json)?)
    }

    /// When it was decided, by the server's clock.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The step that was asked for: `redeem`, `refresh`, `authorize` and so on, as the audit log
    /// calls it.
    pub fn step(&self) -> &'static str {
        self.question.ask(|question| question.step()).unwrap_or("unreadable")
    }

    /// The client that asked, or that the token is of, as far as the request or the records tell.
    pub fn client_id(&self) -> Option<String> {
        if let Some(named) = self.question.client_id() {
            return Some(named.to_owned());
        }
        let facts = self.facts().ok()?;
        facts.iter().find_map(|(_, record)| match record {
            Some(Record::Grant(grant)) => Some(grant.client_id.as_str().to_owned()),
            _ => None,
        })
    }

    /// What was decided.
    pub const fn decided(&self) -> &Decided {
        &self.decided
    }

    /// What the audit log was told of the real request.
    pub fn audit(&self) -> &[Value] {
        &self.audit
    }

    /// Whether the decision stayed what it was when the secrets were exchanged. It does, or there is
    /// a mistake in this module.
    pub const fn is_faithful(&self) -> bool {
        self.faithful
    }

    /// Makes the decision again.
    pub fn replay(&self) -> Result<Replay, InvalidTrace> {
        let decided = self.ask()?;
        let identical = decided == self.decided;
        Ok(Replay { decided, identical })
    }

    /// The decision in words: what was asked, what was known, which check decided.
    pub fn explain(&self) -> Result<Explanation, InvalidTrace> {
        Explanation::of(self)
    }

    fn ask(&self) -> Result<Decided, InvalidTrace> {
        let facts = self.facts()?;
        let seed = Secret::parse(&self.entropy).ok_or(InvalidTrace::Question)?;
        let mut entropy = Entropy::from_seed(*seed.expose());
        let ctx = Context { issuer: &self.issuer, policy: &self.policy, now: self.at };
        self.question
            .ask(|question| question.decide(&facts, self.account.as_ref(), ctx, &mut entropy))
    }

    fn facts(&self) -> Result<Facts, InvalidTrace> {
        let facts: Result<Vec<_>, _> = self.facts.iter().map(Fact::read).collect();
        Ok(Facts::from_records(facts?.into_iter()))
    }
}

impl Fact {
    fn read(&self) -> Result<(Key, Option<Record>), InvalidTrace> {
        let key = read_key(&self.key)?;
        let record = self.record.as_ref().map(|text| read_record(&key, text)).transpose()?;
        Ok((key, record))
    }
}

fn read_key(text: &str) -> Result<Key, InvalidTrace> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidTrace::Record)?;
    Key::from_bytes(&bytes).ok_or(InvalidTrace::Record)
}

fn read_record(key: &Key, text: &str) -> Result<Record, InvalidTrace> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidTrace::Record)?;
    Record::decode(key, &bytes).map_err(|_| InvalidTrace::Record)
}
