//! What operators do with clients, and users with what they allowed.

use serde::Serialize;

use super::AuthorizationServer;
use super::step::{Error, Facts, Unavailable};
use crate::model::{
    Client, ClientId, ConsentState, Grant, GrantState, RecordId, RevocationReason, ScopeSet,
    Subject, Timestamp,
};
use crate::protocol::register::{self, Registered, Registration};
use crate::protocol::{Context, Decision, consent, revoke};
use crate::storage::{Cursor, Index, Key, Kind, Listing, StorageError, Swept};

/// A client that a user has allowed something, as the page of connected apps shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// The client.
    pub client_id: ClientId,
    /// What it called itself when it was allowed.
    pub client_name: String,
    /// What it may do.
    pub scope: ScopeSet,
    /// Since when.
    pub granted_at: Timestamp,
}

/// An authorization, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrantSummary {
    /// Its public identifier.
    pub id: RecordId,
    /// The client.
    pub client_id: ClientId,
    /// The user; `None` for client credentials and for what nobody has answered yet.
    pub subject: Option<Subject>,
    /// What is allowed.
    pub scope: Option<ScopeSet>,
    /// `pending`, `code_issued`, `active` or `revoked`.
    pub state: &'static str,
    /// When it began.
    pub created_at: Timestamp,
}

/// How many keys a listing asks the store for at a time.
const PAGE: usize = 256;

/// How often a walk is begun until the store is taken to be away.
const MAX_WALKS: u32 = 3;

impl AuthorizationServer {
    /// Registers a client.
    pub async fn register_client(&self, registration: &Registration) -> Result<Registered, Error> {
        let chosen = registration.client_id.as_ref();
        let keys: Vec<Key> = chosen.map(Key::client).into_iter().collect();
        self.step(&keys, |facts, ctx, entropy| {
            register::register(registration, facts.client(chosen), ctx, entropy)
        })
        .await?
        .map_err(Error::Refused)
    }

    /// A registered client, if it was not removed.
    pub async fn client(&self, id: &ClientId) -> Result<Option<Client>, Error> {
        let facts = self.load(vec![Key::client(id)]).await?;
        Ok(facts.client(Some(id)).filter(|client| client.removed_at.is_none()).cloned())
    }

    /// Every registered client.
    pub async fn clients(&self) -> Result<Vec<Client>, Error> {
        let mut clients = Vec::new();
        let mut after = None;
        loop {
            let (facts, keys, next) =
                self.load_page(&Listing::Index(Index::clients()), after).await?;
            let ids = keys.iter().filter_map(|key| std::str::from_utf8(key.id()).ok());
            let found = ids.filter_map(|id| ClientId::parse(id).ok());
            clients.extend(found.filter_map(|id| {
                facts.client(Some(&id)).filter(|client| client.removed_at.is_none()).cloned()
            }));
            after = match next {
                Some(cursor) => Some(cursor),
                None => return Ok(clients),
            };
        }
    }

    /// Changes the registration of a client, of which `Registration::from(&client)` is a copy to begin
    /// with: everything is as in `registration` afterwards, but for its
    /// identifier and its secrets. Access tokens stay as they were issued, and a refresh gives of its
    /// scope what the client may still have; to end all of it, there is
    /// [`revoke_client_grants`](Self::revoke_client_grants).
    pub async fn update_client(
        &self,
        id: &ClientId,
        registration: &Registration,
    ) -> Result<Client, Error> {
        self.step(&[Key::client(id)], |facts, ctx, _| {
            register::update(registration, facts.client(Some(id)), ctx)
        })
        .await?
        .map_err(Error::Refused)
    }

    /// Gives a confidential client a new secret; the old one works on for the policy's overlap.
    pub async fn rotate_client_secret(&self, id: &ClientId) -> Result<Registered, Error> {
        self.step(&[Key::client(id)], |facts, ctx, entropy| {
            register::rotate_secret(facts.client(Some(id)), ctx, entropy)
        })
        .await?
        .map_err(Error::Refused)
    }

    /// Removes a client and everything that was issued to it. Its identifier stays taken, for a day at
    /// most once [`sweep`](Self::sweep) has come by, so that no late write brings it back.
    pub async fn remove_client(&self, id: &ClientId) -> Result<(), Error> {
        self.step(&[Key::client(id)], |facts, ctx, _| register::remove(facts.client(Some(id)), ctx))
            .await?
            .map_err(Error::Refused)
    }

    /// Revokes everything that was ever issued to a client. It can ask again.
    pub async fn revoke_client_grants(&self, id: &ClientId) -> Result<(), Error> {
        self.step(&[Key::client(id)], |facts, _, _| {
            revoke::everything_of_client(facts.client(Some(id)))
        })
        .await?
        .map_err(Error::Refused)
    }

    /// What a user has allowed, to whom. A withdrawal that was interrupted is still listed, so that
    /// it can be asked for again.
    pub async fn connections(&self, subject: &Subject) -> Result<Vec<Connection>, Error> {
        let mut connections = Vec::new();
        let mut after = None;
        loop {
            let index = Listing::Index(Index::consents_of(subject));
            let (facts, keys, next) = self.load_page(&index, after).await?;
            let consents = keys.iter().filter_map(|key| facts.consent(key));
            let standing = consents.filter(|consent| {
                consent.subject == *subject && consent.state != ConsentState::Withdrawn
            });
            connections.extend(standing.map(|consent| Connection {
                client_id: consent.client_id.clone(),
                client_name: consent.client_name.clone(),
                scope: consent.scope.clone(),
                granted_at: consent.granted_at,
            }));
            after = match next {
                Some(cursor) => Some(cursor),
                None => return Ok(connections),
            };
        }
    }

    /// Withdraws what a user allowed a client, and revokes every grant that it stood for.
    ///
    /// The consent is marked first, so that nothing new can be issued on it; then the grants are
    /// revoked one by one; then the mark becomes final. A crash in between leaves the mark, and the
    /// same call takes it up again. It is answered only when all of it is durable.
    pub async fn withdraw_consent(
        &self,
        subject: &Subject,
        client_id: &ClientId,
    ) -> Result<(), Error> {
        let key = Key::consent(subject, client_id);
        let keys = std::slice::from_ref(&key);
        let marked =
            self.step(keys, |facts, ctx, _| consent::withdraw(facts.consent(&key), ctx)).await?;
        let marked = marked.map_err(Error::Refused)?;
        self.for_each_grant(subject, |found, ctx| revoke::withdrawn_grant(found, &marked, ctx))
            .await?;
        self.step(keys, |facts, _, _| consent::finish_withdrawal(facts.consent(&key), marked.epoch))
            .await?
            .map_err(Error::Refused)
    }

    /// The authorizations of a user.
    pub async fn grants_of(&self, subject: &Subject) -> Result<Vec<GrantSummary>, Error> {
        self.list_grants(&Listing::Index(Index::grants_of(subject)), |grant| {
            grant.subject() == Some(subject)
        })
        .await
    }

    /// Every authorization in the store, by identifier. This walks all of them.
    pub async fn grants(&self) -> Result<Vec<GrantSummary>, Error> {
        let mut walks = 1;
        let mut grants = loop {
            match self.list_grants(&Listing::Kind(Kind::Grant), |_| true).await {
                // The store may have lost its place in the walk, and not be away.
                Err(Error::Unavailable(Unavailable::Storage(StorageError::Unavailable {
                    ..
                }))) if walks < MAX_WALKS => {
                    walks += 1;
                }
                answer => break answer?,
            }
        };
        // A walk may come by a record twice; what was found last is the newest.
        grants.reverse();
        grants.sort_by_key(|grant| grant.id);
        grants.dedup_by_key(|grant| grant.id);
        Ok(grants)
    }

    async fn list_grants(
        &self,
        listing: &Listing,
        wanted: impl Fn(&Grant) -> bool,
    ) -> Result<Vec<GrantSummary>, Error> {
        let mut grants = Vec::new();
        let mut after = None;
        loop {
            let (facts, keys, next) = self.load_page(listing, after).await?;
            let found = keys.iter().filter_map(|key| facts.grant(key));
            grants.extend(found.filter(|grant| wanted(grant)).map(GrantSummary::from));
            after = match next {
                Some(cursor) => Some(cursor),
                None => return Ok(grants),
            };
        }
    }

    /// Ends one authorization. `false`: there was nothing to end.
    pub async fn revoke_grant(&self, id: RecordId) -> Result<bool, Error> {
        let rule = |found: Option<&Grant>, ctx: Context<'_>| {
            revoke::grant(found, RevocationReason::Operator, ctx)
        };
        Ok(self.revoke_by_rule(&Key::grant(id), rule).await?)
    }

    /// Ends everything that was issued in a user's name, and every session: the password was
    /// changed, or the account is gone. What the user allowed is remembered.
    ///
    /// The user's own count is raised first, so that a code or a session that is under way sees it;
    /// then what exists is ended one by one. A crash in between leaves the rest to the same call.
    pub async fn revoke_subject(&self, subject: &Subject) -> Result<(), Error> {
        self.step(&[Key::revoked_subject(subject)], |facts, ctx, _| {
            revoke::subject(subject, facts.revoked_subject(Some(subject)), ctx)
        })
        .await?
        .map_err(Error::Refused)?;
        let mut after = None;
        loop {
            let index = Listing::Index(Index::sessions_of(subject));
            let (facts, keys, next) = self.load_page(&index, after).await?;
            for key in keys {
                if facts.session(&key).is_some_and(|session| session.subject == *subject) {
                    self.end_session(key, None).await?;
                }
            }
            after = match next {
                Some(cursor) => Some(cursor),
                None => break,
            };
        }
        self.for_each_grant(subject, |found, ctx| {
            let found = found.filter(|grant| grant.subject() == Some(subject));
            revoke::grant(found, RevocationReason::AccountChanged, ctx)
        })
        .await
    }

    async fn for_each_grant(
        &self,
        subject: &Subject,
        rule: impl Fn(Option<&Grant>, Context<'_>) -> Decision<bool>,
    ) -> Result<(), Error> {
        let index = Listing::Index(Index::grants_of(subject));
        let mut after = None;
        loop {
            let page = self.inner.storage.list(&index, after.as_ref(), PAGE).await?;
            for key in &page.keys {
                self.revoke_by_rule(key, &rule).await?;
            }
            after = match page.next {
                Some(cursor) => Some(cursor),
                None => return Ok(()),
            };
        }
    }

    /// Applies a revoking rule to one grant, whatever else happens to it meanwhile.
    pub(super) async fn revoke_by_rule(
        &self,
        key: &Key,
        rule: impl Fn(Option<&Grant>, Context<'_>) -> Decision<bool>,
    ) -> Result<bool, Unavailable> {
        let outcome = self
            .step(std::slice::from_ref(key), |facts, ctx, _| rule(facts.grant(key), ctx))
            .await?;
        Ok(outcome.unwrap_or(false))
    }

    async fn load_page(
        &self,
        listing: &Listing,
        after: Option<Cursor>,
    ) -> Result<(Facts, Vec<Key>, Option<Cursor>), Unavailable> {
        let page = self.inner.storage.list(listing, after.as_ref(), PAGE).await?;
        let facts = self.load(page.keys.clone()).await?;
        Ok((facts, page.keys, page.next))
    }

    /// Removes records that are past their time: `budget` are looked at, from `after` on.
    ///
    /// Nothing depends on this but the size of the store.
    pub async fn sweep(&self, after: Option<&Cursor>, budget: usize) -> Result<Swept, Error> {
        Ok(self.inner.storage.sweep(self.now(), after, budget).await?)
    }

    /// Whether the server can serve now.
    pub async fn ready(&self) -> Result<(), Error> {
        Ok(self.inner.storage.ready().await?)
    }
}

impl From<&Grant> for GrantSummary {
    fn from(grant: &Grant) -> Self {
        Self {
            id: grant.id,
            client_id: grant.client_id.clone(),
            subject: grant.subject().cloned(),
            scope: grant.scope().cloned(),
            state: match grant.state {
                GrantState::Pending(_) => "pending",
                GrantState::CodeIssued(_) => "code_issued",
                GrantState::Active(_) => "active",
                GrantState::Revoked(_) => "revoked",
            },
            created_at: grant.created_at,
        }
    }
}
