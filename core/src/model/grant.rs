//! One authorization: one record, from the request to its end.

use serde::{Deserialize, Serialize};

use super::{
    ClientId, CodeChallenge, HashPrefix, RecordId, ScopeSet, Secret, SecretHash, Subject, Timestamp,
};

/// One authorization. Its states, and who moves it, are drawn in
/// [`protocol`](crate::protocol#the-life-of-an-authorization).
///
/// In a record its fields stand in their order and without their names, since there may be millions of
/// these: whatever changes here changes the format of records. What serde writes is for
/// records: it has no `id`, which [`Record::decode`](crate::storage::Record::decode) takes from the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its record. In the record itself it is left out: it stands in its key.
    #[serde(skip, default = "RecordId::elsewhere")]
    pub id: RecordId,
    /// Whose.
    pub client_id: ClientId,
    /// The client's [`epoch`](super::Client::epoch) when this began.
    pub client_epoch: u32,
    /// When it began.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: GrantState,
}

/// Where an authorization stands. Each state holds what is true in it and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantState {
    /// Asked for; the user has not decided.
    Pending(PendingAuthorization),
    /// Allowed; the code is on its way.
    CodeIssued(CodeIssued),
    /// Tokens are out.
    Active(Active),
    /// Over. Nothing leads away from here.
    Revoked(Revocation),
}

/// A validated authorization request that waits for its user (RFC 6749 section 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingAuthorization {
    /// The hash of the secret in the interaction handle.
    pub interaction: SecretHash,
    /// The hash of the secret that binds it to the browser that began it.
    pub browser: SecretHash,
    /// The matched redirection URI, as the client sent it.
    pub redirect_uri: String,
    /// Whether the client sent it, or it is the only registered one.
    pub redirect_uri_sent: bool,
    /// The client's `state`, to be returned unchanged.
    pub state: Option<String>,
    /// What the client asks for.
    pub scope: ScopeSet,
    /// PKCE; `None` only for a client of the plain RFC 6749 profile.
    pub challenge: Option<CodeChallenge>,
    /// What the client wants the user to be asked.
    pub prompt: Prompt,
    /// The longest time since the user last signed in, in seconds.
    pub max_age: Option<u64>,
    /// Whom the client believes to be signing in.
    pub login_hint: Option<String>,
    /// The languages that the client asks for, best first.
    pub ui_locales: Option<String>,
    /// When it began: a `prompt=login` is answered by a sign-in after this.
    pub requested_at: Timestamp,
    /// When it is too late to answer.
    pub expires_at: Timestamp,
}

/// What the client wants the user to be asked (`prompt`, OpenID Connect Core 1.0 section 3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// `none`: nothing; answer with an error where a question would be needed.
    pub none: bool,
    /// `login`: to sign in again.
    pub login: bool,
    /// `consent`: to allow again.
    pub consent: bool,
    /// `select_account`: to say which account.
    pub select_account: bool,
}

/// An authorization with a code that was not redeemed yet (RFC 6749 section 4.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeIssued {
    /// Who allowed.
    pub subject: Subject,
    /// When that user signed in.
    pub auth_time: Timestamp,
    /// What was allowed.
    pub scope: ScopeSet,
    /// The [`epoch`](super::Consent::epoch) of the consent it stands on.
    pub consent_epoch: u32,
    /// The [`epoch`](super::RevokedSubject::epoch) of the user when it was allowed.
    pub subject_epoch: u32,
    /// What must be shown to redeem the code.
    pub proof: CodeProof,
    /// Where the code was sent, and the state that went with it: a repeated submission of the
    /// consent page gets the same answer.
    pub redirect_uri: String,
    /// The client's `state`.
    pub state: Option<String>,
    /// The interaction that produced it; `None` when no page was shown.
    pub interaction: Option<SecretHash>,
    /// The browser it was begun in.
    pub browser: Option<SecretHash>,
    /// When the code stops working.
    pub expires_at: Timestamp,
    /// Wrong verifiers so far.
    pub wrong_guesses: u8,
}

/// What a code is bound to (RFC 6749 section 4.1.3, RFC 7636 section 4.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeProof {
    /// The hash of the code's secret.
    pub code: SecretHash,
    /// The challenge, where one was sent.
    pub challenge: Option<CodeChallenge>,
    /// The hash of the redirection URI that the code was sent to.
    pub redirect_uri: SecretHash,
    /// Whether the authorization request named it, so that the token request must.
    pub redirect_uri_sent: bool,
}

/// What a redeemed code was bound to: a replay revokes only if the replayer can show all of it
/// (OAuth 2.1 section 7.5.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentProof {
    /// As [`CodeProof::code`].
    pub code: HashPrefix,
    /// As [`CodeProof::challenge`].
    pub challenge: Option<HashPrefix>,
    /// As [`CodeProof::redirect_uri`].
    pub redirect_uri: HashPrefix,
    /// As [`CodeProof::redirect_uri_sent`].
    pub redirect_uri_sent: bool,
}

/// An authorization whose tokens are out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// Who allowed; `None` for client credentials.
    pub subject: Option<Subject>,
    /// When that user signed in.
    pub auth_time: Option<Timestamp>,
    /// What was allowed.
    pub scope: ScopeSet,
    /// The epoch of the consent it stands on.
    pub consent_epoch: u32,
    /// What the redeemed code was bound to; `None` for client credentials.
    pub proof: Option<SpentProof>,
    /// The refresh token that is valid now.
    pub refresh: Option<RefreshToken>,
    /// The live access tokens, oldest first, [`Active::MAX_ACCESS_TOKENS`] at most.
    pub access_tokens: Vec<AccessToken>,
}

impl Active {
    /// What one of its access tokens opens.
    pub(crate) fn scope_of(&self, token: &AccessToken) -> ScopeSet {
        token.narrowed.map_or_else(|| self.scope.clone(), |bits| self.scope.pick(bits))
    }

    /// The most access tokens that one authorization has alive. One more retires the oldest.
    pub const MAX_ACCESS_TOKENS: usize = 16;
}

/// The refresh side of an active authorization (RFC 6749 section 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshToken {
    /// The hash of the current token's secret.
    pub hash: SecretHash,
    /// By which a retired token of this grant is told from one that was never issued.
    #[serde(with = "super::bytes")]
    pub family: [u8; 16],
    /// When the current token goes stale unless it is used.
    pub idle_expires_at: Timestamp,
    /// When the whole authorization ends, used or not.
    pub expires_at: Timestamp,
    /// The predecessor, while a retry with it gets the same answer.
    pub previous: Option<PreviousRefreshToken>,
}

/// A refresh token that was just exchanged.
///
/// The answer it got is not stored: its tokens are HMACs of `nonce` under the presented token's own
/// secret, so the server can repeat the answer to whoever presents that token, and a copy of the
/// store can give it to nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousRefreshToken {
    /// The hash of its secret.
    pub hash: SecretHash,
    /// What its successors were derived with.
    #[serde(with = "super::bytes")]
    pub nonce: [u8; 16],
    /// When it was exchanged.
    pub rotated_at: Timestamp,
}

/// An access token, as the record keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// The hash of its secret.
    pub hash: SecretHash,
    /// What it opens, where that is less than the whole authorization: bit *n* is the *n*th scope of
    /// the authorization, in byte order. An authorization has at most 64.
    pub narrowed: Option<u64>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// The end of an authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Why.
    pub reason: RevocationReason,
    /// When.
    pub at: Timestamp,
    /// Whose authorization it was.
    pub subject: Option<Subject>,
}

/// Why an authorization ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// The user said no.
    Denied,
    /// The client revoked it (RFC 7009).
    Client,
    /// The user withdrew the consent.
    User,
    /// The operator ended it.
    Operator,
    /// The code was presented twice (RFC 6749 section 4.1.2).
    CodeReplayed,
    /// A retired refresh token was presented (RFC 9700 section 4.14.2).
    RefreshTokenReused,
    /// Too many wrong verifiers for its code.
    TooManyGuesses,
    /// The user's password changed or the account was disabled.
    AccountChanged,
}

impl CodeProof {
    /// As it is kept once the code is redeemed.
    pub(crate) fn spent(&self) -> SpentProof {
        SpentProof {
            code: self.code.prefix(),
            challenge: self.challenge.as_ref().map(CodeChallenge::prefix),
            redirect_uri: self.redirect_uri.prefix(),
            redirect_uri_sent: self.redirect_uri_sent,
        }
    }
}

impl Grant {
    /// The same authorization, moved on.
    #[must_use]
    pub(crate) fn moved_to(&self, state: GrantState) -> Self {
        let Self { id, client_epoch, created_at, .. } = *self;
        Self { id, client_id: self.client_id.clone(), client_epoch, created_at, state }
    }

    /// Whose authorization it is, once somebody has allowed it.
    pub fn subject(&self) -> Option<&Subject> {
        match &self.state {
            GrantState::Pending(_) => None,
            GrantState::CodeIssued(code) => Some(&code.subject),
            GrantState::Active(active) => active.subject.as_ref(),
            GrantState::Revoked(revocation) => revocation.subject.as_ref(),
        }
    }

    /// What is allowed, once something is.
    pub fn scope(&self) -> Option<&ScopeSet> {
        match &self.state {
            GrantState::CodeIssued(code) => Some(&code.scope),
            GrantState::Active(active) => Some(&active.scope),
            GrantState::Pending(_) | GrantState::Revoked(_) => None,
        }
    }

    /// The epoch of the consent it stands on, once it stands on one.
    pub fn consent_epoch(&self) -> Option<u32> {
        match &self.state {
            GrantState::CodeIssued(code) => Some(code.consent_epoch),
            GrantState::Active(active) => active.subject.as_ref().map(|_| active.consent_epoch),
            GrantState::Pending(_) | GrantState::Revoked(_) => None,
        }
    }
}

impl RefreshToken {
    const RANDOM: usize = 24;

    /// The secret of a refresh token of this family: 192 bits out of `source`, and a 64-bit mark of
    /// the family. The mark lets a retired token be recognised without keeping every one that
    /// ever was.
    pub(crate) fn mark(family: &[u8; 16], source: &Secret) -> Secret {
        let mut bytes = *source.expose();
        let (random, mark) = bytes.split_at_mut(Self::RANDOM);
        mark.copy_from_slice(&Self::mark_of(family, random));
        Secret::from_bytes(bytes)
    }

    /// Whether `secret` was once the secret of a token of this family.
    pub(crate) fn is_of_family(&self, secret: &Secret) -> bool {
        use subtle::ConstantTimeEq as _;

        let (random, mark) = secret.expose().split_at(Self::RANDOM);
        Self::mark_of(&self.family, random).ct_eq(mark).into()
    }

    fn mark_of(family: &[u8; 16], random: &[u8]) -> [u8; 8] {
        let mac = super::mac(family, "grantor refresh family", random);
        let mut mark = [0; 8];
        mark.copy_from_slice(mac.split_at(8).0);
        mark
    }
}
