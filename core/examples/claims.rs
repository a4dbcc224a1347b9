//! Claims about a user: the user database knows them, and a scope says who is shown which.
//!
//! `cargo run -p grantor --example claims`

#![expect(clippy::print_stdout, reason = "an example")]

use async_trait::async_trait;
use grantor::model::{Account, Policy, ScopeDefinition, ScopeSet, ScopeToken, Subject};
use grantor::storage::MemoryStorage;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use serde_json::json;

#[derive(Debug)]
struct Users;

#[async_trait]
impl Authenticator for Users {
    async fn verify(&self, _: &Credentials) -> Result<Verdict, AuthenticatorError> {
        Ok(Verdict::Refused)
    }

    /// Asked at every use of a token: what is shown is what is true now.
    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        let mut account = Account::new(subject.clone(), "alice");
        account.claims.insert("tenant".into(), json!("acme"));
        account.claims.insert("email".into(), json!("alice@example.com"));
        Ok(Some(account))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant = ScopeDefinition::new("See which organisation you belong to").claims(["tenant"]);
    let profile = ScopeDefinition::new("See your address").claims(["tenant", "email"]);
    let _server = AuthorizationServer::builder("https://auth.example.com".parse()?)
        .storage(MemoryStorage::new())
        .authenticator(Users)
        .scope_definition("tenant", tenant.clone())
        .scope_definition("profile", profile.clone())
        .build()?;
    // A resource server finds them in `ValidToken::claims`, or in the answer of introspection. Which
    // ones, is a pure function of the policy:
    let mut policy = Policy::default();
    policy.scopes.insert(ScopeToken::parse("tenant")?, tenant);
    policy.scopes.insert(ScopeToken::parse("profile")?, profile);
    let mut account = Account::new(Subject::parse("user-1")?, "alice");
    account.claims.insert("tenant".into(), json!("acme"));
    account.claims.insert("email".into(), json!("alice@example.com"));
    for scope in ["tenant", "profile"] {
        let shown = policy.claims_shown(&ScopeSet::parse(scope)?, &account);
        println!("{scope}: {}", serde_json::to_string(&shown)?);
    }
    // A name that says something about the token itself is refused when the server is built.
    let taken = AuthorizationServer::builder("https://auth.example.com".parse()?)
        .storage(MemoryStorage::new())
        .authenticator(Users)
        .scope_definition("odd", ScopeDefinition::new("Odd").claims(["client_id"]))
        .build();
    println!("refused: {}", taken.err().ok_or("it was not")?);
    Ok(())
}
