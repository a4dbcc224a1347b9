//! What happens in a world, counted.

/// Something worth seeing: a world in which it never happens tests less than it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    TokensIssued,
    Conflict,
    CodeReplayNoticed,
    ReuseNoticed,
    SameAnswerAgain,
    ThiefRefused,
    ThiefServed,
    TokenAccepted,
    TokenRefused,
    Crash,
    AnswerLost,
    CommitRepeated,
    Swept,
    PageShown,
    CodeIssued,
    ConsentRemembered,
    Withdrawn,
    Revoked,
}

impl Sight {
    pub(crate) const ALL: [Self; 18] = [
        Self::TokensIssued,
        Self::Conflict,
        Self::CodeReplayNoticed,
        Self::ReuseNoticed,
        Self::SameAnswerAgain,
        Self::ThiefRefused,
        Self::ThiefServed,
        Self::TokenAccepted,
        Self::TokenRefused,
        Self::Crash,
        Self::AnswerLost,
        Self::CommitRepeated,
        Self::Swept,
        Self::PageShown,
        Self::CodeIssued,
        Self::ConsentRemembered,
        Self::Withdrawn,
        Self::Revoked,
    ];

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::TokensIssued => "tokens answered",
            Self::Conflict => "commits that lost a race",
            Self::CodeReplayNoticed => "replayed codes noticed",
            Self::ReuseNoticed => "reused refresh tokens noticed",
            Self::SameAnswerAgain => "retries that got the same answer",
            Self::ThiefRefused => "refusals to the thief",
            Self::ThiefServed => "tokens for a thief with all proof",
            Self::TokenAccepted => "access tokens accepted",
            Self::TokenRefused => "access tokens refused",
            Self::Crash => "crashes with a request in flight",
            Self::AnswerLost => "answers lost on the way",
            Self::CommitRepeated => "commits without an answer from the store",
            Self::Swept => "records swept",
            Self::PageShown => "consent pages shown",
            Self::CodeIssued => "codes handed out",
            Self::ConsentRemembered => "codes on a remembered consent",
            Self::Withdrawn => "withdrawals answered",
            Self::Revoked => "revocations answered",
        }
    }
}
