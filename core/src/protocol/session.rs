//! Signing in and out of this server with a browser.

use std::time::Duration;

use crate::model::{
    Account, Authentication, Handle, HandleKind, RevokedSubject, Secret, SecretHash, Session,
};
use crate::protocol::authorize::subject_epoch;
use crate::protocol::{Context, Decision, Entropy, Event, Refusal};
use crate::storage::Record;

/// Begins a session for a user whose credentials were just verified. It always has a new secret:
/// a cookie that was in the browser before the sign-in opens nothing afterwards (ATTACKS G04).
pub fn sign_in(account: &Account, ctx: Context<'_>, entropy: &mut Entropy) -> Decision<Handle> {
    let id = entropy.record_id(ctx.now);
    let secret = entropy.secret();
    let session = Session {
        id,
        secret: SecretHash::of(&secret),
        subject: account.subject.clone(),
        auth_time: ctx.now,
        expires_at: ctx.now.plus(ctx.policy.session_lifetime),
        ended: false,
    };
    let event = Event::SignedIn { subject: account.subject.clone(), session: id };
    let handle = Handle::new(HandleKind::Session, id, secret);
    Decision::write(Record::Session(session), event, handle)
}

/// Whether a session that is about to be handed out still stands on the user as they were before the
/// password was looked at. The session is written first and the user looked at again afterwards, as
/// in [`authorize::confirm`](crate::protocol::authorize::confirm).
pub fn confirm(
    before: Option<&RevokedSubject>,
    after: Option<&RevokedSubject>,
) -> Result<(), Refusal> {
    if subject_epoch(before) == subject_epoch(after) {
        Ok(())
    } else {
        Err(Refusal::WrongCredentials)
    }
}

/// Whether a password that was right has to be looked at once more: everything of this user was
/// revoked so recently that it may have happened while the password was looked at.
///
/// The clock only saves work here: nothing is still under way after a day.
pub fn must_verify_again(revoked: Option<&RevokedSubject>, ctx: Context<'_>) -> bool {
    revoked.is_some_and(|revoked| ctx.now.since(revoked.at) < Duration::from_secs(86_400))
}

/// Who is signed in, if the cookie opens a session that still runs.
pub fn authentication(
    cookie: &Handle,
    session: Option<&Session>,
    ctx: Context<'_>,
) -> Option<Authentication> {
    let session = session.filter(|session| session.secret.matches(&cookie.secret))?;
    (!session.ended && !session.expires_at.has_passed(ctx.now))
        .then(|| Authentication { subject: session.subject.clone(), auth_time: session.auth_time })
}

/// Ends a session. `cookie` must open it; `None`: the server ends it for a reason of its own.
pub fn end(cookie: Option<&Handle>, session: Option<&Session>) -> Decision<()> {
    let opens = |session: &&Session| {
        !session.ended && cookie.is_none_or(|cookie| session.secret.matches(&cookie.secret))
    };
    let Some(session) = session.filter(opens) else {
        return Decision::answer(());
    };
    let event = Event::SignedOut { subject: session.subject.clone(), session: session.id };
    let ended = Session { ended: true, ..session.clone() };
    Decision::write(Record::Session(ended), event, ())
}

/// The secret that a form of ours holds while it concerns no pending authorization: only this
/// browser, and only with this session, can have been given it (RFC 6749 section 10.12).
pub fn form_token(browser: &Secret, session: Option<&Handle>) -> Secret {
    let session = session.map_or(&[][..], |handle| handle.secret.expose());
    browser.derive("grantor form", session)
}

/// Whether `shown` is the secret that [`form_token`] makes.
pub fn is_form_token(shown: &Secret, browser: &Secret, session: Option<&Handle>) -> bool {
    SecretHash::of(&form_token(browser, session)).matches(shown)
}
