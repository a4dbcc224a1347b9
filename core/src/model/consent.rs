//! What a user allowed a client.

use serde::{Deserialize, Serialize};

use super::{ClientId, ScopeSet, Subject, Timestamp};

/// The memory of one user's decision about one client.
///
/// In a record its fields stand in their order and without their names: whatever changes here changes the
/// format of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Who allowed.
    pub subject: Subject,
    /// Whom.
    pub client_id: ClientId,
    /// All that is allowed now; empty once withdrawn.
    pub scope: ScopeSet,
    /// Where it stands.
    pub state: ConsentState,
    /// Counts the withdrawals. A grant remembers the number under which it was allowed; a grant of
    /// an earlier number is dead, one of a later consent is not touched by an earlier withdrawal.
    pub epoch: u32,
    /// When the user first allowed, of what is allowed now.
    pub granted_at: Timestamp,
    /// When the user last allowed or withdrew.
    pub updated_at: Timestamp,
    /// How the client called itself when it was allowed, for the page of connected apps.
    pub client_name: String,
}

/// Where a consent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentState {
    /// It stands.
    Allowed,
    /// The user withdrew it; the grants it stood for are being revoked. A crash leaves it here, and
    /// it is taken up again.
    Withdrawing,
    /// Withdrawn, and everything it stood for is revoked.
    Withdrawn,
}

impl Consent {
    /// Whether the user allows `scope` now.
    pub fn covers(&self, scope: &ScopeSet) -> bool {
        self.state == ConsentState::Allowed && scope.is_subset(&self.scope)
    }
}
