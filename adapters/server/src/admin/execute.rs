//! The one place where administration happens.

use std::collections::BTreeMap;

use grantor::AuthorizationServer;
use grantor::engine::{Error, Unavailable};
use grantor::model::{ClientId, RecordId, ScopeSet, Subject};
use grantor::protocol::Refusal;
use grantor::protocol::register::{Registered, Registration};

use super::{AdminReply, AdminRequest, ClientView, GrantView, NewClient, SecretText, UserView};
use crate::users::{Directory, DirectoryError, SUBJECT_PREFIX};

/// Does what the request says, on this server and its directory.
pub async fn execute(
    server: &AuthorizationServer,
    users: &Directory,
    request: AdminRequest,
) -> AdminReply {
    let admin = Administration { server, users };
    admin.execute(request).await.unwrap_or_else(|failure| AdminReply::Failed(failure.to_string()))
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(
        "{done}, but what was issued before is not yet revoked: {source}. Run the same command again"
    )]
    HalfDone { done: &'static str, source: Error },
}

struct Administration<'a> {
    server: &'a AuthorizationServer,
    users: &'a Directory,
}

impl Administration<'_> {
    async fn execute(&self, request: AdminRequest) -> Result<AdminReply, Failure> {
        use AdminRequest as R;

        match request {
            R::ClientAdd(new) => {
                let registration = self.registration(*new)?;
                let registered = self.server.register_client(&registration).await?;
                Ok(with_secret(registered))
            }
            R::ClientList => {
                let clients = self.server.clients().await?;
                Ok(AdminReply::Clients(clients.iter().map(ClientView::from).collect()))
            }
            R::ClientShow { id } => match self.server.client(&client_id(&id)?).await? {
                Some(client) => Ok(AdminReply::Client {
                    client: Box::new(ClientView::from(&client)),
                    client_secret: None,
                }),
                None => Err(Error::Refused(Refusal::ClientUnknown).into()),
            },
            R::ClientRotateSecret { id } => {
                let registered = self.server.rotate_client_secret(&client_id(&id)?).await?;
                Ok(with_secret(registered))
            }
            R::ClientRemove { id } => {
                self.server.remove_client(&client_id(&id)?).await?;
                Ok(AdminReply::Done)
            }
            R::UserAdd { username, password } => {
                let user = self.users.add(&username, &password.0).await?;
                Ok(AdminReply::User(user.into()))
            }
            R::UserList => {
                let users = self.users.list().await?;
                let mut users: Vec<UserView> = users.into_iter().map(UserView::from).collect();
                users.sort_by(|a, b| a.username.cmp(&b.username));
                Ok(AdminReply::Users(users))
            }
            // In each of these the account is changed first: what is issued on the old state of it
            // while the rest is revoked would otherwise be missed.
            R::UserSetPassword { username, password } => {
                let user = self.users.set_password(&username, &password.0).await?;
                self.revoke(&user.subject, "the password is changed").await?;
                Ok(AdminReply::User(user.into()))
            }
            R::UserDisable { username } => {
                let user = self.users.set_disabled(&username, true).await?;
                self.revoke(&user.subject, "the user is disabled").await?;
                Ok(AdminReply::User(user.into()))
            }
            R::UserRemove { username } => {
                // A removal that is interrupted has to be repeatable, so the name goes last.
                let user = self.users.set_disabled(&username, true).await?;
                self.revoke(&user.subject, "the user is disabled").await?;
                let user = self.users.remove(&username).await?;
                Ok(AdminReply::User(user.into()))
            }
            R::UserEnable { username } => {
                // An interrupted `disable` must not come back to life.
                let subject = self.find(&username).await?;
                self.server.revoke_subject(&subject).await?;
                let user = self.users.set_disabled(&username, false).await?;
                Ok(AdminReply::User(user.into()))
            }
            R::GrantList { username } => self.grants(username.as_deref()).await,
            R::GrantRevoke { id } => {
                let Some(id) = RecordId::parse(&id) else {
                    return Err(refused(format!(
                        "{id:?} is not the id of a grant; `grantor grant list` shows them"
                    )));
                };
                match self.server.revoke_grant(id).await? {
                    true => Ok(AdminReply::Done),
                    false => Err(refused("there is no such grant, or it was revoked before")),
                }
            }
            R::GrantRevokeUser { username } => {
                let subject = self.find(&username).await?;
                self.server.revoke_subject(&subject).await?;
                Ok(AdminReply::Done)
            }
            R::GrantRevokeClient { id } => {
                self.server.revoke_client_grants(&client_id(&id)?).await?;
                Ok(AdminReply::Done)
            }
        }
    }

    fn registration(&self, new: NewClient) -> Result<Registration, Failure> {
        let scope = ScopeSet::parse(&new.scope).map_err(|error| refused(error.to_string()))?;
        let known = self.server.policy().known_scope();
        let unknown: Vec<&str> = scope
            .iter()
            .map(|scope| scope.as_str())
            .filter(|scope| !known.contains(scope))
            .collect();
        if !unknown.is_empty() {
            return Err(refused(format!(
                "no scope {} is defined: add it to the configuration file under [scopes], and name \
                 that file with --config if the server is stopped. Defined are: {}",
                unknown.join(", "),
                if known.is_empty() { "none".to_owned() } else { known.to_string() },
            )));
        }
        let client_id = new.id.as_deref().map(client_id).transpose()?;
        if client_id.as_ref().is_some_and(|id| id.as_str().starts_with(SUBJECT_PREFIX)) {
            return Err(refused(format!(
                "the id of a client cannot begin with {SUBJECT_PREFIX:?}: resource servers would take \
                 it for a user (RFC 9700 section 4.15)"
            )));
        }
        Ok(Registration {
            client_id,
            name: new.name,
            client_type: new.client_type,
            application_type: new.application_type,
            auth_methods: new.auth_methods,
            redirect_uris: new.redirect_uris,
            localhost_any_port: new.localhost_any_port,
            grant_types: new.grant_types,
            // This server has none.
            extension_grants: Vec::new(),
            scope,
            client_uri: new.client_uri,
            logo_uri: new.logo_uri,
            policy_uri: new.policy_uri,
            tos_uri: new.tos_uri,
            pkce_optional: new.pkce_optional,
            skip_consent: new.skip_consent,
            resource_server: new.resource_server,
        })
    }

    async fn grants(&self, username: Option<&str>) -> Result<AdminReply, Failure> {
        let found = match username {
            Some(username) => self.server.grants_of(&self.find(username).await?).await?,
            None => self.server.grants().await?,
        };
        let mut names: BTreeMap<Subject, Option<String>> = BTreeMap::new();
        let mut grants = Vec::with_capacity(found.len());
        for grant in &found {
            let username = match &grant.subject {
                None => None,
                Some(subject) => match names.get(subject) {
                    Some(known) => known.clone(),
                    None => {
                        let user = self.users.find_subject(subject).await?;
                        let username = user.map(|user| user.username);
                        names.insert(subject.clone(), username.clone());
                        username
                    }
                },
            };
            grants.push(GrantView::new(grant, username));
        }
        grants.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        Ok(AdminReply::Grants(grants))
    }

    async fn find(&self, username: &str) -> Result<Subject, Failure> {
        match self.users.find(username).await? {
            Some(user) => Ok(user.subject),
            None => Err(DirectoryError::Unknown(username.to_owned()).into()),
        }
    }

    async fn revoke(&self, subject: &Subject, done: &'static str) -> Result<(), Failure> {
        let revoked = self.server.revoke_subject(subject).await;
        revoked.map_err(|source| Failure::HalfDone { done, source })
    }
}

fn with_secret(registered: Registered) -> AdminReply {
    AdminReply::Client {
        client: Box::new(ClientView::from(&registered.client)),
        client_secret: registered.client_secret.map(SecretText),
    }
}

fn client_id(text: &str) -> Result<ClientId, Failure> {
    ClientId::parse(text).map_err(|error| refused(format!("{text:?}: {error}")))
}

fn refused(why: impl Into<String>) -> Failure {
    Failure::Refused(why.into())
}

impl From<Error> for Failure {
    /// A refusal is told in the words of its table, with the clause to look it up in.
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refused(format!("{refusal} ({})", refusal.clause())),
            Error::Unavailable(unavailable) => Self::Unavailable(unavailable),
        }
    }
}
