//! What users see: sign-in, consent, connected apps, errors.
//!
//! A page is a plain value; [`Pages`] turns it into HTML. [`DefaultPages`] is ready to use, and its look,
//! words and templates can be changed ([`DefaultPages::customize`]); a host with a template engine of its
//! own implements the trait. Everything in a page that came from a client is text: escape it,
//! and load nothing from it. The headers that forbid scripts, frames and foreign resources are set by
//! [`wire`](crate::wire), whatever the HTML says.
//!
//! Element ids are stable, so that outside tools can drive the pages: `username`, `password`, `login`,
//! `allow`, `deny`, `scope-0`, `scope-1` ... (one checkbox per scope, in the order of
//! [`ConsentPage::scopes`]), `withdraw-0` ..., `logout`, `error`, `problem`.

mod check;
mod custom;
mod default;
mod json;
mod names;
#[cfg(test)]
mod tests;
mod texts;

use std::fmt;

pub use self::custom::{CustomPages, InvalidPages};
pub use self::default::DefaultPages;
pub(crate) use self::json::json;
use crate::protocol::authorize::{ClientSummary, Destination};

/// Turns pages into HTML.
pub trait Pages: fmt::Debug + Send + Sync + 'static {
    /// The languages that can be rendered, as BCP 47 tags in lower case. The first one is spoken where
    /// none was asked for. Never empty.
    fn languages(&self) -> Vec<&str>;

    /// A complete HTML document in `language`, one of [`languages`](Self::languages).
    fn render(&self, page: &Page<'_>, language: &str) -> String;

    /// The style sheet, served at [`Frame::stylesheet`]; the pages may use no other style.
    fn stylesheet(&self) -> &str;
}

/// A page to render.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// What all pages share.
    pub frame: Frame<'a>,
    /// What this page is about.
    pub body: Body<'a>,
}

/// What all pages share.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The address of the style sheet.
    pub stylesheet: &'a str,
    /// The host of this server, for the user to recognise.
    pub host: &'a str,
}

/// What a page is about.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is described by its type")]
pub enum Body<'a> {
    SignIn(SignInPage<'a>),
    Consent(ConsentPage<'a>),
    Connections(ConnectionsPage<'a>),
    SignedOut(SignedOutPage<'a>),
    Error(ErrorPage<'a>),
}

/// Hidden fields of a form, to be written as they are.
pub type Hidden<'a> = Vec<(&'static str, &'a str)>;

/// The user is to sign in: fields `username` and `password`.
#[derive(Clone, Debug)]
pub struct SignInPage<'a> {
    /// Where the form is posted.
    pub action: &'a str,
    /// Hidden fields of the form.
    pub hidden: Hidden<'a>,
    /// Who sent the user here; `None`: the user came for the page of connected apps.
    pub client: Option<&'a ClientSummary>,
    /// What is already in the field `username`.
    pub username: &'a str,
    /// Whether the user was signed in before and is asked again.
    pub again: bool,
    /// What was wrong with the last attempt.
    pub problem: Option<SignInProblem>,
}

/// What was wrong with an attempt to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInProblem {
    /// User name or password is wrong: there is no telling which.
    WrongCredentials,
    /// Too many attempts.
    TooManyAttempts {
        /// When another attempt will be looked at, in seconds.
        retry_after_seconds: u32,
    },
}

/// The user is to say what the client may have: a checkbox named `scope` per scope, and two submit
/// buttons named `decision` with the values `allow` and `deny`.
#[derive(Clone, Debug)]
pub struct ConsentPage<'a> {
    /// Where the form is posted.
    pub action: &'a str,
    /// Hidden fields of the form.
    pub hidden: Hidden<'a>,
    /// Who asks.
    pub client: &'a ClientSummary,
    /// Where the code will be sent.
    pub destination: &'a Destination,
    /// As whom the user is signed in.
    pub username: &'a str,
    /// What is asked for.
    pub scopes: Vec<ScopeRow<'a>>,
    /// How long the client may go on without asking again, in days; `None`: until the access token
    /// expires.
    pub lifetime_days: Option<u64>,
}

/// One scope of a page.
#[derive(Clone, Debug)]
pub struct ScopeRow<'a> {
    /// The scope: the value of its checkbox.
    pub name: &'a str,
    /// What it means, in the language of the page.
    pub description: &'a str,
    /// Whether the user has allowed it before.
    pub allowed_before: bool,
}

/// The clients that the user has allowed something, each with a form that withdraws it: a submit
/// button named `client_id`.
#[derive(Clone, Debug)]
pub struct ConnectionsPage<'a> {
    /// Where the forms are posted.
    pub action: &'a str,
    /// Where the form that signs out is posted; `None`: the host signs users in, and out.
    pub sign_out: Option<&'a str>,
    /// Hidden fields of every form.
    pub hidden: Hidden<'a>,
    /// As whom the user is signed in.
    pub username: &'a str,
    /// The clients.
    pub connections: Vec<ConnectionRow<'a>>,
    /// Whether something was just withdrawn.
    pub withdrawn: bool,
}

/// One client of the page of connected apps.
#[derive(Clone, Debug)]
pub struct ConnectionRow<'a> {
    /// Its identifier: the value of its button.
    pub client_id: &'a str,
    /// What it called itself when it was allowed.
    pub client_name: &'a str,
    /// What it may do, in the language of the page.
    pub scopes: Vec<&'a str>,
    /// Since when, as `YYYY-MM-DD`.
    pub since: String,
}

/// The user has signed out.
#[derive(Clone, Debug)]
pub struct SignedOutPage<'a> {
    /// Where to sign in again.
    pub sign_in: &'a str,
}

/// Something went wrong that no client can be told about.
#[derive(Clone, Debug)]
pub struct ErrorPage<'a> {
    /// What the user should understand.
    pub kind: ErrorKind,
    /// What a developer should know: English, and holds nothing that came with the request.
    pub detail: &'a str,
}

/// What the user should understand of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The app sent the user here with a request that cannot be right; only its makers can mend it.
    BadRequest,
    /// The user took too long: go back to the app and begin again.
    Expired,
    /// The page belongs to another browser: begin again in this one.
    AnotherBrowser,
    /// The page was answered already: go back to the app.
    AlreadyAnswered,
    /// There is no such page.
    NotFound,
    /// The form was sent from another site, or the page is old: go back and try again.
    NotFromHere,
    /// Too many attempts: wait.
    TooManyAttempts,
    /// The server cannot answer now: try again.
    Unavailable,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::BadRequest,
        Self::Expired,
        Self::AnotherBrowser,
        Self::AlreadyAnswered,
        Self::NotFound,
        Self::NotFromHere,
        Self::TooManyAttempts,
        Self::Unavailable,
    ];
}
