//! The requests that are measured: their bytes, what must come back, and what is kept of it.

use std::collections::VecDeque;

use crate::contender::{
    CALLBACK, CHALLENGE, CONFIDENTIAL, Fatal, PUBLIC, Ready, SCOPE, USERS, VERIFIER,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::load::{Answer, Work};

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// With a secret, for an opaque token.
    ClientCredentials,
    /// By somebody who is signed in and has allowed it before.
    Authorize,
    /// The exchange of a code by a client with a secret.
    CodeConfidential,
    /// The same by one without.
    CodePublic,
    /// Of an access token.
    Introspection,
    /// Something that an access token opens.
    Resource,
    /// With rotation.
    Refresh,
    /// A refresh token that was used long ago.
    Reuse,
    /// Of a refresh token.
    Revocation,
}

impl Request {
    /// In the order in which they are measured: each finds what those before it have made.
    pub const ALL: [Self; 9] = [
        Self::ClientCredentials,
        Self::Authorize,
        Self::CodeConfidential,
        Self::CodePublic,
        Self::Introspection,
        Self::Resource,
        Self::Refresh,
        Self::Reuse,
        Self::Revocation,
    ];

    /// As it is called in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials, opaque",
            Self::Authorize => "authorize, consent remembered",
            Self::CodeConfidential => "code exchange, confidential",
            Self::CodePublic => "code exchange, public",
            Self::Introspection => "introspection",
            Self::Resource => "protected resource",
            Self::Refresh => "refresh rotation",
            Self::Reuse => "reuse detection",
            Self::Revocation => "revocation",
        }
    }

    /// Whether others of these need what it issues.
    pub fn issues_for(self, others: &[Self]) -> bool {
        match self {
            Self::CodeConfidential => others.iter().any(|other| *other >= Self::Introspection),
            Self::Refresh => others.iter().any(|other| *other > Self::Refresh),
            _ => false,
        }
    }

    /// Whether this server answers it.
    pub fn offered(self, ready: &Ready) -> bool {
        match self {
            Self::Introspection => ready.introspect.is_some(),
            Self::Reuse => ready.retired.is_some(),
            Self::Revocation => ready.revoke.is_some(),
            _ => true,
        }
    }
}

/// What a server has issued and what is still good for something.
#[derive(Debug, Default)]
pub struct Issued {
    /// Authorization codes.
    pub codes: VecDeque<String>,
    /// Access tokens.
    pub access: VecDeque<String>,
    /// Refresh tokens.
    pub refresh: VecDeque<String>,
}

/// What becomes of a token that has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Gone,
    Again,
    /// The one that came back for it is sent when all others have been.
    Successor,
}

/// Tokens that are sent, one a request.
#[derive(Debug)]
pub struct Requests {
    before: Vec<u8>,
    /// Begins the body; `None`: there is none, and the token ends a header.
    body: Option<(Vec<u8>, Vec<u8>)>,
    tokens: VecDeque<String>,
    /// How many there were to begin with.
    supply: usize,
    after: After,
    request: Request,
    /// What came back so far.
    pub issued: Issued,
}

const REFRESH: &str = "grant_type=refresh_token&refresh_token=";

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: Option<String>,
}

fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn post(ready: &Ready, path: &str, basic: bool) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n", ready.port);
    if basic {
        let pair = STANDARD.encode(format!("{CONFIDENTIAL}:{}", ready.secret));
        head.push_str(&format!("authorization: Basic {pair}\r\n"));
    }
    head.push_str("content-type: application/x-www-form-urlencoded\r\ncontent-length: ");
    head.into_bytes()
}

impl Requests {
    /// `tokens` are what `request` is about: codes, access tokens, refresh tokens.
    pub fn new(ready: &Ready, request: Request, tokens: VecDeque<String>) -> Self {
        let client = if request == Request::CodePublic { PUBLIC } else { CONFIDENTIAL };
        let missing = String::new();
        let (before, body, after) = match request {
            Request::ClientCredentials => {
                let body = form([("grant_type", "client_credentials"), ("scope", SCOPE)]);
                (post(ready, &ready.token, true), Some((body, String::new())), After::Again)
            }
            Request::Authorize => return Self::authorize(ready, client),
            Request::CodeConfidential | Request::CodePublic => {
                let mut rest = vec![("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
                let basic = client == CONFIDENTIAL;
                if !basic {
                    rest.push(("client_id", client));
                }
                let start = "grant_type=authorization_code&code=".to_owned();
                let body = (start, format!("&{}", form(rest)));
                (post(ready, &ready.token, basic), Some(body), After::Gone)
            }
            Request::Introspection => {
                let path = ready.introspect.as_ref().unwrap_or(&missing);
                let body = ("token=".to_owned(), String::new());
                (post(ready, path, true), Some(body), After::Again)
            }
            Request::Revocation => {
                let path = ready.revoke.as_ref().unwrap_or(&missing);
                let body = ("token=".to_owned(), String::new());
                (post(ready, path, true), Some(body), After::Gone)
            }
            Request::Refresh => {
                let body = (REFRESH.to_owned(), String::new());
                (post(ready, &ready.token, true), Some(body), After::Successor)
            }
            Request::Reuse => {
                let path = ready.retired.as_ref().unwrap_or(&missing);
                let body = (REFRESH.to_owned(), String::new());
                (post(ready, path, true), Some(body), After::Gone)
            }
            Request::Resource => {
                let (path, port) = (&ready.resource, ready.port);
                let head = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n");
                ((head + "authorization: Bearer ").into_bytes(), None, After::Again)
            }
        };
        let tokens =
            if request == Request::ClientCredentials { [String::new()].into() } else { tokens };
        let body = body.map(|(start, end)| (start.into_bytes(), end.into_bytes()));
        let supply = tokens.len();
        Self { before, body, tokens, supply, after, request, issued: Issued::default() }
    }

    /// Every one of these refresh tokens once; what comes back is among what was issued.
    pub fn rotation(ready: &Ready, tokens: VecDeque<String>) -> Self {
        Self { after: After::Gone, ..Self::new(ready, Request::Refresh, tokens) }
    }

    /// Codes for a client, asked for by all users by turns.
    pub fn authorize(ready: &Ready, client: &str) -> Self {
        let query = form([
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", CALLBACK),
            ("scope", SCOPE),
            ("state", "af0ifjsldkj"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        let (path, port) = (&ready.authorize, ready.port);
        let head =
            format!("GET {path}?{query} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncookie: user=u");
        Self {
            before: head.into_bytes(),
            body: None,
            tokens: (0..USERS).map(|number| number.to_string()).collect(),
            supply: 0,
            after: After::Again,
            request: Request::Authorize,
            issued: Issued::default(),
        }
    }

    /// What is left, after the requests: tokens that were not sent, or may be sent again.
    pub fn into_tokens(self) -> VecDeque<String> {
        self.tokens
    }
}

impl Work for Requests {
    fn next(&mut self, bytes: &mut Vec<u8>) -> bool {
        let Some(token) = self.tokens.pop_front() else { return false };
        bytes.extend_from_slice(&self.before);
        match &self.body {
            None => {
                bytes.extend_from_slice(token.as_bytes());
                bytes.extend_from_slice(b"\r\n\r\n");
            }
            Some((start, end)) => {
                let encoded: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
                let length = start.len() + encoded.len() + end.len();
                bytes.extend_from_slice(format!("{length}\r\n\r\n").as_bytes());
                bytes.extend_from_slice(start);
                bytes.extend_from_slice(encoded.as_bytes());
                bytes.extend_from_slice(end);
            }
        }
        if self.after == After::Again {
            self.tokens.push_back(token);
        }
        true
    }

    fn scarce(&self) -> bool {
        self.after != After::Again && self.tokens.len() < self.supply * 3 / 4
    }

    fn answered(&mut self, answer: &Answer<'_>) -> Result<(), Fatal> {
        let wrong = || {
            let (name, body) = (self.request.name(), String::from_utf8_lossy(answer.body));
            format!("{name}: {} {} {body}", answer.status, answer.location)
        };
        let tokens = || -> Result<Tokens, Fatal> {
            if answer.status != 200 {
                return Err(wrong().into());
            }
            Ok(serde_json::from_slice(answer.body).map_err(|_| wrong())?)
        };
        match self.request {
            Request::Authorize => {
                let query =
                    answer.location.strip_prefix(CALLBACK).and_then(|q| q.strip_prefix('?'));
                let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
                let code = pairs.find(|(name, _)| name == "code").ok_or_else(wrong)?;
                self.issued.codes.push_back(code.1.into_owned());
            }
            Request::ClientCredentials => {
                let issued = memmem::find(answer.body, b"\"access_token\":\"").is_some();
                if answer.status != 200 || !issued {
                    return Err(wrong().into());
                }
            }
            Request::CodeConfidential | Request::CodePublic => {
                let tokens = tokens()?;
                self.issued.access.push_back(tokens.access_token);
                self.issued.refresh.push_back(tokens.refresh_token.ok_or_else(wrong)?);
            }
            Request::Refresh => {
                let next = tokens()?.refresh_token.ok_or_else(wrong)?;
                match self.after {
                    After::Successor => self.tokens.push_back(next),
                    After::Gone | After::Again => self.issued.refresh.push_back(next),
                }
            }
            Request::Reuse => {
                let refused = memmem::find(answer.body, b"\"invalid_grant\"").is_some();
                if answer.status != 400 || !refused {
                    return Err(wrong().into());
                }
            }
            Request::Introspection => {
                let active = memmem::find(answer.body, b"\"active\":true").is_some();
                if answer.status != 200 || !active {
                    return Err(wrong().into());
                }
            }
            Request::Resource | Request::Revocation => {
                if answer.status != 200 {
                    return Err(wrong().into());
                }
            }
        }
        Ok(())
    }
}
