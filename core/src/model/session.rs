//! A browser session at this server.

use serde::{Deserialize, Serialize};

use super::{RecordId, SecretHash, Subject, Timestamp};

/// A user who has signed in with one browser. Opened by a handle in a cookie, made anew at every
/// sign-in (ATTACKS G04), and dead once ended.
///
/// In a record its fields stand in their order and without their names: whatever changes here changes the
/// format of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its record.
    pub id: RecordId,
    /// The hash of the secret in the cookie.
    pub secret: SecretHash,
    /// Who signed in.
    pub subject: Subject,
    /// When.
    pub auth_time: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether it was ended early: by signing out, by signing in again, by the operator.
    pub ended: bool,
}
