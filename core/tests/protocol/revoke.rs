use grantor::model::{
    Consent, ConsentState, Grant, GrantState, Handle, HandleKind, RevocationReason, Secret, Subject,
};
use grantor::protocol::{Decision, Refusal, revoke};
use grantor::storage::Record;

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

#[test]
fn what_is_no_token_of_the_grant_ends_nothing() {
    // Requirement 7009-008.
    let mut world = World::new();
    let registered = world.confidential();
    let (issued, code) = world.allowed(&registered.client);
    let (grant, tokens) = world.active(&registered);
    let client = verified(&registered, world.now);
    let read = |text: &str| revoke::parse(text).expect("a token");
    let access = read(tokens.access_token.expose());
    let refresh = read(tokens.refresh_token.expect("refresh").expose());
    let guess = Secret::from_bytes([8; 32]);
    let ended = revoke::grant(Some(&grant), RevocationReason::User, world.ctx());
    let ended = grant_of(ended.write);
    for (token, found) in [
        (Handle::new(HandleKind::AccessToken, grant.id, guess.clone()), Some(&grant)),
        (Handle::new(HandleKind::RefreshToken, grant.id, guess), Some(&grant)),
        (Handle::new(HandleKind::AccessToken, grant.id, refresh.secret.clone()), Some(&grant)),
        (Handle::new(HandleKind::RefreshToken, grant.id, access.secret.clone()), Some(&grant)),
        (Handle::new(HandleKind::Code, grant.id, refresh.secret.clone()), Some(&grant)),
        (Handle::new(HandleKind::AccessToken, issued.id, code.secret), Some(&issued)),
        (access.clone(), Some(&ended)),
        (refresh.clone(), Some(&ended)),
        (access, None),
        (refresh, None),
    ] {
        let decision = revoke::by_client(&token, client, found, world.ctx());
        assert_eq!((decision.outcome, decision.write), (Ok(()), None), "{token:?}");
    }
}

#[test]
fn a_withdrawal_ends_the_grants_of_its_user_client_and_time() {
    // Requirement OA21-021; ATTACKS D06.
    let mut world = World::new();
    let registered = world.confidential();
    let alice = Subject::parse("alice").expect("subject");
    let consent = Consent {
        subject: alice.clone(),
        client_id: registered.client.id.clone(),
        scope: crate::world::scope(""),
        state: ConsentState::Withdrawing,
        epoch: 1,
        granted_at: world.now,
        updated_at: world.now,
        client_name: "Calendar".into(),
    };
    let (issued, _) = world.allowed(&registered.client);
    let (active, _) = world.active(&registered);
    for grant in [&issued, &active] {
        let decision = revoke::withdrawn_grant(Some(grant), &consent, world.ctx());
        assert_eq!(decision.outcome, Ok(true));
        let GrantState::Revoked(end) = grant_of(decision.write).state else { panic!("revoked") };
        assert_eq!((end.reason, end.at), (RevocationReason::User, world.now));
    }
    let other_client = world.public().client.id;
    for other in [
        Consent { epoch: 0, ..consent.clone() },
        Consent { subject: Subject::parse("mallory").expect("subject"), ..consent.clone() },
        Consent { client_id: other_client, ..consent.clone() },
    ] {
        let decision = revoke::withdrawn_grant(Some(&active), &other, world.ctx());
        assert_eq!((decision.outcome, decision.write), (Ok(false), None), "{other:?}");
    }
    let nothing = revoke::withdrawn_grant(None, &consent, world.ctx());
    assert_eq!((nothing.outcome, nothing.write), (Ok(false), None));
}

#[test]
fn everything_of_a_client_or_a_user_ends_with_one_count() {
    // Requirement 9700-038.
    let mut world = World::new();
    let client = world.confidential().client;
    let decision = revoke::everything_of_client(Some(&client));
    let Some(Record::Client(next)) = decision.write else { panic!("a client") };
    assert_eq!(next.epoch, client.epoch + 1);
    assert_eq!((next.removed_at, next.secrets.len()), (None, client.secrets.len()));
    let unknown = revoke::everything_of_client(None);
    assert_eq!((unknown.outcome, unknown.write), (Err(Refusal::ClientUnknown), None));

    let alice = Subject::parse("alice").expect("subject");
    let mut mark = None;
    for epoch in 1..3 {
        let decision = revoke::subject(&alice, mark.as_ref(), world.ctx());
        assert_eq!(decision.outcome, Ok(()));
        let Some(Record::RevokedSubject(next)) = decision.write else { panic!("a mark") };
        assert_eq!((&next.subject, next.epoch, next.at), (&alice, epoch, world.now));
        mark = Some(next);
    }
}
