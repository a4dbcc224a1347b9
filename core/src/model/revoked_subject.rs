//! The memory that everything of a user was once revoked.

use serde::{Deserialize, Serialize};

use super::{Subject, Timestamp};

/// Counts the times that everything of a user was revoked at once: the password changed, the account
/// was closed. There is a record only for a user to whom that has happened.
///
/// A session and a code are looked at once more after they were written and before anybody gets them:
/// if the count has moved, they were under way when everything was revoked, and end too.
///
/// In a record its fields stand in their order and without their names: whatever changes here changes the
/// format of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedSubject {
    /// Whose.
    pub subject: Subject,
    /// How often so far.
    pub epoch: u32,
    /// When last.
    pub at: Timestamp,
}
