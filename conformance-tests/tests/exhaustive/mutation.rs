//! Seeded bugs: what the world does wrongly on purpose, so that the rules can be seen to bite.
//!
//! The rules of the server cannot be switched off from outside, and must not be. So each bug sits
//! where the server meets its store, and has the effect of the mistake that it is named after: a
//! record is read, written or acknowledged as a server or a store with that mistake would do it.

use grantor::model::{CodeChallenge, Grant, GrantState, RevocationReason, Timestamp};
use grantor::storage::{Commit, CommitId, CommitOutcome, Record};

use crate::cast;
use crate::rules::Rule;
use crate::store::{Store, Written};
use crate::tables::Tables;

/// A seeded bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    CommitsWithoutCompare,
    ComparesOnlyCodes,
    NeverApplies,
    CallsAConflictSuccess,
    ReadsALaggingReplica,
    AcknowledgesBeforeItIsDurable,
    ConsumesTheCodeInASecondStep,
    RefusesWithoutRevoking,
    ForgetsWhatTheCodeWasBoundTo,
    ForgetsTheFamily,
    ForgetsTheWindow,
    RevokesWithoutProof,
    ForgetsTheChallenge,
    DrawsTheSameRandomness,
    ReusesCommitIds,
    ForgetsAnIndex,
    DoesNotLookAtTheConsentAgain,
    IssuesWhatWasAsked,
    WritesWhatIsGone,
    SweepsTooEarly,
}

impl Mutation {
    pub(crate) const ALL: [Self; 20] = [
        Self::CommitsWithoutCompare,
        Self::ComparesOnlyCodes,
        Self::NeverApplies,
        Self::CallsAConflictSuccess,
        Self::ReadsALaggingReplica,
        Self::AcknowledgesBeforeItIsDurable,
        Self::ConsumesTheCodeInASecondStep,
        Self::RefusesWithoutRevoking,
        Self::ForgetsWhatTheCodeWasBoundTo,
        Self::ForgetsTheFamily,
        Self::ForgetsTheWindow,
        Self::RevokesWithoutProof,
        Self::ForgetsTheChallenge,
        Self::DrawsTheSameRandomness,
        Self::ReusesCommitIds,
        Self::ForgetsAnIndex,
        Self::DoesNotLookAtTheConsentAgain,
        Self::IssuesWhatWasAsked,
        Self::WritesWhatIsGone,
        Self::SweepsTooEarly,
    ];

    /// What is wrong.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::CommitsWithoutCompare => "the store replaces a record without comparing",
            Self::ComparesOnlyCodes => "the store compares only where a code is redeemed",
            Self::NeverApplies => "the store finds a conflict in every commit",
            Self::CallsAConflictSuccess => "the store calls a conflict a success",
            Self::ReadsALaggingReplica => "a load may be answered by a replica that lags",
            Self::AcknowledgesBeforeItIsDurable => {
                "the store acknowledges a commit before it is durable"
            }
            Self::ConsumesTheCodeInASecondStep => {
                "tokens are answered first, and the code is consumed in a second step"
            }
            Self::RefusesWithoutRevoking => "the write of a refusal is dropped",
            Self::ForgetsWhatTheCodeWasBoundTo => {
                "the record of an authorization forgets the code once it is redeemed"
            }
            Self::ForgetsTheFamily => "a retired refresh token is not recognised",
            Self::ForgetsTheWindow => "a retry is never inside the window",
            Self::RevokesWithoutProof => "a replayed code revokes whoever shows it",
            Self::ForgetsTheChallenge => "a code is issued without its challenge",
            Self::DrawsTheSameRandomness => "every request draws the same random numbers",
            Self::ReusesCommitIds => "every commit has the same id",
            Self::ForgetsAnIndex => "the index entry of an authorization is not written",
            Self::DoesNotLookAtTheConsentAgain => {
                "the consent is not looked at again before a code is handed out"
            }
            Self::IssuesWhatWasAsked => "a code is issued for what was asked, not what was allowed",
            Self::WritesWhatIsGone => "a record that is gone is created again by a late update",
            Self::SweepsTooEarly => "the sweep does not look at the clock",
        }
    }

    /// The rule that it must be seen to break. It may break others as well.
    pub(crate) const fn breaks(self) -> Rule {
        match self {
            Self::CommitsWithoutCompare
            | Self::ConsumesTheCodeInASecondStep
            | Self::DrawsTheSameRandomness
            | Self::AcknowledgesBeforeItIsDurable => Rule::OneCodeOneTokenSet,
            Self::ComparesOnlyCodes => Rule::OneTokenOneSuccessor,
            Self::NeverApplies => Rule::EverybodyIsAnswered,
            Self::CallsAConflictSuccess | Self::ReusesCommitIds | Self::SweepsTooEarly => {
                Rule::AnsweredIsStored
            }
            Self::ReadsALaggingReplica => Rule::ToldIsDead,
            Self::RefusesWithoutRevoking
            | Self::ForgetsWhatTheCodeWasBoundTo
            | Self::ForgetsTheFamily => Rule::ReuseIsNoticed,
            Self::ForgetsTheWindow => Rule::RetryIsNotPunished,
            Self::RevokesWithoutProof => Rule::NoEndWithoutCause,
            Self::ForgetsTheChallenge => Rule::ThiefGetsNothing,
            Self::ForgetsAnIndex | Self::DoesNotLookAtTheConsentAgain => Rule::WithdrawnIsDead,
            Self::IssuesWhatWasAsked => Rule::WithinConsent,
            Self::WritesWhatIsGone => Rule::EndedStaysEnded,
        }
    }

    /// Whether the row that was there before is still to be had.
    pub(crate) const fn keeps_before(self) -> bool {
        matches!(self, Self::ReadsALaggingReplica | Self::DoesNotLookAtTheConsentAgain)
    }

    /// A commit, as a store or a server with this bug would do it.
    pub(crate) fn commit(
        self,
        store: &mut Store,
        tables: &Tables,
        commit: &Commit,
    ) -> (CommitOutcome, Option<Written>) {
        let mut commit = commit.clone();
        self.rewrite(store, tables, &mut commit);
        match self {
            Self::CommitsWithoutCompare => {
                (CommitOutcome::Applied, Some(store.write(tables, &commit)))
            }
            Self::ComparesOnlyCodes if !is_redemption(store, tables, &commit) => {
                (CommitOutcome::Applied, Some(store.write(tables, &commit)))
            }
            Self::NeverApplies => (CommitOutcome::Conflict, None),
            Self::CallsAConflictSuccess => {
                (CommitOutcome::Applied, store.commit(tables, &commit).1)
            }
            Self::ConsumesTheCodeInASecondStep if is_redemption(store, tables, &commit) => {
                store.promise(tables, &commit);
                (CommitOutcome::Applied, None)
            }
            Self::RefusesWithoutRevoking if is_containment(&commit) => {
                (CommitOutcome::Applied, None)
            }
            Self::WritesWhatIsGone if store.row(tables.keys.id(commit.key.clone())).is_none() => {
                (CommitOutcome::Applied, Some(store.write(tables, &commit)))
            }
            _ => {
                let done = store.commit(tables, &commit);
                if let Some(written) = done.1 {
                    self.after_write(store, written);
                }
                done
            }
        }
    }

    fn after_write(self, store: &mut Store, written: Written) {
        match self {
            Self::AcknowledgesBeforeItIsDurable => store.mark_undurable(written),
            Self::ForgetsAnIndex => store.unlist(written.key),
            _ if self.keeps_before() => store.keep_before(written),
            _ => {}
        }
    }

    /// What a server with this bug would have written instead.
    fn rewrite(self, store: &Store, tables: &Tables, commit: &mut Commit) {
        if self == Self::ReusesCommitIds {
            commit.id = CommitId::from_bytes([7; 16]);
            return;
        }
        let Ok(Record::Grant(mut grant)) = Record::decode(&commit.key, &commit.record.value) else {
            return;
        };
        match (self, &mut grant.state) {
            (Self::ForgetsWhatTheCodeWasBoundTo, GrantState::Active(active)) => {
                active.proof = None;
            }
            (Self::RevokesWithoutProof, GrantState::Active(active)) => {
                if let Some(proof) = &mut active.proof {
                    proof.challenge = None;
                    proof.redirect_uri_sent = false;
                }
            }
            (Self::ForgetsTheFamily, GrantState::Active(active)) => {
                if let Some(refresh) = &mut active.refresh {
                    refresh.family.rotate_left(1);
                    refresh.family[0] ^= 1;
                }
            }
            (Self::ForgetsTheWindow, GrantState::Active(active)) => {
                let previous = active.refresh.as_mut().and_then(|token| token.previous.as_mut());
                if let Some(previous) = previous {
                    previous.rotated_at = Timestamp::EPOCH;
                }
            }
            (Self::ForgetsTheChallenge, GrantState::CodeIssued(code)) => {
                code.proof.challenge = None::<CodeChallenge>;
            }
            (Self::IssuesWhatWasAsked, GrantState::CodeIssued(code)) => {
                code.scope = pending_scope(store, tables, commit).unwrap_or(code.scope.clone());
            }
            _ => return,
        }
        let rewritten = Record::Grant(grant).to_new_record(None).expect("a record");
        commit.record.value = rewritten.value;
    }
}

fn stored_grant(store: &Store, tables: &Tables, commit: &Commit) -> Option<Grant> {
    let key = tables.keys.id(commit.key.clone());
    let record = tables.record(key, store.row(key)?);
    crate::tables::grant(&record).cloned()
}

/// The scope that was asked for.
fn pending_scope(
    store: &Store,
    tables: &Tables,
    commit: &Commit,
) -> Option<grantor::model::ScopeSet> {
    match stored_grant(store, tables, commit)?.state {
        GrantState::Pending(pending) => Some(pending.scope),
        _ => Some(cast::ASKED.parse().expect("a scope")),
    }
}

fn is_redemption(store: &Store, tables: &Tables, commit: &Commit) -> bool {
    let state = stored_grant(store, tables, commit).map(|grant| grant.state);
    matches!(state, Some(GrantState::CodeIssued(_)))
}

/// Whether a commit ends what a replay or a reuse has put at risk.
fn is_containment(commit: &Commit) -> bool {
    match Record::decode(&commit.key, &commit.record.value) {
        Ok(Record::Grant(Grant { state: GrantState::Revoked(end), .. })) => matches!(
            end.reason,
            RevocationReason::CodeReplayed | RevocationReason::RefreshTokenReused
        ),
        _ => false,
    }
}
