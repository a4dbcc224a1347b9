//! What a walk is made of, and how one is drawn.
//!
//! A step names what it is about by small numbers (the newest token, the one before it), which are
//! resolved when it is taken. So any part of a walk is a walk, and a failing one shrinks to a short
//! story. The crate `proptest-state-machine` would draw steps from the reference's state instead; it
//! takes one step at a time and wants one state after each, and here several are taken at once and it is
//! open what a crash left.

use proptest::prelude::*;
use proptest::strategy::Union;

use super::gate::Trouble;
use super::model::TERMS;
use super::request::{APP, ClientNo, EVIL, Pkce, Proof, Scopes, UserNo, WEB, Where};

/// A walk.
pub type Walk = Vec<Turn>;

/// What happens next: first what nobody is asked about, then requests, all at once, with what goes
/// wrong meanwhile.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are named after what they hold")]
pub struct Turn {
    pub first: First,
    pub steps: Vec<Step>,
    /// Who goes on first, wherever several could.
    pub order: Vec<u8>,
    pub trouble: Trouble,
}

/// What happens without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Nothing.
    Nothing,
    /// Time passes, in seconds.
    Pass(u64),
    /// An account is disabled.
    Disable(UserNo),
    /// An account is enabled.
    Enable(UserNo),
    /// Every token that anybody has is looked at.
    LookAround,
    /// The server is stopped and started.
    Restart,
}

/// Who calls in a client's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The client whose code or token it is.
    Owner,
    /// The same with the secret before the newest.
    OwnerOldSecret,
    /// A thief in the client's name, without its secret.
    Nameless,
    /// A thief in the client's name, with an invented secret.
    Inventive,
    /// The thief's own client.
    Thief,
    /// The resource server.
    Api,
}

/// One thing that somebody does. Numbers count back from the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is told as a sentence by the request that it becomes")]
pub enum Step {
    Register {
        public: bool,
    },
    Rotate {
        client: ClientNo,
    },
    Remove {
        client: ClientNo,
    },
    RevokeClient {
        client: ClientNo,
    },
    RevokeUser {
        user: UserNo,
    },
    Withdraw {
        user: UserNo,
        client: ClientNo,
    },
    SignOut {
        browser: UserNo,
    },
    Sweep,
    /// A client asks; the browser is left at our page.
    Begin {
        user: UserNo,
        client: ClientNo,
        to: Where,
        scope: Scopes,
        pkce: Pkce,
        ask_again: bool,
    },
    /// A browser goes through the pages to the end. `stranger`: in another browser than it began in.
    GoOn {
        pending: u8,
        stranger: bool,
        other_user: bool,
        right: bool,
        tick: Scopes,
    },
    /// A browser sends the consent page that it shows.
    Answer {
        pending: u8,
        tick: Scopes,
    },
    /// The whole way, honestly, to a code, and to tokens if it is redeemed.
    Connect {
        user: UserNo,
        client: ClientNo,
        scope: Scopes,
        tick: Scopes,
        redeem: bool,
    },
    Redeem {
        code: u8,
        who: Who,
        verifier: Proof,
        redirect: Proof,
    },
    Refresh {
        family: u8,
        age: u8,
        who: Who,
        scope: Scopes,
    },
    Service {
        who: Who,
        scope: Scopes,
    },
    Revoke {
        token: u8,
        who: Who,
    },
    Introspect {
        token: u8,
        who: Who,
    },
    Bearer {
        token: u8,
        scope: Scopes,
    },
    /// An honest client repeats a request that was not answered.
    Again {
        nth: u8,
    },
}

/// Walks of up to so many chapters: mostly a turn each, now and then a few that belong together.
pub fn walks(chapters: usize) -> impl Strategy<Value = Walk> {
    let chapter = prop_oneof![
        20 => turn().prop_map(|turn| vec![turn]),
        1 => rotations(),
        1 => guesses(),
        1 => lifetimes(),
        2 => lost_answers(),
    ];
    prop::collection::vec(chapter, 1..=chapters).prop_map(|chapters| chapters.concat())
}

fn alone(step: Step) -> Turn {
    Turn { first: First::Nothing, steps: vec![step], order: Vec::new(), trouble: Trouble::None }
}

const fn connect(client: ClientNo, redeem: bool) -> Step {
    Step::Connect { user: 0, client, scope: 0b11, tick: 0b11, redeem }
}

const fn renew(age: u8) -> Step {
    Step::Refresh { family: 0, age, who: Who::Owner, scope: 0 }
}

const fn redeem(verifier: Proof) -> Step {
    Step::Redeem { code: 0, who: Who::Owner, verifier, redirect: Proof::Right }
}

/// A refresh token is renewed a few times, and then an old one is used; then the newest.
fn rotations() -> impl Strategy<Value = Walk> {
    (WEB..=APP, 1..=3_usize, 0..=3_u8, prop::option::of(1..120_u64)).prop_map(
        |(client, times, age, pause)| {
            let mut walk = vec![alone(connect(client, true))];
            walk.extend((0..times).map(|_| alone(renew(0))));
            let first = pause.map_or(First::Nothing, First::Pass);
            walk.push(Turn { first, ..alone(renew(age)) });
            walk.push(alone(renew(0)));
            walk
        },
    )
}

/// A code is tried with wrong verifiers, then with the right one, and then once more.
fn guesses() -> impl Strategy<Value = Walk> {
    (WEB..=APP, 1..=6_usize, any::<bool>()).prop_map(|(client, times, replay)| {
        let mut walk = vec![alone(connect(client, false))];
        walk.extend((0..times).map(|_| alone(redeem(Proof::Wrong))));
        walk.push(alone(redeem(Proof::Right)));
        walk.extend(replay.then(|| alone(redeem(Proof::Right))));
        walk
    })
}

/// Tokens are given out, time passes, and they are used.
fn lifetimes() -> impl Strategy<Value = Walk> {
    let used = prop_oneof![
        Just(renew(0)),
        Just(redeem(Proof::Right)),
        (0..2_u8).prop_map(|token| Step::Introspect { token, who: Who::Api }),
        (0..2_u8).prop_map(|token| Step::Bearer { token, scope: 0b01 }),
    ];
    (any::<bool>(), prop::collection::vec((time(), used), 1..=3)).prop_map(|(redeemed, uses)| {
        let mut walk = vec![alone(connect(WEB, redeemed))];
        let uses = uses.into_iter();
        walk.extend(uses.map(|(time, used)| Turn { first: First::Pass(time), ..alone(used) }));
        walk
    })
}

/// An answer to a refresh is lost, and the honest client tries again, soon or late.
fn lost_answers() -> impl Strategy<Value = Walk> {
    // A refresh calls the store twice, or three times where it has to write again.
    (WEB..=APP, trouble_at(0..3), prop::option::of(1..120_u64), 1..=2_usize).prop_map(
        |(client, trouble, pause, times)| {
            let first = pause.map_or(First::Nothing, First::Pass);
            let mut walk = vec![alone(connect(client, true)), Turn { trouble, ..alone(renew(0)) }];
            walk.push(Turn { first, ..alone(Step::Again { nth: 0 }) });
            walk.extend((0..times).map(|_| alone(renew(0))));
            walk
        },
    )
}

fn turn() -> impl Strategy<Value = Turn> {
    let steps = prop_oneof![
        8 => prop::collection::vec(step(), 1..=1),
        4 => prop::collection::vec(step(), 2..=3),
        // The same thing by several at once.
        2 => (race(), 2..=3_usize).prop_map(|(step, times)| vec![step; times]),
        2 => against(),
    ];
    let order = prop::collection::vec(any::<u8>(), 0..=12);
    (first(), steps, order, trouble()).prop_map(|(first, steps, order, trouble)| Turn {
        first,
        steps,
        order,
        trouble,
    })
}

fn first() -> impl Strategy<Value = First> {
    prop_oneof![
        24 => Just(First::Nothing),
        8 => time().prop_map(First::Pass),
        1 => user().prop_map(First::Disable),
        2 => user().prop_map(First::Enable),
        1 => Just(First::LookAround),
        1 => Just(First::Restart),
    ]
}

/// Around every lifetime, and mostly little.
fn time() -> impl Strategy<Value = u64> {
    let around = [
        TERMS.code,
        TERMS.interaction,
        TERMS.access,
        TERMS.session,
        TERMS.secret_overlap,
        TERMS.refresh_idle,
    ];
    let exact = move |lifetime: u64| (lifetime - 1..=lifetime + 1).boxed();
    let weights = [10, 2, 3, 1, 1, 2];
    let around = weights.into_iter().zip(around.map(exact));
    let absolute = (1, (TERMS.refresh_absolute - 1..=TERMS.refresh_absolute + 1).boxed());
    Union::new_weighted(around.chain([(10, (1..=59_u64).boxed()), absolute]).collect())
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        5 => Just(Trouble::None),
        3 => trouble_at(0..10),
    ]
}

fn trouble_at(at: std::ops::Range<u8>) -> impl Strategy<Value = Trouble> {
    prop_oneof![
        2 => at.clone().prop_map(Trouble::DiesBefore),
        1 => at.clone().prop_map(Trouble::DiesDuring),
        2 => at.clone().prop_map(Trouble::DiesAfter),
        4 => (at.clone(), 1..=3_u8, any::<bool>())
            .prop_map(|(at, calls, applied)| Trouble::Away { at, calls, applied }),
        2 => (at.clone(), 1..=2_u8).prop_map(|(at, calls)| Trouble::Late { at, calls }),
        1 => at.prop_map(Trouble::Twice),
        1 => Just(Trouble::Directory),
    ]
}

fn user() -> impl Strategy<Value = UserNo> {
    prop_oneof![3 => Just(0_usize), 1 => Just(1)]
}

fn client() -> impl Strategy<Value = ClientNo> {
    // Beyond the cast: clients that were registered on the way, if there are any.
    prop_oneof![4 => Just(WEB), 3 => Just(APP), 1 => Just(EVIL), 1 => 4..6_usize]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        12 => Just(Who::Owner),
        2 => Just(Who::OwnerOldSecret),
        1 => Just(Who::Nameless),
        1 => Just(Who::Inventive),
        2 => Just(Who::Thief),
        1 => Just(Who::Api),
    ]
}

fn proof() -> impl Strategy<Value = Proof> {
    prop_oneof![8 => Just(Proof::Right), 2 => Just(Proof::Wrong), 1 => Just(Proof::Missing)]
}

fn scope() -> impl Strategy<Value = Scopes> {
    prop_oneof![6 => Just(0b11), 2 => Just(0b01), 1 => Just(0b10)]
}

fn any_scope() -> impl Strategy<Value = Scopes> {
    prop_oneof![12 => scope(), 1 => Just(0), 1 => Just(0b111), 1 => Just(0b1001)]
}

fn narrower() -> impl Strategy<Value = Scopes> {
    prop_oneof![6 => Just(0), 2 => Just(0b01), 1 => Just(0b10), 1 => Just(0b11), 1 => Just(0b101)]
}

/// One from the newest, mostly.
fn recent() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(0_u8), 2 => Just(1), 2 => 2..8_u8]
}

fn step() -> impl Strategy<Value = Step> {
    let to = prop_oneof![
        12 => Just(Where::Registered),
        1 => Just(Where::Unsaid),
        1 => Just(Where::Elsewhere),
        1 => Just(Where::Lookalike),
    ];
    let pkce =
        prop_oneof![12 => Just(Pkce::S256), 1 => Just(Pkce::Missing), 1 => Just(Pkce::Plain)];
    let begin = (user(), client(), to, any_scope(), pkce, prop::bool::weighted(0.2)).prop_map(
        |(user, client, to, scope, pkce, ask_again)| Step::Begin {
            user,
            client,
            to,
            scope,
            pkce,
            ask_again,
        },
    );
    let rarely = || prop::bool::weighted(0.1);
    let tick = || prop_oneof![6 => Just(0b11_u8), 2 => Just(0b01), 1 => Just(0b10), 1 => Just(0)];
    let go_on = (recent(), rarely(), rarely(), prop::bool::weighted(0.9), tick()).prop_map(
        |(pending, stranger, other_user, right, tick)| Step::GoOn {
            pending,
            stranger,
            other_user,
            right,
            tick,
        },
    );
    let needed =
        prop_oneof![4 => Just(0b01_u8), 2 => Just(0b10), 2 => Just(0b11), 1 => Just(0b101)];
    let connect = (user(), client(), scope(), tick(), prop::bool::weighted(0.6)).prop_map(
        |(user, client, scope, tick, redeem)| Step::Connect { user, client, scope, tick, redeem },
    );
    prop_oneof![
        1 => any::<bool>().prop_map(|public| Step::Register { public }),
        2 => client().prop_map(|client| Step::Rotate { client }),
        1 => client().prop_map(|client| Step::Remove { client }),
        1 => client().prop_map(|client| Step::RevokeClient { client }),
        1 => user().prop_map(|user| Step::RevokeUser { user }),
        2 => (user(), client()).prop_map(|(user, client)| Step::Withdraw { user, client }),
        1 => user().prop_map(|browser| Step::SignOut { browser }),
        2 => Just(Step::Sweep),
        8 => begin,
        10 => go_on,
        2 => (recent(), tick()).prop_map(|(pending, tick)| Step::Answer { pending, tick }),
        10 => connect,
        10 => (recent(), who(), proof(), proof())
            .prop_map(|(code, who, verifier, redirect)| Step::Redeem { code, who, verifier, redirect }),
        16 => refresh(),
        2 => (who(), any_scope()).prop_map(|(who, scope)| Step::Service { who, scope }),
        4 => (recent(), who()).prop_map(|(token, who)| Step::Revoke { token, who }),
        6 => (recent(), who()).prop_map(|(token, who)| Step::Introspect { token, who }),
        4 => (recent(), needed).prop_map(|(token, scope)| Step::Bearer { token, scope }),
        8 => (0..2_u8).prop_map(|nth| Step::Again { nth }),
    ]
}

fn refresh() -> impl Strategy<Value = Step> {
    let age = prop_oneof![8 => Just(0_u8), 4 => Just(1), 1 => 2..4_u8];
    let family = prop_oneof![4 => Just(0_u8), 1 => 1..3_u8];
    (family, age, who(), narrower()).prop_map(|(family, age, who, scope)| Step::Refresh {
        family,
        age,
        who,
        scope,
    })
}

/// What several do at once.
fn race() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(redeem(Proof::Right)),
        (0..2_u8).prop_map(renew),
        Just(Step::Answer { pending: 0, tick: 0b11 }),
        Just(Step::Revoke { token: 0, who: Who::Owner }),
    ]
}

/// Something that ends authorizations, against something that makes them.
fn against() -> impl Strategy<Value = Vec<Step>> {
    let ends = prop_oneof![
        2 => Just(Step::Withdraw { user: 0, client: WEB }),
        1 => Just(Step::Withdraw { user: 0, client: APP }),
        2 => Just(Step::RevokeUser { user: 0 }),
        1 => Just(Step::RevokeClient { client: WEB }),
        1 => Just(Step::Revoke { token: 0, who: Who::Owner }),
        1 => Just(Step::SignOut { browser: 0 }),
    ];
    let makes = prop_oneof![
        2 => Just(Step::Answer { pending: 0, tick: 0b11 }),
        2 => Just(Step::Begin {
            user: 0,
            client: WEB,
            to: Where::Registered,
            scope: 0b11,
            pkce: Pkce::S256,
            ask_again: false,
        }),
        1 => Just(redeem(Proof::Right)),
        1 => refresh(),
        1 => Just(Step::GoOn {
            pending: 0,
            stranger: false,
            other_user: false,
            right: true,
            tick: 0b11,
        }),
    ];
    let watches = prop::option::of(
        (recent(), Just(Who::Api)).prop_map(|(token, who)| Step::Introspect { token, who }),
    );
    (ends, makes, watches)
        .prop_map(|(ends, makes, watches)| [ends, makes].into_iter().chain(watches).collect())
}
