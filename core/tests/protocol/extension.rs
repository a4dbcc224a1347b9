//! Grant types of the host's.

use grantor::model::{Account, GrantState, ScopeSet, Subject};
use grantor::protocol::client_auth::{PresentedClient, authenticate};
use grantor::protocol::extension::{self, Authorized, ExtensionRequest, is_name, issue};
use grantor::protocol::register::{Registered, Registration};
use grantor::protocol::token::TokenResponse;
use grantor::protocol::{Decision, Event, Refusal};
use proptest::prelude::*;

use crate::world::{CALLBACK, World, grant_of, scope};

const GRANT: &str = "urn:example:sign-in-with-card";

fn client(world: &mut World) -> Registered {
    world.register(&Registration {
        extension_grants: vec![GRANT.to_owned()],
        ..Registration::public("Till", CALLBACK, scope("read write"))
    })
}

fn account(name: &str) -> Account {
    Account::new(Subject::parse(name).expect("a subject"), name)
}

fn ask(
    world: &mut World,
    client: &Registered,
    most: &str,
    asked: Option<&str>,
    user: Option<&str>,
    standing: Option<&str>,
) -> Decision<TokenResponse> {
    let mut entropy = world.entropy();
    let presented = PresentedClient { client_id: client.client.id.to_string(), secret: None };
    let verified = authenticate(&presented, Some(&client.client), world.now).expect("public");
    let request = ExtensionRequest {
        grant_type: GRANT.to_owned(),
        scope: asked.map(str::to_owned),
        authorized: Some(Authorized {
            subject: user.map(|name| account(name).subject),
            scope: scope(most),
        }),
    };
    let standing = standing.map(account);
    issue(&request, verified, standing.as_ref(), world.ctx(), &mut entropy)
}

#[test]
fn what_is_issued_is_bounded_by_everybody() {
    // RFC 6749 section 4.5, section 3.3: the host, the client's registration, and the request.
    let mut world = World::new();
    let client = client(&mut world);
    let decision =
        ask(&mut world, &client, "read admin", Some("read"), Some("alice"), Some("alice"));
    let response = decision.outcome.expect("issued");
    assert_eq!(response.scope, scope("read"));
    assert!(response.refresh_token.is_none());
    let grant = grant_of(decision.write);
    assert_eq!(grant.subject().map(Subject::as_str), Some("alice"));
    assert!(matches!(grant.state, GrantState::Active(_)));
    assert!(matches!(
        decision.events.as_slice(),
        [Event::ExtensionGrantIssued { grant_type, .. }] if grant_type == GRANT
    ));
    for (most, asked, refusal) in [
        ("read", Some("write"), Refusal::ScopeNotAllowed),
        ("read admin", Some("admin"), Refusal::ScopeNotAllowed),
        ("read", Some("nope"), Refusal::ScopeUnknown),
        ("read", Some("a\"b"), Refusal::ScopeMalformed),
        ("read", None, Refusal::ScopeMissing),
        ("", Some("read"), Refusal::ScopeNotAllowed),
    ] {
        let decision = ask(&mut world, &client, most, asked, Some("alice"), Some("alice"));
        assert_eq!(decision.outcome.err(), Some(refusal), "{most} {asked:?}");
        assert!(decision.write.is_none());
    }
    world.policy.default_scope = Some(scope("read"));
    let decision = ask(&mut world, &client, "read write", None, Some("alice"), Some("alice"));
    assert_eq!(decision.outcome.expect("issued").scope, scope("read"));
    // Anybody can use the name of a public client: it has no token of its own.
    let decision = ask(&mut world, &client, "read write", None, None, None);
    assert_eq!(decision.outcome.err(), Some(Refusal::GrantTypeNotAllowed));
}

#[test]
fn nobody_gets_a_token_for_a_user_who_is_not_there() {
    // ATTACKS D06.
    let mut world = World::new();
    let client = client(&mut world);
    for standing in [None, Some("mallory")] {
        let decision = ask(&mut world, &client, "read", Some("read"), Some("alice"), standing);
        assert_eq!(decision.outcome.err(), Some(Refusal::AccountGone));
        assert!(decision.write.is_none());
    }
}

#[test]
fn a_client_that_is_not_registered_for_it_is_refused_before_the_host_is_asked() {
    let mut world = World::new();
    let other = world.public();
    let presented = PresentedClient { client_id: other.client.id.to_string(), secret: None };
    let verified = authenticate(&presented, Some(&other.client), world.now).expect("public");
    assert_eq!(extension::may_ask(GRANT, verified), Err(Refusal::GrantTypeNotAllowed));
    let decision = ask(&mut world, &other, "read", Some("read"), None, None);
    assert_eq!(decision.outcome.err(), Some(Refusal::GrantTypeNotAllowed));
}

#[test]
fn a_name_is_an_absolute_uri() {
    for name in ["urn:example:card", "https://example.com/grant", "a:b"] {
        assert!(is_name(name), "{name}");
    }
    let long = format!("urn:{}", "x".repeat(extension::MAX_NAME_LEN));
    for name in ["", "password", "implicit", ":x", "urn:", "1:x", "a b:c", "urn:a b", "ü:x", &long]
    {
        assert!(!is_name(name), "{name}");
    }
}

proptest! {
    #[test]
    fn no_more_than_all_three_allow(most in 0_u8..8, mine in 0_u8..8, asked in 1_u8..8) {
        let names = |bits: u8| -> ScopeSet {
            let all = ["admin", "read", "write"];
            let chosen = all.iter().zip(0..3).filter(|(_, bit)| bits & (1 << bit) != 0);
            scope(&chosen.map(|(name, _)| *name).collect::<Vec<_>>().join(" "))
        };
        let mut world = World::new();
        let client = world.register(&Registration {
            extension_grants: vec![GRANT.to_owned()],
            ..Registration::public("Till", CALLBACK, names(mine))
        });
        let (most, mine, asked) = (names(most), names(mine), names(asked));
        let (texts, asked_text) = (most.to_string(), asked.to_string());
        let decision = ask(&mut world, &client, &texts, Some(&asked_text), Some("alice"), Some("alice"));
        let allowed = asked.is_subset(&most) && asked.is_subset(&mine);
        prop_assert_eq!(decision.outcome.is_ok(), allowed);
        if let Ok(response) = decision.outcome {
            prop_assert_eq!(response.scope, asked);
        }
    }
}
