//! Walks that once went wrong.

use super::gate::Trouble;
use super::request::{Proof, WEB};
use super::walk::{First, Step, Turn, Walk, Who};

fn turn(steps: &[Step]) -> Turn {
    Turn { first: First::Nothing, steps: steps.to_vec(), order: Vec::new(), trouble: Trouble::None }
}

/// Each with what went wrong.
pub fn walks() -> Vec<(&'static str, Walk)> {
    let connect = Step::Connect { user: 0, client: WEB, scope: 0b11, tick: 0b11, redeem: false };
    let connected = Step::Connect { user: 0, client: WEB, scope: 0b11, tick: 0b11, redeem: true };
    let redeem =
        Step::Redeem { code: 0, who: Who::Owner, verifier: Proof::Right, redirect: Proof::Right };
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
        (
            "of three redemptions, one was written without an answer, the second was a replay of it, and \
             the reference did not know why the first was refused",
            vec![
                turn(&[connect]),
                Turn {
                    order: vec![177, 3, 53, 221],
                    trouble: Trouble::Away { at: 1, calls: 1, applied: true },
                    ..turn(&[redeem, redeem, redeem])
                },
            ],
        ),
        (
            "a session that began while everything of its user was being revoked lived on, and the \
             reference thought it over",
            vec![
                turn(&[connected]),
                Turn { first: First::Pass(28_800), ..turn(&[connected]) },
                turn(&[Step::RevokeUser { user: 0 }]),
                Turn {
                    order: vec![43, 127, 110, 66, 0, 8, 74, 128],
                    ..turn(&[connected, Step::RevokeUser { user: 0 }])
                },
                turn(&[connected]),
            ],
        ),
        (
            "a page that was refused finished a withdrawal that a crash had cut short, and the reference \
             did not know",
            vec![
                turn(&[connected]),
                Turn {
                    trouble: Trouble::DiesAfter(2),
                    ..turn(&[Step::Withdraw { user: 0, client: WEB }])
                },
                Turn { first: First::LookAround, ..turn(&[again]) },
            ],
        ),
    ]
}
