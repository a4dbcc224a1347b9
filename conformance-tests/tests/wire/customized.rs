//! What a host can add: grant types, and how tokens look.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use grantor::AuthorizationServer;
use grantor::engine::{
    Builder, ExtensionError, ExtensionGrant, IssuedToken, Parameters, TokenFormat,
};
use grantor::model::{Client, ScopeDefinition, SecretString, Subject};
use grantor::protocol::Event;
use grantor::protocol::extension::Authorized;
use grantor::protocol::register::{Registered, Registration};

use crate::world::{Browser, CALLBACK, Tokens, World, authorize_url, redemption, renewal, scope};

const CARD: &str = "urn:example:card";

/// Reads a card: `card=alice` is alice's; a reader that is switched off answers nothing.
#[derive(Clone, Debug, Default)]
struct Cards {
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl ExtensionGrant for Cards {
    fn grant_type(&self) -> &str {
        CARD
    }

    async fn authorize(
        &self,
        parameters: &Parameters,
        client: &Client,
        server: &AuthorizationServer,
    ) -> Result<Authorized, ExtensionError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(client.name, "Till");
        assert!(server.extension_grants().eq([CARD]));
        assert!(parameters.get("client_secret").expect("once").is_none());
        assert!(!format!("{parameters:?}").contains("alice"));
        match parameters.require("card")? {
            "off" => Err(ExtensionError::unavailable("the reader is off")),
            "blank" => Err(ExtensionError::invalid_grant("the card is blank")),
            "bent" => Err(ExtensionError::malformed("card")),
            name => Ok(Authorized {
                subject: Some(Subject::parse(name).map_err(ExtensionError::invalid_grant)?),
                scope: scope("read admin"),
            }),
        }
    }
}

async fn till(world: &World) -> Registered {
    let registration = Registration {
        extension_grants: vec![CARD.into()],
        ..Registration::confidential("Till", CALLBACK, scope("read write"))
    };
    world.register(&registration).await
}

fn form(card: &str) -> [(&'static str, &str); 3] {
    [("grant_type", CARD), ("card", card), ("scope", "read")]
}

#[tokio::test]
async fn a_host_adds_a_grant_type() {
    // RFC 6749 section 4.5; requirements 6749-054, 6749-060.
    let cards = Cards::default();
    let world = World::with(|builder| builder.extension_grant(cards.clone()));
    let metadata = world.get("/.well-known/oauth-authorization-server").await.json();
    let supported = metadata["grant_types_supported"].as_array().expect("a list").clone();
    assert!(supported.contains(&CARD.into()), "{supported:?}");
    let client = till(&world).await;
    let answer = world.call("/token", &client, &form("alice")).await;
    let tokens = Tokens::of(&answer);
    assert!(answer.json().get("refresh_token").is_none());
    assert!(world.is_active(&tokens.access).await);
    let issued = |event: &Event| matches!(event, Event::ExtensionGrantIssued { .. });
    assert_eq!(world.events().iter().filter(|event| issued(event)).count(), 1);
    for (card, status, error) in [
        ("blank", 400, "invalid_grant"),
        ("bent", 400, "invalid_request"),
        ("", 400, "invalid_request"),
        ("nobody", 400, "invalid_grant"),
    ] {
        let answer = world.call("/token", &client, &form(card)).await;
        answer.refused(status, error);
        assert!(!answer.body.contains("blank"), "{answer:?}");
    }
    let answer = world.call("/token", &client, &form("off")).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let answer = world
        .call("/token", &client, &[("grant_type", CARD), ("card", "alice"), ("scope", "admin")])
        .await;
    answer.refused(400, "invalid_scope");
    let twice = [("grant_type", CARD), ("card", "alice"), ("card", "alice"), ("scope", "read")];
    world.call("/token", &client, &twice).await.refused(400, "invalid_request");
    // The user's tokens die with the account.
    world.disable("alice");
    assert!(!world.is_active(&tokens.access).await);
    world.call("/token", &client, &form("alice")).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn nobody_asks_the_host_who_would_get_nothing() {
    let cards = Cards::default();
    let world = World::with(|builder| builder.extension_grant(cards.clone()));
    let client = till(&world).await;
    let other = world.confidential().await;
    world.call("/token", &other, &form("alice")).await.refused(400, "unauthorized_client");
    let forged = crate::world::basic(&client.client.id, "wrong");
    let answer = world.post("/token", &[("authorization", &forged)], &form("alice")).await;
    answer.refused(401, "invalid_client");
    let unknown = [("grant_type", "urn:example:other"), ("scope", "read")];
    world.call("/token", &client, &unknown).await.refused(400, "unsupported_grant_type");
    assert_eq!(cards.asked.load(Ordering::SeqCst), 0);
    // Without it, it is not there.
    let plain = World::new();
    let client = till(&plain).await;
    plain.call("/token", &client, &form("alice")).await.refused(400, "unsupported_grant_type");
}

/// Everything of the user is ended while the host looks at the assertion.
#[derive(Debug)]
struct Overtaken;

#[async_trait]
impl ExtensionGrant for Overtaken {
    fn grant_type(&self) -> &str {
        "urn:example:overtaken"
    }

    async fn authorize(
        &self,
        parameters: &Parameters,
        _: &Client,
        server: &AuthorizationServer,
    ) -> Result<Authorized, ExtensionError> {
        assert!(parameters.get("client_id")?.is_none(), "who asks is said by the client");
        let subject = Subject::parse("alice").expect("a subject");
        server.revoke_subject(&subject).await.expect("revoked");
        Ok(Authorized { subject: Some(subject), scope: scope("read") })
    }
}

/// Issues for the client itself.
#[derive(Debug)]
struct Itself;

#[async_trait]
impl ExtensionGrant for Itself {
    fn grant_type(&self) -> &str {
        "urn:example:itself"
    }

    async fn authorize(
        &self,
        _: &Parameters,
        _: &Client,
        _: &AuthorizationServer,
    ) -> Result<Authorized, ExtensionError> {
        Ok(Authorized { subject: None, scope: scope("read") })
    }
}

#[tokio::test]
async fn what_was_true_before_a_revocation_issues_nothing_after_it() {
    // ATTACKS D06.
    let world = World::with(|builder| builder.extension_grant(Overtaken));
    let registration = Registration {
        extension_grants: vec!["urn:example:overtaken".into()],
        ..Registration::confidential("Till", CALLBACK, scope("read"))
    };
    let client = world.register(&registration).await;
    let form = [("grant_type", "urn:example:overtaken"), ("scope", "read")];
    world.call("/token", &client, &form).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn a_token_for_the_client_itself_is_for_one_that_has_proved_who_it_is() {
    // RFC 6749 section 4.4.
    let world = World::with(|builder| builder.extension_grant(Itself));
    let grants = vec!["urn:example:itself".to_owned()];
    let form = [("grant_type", "urn:example:itself"), ("scope", "read")];
    let public = Registration::public("Phone", CALLBACK, scope("read"));
    let public = Registration { extension_grants: grants.clone(), ..public };
    let public = world.register(&public).await;
    world.call("/token", &public, &form).await.refused(400, "unauthorized_client");
    let service = Registration::service("Job", scope("read"));
    let service = Registration { extension_grants: grants, ..service };
    let service = world.register(&service).await;
    assert_eq!(world.call("/token", &service, &form).await.status, 200);
}

#[test]
fn a_grant_type_has_a_name_of_its_own() {
    #[derive(Debug)]
    struct Named(&'static str);

    #[async_trait]
    impl ExtensionGrant for Named {
        fn grant_type(&self) -> &str {
            self.0
        }

        async fn authorize(
            &self,
            _: &Parameters,
            _: &Client,
            _: &AuthorizationServer,
        ) -> Result<Authorized, ExtensionError> {
            Err(ExtensionError::invalid_grant("never"))
        }
    }

    let build = |names: &[&'static str]| {
        let builder = AuthorizationServer::builder("https://as.example".parse().expect("issuer"))
            .storage(grantor::storage::MemoryStorage::new())
            .authenticator(crate::world::SharedUsers::default());
        let add = |builder: Builder, name: &&'static str| builder.extension_grant(Named(name));
        names.iter().fold(builder, add).build().map(drop)
    };
    assert!(build(&["urn:a:b", "urn:a:c"]).is_ok());
    for bad in [&["password"][..], &[""], &["authorization_code"], &["urn:a:b", "urn:a:b"]] {
        assert_eq!(build(bad), Err(grantor::engine::BuildError::ExtensionGrant), "{bad:?}");
    }
}

/// A prefix that a scanner of the host's knows, and what a gateway wants to read.
#[derive(Debug)]
struct Badge;

impl TokenFormat for Badge {
    fn wrap(&self, token: &IssuedToken<'_>) -> SecretString {
        let user = token.subject.map_or("-", Subject::as_str);
        let email = token.claims.get("email").is_some();
        assert_eq!(token.issuer, crate::world::ISSUER);
        assert!(token.expires_at > token.issued_at);
        SecretString::new(format!("badge.{user}.{email}.{}", token.token.expose()))
    }

    fn unwrap<'t>(&self, presented: &'t str) -> Option<Cow<'t, str>> {
        let rest = presented.strip_prefix("badge.")?;
        rest.splitn(3, '.').nth(2).map(Cow::Borrowed)
    }
}

#[tokio::test]
async fn tokens_look_as_the_host_wants() {
    // Requirements 6749-068, 7662-005, 7009-001: found and revoked by what the client holds, and by nothing else.
    let write = ScopeDefinition::new("Change your calendar").claims(["email"]);
    let world = World::with(|builder| builder.token_format(Badge).scope_definition("write", write));
    let client = world.confidential().await;
    let url = authorize_url(&client, &[]);
    let code = Browser::default().walk(&world, &url).await.parameter("code");
    let first = Tokens::of(&world.call("/token", &client, &redemption(&code)).await);
    let naked = first.access.strip_prefix("badge.alice.true.").expect("dressed").to_owned();
    assert!(naked.starts_with("gra_") && first.refresh.starts_with("grr_"), "{first:?}");
    assert!(world.is_active(&first.access).await);
    assert!(!world.is_active(&naked).await, "one token has one spelling");
    let second = Tokens::of(&world.call("/token", &client, &renewal(&first.refresh)).await);
    assert!(second.access.starts_with("badge.alice.true."));
    let again = Tokens::of(&world.call("/token", &client, &renewal(&first.refresh)).await);
    assert_eq!(again.access, second.access, "a retry gets the same answer");
    // Revoked by what the client holds; the naked one is nobody's token.
    assert_eq!(world.call("/revoke", &client, &[("token", &naked)]).await.status, 200);
    assert!(world.is_active(&first.access).await);
    world.call("/revoke", &client, &[("token", &first.access)]).await;
    assert!(!world.is_active(&first.access).await);
    assert!(world.is_active(&second.access).await);
    world.call("/revoke", &client, &[("token", &second.refresh)]).await;
    assert!(!world.is_active(&second.access).await);
    let service = world.service().await;
    let own = Tokens::of(&world.call("/token", &service, &crate::world::SERVICE).await);
    assert!(own.access.starts_with("badge.-.false."));
    for garbage in ["badge.", "badge.a.b.", "badge...gra_", "x", &naked[..20]] {
        assert!(!world.is_active(garbage).await, "{garbage}");
    }
}

/// Makes tokens of some length, out of some character.
#[derive(Debug)]
struct Padded(usize, char);

impl TokenFormat for Padded {
    fn wrap(&self, _: &IssuedToken<'_>) -> SecretString {
        SecretString::new(self.1.to_string().repeat(self.0))
    }

    fn unwrap<'t>(&self, _: &'t str) -> Option<Cow<'t, str>> {
        None
    }
}

#[tokio::test]
async fn a_token_that_nobody_could_use_is_not_handed_out() {
    for (length, letter, status) in [
        (IssuedToken::MAX_LEN, 'x', 200),
        (IssuedToken::MAX_LEN + 1, 'x', 503),
        (0, 'x', 503),
        (1, '=', 503),
        (1, ' ', 503),
        (1, '"', 503),
    ] {
        let world = World::with(|builder| builder.token_format(Padded(length, letter)));
        let service = world.service().await;
        let answer = world.call("/token", &service, &crate::world::SERVICE).await;
        assert_eq!(answer.status, status, "{length} of {letter:?}");
    }
}
