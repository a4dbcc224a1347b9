//! Requests to a server in this process, and the grants that they make.

use crate::contender::{CALLBACK, CONFIDENTIAL, Fatal, SCOPE, VERIFIER};
use crate::embedded::Person;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use grantor::AuthorizationServer;
use grantor::model::SecretString;
use http::{Request, Response, header};
use serde::Deserialize;

/// What a code is exchanged for.
#[derive(Debug, Deserialize)]
pub struct Tokens {
    #[serde(rename = "refresh_token")]
    /// The one of the two that leads on.
    pub refresh: String,
}

/// The confidential client.
#[derive(Clone, Debug)]
pub struct Client {
    credentials: String,
}

impl Client {
    /// With its secret.
    pub fn new(secret: &SecretString) -> Self {
        let pair = STANDARD.encode(format!("{CONFIDENTIAL}:{}", secret.expose()));
        Self { credentials: format!("Basic {pair}") }
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Request<Bytes>, Fatal> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        Ok(Request::post(path)
            .header(header::HOST, "127.0.0.1:8400")
            .header(header::AUTHORIZATION, &self.credentials)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.into())?)
    }

    /// Asks for a token for itself.
    pub fn client_credentials(&self) -> Result<Request<Bytes>, Fatal> {
        self.post("/token", &[("grant_type", "client_credentials"), ("scope", SCOPE)])
    }

    /// Exchanges a code.
    pub fn exchange(&self, code: &str) -> Result<Request<Bytes>, Fatal> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.post("/token", &form)
    }

    /// Uses a refresh token.
    pub fn refresh(&self, token: &str) -> Result<Request<Bytes>, Fatal> {
        self.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", token)])
    }

    /// Asks about a token.
    pub fn introspection(&self, token: &str) -> Result<Request<Bytes>, Fatal> {
        self.post("/introspect", &[("token", token)])
    }

    /// Revokes a token.
    pub fn revocation(&self, token: &str) -> Result<Request<Bytes>, Fatal> {
        self.post("/revoke", &[("token", token)])
    }
}

/// A request with a Bearer token.
pub fn resource(token: &str) -> Result<Request<Bytes>, Fatal> {
    let request =
        Request::get("/resource").header(header::AUTHORIZATION, format!("Bearer {token}"));
    Ok(request.body(Bytes::new())?)
}

/// Somebody allows the client for the first time. The code is one that can be exchanged.
pub async fn first_code(server: &AuthorizationServer, user: &str) -> Result<String, Fatal> {
    Person::new(server, user, server.now())?.allow(CONFIDENTIAL).await
}

/// The tokens that a code is answered with.
pub fn tokens_of(answer: &Response<Bytes>) -> Result<Tokens, Fatal> {
    if answer.status() != 200 {
        return Err(wrong(answer));
    }
    Ok(serde_json::from_slice(answer.body())?)
}

/// An answer that should have been another one.
pub fn wrong(answer: &Response<Bytes>) -> Fatal {
    format!("{} {}", answer.status(), String::from_utf8_lossy(answer.body())).into()
}
