//! The authorization code: issued by consent, redeemed once (RFC 6749 section 4.1.2 and 4.1.3,
//! RFC 7636 section 4.6).

use crate::model::{
    Account, Active, CodeChallenge, CodeIssued, CodeProof, CodeVerifier, Grant, GrantState,
    GrantType, Handle, HandleKind, PendingAuthorization, RefreshToken, RevocationReason, ScopeSet,
    Secret, SecretHash, SpentProof, Subject, Timestamp,
};
use crate::protocol::client_auth::VerifiedClient;
use crate::protocol::token::{self, TokenResponse, check_standing, mint};
use crate::protocol::{Context, Decision, Entropy, Event, Refusal};
use crate::storage::Record;

/// A token request with `grant_type=authorization_code`.
#[derive(Clone, Debug)]
pub struct RedeemRequest {
    /// The code, already read as a handle with [`parse`]; `None`: the text was no code.
    pub code: Option<Handle>,
    /// `redirect_uri`.
    pub redirect_uri: Option<String>,
    /// `code_verifier`.
    pub code_verifier: Option<String>,
}

/// Reads a `code`. Its record can then be loaded.
pub fn parse(code: &str) -> Option<Handle> {
    Handle::parse(HandleKind::Code, code)
}

/// Decides a redemption.
///
/// `grant` is the record that the code names, `account` the user who allowed it, if the account
/// still stands. Consuming the code and exchanging it for tokens is one write of one record: there
/// is no state in which the code is burned and no token issued.
pub fn redeem(
    request: &RedeemRequest,
    client: VerifiedClient<'_>,
    grant: Option<&Grant>,
    account: Option<&Account>,
    ctx: Context<'_>,
    entropy: &mut Entropy,
) -> Decision<TokenResponse> {
    if !client.client().may_use(GrantType::AuthorizationCode) {
        return Decision::refuse(Refusal::GrantTypeNotAllowed);
    }
    let Some((grant, presented)) = grant.zip(request.code.as_ref()) else {
        return Decision::refuse(Refusal::CodeUnknown);
    };
    if grant.client_id != client.client().id {
        return Decision::refuse(Refusal::CodeOfAnotherClient);
    }
    match &grant.state {
        GrantState::CodeIssued(code) => {
            if !code.proof.code.matches(&presented.secret) {
                return Decision::refuse(Refusal::CodeUnknown);
            }
            exchange(request, client, grant, code, account, ctx, entropy)
        }
        GrantState::Active(active) => replay(request, presented, grant, active, ctx),
        GrantState::Pending(_) => Decision::refuse(Refusal::CodeUnknown),
        GrantState::Revoked(end) => Decision::refuse(Refusal::GrantRevoked(end.reason)),
    }
}

fn exchange(
    request: &RedeemRequest,
    client: VerifiedClient<'_>,
    grant: &Grant,
    code: &CodeIssued,
    account: Option<&Account>,
    ctx: Context<'_>,
    entropy: &mut Entropy,
) -> Decision<TokenResponse> {
    let now = ctx.now;
    if code.expires_at.has_passed(now) {
        return Decision::refuse(Refusal::CodeExpired);
    }
    if let Err(refusal) = check_standing(grant, client.client(), account) {
        return Decision::refuse(refusal);
    }
    match check_proof(&code.proof, request) {
        Err(Refusal::VerifierWrong { .. }) => return wrong_guess(grant, code, ctx),
        Err(refusal) => return Decision::refuse(refusal),
        Ok(()) => {}
    }

    let policy = ctx.policy;
    let (access_token, kept) =
        mint(grant.id, entropy.secret(), None, policy.access_token_lifetime, now);
    let refresh = policy.refresh.filter(|_| client.client().may_use(GrantType::RefreshToken));
    let refresh = refresh.map(|policy| {
        let family = entropy.bytes();
        let secret = RefreshToken::mark(&family, &entropy.secret());
        let expires_at = now.plus(policy.absolute_lifetime);
        let refresh = RefreshToken {
            hash: SecretHash::of(&secret),
            family,
            idle_expires_at: now.plus(policy.idle_lifetime).min(expires_at),
            expires_at,
            previous: None,
        };
        (Handle::new(HandleKind::RefreshToken, grant.id, secret).encode(), refresh)
    });
    let (refresh_token, refresh) = refresh.unzip();
    let next = grant.moved_to(GrantState::Active(Active {
        subject: Some(code.subject.clone()),
        auth_time: Some(code.auth_time),
        scope: code.scope.clone(),
        consent_epoch: code.consent_epoch,
        proof: Some(code.proof.spent()),
        refresh,
        access_tokens: vec![kept],
    }));
    let event = Event::CodeRedeemed {
        client_id: grant.client_id.clone(),
        subject: code.subject.clone(),
        grant: grant.id,
    };
    let reply = TokenResponse {
        access_token,
        expires_in: policy.access_token_lifetime,
        refresh_token,
        scope: code.scope.clone(),
    };
    Decision::write(Record::Grant(next), event, reply)
}

/// What a code is bound to, or was.
trait Bound {
    fn is_for(&self, redirect_uri: &SecretHash) -> bool;
    fn redirect_uri_sent(&self) -> bool;
    /// `None` where there is no challenge.
    fn accepts(&self) -> Option<impl Fn(&CodeVerifier<'_>) -> bool>;
}

impl Bound for CodeProof {
    fn is_for(&self, redirect_uri: &SecretHash) -> bool {
        self.redirect_uri.same(redirect_uri)
    }
    fn redirect_uri_sent(&self) -> bool {
        self.redirect_uri_sent
    }
    fn accepts(&self) -> Option<impl Fn(&CodeVerifier<'_>) -> bool> {
        self.challenge
            .as_ref()
            .map(|challenge| |verifier: &CodeVerifier<'_>| challenge.verify(verifier))
    }
}

impl Bound for SpentProof {
    fn is_for(&self, redirect_uri: &SecretHash) -> bool {
        self.redirect_uri.same(&redirect_uri.prefix())
    }
    fn redirect_uri_sent(&self) -> bool {
        self.redirect_uri_sent
    }
    fn accepts(&self) -> Option<impl Fn(&CodeVerifier<'_>) -> bool> {
        let challenge = self.challenge?;
        Some(move |verifier: &CodeVerifier<'_>| {
            challenge.same(&CodeChallenge::of(verifier).prefix())
        })
    }
}

/// Whether the request shows all that the code was bound to.
fn check_proof(proof: &impl Bound, request: &RedeemRequest) -> Result<(), Refusal> {
    match &request.redirect_uri {
        Some(uri) if !proof.is_for(&SecretHash::of_text(uri)) => {
            return Err(Refusal::RedirectUriMismatch);
        }
        // OAuth 2.1 section 4.1.3 no longer asks for it, since PKCE binds the code better; a code
        // without a challenge has only this.
        None if proof.redirect_uri_sent() && proof.accepts().is_none() => {
            return Err(Refusal::RedirectUriMismatch);
        }
        Some(_) | None => {}
    }
    match (proof.accepts(), &request.code_verifier) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Refusal::VerifierWithoutChallenge),
        (Some(_), None) => Err(Refusal::VerifierMissing),
        (Some(accepts), Some(verifier)) => {
            let verifier = CodeVerifier::parse(verifier).ok_or(Refusal::VerifierMalformed)?;
            if accepts(&verifier) {
                Ok(())
            } else {
                Err(Refusal::VerifierWrong { guesses_left: 0 })
            }
        }
    }
}

/// Counts a wrong verifier; too many end the code, which has issued nothing yet.
fn wrong_guess(grant: &Grant, code: &CodeIssued, ctx: Context<'_>) -> Decision<TokenResponse> {
    let wrong_guesses = code.wrong_guesses.saturating_add(1);
    let guesses_left = ctx.policy.code_guesses.saturating_sub(wrong_guesses);
    let next = if guesses_left == 0 {
        token::revoked(grant, RevocationReason::TooManyGuesses, ctx.now)
    } else {
        grant.moved_to(GrantState::CodeIssued(CodeIssued { wrong_guesses, ..code.clone() }))
    };
    let (client_id, grant) = (grant.client_id.clone(), grant.id);
    let event = Event::WrongVerifier { client_id, grant, guesses_left };
    let refusal = Refusal::VerifierWrong { guesses_left };
    Decision::write_and_refuse(Record::Grant(next), event, refusal)
}

/// The code was redeemed before. Whoever shows all that the code was bound to is the client, and
/// the code is in two places: what it issued dies. Anybody else is refused and changes nothing, or
/// a thief with a code and no verifier could end honest sessions (OAuth 2.1 section 7.5.2).
fn replay(
    request: &RedeemRequest,
    presented: &Handle,
    grant: &Grant,
    active: &Active,
    ctx: Context<'_>,
) -> Decision<TokenResponse> {
    let proof = active.proof.as_ref();
    let shown = SecretHash::of(&presented.secret).prefix();
    let Some(proof) = proof.filter(|proof| proof.code.same(&shown)) else {
        return Decision::refuse(Refusal::CodeUnknown);
    };
    if check_proof(proof, request).is_err() {
        return Decision::refuse(Refusal::CodeUsed);
    }
    let reason = RevocationReason::CodeReplayed;
    let event = Event::GrantRevoked { client_id: grant.client_id.clone(), grant: grant.id, reason };
    let next = token::revoked(grant, reason, ctx.now);
    Decision::write_and_refuse(Record::Grant(next), event, Refusal::CodeReplayed)
}

/// What a user allowed, and on what it stands.
pub(crate) struct Allowed {
    pub(crate) subject: Subject,
    pub(crate) auth_time: Timestamp,
    pub(crate) scope: ScopeSet,
    pub(crate) consent_epoch: u32,
    pub(crate) subject_epoch: u32,
}

/// The state of an authorization whose code is `secret`.
pub(crate) fn issued(
    pending: &PendingAuthorization,
    allowed: Allowed,
    secret: &Secret,
    ctx: Context<'_>,
) -> CodeIssued {
    CodeIssued {
        subject: allowed.subject,
        auth_time: allowed.auth_time,
        scope: allowed.scope,
        consent_epoch: allowed.consent_epoch,
        subject_epoch: allowed.subject_epoch,
        proof: CodeProof {
            code: SecretHash::of(secret),
            challenge: pending.challenge.clone(),
            redirect_uri: SecretHash::of_text(&pending.redirect_uri),
            redirect_uri_sent: pending.redirect_uri_sent,
        },
        redirect_uri: pending.redirect_uri.clone(),
        state: pending.state.clone(),
        interaction: Some(pending.interaction),
        browser: Some(pending.browser),
        expires_at: ctx.now.plus(ctx.policy.code_lifetime),
        wrong_guesses: 0,
    }
}
