use std::time::Duration;

use grantor::model::{Handle, HandleKind, RecordId, RevokedSubject, Secret, Subject, Timestamp};
use grantor::protocol::{Refusal, session};

use crate::world::World;

fn revoked(epoch: u32, at: Timestamp) -> RevokedSubject {
    RevokedSubject { subject: Subject::parse("alice").expect("subject"), epoch, at }
}

#[test]
fn a_password_is_looked_at_again_for_a_day_after_everything_was_revoked() {
    // ATTACKS D06.
    let mut world = World::new();
    assert!(!session::must_verify_again(None, world.ctx()));
    let mark = revoked(1, world.now);
    let day = Duration::from_secs(86_400);
    assert!(session::must_verify_again(Some(&mark), world.ctx()));
    world.pass(day - Duration::from_millis(1));
    assert!(session::must_verify_again(Some(&mark), world.ctx()));
    world.pass(Duration::from_millis(1));
    assert!(!session::must_verify_again(Some(&mark), world.ctx()));
}

#[test]
fn a_sign_in_that_was_overtaken_by_a_revocation_is_void() {
    let now = World::new().now;
    let (first, second) = (revoked(1, now), revoked(2, now));
    for (before, after, stands) in [
        (None, None, true),
        (Some(&first), Some(&first), true),
        (None, Some(&first), false),
        (Some(&first), Some(&second), false),
    ] {
        let expected = if stands { Ok(()) } else { Err(Refusal::WrongCredentials) };
        assert_eq!(session::confirm(before, after), expected, "{before:?} {after:?}");
    }
}

#[test]
fn a_form_is_bound_to_its_browser_and_its_session() {
    // Requirement 6749-081; ATTACKS G02.
    let [browser, other] = [1, 2].map(|byte| Secret::from_bytes([byte; 32]));
    let [cookie, another] = [3, 4].map(|byte| {
        let secret = Secret::from_bytes([byte; 32]);
        Handle::new(HandleKind::Session, RecordId::from_bytes([7; 12]), secret)
    });
    for session in [None, Some(&cookie)] {
        let shown = session::form_token(&browser, session);
        assert!(session::is_form_token(&shown, &browser, session));
        assert!(!session::is_form_token(&shown, &other, session));
        assert!(!session::is_form_token(&shown, &browser, Some(&another)));
        let changed = if session.is_some() { None } else { Some(&cookie) };
        assert!(!session::is_form_token(&shown, &browser, changed));
        assert!(!session::is_form_token(&browser, &browser, session));
    }
}
