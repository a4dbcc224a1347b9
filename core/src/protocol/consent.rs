//! The user's decision: all, part, or nothing; remembered; withdrawn.

use std::time::Duration;

use crate::model::{
    Client, CodeIssued, Consent, ConsentState, Grant, GrantState, Handle, HandleKind,
    PendingAuthorization, RevocationReason, ScopeSet, Secret, SecretHash, SecretString, Subject,
    Timestamp,
};
use crate::protocol::authorize::{
    self, Answer, AuthorizationError, AuthorizationResponse, Open, Outcome, Visitor, code_secret,
    destination_of, issue, open,
};
use crate::protocol::code::Allowed;
use crate::protocol::{Context, Decision, Event, Refusal, token};
use crate::storage::Record;

/// What came back from a consent page.
#[derive(Clone, Debug)]
pub struct ConsentRequest {
    /// The authorization.
    pub interaction: Handle,
    /// The ticket that the page was made with.
    pub ticket: SecretString,
    /// What the user said.
    pub answer: ConsentAnswer,
}

/// What the user said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsentAnswer {
    /// These scopes. Of what was not asked for, nothing is allowed; none at all is a denial.
    Allow(ScopeSet),
    /// Nothing.
    Deny,
}

/// The first half of an allowing answer: the consent that the code will stand on, to be written
/// before the code is. Stopping after it is safe: the user did allow, and nobody has a code.
///
/// `Ok(None)`: there is nothing to remember, since the answer is a denial or a repetition.
pub fn remember(
    request: &ConsentRequest,
    grant: Option<&Grant>,
    client: Option<&Client>,
    visitor: Visitor<'_>,
    ctx: Context<'_>,
) -> Decision<Option<Consent>, AuthorizationError> {
    let (opened, account) = match check(request, grant, client, visitor, ctx) {
        Ok(checked) => checked,
        Err(_) if repeated(request, grant, client, visitor, ctx).is_some() => {
            return Decision::answer(None);
        }
        Err(refusal) => return Decision::refuse(refusal.into()),
    };
    let allowed = allowed(request, opened.pending);
    if allowed.is_empty() {
        return Decision::answer(None);
    }
    // A withdrawal that a crash interrupted is finished before anything is allowed again.
    if visitor.consent.is_some_and(|consent| consent.state == ConsentState::Withdrawing) {
        return Decision::refuse(AuthorizationError::page(Refusal::ConsentWithdrawn));
    }
    let before = visitor.consent.filter(|consent| consent.state == ConsentState::Allowed);
    // What was not asked this time stays as it was answered before.
    let kept = before.map(|consent| {
        let asked = &opened.pending.scope;
        let kept = consent.scope.intersection(&ctx.policy.known_scope());
        kept.iter().filter(|s| !asked.contains(s.as_str())).cloned().collect()
    });
    let consent = Consent {
        subject: account.subject.clone(),
        client_id: opened.client.id.clone(),
        scope: allowed.union(&kept.unwrap_or_default()),
        state: ConsentState::Allowed,
        epoch: visitor.consent.map_or(0, |consent| consent.epoch),
        granted_at: before.map_or(ctx.now, |consent| consent.granted_at),
        updated_at: ctx.now,
        client_name: opened.client.name.clone(),
    };
    let event = Event::ConsentGiven {
        subject: account.subject,
        client_id: opened.client.id.clone(),
        scope: allowed,
    };
    Decision::write(Record::Consent(consent.clone()), event, Some(consent))
}

/// The second half: the authorization becomes a code, or ends.
///
/// A page that is sent twice gets the same redirect twice, until the code is redeemed or expires.
pub fn answer(
    request: &ConsentRequest,
    grant: Option<&Grant>,
    client: Option<&Client>,
    visitor: Visitor<'_>,
    ctx: Context<'_>,
) -> Decision<Outcome, AuthorizationError> {
    let (opened, account) = match check(request, grant, client, visitor, ctx) {
        Ok(checked) => checked,
        Err(refusal) => {
            return match repeated(request, grant, client, visitor, ctx) {
                Some(response) => Decision::answer(Outcome::Redirect(response)),
                None => Decision::refuse(refusal.into()),
            };
        }
    };
    let Open { grant, pending, client, .. } = opened;
    let scope = allowed(request, pending);
    if scope.is_empty() {
        let (subject, client_id) = (account.subject, client.id.clone());
        let refusal = AuthorizationError {
            refusal: Refusal::AccessDenied,
            destination: Some(destination_of(pending)),
        };
        let mut ended = token::revoked(grant, RevocationReason::Denied, ctx.now);
        if let GrantState::Revoked(end) = &mut ended.state {
            end.subject = Some(subject.clone());
        }
        let event = Event::ConsentDenied { subject, client_id };
        return Decision::write_and_refuse(Record::Grant(ended), event, refusal);
    }
    let consent = visitor.consent.filter(|consent| consent.covers(&scope));
    let Some(consent) = consent else {
        return Decision::refuse(AuthorizationError::page(Refusal::ConsentWithdrawn));
    };
    let allowed = Allowed {
        subject: account.subject,
        auth_time: account.auth_time,
        scope,
        consent_epoch: consent.epoch,
        subject_epoch: visitor.subject_epoch(),
    };
    let secret = code_secret(&request.interaction.secret);
    issue(grant.clone(), pending, allowed, &secret, ctx)
}

struct Answering {
    subject: Subject,
    auth_time: Timestamp,
}

/// The page may be answered: by this browser, by the user whom it was shown to, in time.
fn check<'a>(
    request: &ConsentRequest,
    grant: Option<&'a Grant>,
    client: Option<&'a Client>,
    visitor: Visitor<'a>,
    ctx: Context<'_>,
) -> Result<(Open<'a>, Answering), Refusal> {
    let opened = open(&request.interaction, grant, client, visitor, ctx)?;
    let (authentication, account) = visitor.signed_in().ok_or(Refusal::SignInRequired)?;
    let expected = authorize::ticket(&request.interaction.secret, account);
    let shown = Secret::parse(request.ticket.expose());
    if !shown.is_some_and(|shown| SecretHash::of(&expected).matches(&shown)) {
        return Err(Refusal::ConsentOfAnotherUser);
    }
    let stale = opened
        .pending
        .max_age
        .is_some_and(|max| ctx.now.since(authentication.auth_time) > Duration::from_secs(max));
    let since_request = authentication.auth_time >= opened.pending.requested_at;
    if !since_request && (stale || opened.pending.prompt.login) {
        return Err(Refusal::SignInRequired);
    }
    let subject = account.subject.clone();
    Ok((opened, Answering { subject, auth_time: authentication.auth_time }))
}

fn allowed(request: &ConsentRequest, pending: &PendingAuthorization) -> ScopeSet {
    match &request.answer {
        ConsentAnswer::Allow(scope) => scope.intersection(&pending.scope),
        ConsentAnswer::Deny => ScopeSet::empty(),
    }
}

/// The answer that this same page already got, if it is the same answer and nobody has used it.
fn repeated(
    request: &ConsentRequest,
    grant: Option<&Grant>,
    client: Option<&Client>,
    visitor: Visitor<'_>,
    ctx: Context<'_>,
) -> Option<AuthorizationResponse> {
    let grant = grant?;
    let GrantState::CodeIssued(code) = &grant.state else {
        return None;
    };
    let CodeIssued { interaction, browser, .. } = code;
    let same_page = interaction.as_ref()?.matches(&request.interaction.secret);
    let same_browser = browser.as_ref()?.matches(visitor.browser?);
    let (_, account) = visitor.signed_in()?;
    // Nobody is sent to a client that was removed, nor with a code that was revoked with it.
    token::check_standing(grant, client?, Some(account)).ok()?;
    let ConsentAnswer::Allow(scope) = &request.answer else {
        return None;
    };
    let same_answer = code.scope.is_subset(scope) && account.subject == code.subject;
    if !(same_page && same_browser && same_answer) || code.expires_at.has_passed(ctx.now) {
        return None;
    }
    let secret = code_secret(&request.interaction.secret);
    // A code that was issued without this page was not derived from it.
    code.proof.code.matches(&secret).then(|| AuthorizationResponse {
        redirect_uri: code.redirect_uri.clone(),
        answer: Answer::Code(Handle::new(HandleKind::Code, grant.id, secret).encode()),
        state: code.state.clone(),
        iss: ctx.issuer.as_str().to_owned(),
    })
}

/// Begins a withdrawal: from now on nothing new is issued on this consent. The grants it stood for
/// are revoked next, and [`finish_withdrawal`] is the last step.
pub fn withdraw(consent: Option<&Consent>, ctx: Context<'_>) -> Decision<Consent> {
    let Some(consent) = consent else {
        return Decision::refuse(Refusal::ConsentUnknown);
    };
    match consent.state {
        ConsentState::Withdrawn => Decision::refuse(Refusal::ConsentUnknown),
        // Taken up again after a crash.
        ConsentState::Withdrawing => Decision::answer(consent.clone()),
        ConsentState::Allowed => {
            let mut next = consent.clone();
            next.state = ConsentState::Withdrawing;
            next.scope = ScopeSet::empty();
            next.epoch = next.epoch.wrapping_add(1);
            next.updated_at = ctx.now;
            let (subject, client_id) = (next.subject.clone(), next.client_id.clone());
            let event = Event::ConsentWithdrawn { subject, client_id };
            Decision::write(Record::Consent(next.clone()), event, next)
        }
    }
}

/// Ends a withdrawal: every grant of an earlier epoch is revoked.
pub fn finish_withdrawal(consent: Option<&Consent>, epoch: u32) -> Decision<()> {
    let mut decision = Decision::answer(());
    if let Some(consent) = consent
        && consent.state == ConsentState::Withdrawing
        && consent.epoch == epoch
    {
        let next = Consent { state: ConsentState::Withdrawn, ..consent.clone() };
        decision.write = Some(Record::Consent(next));
    }
    decision
}
