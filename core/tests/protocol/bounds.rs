//! A record with every bound used up still fits the store: otherwise an ordinary request could make
//! one that can never be written again.

use grantor::model::{
    Active, GrantState, Policy, RefreshPolicy, Rotation, ScopeDefinition, ScopeSet, ScopeToken,
};
use grantor::protocol::authorize::{AuthorizationRequest, MAX_STATE_LEN};
use grantor::protocol::register::Registration;
use grantor::storage::{NewRecord, Record};

use crate::world::{World, grant_of, verified};

fn fits(record: &Record) {
    let stored = record.to_new_record(None).expect("it fits");
    assert!(stored.value.len() <= NewRecord::MAX_VALUE_LEN, "{} bytes", stored.value.len());
}

/// As many scopes as a policy may define, with names as long as they may be.
fn widest() -> Policy {
    let mut policy = Policy::default();
    for n in 0..ScopeSet::MAX_COUNT {
        let token = ScopeToken::parse(&format!("{n:02}{}", "x".repeat(61))).expect("scope");
        policy.scopes.insert(token, ScopeDefinition::new("x"));
    }
    policy
}

#[test]
fn with_every_bound_used_up_a_record_still_fits() {
    // ATTACKS I04, J04, J06.
    let mut world = World::new();
    world.policy = widest();
    world.policy.refresh =
        Some(RefreshPolicy { rotation: Rotation::PublicClients, ..RefreshPolicy::default() });
    let storage = grantor::storage::Promises {
        durability: grantor::storage::Durability::None,
        linearizable: true,
        evicts: false,
        shared: false,
    };
    world.policy.validate(&storage).expect("as much as may be");
    let whole = world.policy.known_scope();
    let page = format!("https://client.example/{}", "p".repeat(480));
    let redirect_uris = (0..4).map(|n| format!("https://c{n}.example/{}", "r".repeat(2000)));
    let registration = Registration {
        redirect_uris: redirect_uris.collect(),
        name: "\u{d55c}".repeat(80),
        client_uri: Some(page.clone()),
        logo_uri: Some(page.clone()),
        policy_uri: Some(page.clone()),
        tos_uri: Some(page),
        ..Registration::confidential("x", "https://x.example/", whole.clone())
    };
    let registered = world.register(&registration);
    fits(&Record::Client(registered.client.clone()));

    let request = AuthorizationRequest {
        redirect_uri: Some(registration.redirect_uris[0].clone()),
        scope: Some(whole.to_string()),
        state: Some("s".repeat(MAX_STATE_LEN)),
        login_hint: Some("l".repeat(512)),
        ui_locales: Some("u".repeat(512)),
        ..World::request(&registered.client)
    };
    let alice = world.alice();
    let begun = world.begin(&request, &registered.client, alice.visitor(None, None));
    fits(&Record::Grant(grant_of(begun.write)));
    let (issued, code) = world.allowed_by(&registered.client, &alice, &request);
    fits(&Record::Grant(issued.clone()));

    let mut redemption = crate::world::redemption(&code);
    redemption.redirect_uri.clone_from(&request.redirect_uri);
    let redeemed = world.redeem(&issued, verified(&registered, world.now), &redemption);
    let token = redeemed.outcome.as_ref().expect("tokens").refresh_token.clone().expect("refresh");
    let mut grant = grant_of(redeemed.write);
    // Every access token narrowed in a way of its own.
    for dropped in whole.iter().take(2 * Active::MAX_ACCESS_TOKENS) {
        let part: ScopeSet = whole.iter().filter(|scope| *scope != dropped).cloned().collect();
        let client = verified(&registered, world.now);
        let renewed = world.refresh(&grant, client, &token, Some(&part.to_string()));
        assert_eq!(renewed.outcome.as_ref().expect("renewed").scope, part);
        grant = grant_of(renewed.write);
        fits(&Record::Grant(grant.clone()));
    }
    assert!(matches!(&grant.state, GrantState::Active(active)
        if active.access_tokens.len() == Active::MAX_ACCESS_TOKENS));
}
