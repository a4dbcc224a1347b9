//! A hook on events: whoever should know what happened is told, after it is durable.
//!
//! `cargo run -p grantor --example events`

#![expect(clippy::print_stdout, reason = "an example")]

use async_trait::async_trait;
use grantor::engine::AuditSink;
use grantor::model::{Account, ScopeSet, Subject, Timestamp};
use grantor::protocol::Event;
use grantor::protocol::register::Registration;
use grantor::storage::MemoryStorage;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};

/// Every event as a line of JSON, and an alarm for one of them. It never holds a secret. A slow sink
/// slows the request that it is told about: hand the event to a queue if it has far to go.
#[derive(Debug)]
struct Log;

#[async_trait]
impl AuditSink for Log {
    async fn record(&self, at: Timestamp, event: &Event) {
        println!("{at} {}", serde_json::to_string(event).unwrap_or_default());
        if let Event::ClientSecretRotated { client_id } = event {
            println!("-> mail to the owner of {client_id}: the secret was changed");
        }
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = AuthorizationServer::builder("https://auth.example.com".parse()?)
        .storage(MemoryStorage::new())
        .authenticator(Nobody)
        .audit(Log)
        .scope("reports.read", "Read reports")
        .build()?;
    let job = Registration::service("Nightly job", ScopeSet::parse("reports.read")?);
    let job = server.register_client(&job).await?;
    server.rotate_client_secret(&job.client.id).await?;
    Ok(())
}
