//! The steps that the user's browser takes.

use super::AuthorizationServer;
use super::step::{Error, Facts, Unavailable};
use crate::authenticator::{Credentials, Verdict};
use crate::model::{Account, Authentication, ClientId, Grant, GrantState, Handle, Secret, Subject};
use crate::protocol::authorize::{
    self, Answer, AuthorizationError, AuthorizationRequest, Outcome, Visitor,
};
use crate::protocol::consent::{self, ConsentRequest};
use crate::protocol::{Decision, Event, Refusal, revoke, session};
use crate::storage::{Key, Record};

/// What the user's browser brought along.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    /// The secret that binds pending authorizations to it.
    pub secret: Option<Secret>,
    /// The session that it holds at this server.
    pub session: Option<Handle>,
    /// Who the host says is signed in, where the host does its own sign-in; it then counts, and
    /// the session does not.
    pub authentication: Option<Authentication>,
}

/// Who is there, once sessions and accounts were looked up.
#[derive(Debug, Default)]
struct Present {
    authentication: Option<Authentication>,
    account: Option<Account>,
    consent: Option<Key>,
}

impl AuthorizationServer {
    /// The authorization endpoint (RFC 6749 section 3.1): a browser arrives with a request.
    pub async fn authorize(
        &self,
        request: &AuthorizationRequest,
        browser: &Browser,
    ) -> Result<Outcome, Error<AuthorizationError>> {
        let client_id = request
            .client_id
            .as_deref()
            .and_then(|id| ClientId::parse(id).ok());
        let mut attempts = self.attempts();
        loop {
            let mut facts = self.load(&[]).await?;
            if let Some(id) = &client_id {
                self.load_more(&mut facts, &[Key::client(id)]).await?;
            }
            let present = self
                .present(&mut facts, browser, client_id.as_ref())
                .await?;
            let visitor = present.visitor(&facts, browser);
            let mut entropy = self.entropy()?;
            let client = facts.client(client_id.as_ref());
            let decision = authorize::begin(request, client, visitor, self.context(), &mut entropy);
            let issued = issued(&decision);
            let committed = self
                .commit(&mut attempts, &facts, decision, &mut entropy)
                .await;
            let done = match committed {
                Ok(done) => done,
                Err(cause) => {
                    self.emit(Event::Unavailable {
                        reason: cause.to_string(),
                    })
                    .await;
                    return Err(match authorize::unavailable(request, client) {
                        Some(error) => Error::Refused(error),
                        None => cause.into(),
                    });
                }
            };
            if let Some(outcome) = done {
                return self.confirm("authorize", client_id, issued, outcome).await;
            }
        }
    }

    /// A pending authorization is looked at again: after a sign-in, or because the user reloads.
    pub async fn resume(
        &self,
        interaction: &Handle,
        browser: &Browser,
    ) -> Result<Outcome, Error<AuthorizationError>> {
        let key = Key::grant(interaction.id);
        let mut attempts = self.attempts();
        loop {
            let (facts, client_id, present) = self.open(&key, browser).await?;
            let visitor = present.visitor(&facts, browser);
            let mut entropy = self.entropy()?;
            let client = facts.client(client_id.as_ref());
            let decision = authorize::resume(
                interaction,
                facts.grant(&key),
                client,
                visitor,
                self.context(),
            );
            let issued = issued(&decision);
            let done = self
                .commit(&mut attempts, &facts, decision, &mut entropy)
                .await?;
            if let Some(outcome) = done {
                return self.confirm("resume", client_id, issued, outcome).await;
            }
        }
    }

    /// The user has answered the consent page.
    ///
    /// Two records change: first the consent, then the authorization that stands on it. In between
    /// nobody has a code.
    pub async fn consent(
        &self,
        request: &ConsentRequest,
        browser: &Browser,
    ) -> Result<Outcome, Error<AuthorizationError>> {
        let key = Key::grant(request.interaction.id);
        let mut attempts = self.attempts();
        loop {
            let (facts, client_id, present) = self.open(&key, browser).await?;
            let visitor = present.visitor(&facts, browser);
            let mut entropy = self.entropy()?;
            let client = facts.client(client_id.as_ref());
            let decision =
                consent::remember(request, facts.grant(&key), client, visitor, self.context());
            match self
                .commit(&mut attempts, &facts, decision, &mut entropy)
                .await?
            {
                Some(Ok(_)) => break,
                Some(Err(error)) => {
                    return self.confirm("consent", client_id, None, Err(error)).await;
                }
                None => {}
            }
        }
        loop {
            let (facts, client_id, present) = self.open(&key, browser).await?;
            let visitor = present.visitor(&facts, browser);
            let mut entropy = self.entropy()?;
            let client = facts.client(client_id.as_ref());
            let decision =
                consent::answer(request, facts.grant(&key), client, visitor, self.context());
            let issued = issued(&decision);
            let done = self
                .commit(&mut attempts, &facts, decision, &mut entropy)
                .await?;
            if let Some(outcome) = done {
                return self.confirm("consent", client_id, issued, outcome).await;
            }
        }
    }

    /// The user has typed a name and a password. The answer is the handle for the session cookie.
    pub async fn sign_in(
        &self,
        credentials: &Credentials,
        browser: &Browser,
    ) -> Result<Handle, Error> {
        let account = match self.inner.authenticator.verify(credentials).await {
            Ok(Verdict::Verified(account)) => account,
            Ok(Verdict::Refused) => {
                self.refused("sign_in", None, &Refusal::WrongCredentials)
                    .await;
                return Err(Error::Refused(Refusal::WrongCredentials));
            }
            Ok(Verdict::Throttled { retry_after }) => {
                let retry_after_seconds =
                    u32::try_from(retry_after.as_secs().max(1)).unwrap_or(u32::MAX);
                let refusal = Refusal::TooManySignIns {
                    retry_after_seconds,
                };
                self.refused("sign_in", None, &refusal).await;
                return Err(Error::Refused(refusal));
            }
            Err(error) => return Err(Unavailable::from(error).into()),
        };
        let handle = loop {
            let mut attempts = self.attempts();
            let mut entropy = self.entropy()?;
            let decision = session::sign_in(&account, self.context(), &mut entropy);
            let facts = Facts::default();
            if let Some(outcome) = self
                .commit(&mut attempts, &facts, decision, &mut entropy)
                .await?
            {
                break outcome.map_err(Error::Refused)?;
            }
        };
        // The session that was there before ends now that there is another. Stopping in between
        // leaves a session of the same browser to run out by itself.
        if let Some(old) = &browser.session {
            self.sign_out(old).await?;
        }
        Ok(handle)
    }

    /// Ends the session that this cookie opens.
    pub async fn sign_out(&self, cookie: &Handle) -> Result<(), Error> {
        self.end_session(Key::session(cookie.id), Some(cookie))
            .await
    }

    pub(super) async fn end_session(&self, key: Key, cookie: Option<&Handle>) -> Result<(), Error> {
        let mut attempts = self.attempts();
        loop {
            let facts = self.load(std::slice::from_ref(&key)).await?;
            let mut entropy = self.entropy()?;
            let decision = session::end(cookie, facts.session(&key));
            if let Some(outcome) = self
                .commit(&mut attempts, &facts, decision, &mut entropy)
                .await?
            {
                return outcome.map_err(Error::Refused);
            }
        }
    }

    /// Who is signed in with this browser, to an account that stands.
    pub async fn signed_in(&self, browser: &Browser) -> Result<Option<Account>, Error> {
        let mut facts = Facts::default();
        let present = self.present(&mut facts, browser, None).await?;
        Ok(present.account)
    }

    /// Loads a pending authorization and all that its decisions look at.
    async fn open(
        &self,
        key: &Key,
        browser: &Browser,
    ) -> Result<(Facts, Option<ClientId>, Present), Unavailable> {
        let mut facts = self.load(std::slice::from_ref(key)).await?;
        let client_id = facts.grant(key).map(|grant| grant.client_id.clone());
        if let Some(id) = &client_id {
            self.load_more(&mut facts, &[Key::client(id)]).await?;
        }
        let present = self
            .present(&mut facts, browser, client_id.as_ref())
            .await?;
        Ok((facts, client_id, present))
    }

    /// Looks up who is there.
    async fn present(
        &self,
        facts: &mut Facts,
        browser: &Browser,
        client_id: Option<&ClientId>,
    ) -> Result<Present, Unavailable> {
        let authentication = match (&browser.authentication, &browser.session) {
            (Some(authentication), _) => Some(authentication.clone()),
            (None, Some(cookie)) => {
                let key = Key::session(cookie.id);
                self.load_more(facts, std::slice::from_ref(&key)).await?;
                session::authentication(cookie, facts.session(&key), self.context())
            }
            (None, None) => None,
        };
        let subject = authentication
            .as_ref()
            .map(|authentication| &authentication.subject);
        let account = self.account(subject).await?;
        let consent = match (subject, client_id) {
            (Some(subject), Some(client_id)) => {
                let key = Key::consent(subject, client_id);
                self.load_more(facts, std::slice::from_ref(&key)).await?;
                Some(key)
            }
            _ => None,
        };
        Ok(Present {
            authentication,
            account,
            consent,
        })
    }

    /// Looks at the consent once more after a code was written, and before anybody gets it; see
    /// [`authorize::confirm`].
    async fn confirm(
        &self,
        step: &'static str,
        client_id: Option<ClientId>,
        issued: Option<Issued>,
        outcome: Result<Outcome, AuthorizationError>,
    ) -> Result<Outcome, Error<AuthorizationError>> {
        if let (Some(issued), Ok(Outcome::Redirect(response))) = (issued, &outcome)
            && matches!(response.answer, Answer::Code(_))
            && let Some(client_id) = &client_id
        {
            let key = Key::consent(&issued.subject, client_id);
            let facts = self.load(std::slice::from_ref(&key)).await?;
            let standing =
                authorize::confirm(issued.grant, issued.consent_epoch, facts.consent(&key));
            if let Err((grant, refusal)) = standing {
                self.revoke_by_rule(&Key::grant(grant), |found, ctx| {
                    revoke::grant(found, crate::model::RevocationReason::User, ctx)
                })
                .await?;
                self.refused(step, Some(client_id.clone()), &refusal).await;
                return Err(Error::Refused(refusal.into()));
            }
        }
        if let Err(error) = &outcome {
            self.refused(step, client_id, &error.refusal).await;
        }
        outcome.map_err(Error::Refused)
    }
}

impl Present {
    fn visitor<'a>(&'a self, facts: &'a Facts, browser: &'a Browser) -> Visitor<'a> {
        Visitor {
            browser: browser.secret.as_ref(),
            authentication: self.authentication.as_ref(),
            account: self.account.as_ref(),
            consent: self.consent.as_ref().and_then(|key| facts.consent(key)),
        }
    }
}

/// A code that a decision is about to issue, and the consent that it stands on.
struct Issued {
    grant: crate::model::RecordId,
    subject: Subject,
    consent_epoch: u32,
}

fn issued<T, E>(decision: &Decision<T, E>) -> Option<Issued> {
    match &decision.write {
        Some(Record::Grant(Grant {
            id,
            state: GrantState::CodeIssued(code),
            ..
        })) => Some(Issued {
            grant: *id,
            subject: code.subject.clone(),
            consent_epoch: code.consent_epoch,
        }),
        _ => None,
    }
}
