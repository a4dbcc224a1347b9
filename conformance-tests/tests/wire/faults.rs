//! The store, or the user database, is away: at every call that a request makes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use grantor::model::Subject;
use grantor::protocol::register::Registered;

use crate::store::{Trouble, TroubledStorage};
use crate::world::{
    Answer, Browser, CALLBACK, ISSUER, PASSWORD, SERVICE, Tokens, World, action, authorize_url,
    borrowed, hidden, redemption, renewal,
};

fn alice() -> Subject {
    Subject::parse("alice").expect("subject")
}

fn troubled() -> (Arc<TroubledStorage>, World) {
    let store = TroubledStorage::new();
    let world = World::at(ISSUER, Arc::clone(&store) as _, |builder| builder);
    (store, world)
}

/// Every trouble at call `at`: once or for good, before or after a write happens.
fn troubles(at: usize) -> [Trouble; 4] {
    [
        Trouble::once(at, false),
        Trouble::once(at, true),
        Trouble::from(at, false),
        Trouble::from(at, true),
    ]
}

/// What a step needs: made anew for every try.
struct Case {
    client: Registered,
    browser: Browser,
    page: Option<Answer>,
    code: String,
    tokens: Option<Tokens>,
}

/// A request of the flow, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Authorize,
    /// The user is signed in and has allowed all of it before: a code without a page.
    Remembered,
    Interaction,
    Login,
    Allow,
    Deny,
    Redeem,
    Refresh,
    Service,
    RevokeAccess,
    RevokeRefresh,
    Introspect,
    Apps,
    AppsLogin,
    Withdraw,
    SignOut,
}

const STEPS: [Step; 16] = [
    Step::Authorize,
    Step::Remembered,
    Step::Interaction,
    Step::Login,
    Step::Allow,
    Step::Deny,
    Step::Redeem,
    Step::Refresh,
    Step::Service,
    Step::RevokeAccess,
    Step::RevokeRefresh,
    Step::Introspect,
    Step::Apps,
    Step::AppsLogin,
    Step::Withdraw,
    Step::SignOut,
];

impl Step {
    fn is_json(self) -> bool {
        use Step as S;
        matches!(
            self,
            S::Redeem
                | S::Refresh
                | S::Service
                | S::RevokeAccess
                | S::RevokeRefresh
                | S::Introspect
        )
    }

    async fn prepare(self, world: &World) -> Case {
        let mut case = Case {
            client: match self {
                Self::Service => world.service().await,
                _ => world.confidential().await,
            },
            browser: Browser::default(),
            page: None,
            code: String::new(),
            tokens: None,
        };
        let url = authorize_url(&case.client, &[]);
        match self {
            Self::Authorize | Self::Service => {}
            Self::Remembered => {
                case.browser.walk(world, &url).await;
            }
            Self::Interaction | Self::Login => {
                case.page = Some(case.browser.open(world, &url).await);
            }
            Self::Allow | Self::Deny => {
                case.page = Some(case.browser.reach_consent(world, &url).await);
            }
            Self::Redeem => case.code = world.code(&case.client).await,
            Self::Refresh | Self::RevokeAccess | Self::RevokeRefresh | Self::Introspect => {
                case.tokens = Some(world.tokens(&case.client).await);
            }
            Self::Apps => case.browser = Browser::of(world, "alice").await,
            Self::AppsLogin => case.page = Some(case.browser.get(world, "/apps").await),
            Self::Withdraw | Self::SignOut => {
                case.browser = Browser::of(world, "alice").await;
                let answer = case.browser.walk(world, &url).await;
                let tokens = world.redeem(&case.client, &answer.parameter("code")).await;
                case.tokens = Some(Tokens::of(&tokens));
                case.page = Some(case.browser.get(world, "/apps").await);
            }
        }
        case
    }

    async fn take(self, world: &World, case: &mut Case) -> Answer {
        let client = &case.client;
        let tokens =
            case.tokens.clone().unwrap_or(Tokens { access: String::new(), refresh: String::new() });
        let page = case.page.clone();
        let page = || page.clone().expect("a page");
        match self {
            Self::Authorize | Self::Remembered => {
                case.browser.get(world, &authorize_url(client, &[])).await
            }
            Self::Interaction => {
                let target = format!("/interaction?interaction={}", hidden(&page())[0].1);
                case.browser.get(world, &target).await
            }
            Self::Login | Self::AppsLogin => {
                let page = page();
                let mut form = hidden(&page);
                form.push(("username".into(), "alice".into()));
                form.push(("password".into(), PASSWORD.into()));
                case.browser.post(world, &action(&page), &borrowed(&form)).await
            }
            Self::Allow => case.browser.decide(world, &page(), &["read", "write"], "allow").await,
            Self::Deny => case.browser.decide(world, &page(), &[], "deny").await,
            Self::Redeem => world.redeem(client, &case.code).await,
            Self::Refresh => world.call("/token", client, &renewal(&tokens.refresh)).await,
            Self::Service => world.call("/token", client, &SERVICE).await,
            Self::RevokeAccess => world.call("/revoke", client, &[("token", &tokens.access)]).await,
            Self::RevokeRefresh => {
                world.call("/revoke", client, &[("token", &tokens.refresh)]).await
            }
            Self::Introspect => {
                world.call("/introspect", client, &[("token", &tokens.access)]).await
            }
            Self::Apps => case.browser.get(world, "/apps").await,
            Self::Withdraw => {
                let token = hidden(&page())[0].1.clone();
                let form =
                    [("form_token", token.as_str()), ("client_id", client.client.id.as_str())];
                case.browser.post(world, "/apps/withdraw", &form).await
            }
            Self::SignOut => {
                let token = hidden(&page())[0].1.clone();
                case.browser.post(world, "/apps/logout", &[("form_token", &token)]).await
            }
        }
    }

    /// What the step looks like when all is well.
    #[track_caller]
    fn succeeded(self, answer: &Answer) {
        match self {
            Self::Authorize | Self::Login | Self::Withdraw | Self::AppsLogin => {
                assert_eq!(answer.status, 303, "{self:?}: {answer:?}");
                assert!(answer.location().starts_with('/'), "{self:?}: {answer:?}");
            }
            Self::Allow | Self::Remembered => {
                assert!(answer.parameter("code").starts_with("grc_"), "{self:?}: {answer:?}");
            }
            Self::Deny => answer.told("access_denied"),
            Self::Introspect => assert_eq!(answer.json()["active"], true),
            _ => assert_eq!(answer.status, 200, "{self:?}: {answer:?}"),
        }
    }

    /// "Not now", in the form that whoever asked can read.
    #[track_caller]
    fn postponed(self, answer: &Answer) {
        if self.is_json() {
            answer.refused(503, "temporarily_unavailable");
        } else if answer.status == 303 {
            answer.told("temporarily_unavailable");
        } else {
            answer.explained(503);
        }
    }

    /// Whether the write of this step, once it happened, is its whole effect: the same request again
    /// is then another story, told by the module of that step.
    fn consumes(self) -> bool {
        matches!(self, Self::Redeem | Self::Deny)
    }
}

#[tokio::test]
async fn a_store_that_fails_at_any_call_never_makes_a_wrong_answer() {
    // Requirements 7009-010, HTTP-009, 6749-047; ATTACKS B07, F05, K04, K08: each step of the flow, each call
    // that it makes, once and for good, before the write and after it. What did not happen can be tried
    // again; what is answered did happen.
    for step in STEPS {
        let (store, world) = troubled();
        let mut case = step.prepare(&world).await;
        store.arm(Trouble::None);
        step.succeeded(&step.take(&world, &mut case).await);
        let calls = store.heal();
        assert!(calls > 0, "{step:?}");
        for at in 0..calls + 1 {
            for trouble in troubles(at) {
                let mut case = step.prepare(&world).await;
                let before = case.browser.clone();
                store.arm(trouble);
                let answer = step.take(&world, &mut case).await;
                store.heal();
                let postponed =
                    answer.status == 503 || answer.location().contains("error=temporarily");
                if postponed {
                    step.postponed(&answer);
                    case.browser = before;
                    let applied = matches!(trouble, Trouble::Away { applied: true, .. });
                    if applied && step.consumes() {
                        continue;
                    }
                    // Another process takes over, and the same request is good.
                    step.succeeded(&step.take(&world.restarted(), &mut case).await);
                } else {
                    step.succeeded(&answer);
                }
                match step {
                    Step::Withdraw | Step::RevokeRefresh | Step::RevokeAccess => {
                        let tokens = case.tokens.expect("tokens");
                        assert!(!world.is_active(&tokens.access).await, "{step:?} {trouble:?}");
                    }
                    Step::SignOut => {
                        let page = before_session(&world, &case.browser).await;
                        assert!(page.body.contains("id=\"password\""), "{step:?} {trouble:?}");
                    }
                    _ => {}
                }
            }
        }
    }
}

async fn before_session(world: &World, browser: &Browser) -> Answer {
    browser.clone().get(world, "/apps").await
}

#[tokio::test]
async fn a_retry_of_our_own_is_no_replay() {
    // ATTACKS K04, K08: a write that happened and was answered with an error is recognised when it is
    // sent again. Neither the code nor the refresh token counts as stolen.
    let (store, world) = troubled();
    let client = world.confidential().await;
    for call in 0..4 {
        let code = world.code(&client).await;
        store.arm(Trouble::once(call, true));
        let answer = world.redeem(&client, &code).await;
        store.heal();
        let tokens = match answer.status {
            200 => Tokens::of(&answer),
            _ => Tokens::of(&world.redeem(&client, &code).await),
        };
        assert!(world.is_active(&tokens.access).await);
        store.arm(Trouble::once(call, true));
        let answer = world.refresh(&client, &tokens.refresh).await;
        store.heal();
        let next = match answer.status {
            200 => Tokens::of(&answer),
            _ => Tokens::of(&world.refresh(&client, &tokens.refresh).await),
        };
        assert!(world.is_active(&next.access).await);
    }
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_with_the_store_is_answered_after_all() {
    // ATTACKS D02, K04: the write happened, both tries to make it failed, and the client comes again.
    let (store, world) = troubled();
    let client = world.public().await;
    let tokens = world.tokens(&client).await;
    store.arm(Trouble::from(1, true));
    world.refresh(&client, &tokens.refresh).await.refused(503, "temporarily_unavailable");
    store.heal();
    let again = Tokens::of(&world.restarted().refresh(&client, &tokens.refresh).await);
    assert!(world.is_active(&again.access).await);
    Tokens::of(&world.refresh(&client, &again.refresh).await);
}

#[tokio::test]
async fn conflicts_are_decided_again() {
    // ATTACKS K04, B02: a few conflicts are nothing; without end, the answer is "not now".
    for step in STEPS {
        let (store, world) = troubled();
        for conflicts in [1, 2, 3] {
            let mut case = step.prepare(&world).await;
            store.arm(Trouble::Conflicts(conflicts));
            let answer = step.take(&world, &mut case).await;
            store.heal();
            step.succeeded(&answer);
        }
    }
    let (store, world) = troubled();
    for step in [Step::Authorize, Step::Redeem, Step::Refresh, Step::Service, Step::RevokeRefresh] {
        let mut case = step.prepare(&world).await;
        store.arm(Trouble::Conflicts(usize::MAX));
        let answer = step.take(&world, &mut case).await;
        store.heal();
        step.postponed(&answer);
        step.succeeded(&step.take(&world, &mut case).await);
    }
}

#[tokio::test]
async fn the_browser_is_sent_back_with_the_news_where_that_is_safe() {
    // Requirements 6749-047, 9207-001: once client and address are proven good, a write that fails is told to
    // the client; before, it is a page.
    let (store, world) = troubled();
    let client = world.public().await;
    let url = authorize_url(&client, &[]);
    store.arm(Trouble::from(1, false));
    let answer = world.get(&url).await;
    answer.told("temporarily_unavailable");
    assert_eq!(answer.parameter("state"), "a state");
    assert_eq!(answer.parameter("iss"), ISSUER);
    store.arm(Trouble::from(0, false));
    world.get(&url).await.explained(503);
    world.get(&authorize_url(&client, &[("client_id", Some("unknown"))])).await.explained(503);
    store.arm(Trouble::from(1, false));
    let evil = [("redirect_uri", Some("https://evil.example/"))];
    world.get(&authorize_url(&client, &evil)).await.explained(400);
    store.heal();
    assert!(world.get(&url).await.location().starts_with("/interaction"));
}

#[tokio::test]
async fn a_user_database_that_is_away_is_no_wrong_password_and_no_lost_grant() {
    // Requirement HTTP-009; ATTACKS K04, D06: 503, and the same request is good afterwards.
    let world = World::new();
    for step in
        [Step::Login, Step::Allow, Step::Redeem, Step::Refresh, Step::Introspect, Step::AppsLogin]
    {
        let mut case = step.prepare(&world).await;
        world.users.away.store(true, Ordering::SeqCst);
        let answer = step.take(&world, &mut case).await;
        world.users.away.store(false, Ordering::SeqCst);
        step.postponed(&answer);
        step.succeeded(&step.take(&world, &mut case).await);
    }
}

#[tokio::test]
async fn a_damaged_record_is_no_answer_either() {
    // ATTACKS K04: what cannot be read is an outage, for that record alone.
    let world = World::new();
    let client = world.confidential().await;
    let tokens = world.tokens(&client).await;
    let other = world.tokens(&client).await;
    let listing = grantor::storage::Listing::Index(grantor::storage::Index::grants_of(&alice()));
    let keys = world.storage.list(&listing, None, 100).await.expect("listed").keys;
    for key in &keys {
        let stored = world.storage.load(std::slice::from_ref(key)).await.expect("loaded");
        let stored = stored[0].clone().expect("there");
        let commit = grantor::storage::Commit {
            key: key.clone(),
            expect: Some(stored.commit),
            id: grantor::storage::CommitId::from_bytes([7; 16]),
            record: grantor::storage::NewRecord {
                value: vec![250, 1, 2, 3],
                purge_at: stored.purge_at,
                indexes: vec![],
            },
        };
        let _ = world.storage.commit(commit).await.expect("committed");
    }
    for token in [&tokens.refresh, &other.refresh] {
        world.refresh(&client, token).await.refused(503, "temporarily_unavailable");
    }
    assert_eq!(
        Tokens::of(&world.redeem(&client, &world.code(&client).await).await).access[..4],
        *"gra_"
    );
}

/// Where a process stops: after so many calls to the store, in the middle of this request.
async fn stopped(store: &TroubledStorage, world: &World, step: Step, case: &mut Case, at: usize) {
    store.arm(Trouble::Held(at));
    tokio::select! {
        biased;
        () = store.held() => {}
        answer = step.take(world, case) => { let _ = answer; }
    }
    store.heal();
}

#[tokio::test]
async fn a_process_that_dies_between_any_two_calls_leaves_nothing_half_done() {
    // ATTACKS K04, B03, D04; requirement HTTP-009: the request is dropped at each call, a new process takes
    // over the store, and the same request comes again.
    for step in STEPS {
        let (store, world) = troubled();
        let mut case = step.prepare(&world).await;
        store.arm(Trouble::None);
        step.succeeded(&step.take(&world, &mut case).await);
        let calls = store.heal();
        for at in 0..calls {
            let mut case = step.prepare(&world).await;
            let before = case.browser.clone();
            stopped(&store, &world, step, &mut case, at).await;
            case.browser = before;
            let world = world.restarted();
            step.succeeded(&step.take(&world, &mut case).await);
            if step == Step::Withdraw {
                let tokens = case.tokens.expect("tokens");
                assert!(!world.is_active(&tokens.access).await, "stopped at {at}");
                world.refresh(&case.client, &tokens.refresh).await.refused(400, "invalid_grant");
            }
        }
    }
}

#[tokio::test]
async fn a_withdrawal_that_was_cut_short_is_taken_up_again() {
    // ATTACKS D09, D10; requirement OA21-021: it is still listed, nothing new stands on it, and once it is
    // answered nothing that stood on it is alive; afterwards the user may allow again.
    let (store, world) = troubled();
    let client = world.confidential().await;
    let id = &client.client.id;
    for at in 0..12 {
        let live = [world.tokens(&client).await, world.tokens(&client).await];
        let pending = world.code(&client).await;
        store.arm(Trouble::from(at, at % 2 == 0));
        let cut = world.server.withdraw_consent(&alice(), id).await;
        store.heal();
        let world = world.restarted();
        if cut.is_err() {
            let listed = world.server.connections(&alice()).await.expect("listed");
            assert!(listed.iter().any(|connection| connection.client_id == *id), "stopped at {at}");
            world.server.withdraw_consent(&alice(), id).await.expect("withdrawn");
        }
        for tokens in &live {
            assert!(!world.is_active(&tokens.access).await, "stopped at {at}");
            world.refresh(&client, &tokens.refresh).await.refused(400, "invalid_grant");
        }
        world.redeem(&client, &pending).await.refused(400, "invalid_grant");
        assert!(world.server.connections(&alice()).await.expect("listed").is_empty());
    }
    let again = world.tokens(&client).await;
    assert!(world.is_active(&again.access).await);
}

#[tokio::test]
async fn a_code_on_its_way_does_not_outlive_a_withdrawal() {
    // ATTACKS D09, A16; requirement OA21-021: the consent is answered, or a remembered one is used, and at each
    // call to the store the user withdraws, wholly, in another window. No code of that consent works.
    for remembered in [false, true] {
        for at in 0..12 {
            let (store, world) = troubled();
            let client = world.confidential().await;
            let mut browser = Browser::of(&world, "alice").await;
            browser.walk(&world, &authorize_url(&client, &[])).await;
            let url = authorize_url(&client, &[("prompt", (!remembered).then_some("consent"))]);
            let page =
                if remembered { None } else { Some(browser.reach_consent(&world, &url).await) };
            let step = async {
                match &page {
                    Some(page) => browser.decide(&world, page, &["read", "write"], "allow").await,
                    None => browser.get(&world, &url).await,
                }
            };
            let mut withdrawn_before = false;
            store.arm(Trouble::Held(at));
            let withdrawal = async {
                store.held().await;
                withdrawn_before = true;
                world
                    .server
                    .withdraw_consent(&alice(), &client.client.id)
                    .await
                    .expect("withdrawn");
                store.release();
            };
            tokio::pin!(step);
            let answer = tokio::select! {
                biased;
                answer = &mut step => answer,
                () = withdrawal => step.await,
            };
            store.heal();
            if !withdrawn_before {
                break;
            }
            // The user may have been asked anew, or allowed after the withdrawal; but what there is
            // now is what the page of connected apps shows.
            let listed = !world.server.connections(&alice()).await.expect("listed").is_empty();
            if answer.location().starts_with(CALLBACK) && answer.location().contains("code=") {
                let redeemed = world.redeem(&client, &answer.parameter("code")).await;
                assert_eq!(redeemed.status == 200, listed, "at {at}: {redeemed:?}");
            }
        }
    }
}

#[tokio::test]
async fn codes_of_a_dead_process_are_redeemed_by_the_next() {
    // ATTACKS B03, D04, K08: consumption and issue are one write, whatever stops in between.
    let (store, world) = troubled();
    let client = world.public().await;
    for at in 0..2 {
        let code = world.code(&client).await;
        let id = [("client_id", client.client.id.as_str())];
        let form = [&redemption(&code)[..], &id].concat();
        store.arm(Trouble::Held(at));
        tokio::select! {
            biased;
            () = store.held() => {}
            _ = world.post("/token", &[], &form) => {}
        }
        store.heal();
        let world = world.restarted();
        let tokens = Tokens::of(&world.redeem(&client, &code).await);
        assert!(world.is_active(&tokens.access).await);
        world.redeem(&client, &code).await.refused(400, "invalid_grant");
        assert!(!world.is_active(&tokens.access).await);
    }
}
