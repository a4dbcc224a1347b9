//! Who there is in the world, what they can ask, and what time it can be.

use std::time::Duration;

use grantor::model::{ClientId, Policy, RefreshPolicy, ScopeDefinition, ScopeToken, Timestamp};

use crate::tables::Id;

/// RFC 7636 appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const CALLBACK: &str = "https://client.example/cb";
/// What clients ask for, and the part of it that Alice allows.
pub(crate) const ASKED: &str = "read write";
pub(crate) const ALLOWED: &str = "read";

/// A registered client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum App {
    /// Honest; has a secret.
    Calendar,
    /// Honest; a program on Alice's device, so it has none.
    Phone,
    /// The thief's own; has a secret.
    Lantern,
}

impl App {
    pub(crate) const ALL: [Self; 3] = [Self::Calendar, Self::Phone, Self::Lantern];
    /// Those that Alice uses.
    pub(crate) const HONEST: [Self; 2] = [Self::Calendar, Self::Phone];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Calendar => "Calendar",
            Self::Phone => "Phone",
            Self::Lantern => "Lantern",
        }
    }

    pub(crate) fn id(self) -> ClientId {
        ClientId::parse(self.name()).expect("a client id")
    }

    pub(crate) const fn who(self) -> Who {
        match self {
            Self::Calendar => Who::Calendar,
            Self::Phone => Who::Phone,
            Self::Lantern => Who::Mallory,
        }
    }
}

/// Somebody who sends requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Who {
    Calendar,
    Phone,
    /// The thief.
    Mallory,
    /// The user, with her browser.
    Alice,
    /// A resource server that is shown access tokens.
    Archive,
    /// Whoever runs the server.
    Operator,
    /// What happened before the story begins.
    Before,
}

impl Who {
    pub(crate) const COUNT: usize = 7;

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Calendar => "Calendar",
            Self::Phone => "Phone",
            Self::Mallory => "Mallory",
            Self::Alice => "Alice",
            Self::Archive => "the archive",
            Self::Operator => "the operator",
            Self::Before => "somebody",
        }
    }
}

/// One request: the nth of somebody. Its random numbers follow from this, so that they are the same
/// however the requests of different people interleave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId {
    pub(crate) who: Who,
    pub(crate) nth: u8,
}

impl TaskId {
    pub(crate) const fn seed(self) -> [u8; 2] {
        [self.who as u8 + 1, self.nth]
    }
}

/// As which client somebody calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Caller {
    /// With all that this client can show: its secret, if it has one.
    Itself(App),
    /// With the client's name alone.
    NameOnly(App),
}

/// What somebody can ask the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ask {
    Register(App),
    /// Redeem a code, with or without the verifier.
    Redeem {
        by: Caller,
        code: Id,
        verifier: bool,
    },
    Refresh {
        by: Caller,
        token: Id,
    },
    /// RFC 7009.
    Revoke {
        by: Caller,
        token: Id,
    },
    /// Whether an access token is good.
    Use {
        token: Id,
    },
    /// A browser arrives at the authorization endpoint. Whether for all scopes or for what Alice
    /// allows.
    Arrive {
        app: App,
        all: bool,
    },
    /// The consent page is sent.
    Decide {
        interaction: Id,
        ticket: Id,
        allow: bool,
    },
    Withdraw {
        app: App,
    },
    /// Everything of Alice is revoked.
    EndUser,
    /// Everything that was issued to a client is revoked.
    EndClient {
        app: App,
    },
}

impl Ask {
    /// The secret that is presented.
    pub(crate) const fn presents(&self) -> Option<Id> {
        match *self {
            Self::Redeem { code: text, .. }
            | Self::Refresh { token: text, .. }
            | Self::Revoke { token: text, .. }
            | Self::Use { token: text }
            | Self::Decide { interaction: text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The times at which anything can happen, in seconds. Codes and the retry window last a minute,
/// access tokens an hour, a refresh token that is not used a fortnight; what is over is swept an hour
/// or a day later. Between two of these times nothing changes for anybody.
const TIMES: [u64; 5] = [0, 45, 90, 2 * 3600 + 90, 16 * 86_400];

/// The last time there is.
pub(crate) const LAST_RUNG: u8 = 4;

/// What time it is on a rung of the ladder.
pub(crate) fn time(rung: u8) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000).plus(Duration::from_secs(TIMES[usize::from(rung)]))
}

/// What a rung of the ladder is called.
pub(crate) const fn time_words(rung: u8) -> &'static str {
    match rung {
        0 => "at the beginning",
        1 => "45 seconds after the beginning",
        2 => "90 seconds after the beginning",
        3 => "two hours after the beginning",
        _ => "16 days after the beginning",
    }
}

/// The default policy, with two scopes and two guesses.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy { code_guesses: 2, ..Policy::default() };
    for name in ASKED.split(' ') {
        let token = ScopeToken::parse(name).expect("a scope");
        policy.scopes.insert(token, ScopeDefinition::new(name));
    }
    policy
}

/// How long a repeated refresh gets the same answer.
pub(crate) fn retry_window() -> Duration {
    RefreshPolicy::default().retry_window
}
