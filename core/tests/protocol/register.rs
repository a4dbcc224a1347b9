use std::time::Duration;

use grantor::model::{
    ApplicationType, Client, ClientAuthMethod, ClientId, GrantType, InvalidRedirectUri,
};
use grantor::protocol::register::{self, Registration};
use grantor::protocol::{Event, Refusal};
use grantor::storage::Record;

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
    let native = || Registration { application_type: ApplicationType::Native, ..confidential() };
    let in_browser = || Registration { application_type: ApplicationType::Web, ..public() };
    for (registration, why) in [
        (Registration { redirect_uris: vec![], ..public() }, "needs a redirect_uri"),
        (Registration { redirect_uris: vec![], ..confidential() }, "needs a redirect_uri"),
        (
            Registration { redirect_uris: uris(33, 30), ..confidential() },
            "at most 32 redirect_uris",
        ),
        (Registration { redirect_uris: uris(5, 1639), ..confidential() }, "longer than 8 KiB"),
        (Registration { grant_types: vec![], ..confidential() }, "at least one grant type"),
        (
            Registration { grant_types: vec![RefreshToken], ..confidential() },
            "refresh_token needs authorization_code",
        ),
        (
            Registration { grant_types: vec![ClientCredentials], ..public() },
            "client_credentials needs a confidential client",
        ),
        (Registration { resource_server: true, ..public() }, "a resource server has to"),
        (Registration { pkce_optional: true, ..in_browser() }, "may leave PKCE out"),
        (Registration { pkce_optional: true, ..native() }, "may leave PKCE out"),
        (Registration { skip_consent: true, ..in_browser() }, "may skip the consent page"),
        (Registration { skip_consent: true, ..native() }, "may skip the consent page"),
        (Registration { scope: scope("nope"), ..confidential() }, "does not exist"),
        (
            Registration { auth_methods: vec![ClientAuthMethod::None], ..confidential() },
            "a confidential client has to authenticate",
        ),
        (
            Registration { auth_methods: vec![ClientAuthMethod::ClientSecretPost], ..public() },
            "a public client has no secret",
        ),
    ] {
        assert_eq!(refused_because(&registration, why), Ok(()), "{registration:?}");
    }
}

/// So many addresses, each of so many bytes.
fn uris(count: usize, length: usize) -> Vec<String> {
    let uri = |n: usize| {
        let base = format!("https://c{n:02}.example/");
        format!("{base}{}", "p".repeat(length - base.len()))
    };
    (0..count).map(uri).collect()
}

/// Refused, for this reason and for no other.
fn refused_because(registration: &Registration, why: &str) -> Result<(), Refusal> {
    match refused(registration) {
        Refusal::RegistrationInvalid(said) if said.contains(why) => Ok(()),
        other => Err(other),
    }
}

#[test]
fn what_fits_together_is_registered_as_it_was_asked_for() {
    let mut world = World::new();
    let all = Registration {
        redirect_uris: [uris(32, 256), uris(1, 256)].concat().split_off(1),
        name: "  Calendar ".into(),
        grant_types: GrantType::ALL.to_vec(),
        client_uri: Some(format!("https://client.example/{}", "p".repeat(489))),
        pkce_optional: true,
        skip_consent: true,
        resource_server: true,
        ..confidential()
    };
    let client = world.register(&all).client;
    let together: usize = client.redirect_uris.iter().map(|uri| uri.as_str().len()).sum();
    assert_eq!((client.redirect_uris.len(), together), (32, Client::MAX_REDIRECT_URIS_LEN));
    assert_eq!((client.name.as_str(), client.epoch, client.removed_at), ("Calendar", 0, None));
    assert_eq!(client.created_at, world.now);
    assert_eq!(client.client_uri.as_ref().map(String::len), Some(Client::MAX_PAGE_LEN));
    assert!(client.pkce_optional && client.skip_consent && client.resource_server);
    let both = [ClientAuthMethod::ClientSecretBasic, ClientAuthMethod::ClientSecretPost];
    assert_eq!(client.auth_methods, both);
    let chosen = Registration { auth_methods: both[1..].to_vec(), ..confidential() };
    assert_eq!(world.register(&chosen).client.auth_methods, both[1..]);
    let twice = Registration { redirect_uris: vec![CALLBACK.into(); 2], ..confidential() };
    assert_eq!(world.register(&twice).client.redirect_uris.len(), 1);
    // What an app on a device may have, and a program in the browser.
    world.register(&Registration {
        application_type: ApplicationType::Native,
        resource_server: true,
        grant_types: vec![GrantType::AuthorizationCode, GrantType::ClientCredentials],
        ..confidential()
    });
    let service = world.register(&Registration::service("Nightly job", scope(""))).client;
    assert!(service.proves_identity() && service.redirect_uris.is_empty());
    assert_eq!(service.grant_types, [GrantType::ClientCredentials]);
}

#[test]
fn a_replaced_secret_works_on_for_the_overlap_and_no_longer() {
    let mut world = World::new();
    let rotate = |world: &mut World, client: Option<&Client>| {
        let mut entropy = world.entropy();
        register::rotate_secret(client, world.ctx(), &mut entropy)
    };
    let first = world.confidential();
    let second = rotate(&mut world, Some(&first.client)).outcome.expect("rotated");
    let overlap_ends = world.now.plus(world.policy.secret_overlap);
    let ends = |client: &Client| -> Vec<_> {
        client.secrets.iter().map(|secret| secret.expires_at).collect()
    };
    assert_eq!(ends(&second.client), [None, Some(overlap_ends)]);
    world.pass(Duration::from_secs(60));
    let third = rotate(&mut world, Some(&second.client)).outcome.expect("rotated");
    assert_eq!(third.client.secrets.len(), Client::MAX_SECRETS, "the oldest went");
    let longer = world.now.plus(world.policy.secret_overlap);
    assert_eq!(ends(&third.client), [None, Some(longer)]);
    let mut early = third.client.clone();
    early.secrets[0].expires_at = Some(world.now);
    let fourth = rotate(&mut world, Some(&early)).outcome.expect("rotated");
    assert_eq!(ends(&fourth.client), [None, Some(world.now)], "an end is never put off");

    let removed = register::remove(Some(&third.client), world.ctx());
    let Some(Record::Client(removed)) = removed.write else { panic!("removed") };
    assert_eq!(removed.removed_at, Some(world.now));
    assert_eq!((removed.epoch, removed.secrets.len()), (third.client.epoch + 1, 0));
    for gone in [None, Some(&removed)] {
        let refused = rotate(&mut world, gone);
        assert!(refused.write.is_none());
        assert_eq!(refused.outcome.expect_err("refused"), Refusal::ClientUnknown);
        let refused = register::remove(gone, world.ctx());
        assert!(refused.write.is_none());
        assert_eq!(refused.outcome.expect_err("refused"), Refusal::ClientUnknown);
    }
    let phone = world.public().client;
    let refused = rotate(&mut world, Some(&phone));
    assert!(refused.write.is_none());
    assert!(matches!(refused.outcome, Err(Refusal::RegistrationInvalid(_))));
}

#[test]
fn a_name_cannot_pretend_and_a_page_is_https() {
    // ATTACKS G08, G09.
    let named = |name: &str| Registration { name: name.into(), ..confidential() };
    for empty in ["", "  "] {
        assert_eq!(refused_because(&named(empty), "is empty"), Ok(()));
    }
    assert_eq!(refused_because(&named(&"x".repeat(81)), "longer than 80"), Ok(()));
    World::new().register(&named(&"\u{d55c}".repeat(80)));
    for disguise in [
        '\n', '\0', '\u{7f}', '\u{ad}', '\u{61c}', '\u{180e}', '\u{200b}', '\u{200f}', '\u{2028}',
        '\u{202e}', '\u{2060}', '\u{206f}', '\u{feff}',
    ] {
        let name = format!("a{disguise}b");
        assert_eq!(refused_because(&named(&name), "invisible"), Ok(()), "{name:?}");
    }
    let pages: [fn(&mut Registration) -> &mut Option<String>; 4] = [
        |registration| &mut registration.client_uri,
        |registration| &mut registration.logo_uri,
        |registration| &mut registration.policy_uri,
        |registration| &mut registration.tos_uri,
    ];
    for page in pages {
        let mut registration = confidential();
        *page(&mut registration) = Some("http://c.example/".into());
        assert_eq!(refused_because(&registration, "must be https URLs"), Ok(()));
    }
    let logo = |uri: &str| Registration { logo_uri: Some(uri.into()), ..confidential() };
    let long = format!("https://client.example/{}", "p".repeat(490));
    assert_eq!(refused_because(&logo(&long), "must be https URLs"), Ok(()));
    for bad in [
        "javascript:alert(1)",
        "http://c.example/l.png",
        "data:image/png,x",
        "//c/l.png",
        "https://u@c/",
        "https://:p@c/",
        "https://c/\u{e9}",
        "https://c/ x",
        "https:/apps/logout",
        "https:evil.example",
        "https:\\\\evil.example\\",
        "https://c\\@evil.example/",
        "HTTPS://c/",
    ] {
        assert_eq!(refused_because(&logo(bad), "must be https URLs"), Ok(()), "{bad:?}");
    }
    let mut world = World::new();
    world.register(&named("\u{ce98}\u{b9b0}\u{b354} <b>\"quoted\"</b>"));
    world.register(&logo("https://client.example/logo.png"));
}

#[test]
fn a_registration_can_be_changed_and_stays_the_same_client() {
    // RFC 7592 section 2.2.
    let mut world = World::new();
    let before = world.confidential().client;
    let wider = Registration {
        name: "Planner".into(),
        redirect_uris: vec![CALLBACK.into(), "https://client.example/other".into()],
        ..Registration::confidential("Planner", CALLBACK, scope("read write admin"))
    };
    let changed = register::update(&wider, Some(&before), world.ctx());
    assert!(matches!(changed.events.as_slice(), [Event::ClientUpdated { .. }]));
    let after = changed.outcome.expect("changed");
    assert_eq!((after.name.as_str(), after.redirect_uris.len()), ("Planner", 2));
    assert_eq!(after.scope, scope("read write admin"));
    let kept = |client: &Client| {
        (client.id.clone(), client.secrets.clone(), client.epoch, client.created_at)
    };
    assert_eq!(kept(&after), kept(&before));
    for client in [&before, &after, &world.public().client] {
        let same = register::update(&Registration::from(client), Some(client), world.ctx());
        assert_eq!(same.outcome.as_ref(), Ok(client), "a copy changes nothing");
    }
    // The same checks as at the beginning, and nothing that would make it another client.
    let mut removed = before.clone();
    removed.removed_at = Some(world.now);
    let public = Registration::public("Planner", CALLBACK, scope("read"));
    let renamed = Registration { client_id: ClientId::parse("other").ok(), ..wider.clone() };
    let nameless = Registration { name: String::new(), ..wider.clone() };
    let unknown = Registration { scope: scope("nope"), ..wider.clone() };
    for (registration, client) in [
        (&wider, None),
        (&wider, Some(&removed)),
        (&public, Some(&before)),
        (&renamed, Some(&before)),
        (&nameless, Some(&before)),
        (&unknown, Some(&before)),
    ] {
        let refused = register::update(registration, client, world.ctx());
        assert!(refused.outcome.is_err() && refused.write.is_none(), "{registration:?}");
    }
}
