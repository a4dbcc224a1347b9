//! A browser session at this server.

use serde::{Deserialize, Serialize};

use super::{RecordId, SecretHash, Subject, Timestamp};

/// A user who has signed in with one browser. Opened by a handle in a cookie, made anew at every
/// sign-in (ATTACKS G04), and dead once ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its record.
    pub id: RecordId,
    /// The hash of the secret in the cookie.
    #[serde(rename = "h")]
    pub secret: SecretHash,
    /// Who signed in.
    #[serde(rename = "s")]
    pub subject: Subject,
    /// When.
    #[serde(rename = "t")]
    pub auth_time: Timestamp,
    /// When it ends.
    #[serde(rename = "x")]
    pub expires_at: Timestamp,
    /// Whether it was ended early: by signing out, by signing in again, by the operator.
    #[serde(rename = "e", default)]
    pub ended: bool,
}
