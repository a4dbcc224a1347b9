//! A grant type of one's own (RFC 6749 section 4.5): a kiosk reads a customer's card, signs what it
//! read, and gets a token that acts for the customer.
//!
//! `cargo run -p grantor --example extension_grant`

#![expect(clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use grantor::engine::{ExtensionError, ExtensionGrant, Parameters};
use grantor::model::{Account, Client, ScopeSet, Subject};
use grantor::protocol::extension::Authorized;
use grantor::protocol::register::Registration;
use grantor::protocol::replay::OneTime;
use grantor::storage::MemoryStorage;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use http::{Method, Request};
use ring::hmac;

const CARD: &str = "urn:example:params:oauth:grant-type:card";

/// `card` is `number.time.signature`: the number of the card, when it was read (seconds since the
/// epoch), and HMAC-SHA256 of both under the kiosks' key.
#[derive(Debug)]
struct CardGrant {
    key: hmac::Key,
}

impl CardGrant {
    fn sign(&self, number: &str, read_at: i64) -> String {
        let signed = format!("{number}.{read_at}");
        let tag = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}

#[async_trait]
impl ExtensionGrant for CardGrant {
    fn grant_type(&self) -> &str {
        CARD
    }

    async fn authorize(
        &self,
        parameters: &Parameters,
        _client: &Client,
        server: &AuthorizationServer,
    ) -> Result<Authorized, ExtensionError> {
        let card = parameters.require("card")?;
        let malformed = || ExtensionError::malformed("card");
        let (signed, tag) = card.rsplit_once('.').ok_or_else(malformed)?;
        let (number, read_at) = signed.split_once('.').ok_or_else(malformed)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| malformed())?;
        hmac::verify(&self.key, signed.as_bytes(), &tag)
            .map_err(|_| ExtensionError::invalid_grant("no kiosk of ours signed this"))?;
        let read_at: i64 = read_at.parse().map_err(|_| malformed())?;
        let now = server.now();
        if !(0..60).contains(&(now.as_seconds() - read_at)) {
            return Err(ExtensionError::invalid_grant("the card was read too long ago"));
        }
        // Once, in all processes that share the storage.
        let expires_at = now.plus(Duration::from_secs(60));
        let reading = OneTime { purpose: CARD, issuer: "kiosks", id: card, expires_at };
        server.accept_once(&reading).await?;
        Ok(Authorized {
            subject: Some(Subject::parse(number).map_err(ExtensionError::invalid_grant)?),
            scope: ScopeSet::parse("points.read").map_err(ExtensionError::invalid_grant)?,
        })
    }
}

#[derive(Debug)]
struct Customers;

#[async_trait]
impl Authenticator for Customers {
    async fn verify(&self, _: &Credentials) -> Result<Verdict, AuthenticatorError> {
        Ok(Verdict::Refused)
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok((subject.as_str() == "4711").then(|| Account::new(subject.clone(), "Card 4711")))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = || hmac::Key::new(hmac::HMAC_SHA256, b"the key that the kiosks have");
    let kiosk = CardGrant { key: key() };
    let server = AuthorizationServer::builder("https://auth.example.com".parse()?)
        .storage(MemoryStorage::new())
        .authenticator(Customers)
        .extension_grant(CardGrant { key: key() })
        .scope("points.read", "See your points")
        .build()?;
    let registration = Registration {
        extension_grants: vec![CARD.to_owned()],
        ..Registration::service("Kiosk 12", ScopeSet::parse("points.read")?)
    };
    let client = server.register_client(&registration).await?;
    let secret = client.client_secret.ok_or("a confidential client has one")?;

    let now = server.now().as_seconds();
    let card = kiosk.sign("4711", now);
    for (what, card) in [
        ("a card", card.clone()),
        ("the same reading again", card),
        ("a forged one", format!("4712.{now}.AAAA")),
        ("a card of yesterday", kiosk.sign("4711", now - 86_400)),
        ("a card of nobody", kiosk.sign("4712", now)),
    ] {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", CARD)
            .append_pair("card", &card)
            .append_pair("scope", "points.read")
            .append_pair("client_id", client.client.id.as_str())
            .append_pair("client_secret", secret.expose())
            .finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri("/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from(form))?;
        let answer = server.handle(request).await;
        let body: serde_json::Value = serde_json::from_slice(answer.body())?;
        let outcome = body.get("error").and_then(serde_json::Value::as_str).unwrap_or("a token");
        println!("{what}: {} {outcome}", answer.status());
    }
    Ok(())
}
