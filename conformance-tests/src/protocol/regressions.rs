//! Walks that once went wrong.

use super::gate::Trouble;
use super::request::WEB;
use super::walk::{First, Step, Turn, Walk};

fn turn(steps: &[Step]) -> Turn {
    Turn { first: First::Nothing, steps: steps.to_vec(), order: Vec::new(), trouble: Trouble::None }
}

/// Each with what went wrong.
pub fn walks() -> Vec<(&'static str, Walk)> {
    let connect = Step::Connect { user: 0, client: WEB, scope: 0b11, tick: 0b11, redeem: false };
    let again = Step::Answer { pending: 0, tick: 0b11 };
    vec![
        (
            "a consent page that was sent again led to a client whose authorizations were revoked",
            vec![turn(&[connect]), turn(&[Step::RevokeClient { client: WEB }]), turn(&[again])],
        ),
        (
            "a consent page that was sent again led to a client that was removed",
            vec![turn(&[connect]), turn(&[Step::Remove { client: WEB }]), turn(&[again, again])],
        ),
    ]
}
