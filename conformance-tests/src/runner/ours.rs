//! Servers of ours: a client of each role, and what a run against a good one comes to.

use grantor::AuthorizationServer;
use grantor::model::ScopeSet;
use grantor::protocol::register::{Registered, Registration};

use super::config::{Client, Config, Role};
use super::{Report, Secret, Verdict, Weight};

/// Where the clients wait for their codes. Nobody has to be there.
pub const CALLBACK: &str = "https://client.example/callback";

/// What a server of ours does not do, each with the reason: SHOULD, never MUST.
pub const KNOWN: [(&str, &str); 4] = [
    ("9700-009", "sender-constrained tokens need DPoP or mutual TLS, which there are not yet"),
    ("9700-013", "private_key_jwt and mutual TLS are not there yet"),
    ("6750-014", "audiences need resource indicators, which are not there yet"),
    ("9700-030", "audiences need resource indicators, which are not there yet"),
];

/// Fails unless everything passed that a server of ours does.
#[track_caller]
pub fn conforms(report: &Report) {
    for result in &report.results {
        let known = KNOWN.iter().any(|(id, _)| *id == result.requirement.id);
        let fine = match result.verdict {
            Verdict::Pass | Verdict::NotApplicable => !known,
            Verdict::Fail => known && result.requirement.weight != Weight::Must,
            _ => false,
        };
        assert!(
            fine,
            "{} {:?}: {:?}\n{:#?}",
            result.requirement.id, result.verdict, result.reason, result.evidence
        );
    }
    assert!(!report.has_failed());
}

/// Registers a client of each role, and tells the runner about it.
pub async fn furnish(server: &AuthorizationServer, scope: &ScopeSet, config: &mut Config) {
    let confidential = |name: &str| Registration::confidential(name, CALLBACK, scope.clone());
    let public = |name: &str, uri: &str| Registration::public(name, uri, scope.clone());
    let several =
        vec![CALLBACK.to_owned(), format!("{CALLBACK}/other"), format!("{CALLBACK}?a=1&b=%2F")];
    for (role, registration) in [
        (Role::Confidential, confidential("Conformance confidential")),
        (
            Role::ConfidentialOther,
            Registration { pkce_optional: true, ..confidential("Conformance confidential other") },
        ),
        (Role::Public, public("Conformance public", CALLBACK)),
        (Role::PublicOther, public("Conformance public other", CALLBACK)),
        (Role::Native, public("Conformance native", "http://127.0.0.1/callback")),
        (
            Role::Several,
            Registration { redirect_uris: several, ..confidential("Conformance several") },
        ),
        (Role::Service, Registration::service("Conformance service", scope.clone())),
        (
            Role::ResourceServer,
            Registration {
                resource_server: true,
                ..Registration::service("Conformance resource", scope.clone())
            },
        ),
    ] {
        let registered = server.register_client(&registration).await.expect("registered");
        config.clients.insert(role, client(&registered, &registration));
    }
}

fn client(registered: &Registered, registration: &Registration) -> Client {
    Client {
        id: registered.client.id.as_str().to_owned(),
        secret: registered.client_secret.as_ref().map(|secret| Secret::new(secret.expose())),
        auth: None,
        redirect_uris: registration.redirect_uris.clone(),
        scope: None,
        name: Some(registration.name.clone()),
    }
}
