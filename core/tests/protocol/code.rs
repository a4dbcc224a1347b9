use std::time::Duration;

use grantor::model::{Grant, GrantState, RevocationReason, Secret};
use grantor::protocol::authorize::AuthorizationRequest;
use grantor::protocol::code::{self, RedeemRequest};
use grantor::protocol::register::Registration;
use grantor::protocol::{Refusal, revoke};
use grantor::storage::Record;
use proptest::prelude::*;

use crate::world::{CALLBACK, VERIFIER, World, grant_of, redemption, refusal, scope, verified};

#[test]
fn a_code_is_exchanged_once_for_all_that_was_allowed() {
    // Requirements 6749-042, 6749-057, 7636-004, 8252-001, 9700-004, OA21-006; ATTACKS B01.
    let mut world = World::new();
    for registered in [world.confidential(), world.public()] {
        let (grant, code) = world.allowed(&registered.client);
        let client = verified(&registered, world.now);
        let decision = world.redeem(&grant, client, &redemption(&code));
        let tokens = decision.outcome.as_ref().expect("tokens");
        assert_eq!(tokens.scope, scope("read write"));
        assert!(tokens.refresh_token.is_some());
        assert_eq!(tokens.expires_in, world.policy.access_token_lifetime);
        let active = grant_of(decision.write.clone());
        assert!(
            matches!(active.state, GrantState::Active(_)),
            "consumed and exchanged in one write"
        );
        let again = world.redeem(&active, client, &redemption(&code));
        assert_eq!(*refusal(&again), Refusal::CodeReplayed);
    }
}

/// Refused, with nothing written.
fn harmless(
    world: &mut World,
    grant: &Grant,
    registered: &grantor::protocol::register::Registered,
    request: &RedeemRequest,
) -> Refusal {
    let client = verified(registered, world.now);
    let decision = world.redeem(grant, client, request);
    assert!(decision.write.is_none(), "{:?}", decision.outcome);
    refusal(&decision).clone()
}

#[test]
fn a_code_is_bound_to_client_redirect_uri_and_challenge() {
    // Requirements 6749-036, 6749-044, 6749-049 to 6749-051, 6749-077, 7636-001, 7636-008, 7636-009,
    // 9700-005, 9700-026, OA21-023; ATTACKS A01, B06, C01, C05.
    let mut world = World::new();
    let registered = world.confidential();
    let stranger = world.confidential();
    let (grant, code) = world.allowed(&registered.client);
    let good = redemption(&code);

    assert_eq!(harmless(&mut world, &grant, &stranger, &good), Refusal::CodeOfAnotherClient);
    for uri in
        ["https://client.example/cb2", "https://client.example/cb/", "https://evil.example/cb"]
    {
        let request = RedeemRequest { redirect_uri: Some(uri.into()), ..good.clone() };
        assert_eq!(
            harmless(&mut world, &grant, &registered, &request),
            Refusal::RedirectUriMismatch
        );
    }
    let without = RedeemRequest { code_verifier: None, ..good.clone() };
    assert_eq!(harmless(&mut world, &grant, &registered, &without), Refusal::VerifierMissing);
    for verifier in
        ["x", &"x".repeat(42), &"x".repeat(129), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM"]
    {
        let request = RedeemRequest { code_verifier: Some(verifier.into()), ..good.clone() };
        assert_eq!(harmless(&mut world, &grant, &registered, &request), Refusal::VerifierMalformed);
    }
    let mut guessed = good.clone();
    guessed.code.as_mut().expect("a code").secret = Secret::from_bytes([1; 32]);
    assert_eq!(harmless(&mut world, &grant, &registered, &guessed), Refusal::CodeUnknown);

    // After all that the rightful client still redeems it; OAuth 2.1 lets it leave the URI out.
    let modern = RedeemRequest { redirect_uri: None, ..good };
    let client = verified(&registered, world.now);
    assert!(world.redeem(&grant, client, &modern).outcome.is_ok());
}

#[test]
fn a_code_without_challenge_takes_no_verifier_and_needs_its_redirect_uri() {
    // Requirements 6749-049, 9700-006, 9700-028, OA21-014; ATTACKS C01.
    let mut world = World::new();
    let registered = world.register(&Registration {
        pkce_optional: true,
        ..Registration::confidential("Old", CALLBACK, scope("read write"))
    });
    let alice = world.alice();
    let request = AuthorizationRequest {
        code_challenge: None,
        code_challenge_method: None,
        ..World::request(&registered.client)
    };
    let (grant, code) = world.allowed_by(&registered.client, &alice, &request);
    let with_verifier = redemption(&code);
    assert_eq!(
        harmless(&mut world, &grant, &registered, &with_verifier),
        Refusal::VerifierWithoutChallenge
    );
    let plain = RedeemRequest { code_verifier: None, ..with_verifier };
    let no_uri = RedeemRequest { redirect_uri: None, ..plain.clone() };
    assert_eq!(harmless(&mut world, &grant, &registered, &no_uri), Refusal::RedirectUriMismatch);
    let client = verified(&registered, world.now);
    assert!(world.redeem(&grant, client, &plain).outcome.is_ok());
}

#[test]
fn a_code_lives_a_minute() {
    // Requirements 6749-041, 6749-076; ATTACKS B01.
    let mut world = World::new();
    let registered = world.confidential();
    let (grant, code) = world.allowed(&registered.client);
    world.pass(Duration::from_millis(59_999));
    let client = verified(&registered, world.now);
    assert!(world.redeem(&grant, client, &redemption(&code)).outcome.is_ok());
    world.pass(Duration::from_millis(1));
    assert_eq!(harmless(&mut world, &grant, &registered, &redemption(&code)), Refusal::CodeExpired);
}

#[test]
fn wrong_verifiers_are_counted_and_end_the_code() {
    // ATTACKS B07.
    let mut world = World::new();
    let registered = world.public();
    let (mut grant, code) = world.allowed(&registered.client);
    let wrong = RedeemRequest { code_verifier: Some("w".repeat(43)), ..redemption(&code) };
    let client = verified(&registered, world.now);
    for left in (0..world.policy.code_guesses).rev() {
        if left == 0 {
            // One before the last, the right one still works.
            assert!(world.redeem(&grant, client, &redemption(&code)).outcome.is_ok());
        }
        let decision = world.redeem(&grant, client, &wrong);
        assert_eq!(*refusal(&decision), Refusal::VerifierWrong { guesses_left: left });
        grant = grant_of(decision.write);
    }
    let ended = world.redeem(&grant, client, &redemption(&code));
    assert_eq!(*refusal(&ended), Refusal::GrantRevoked(RevocationReason::TooManyGuesses));
}

#[test]
fn a_replay_kills_only_when_the_replayer_proves_to_be_the_client() {
    // Requirements 6749-043, 9700-023, OA21-013, OA21-020; ATTACKS B03, B04.
    let mut world = World::new();
    let registered = world.confidential();
    let stranger = world.confidential();
    let (grant, code) = world.allowed(&registered.client);
    let good = redemption(&code);
    let client = verified(&registered, world.now);
    let active = grant_of(world.redeem(&grant, client, &good).write);

    let wrong = RedeemRequest { code_verifier: Some("w".repeat(43)), ..good.clone() };
    assert_eq!(harmless(&mut world, &active, &registered, &wrong), Refusal::CodeUsed);
    let missing = RedeemRequest { code_verifier: None, ..good.clone() };
    assert_eq!(harmless(&mut world, &active, &registered, &missing), Refusal::CodeUsed);
    let elsewhere =
        RedeemRequest { redirect_uri: Some("https://evil.example/".into()), ..good.clone() };
    assert_eq!(harmless(&mut world, &active, &registered, &elsewhere), Refusal::CodeUsed);
    assert_eq!(harmless(&mut world, &active, &stranger, &good), Refusal::CodeOfAnotherClient);
    let mut prefix = good.clone();
    prefix.code.as_mut().expect("a code").secret = Secret::from_bytes([3; 32]);
    assert_eq!(harmless(&mut world, &active, &registered, &prefix), Refusal::CodeUnknown);

    // Long after the code has expired, the client itself shows that it is in two places.
    world.pass(Duration::from_secs(3000));
    let client = verified(&registered, world.now);
    let replay = world.redeem(&active, client, &good);
    assert_eq!(*refusal(&replay), Refusal::CodeReplayed);
    let ended = grant_of(replay.write);
    assert!(
        matches!(&ended.state, GrantState::Revoked(end) if end.reason == RevocationReason::CodeReplayed)
    );
    let again = world.redeem(&ended, client, &good);
    assert!(again.write.is_none(), "revocation only grows");
}

#[test]
fn nothing_is_issued_on_what_no_longer_stands() {
    // ATTACKS D06.
    let mut world = World::new();
    let registered = world.confidential();
    let (grant, code) = world.allowed(&registered.client);
    let client = verified(&registered, world.now);
    let mut entropy = world.entropy();
    let gone =
        code::redeem(&redemption(&code), client, Some(&grant), None, world.ctx(), &mut entropy);
    assert_eq!(*refusal(&gone), Refusal::AccountGone);
    let bumped = revoke::everything_of_client(Some(&registered.client));
    let Some(Record::Client(bumped)) = bumped.write else { panic!("bumped") };
    let mut later = registered.clone();
    later.client = bumped;
    let refused = harmless(&mut world, &grant, &later, &redemption(&code));
    assert_eq!(refused, Refusal::ClientGrantsRevoked);
    let mut other_grants = registered.clone();
    other_grants.client.grant_types.clear();
    let refused = harmless(&mut world, &grant, &other_grants, &redemption(&code));
    assert_eq!(refused, Refusal::GrantTypeNotAllowed, "ATTACKS E04");
}

#[test]
fn a_client_without_the_refresh_grant_gets_no_refresh_token() {
    // Requirement 9700-034.
    let mut world = World::new();
    let registered = world.register(&Registration {
        grant_types: vec![grantor::model::GrantType::AuthorizationCode],
        ..Registration::confidential("x", CALLBACK, scope("read write"))
    });
    let (_, tokens) = world.active(&registered);
    assert!(tokens.refresh_token.is_none());
    let registered = world.confidential();
    world.policy.refresh = None;
    let (_, tokens) = world.active(&registered);
    assert!(tokens.refresh_token.is_none());
}

proptest! {
    /// Whatever is presented: tokens come out only for the one right combination, and a refusal
    /// never ends an authorization unless the guesses are used up.
    #[test]
    fn only_the_right_combination_yields_tokens(
        right_client: bool,
        right_secret: bool,
        redirect in proptest::option::of(prop_oneof![Just(CALLBACK), Just("https://evil.example/")]),
        verifier in proptest::option::of(prop_oneof![Just(VERIFIER.to_owned()), "[a-z]{40,50}"]),
        waited in 0..90_u64,
    ) {
        let mut world = World::new();
        let registered = world.confidential();
        let stranger = world.confidential();
        let (grant, mut code) = world.allowed(&registered.client);
        if !right_secret {
            code.secret = Secret::from_bytes([8; 32]);
        }
        world.pass(Duration::from_secs(waited));
        let request = RedeemRequest {
            code: Some(code),
            redirect_uri: redirect.map(str::to_owned),
            code_verifier: verifier.clone(),
        };
        let client = verified(if right_client { &registered } else { &stranger }, world.now);
        let decision = world.redeem(&grant, client, &request);
        let right = right_client && right_secret && redirect != Some("https://evil.example/")
            && verifier.as_deref() == Some(VERIFIER) && waited < 60;
        prop_assert_eq!(decision.outcome.is_ok(), right);
        if !right && let Some(Record::Grant(next)) = &decision.write {
            prop_assert!(matches!(next.state, GrantState::CodeIssued(_)));
        }
    }
}

#[test]
fn codes_are_unique_and_long() {
    // Requirements 6749-079, 6750-010; ATTACKS B10, F11.
    let mut world = World::new();
    let registered = world.confidential();
    let mut seen: Vec<String> =
        (0..50).map(|_| world.allowed(&registered.client).1.encode().expose().to_owned()).collect();
    assert!(seen.iter().all(|code| code.len() == 68));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 50);
}
