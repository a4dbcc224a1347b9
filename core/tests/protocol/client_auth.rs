use std::time::Duration;

use grantor::model::{ApplicationType, ClientAuthMethod, SecretString};
use grantor::protocol::Refusal;
use grantor::protocol::client_auth::{PresentedClient, authenticate};
use grantor::protocol::register::{self, Registration};

use crate::world::{CALLBACK, World, present, scope};

#[test]
fn the_type_is_recorded_and_never_guessed() {
    // Requirements 6749-001, 6749-002, 6749-003, 6749-009; ATTACKS E02, E03.
    let mut world = World::new();
    let confidential = world.confidential();
    let public = world.public();
    let name_only = |id: &str| PresentedClient { client_id: id.into(), secret: None };

    let refused = authenticate(
        &name_only(confidential.client.id.as_str()),
        Some(&confidential.client),
        world.now,
    );
    assert_eq!(refused.expect_err("no secret"), Refusal::ClientSecretMissing);
    assert!(
        !authenticate(&present(&public), Some(&public.client), world.now)
            .expect("public")
            .is_authenticated()
    );
    let with_secret = PresentedClient {
        secret: Some((ClientAuthMethod::ClientSecretPost, SecretString::new("guess"))),
        ..name_only(public.client.id.as_str())
    };
    let refused = authenticate(&with_secret, Some(&public.client), world.now);
    assert_eq!(
        refused.expect_err("a public client has no secret"),
        Refusal::PublicClientSentSecret
    );
    let wrong = PresentedClient {
        secret: Some((ClientAuthMethod::ClientSecretBasic, SecretString::new("guess"))),
        ..name_only(confidential.client.id.as_str())
    };
    let refused = authenticate(&wrong, Some(&confidential.client), world.now);
    assert_eq!(refused.expect_err("wrong"), Refusal::ClientSecretWrong);
    assert_eq!(authenticate(&wrong, None, world.now).expect_err("unknown"), Refusal::ClientUnknown);
}

#[test]
fn each_registered_method_against_each_presented_one() {
    // Requirement 6749-009, ATTACKS E01.
    let mut world = World::new();
    for registered_method in
        [ClientAuthMethod::ClientSecretBasic, ClientAuthMethod::ClientSecretPost]
    {
        let registered = world.register(&Registration {
            auth_methods: vec![registered_method],
            ..Registration::confidential("x", CALLBACK, scope("read"))
        });
        for method in [ClientAuthMethod::ClientSecretBasic, ClientAuthMethod::ClientSecretPost] {
            let secret = registered.client_secret.clone().expect("secret");
            let presented =
                PresentedClient { secret: Some((method, secret)), ..present(&registered) };
            let outcome = authenticate(&presented, Some(&registered.client), world.now);
            assert_eq!(
                outcome.is_ok(),
                method == registered_method,
                "{registered_method:?} {method:?}"
            );
        }
    }
}

#[test]
fn a_replaced_secret_works_for_the_overlap_and_no_longer() {
    // ATTACKS E16.
    let mut world = World::new();
    let first = world.confidential();
    let mut entropy = world.entropy();
    let rotated = register::rotate_secret(Some(&first.client), world.ctx(), &mut entropy)
        .outcome
        .expect("rotated");
    let old = present(&first);
    let new = present(&rotated);
    authenticate(&old, Some(&rotated.client), world.now).expect("the old one still works");
    authenticate(&new, Some(&rotated.client), world.now).expect("the new one works");
    world.pass(world.policy.secret_overlap);
    let refused = authenticate(&old, Some(&rotated.client), world.now);
    assert_eq!(refused.expect_err("expired"), Refusal::ClientSecretExpired);
    authenticate(&new, Some(&rotated.client), world.now).expect("the new one works on");

    // However often it is rotated, at most two are valid, and an expiry is never put off.
    world.pass(Duration::from_secs(1));
    let mut entropy = world.entropy();
    let again = register::rotate_secret(Some(&rotated.client), world.ctx(), &mut entropy)
        .outcome
        .expect("rotated");
    assert_eq!(again.client.secrets.len(), 2);
    let refused = authenticate(&old, Some(&again.client), world.now);
    assert_eq!(refused.expect_err("gone"), Refusal::ClientSecretWrong);
}

#[test]
fn a_removed_client_is_nobody() {
    let mut world = World::new();
    let registered = world.confidential();
    let removed = register::remove(Some(&registered.client), world.ctx());
    let Some(grantor::storage::Record::Client(client)) = removed.write else { panic!("removed") };
    let refused = authenticate(&present(&registered), Some(&client), world.now);
    assert_eq!(refused.expect_err("removed"), Refusal::ClientRemoved);
    assert_ne!(client.epoch, registered.client.epoch, "all that was issued died in the same write");
}

#[test]
fn a_secret_shipped_in_an_app_proves_nothing() {
    // Requirement 8252-009.
    let mut world = World::new();
    let native = world.register(&Registration {
        application_type: ApplicationType::Native,
        ..Registration::confidential("x", CALLBACK, scope("read"))
    });
    assert!(!native.client.proves_identity());
}
