use std::time::Duration;

use grantor::model::{Handle, HandleKind, Secret};
use grantor::protocol::introspect::{Introspection, TokenFacts, introspect};
use grantor::protocol::register::{self, Registered, Registration};
use grantor::protocol::{Refusal, bearer, revoke};
use grantor::storage::Record;

use crate::world::{CALLBACK, World, grant_of, scope, verified};

fn resource_server(world: &mut World) -> Registered {
    world.register(&Registration {
        resource_server: true,
        ..Registration::service("Calendar API", scope("read"))
    })
}

#[test]
fn who_may_learn_what() {
    // Requirements 7662-003, 7662-005, 7662-006, 7662-009, 7662-011; ATTACKS F01, F02.
    let mut world = World::new();
    let registered = world.confidential();
    let stranger = world.confidential();
    let public = world.public();
    let resource = resource_server(&mut world);
    let (grant, tokens) = world.active(&registered);
    let account = world.alice().account;
    let facts = TokenFacts {
        grant: Some(&grant),
        client: Some(&registered.client),
        account: Some(&account),
    };
    let access = revoke::parse(tokens.access_token.expose());
    let refresh = revoke::parse(tokens.refresh_token.expect("refresh").expose());
    let ask = |caller: &Registered, token: &Option<Handle>| {
        introspect(token.as_ref(), verified(caller, world.now), facts, world.ctx())
    };
    assert_eq!(ask(&public, &access), Err(Refusal::IntrospectionNotAllowed));
    assert_eq!(ask(&stranger, &access), Ok(Introspection::Inactive));
    assert_eq!(ask(&stranger, &refresh), Ok(Introspection::Inactive));
    assert_eq!(
        ask(&resource, &refresh),
        Ok(Introspection::Inactive),
        "refresh tokens are the client's"
    );
    assert_eq!(ask(&resource, &None), Ok(Introspection::Inactive));
    let Ok(Introspection::AccessToken(seen)) = ask(&resource, &access) else { panic!("active") };
    assert_eq!(seen.username.as_deref(), Some("alice"));
    assert_eq!((seen.scope, seen.client_id), (scope("read write"), registered.client.id.clone()));
    let Ok(Introspection::AccessToken(own)) = ask(&registered, &access) else { panic!("active") };
    assert_eq!(own.username, None, "the client does not learn the user's name here");
    assert!(matches!(ask(&registered, &refresh), Ok(Introspection::RefreshToken(_))));
    let refresh = refresh.expect("a token");
    let code = Handle::new(HandleKind::Code, refresh.id, refresh.secret);
    assert_eq!(
        ask(&registered, &Some(code)),
        Ok(Introspection::Inactive),
        "another kind of handle"
    );
}

#[test]
fn every_reason_to_be_inactive() {
    // Requirements 6749-068, 7662-007, 7662-008; ATTACKS D06, F03, F06.
    let mut world = World::new();
    let registered = world.confidential();
    let resource = resource_server(&mut world);
    let (grant, tokens) = world.active(&registered);
    let account = world.alice().account;
    let token = revoke::parse(tokens.access_token.expose()).expect("token");
    let facts = TokenFacts {
        grant: Some(&grant),
        client: Some(&registered.client),
        account: Some(&account),
    };
    let inactive = |world: &World, token: &Handle, facts: TokenFacts<'_>| {
        let caller = verified(&resource, world.now);
        introspect(Some(token), caller, facts, world.ctx()) == Ok(Introspection::Inactive)
            && bearer::check(token, &scope("read"), facts, world.ctx()).is_err()
    };
    assert!(!inactive(&world, &token, facts));
    assert!(inactive(&world, &token, TokenFacts { grant: None, ..facts }));
    assert!(inactive(&world, &token, TokenFacts { client: None, ..facts }));
    assert!(inactive(&world, &token, TokenFacts { account: None, ..facts }), "a disabled user");
    let mallory = crate::world::User::new("mallory", world.now).account;
    assert!(inactive(&world, &token, TokenFacts { account: Some(&mallory), ..facts }));
    let guess = Handle::new(HandleKind::AccessToken, token.id, Secret::from_bytes([1; 32]));
    assert!(inactive(&world, &guess, facts));
    let code = Handle::new(HandleKind::Code, token.id, token.secret.clone());
    assert!(inactive(&world, &code, facts), "another kind of handle");
    let Some(Record::Client(removed)) =
        register::remove(Some(&registered.client), world.ctx()).write
    else {
        panic!()
    };
    assert!(
        inactive(&world, &token, TokenFacts { client: Some(&removed), ..facts }),
        "a removed client"
    );
    let Some(Record::Client(bumped)) = revoke::everything_of_client(Some(&registered.client)).write
    else {
        panic!()
    };
    assert!(
        inactive(&world, &token, TokenFacts { client: Some(&bumped), ..facts }),
        "all revoked at once"
    );
    let ended =
        revoke::grant(Some(&grant), grantor::model::RevocationReason::Operator, world.ctx());
    let ended = grant_of(ended.write);
    let over = TokenFacts { grant: Some(&ended), ..facts };
    assert!(inactive(&world, &token, over));
    assert_eq!(
        bearer::check(&token, &scope("read"), over, world.ctx()),
        Err(Refusal::GrantRevoked(grantor::model::RevocationReason::Operator)),
        "the audit log learns why"
    );
    world.pass(Duration::from_secs(3600));
    assert!(inactive(&world, &token, facts), "expired");
}

#[test]
fn a_protected_resource_wants_the_whole_scope() {
    // Requirements 6749-068, 6750-008.
    let mut world = World::new();
    let registered =
        world.register(&Registration::confidential("x", CALLBACK, scope("read write")));
    let (grant, tokens) = world.active(&registered);
    let account = world.alice().account;
    let facts = TokenFacts {
        grant: Some(&grant),
        client: Some(&registered.client),
        account: Some(&account),
    };
    let token = bearer::parse(tokens.access_token.expose()).expect("token");
    for (wanted, passes) in
        [("", true), ("read", true), ("write read", true), ("admin", false), ("read admin", false)]
    {
        let checked = bearer::check(&token, &scope(wanted), facts, world.ctx());
        assert_eq!(checked.is_ok(), passes, "{wanted:?}");
    }
    let refused = bearer::check(&token, &scope("admin"), facts, world.ctx());
    assert_eq!(refused.expect_err("scope"), Refusal::ScopeInsufficient);
    assert!(bearer::parse(tokens.refresh_token.expect("refresh").expose()).is_err(), "ATTACKS D07");
}
