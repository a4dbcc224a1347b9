use grantor::model::{ClientAuthMethod, ClientId, GrantType, InvalidRedirectUri};
use grantor::protocol::Refusal;
use grantor::protocol::register::{self, Registration};

use crate::world::{CALLBACK, World, scope};

fn refused(registration: &Registration) -> Refusal {
    let mut world = World::new();
    let mut entropy = world.entropy();
    let decision = register::register(registration, None, world.ctx(), &mut entropy);
    assert!(decision.write.is_none(), "a refused registration writes nothing");
    decision.outcome.expect_err("refused")
}

fn confidential() -> Registration {
    Registration::confidential("Calendar", CALLBACK, scope("read"))
}

fn public() -> Registration {
    Registration::public("Phone", CALLBACK, scope("read"))
}

#[test]
fn a_confidential_client_gets_a_secret_and_a_public_one_does_not() {
    // Requirements 6749-069, OA21-022.
    let mut world = World::new();
    let registered = world.confidential();
    let secret = registered.client_secret.expect("a secret");
    assert!(secret.expose().starts_with("grk_") && secret.expose().len() > 43);
    assert!(!format!("{:?}", registered.client).contains(secret.expose()));
    assert!(world.public().client_secret.is_none());
}

#[test]
fn identifiers_are_random_and_not_those_of_users() {
    // Requirements 9700-015, 9700-039; ATTACKS F11.
    let mut world = World::new();
    let ids: Vec<_> = (0..20).map(|_| world.public().client.id).collect();
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
    assert!(ids.iter().all(|id| id.as_str().starts_with("client-")));
}

#[test]
fn an_identifier_is_never_taken_twice() {
    let mut world = World::new();
    let chosen = Registration { client_id: ClientId::parse("mine").ok(), ..confidential() };
    let first = world.register(&chosen);
    let mut entropy = world.entropy();
    let again = register::register(&chosen, Some(&first.client), world.ctx(), &mut entropy);
    assert_eq!(again.outcome.expect_err("taken"), Refusal::ClientExists);
    for bad in ["", "a b", "a{b}", "a:b", "a\nb", "a\0", "caf\u{e9}", &"x".repeat(129)] {
        assert!(ClientId::parse(bad).is_err(), "ATTACKS I08: {bad:?}");
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    use GrantType::{ClientCredentials, RefreshToken};

    // Requirements 6749-020, 6749-022, 6749-023, 6749-024, 6749-053, 9700-016, 8252-007, OA21-001.
    let uri = |uri: &str| Registration { redirect_uris: vec![uri.into()], ..confidential() };
    assert_eq!(
        refused(&uri("http://example.com/cb")),
        Refusal::RegistrationRedirectUri(InvalidRedirectUri::PlainHttp)
    );
    assert_eq!(
        refused(&uri("https://c/cb#x")),
        Refusal::RegistrationRedirectUri(InvalidRedirectUri::Fragment)
    );
    let invalid = |registration: Registration| {
        assert!(
            matches!(refused(&registration), Refusal::RegistrationInvalid(_)),
            "{registration:?}"
        );
    };
    invalid(Registration { redirect_uris: vec![], ..public() });
    invalid(Registration { redirect_uris: vec![], ..confidential() });
    invalid(Registration { redirect_uris: vec![CALLBACK.into(); 33], ..confidential() });
    invalid(Registration { grant_types: vec![], ..confidential() });
    invalid(Registration { grant_types: vec![RefreshToken], ..confidential() });
    invalid(Registration { grant_types: vec![ClientCredentials], ..public() });
    invalid(Registration { resource_server: true, ..public() });
    invalid(Registration { pkce_optional: true, ..public() });
    invalid(Registration { skip_consent: true, ..public() });
    invalid(Registration { scope: scope("nope"), ..confidential() });
    invalid(Registration { auth_methods: vec![ClientAuthMethod::None], ..confidential() });
    invalid(Registration { auth_methods: vec![ClientAuthMethod::ClientSecretPost], ..public() });
}

#[test]
fn a_name_cannot_pretend_and_a_page_is_https() {
    // ATTACKS G08, G09.
    let named = |name: &str| Registration { name: name.into(), ..confidential() };
    for bad in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{feff}a", &"x".repeat(81), "a\0"] {
        assert!(matches!(refused(&named(bad)), Refusal::RegistrationInvalid(_)), "{bad:?}");
    }
    let logo = |uri: &str| Registration { logo_uri: Some(uri.into()), ..confidential() };
    for bad in [
        "javascript:alert(1)",
        "http://c.example/l.png",
        "data:image/png,x",
        "//c/l.png",
        "https://u@c/",
    ] {
        assert!(matches!(refused(&logo(bad)), Refusal::RegistrationInvalid(_)), "{bad:?}");
    }
    let mut world = World::new();
    world.register(&named("\u{ce98}\u{b9b0}\u{b354} <b>\"quoted\"</b>"));
    world.register(&logo("https://client.example/logo.png"));
}
