//! What an operator, or one day a client, registers.

use arbitrary::{Arbitrary, Unstructured};
use grantor::model::{
    ApplicationType, ClientAuthMethod, ClientId, ClientType, GrantType, ScopeSet,
};
use grantor::protocol::register::Registration;
use grantor::storage::Record;

use crate::shared::with_server;

/// The fields of a registration.
#[derive(Arbitrary, Debug)]
struct Fields<'a> {
    client_id: Option<&'a str>,
    name: &'a str,
    flags: u8,
    auth_methods: u8,
    grant_types: u8,
    redirect_uris: Vec<&'a str>,
    scope: &'a str,
    client_uri: Option<&'a str>,
    logo_uri: Option<&'a str>,
}

/// Registers it, and looks at what was accepted.
///
/// Requirements 6749-024, 6749-069, 8252-007, 9700-016, 9700-039, OA21-022; ATTACKS A13, G08, G09, I08, J04.
pub(crate) fn registration(data: &[u8]) {
    let Ok(fields) = Fields::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let flag = |bit: u8| fields.flags & (1 << bit) != 0;
    let chosen = |bits: u8, at: usize| bits & (1 << at) != 0;
    let methods = [ClientAuthMethod::ClientSecretBasic, ClientAuthMethod::ClientSecretPost];
    let grants =
        [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::ClientCredentials];
    let registration = Registration {
        client_id: fields.client_id.and_then(|id| ClientId::parse(id).ok()),
        name: fields.name.to_owned(),
        client_type: if flag(0) { ClientType::Public } else { ClientType::Confidential },
        application_type: if flag(1) { ApplicationType::Native } else { ApplicationType::Web },
        auth_methods: (0..2)
            .filter(|at| chosen(fields.auth_methods, *at))
            .map(|at| methods[at])
            .collect(),
        redirect_uris: fields.redirect_uris.iter().map(|uri| (*uri).to_owned()).collect(),
        localhost_any_port: flag(2),
        grant_types: (0..3)
            .filter(|at| chosen(fields.grant_types, *at))
            .map(|at| grants[at])
            .collect(),
        scope: ScopeSet::parse(fields.scope).unwrap_or(ScopeSet::empty()),
        client_uri: fields.client_uri.map(str::to_owned),
        logo_uri: fields.logo_uri.map(str::to_owned),
        pkce_optional: flag(3),
        skip_consent: flag(4),
        resource_server: flag(5),
        ..Registration::public("", "", ScopeSet::empty())
    };
    with_server(async |standing| {
        let server = &standing.world.server;
        let Ok(registered) = server.register_client(&registration).await else {
            return;
        };
        let client = &registered.client;
        let public = client.client_type == ClientType::Public;
        assert_eq!(registered.client_secret.is_none(), public);
        assert!(
            !public
                || (!client.pkce_optional
                    && !client.skip_consent
                    && client.auth_methods.is_empty())
        );
        assert!(!public || !client.grant_types.contains(&GrantType::ClientCredentials));
        let redirects = client.grant_types.contains(&GrantType::AuthorizationCode);
        assert!(!redirects || !client.redirect_uris.is_empty());
        assert!(client.redirect_uris.len() <= registration.redirect_uris.len());
        assert!(!client.name.is_empty() && client.name.trim() == client.name);
        for uri in [&client.client_uri, &client.logo_uri].into_iter().flatten() {
            assert!(uri.starts_with("https://"), "{uri}");
        }
        assert!(client.scope.is_subset(&server.policy().known_scope()));
        let record = Record::Client(client.clone());
        record.to_new_record(None).expect("what was registered can be stored");
        server
            .register_client(&Registration {
                client_id: Some(client.id.clone()),
                ..registration.clone()
            })
            .await
            .expect_err("an id is given once");
        server.remove_client(&client.id).await.expect("what was registered can be removed");
    });
}
