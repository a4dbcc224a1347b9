//! The bounded worlds that are explored: who is there, what each may do, how often.

use grantor::storage::Kind;

use crate::cast::App;
use crate::mutation::Mutation;
use crate::sights::Sight;

/// A bounded world. Everything that is not said happens never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) start: Start,
    /// The honest clients that take part.
    pub(crate) apps: &'static [App],
    /// How often an honest client, or Alice, sends the same thing before it is answered.
    pub(crate) tries: u8,
    /// How often an honest client renews its tokens.
    pub(crate) refreshes: u8,
    /// How often honest clients revoke a token.
    pub(crate) revocations: u8,
    /// How many secrets the thief copies.
    pub(crate) thefts: u8,
    /// How many requests the thief sends, and what the thief can show.
    pub(crate) crimes: u8,
    pub(crate) arms: &'static [Arms],
    /// Whether the thief also invents refresh tokens.
    pub(crate) guesses: bool,
    /// How often an access token is used.
    pub(crate) uses: u8,
    /// How often Alice's browser is sent to the authorization endpoint.
    pub(crate) arrivals: u8,
    pub(crate) withdrawals: u8,
    pub(crate) user_ends: u8,
    pub(crate) client_ends: u8,
    /// How far time goes.
    pub(crate) last_rung: u8,
    /// How many requests die with their process.
    pub(crate) crashes: u8,
    /// How many answers are lost on their way to the client.
    pub(crate) losses: u8,
    /// How many commits the store does not answer.
    pub(crate) silences: u8,
    /// How many requests are in flight at once.
    pub(crate) in_flight: usize,
    /// What has to be seen, or the scene shows less than it says.
    pub(crate) shows: &'static [Sight],
}

/// How a scene begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The clients are registered.
    Nothing,
    /// Alice has allowed what she allows, and the code of that is forgotten.
    Consent,
    /// Each client holds a code.
    Code,
    /// Each client holds tokens.
    Tokens,
}

/// What the thief can show beside the stolen secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arms {
    /// A client of the thief's own.
    Stranger,
    /// The name of the client.
    NameOnly(App),
    /// All that the client can show, and no verifier.
    Secret(App),
    /// All that the client can show, and the verifier.
    Everything(App),
}

const CALENDAR: &[App] = &[App::Calendar];
const PHONE: &[App] = &[App::Phone];
const BOTH: &[App] = &[App::Calendar, App::Phone];

const EMPTY: Scene = Scene {
    name: "",
    start: Start::Nothing,
    apps: CALENDAR,
    tries: 1,
    refreshes: 0,
    revocations: 0,
    thefts: 0,
    crimes: 0,
    arms: &[],
    guesses: false,
    uses: 0,
    arrivals: 0,
    withdrawals: 0,
    user_ends: 0,
    client_ends: 0,
    last_rung: 0,
    crashes: 0,
    losses: 0,
    silences: 0,
    in_flight: 3,
    shows: &[],
};

impl Scene {
    /// Whether anybody in this scene may change records of this kind. What nobody changes can be
    /// read at any time with the same result, so it is read together with something else.
    pub(crate) const fn changes(&self, kind: Kind) -> bool {
        match kind {
            Kind::Grant => true,
            Kind::Client => self.client_ends > 0,
            Kind::Consent => self.arrivals > 0 || self.withdrawals > 0,
            Kind::RevokedSubject => self.user_ends > 0,
            Kind::Session | Kind::User | Kind::Throttle | Kind::Replay => false,
        }
    }
}

/// A code, its client, and a thief who has copied it and cannot prove anything.
const CODE_AND_STRANGER: Scene = Scene {
    name: "a code is stolen without proof",
    start: Start::Code,
    tries: 2,
    thefts: 1,
    crimes: 2,
    arms: &[Arms::Stranger, Arms::NameOnly(App::Calendar), Arms::Secret(App::Calendar)],
    last_rung: 1,
    shows: &[Sight::TokensIssued, Sight::Conflict, Sight::CodeReplayNoticed, Sight::ThiefRefused],
    ..EMPTY
};

/// A code and a thief who has everything.
const CODE_AND_TWIN: Scene = Scene {
    name: "a code is stolen with all proof",
    start: Start::Code,
    tries: 1,
    thefts: 1,
    crimes: 2,
    arms: &[Arms::Everything(App::Calendar)],
    uses: 1,
    last_rung: 2,
    crashes: 1,
    shows: &[
        Sight::TokensIssued,
        Sight::Conflict,
        Sight::CodeReplayNoticed,
        Sight::ThiefServed,
        Sight::TokenAccepted,
        Sight::TokenRefused,
        Sight::Crash,
    ],
    ..EMPTY
};

/// A public client renews its tokens, repeats itself, and is robbed.
const REFRESH_AND_THIEF: Scene = Scene {
    name: "a refresh token is stolen",
    start: Start::Tokens,
    apps: PHONE,
    tries: 2,
    refreshes: 1,
    thefts: 1,
    crimes: 1,
    arms: &[Arms::Secret(App::Phone), Arms::Stranger],
    guesses: true,
    uses: 1,
    last_rung: 2,
    in_flight: 2,
    shows: &[
        Sight::TokensIssued,
        Sight::Conflict,
        Sight::ReuseNoticed,
        Sight::SameAnswerAgain,
        Sight::ThiefRefused,
        Sight::ThiefServed,
        Sight::TokenAccepted,
    ],
    ..EMPTY
};

/// A client redeems and renews over a bad line, and nobody robs it.
const BAD_LINE: Scene = Scene {
    name: "a bad line",
    start: Start::Tokens,
    tries: 2,
    refreshes: 2,
    last_rung: 2,
    losses: 1,
    silences: 1,
    in_flight: 2,
    shows: &[
        Sight::TokensIssued,
        Sight::Conflict,
        Sight::ReuseNoticed,
        Sight::SameAnswerAgain,
        Sight::AnswerLost,
        Sight::CommitRepeated,
    ],
    ..EMPTY
};

/// Everything runs out and is swept, while a slow server still holds what it read.
const SWEEP: Scene = Scene {
    name: "the sweep",
    start: Start::Code,
    tries: 2,
    refreshes: 1,
    last_rung: 4,
    in_flight: 2,
    shows: &[
        Sight::TokensIssued,
        Sight::Conflict,
        Sight::CodeReplayNoticed,
        Sight::ReuseNoticed,
        Sight::Swept,
    ],
    ..EMPTY
};

/// Alice allows, on a page and as she did before, and withdraws.
const CONSENT: Scene = Scene {
    name: "a consent is withdrawn",
    start: Start::Consent,
    arrivals: 1,
    withdrawals: 1,
    crashes: 1,
    in_flight: 2,
    shows: &[
        Sight::TokensIssued,
        Sight::Conflict,
        Sight::PageShown,
        Sight::CodeIssued,
        Sight::ConsentRemembered,
        Sight::Withdrawn,
        Sight::Crash,
    ],
    ..EMPTY
};

/// Everything of a user, or of a client, is revoked.
const ENDS: Scene = Scene {
    name: "a user or a client is ended",
    start: Start::Code,
    refreshes: 1,
    arrivals: 1,
    uses: 1,
    user_ends: 1,
    client_ends: 1,
    in_flight: 2,
    shows: &[
        Sight::TokensIssued,
        Sight::Conflict,
        Sight::TokenAccepted,
        Sight::TokenRefused,
        Sight::ConsentRemembered,
        Sight::Revoked,
    ],
    ..EMPTY
};

/// Two clients of one user, and a thief who knows the name of one.
const TWO_CLIENTS: Scene = Scene {
    name: "two clients",
    start: Start::Code,
    apps: BOTH,
    refreshes: 1,
    thefts: 1,
    crimes: 1,
    arms: &[Arms::Secret(App::Phone)],
    withdrawals: 1,
    in_flight: 2,
    shows: &[Sight::TokensIssued, Sight::Conflict, Sight::ThiefRefused, Sight::Withdrawn],
    ..EMPTY
};

/// The scenes at the size that CI explores.
pub(crate) const SMALL: [Scene; 8] = [
    CODE_AND_STRANGER,
    CODE_AND_TWIN,
    REFRESH_AND_THIEF,
    BAD_LINE,
    SWEEP,
    CONSENT,
    ENDS,
    TWO_CLIENTS,
];

/// The same scenes with wider bounds.
pub(crate) const LARGE: [Scene; 8] = [
    Scene { last_rung: 2, uses: 1, crashes: 1, losses: 1, ..CODE_AND_STRANGER },
    Scene { tries: 2, refreshes: 1, last_rung: 0, ..CODE_AND_TWIN },
    Scene { crimes: 2, in_flight: 3, ..REFRESH_AND_THIEF },
    Scene { revocations: 1, crashes: 1, ..BAD_LINE },
    Scene { refreshes: 2, crashes: 1, ..SWEEP },
    Scene { tries: 2, ..CONSENT },
    Scene { withdrawals: 1, crashes: 1, ..ENDS },
    Scene { crimes: 2, uses: 1, crashes: 1, ..TWO_CLIENTS },
];

/// The smallest scene in which a seeded bug shows.
pub(crate) const fn scene_of(mutation: Mutation) -> Scene {
    let code = Scene { start: Start::Code, tries: 2, in_flight: 2, ..EMPTY };
    let tokens = Scene { start: Start::Tokens, in_flight: 2, ..EMPTY };
    let fresh = Scene { start: Start::Nothing, arrivals: 1, in_flight: 2, ..EMPTY };
    let scene = match mutation {
        Mutation::CommitsWithoutCompare
        | Mutation::CallsAConflictSuccess
        | Mutation::ConsumesTheCodeInASecondStep
        | Mutation::RefusesWithoutRevoking
        | Mutation::ForgetsWhatTheCodeWasBoundTo
        | Mutation::DrawsTheSameRandomness => code,
        Mutation::AcknowledgesBeforeItIsDurable => Scene { tries: 3, crashes: 1, ..code },
        Mutation::ReadsALaggingReplica => Scene { revocations: 1, uses: 1, ..tokens },
        Mutation::ForgetsTheFamily => Scene {
            refreshes: 2,
            thefts: 1,
            crimes: 1,
            arms: &[Arms::Secret(App::Calendar)],
            ..tokens
        },
        Mutation::NeverApplies => Scene { tries: 1, ..code },
        Mutation::ComparesOnlyCodes | Mutation::ForgetsTheWindow => {
            Scene { tries: 2, refreshes: 1, ..tokens }
        }
        Mutation::RevokesWithoutProof => {
            Scene { thefts: 1, crimes: 1, arms: &[Arms::Secret(App::Calendar)], ..code }
        }
        Mutation::ForgetsTheChallenge => {
            Scene { thefts: 1, crimes: 1, arms: &[Arms::Secret(App::Calendar)], ..fresh }
        }
        Mutation::ReusesCommitIds => Scene { refreshes: 1, ..code },
        Mutation::ForgetsAnIndex => Scene { withdrawals: 1, ..fresh },
        Mutation::DoesNotLookAtTheConsentAgain => {
            Scene { start: Start::Consent, withdrawals: 1, ..fresh }
        }
        Mutation::IssuesWhatWasAsked => fresh,
        Mutation::WritesWhatIsGone => Scene { last_rung: 4, ..code },
        Mutation::SweepsTooEarly => tokens,
    };
    Scene { name: "a seeded bug", ..scene }
}
