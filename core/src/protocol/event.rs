//! What happened, for the audit log.

use serde::Serialize;

use crate::model::{ClientId, RecordId, RevocationReason, ScopeSet, Subject};

/// Something that happened. It is emitted after it is durable; it never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are named after what they hold")]
pub enum Event {
    /// A client was registered.
    ClientRegistered { client_id: ClientId },
    /// The registration of a client was changed.
    ClientUpdated { client_id: ClientId },
    /// A client got a new secret; the old one works for a while.
    ClientSecretRotated { client_id: ClientId },
    /// A client was removed.
    ClientRemoved { client_id: ClientId },
    /// Everything issued to a client was revoked.
    ClientGrantsRevoked { client_id: ClientId },
    /// An authorization request was accepted and waits for its user.
    AuthorizationRequested { client_id: ClientId, grant: RecordId },
    /// A user signed in.
    SignedIn { subject: Subject, session: RecordId },
    /// A session ended.
    SignedOut { subject: Subject, session: RecordId },
    /// A user allowed a client.
    ConsentGiven { subject: Subject, client_id: ClientId, scope: ScopeSet },
    /// A user said no.
    ConsentDenied { subject: Subject, client_id: ClientId },
    /// A user withdrew what was allowed.
    ConsentWithdrawn { subject: Subject, client_id: ClientId },
    /// A code was issued.
    CodeIssued { client_id: ClientId, subject: Subject, grant: RecordId, scope: ScopeSet },
    /// A code was redeemed.
    CodeRedeemed { client_id: ClientId, subject: Subject, grant: RecordId },
    /// A code was tried with a wrong verifier.
    WrongVerifier { client_id: ClientId, grant: RecordId, guesses_left: u8 },
    /// A refresh token was used.
    Refreshed { client_id: ClientId, grant: RecordId, rotated: bool },
    /// A refresh was repeated inside the retry window and got the same answer.
    RefreshRetried { client_id: ClientId, grant: RecordId },
    /// A client got an access token for itself.
    ClientCredentialsIssued { client_id: ClientId, grant: RecordId, scope: ScopeSet },
    /// A client got an access token by a grant type of the host's.
    ExtensionGrantIssued {
        client_id: ClientId,
        grant_type: String,
        subject: Option<Subject>,
        grant: RecordId,
        scope: ScopeSet,
    },
    /// A single access token was revoked.
    AccessTokenRevoked { client_id: ClientId, grant: RecordId },
    /// Everything of a user was revoked.
    SubjectRevoked { subject: Subject },
    /// An authorization ended.
    GrantRevoked { client_id: ClientId, grant: RecordId, reason: RevocationReason },
    /// A request could not be answered: the store or the user database was away.
    Unavailable { reason: String },
    /// A request was refused.
    Refused {
        client_id: Option<ClientId>,
        step: &'static str,
        reason: String,
        clause: &'static str,
    },
}
