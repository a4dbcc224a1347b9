//! What the walks have reached: a campaign that reaches nothing shows nothing.

use std::collections::BTreeMap;
use std::fmt;

use super::check::Asked;
use super::gate::{Ended, Trouble};
use super::invariant::Invariant;
use super::request::{Answer, Request};
use super::walk::First;

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are named after what they count")]
pub struct Coverage {
    pub walks: u64,
    pub turns: u64,
    pub turns_with_several_at_once: u64,
    pub requests: u64,
    pub storage_calls: u64,
    pub crashes: u64,
    pub faults: u64,
    pub most_worlds_at_once: usize,
    /// Walks that ended early, since too much had become possible to go on.
    pub cut_short: u64,
    /// Requests with their answers, troubles, and what else happened.
    pub reached: BTreeMap<String, u64>,
    /// How often each invariant was checked against something that could have broken it.
    pub upheld: BTreeMap<Invariant, u64>,
}

impl Coverage {
    pub(crate) fn upheld(&mut self, invariants: impl IntoIterator<Item = Invariant>) {
        for invariant in invariants {
            *self.upheld.entry(invariant).or_default() += 1;
        }
    }

    pub(crate) fn worlds(&mut self, worlds: usize) {
        self.most_worlds_at_once = self.most_worlds_at_once.max(worlds);
    }

    fn count(&mut self, what: String) {
        *self.reached.entry(what).or_default() += 1;
    }

    pub(crate) fn first(&mut self, first: First) {
        let what = match first {
            First::Nothing => return,
            First::Pass(_) => "time passes",
            First::Disable(_) => "an account is disabled",
            First::Enable(_) => "an account is enabled",
            First::LookAround => "everything is looked at",
            First::Restart => "the server is restarted",
        };
        self.count(what.to_owned());
    }

    pub(crate) fn turn(
        &mut self,
        asked: &[Asked],
        trouble: Trouble,
        ended: Ended,
        struck: bool,
        calls: usize,
    ) {
        self.turns += 1;
        self.requests += asked.len() as u64;
        self.storage_calls += calls as u64;
        let overlapping = asked.iter().enumerate().any(|(n, one)| {
            asked.iter().take(n).any(|other| one.from < other.until && other.from < one.until)
        });
        self.turns_with_several_at_once += u64::from(overlapping);
        if struck {
            self.count(format!("trouble: {}", trouble.name()));
            self.crashes += u64::from(ended == Ended::Died);
            self.faults += u64::from(ended == Ended::Answered);
        }
        for one in asked {
            self.count(format!("{}: {}", kind(&one.request), outcome(&one.answer)));
        }
    }

    /// Adds what another walk reached.
    pub fn add(&mut self, other: &Self) {
        self.walks += other.walks;
        self.turns += other.turns;
        self.turns_with_several_at_once += other.turns_with_several_at_once;
        self.requests += other.requests;
        self.storage_calls += other.storage_calls;
        self.crashes += other.crashes;
        self.faults += other.faults;
        self.cut_short += other.cut_short;
        self.most_worlds_at_once = self.most_worlds_at_once.max(other.most_worlds_at_once);
        for (what, count) in &other.reached {
            *self.reached.entry(what.clone()).or_default() += count;
        }
        for (invariant, count) in &other.upheld {
            *self.upheld.entry(*invariant).or_default() += count;
        }
    }

    /// What a run in CI has to reach, and this one did not.
    pub fn missing(&self) -> Vec<String> {
        let invariants = Invariant::ALL.iter().filter(|i| !self.upheld.contains_key(i));
        let missing = invariants.map(|invariant| format!("invariant {}", invariant.name()));
        let reached = REACHED.iter().filter(|what| !self.reached.contains_key(**what));
        missing.chain(reached.map(|what| (*what).to_owned())).collect()
    }
}

/// Every request, with every answer that a run in CI has to see.
const REACHED: &[&str] = &[
    "time passes",
    "an account is disabled",
    "an account is enabled",
    "everything is looked at",
    "the server is restarted",
    "trouble: the process dies before a call",
    "trouble: the process dies during a call",
    "trouble: the process dies after a call",
    "trouble: unavailable, nothing written",
    "trouble: unavailable, written all the same",
    "trouble: unavailable, written later",
    "trouble: a commit sent twice",
    "trouble: the user database is away",
    "authorize: asked",
    "authorize: code",
    "authorize: error page",
    "authorize: invalid_request to the client",
    "authorize: invalid_scope to the client",
    "authorize: lost",
    "authorize: not now",
    "bearer: active",
    "bearer: insufficient_scope",
    "bearer: invalid_token",
    "decide: access_denied to the client",
    "decide: code",
    "decide: error page",
    "decide: lost",
    "decide: not now",
    "introspect: active",
    "introspect: inactive",
    "introspect: invalid_client",
    "look: code",
    "look: consent page",
    "look: error page",
    "look: sign-in page",
    "redeem: invalid_client",
    "redeem: invalid_grant",
    "redeem: lost",
    "redeem: not now",
    "redeem: tokens",
    "refresh: invalid_client",
    "refresh: invalid_grant",
    "refresh: invalid_scope",
    "refresh: lost",
    "refresh: not now",
    "refresh: tokens",
    "register: registered",
    "remove: done",
    "revoke: done",
    "revoke: invalid_client",
    "revoke: invalid_grant",
    "revoke: lost",
    "revoke: not now",
    "revoke everything of a client: done",
    "revoke everything of a user: done",
    "revoke everything of a user: lost",
    "rotate: registered",
    "service: invalid_client",
    "service: invalid_scope",
    "service: tokens",
    "sign in: sign-in page",
    "sign in: signed in",
    "sign out: done",
    "sweep: done",
    "withdraw: done",
    "withdraw: lost",
    "withdraw: not now",
];

const fn kind(request: &Request) -> &'static str {
    match request {
        Request::Register { .. } => "register",
        Request::Rotate { .. } => "rotate",
        Request::Remove { .. } => "remove",
        Request::RevokeClient { .. } => "revoke everything of a client",
        Request::RevokeUser { .. } => "revoke everything of a user",
        Request::Withdraw { .. } => "withdraw",
        Request::SignOut { .. } => "sign out",
        Request::Sweep => "sweep",
        Request::Authorize(_) => "authorize",
        Request::Look { .. } => "look",
        Request::SignIn { .. } => "sign in",
        Request::Decide { .. } => "decide",
        Request::Redeem { .. } => "redeem",
        Request::Refresh { .. } => "refresh",
        Request::Service { .. } => "service",
        Request::Revoke { .. } => "revoke",
        Request::Introspect { .. } => "introspect",
        Request::Bearer { .. } => "bearer",
    }
}

fn outcome(answer: &Answer) -> String {
    let text = match answer {
        Answer::Lost => "lost",
        Answer::NotNow => "not now",
        Answer::Done => "done",
        Answer::Refused(error) => error,
        Answer::Registered { .. } => "registered",
        Answer::Tokens { .. } => "tokens",
        Answer::Active(_) => "active",
        Answer::Inactive => "inactive",
        Answer::Asks => "asked",
        Answer::SignInPage => "sign-in page",
        Answer::SignedIn => "signed in",
        Answer::ConsentPage { .. } => "consent page",
        Answer::ErrorPage => "error page",
        Answer::ErrorTo(error) => return format!("{error} to the client"),
        Answer::Code(_) => "code",
        Answer::Odd(_) => "odd",
    };
    text.to_owned()
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} walks, {} turns ({} with several requests at once), {} requests, {} calls to the store",
            self.walks,
            self.turns,
            self.turns_with_several_at_once,
            self.requests,
            self.storage_calls
        )?;
        writeln!(
            f,
            "{} crashes, {} turns with other faults, {} possible worlds at most, {} walks cut short",
            self.crashes, self.faults, self.most_worlds_at_once, self.cut_short
        )?;
        for (what, count) in &self.reached {
            writeln!(f, "{count:>10}  {what}")?;
        }
        for invariant in Invariant::ALL {
            let count = self.upheld.get(invariant).copied().unwrap_or_default();
            writeln!(f, "{count:>10}  {} ({})", invariant.name(), invariant.clause())?;
        }
        Ok(())
    }
}
