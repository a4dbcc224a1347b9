//! The whole server as one function from request to response.

use std::pin::Pin;

use bytes::Bytes;
use http::{Method, Request, Response};

use crate::engine::{AuthorizationServer, Browser, Error, Unavailable};
use crate::model::Secret;
use crate::protocol::authorize::{AuthorizationError, Interaction, Outcome};
use crate::protocol::{Event, Refusal};
use crate::wire::login::Then;
use crate::wire::reply::{Replies, share};
use crate::wire::{self, Call, Route, Surface, Unserved, Visit};

/// An answer to come, unless the store or the host is away.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Unavailable>> + Send + 'a>>;

impl AuthorizationServer {
    /// Answers a request. This is all that an adapter for a web framework has to call.
    ///
    /// The future must be driven to its end even if the connection that asked for it is dropped:
    /// `grantor-tower` sees to that. The simplest way is a task for each, `spawn(server.handle(request))`: the
    /// future has a server of its own. A body longer than [`wire::MAX_BODY_LEN`] need not be read; say so with
    /// [`wire::BodyTooLarge`].
    pub fn handle(
        &self,
        request: Request<Bytes>,
    ) -> impl Future<Output = Response<Bytes>> + Send + use<> {
        let server = self.clone();
        async move {
            let server = &server;
            let replies = Replies::to(server, request.headers());
            let route = Route::of(request.uri().path(), server.issuer());
            let mut response = match wire::parse(server, route, &request) {
                Ok(call) => match server.answer(call, replies).await {
                    Ok(answer) => answer,
                    Err(cause) => {
                        Box::pin(server.unavailable(&cause, Surface::Json, replies)).await
                    }
                },
                Err(unserved) => {
                    if let Unserved::Refused { refusal, .. } = &unserved {
                        server.refused("read", None, refusal).await;
                    }
                    replies.unserved(&unserved)
                }
            };
            if route.is_some_and(Route::is_shared) {
                share(&mut response);
            }
            if request.method() == Method::HEAD {
                *response.body_mut() = Bytes::new();
            }
            response
        }
    }

    /// Every path that [`handle`](Self::handle) answers with something other than 404.
    pub fn paths(&self) -> Vec<String> {
        wire::paths(self.issuer())
    }

    /// Whether this is the path of an endpoint that programs call and no person visits, such as the token
    /// endpoint: who is signed in at the host is of no matter there, and need not be looked up.
    pub fn is_for_programs(&self, path: &str) -> bool {
        wire::Route::of(path, self.issuer()).is_some_and(wire::Route::is_for_programs)
    }

    /// The answer to come, in a box of its own: allocators are quick with a thousand bytes and slow with
    /// more, and what a visit takes is eight times that.
    fn answer<'a>(&'a self, call: Call, replies: Replies<'a>) -> Answer<'a> {
        match call {
            Call::Token { client, request } => Box::pin(async move {
                let tokens = self.token(&client, &request).await;
                json(tokens, replies, |tokens| replies.tokens(&tokens))
            }),
            Call::Extension { client, grant_type, parameters } => Box::pin(async move {
                let tokens = self.extension_token(&client, &grant_type, &parameters).await;
                json(tokens, replies, |tokens| replies.tokens(&tokens))
            }),
            Call::Revoke { client, token } => Box::pin(async move {
                let done = self.revoke_token(&client, token.expose()).await;
                json(done, replies, |()| replies.revoked())
            }),
            Call::Introspect { client, token } => Box::pin(async move {
                let found = self.introspect_token(&client, token.expose()).await;
                json(found, replies, |found| replies.introspection(&found))
            }),
            Call::Metadata => Box::pin(async move { Ok(replies.metadata()) }),
            Call::Stylesheet { signed_out } => {
                Box::pin(async move { Ok(replies.stylesheet(signed_out)) })
            }
            Call::Preflight => Box::pin(async move { Ok(replies.preflight()) }),
            Call::Visit(visit) => Box::pin(async move { Ok(self.visit(*visit, replies).await) }),
        }
    }

    async fn visit(&self, visit: Visit, replies: Replies<'_>) -> Response<Bytes> {
        match visit {
            Visit::Authorize { request, browser } => {
                match self.authorize(&request, &browser).await {
                    Ok(
                        Outcome::LoginRequired(interaction)
                        | Outcome::ReauthenticationRequired(interaction),
                    ) => replies.to_interaction(&interaction),
                    Ok(Outcome::ConsentRequired(prompt)) => {
                        replies.to_interaction(&prompt.interaction)
                    }
                    outcome => self.page(outcome, replies).await,
                }
            }
            Visit::Interaction { handle, browser } => {
                self.page(self.resume(&handle, &browser).await, replies).await
            }
            Visit::Consent { request, browser } => {
                self.page(self.consent(&request, &browser).await, replies).await
            }
            Visit::Login { handle, credentials, browser } => {
                // Whether this browser may sign in here at all is settled before the password is
                // looked at (ATTACKS G03).
                let (interaction, again) = match self.resume(&handle, &browser).await {
                    Ok(Outcome::LoginRequired(interaction)) => (interaction, false),
                    Ok(Outcome::ReauthenticationRequired(interaction)) => (interaction, true),
                    outcome => return self.page(outcome, replies).await,
                };
                match self.sign_in(&credentials, &browser).await {
                    Ok(session) => replies.signed_in(&session, &Then::Interaction(&handle)),
                    Err(Error::Refused(refusal)) => {
                        let username = Some(credentials.username.as_str());
                        replies.sign_in(&interaction, again, username, Some(&refusal))
                    }
                    Err(Error::Unavailable(cause)) => {
                        self.unavailable(&cause, Surface::Page, replies).await
                    }
                }
            }
            Visit::Connections { browser, withdrawn } => {
                self.connections_page(&browser, withdrawn, replies).await
            }
            Visit::ConnectionsLogin { credentials, browser } => {
                match (self.sign_in(&credentials, &browser).await, &browser.secret) {
                    (Ok(session), _) => replies.signed_in(&session, &Then::Connections),
                    (Err(Error::Refused(refusal)), Some(secret)) => {
                        let (name, session) = (&credentials.username, browser.session.as_ref());
                        replies.connections_sign_in(secret, name, Some(&refusal), session)
                    }
                    (Err(Error::Refused(refusal)), None) => replies.page_error(&refusal),
                    (Err(Error::Unavailable(cause)), _) => {
                        self.unavailable(&cause, Surface::Page, replies).await
                    }
                }
            }
            Visit::Withdraw { client_id, browser } => {
                let account = match self.signed_in(&browser).await {
                    Ok(Some(account)) => account,
                    Ok(None) => return replies.page_error(&Refusal::SignInRequired),
                    Err(error) => return self.page_error(&error, replies).await,
                };
                match self.withdraw_consent(&account.subject, &client_id).await {
                    // Withdrawn already: by another tab, or by this form sent twice.
                    Ok(()) | Err(Error::Refused(Refusal::ConsentUnknown)) => replies.withdrawn(),
                    Err(error) => self.page_error(&error, replies).await,
                }
            }
            Visit::SignOut { browser } => {
                let done = match &browser.session {
                    Some(session) => self.sign_out(session).await,
                    None => Ok(()),
                };
                match done {
                    Ok(()) => replies.signed_out(),
                    Err(error) => self.page_error(&error, replies).await,
                }
            }
        }
    }

    async fn page(
        &self,
        outcome: Result<Outcome, Error<AuthorizationError>>,
        replies: Replies<'_>,
    ) -> Response<Bytes> {
        match outcome {
            Ok(Outcome::LoginRequired(interaction)) => self.ask_who(&interaction, false, replies),
            Ok(Outcome::ReauthenticationRequired(interaction)) => {
                self.ask_who(&interaction, true, replies)
            }
            Ok(Outcome::ConsentRequired(prompt)) => replies.consent(&prompt),
            Ok(Outcome::Redirect(response)) => replies.to_client(&response),
            Err(Error::Refused(error)) => match error.response(self.issuer().as_str()) {
                Some(response) => replies.to_client(&response),
                None => replies.page_error(&error.refusal),
            },
            Err(Error::Unavailable(cause)) => {
                self.unavailable(&cause, Surface::Page, replies).await
            }
        }
    }

    /// The user is to sign in: here, or at the host.
    fn ask_who(
        &self,
        interaction: &Interaction,
        again: bool,
        replies: Replies<'_>,
    ) -> Response<Bytes> {
        let then = Then::Interaction(&interaction.handle);
        match self.login_page() {
            Some(page) => replies.to_login_page(page, &then, again, Some(interaction)),
            None => replies.sign_in(interaction, again, None, None),
        }
    }

    async fn connections_page(
        &self,
        browser: &Browser,
        withdrawn: bool,
        replies: Replies<'_>,
    ) -> Response<Bytes> {
        let secret: Secret = match browser.secret.clone().map_or_else(|| self.new_secret(), Ok) {
            Ok(secret) => secret,
            Err(cause) => return self.unavailable(&cause, Surface::Page, replies).await,
        };
        let session = browser.session.as_ref();
        let account = match self.signed_in(browser).await {
            Ok(Some(account)) => account,
            Ok(None) => {
                return match self.login_page() {
                    Some(login_page) => {
                        replies.to_login_page(login_page, &Then::Connections, false, None)
                    }
                    None => replies.connections_sign_in(&secret, "", None, session),
                };
            }
            Err(error) => return self.page_error(&error, replies).await,
        };
        match self.connections(&account.subject).await {
            Ok(found) => replies.connections(&secret, session, &account, &found, withdrawn),
            Err(error) => self.page_error(&error, replies).await,
        }
    }

    async fn page_error(&self, error: &Error, replies: Replies<'_>) -> Response<Bytes> {
        match error {
            Error::Refused(refusal) => replies.page_error(refusal),
            Error::Unavailable(cause) => self.unavailable(cause, Surface::Page, replies).await,
        }
    }

    /// The operator learns why; whoever asked learns that it is worth trying again.
    async fn unavailable(
        &self,
        cause: &Unavailable,
        surface: Surface,
        replies: Replies<'_>,
    ) -> Response<Bytes> {
        self.emit(Event::Unavailable { reason: cause.to_string() }).await;
        replies.unavailable(surface)
    }
}

fn json<T>(
    outcome: Result<T, Error>,
    replies: Replies<'_>,
    reply: impl FnOnce(T) -> Response<Bytes>,
) -> Result<Response<Bytes>, Unavailable> {
    match outcome {
        Ok(answer) => Ok(reply(answer)),
        Err(Error::Refused(refusal)) => Ok(replies.json_error(&refusal)),
        Err(Error::Unavailable(cause)) => Err(cause),
    }
}
