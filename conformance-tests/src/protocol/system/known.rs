//! What anybody outside the server knows: secrets, codes, tokens, cookies, pages.

use std::collections::BTreeMap;

use grantor::model::ClientId;

use crate::protocol::request::{By, ClientNo, GrantNo, Shown, Text, USERS, UserNo};

/// What a client keeps of itself.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) id: ClientId,
    /// Oldest first.
    pub(crate) secrets: Vec<Text>,
    pub(crate) redirect_uri: Option<String>,
}

/// What an authorization was asked for with.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) client: ClientNo,
    pub(super) redirect_uri: String,
    pub(super) state: String,
}

/// A code that was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownCode {
    pub(crate) text: Text,
    pub(crate) grant: GrantNo,
    pub(crate) client: ClientNo,
}

/// A token that was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownToken {
    pub(crate) text: Text,
    /// Of which authorization; tokens of services have none.
    pub(crate) grant: Option<GrantNo>,
    pub(crate) client: ClientNo,
    pub(crate) refresh: bool,
}

/// A consent page that a browser shows.
#[derive(Clone, Debug)]
pub(super) struct ConsentPage {
    pub(super) user: UserNo,
    pub(super) hidden: Vec<(String, String)>,
}

/// Everything that anybody outside the server knows.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) clients: BTreeMap<ClientNo, Registered>,
    pub(crate) codes: Vec<KnownCode>,
    pub(crate) tokens: Vec<KnownToken>,
    /// Authorizations that wait for their user, with their browsers.
    pub(crate) pending: Vec<(GrantNo, UserNo)>,
    pub(super) texts: Vec<String>,
    pub(crate) numbers: BTreeMap<String, Text>,
    pub(super) contexts: BTreeMap<GrantNo, Context>,
    pub(super) handles: BTreeMap<GrantNo, String>,
    pub(super) pages: BTreeMap<GrantNo, ConsentPage>,
    pub(super) jars: [BTreeMap<String, String>; USERS.len()],
    pub(super) users_in: [Option<UserNo>; USERS.len()],
}

impl Known {
    pub(super) fn number(&mut self, text: &str) -> Text {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = Text::try_from(self.texts.len()).unwrap_or(Text::MAX);
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    pub(super) fn text(&self, number: Text) -> String {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        self.texts.get(at).cloned().unwrap_or_default()
    }

    /// Who shows what to be this client.
    pub(crate) fn by(&self, client: ClientNo) -> By {
        let secret = self.clients.get(&client).and_then(|client| client.secrets.last().copied());
        By { client, secret: secret.map_or(Shown::Nothing, Shown::Secret) }
    }

    pub(crate) fn code(&self, text: Text) -> Option<KnownCode> {
        self.codes.iter().find(|known| known.text == text).copied()
    }

    pub(crate) fn token(&self, text: Text) -> Option<KnownToken> {
        self.tokens.iter().find(|known| known.text == text).copied()
    }

    /// Who signed in last with a browser.
    pub(crate) fn user_in(&self, browser: UserNo) -> Option<UserNo> {
        self.users_in.get(browser).copied().flatten()
    }

    /// Whom the consent page of an authorization was made for.
    pub(crate) fn page_user(&self, grant: GrantNo) -> Option<UserNo> {
        self.pages.get(&grant).map(|page| page.user)
    }
}
