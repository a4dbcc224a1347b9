//! The steps that the user's browser takes.

use super::AuthorizationServer;
use super::rate_limit::seconds_to_wait;
use super::step::{Error, Facts, Prepared, Unavailable};
use crate::authenticator::{Credentials, Verdict};
use crate::model::{
    Account, Authentication, ClientId, CodeIssued, ConsentState, Grant, GrantState, Handle,
    RecordId, RevocationReason, Secret,
};
use crate::protocol::authorize::{
    self, AuthorizationError, AuthorizationRequest, Outcome, Visitor,
};
use crate::protocol::consent::{self, ConsentRequest};
use crate::protocol::{Context, Decision, Event, Refusal, revoke, session};
use crate::storage::{Key, Record};
use crate::trace::Question;

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
pub(crate) struct Present {
    authentication: Option<Authentication>,
    account: Option<Account>,
    /// Where the consent stands, and that everything of the user was revoked.
    keys: Option<(Key, Key)>,
}

impl AuthorizationServer {
    /// The authorization endpoint (RFC 6749 section 3.1): a browser arrives with a request.
    pub async fn authorize(
        &self,
        request: &AuthorizationRequest,
        browser: &Browser,
    ) -> Result<Outcome, Error<AuthorizationError>> {
        let client_id = request.client_id.as_deref().and_then(|id| ClientId::parse(id).ok());
        let facts = self.load(client_id.iter().map(Key::client).collect()).await?;
        let known = facts.loaded_client(client_id.as_ref());
        match self.begin(request, browser, client_id, facts).await {
            // From here on the client can be told, and can tell its user something better.
            Err(Error::Unavailable(cause)) => {
                let client = known.as_ref().and_then(|loaded| loaded.record.as_client());
                Err(self.tell_client(cause, authorize::unavailable(request, client)).await)
            }
            answer => answer,
        }
    }

    async fn begin(
        &self,
        request: &AuthorizationRequest,
        browser: &Browser,
        client_id: Option<ClientId>,
        mut facts: Facts,
    ) -> Result<Outcome, Error<AuthorizationError>> {
        let mut attempts = self.attempts();
        loop {
            let ctx = self.context();
            let present = self.present(&mut facts, browser, client_id.as_ref(), ctx).await?;
            let visitor = present.visitor(&facts, browser);
            let mut entropy = self.entropy()?;
            let client = facts.client(client_id.as_ref());
            let decision = authorize::begin(request, client, visitor, ctx, &mut entropy);
            let issued = Issued::of(&decision, None);
            let prepared = self.prepare(&facts, decision, &mut entropy)?;
            if self.commit(&mut attempts, &prepared).await? {
                let Prepared { outcome, decided, .. } = prepared;
                let question = Question::Authorize { request, browser };
                self.trace(decided, question, &facts, present.account.as_ref(), ctx).await;
                return self.confirm("authorize", client_id, browser, issued, outcome).await;
            }
            facts = self.load(client_id.iter().map(Key::client).collect()).await?;
        }
    }

    /// An outage, as the client is told of it: a browser cannot take a 503 to it (RFC 6749 section
    /// 4.1.2.1).
    async fn tell_client(
        &self,
        cause: Unavailable,
        error: Option<AuthorizationError>,
    ) -> Error<AuthorizationError> {
        match error {
            Some(error) => {
                self.emit(Event::Unavailable { reason: cause.to_string() }).await;
                Error::Refused(error)
            }
            None => cause.into(),
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
            let ctx = self.context();
            let (facts, client_id, present) = self.open(&key, browser, ctx).await?;
            let visitor = present.visitor(&facts, browser);
            let mut entropy = self.entropy()?;
            let client = facts.client(client_id.as_ref());
            let decision = authorize::resume(interaction, facts.grant(&key), client, visitor, ctx);
            let issued = Issued::of(&decision, None);
            let destination = facts.grant(&key).and_then(authorize::unavailable_later);
            let prepared = self.prepare(&facts, decision, &mut entropy)?;
            if self.commit(&mut attempts, &prepared).await? {
                let Prepared { outcome, decided, .. } = prepared;
                let question = Question::Resume { interaction, browser };
                self.trace(decided, question, &facts, present.account.as_ref(), ctx).await;
                return match self.confirm("resume", client_id, browser, issued, outcome).await {
                    // The code is written and nobody will get it; this page is over.
                    Err(Error::Unavailable(cause)) => {
                        Err(self.tell_client(cause, destination).await)
                    }
                    answer => answer,
                };
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
            let ctx = self.context();
            let (facts, client_id, present) = self.open(&key, browser, ctx).await?;
            let visitor = present.visitor(&facts, browser);
            // A withdrawal that a crash interrupted is finished before anything is allowed again.
            if let Some(consent) = visitor.consent.filter(|c| c.state == ConsentState::Withdrawing)
            {
                let (subject, client_id) = (consent.subject.clone(), consent.client_id.clone());
                self.withdraw_consent(&subject, &client_id).await.map_err(Error::for_page)?;
                continue;
            }
            let mut entropy = self.entropy()?;
            let client = facts.client(client_id.as_ref());
            let decision = consent::remember(request, facts.grant(&key), client, visitor, ctx);
            let prepared = self.prepare(&facts, decision, &mut entropy)?;
            if self.commit(&mut attempts, &prepared).await? {
                let Prepared { outcome, decided, .. } = prepared;
                let question = Question::Remember { request, browser };
                self.trace(decided, question, &facts, present.account.as_ref(), ctx).await;
                match outcome {
                    Ok(_) => break,
                    Err(error) => {
                        return self.confirm("consent", client_id, browser, None, Err(error)).await;
                    }
                }
            }
        }
        loop {
            let ctx = self.context();
            let (facts, client_id, present) = self.open(&key, browser, ctx).await?;
            let visitor = present.visitor(&facts, browser);
            let mut entropy = self.entropy()?;
            let client = facts.client(client_id.as_ref());
            let grant = facts.grant(&key);
            let decision = consent::answer(request, grant, client, visitor, ctx);
            let issued = Issued::of(&decision, grant);
            let prepared = self.prepare(&facts, decision, &mut entropy)?;
            if self.commit(&mut attempts, &prepared).await? {
                let Prepared { outcome, decided, .. } = prepared;
                let question = Question::Answer { request, browser };
                self.trace(decided, question, &facts, present.account.as_ref(), ctx).await;
                return self.confirm("consent", client_id, browser, issued, outcome).await;
            }
        }
    }

    /// The user has typed a name and a password. The answer is the handle for the session cookie.
    pub async fn sign_in(
        &self,
        credentials: &Credentials,
        browser: &Browser,
    ) -> Result<Handle, Error> {
        let mut account = self.verify_credentials(credentials).await?;
        let user = Key::revoked_subject(&account.subject);
        let before = self.load(vec![user.clone()]).await?;
        let revoked = before.revoked_subject(Some(&account.subject));
        if session::must_verify_again(revoked, self.context()) {
            account = self.verify_credentials(credentials).await?;
        }
        let begun = self.step(&[], |_, ctx, entropy| session::sign_in(&account, ctx, entropy));
        let handle = begun.await?.map_err(Error::Refused)?;
        let after = self.load(vec![user]).await?;
        let subject = Some(&account.subject);
        let standing =
            session::confirm(before.revoked_subject(subject), after.revoked_subject(subject));
        if let Err(refusal) = standing {
            self.sign_out(&handle).await?;
            self.refused("sign_in", None, &refusal).await;
            return Err(Error::Refused(refusal));
        }
        // The session that was there before ends now that there is another. Stopping in between
        // leaves a session of the same browser to run out by itself.
        if let Some(old) = &browser.session {
            self.sign_out(old).await?;
        }
        Ok(handle)
    }

    async fn verify_credentials(&self, credentials: &Credentials) -> Result<Account, Error> {
        let refusal = match self.inner.authenticator.verify(credentials).await {
            Ok(Verdict::Verified(account)) => return Ok(account),
            Ok(Verdict::Refused) => Refusal::WrongCredentials,
            Ok(Verdict::Throttled { retry_after }) => {
                let retry_after_seconds = seconds_to_wait(retry_after);
                Refusal::TooManySignIns { retry_after_seconds }
            }
            Err(error) => return Err(Unavailable::from(error).into()),
        };
        self.refused("sign_in", None, &refusal).await;
        Err(Error::Refused(refusal))
    }

    /// Ends the session that this cookie opens.
    pub async fn sign_out(&self, cookie: &Handle) -> Result<(), Error> {
        self.end_session(Key::session(cookie.id), Some(cookie)).await
    }

    pub(super) async fn end_session(&self, key: Key, cookie: Option<&Handle>) -> Result<(), Error> {
        self.step(std::slice::from_ref(&key), |facts, _, _| {
            session::end(cookie, facts.session(&key))
        })
        .await?
        .map_err(Error::Refused)
    }

    /// Who is signed in with this browser, to an account that stands.
    pub async fn signed_in(&self, browser: &Browser) -> Result<Option<Account>, Error> {
        let mut facts = Facts::default();
        let present = self.present(&mut facts, browser, None, self.context()).await?;
        Ok(present.account)
    }

    /// Loads a pending authorization and all that its decisions look at.
    async fn open(
        &self,
        key: &Key,
        browser: &Browser,
        ctx: Context<'_>,
    ) -> Result<(Facts, Option<ClientId>, Present), Unavailable> {
        let mut facts = self.load(vec![key.clone()]).await?;
        let client_id = facts.grant(key).map(|grant| grant.client_id.clone());
        if let Some(id) = &client_id {
            self.load_more(&mut facts, vec![Key::client(id)]).await?;
        }
        let present = self.present(&mut facts, browser, client_id.as_ref(), ctx).await?;
        Ok((facts, client_id, present))
    }

    /// Looks up who is there.
    async fn present(
        &self,
        facts: &mut Facts,
        browser: &Browser,
        client_id: Option<&ClientId>,
        ctx: Context<'_>,
    ) -> Result<Present, Unavailable> {
        if let (None, Some(cookie)) = (&browser.authentication, &browser.session) {
            self.load_more(facts, vec![Key::session(cookie.id)]).await?;
        }
        let mut present = Present::of(browser, client_id, facts, None, ctx);
        let subject = present.authentication.as_ref().map(|found| &found.subject);
        if let Some((consent, revoked)) = &present.keys {
            self.load_more(facts, vec![consent.clone(), revoked.clone()]).await?;
        }
        present.account = self.account(subject).await?;
        Ok(present)
    }

    /// Looks once more, before anybody gets a code, at what it stands on; see
    /// [`authorize::confirm`].
    async fn confirm(
        &self,
        step: &'static str,
        client_id: Option<ClientId>,
        browser: &Browser,
        issued: Option<Issued>,
        outcome: Result<Outcome, AuthorizationError>,
    ) -> Result<Outcome, Error<AuthorizationError>> {
        if let (Some(issued), Ok(Outcome::Redirect(_))) = (issued, &outcome) {
            let subject = &issued.code.subject;
            let (consent, revoked) = Key::consent_and_revoked_subject(subject, &issued.client_id);
            let session = browser.session.as_ref().filter(|_| browser.authentication.is_none());
            let mut keys = vec![consent.clone(), revoked.clone()];
            keys.extend(session.map(|cookie| Key::session(cookie.id)));
            let facts = self.load(keys).await?;
            let signed_in = session.is_none_or(|cookie| {
                let found = facts.session(&Key::session(cookie.id));
                session::authentication(cookie, found, self.context()).is_some()
            });
            let revoked = facts.revoked_subject_at(&revoked);
            let consent = facts.consent(&consent);
            let standing = authorize::confirm(&issued.code, signed_in, consent, revoked);
            if let Err(refusal) = standing {
                self.revoke_by_rule(&Key::grant(issued.grant), |found, ctx| {
                    revoke::grant(found, RevocationReason::User, ctx)
                })
                .await?;
                self.refused(step, client_id, &refusal).await;
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
    /// Who is there, as far as the facts tell. `account` is what the user database says of them.
    pub(crate) fn of(
        browser: &Browser,
        client_id: Option<&ClientId>,
        facts: &Facts,
        account: Option<Account>,
        ctx: Context<'_>,
    ) -> Self {
        let authentication = match (&browser.authentication, &browser.session) {
            (Some(authentication), _) => Some(authentication.clone()),
            (None, Some(cookie)) => {
                session::authentication(cookie, facts.session(&Key::session(cookie.id)), ctx)
            }
            (None, None) => None,
        };
        let subject = authentication.as_ref().map(|authentication| &authentication.subject);
        let pair = subject.zip(client_id);
        let keys = pair.map(|(user, client)| Key::consent_and_revoked_subject(user, client));
        Self { authentication, account, keys }
    }

    pub(crate) fn visitor<'a>(&'a self, facts: &'a Facts, browser: &'a Browser) -> Visitor<'a> {
        let keys = self.keys.as_ref();
        Visitor {
            browser: browser.secret.as_ref(),
            authentication: self.authentication.as_ref(),
            account: self.account.as_ref(),
            consent: keys.and_then(|(consent, _)| facts.consent(consent)),
            revoked: keys.and_then(|(_, revoked)| facts.revoked_subject_at(revoked)),
        }
    }
}

/// A code that is about to be handed out.
struct Issued {
    grant: RecordId,
    client_id: ClientId,
    code: CodeIssued,
}

impl Issued {
    /// The code that a decision writes, or repeats from the grant that it found.
    fn of<T, E>(decision: &Decision<T, E>, found: Option<&Grant>) -> Option<Self> {
        let written = match &decision.write {
            Some(Record::Grant(grant)) => Some(grant),
            _ => None,
        };
        let grant = written.or(found)?;
        match &grant.state {
            GrantState::CodeIssued(code) => Some(Self {
                grant: grant.id,
                client_id: grant.client_id.clone(),
                code: code.clone(),
            }),
            _ => None,
        }
    }
}
