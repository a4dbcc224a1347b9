//! What is asked and what is answered, without the texts: the model sees numbers in place of secrets.

use std::fmt;

/// A text that was seen in an answer: a code, a token, a client secret. Equal texts have equal numbers.
pub type Text = u32;
/// A registered client; the first four are [`WEB`], [`APP`], [`EVIL`] and [`API`].
pub type ClientNo = usize;
/// A user, and the browser that is theirs.
pub type UserNo = usize;
/// An authorization, numbered when it is asked for.
pub type GrantNo = u32;
/// A set of scopes, one bit each.
pub type Scopes = u8;

/// A confidential client.
pub const WEB: ClientNo = 0;
/// A public client on the user's device, at a loopback redirection URI.
pub const APP: ClientNo = 1;
/// A confidential client of the thief's own.
pub const EVIL: ClientNo = 2;
/// A resource server that may introspect, and that may act for itself.
pub const API: ClientNo = 3;

/// The scopes by bit. Clients may have the first two; the third exists; the last does not.
pub const SCOPES: [&str; 4] = ["read", "write", "admin", "nonsense"];
/// What clients may have.
pub const REGISTERED: Scopes = 0b0011;

/// Who calls an endpoint of clients, and with which secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// The `client_id`.
    pub client: ClientNo,
    /// The secret that is sent.
    pub secret: Shown,
}

/// The secret that a caller shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// None at all.
    Nothing,
    /// One that was issued to somebody.
    Secret(Text),
    /// One that nobody was given.
    Invented,
}

/// Something that must be shown beside a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The right one.
    Right,
    /// Another one.
    Wrong,
    /// None.
    Missing,
}

/// Where the client wants the code to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// To an address that it registered (for a native client, at any port).
    Registered,
    /// To the only one that it registered, by saying nothing.
    Unsaid,
    /// To another host.
    Elsewhere,
    /// To an address that begins like a registered one.
    Lookalike,
}

/// What an authorization request says about PKCE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pkce {
    /// An S256 challenge.
    S256,
    /// Nothing.
    Missing,
    /// The method `plain`.
    Plain,
}

/// An authorization request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// In whose browser.
    pub browser: UserNo,
    /// The client.
    pub client: ClientNo,
    /// `redirect_uri`.
    pub to: Where,
    /// `scope`; 0: none.
    pub scope: Scopes,
    /// `code_challenge`.
    pub pkce: Pkce,
    /// `prompt=consent`.
    pub ask_again: bool,
    /// The number of the authorization that it begins.
    pub grant: GrantNo,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the sentence that each one prints says what it is")]
pub enum Request {
    Register {
        client: ClientNo,
        public: bool,
    },
    Rotate {
        client: ClientNo,
    },
    Remove {
        client: ClientNo,
    },
    RevokeClient {
        client: ClientNo,
    },
    RevokeUser {
        user: UserNo,
    },
    Withdraw {
        user: UserNo,
        client: ClientNo,
    },
    SignOut {
        browser: UserNo,
    },
    Sweep,
    Authorize(Asking),
    Look {
        browser: UserNo,
        grant: GrantNo,
    },
    SignIn {
        browser: UserNo,
        grant: GrantNo,
        user: UserNo,
        right: bool,
    },
    /// `shown_to`: the user whom the page was made for. No scope: a denial.
    Decide {
        browser: UserNo,
        grant: GrantNo,
        shown_to: UserNo,
        scope: Scopes,
    },
    Redeem {
        by: By,
        code: Text,
        verifier: Proof,
        redirect: Proof,
    },
    /// `scope`: 0, if the request names none.
    Refresh {
        by: By,
        token: Text,
        scope: Scopes,
    },
    Service {
        by: By,
        scope: Scopes,
    },
    Revoke {
        by: By,
        token: Text,
    },
    Introspect {
        by: By,
        token: Text,
    },
    Bearer {
        token: Text,
        scope: Scopes,
    },
}

/// What is said of an active token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whose token it is.
    pub client: ClientNo,
    /// Who allowed it.
    pub user: Option<UserNo>,
    /// Whether the user's name was told.
    pub name_told: bool,
    /// What it opens.
    pub scope: Scopes,
    /// When it expires, in seconds.
    pub until: u64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the sentence that each one prints says what it is")]
pub enum Answer {
    /// The process died, or the request was never answered.
    Lost,
    /// 503, or the same as a redirect.
    NotNow,
    Done,
    Refused(String),
    Registered {
        secret: Option<Text>,
    },
    Tokens {
        access: Text,
        refresh: Option<Text>,
        scope: Scopes,
        lasts: u64,
    },
    Active(Told),
    Inactive,
    Asks,
    SignInPage,
    SignedIn,
    ConsentPage {
        scope: Scopes,
    },
    ErrorPage,
    ErrorTo(String),
    Code(Text),
    /// Nothing that was foreseen.
    Odd(String),
}

impl Answer {
    /// Whether it leaves open what happened.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Lost | Self::NotNow)
    }
}

/// Who a request comes from, where clients call.
pub(crate) fn caller(request: &Request) -> Option<By> {
    match *request {
        Request::Redeem { by, .. }
        | Request::Refresh { by, .. }
        | Request::Service { by, .. }
        | Request::Revoke { by, .. }
        | Request::Introspect { by, .. } => Some(by),
        _ => None,
    }
}

/// How a client is called in stories.
pub fn client_name(client: ClientNo) -> String {
    match client {
        WEB => "the web client".into(),
        APP => "the app".into(),
        EVIL => "the thief's client".into(),
        API => "the resource server".into(),
        n => format!("client {n}"),
    }
}

/// How a user is called in stories.
pub const USERS: [&str; 2] = ["alice", "bob"];

pub(crate) fn user_name(user: UserNo) -> &'static str {
    USERS.get(user).copied().unwrap_or("nobody")
}

/// The scopes of a set, as a `scope` parameter.
pub fn scope_text(scope: Scopes) -> String {
    let named = SCOPES.iter().enumerate().filter(|(bit, _)| scope & (1 << bit) != 0);
    named.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

/// The set that a `scope` parameter names.
pub fn scope_set(text: &str) -> Scopes {
    let bit = |name: &str| SCOPES.iter().position(|known| *known == name);
    text.split(' ').filter_map(bit).fold(0, |set, bit| set | (1 << bit))
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&client_name(self.client))?;
        match self.secret {
            Shown::Nothing if self.client == APP => Ok(()),
            Shown::Nothing => f.write_str(" (or a thief in its name), without a secret,"),
            Shown::Secret(text) => write!(f, " with secret #{text}"),
            Shown::Invented => f.write_str(" (or a thief in its name), with an invented secret,"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Register { client, public } => {
                let kind = if public { "public" } else { "confidential" };
                write!(f, "the operator registers {}, {kind}", client_name(client))
            }
            Self::Rotate { client } => {
                write!(f, "the operator rotates the secret of {}", client_name(client))
            }
            Self::Remove { client } => write!(f, "the operator removes {}", client_name(client)),
            Self::RevokeClient { client } => {
                write!(f, "the operator revokes everything of {}", client_name(client))
            }
            Self::RevokeUser { user } => {
                write!(f, "the operator revokes everything of {}", user_name(user))
            }
            Self::Withdraw { user, client } => {
                write!(f, "{} withdraws the consent to {}", user_name(user), client_name(client))
            }
            Self::SignOut { browser } => write!(f, "{}'s browser signs out", user_name(browser)),
            Self::Sweep => f.write_str("the server sweeps its store"),
            Self::Authorize(asking) => asking.fmt(f),
            Self::Look { browser, grant } => {
                write!(f, "{}'s browser opens authorization {grant}", user_name(browser))
            }
            Self::SignIn { browser, grant, user, right } => write!(
                f,
                "in {}'s browser somebody signs in as {} with a {} password (authorization {grant})",
                user_name(browser),
                user_name(user),
                if right { "right" } else { "wrong" }
            ),
            Self::Decide { browser, grant, shown_to, scope } => {
                write!(
                    f,
                    "{}'s browser answers the page that {} was shown: ",
                    user_name(browser),
                    user_name(shown_to)
                )?;
                match scope {
                    0 => write!(f, "denies authorization {grant}"),
                    _ => write!(f, "allows {} to authorization {grant}", scope_text(scope)),
                }
            }
            Self::Redeem { by, code, verifier, redirect } => {
                write!(f, "{by} redeems code #{code}")?;
                match verifier {
                    Proof::Right => f.write_str(" with its verifier"),
                    Proof::Wrong => f.write_str(" with a wrong verifier"),
                    Proof::Missing => f.write_str(" without a verifier"),
                }?;
                match redirect {
                    Proof::Right => Ok(()),
                    Proof::Wrong => f.write_str(" and another redirection URI"),
                    Proof::Missing => f.write_str(" and no redirection URI"),
                }
            }
            Self::Refresh { by, token, scope } => {
                write!(f, "{by} refreshes with token #{token}")?;
                if scope == 0 { Ok(()) } else { write!(f, " for {}", scope_text(scope)) }
            }
            Self::Service { by, scope } => {
                write!(f, "{by} asks for a token of its own for {}", scope_text(scope))
            }
            Self::Revoke { by, token } => write!(f, "{by} revokes token #{token}"),
            Self::Introspect { by, token } => write!(f, "{by} introspects token #{token}"),
            Self::Bearer { token, scope } => {
                write!(f, "somebody uses token #{token} where {} is needed", scope_text(scope))
            }
        }
    }
}

impl fmt::Display for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, client) = (user_name(self.browser), client_name(self.client));
        write!(
            f,
            "{client} sends {who}'s browser to ask for {} (authorization {}",
            scope_text(self.scope),
            self.grant
        )?;
        match self.to {
            Where::Registered => Ok(()),
            Where::Unsaid => f.write_str(", no redirection URI"),
            Where::Elsewhere => f.write_str(", redirection URI elsewhere"),
            Where::Lookalike => f.write_str(", redirection URI that looks like its own"),
        }?;
        match self.pkce {
            Pkce::S256 => Ok(()),
            Pkce::Missing => f.write_str(", no challenge"),
            Pkce::Plain => f.write_str(", plain challenge"),
        }?;
        f.write_str(if self.ask_again { ", prompt=consent)" } else { ")" })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("never answered"),
            Self::NotNow => f.write_str("not now"),
            Self::Done => f.write_str("done"),
            Self::Refused(error) => write!(f, "refused {error}"),
            Self::Registered { secret: Some(text) } => write!(f, "gets secret #{text}"),
            Self::Registered { secret: None } => f.write_str("registered"),
            Self::Tokens { access, refresh, scope, lasts } => {
                write!(f, "gets access token #{access} for {} and {lasts} s", scope_text(*scope))?;
                match refresh {
                    Some(refresh) => write!(f, ", refresh token #{refresh}"),
                    None => Ok(()),
                }
            }
            Self::Active(told) => write!(f, "active, {}", scope_text(told.scope)),
            Self::Inactive => f.write_str("inactive"),
            Self::Asks => f.write_str("the user is asked"),
            Self::SignInPage => f.write_str("asked to sign in"),
            Self::SignedIn => f.write_str("signed in"),
            Self::ConsentPage { scope } => write!(f, "asked to allow {}", scope_text(*scope)),
            Self::ErrorPage => f.write_str("an error page"),
            Self::ErrorTo(error) => write!(f, "back to the client with {error}"),
            Self::Code(code) => write!(f, "back to the client with code #{code}"),
            Self::Odd(what) => write!(f, "something odd: {what}"),
        }
    }
}
