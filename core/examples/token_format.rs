//! Access tokens as signed JWTs that a gateway can read by itself, and that this server still revokes.
//!
//! `cargo run -p grantor --example token_format`

#![expect(clippy::print_stdout, reason = "an example")]

use std::borrow::Cow;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::engine::{IssuedToken, TokenFormat, TokenRequest};
use grantor::model::{Account, ClientAuthMethod, ScopeSet, SecretString, Subject};
use grantor::protocol::client_auth::PresentedClient;
use grantor::protocol::client_credentials::ClientCredentialsRequest;
use grantor::protocol::register::Registration;
use grantor::storage::MemoryStorage;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::{Value, json};

/// A JWS (RFC 7515) with Ed25519 (RFC 8037). Grantor's own token is its `jti`: a reader of the JWT must
/// be trusted with the token, as the gateway in front is.
///
/// In production the key comes from where keys are kept, its public half is published, and a second key
/// is accepted while they change.
struct SignedTokens {
    key: Ed25519KeyPair,
    header: String,
}

impl SignedTokens {
    fn new(key: Ed25519KeyPair) -> Self {
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": "2026-1"}).to_string();
        Self { key, header: URL_SAFE_NO_PAD.encode(header) }
    }
}

impl std::fmt::Debug for SignedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedTokens").finish_non_exhaustive()
    }
}

impl TokenFormat for SignedTokens {
    fn wrap(&self, token: &IssuedToken<'_>) -> SecretString {
        let mut claims = token.claims.clone();
        claims.insert("iss".into(), token.issuer.into());
        claims.extend(token.subject.map(|user| ("sub".into(), user.as_str().into())));
        claims.insert("client_id".into(), token.client_id.as_str().into());
        claims.insert("scope".into(), token.scope.to_string().into());
        claims.insert("iat".into(), token.issued_at.as_seconds().into());
        claims.insert("exp".into(), token.expires_at.as_seconds().into());
        claims.insert("jti".into(), token.token.expose().into());
        let payload = URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string());
        let signed = format!("{}.{payload}", self.header);
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        SecretString::new(format!("{signed}.{signature}"))
    }

    fn unwrap<'t>(&self, presented: &'t str) -> Option<Cow<'t, str>> {
        let (signed, signature) = presented.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let public = UnparsedPublicKey::new(&ED25519, self.key.public_key());
        public.verify(signed.as_bytes(), &signature).ok()?;
        let payload = signed.strip_prefix(&self.header)?.strip_prefix('.')?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        Some(Cow::Owned(claims.get("jti")?.as_str()?.to_owned()))
    }
}

#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Authenticator for Nobody {
    async fn verify(&self, _: &Credentials) -> Result<Verdict, AuthenticatorError> {
        Ok(Verdict::Refused)
    }

    async fn account(&self, _: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(None)
    }
}

#[expect(clippy::disallowed_methods, reason = "a program makes its own keys")]
fn new_key() -> Result<Ed25519KeyPair, &'static str> {
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| "no randomness")?;
    Ed25519KeyPair::from_pkcs8(key.as_ref()).map_err(|_| "a key just made")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = AuthorizationServer::builder("https://auth.example.com".parse()?)
        .storage(MemoryStorage::new())
        .authenticator(Nobody)
        .token_format(SignedTokens::new(new_key()?))
        .scope("reports.read", "Read reports")
        .build()?;
    let scope = ScopeSet::parse("reports.read")?;
    let job = server.register_client(&Registration::service("Nightly job", scope.clone())).await?;
    let secret = job.client_secret.ok_or("a confidential client has one")?;
    let client = PresentedClient {
        client_id: job.client.id.to_string(),
        secret: Some((ClientAuthMethod::ClientSecretBasic, secret)),
    };
    let request = ClientCredentialsRequest { scope: Some(scope.to_string()) };
    let response = server.token(&client, &TokenRequest::ClientCredentials(request)).await?;
    let token = response.access_token.expose();

    let payload = token.split('.').nth(1).ok_or("three parts")?;
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(payload)?)?;
    println!("what a gateway reads: {claims}");
    println!("alive: {}", server.check_bearer(token, &scope).await.is_ok());
    let mut forged = token.to_owned();
    forged.pop();
    println!("with a bent signature: {}", server.check_bearer(&forged, &scope).await.is_ok());
    server.revoke_token(&client, token).await?;
    println!("after revocation: {}", server.check_bearer(token, &scope).await.is_ok());
    Ok(())
}
