//! What a check may end in, and the evidence for it.

use std::time::Duration;

use serde::Serialize;

use super::catalogue::Requirement;
use super::wire::WireError;

/// Why a check ended before it passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The server does not do what is required.
    Fail(String),
    /// The server does not have, by its own account, what the requirement is about.
    NotApplicable(String),
    /// It could not be found out.
    Inconclusive(String),
}

pub(crate) type Outcome<T = ()> = Result<T, Stop>;

impl Stop {
    /// Where the preparation of one check is the subject of another.
    #[must_use]
    pub(crate) fn or_fail(self) -> Self {
        match self {
            Self::Inconclusive(reason) => Self::Fail(reason),
            other => other,
        }
    }
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Self::Inconclusive(error.to_string())
    }
}

/// Ends the check with a failure unless the condition holds.
macro_rules! require {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err($crate::runner::verdict::Stop::Fail(format!($($reason)+)));
        }
    };
}
pub(crate) use require;

/// What a check ended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does not hold.
    Fail,
    /// It could not be found out.
    Inconclusive,
    /// It does not hold, and somebody said why that is accepted.
    Waived,
    /// By its own account the server does not have what this is about.
    NotApplicable,
    /// It holds.
    Pass,
}

impl Verdict {
    /// All, the worst first.
    pub const ALL: [Self; 5] =
        [Self::Fail, Self::Inconclusive, Self::Waived, Self::NotApplicable, Self::Pass];

    /// The name in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::Waived => "waived",
            Self::NotApplicable => "not applicable",
            Self::Pass => "pass",
        }
    }
}

/// How much a requirement weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// MUST, MUST NOT, REQUIRED, SHALL: a failure fails the run.
    Must,
    /// SHOULD, SHOULD NOT, RECOMMENDED, and hardening that no specification words: a failure is a
    /// warning.
    Should,
    /// MAY, OPTIONAL: a failure is a remark.
    May,
}

/// One check, done.
#[derive(Clone, Debug, Serialize)]
pub struct CheckResult {
    /// What is required.
    #[serde(flatten)]
    pub requirement: Requirement,
    /// The part of the server.
    pub subject: &'static str,
    /// What was sent.
    pub sends: &'static str,
    /// What was expected.
    pub expects: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// Why, unless it passed.
    pub reason: Option<String>,
    /// Why a failure is accepted, if it is.
    pub waiver: Option<String>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// What was sent and what came back, with secrets replaced; only of what failed or could not be
    /// found out.
    pub evidence: Vec<Exchange>,
    /// How many earlier exchanges are left out.
    pub omitted: usize,
}

impl CheckResult {
    /// Whether the run fails for this.
    pub fn is_fatal(&self, strict: bool) -> bool {
        self.requirement.weight == Weight::Must
            && (self.verdict == Verdict::Fail || (strict && self.verdict == Verdict::Inconclusive))
    }

    pub(crate) fn took(&self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }
}

/// One request and its answer, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// Method, address, headers and body.
    pub request: String,
    /// Status, headers and body.
    pub response: String,
}
