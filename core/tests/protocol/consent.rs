use std::time::Duration;

use grantor::model::{
    Consent, ConsentState, Grant, GrantState, RevocationReason, Secret, SecretString, Timestamp,
};
use grantor::protocol::authorize::{AuthorizationRequest, ConsentPrompt, Outcome, Visitor};
use grantor::protocol::consent::{self, ConsentAnswer, ConsentRequest};
use grantor::protocol::{Refusal, register, revoke, session};
use grantor::storage::Record;

use crate::world::{User, World, code_of, grant_of, response_of, scope};

struct Asked {
    world: World,
    client: grantor::model::Client,
    alice: User,
    pending: Grant,
    prompt: ConsentPrompt,
}

fn asked() -> Asked {
    asked_for(|_| {})
}

fn asked_for(change: impl FnOnce(&mut AuthorizationRequest)) -> Asked {
    let mut world = World::new();
    let client = world.confidential().client;
    let alice = world.alice();
    let mut request = World::request(&client);
    change(&mut request);
    let begun = world.begin(&request, &client, alice.visitor(None, None));
    let Ok(Outcome::ConsentRequired(prompt)) = begun.outcome else { panic!("consent expected") };
    Asked { pending: grant_of(begun.write), prompt, world, client, alice }
}

impl Asked {
    fn request(&self, answer: ConsentAnswer) -> ConsentRequest {
        ConsentRequest {
            interaction: self.prompt.interaction.handle.clone(),
            ticket: self.prompt.ticket.clone(),
            answer,
        }
    }

    fn visitor<'a>(&'a self, consent: Option<&'a Consent>) -> Visitor<'a> {
        self.alice.visitor(Some(&self.prompt.interaction.browser), consent)
    }

    fn allow(&self, allowed: &str, before: Option<&Consent>) -> (Consent, Grant) {
        let request = self.request(ConsentAnswer::Allow(scope(allowed)));
        let remembered = consent::remember(
            &request,
            Some(&self.pending),
            Some(&self.client),
            self.visitor(before),
            self.world.ctx(),
        );
        let kept = remembered.outcome.expect("allowed").expect("remembered");
        let answered = consent::answer(
            &request,
            Some(&self.pending),
            Some(&self.client),
            self.visitor(Some(&kept)),
            self.world.ctx(),
        );
        (kept, grant_of(answered.write))
    }
}

#[test]
fn all_or_part_may_be_allowed_and_no_more_than_was_asked() {
    // Requirement 6749-037; ATTACKS A16, G14.
    let asked = asked();
    for (ticked, allowed) in
        [("read write", "read write"), ("read", "read"), ("read admin", "read")]
    {
        let (kept, grant) = asked.allow(ticked, None);
        assert_eq!(kept.scope, scope(allowed));
        let GrantState::CodeIssued(code) = &grant.state else { panic!("a code") };
        assert_eq!(code.scope, scope(allowed));
    }
}

#[test]
fn no_or_nothing_is_a_denial_that_the_client_is_told() {
    // Requirement 6749-048.
    let asked = asked();
    for answer in
        [ConsentAnswer::Deny, ConsentAnswer::Allow(scope("")), ConsentAnswer::Allow(scope("admin"))]
    {
        let request = asked.request(answer);
        let (grant, client) = (Some(&asked.pending), Some(&asked.client));
        let remembered =
            consent::remember(&request, grant, client, asked.visitor(None), asked.world.ctx());
        assert!(remembered.write.is_none() && remembered.outcome.expect("nothing").is_none());
        let decision =
            consent::answer(&request, grant, client, asked.visitor(None), asked.world.ctx());
        let error = decision.outcome.expect_err("denied");
        assert_eq!(error.refusal, Refusal::AccessDenied);
        let response = error.response("https://as.example").expect("to the client");
        assert_eq!(response.state.as_deref(), Some("a state"));
        let ended = grant_of(decision.write);
        assert!(
            matches!(&ended.state, GrantState::Revoked(end) if end.reason == RevocationReason::Denied)
        );
    }
}

#[test]
fn an_answer_counts_only_from_the_page_of_this_user_in_this_browser() {
    // Requirement 6749-081; ATTACKS B08, G02, G06.
    let asked = asked();
    let request = asked.request(ConsentAnswer::Allow(scope("read")));
    let refused = |request: &ConsentRequest, visitor: Visitor<'_>| {
        let decision = consent::remember(
            request,
            Some(&asked.pending),
            Some(&asked.client),
            visitor,
            asked.world.ctx(),
        );
        assert!(decision.write.is_none());
        decision.outcome.expect_err("refused").refusal
    };
    let forged = ConsentRequest { ticket: SecretString::new("AAAA"), ..request.clone() };
    assert_eq!(refused(&forged, asked.visitor(None)), Refusal::ConsentOfAnotherUser);
    let mallory = User::new("mallory", asked.world.now);
    let swapped = mallory.visitor(Some(&asked.prompt.interaction.browser), None);
    assert_eq!(refused(&request, swapped), Refusal::ConsentOfAnotherUser);
    let elsewhere = Visitor { browser: None, ..asked.visitor(None) };
    assert_eq!(refused(&request, elsewhere), Refusal::InteractionOfAnotherBrowser);
    let nobody = Visitor { authentication: None, ..asked.visitor(None) };
    assert_eq!(refused(&request, nobody), Refusal::SignInRequired);
}

#[test]
fn an_answer_counts_only_from_a_user_who_signed_in_as_the_client_wants() {
    // OpenID Connect Core 1.0 section 3.1.2.1: the page may have been answered in another tab, by a
    // session that is older than the one it was shown to.
    const MAX_AGE: u64 = 60;
    let second = Duration::from_secs(1);
    let before = |asked: &Asked, by: Duration| {
        Timestamp::from_millis(asked.world.now.as_millis() - by.as_millis() as i64)
    };
    for (prompt, max_age, signed_in_before, passed, counts) in [
        (None, None, 999 * second, 99 * second, true),
        (None, Some(MAX_AGE), second, 59 * second, true),
        (None, Some(MAX_AGE), second, 60 * second, false),
        (None, Some(MAX_AGE), Duration::ZERO, 61 * second, true),
        (Some("login"), None, second, Duration::ZERO, false),
        (Some("login"), None, Duration::ZERO, 99 * second, true),
        (Some("login"), Some(MAX_AGE), second, Duration::ZERO, false),
    ] {
        let mut asked = asked_for(|request| {
            request.prompt = prompt.map(str::to_owned);
            request.max_age = max_age.map(|seconds| seconds.to_string());
        });
        asked.alice.authentication.auth_time = before(&asked, signed_in_before);
        asked.world.pass(passed);
        let request = asked.request(ConsentAnswer::Allow(scope("read")));
        let (grant, client) = (Some(&asked.pending), Some(&asked.client));
        let answer =
            consent::remember(&request, grant, client, asked.visitor(None), asked.world.ctx());
        let refused = answer.outcome.err().map(|error| error.refusal);
        let expected = (!counts).then_some(Refusal::SignInRequired);
        assert_eq!(refused, expected, "{prompt:?} {max_age:?} {signed_in_before:?} {passed:?}");
    }
}

#[test]
fn a_page_is_repeated_for_its_own_browser_user_and_answer_only() {
    let asked = asked();
    let (kept, grant) = asked.allow("read", None);
    let repeat = |request: &ConsentRequest, visitor: Visitor<'_>| {
        let client = Some(&asked.client);
        let answer = consent::answer(request, Some(&grant), client, visitor, asked.world.ctx());
        assert!(answer.write.is_none());
        answer.outcome.err().map(|error| error.refusal)
    };
    let request = asked.request(ConsentAnswer::Allow(scope("read")));
    let here = asked.visitor(Some(&kept));
    assert_eq!(repeat(&request, here), None);
    let wider = asked.request(ConsentAnswer::Allow(scope("read write")));
    assert_eq!(repeat(&wider, here), None, "what is more than was allowed is allowed no more");
    let finished = Some(Refusal::InteractionFinished);
    let other = asked.request(ConsentAnswer::Allow(scope("write")));
    assert_eq!(repeat(&other, here), finished);
    assert_eq!(repeat(&asked.request(ConsentAnswer::Deny), here), finished);
    let mut forged = request.clone();
    forged.interaction.secret = Secret::from_bytes([3; 32]);
    assert_eq!(repeat(&forged, here), finished);
    let stranger = Secret::from_bytes([4; 32]);
    assert_eq!(repeat(&request, Visitor { browser: Some(&stranger), ..here }), finished);
    assert_eq!(repeat(&request, Visitor { browser: None, ..here }), finished);
    assert_eq!(repeat(&request, Visitor { authentication: None, ..here }), finished);
    let mallory = User::new("mallory", asked.world.now);
    let browser = Some(&asked.prompt.interaction.browser);
    assert_eq!(repeat(&request, mallory.visitor(browser, None)), finished);
}

#[test]
fn a_page_that_is_sent_twice_gets_the_same_answer_twice() {
    let asked = asked();
    let (kept, grant) = asked.allow("read write", None);
    let request = asked.request(ConsentAnswer::Allow(scope("read write")));
    let client = Some(&asked.client);
    let first = asked.allow("read write", None).1;
    assert_eq!(first, grant, "the code follows from the page");
    let again = consent::remember(
        &request,
        Some(&grant),
        client,
        asked.visitor(Some(&kept)),
        asked.world.ctx(),
    );
    assert!(again.write.is_none() && again.outcome.expect("a repetition").is_none());
    let again = consent::answer(
        &request,
        Some(&grant),
        client,
        asked.visitor(Some(&kept)),
        asked.world.ctx(),
    );
    assert!(again.write.is_none());
    let code = code_of(again.outcome);
    let GrantState::CodeIssued(issued) = &grant.state else { panic!("a code") };
    assert!(issued.proof.code.matches(&code.secret));

    // Not in another browser, not with another answer, not once the code is redeemed.
    let refused = |request: &ConsentRequest, grant: &Grant, visitor: Visitor<'_>| {
        let decision = consent::answer(request, Some(grant), client, visitor, asked.world.ctx());
        decision.outcome.expect_err("refused").refusal
    };
    let elsewhere = Visitor { browser: None, ..asked.visitor(Some(&kept)) };
    assert_eq!(refused(&request, &grant, elsewhere), Refusal::InteractionFinished);
    let denied = asked.request(ConsentAnswer::Deny);
    assert_eq!(refused(&denied, &grant, asked.visitor(Some(&kept))), Refusal::InteractionFinished);
    let revoked = revoke::grant(Some(&grant), RevocationReason::Operator, asked.world.ctx());
    let revoked = grant_of(revoked.write);
    assert_eq!(
        refused(&request, &revoked, asked.visitor(Some(&kept))),
        Refusal::InteractionFinished
    );
}

#[test]
fn a_page_that_is_sent_again_leads_to_no_client_that_was_removed_or_revoked_meanwhile() {
    // Requirement 6749-029; ATTACKS A16: the code is dead, and nobody is sent there with it.
    let asked = asked();
    let (kept, grant) = asked.allow("read write", None);
    let request = asked.request(ConsentAnswer::Allow(scope("read write")));
    let removed = register::remove(Some(&asked.client), asked.world.ctx());
    let revoked = revoke::everything_of_client(Some(&asked.client));
    for ended in [removed, revoked] {
        let Some(Record::Client(client)) = ended.write else { panic!("a client to be written") };
        let visitor = asked.visitor(Some(&kept));
        let again =
            consent::answer(&request, Some(&grant), Some(&client), visitor, asked.world.ctx());
        assert!(again.write.is_none());
        let error = again.outcome.expect_err("no redirect");
        assert!(error.destination.is_none(), "{error:?}");
    }
}

#[test]
fn what_was_not_asked_this_time_stays_as_it_was_answered() {
    let asked = asked();
    let (mut before, _) = asked.allow("read write", None);
    before.scope = scope("read write admin");
    let (kept, _) = asked.allow("read", Some(&before));
    assert_eq!(kept.scope, scope("read admin"), "write was asked and not allowed this time");
}

#[test]
fn a_withdrawal_kills_what_stood_on_it_and_nothing_later() {
    // ATTACKS D06, D09, D10.
    let asked = asked();
    let (kept, grant) = asked.allow("read", None);
    let ctx = asked.world.ctx();
    let marked = consent::withdraw(Some(&kept), ctx);
    let withdrawing = marked.outcome.expect("withdrawn");
    assert_eq!(withdrawing.state, ConsentState::Withdrawing);
    assert!(withdrawing.scope.is_empty() && !withdrawing.covers(&scope("read")));

    // While it is under way nothing new is allowed on it, and it can be taken up again.
    let request = asked.request(ConsentAnswer::Allow(scope("read")));
    let held = consent::remember(
        &request,
        Some(&asked.pending),
        Some(&asked.client),
        asked.visitor(Some(&withdrawing)),
        ctx,
    );
    assert_eq!(held.outcome.expect_err("held").refusal, Refusal::ConsentWithdrawn);
    let again = consent::withdraw(Some(&withdrawing), ctx);
    assert!(again.write.is_none() && again.outcome.expect("again") == withdrawing);

    let ended = revoke::withdrawn_grant(Some(&grant), &withdrawing, ctx);
    assert!(
        matches!(&grant_of(ended.write).state, GrantState::Revoked(end) if end.reason == RevocationReason::User)
    );
    let finished = consent::finish_withdrawal(Some(&withdrawing), withdrawing.epoch);
    let Some(Record::Consent(withdrawn)) = finished.write else { panic!("finished") };
    assert_eq!(
        consent::withdraw(Some(&withdrawn), ctx).outcome.expect_err("gone"),
        Refusal::ConsentUnknown
    );

    // Allowed again later: the earlier withdrawal does not reach it.
    let (renewed, later) = asked.allow("read", Some(&withdrawn));
    assert_eq!((renewed.state, renewed.epoch), (ConsentState::Allowed, withdrawing.epoch));
    let spared = revoke::withdrawn_grant(Some(&later), &withdrawing, ctx);
    assert!(spared.write.is_none());
    // A late "finished" does not undo it either.
    assert!(consent::finish_withdrawal(Some(&renewed), withdrawing.epoch).write.is_none());
}

#[test]
fn a_session_opens_with_its_cookie_until_it_ends() {
    // ATTACKS G04, D04.
    let mut world = World::new();
    let account = world.alice().account;
    let mut entropy = world.entropy();
    let begun = session::sign_in(&account, world.ctx(), &mut entropy);
    let cookie = begun.outcome.expect("a cookie");
    let Some(Record::Session(record)) = begun.write else { panic!("a session") };
    let who = session::authentication(&cookie, Some(&record), world.ctx()).expect("signed in");
    assert_eq!((who.subject, who.auth_time), (account.subject.clone(), world.now));
    let mut forged = cookie.clone();
    forged.secret = grantor::model::Secret::from_bytes([0; 32]);
    assert!(session::authentication(&forged, Some(&record), world.ctx()).is_none());
    assert!(session::end(Some(&forged), Some(&record)).write.is_none());
    let mut entropy = world.entropy();
    let other = session::sign_in(&account, world.ctx(), &mut entropy).outcome.expect("another");
    assert_ne!(other.encode().expose(), cookie.encode().expose());
    let ended = session::end(Some(&cookie), Some(&record));
    let Some(Record::Session(ended)) = ended.write else { panic!("ended") };
    assert!(session::authentication(&cookie, Some(&ended), world.ctx()).is_none());
    world.pass(world.policy.session_lifetime);
    assert!(session::authentication(&cookie, Some(&record), world.ctx()).is_none());
}

#[test]
fn two_tabs_are_two_authorizations() {
    // ATTACKS G06.
    let first = asked();
    let second = asked();
    let (kept, _) = first.allow("read", None);
    let request = first.request(ConsentAnswer::Allow(scope("read")));
    let crossed = consent::answer(
        &request,
        Some(&second.pending),
        Some(&first.client),
        first.visitor(Some(&kept)),
        first.world.ctx(),
    );
    // The worlds are equal but for nothing: the same seeds make the same secrets, so the handle fits.
    let response = response_of(crossed.outcome);
    assert_eq!(response.redirect_uri, crate::world::CALLBACK);
    let mut entropy_moved = first.world;
    let client = first.client;
    let other =
        entropy_moved.begin(&World::request(&client), &client, first.alice.visitor(None, None));
    let other = grant_of(other.write);
    let visitor = first.alice.visitor(Some(&first.prompt.interaction.browser), Some(&kept));
    let crossed =
        consent::answer(&request, Some(&other), Some(&client), visitor, entropy_moved.ctx());
    assert_eq!(crossed.outcome.expect_err("another tab").refusal, Refusal::InteractionUnknown);
}
