//! The protocol: one file per step, each a pure function.
//!
//! ```text
//! decide(request, facts, now, entropy) -> Decision { write, outcome, events }
//! ```
//!
//! Nothing here waits, reads a clock, draws a random number or knows what HTTP is. The facts are
//! the records that were loaded; the decision says which one record to replace, what to answer, and
//! what to tell the audit log. The [engine](crate::engine) loads, asks, commits and answers; when the
//! commit finds that the record has changed meanwhile, it loads and asks again. Losing a race is then
//! an ordinary decision about the facts as they are now.
//!
//! # The life of an authorization
//!
//! ```text
//!                     deny                                   wrong verifiers, replay, reuse,
//!              ┌────────────────────────────────────────┐    withdrawal, revocation
//!              │                                        ▼
//!   request ┌──┴────┐ allow   ┌──────────┐ redeem   ┌────────┐         ┌───────┐
//!  ────────▶│Pending├────────▶│CodeIssued├─────────▶│ Active ├────────▶│Revoked│
//!           └───────┘         └──────────┘          └─┬───▲──┘         └───────┘
//!               ▲ sign in,      ▲      │              └───┘  refresh,      ▲
//!               └ look again    │      └───────────────────────────────────┘
//!                               │                     ▲      revoke one access token
//!        remembered consent ────┘  client credentials ┘
//! ```
//!
//! | state | who moves it on | file |
//! |---|---|---|
//! | (none) | the client, by way of a browser | [`authorize`] |
//! | (none) | the client itself | [`client_credentials`], [`extension`] |
//! | [`Pending`](crate::model::GrantState::Pending) | the user | [`session`], [`consent`] |
//! | [`CodeIssued`](crate::model::GrantState::CodeIssued) | the client | [`code`] |
//! | [`Active`](crate::model::GrantState::Active) | the client, a resource server | [`refresh`], [`introspect`], [`revoke`] |
//! | [`Revoked`](crate::model::GrantState::Revoked) | nobody | |

pub mod authorize;
pub mod bearer;
pub mod client_auth;
pub mod client_credentials;
pub mod code;
pub mod consent;
mod entropy;
mod event;
pub mod extension;
pub mod introspect;
pub mod metadata;
pub mod rate_limit;
pub mod refresh;
mod refusal;
pub mod register;
pub mod replay;
pub mod revoke;
pub mod session;
pub mod token;

pub use self::entropy::Entropy;
pub use self::event::Event;
pub use self::refusal::Refusal;
use crate::model::{Issuer, Policy, Timestamp};
use crate::storage::Record;

/// What a step decides.
///
/// The outcome stands beside the write and does not replace it: replaying a used code is refused
/// *and* revokes what the code had issued.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision<T, E = Refusal> {
    /// The one record to replace or create. The answer is given only once this is durable.
    pub write: Option<Record>,
    /// What to answer.
    pub outcome: Result<T, E>,
    /// What to tell the audit log, once the write is durable.
    pub events: Vec<Event>,
}

impl<T, E> Decision<T, E> {
    /// Answer, change nothing.
    pub(crate) const fn answer(reply: T) -> Self {
        Self { write: None, outcome: Ok(reply), events: Vec::new() }
    }

    /// Refuse, change nothing.
    pub(crate) const fn refuse(refusal: E) -> Self {
        Self { write: None, outcome: Err(refusal), events: Vec::new() }
    }

    /// Change a record and answer.
    pub(crate) fn write(record: Record, event: Event, reply: T) -> Self {
        Self { write: Some(record), outcome: Ok(reply), events: vec![event] }
    }

    /// Change a record and refuse.
    pub(crate) fn write_and_refuse(record: Record, event: Event, refusal: E) -> Self {
        Self { write: Some(record), outcome: Err(refusal), events: vec![event] }
    }
}

/// What every decision may look at besides its request and its facts.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// This server.
    pub issuer: &'a Issuer,
    /// What it allows.
    pub policy: &'a Policy,
    /// The time of the decision.
    pub now: Timestamp,
}
