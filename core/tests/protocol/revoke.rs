use grantor::model::{Grant, GrantState, RevocationReason};
use grantor::protocol::{Decision, Refusal, revoke};

use crate::world::{World, grant_of, verified};

fn is_over(decision: Decision<()>) -> bool {
    decision.outcome.expect("revoked");
    matches!(grant_of(decision.write).state, GrantState::Revoked(_))
}

#[test]
fn an_access_token_alone_or_the_whole_authorization_by_its_refresh_token() {
    // Requirements 7009-001, 7009-004, 7009-007, 7009-008; ATTACKS F04.
    let mut world = World::new();
    for registered in [world.confidential(), world.public()] {
        let (grant, tokens) = world.active(&registered);
        let client = verified(&registered, world.now);
        let by = |text: &str, grant: &Grant| {
            let token = revoke::parse(text).expect("a token");
            revoke::by_client(&token, client, Some(grant), world.ctx())
        };
        let access = by(tokens.access_token.expose(), &grant);
        access.outcome.as_ref().expect("revoked");
        let next = grant_of(access.write);
        let GrantState::Active(active) = &next.state else { panic!("still active") };
        assert!(active.access_tokens.is_empty() && active.refresh.is_some());
        let twice = by(tokens.access_token.expose(), &next);
        assert!(twice.write.is_none() && twice.outcome.is_ok(), "revoked already is revoked");
        let refresh = tokens.refresh_token.expect("refresh");
        assert!(is_over(by(refresh.expose(), &next)));
    }
}

#[test]
fn a_retired_refresh_token_still_revokes() {
    let mut world = World::new();
    let registered = world.public();
    let (grant, first) = world.active(&registered);
    let client = verified(&registered, world.now);
    let old = first.refresh_token.expect("refresh");
    let decision = world.refresh(&grant, client, &old, None);
    let grant = grant_of(decision.write);
    let token = revoke::parse(old.expose()).expect("token");
    assert!(is_over(revoke::by_client(&token, client, Some(&grant), world.ctx())));
}

#[test]
fn nobody_revokes_for_somebody_else() {
    // Requirement 7009-003; ATTACKS F04.
    let mut world = World::new();
    let registered = world.confidential();
    let stranger = world.public();
    let (grant, tokens) = world.active(&registered);
    let refresh = tokens.refresh_token.expect("refresh");
    for text in [tokens.access_token.expose(), refresh.expose()] {
        let token = revoke::parse(text).expect("token");
        let client = verified(&stranger, world.now);
        let decision = revoke::by_client(&token, client, Some(&grant), world.ctx());
        assert_eq!(decision.outcome, Err(Refusal::TokenOfAnotherClient));
        assert!(decision.write.is_none());
    }
}

#[test]
fn revocation_only_grows() {
    // ATTACKS D09.
    let mut world = World::new();
    let registered = world.confidential();
    let (grant, _) = world.active(&registered);
    let first = revoke::grant(Some(&grant), RevocationReason::User, world.ctx());
    assert_eq!(first.outcome, Ok(true));
    let ended = grant_of(first.write);
    let second = revoke::grant(Some(&ended), RevocationReason::Operator, world.ctx());
    assert_eq!((second.outcome, second.write), (Ok(false), None));
}
