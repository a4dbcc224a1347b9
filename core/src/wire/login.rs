//! The hand-off to pages of the host: where a person is sent, and how they come back.

use std::fmt;

use http::{HeaderMap, Method, Uri, header};

use super::form::Form;
use super::{APPS, INTERACTION};
use crate::engine::AuthorizationServer;
use crate::model::Handle;
use crate::protocol::Refusal;
use crate::protocol::authorize::{Interaction, parse_interaction};

/// What a visitor brought along who was sent to the host's sign-in page.
///
/// Keep [`query`](Self::query) on the way through the page's form, and send the visitor to
/// [`return_to`](Self::return_to) once it is known who it is. The address is always one of this
/// server, whatever stood in the request, so that nobody can be lured elsewhere (ATTACKS A18).
#[derive(Clone, PartialEq, Eq)]
#[must_use = "the visitor wants to go on: send them to return_to() once they are signed in"]
pub struct LoginRequest {
    return_to: String,
    /// Whether somebody who is signed in has to prove it once more (`prompt=login`, `max_age`):
    /// ask, and give the [`Authentication`](crate::model::Authentication) the new time.
    pub reauthenticate: bool,
    /// Whom the client believes to be signing in (OpenID Connect Core 1.0 section 3.1.2.1).
    pub login_hint: Option<String>,
    /// The languages that the client asks for (OpenID Connect Core 1.0 section 3.1.2.1).
    pub ui_locales: Option<String>,
}

impl LoginRequest {
    /// Where the visitor goes on.
    pub fn return_to(&self) -> &str {
        &self.return_to
    }

    /// The same request as a query, for the address that the sign-in form is posted to.
    pub fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("return_to", &self.return_to);
        if self.reauthenticate {
            query.append_pair("reauthenticate", "true");
        }
        for (name, value) in [("login_hint", &self.login_hint), ("ui_locales", &self.ui_locales)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }
}

impl fmt::Debug for LoginRequest {
    /// Without the address: it opens the pending authorization, in the browser that began it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest")
            .field("reauthenticate", &self.reauthenticate)
            .field("login_hint", &self.login_hint)
            .field("ui_locales", &self.ui_locales)
            .finish_non_exhaustive()
    }
}

/// Where a sign-in leads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then<'a> {
    Interaction(&'a Handle),
    Connections,
}

impl AuthorizationServer {
    /// Reads a request to the host's sign-in page
    /// ([`Builder::login_page`](crate::engine::Builder::login_page)): the one that shows it, and the one
    /// that posts its form, before anybody is signed in.
    ///
    /// `Ok(None)`: the visitor was not sent by this server, or the query is not whole; the host then goes
    /// on as if there were none.
    ///
    /// # Errors
    ///
    /// [`Refusal::CrossSiteRequest`]: another site has posted the form, or somebody who does not say which
    /// one. Sign nobody in, and answer 403: it may be the password of somebody else, in whose name the
    /// visitor would then go on (ATTACKS G03).
    pub fn login_request(
        &self,
        method: &Method,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<Option<LoginRequest>, Refusal> {
        if ![Method::GET, Method::HEAD].contains(method) && !self.is_from_here(headers) {
            return Err(Refusal::CrossSiteRequest);
        }
        Ok(self.read_login_request(uri.query().unwrap_or_default()))
    }

    fn read_login_request(&self, query: &str) -> Option<LoginRequest> {
        let query = Form::parse(query.as_bytes()).ok()?;
        let text = |name| Some(query.get(name).ok()??.to_owned());
        // What was sent is looked at, and never sent on: the address is written anew.
        let sent = text("return_to")?;
        let (address, parameters) = sent.split_once('?').unwrap_or((&sent, ""));
        let parameters = Form::parse(parameters.as_bytes()).ok()?;
        let return_to = match parameters.get("interaction").ok()? {
            Some(handle) => self.person_at(&Then::Interaction(&parse_interaction(handle).ok()?)),
            None => Some(self.person_at(&Then::Connections)).filter(|apps| apps == address)?,
        };
        Some(LoginRequest {
            return_to,
            reauthenticate: query.get("reauthenticate").ok()? == Some("true"),
            login_hint: text("login_hint"),
            ui_locales: text("ui_locales"),
        })
    }

    /// Whether a form was sent from a page of this origin, or of the sign-in page's if that is elsewhere.
    /// Every browser says where a form comes from; who does not is refused.
    fn is_from_here(&self, headers: &HeaderMap) -> bool {
        if let Some(site) = headers.get("sec-fetch-site") {
            // `none` is the user: a reload of the answer to a form.
            return site == "same-origin" || site == "none";
        }
        let page = self.login_page().and_then(|page| url::Url::parse(page).ok());
        let page = page.map(|page| page.origin().ascii_serialization());
        let ours = page.as_deref().unwrap_or(self.issuer().origin());
        headers.get(header::ORIGIN).is_some_and(|origin| origin == ours)
    }

    /// The host's sign-in page, for somebody who is to come back.
    pub(super) fn login_address(
        &self,
        page: &str,
        then: &Then<'_>,
        again: bool,
        asked: Option<&Interaction>,
    ) -> String {
        let request = LoginRequest {
            return_to: self.person_at(then),
            reauthenticate: again,
            login_hint: asked.and_then(|interaction| interaction.login_hint.clone()),
            ui_locales: asked.and_then(|interaction| interaction.ui_locales.clone()),
        };
        with_query(page, &request.query())
    }

    /// Where a person goes on. A sign-in page on another origin needs the whole address.
    fn person_at(&self, then: &Then<'_>) -> String {
        let below = match then {
            Then::Interaction(handle) => {
                self.interaction_address(handle).unwrap_or_else(|| self.interaction_path(handle))
            }
            Then::Connections => format!("{}{APPS}", self.issuer().path()),
        };
        let elsewhere = self.login_page().is_some_and(|page| page.contains("://"));
        if elsewhere && below.starts_with('/') {
            format!("{}{below}", self.issuer().origin())
        } else {
            below
        }
    }

    /// The page of the host on which a pending authorization goes on, if it has one.
    pub(super) fn interaction_address(&self, handle: &Handle) -> Option<String> {
        self.interaction_page().map(|page| with_query(page, &query_of(handle)))
    }

    /// This server's own path of a pending authorization.
    pub(super) fn interaction_path(&self, handle: &Handle) -> String {
        format!("{}{INTERACTION}?{}", self.issuer().path(), query_of(handle))
    }
}

fn query_of(handle: &Handle) -> String {
    format!("interaction={}", handle.encode().expose())
}

fn with_query(address: &str, query: &str) -> String {
    let divider = if address.contains('?') { '&' } else { '?' };
    format!("{address}{divider}{query}")
}
