use std::time::Duration;

use grantor::model::{Active, GrantState, GrantType, RevocationReason, Rotation};
use grantor::protocol::client_credentials::{self, ClientCredentialsRequest};
use grantor::protocol::register::Registration;
use grantor::protocol::token::TokenResponse;
use grantor::protocol::{Decision, Event, Refusal, refresh};
use proptest::prelude::*;

use crate::world::{World, grant_of, refusal, scope, verified};

fn refresh_token(tokens: &TokenResponse) -> grantor::model::SecretString {
    tokens.refresh_token.clone().expect("a refresh token")
}

fn same(a: &TokenResponse, b: &TokenResponse) -> bool {
    a.access_token.expose() == b.access_token.expose()
        && refresh_token(a).expose() == refresh_token(b).expose()
}

fn ends_in_reuse(decision: &Decision<TokenResponse>) -> bool {
    let ended = decision.write.clone().map(|write| grant_of(Some(write)).state);
    matches!(ended, Some(GrantState::Revoked(end)) if end.reason == RevocationReason::RefreshTokenReused)
}

#[test]
fn rotation_gives_a_new_token_and_the_old_one_is_retired() {
    // Requirements 6749-075, 9700-010, OA21-016; ATTACKS D03.
    let mut world = World::new();
    for registered in [world.confidential(), world.public()] {
        let (grant, first) = world.active(&registered);
        let client = verified(&registered, world.now);
        let decision = world.refresh(&grant, client, &refresh_token(&first), None);
        let second = decision.outcome.as_ref().expect("renewed").clone();
        assert_ne!(refresh_token(&first).expose(), refresh_token(&second).expose());
        assert_ne!(first.access_token.expose(), second.access_token.expose());
        assert_eq!(decision.events.len(), 1);
        assert!(matches!(decision.events[0], Event::Refreshed { rotated: true, .. }));
    }
}

#[test]
fn a_retry_gets_the_same_answer_until_the_answer_is_used() {
    // ATTACKS D01, D02.
    let mut world = World::new();
    let registered = world.public();
    let (grant, first) = world.active(&registered);
    let client = verified(&registered, world.now);
    let decision = world.refresh(&grant, client, &refresh_token(&first), None);
    let second = decision.outcome.as_ref().expect("renewed").clone();
    let grant = grant_of(decision.write);

    world.pass(Duration::from_secs(59));
    let retry = world.refresh(&grant, client, &refresh_token(&first), None);
    let answer = retry.outcome.as_ref().expect("the same answer");
    assert!(same(answer, &second) && retry.write.is_none());
    assert_eq!(answer.expires_in, Duration::from_secs(3600 - 59), "the truth about the same token");

    // Outside the window it is theft.
    world.pass(Duration::from_secs(1));
    let late = world.refresh(&grant, client, &refresh_token(&first), None);
    assert_eq!(*refusal(&late), Refusal::RefreshTokenReused);
    assert!(ends_in_reuse(&late));
}

#[test]
fn once_the_successor_was_used_the_predecessor_is_theft_even_inside_the_window() {
    // Requirements 9700-036, OA21-017; ATTACKS D03.
    let mut world = World::new();
    let registered = world.confidential();
    let (grant, first) = world.active(&registered);
    let client = verified(&registered, world.now);
    let decision = world.refresh(&grant, client, &refresh_token(&first), None);
    let second = decision.outcome.as_ref().expect("renewed").clone();
    let decision = world.refresh(&grant_of(decision.write), client, &refresh_token(&second), None);
    let third = decision.outcome.as_ref().expect("renewed").clone();
    let grant = grant_of(decision.write);
    let stolen = world.refresh(&grant, client, &refresh_token(&first), None);
    assert!(ends_in_reuse(&stolen));
    let ended = grant_of(stolen.write);
    let after = world.refresh(&ended, client, &refresh_token(&third), None);
    assert_eq!(*refusal(&after), Refusal::GrantRevoked(RevocationReason::RefreshTokenReused));
    assert!(after.write.is_none());
}

#[test]
fn every_retired_token_is_remembered_and_an_invented_one_is_not() {
    // Requirement 9700-037; ATTACKS B04, D04.
    let mut world = World::new();
    let registered = world.public();
    let (mut grant, mut tokens) = world.active(&registered);
    let client = verified(&registered, world.now);
    let mut retired = Vec::new();
    for _ in 0..40 {
        retired.push(refresh_token(&tokens));
        let decision = world.refresh(&grant, client, &refresh_token(&tokens), None);
        tokens = decision.outcome.as_ref().expect("renewed").clone();
        grant = grant_of(decision.write);
    }
    for old in &retired[..39] {
        assert!(ends_in_reuse(&world.refresh(&grant, client, old, None)));
    }
    for byte in 0..=255_u8 {
        let handle = grantor::model::Handle::new(
            grantor::model::HandleKind::RefreshToken,
            grant.id,
            grantor::model::Secret::from_bytes([byte; 32]),
        );
        let guess = world.refresh(&grant, client, &handle.encode(), None);
        assert_eq!(*refusal(&guess), Refusal::RefreshTokenUnknown);
        assert!(guess.write.is_none(), "a guess at a known grant must not end it");
    }
}

#[test]
fn a_token_belongs_to_its_client() {
    // Requirements 6749-064, 6749-074; ATTACKS D03.
    let mut world = World::new();
    let registered = world.confidential();
    let stranger = world.confidential();
    let (grant, first) = world.active(&registered);
    let wrong = world.refresh(&grant, verified(&stranger, world.now), &refresh_token(&first), None);
    assert_eq!(*refusal(&wrong), Refusal::RefreshTokenOfAnotherClient);
    assert!(wrong.write.is_none());
    let right =
        world.refresh(&grant, verified(&registered, world.now), &refresh_token(&first), None);
    assert!(right.outcome.is_ok());
}

#[test]
fn scope_narrows_for_the_access_token_and_never_widens() {
    // Requirements 6749-065, 6749-066, 6749-067, 9700-035; ATTACKS D05.
    let mut world = World::new();
    let registered = world.confidential();
    let (grant, first) = world.active(&registered);
    let client = verified(&registered, world.now);
    for wider in ["read write admin", "admin", "READ", "read  write", "read \"", ""] {
        let decision = world.refresh(&grant, client, &refresh_token(&first), Some(wider));
        assert!(
            matches!(refusal(&decision), Refusal::ScopeWidened | Refusal::ScopeMalformed),
            "{wider:?} {:?}",
            decision.outcome
        );
        assert!(decision.write.is_none());
    }
    let decision = world.refresh(&grant, client, &refresh_token(&first), Some("read"));
    let narrow = decision.outcome.as_ref().expect("narrowed").clone();
    assert_eq!(narrow.scope, scope("read"));
    let grant = grant_of(decision.write);
    // A retry that asks for something else is no retry; it is refused and ends nothing.
    let other = world.refresh(&grant, client, &refresh_token(&first), Some("write"));
    assert_eq!(*refusal(&other), Refusal::RetryDiffers);
    assert!(other.write.is_none());
    let retry = world.refresh(&grant, client, &refresh_token(&first), Some("read"));
    assert!(same(retry.outcome.as_ref().expect("same"), &narrow));
    let decision = world.refresh(&grant, client, &refresh_token(&narrow), None);
    assert_eq!(decision.outcome.expect("renewed").scope, scope("read write"));
}

#[test]
fn what_the_client_may_no_longer_have_is_not_renewed() {
    // ATTACKS D05.
    let mut world = World::new();
    let mut registered = world.confidential();
    let (grant, first) = world.active(&registered);
    registered.client.scope = scope("read");
    let client = verified(&registered, world.now);
    let decision = world.refresh(&grant, client, &refresh_token(&first), None);
    assert_eq!(decision.outcome.expect("renewed").scope, scope("read"));
    let mut none = registered.clone();
    none.client.scope = scope("admin");
    let client = verified(&none, world.now);
    let decision = world.refresh(&grant, client, &refresh_token(&first), None);
    assert_eq!(*refusal(&decision), Refusal::ScopeNotAllowed);
}

#[test]
fn idle_and_absolute_lifetimes_are_both_kept() {
    // Requirements 9700-038, OA21-018.
    let mut world = World::new();
    let registered = world.confidential();
    let (mut grant, mut tokens) = world.active(&registered);
    let client = verified(&registered, world.now);
    let day = Duration::from_secs(86_400);
    let idle = world.refresh(&grant, client, &refresh_token(&tokens), None);
    assert!(idle.outcome.is_ok());
    let begun = world.now;
    for _ in 0..6 {
        world.pass(13 * day);
        let decision = world.refresh(&grant, client, &refresh_token(&tokens), None);
        tokens = decision.outcome.as_ref().expect("used within the idle lifetime").clone();
        grant = grant_of(decision.write);
    }
    world.pass(12 * day);
    assert_eq!(world.now.since(begun), 90 * day);
    let over = world.refresh(&grant, client, &refresh_token(&tokens), None);
    assert_eq!(*refusal(&over), Refusal::RefreshTokenExpired, "90 days are over");

    let (grant, tokens) = world.active(&registered);
    world.pass(14 * day);
    let stale = world.refresh(&grant, client, &refresh_token(&tokens), None);
    assert_eq!(*refusal(&stale), Refusal::RefreshTokenExpired, "14 days unused");
    assert!(stale.write.is_none());
}

#[test]
fn without_rotation_an_authenticated_client_keeps_its_token_and_a_public_one_does_not() {
    // Requirement 9700-036.
    let mut world = World::new();
    let policy = world.policy.refresh.as_mut().expect("on");
    policy.rotation = Rotation::PublicClients;
    let confidential = world.confidential();
    let (mut grant, tokens) = world.active(&confidential);
    let client = verified(&confidential, world.now);
    for _ in 0..3 {
        let decision = world.refresh(&grant, client, &refresh_token(&tokens), None);
        assert!(decision.outcome.as_ref().expect("renewed").refresh_token.is_none());
        grant = grant_of(decision.write);
    }
    let public = world.public();
    let (grant, tokens) = world.active(&public);
    let decision =
        world.refresh(&grant, verified(&public, world.now), &refresh_token(&tokens), None);
    assert!(decision.outcome.expect("renewed").refresh_token.is_some());
}

#[test]
fn live_access_tokens_are_bounded() {
    // ATTACKS J06, I04.
    let mut world = World::new();
    world.policy.refresh.as_mut().expect("on").rotation = Rotation::PublicClients;
    let registered = world.confidential();
    let (mut grant, tokens) = world.active(&registered);
    let client = verified(&registered, world.now);
    for _ in 0..2 * Active::MAX_ACCESS_TOKENS {
        grant = grant_of(world.refresh(&grant, client, &refresh_token(&tokens), None).write);
    }
    let GrantState::Active(active) = &grant.state else { panic!("active") };
    assert_eq!(active.access_tokens.len(), Active::MAX_ACCESS_TOKENS);
}

#[test]
fn a_grant_that_no_longer_stands_is_not_renewed() {
    // ATTACKS D06, E04.
    let mut world = World::new();
    let registered = world.confidential();
    let (grant, tokens) = world.active(&registered);
    let request = refresh::RefreshRequest {
        refresh_token: refresh::parse(refresh_token(&tokens).expose()),
        scope: None,
    };
    let client = verified(&registered, world.now);
    let mut entropy = world.entropy();
    let gone = refresh::refresh(&request, client, Some(&grant), None, world.ctx(), &mut entropy);
    assert_eq!(*refusal(&gone), Refusal::AccountGone);
    let mut narrowed = registered.clone();
    narrowed.client.grant_types = vec![GrantType::AuthorizationCode];
    let client = verified(&narrowed, world.now);
    let refused = world.refresh(&grant, client, &refresh_token(&tokens), None);
    assert_eq!(*refusal(&refused), Refusal::GrantTypeNotAllowed);
}

#[test]
fn an_access_token_is_no_refresh_token() {
    // ATTACKS D07, F06.
    let mut world = World::new();
    let registered = world.confidential();
    let (_, tokens) = world.active(&registered);
    let parsed = refresh::parse(tokens.access_token.expose());
    assert!(parsed.is_none(), "another kind");
}

#[test]
fn client_credentials_are_for_confidential_clients_and_come_without_refresh() {
    // Requirements 6749-053, 6749-054, 6749-055, OA21-015; ATTACKS E04.
    let mut world = World::new();
    let service = world.register(&Registration::service("Robot", scope("read write")));
    let ask = |world: &mut World,
               registered: &grantor::protocol::register::Registered,
               scope: Option<&str>| {
        let request = ClientCredentialsRequest { scope: scope.map(str::to_owned) };
        let client = verified(registered, world.now);
        let mut entropy = world.entropy();
        client_credentials::issue(&request, client, world.ctx(), &mut entropy)
    };
    let decision = ask(&mut world, &service, Some("read"));
    let tokens = decision.outcome.expect("issued");
    assert!(tokens.refresh_token.is_none());
    assert_eq!(tokens.scope, scope("read"));
    assert_eq!(grant_of(decision.write).subject(), None);
    for (asked, why) in [
        (None, Refusal::ScopeMissing),
        (Some("admin"), Refusal::ScopeNotAllowed),
        (Some("nope"), Refusal::ScopeUnknown),
        (Some("a\\b"), Refusal::ScopeMalformed),
    ] {
        assert_eq!(*refusal(&ask(&mut world, &service, asked)), why);
    }
    world.policy.default_scope = Some(scope("read admin"));
    let defaulted = ask(&mut world, &service, None).outcome.expect("the default");
    assert_eq!(defaulted.scope, scope("read"), "6749-038: the default, as far as it is allowed");
    for registered in [world.public(), world.confidential()] {
        let refused = ask(&mut world, &registered, Some("read"));
        assert_eq!(*refusal(&refused), Refusal::GrantTypeNotAllowed);
    }
}

proptest! {
    /// A random walk of an honest client that retries, and of a thief with a copy of any token that
    /// ever was. The honest client inside the window is never punished; whenever somebody presents a
    /// token that was retired for good, nothing is left alive.
    #[test]
    fn retries_are_safe_and_reuse_is_fatal(steps in proptest::collection::vec((0..3_u8, 0..100_u64, 0..8_usize), 1..40)) {
        let mut world = World::new();
        let registered = world.public();
        let (mut grant, mut current) = world.active(&registered);
        let mut history = vec![refresh_token(&current)];
        let mut rotated_at = None;
        for (step, wait, pick) in steps {
            world.pass(Duration::from_secs(wait));
            let client = verified(&registered, world.now);
            match step {
                0 => {
                    let decision = world.refresh(&grant, client, &refresh_token(&current), None);
                    current = decision.outcome.as_ref().expect("honest").clone();
                    grant = grant_of(decision.write);
                    history.push(refresh_token(&current));
                    rotated_at = Some(world.now);
                }
                1 if history.len() > 1 => {
                    let in_window = rotated_at.is_some_and(|at| world.now.since(at) < Duration::from_secs(60));
                    if in_window {
                        let decision = world.refresh(&grant, client, &history[history.len() - 2], None);
                        prop_assert!(same(decision.outcome.as_ref().expect("a retry"), &current));
                        prop_assert!(decision.write.is_none());
                    }
                }
                2 if history.len() > 2 => {
                    let old = &history[pick % (history.len() - 2)];
                    let decision = world.refresh(&grant, client, old, None);
                    prop_assert!(ends_in_reuse(&decision));
                    let ended = grant_of(decision.write);
                    let after = world.refresh(&ended, client, &refresh_token(&current), None);
                    prop_assert!(after.outcome.is_err() && after.write.is_none());
                    return Ok(());
                }
                _ => {}
            }
        }
    }
}
