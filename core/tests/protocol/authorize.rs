use std::time::Duration;

use grantor::model::{GrantState, RedirectUri};
use grantor::protocol::authorize::{
    self, Answer, AuthorizationError, AuthorizationRequest, MAX_STATE_LEN, Outcome, Visitor,
};
use grantor::protocol::register::{self, Registration};
use grantor::protocol::{Decision, Refusal, consent, revoke};
use grantor::storage::Record;
use proptest::prelude::*;

use crate::world::{CALLBACK, User, World, challenge_text, code_of, grant_of, response_of, scope};

fn refused(decision: Decision<Outcome, AuthorizationError>) -> AuthorizationError {
    assert!(decision.write.is_none(), "a refused request writes nothing");
    decision.outcome.expect_err("refused")
}

#[test]
fn until_client_and_redirect_are_proven_an_error_is_a_page() {
    // Requirements 6749-024 to 6749-029, 6749-040, 9700-002, 9700-031, OA21-011; ATTACKS A14, A15, A17.
    let mut world = World::new();
    let client = world.confidential().client;
    let good = World::request(&client);
    let page = |world: &mut World, request: &AuthorizationRequest| {
        let error = refused(world.begin(request, &client, Visitor::default()));
        assert!(error.destination.is_none(), "{error:?}");
        assert!(error.response("https://as.example").is_none());
        error.refusal
    };
    // Something else is wrong as well: the order of the checks must not matter.
    let worse = AuthorizationRequest {
        response_type: Some("bogus".into()),
        scope: Some("bogus".into()),
        ..good
    };
    let no_id = AuthorizationRequest { client_id: None, ..worse.clone() };
    assert_eq!(page(&mut world, &no_id), Refusal::ParameterMissing("client_id"));
    for uri in ["https://evil.example/cb", "https://client.example/cb/", "", "javascript:alert(1)"]
    {
        let evil = AuthorizationRequest { redirect_uri: Some(uri.into()), ..worse.clone() };
        assert_eq!(page(&mut world, &evil), Refusal::RedirectUriNotRegistered, "{uri}");
    }
    for name in ["client_id", "redirect_uri"] {
        let repeated = AuthorizationRequest {
            faulty: vec![
                ("scope", Refusal::ParameterRepeated("scope")),
                (name, Refusal::ParameterRepeated(name)),
            ],
            ..worse.clone()
        };
        assert_eq!(page(&mut world, &repeated), Refusal::ParameterRepeated(name));
    }
    let mut entropy = world.entropy();
    let unknown = authorize::begin(&worse, None, Visitor::default(), world.ctx(), &mut entropy);
    assert_eq!(
        refused(unknown),
        AuthorizationError { refusal: Refusal::ClientUnknown, destination: None }
    );
}

#[test]
fn one_registered_uri_may_be_left_out_and_two_may_not() {
    // Requirements 6749-026, OA21-011.
    let mut world = World::new();
    let one = world.confidential().client;
    let request = AuthorizationRequest { redirect_uri: None, ..World::request(&one) };
    let Outcome::LoginRequired(_) =
        world.begin(&request, &one, Visitor::default()).outcome.expect("accepted")
    else {
        panic!("login expected");
    };
    let mut two = one.clone();
    two.redirect_uris.push(RedirectUri::parse("https://client.example/other").expect("uri"));
    let error = refused(world.begin(&request, &two, Visitor::default()));
    assert_eq!(
        error,
        AuthorizationError { refusal: Refusal::RedirectUriMissing, destination: None }
    );
    let mut none = one;
    none.redirect_uris.clear();
    let error = refused(world.begin(&World::request(&none), &none, Visitor::default()));
    assert_eq!(error.refusal, Refusal::RedirectUriNotRegistered, "6749-025");
}

#[test]
fn after_that_every_error_goes_to_the_client_with_its_state_and_our_name() {
    // Requirements 6749-018, 6749-038, 6749-039, 6749-045, 6749-047, 7636-002, 7636-003, 7636-006,
    // 7636-007, 8252-006, 9207-001, OA21-010, OA21-012; ATTACKS C02, C03, C04, E04, K15.
    let mut world = World::new();
    let client = world.public().client;
    type Change = fn(&mut AuthorizationRequest);
    let table: &[(Change, Refusal)] = &[
        (|r| r.response_type = None, Refusal::ParameterMissing("response_type")),
        (|r| r.response_type = Some("token".into()), Refusal::ResponseTypeUnsupported),
        (|r| r.response_type = Some("CODE".into()), Refusal::ResponseTypeUnsupported),
        (|r| r.response_type = Some("code token".into()), Refusal::ResponseTypeUnsupported),
        (|r| r.response_mode = Some("fragment".into()), Refusal::ResponseModeUnsupported),
        (|r| r.code_challenge = None, Refusal::PkceRequired),
        (|r| r.code_challenge_method = None, Refusal::PkceMethodUnsupported),
        (|r| r.code_challenge_method = Some("plain".into()), Refusal::PkceMethodUnsupported),
        (|r| r.code_challenge_method = Some("s256".into()), Refusal::PkceMethodUnsupported),
        (|r| r.code_challenge_method = Some("S512".into()), Refusal::PkceMethodUnsupported),
        (|r| r.code_challenge = Some("short".into()), Refusal::PkceChallengeMalformed),
        (|r| r.scope = None, Refusal::ScopeMissing),
        (|r| r.scope = Some("read  write".into()), Refusal::ScopeMalformed),
        (|r| r.scope = Some("READ".into()), Refusal::ScopeUnknown),
        (|r| r.scope = Some("read admin".into()), Refusal::ScopeNotAllowed),
        (|r| r.prompt = Some("none login".into()), Refusal::PromptContradictory),
        (|r| r.prompt = Some("dance".into()), Refusal::ParameterMalformed("prompt")),
        (|r| r.prompt = Some("none".into()), Refusal::LoginRequired),
        (|r| r.max_age = Some("-1".into()), Refusal::ParameterMalformed("max_age")),
        (|r| r.max_age = Some("9".repeat(30)), Refusal::ParameterMalformed("max_age")),
        (|r| r.request = Some("x".into()), Refusal::RequestObjectUnsupported),
        (|r| r.request_uri = Some("x".into()), Refusal::RequestUriUnsupported),
        (|r| r.login_hint = Some("x".repeat(600)), Refusal::ParameterTooLong("login_hint")),
        (
            |r| r.faulty = vec![("scope", Refusal::ParameterRepeated("scope"))],
            Refusal::ParameterRepeated("scope"),
        ),
    ];
    for (change, why) in table {
        let mut request = World::request(&client);
        change(&mut request);
        let error = refused(world.begin(&request, &client, Visitor::default()));
        assert_eq!(error.refusal, *why);
        let response = error.response(world.issuer.as_str()).expect("to the client");
        assert_eq!(response.redirect_uri, CALLBACK);
        assert_eq!(response.state.as_deref(), Some("a state"));
        assert_eq!(response.iss, "https://as.example");
    }
    let long = AuthorizationRequest { state: Some("x".repeat(5000)), ..World::request(&client) };
    let error = refused(world.begin(&long, &client, Visitor::default()));
    assert_eq!(error.response("x").expect("to the client").state, None);
}

#[test]
fn the_plain_rfc_6749_profile_is_for_confidential_web_clients_that_ask_for_it() {
    // ATTACKS C01.
    let mut world = World::new();
    let strict = world.confidential().client;
    let relaxed = world
        .register(&Registration {
            pkce_optional: true,
            ..Registration::confidential("Old", CALLBACK, scope("read write"))
        })
        .client;
    for (client, accepted) in [(strict, false), (relaxed, true)] {
        let request = AuthorizationRequest {
            code_challenge: None,
            code_challenge_method: None,
            ..World::request(&client)
        };
        let decision = world.begin(&request, &client, Visitor::default());
        assert_eq!(decision.outcome.is_ok(), accepted);
    }
}

#[test]
fn nobody_is_there_then_login_somebody_then_consent_remembered_then_a_code() {
    // Requirements 6749-010, 6749-071, 6749-072, 9700-034; ATTACKS G01.
    let mut world = World::new();
    let client = world.confidential().client;
    let request = World::request(&client);
    let begun = world.begin(&request, &client, Visitor::default());
    assert!(matches!(begun.outcome, Ok(Outcome::LoginRequired(_))));
    assert!(matches!(grant_of(begun.write).state, GrantState::Pending(_)));

    let alice = world.alice();
    let begun = world.begin(&request, &client, alice.visitor(None, None));
    let Ok(Outcome::ConsentRequired(prompt)) = begun.outcome else { panic!("consent expected") };
    assert_eq!(prompt.account.username, "alice");
    assert_eq!(prompt.interaction.client.name, "Calendar");
    assert_eq!(prompt.interaction.destination.display(), "client.example");
    assert_eq!(prompt.scope.len(), 2);

    // An account that no longer stands is nobody.
    let gone = Visitor { account: None, ..alice.visitor(None, None) };
    assert!(matches!(world.begin(&request, &client, gone).outcome, Ok(Outcome::LoginRequired(_))));
    let other = User::new("mallory", world.now);
    let mixed = Visitor { account: Some(&other.account), ..alice.visitor(None, None) };
    assert!(matches!(world.begin(&request, &client, mixed).outcome, Ok(Outcome::LoginRequired(_))));
}

fn remembered(world: &mut World, registration: &Registration, redirect: &str) -> bool {
    let client = world.register(registration).client;
    let alice = world.alice();
    let request =
        AuthorizationRequest { redirect_uri: Some(redirect.into()), ..World::request(&client) };
    let (_, _) = world.allowed_by(&client, &alice, &request);
    let consent = consent_of(world, &client, &alice, "read write");
    let again = world.begin(&request, &client, alice.visitor(None, Some(&consent)));
    matches!(again.outcome, Ok(Outcome::Redirect(_)))
}

fn consent_of(
    world: &World,
    client: &grantor::model::Client,
    user: &User,
    allowed: &str,
) -> grantor::model::Consent {
    grantor::model::Consent {
        subject: user.account.subject.clone(),
        client_id: client.id.clone(),
        scope: scope(allowed),
        state: grantor::model::ConsentState::Allowed,
        epoch: 0,
        granted_at: world.now,
        updated_at: world.now,
        client_name: client.name.clone(),
    }
}

#[test]
fn consent_is_skipped_only_where_the_identity_of_the_client_is_assured() {
    // Requirements 6749-071, 8252-009, 8252-010; ATTACKS G01.
    let mut world = World::new();
    let loopback = "http://127.0.0.1:7777/cb";
    let app = "com.example.app:/cb";
    let confidential = |uri: &str| Registration::confidential("x", uri, scope("read write"));
    let public = |uri: &str| Registration::public("x", uri, scope("read write"));
    assert!(remembered(&mut world, &confidential(CALLBACK), CALLBACK));
    assert!(remembered(&mut world, &confidential(loopback), loopback));
    assert!(remembered(&mut world, &public(CALLBACK), CALLBACK), "a claimed https address");
    assert!(!remembered(&mut world, &public(loopback), loopback));
    assert!(!remembered(&mut world, &public(app), app));
    let shipped = Registration {
        application_type: grantor::model::ApplicationType::Native,
        ..confidential(loopback)
    };
    assert!(!remembered(&mut world, &shipped, loopback));
    world.policy.remember_public_https = false;
    assert!(!remembered(&mut world, &public(CALLBACK), CALLBACK));
    world.policy.remember_consent = false;
    assert!(!remembered(&mut world, &confidential(CALLBACK), CALLBACK));
    let own = Registration { skip_consent: true, ..confidential(CALLBACK) };
    let client = world.register(&own).client;
    let alice = world.alice();
    let begun = world.begin(&World::request(&client), &client, alice.visitor(None, None));
    assert!(matches!(begun.outcome, Ok(Outcome::Redirect(_))), "the operator said so");
}

#[test]
fn a_remembered_consent_covers_no_more_than_was_allowed() {
    let mut world = World::new();
    let client = world.confidential().client;
    let alice = world.alice();
    let read = consent_of(&world, &client, &alice, "read");
    let begin = |world: &mut World, scope: &str, prompt: Option<&str>| {
        let request = AuthorizationRequest {
            scope: Some(scope.into()),
            prompt: prompt.map(str::to_owned),
            ..World::request(&client)
        };
        world.begin(&request, &client, alice.visitor(None, Some(&read))).outcome
    };
    assert!(matches!(begin(&mut world, "read", None), Ok(Outcome::Redirect(_))));
    let Ok(Outcome::ConsentRequired(prompt)) = begin(&mut world, "read write", None) else {
        panic!("asked")
    };
    let before: Vec<_> = prompt.scope.iter().map(|s| (s.name.as_str(), s.allowed_before)).collect();
    assert_eq!(before, [("read", true), ("write", false)]);
    assert!(matches!(begin(&mut world, "read", Some("consent")), Ok(Outcome::ConsentRequired(_))));
    let silent = begin(&mut world, "read write", Some("none")).expect_err("would have to ask");
    assert_eq!(silent.refusal, Refusal::ConsentRequired);
    assert!(matches!(begin(&mut world, "read", Some("none")), Ok(Outcome::Redirect(_))));
    // Somebody else's consent is no consent of hers.
    let mallory = User::new("mallory", world.now);
    let request = AuthorizationRequest { scope: Some("read".into()), ..World::request(&client) };
    let begun = world.begin(&request, &client, mallory.visitor(None, Some(&read)));
    assert!(matches!(begun.outcome, Ok(Outcome::ConsentRequired(_))));
}

#[test]
fn a_sign_in_can_be_too_old_and_a_new_one_satisfies_everything() {
    // ATTACKS G07, J09.
    let mut world = World::new();
    let client = world.confidential().client;
    let alice = world.alice();
    world.pass(Duration::from_secs(100));
    let ask = |world: &mut World, prompt: Option<&str>, max_age: Option<&str>, user: &User| {
        let request = AuthorizationRequest {
            prompt: prompt.map(str::to_owned),
            max_age: max_age.map(str::to_owned),
            ..World::request(&client)
        };
        world.begin(&request, &client, user.visitor(None, None))
    };
    for (prompt, max_age, again) in [
        (None, None, false),
        (None, Some("100"), false),
        (None, Some("99"), true),
        (None, Some("0"), true),
        (Some("login"), None, true),
        (Some("select_account"), None, true),
        (Some("consent"), None, false),
    ] {
        let begun = ask(&mut world, prompt, max_age, &alice);
        let asked = matches!(begun.outcome, Ok(Outcome::ReauthenticationRequired(_)));
        assert_eq!(asked, again, "{prompt:?} {max_age:?}");
    }
    let begun = ask(&mut world, Some("login"), Some("0"), &alice);
    let Ok(Outcome::ReauthenticationRequired(page)) = &begun.outcome else { panic!("again") };
    let pending = grant_of(begun.write.clone());
    let resumed = |world: &World, user: &User| {
        let visitor = user.visitor(Some(&page.browser), None);
        authorize::resume(&page.handle, Some(&pending), Some(&client), visitor, world.ctx()).outcome
    };
    assert!(matches!(resumed(&world, &alice), Ok(Outcome::ReauthenticationRequired(_))));
    world.pass(Duration::from_secs(5));
    let fresh = User::new("alice", world.now);
    world.pass(Duration::from_secs(30));
    assert!(matches!(resumed(&world, &fresh), Ok(Outcome::ConsentRequired(_))));
}

#[test]
fn an_interaction_opens_in_its_browser_in_time_and_once() {
    // Requirements 6749-081, 9700-024; ATTACKS A16, B08, B09.
    let mut world = World::new();
    let client = world.confidential().client;
    let alice = world.alice();
    let begun = world.begin(&World::request(&client), &client, alice.visitor(None, None));
    let Ok(Outcome::ConsentRequired(prompt)) = &begun.outcome else { panic!("consent expected") };
    let pending = grant_of(begun.write.clone());
    let page = &prompt.interaction;
    let resume = |world: &World, grant: Option<&_>, client: &_, visitor: Visitor<'_>| {
        let decision = authorize::resume(&page.handle, grant, Some(client), visitor, world.ctx());
        assert!(decision.write.is_none());
        decision.outcome.err().map(|error| (error.refusal, error.destination.is_some()))
    };
    let here = alice.visitor(Some(&page.browser), None);
    assert_eq!(resume(&world, Some(&pending), &client, here), None);
    let other = grantor::model::Secret::from_bytes([5; 32]);
    let elsewhere = alice.visitor(Some(&other), None);
    assert_eq!(
        resume(&world, Some(&pending), &client, elsewhere),
        Some((Refusal::InteractionOfAnotherBrowser, false))
    );
    let without = Visitor { browser: None, ..here };
    assert_eq!(
        resume(&world, Some(&pending), &client, without),
        Some((Refusal::InteractionOfAnotherBrowser, false))
    );
    assert_eq!(resume(&world, None, &client, here), Some((Refusal::InteractionUnknown, false)));

    // The registration changes while the page is open.
    let mut moved = client.clone();
    moved.redirect_uris = vec![RedirectUri::parse("https://client.example/new").expect("uri")];
    assert_eq!(
        resume(&world, Some(&pending), &moved, here),
        Some((Refusal::RedirectUriNotRegistered, false))
    );
    let removed = register::remove(Some(&client), world.ctx());
    let Some(Record::Client(removed)) = removed.write else { panic!("removed") };
    let mut revoked = client.clone();
    revoked.epoch += 1;
    let mut gone = client.clone();
    gone.removed_at = Some(world.now);
    for client in [&removed, &revoked, &gone] {
        assert_eq!(
            resume(&world, Some(&pending), client, here),
            Some((Refusal::ClientRemoved, false))
        );
    }

    world.pass(world.policy.interaction_lifetime);
    assert_eq!(
        resume(&world, Some(&pending), &client, here),
        Some((Refusal::InteractionExpired, false))
    );
    let (issued, _) = world.allowed(&client);
    let finished = authorize::resume(&page.handle, Some(&issued), Some(&client), here, world.ctx());
    assert_eq!(finished.outcome.expect_err("finished").refusal, Refusal::InteractionFinished);
}

#[test]
fn an_outage_is_told_to_the_client_where_it_may_be_told() {
    // RFC 6749 section 4.1.2.1, `temporarily_unavailable`.
    let mut world = World::new();
    let client = world.confidential().client;
    let request = World::request(&client);
    let with_state =
        |length: usize| AuthorizationRequest { state: Some("s".repeat(length)), ..request.clone() };
    for (length, returned) in [(MAX_STATE_LEN, true), (MAX_STATE_LEN + 1, false)] {
        let error = authorize::unavailable(&with_state(length), Some(&client)).expect("to be told");
        assert_eq!(error.refusal, Refusal::TemporarilyUnavailable);
        let response = error.response("https://as.example").expect("a redirect");
        assert_eq!(response.redirect_uri, CALLBACK);
        assert_eq!(response.state.is_some(), returned, "{length}");
    }
    let evil = AuthorizationRequest {
        redirect_uri: Some("https://evil.example/".into()),
        ..request.clone()
    };
    assert_eq!(authorize::unavailable(&evil, Some(&client)), None);
    assert_eq!(authorize::unavailable(&with_state(1), None), None);

    let alice = world.alice();
    let begun = world.begin(&World::request(&client), &client, alice.visitor(None, None));
    let later = authorize::unavailable_later(&grant_of(begun.write)).expect("to be told");
    assert_eq!(later.refusal, Refusal::TemporarilyUnavailable);
    let response = later.response("https://as.example").expect("a redirect");
    assert_eq!(
        (response.redirect_uri.as_str(), response.state.as_deref()),
        (CALLBACK, Some("a state"))
    );
    let (issued, _) = world.allowed(&client);
    assert_eq!(authorize::unavailable_later(&issued), None, "its answer is on its way");
}

#[test]
fn a_withdrawal_between_decision_and_answer_is_seen() {
    // The order of the two writes, stopped between them.
    let mut world = World::new();
    let client = world.confidential().client;
    let alice = world.alice();
    let allowed = consent_of(&world, &client, &alice, "read write");
    let begun = world.begin(&World::request(&client), &client, alice.visitor(None, Some(&allowed)));
    let GrantState::CodeIssued(code) = grant_of(begun.write).state else { panic!("a code") };
    assert_eq!(authorize::confirm(&code, true, Some(&allowed), None), Ok(()));
    let withdrawn = consent::withdraw(Some(&allowed), world.ctx()).outcome.expect("withdrawn");
    let lost = authorize::confirm(&code, true, Some(&withdrawn), None);
    assert_eq!(lost, Err(Refusal::ConsentWithdrawn));
    // The same for a revocation of everything the user has (requirement 9700-038, ATTACKS D06).
    let everything = revoke::subject(&alice.account.subject, None, world.ctx());
    let Some(Record::RevokedSubject(revoked)) = everything.write else { panic!("a mark") };
    let lost = authorize::confirm(&code, true, Some(&allowed), Some(&revoked));
    assert_eq!(lost, Err(Refusal::AccountGone));
    let later = Visitor { revoked: Some(&revoked), ..alice.visitor(None, Some(&allowed)) };
    let begun = world.begin(&World::request(&client), &client, later);
    let GrantState::CodeIssued(code) = grant_of(begun.write).state else { panic!("a code") };
    assert_eq!(authorize::confirm(&code, true, Some(&allowed), Some(&revoked)), Ok(()));
}

#[test]
fn the_destination_is_named_as_the_user_knows_it() {
    let mut world = World::new();
    for (uri, shown, source) in [
        ("https://client.example/cb", "client.example", "https://client.example"),
        (
            "https://client.example:8443/cb?x=1",
            "client.example:8443",
            "https://client.example:8443",
        ),
        ("http://127.0.0.1:9/cb", "127.0.0.1:9", "http://127.0.0.1:9"),
        ("http://[::1]:9/cb", "[::1]:9", "http:"),
        ("com.example.app:/cb", "com.example.app", "com.example.app:"),
    ] {
        let client = world.register(&Registration::public("x", uri, scope("read write"))).client;
        let request =
            AuthorizationRequest { redirect_uri: Some(uri.into()), ..World::request(&client) };
        let begun = world.begin(&request, &client, Visitor::default());
        let Ok(Outcome::LoginRequired(page)) = begun.outcome else { panic!("login expected") };
        assert_eq!(
            (page.destination.display(), page.destination.csp_source().as_str()),
            (shown, source)
        );
    }
}

proptest! {
    /// Whatever arrives: a redirect goes to a registered URI and nowhere else, and only a request
    /// that was accepted is written down.
    #[test]
    fn a_redirect_goes_only_where_the_client_registered(
        redirect_uri in proptest::option::of(prop_oneof![
            Just(CALLBACK.to_owned()), "https://[a-z.]{1,12}/cb", "\\PC{0,20}",
        ]),
        response_type in proptest::option::of(prop_oneof![Just("code".to_owned()), "\\PC{0,8}"]),
        scope in proptest::option::of(prop_oneof![Just("read".to_owned()), "\\PC{0,12}"]),
        state in proptest::option::of("\\PC{0,20}"),
        method in proptest::option::of(prop_oneof![Just("S256".to_owned()), "\\PC{0,6}"]),
        prompt in proptest::option::of(prop_oneof![Just("none".to_owned()), Just("login".to_owned()), "\\PC{0,8}"]),
        max_age in proptest::option::of("[0-9-]{0,22}"),
        signed_in: bool,
    ) {
        let mut world = World::new();
        let client = world.confidential().client;
        let alice = world.alice();
        let request = AuthorizationRequest {
            client_id: Some(client.id.to_string()), redirect_uri: redirect_uri.clone(), response_type, scope,
            state: state.clone(), code_challenge: Some(challenge_text()), code_challenge_method: method,
            prompt, max_age, ..AuthorizationRequest::default()
        };
        let visitor = if signed_in { alice.visitor(None, None) } else { Visitor::default() };
        let decision = world.begin(&request, &client, visitor);
        prop_assert_eq!(decision.write.is_some(), decision.outcome.is_ok());
        if let Err(error) = decision.outcome {
            let registered = redirect_uri.as_deref().is_none_or(|uri| uri == CALLBACK);
            let response = error.response("https://as.example");
            prop_assert_eq!(response.is_some(), registered);
            if let Some(response) = response {
                prop_assert_eq!(response.redirect_uri, CALLBACK);
                prop_assert_eq!(response.state, state);
                prop_assert!(matches!(response.answer, Answer::Error(_)));
            }
        }
    }
}

#[test]
fn a_code_says_nothing_about_its_challenge() {
    // Requirement 7636-005.
    let mut world = World::new();
    let client = world.confidential().client;
    let alice = world.alice();
    let allowed = consent_of(&world, &client, &alice, "read write");
    let begun = world.begin(&World::request(&client), &client, alice.visitor(None, Some(&allowed)));
    let response = response_of(begun.outcome.clone());
    let code = code_of(begun.outcome);
    assert!(!code.encode().expose().contains(&challenge_text()));
    assert_eq!(
        (response.redirect_uri.as_str(), response.state.as_deref()),
        (CALLBACK, Some("a state"))
    );
}
