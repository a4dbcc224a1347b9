//! The pure decisions, from values to a value.

use std::hint::black_box;

use grantor::model::{Account, Authentication, Consent, Grant, Handle, HandleKind, Subject};
use grantor::protocol::authorize::{self, Visitor};
use grantor::protocol::client_auth::{VerifiedClient, authenticate};
use grantor::protocol::client_credentials::{self, ClientCredentialsRequest};
use grantor::protocol::introspect::{self, Introspection, TokenFacts};
use grantor::protocol::{Context, Entropy, Refusal, bearer, code, consent, refresh, revoke};
use grantor::storage::{Key, Record};

use crate::world::{Party, SCOPE, World, redemption, renewal};
use crate::{Case, Ready};

pub(crate) const CASES: [Case; 11] = [
    Case { name: "decision/authenticate", prepare: authenticated },
    Case { name: "decision/authorize", prepare: authorized },
    Case { name: "decision/consent", prepare: consented },
    Case { name: "decision/client_credentials", prepare: issued },
    Case { name: "decision/code", prepare: |world| redeemed(world, &world.confidential) },
    Case { name: "decision/code_public", prepare: |world| redeemed(world, &world.public) },
    Case { name: "decision/refresh", prepare: refreshed },
    Case { name: "decision/reuse", prepare: reused },
    Case { name: "decision/introspect", prepare: introspected },
    Case { name: "decision/revoke", prepare: revoked },
    Case { name: "decision/bearer", prepare: checked },
];

fn context(world: &World) -> Context<'_> {
    let server = &world.server;
    Context { issuer: server.issuer(), policy: server.policy(), now: server.now() }
}

fn entropy() -> Entropy {
    Entropy::from_seed(black_box([2; 32]))
}

fn verified<'w>(world: &'w World, party: &'w Party) -> VerifiedClient<'w> {
    authenticate(&party.presented, Some(&party.client), world.server.now()).expect("a client")
}

fn account_of(subject: &Subject) -> Account {
    Account::new(subject.clone(), subject.as_str())
}

/// The record that a token or a code names, and the account of whoever allowed it.
fn opened(world: &World, handle: &Handle) -> (Grant, Account) {
    let grant = world.grant(handle.id);
    let account = account_of(grant.subject().expect("a user"));
    (grant, account)
}

/// A user who has allowed the client before.
fn returning(world: &World) -> (Authentication, Account, Consent) {
    let user = world.somebody();
    let key = Key::consent(&user.subject, &world.confidential.client.id);
    let Record::Consent(consent) = world.stored(&key) else { panic!("no consent") };
    let account = account_of(&user.subject);
    (user, account, consent)
}

fn authenticated(world: &World) -> Ready<'_> {
    let party = &world.confidential;
    let time = world.server.now();
    Box::new(move || {
        let verified = authenticate(black_box(&party.presented), Some(&party.client), time);
        assert!(black_box(&verified).is_ok(), "{verified:?}");
    })
}

fn authorized(world: &World) -> Ready<'_> {
    let request = world.authorization(&world.confidential);
    let (user, account, consent) = returning(world);
    Box::new(move || {
        let visitor = Visitor {
            authentication: Some(&user),
            account: Some(&account),
            consent: Some(&consent),
            ..Visitor::default()
        };
        let client = Some(&world.confidential.client);
        let (request, ctx) = (black_box(&request), context(world));
        let decision = authorize::begin(request, client, visitor, ctx, &mut entropy());
        assert!(matches!(black_box(&decision.outcome), Ok(authorize::Outcome::Redirect(_))));
    })
}

fn consented(world: &World) -> Ready<'_> {
    let user = Authentication {
        subject: Subject::parse("somebody new").expect("a subject"),
        auth_time: world.server.now(),
    };
    let (request, browser) = world.asked(&world.confidential, &user);
    let grant = world.grant(request.interaction.id);
    let account = account_of(&user.subject);
    Box::new(move || {
        let (request, client) = (black_box(&request), Some(&world.confidential.client));
        let ctx = context(world);
        let mut visitor = Visitor {
            browser: browser.secret.as_ref(),
            authentication: Some(&user),
            account: Some(&account),
            ..Visitor::default()
        };
        let remembered = consent::remember(request, Some(&grant), client, visitor, ctx);
        let Ok(Some(consent)) = &remembered.outcome else { panic!("{remembered:?}") };
        visitor.consent = Some(consent);
        let decision = consent::answer(request, Some(&grant), client, visitor, ctx);
        assert!(matches!(black_box(&decision.outcome), Ok(authorize::Outcome::Redirect(_))));
    })
}

fn issued(world: &World) -> Ready<'_> {
    let client = verified(world, &world.confidential);
    let request = ClientCredentialsRequest { scope: Some(SCOPE.to_owned()) };
    Box::new(move || {
        let (request, ctx) = (black_box(&request), context(world));
        let decision = client_credentials::issue(request, client, ctx, &mut entropy());
        assert!(black_box(&decision.outcome).is_ok(), "{decision:?}");
    })
}

fn redeemed<'w>(world: &'w World, party: &'w Party) -> Ready<'w> {
    let client = verified(world, party);
    let request = redemption(&world.code(party));
    let (grant, account) = opened(world, request.code.as_ref().expect("a code"));
    Box::new(move || {
        let (request, ctx) = (black_box(&request), context(world));
        let (grant, account) = (Some(&grant), Some(&account));
        let decision = code::redeem(request, client, grant, account, ctx, &mut entropy());
        assert!(black_box(&decision.outcome).is_ok(), "{decision:?}");
    })
}

/// A refresh with this token, and the refusal that is right, if one is.
fn renewed<'w>(world: &'w World, token: &str, refusal: Option<Refusal>) -> Ready<'w> {
    let client = verified(world, &world.confidential);
    let request = renewal(token);
    let (grant, account) = opened(world, request.refresh_token.as_ref().expect("a token"));
    Box::new(move || {
        let (request, ctx) = (black_box(&request), context(world));
        let (grant, account) = (Some(&grant), Some(&account));
        let decision = refresh::refresh(request, client, grant, account, ctx, &mut entropy());
        assert_eq!(black_box(&decision.outcome).as_ref().err(), refusal.as_ref());
    })
}

fn refreshed(world: &World) -> Ready<'_> {
    renewed(world, &world.refresh_token(&world.confidential), None)
}

fn reused(world: &World) -> Ready<'_> {
    let token = world.stolen_refresh_token(&world.confidential);
    renewed(world, &token, Some(Refusal::RefreshTokenReused))
}

fn access_token(world: &World) -> Handle {
    let tokens = world.tokens(&world.confidential);
    Handle::parse(HandleKind::AccessToken, tokens.access_token.expose()).expect("a token")
}

fn introspected(world: &World) -> Ready<'_> {
    let caller = verified(world, &world.confidential);
    let token = access_token(world);
    let (grant, account) = opened(world, &token);
    Box::new(move || {
        let client = Some(&world.confidential.client);
        let facts = TokenFacts { grant: Some(&grant), client, account: Some(&account) };
        let answer = introspect::introspect(Some(black_box(&token)), caller, facts, context(world));
        assert!(matches!(black_box(&answer), Ok(Introspection::AccessToken(_))), "{answer:?}");
    })
}

fn revoked(world: &World) -> Ready<'_> {
    let client = verified(world, &world.confidential);
    let token = revoke::parse(&world.refresh_token(&world.confidential)).expect("a token");
    let (grant, _) = opened(world, &token);
    Box::new(move || {
        let decision = revoke::by_client(black_box(&token), client, Some(&grant), context(world));
        assert!(black_box(&decision).write.is_some(), "{decision:?}");
    })
}

fn checked(world: &World) -> Ready<'_> {
    let token = access_token(world);
    let (grant, account) = opened(world, &token);
    Box::new(move || {
        let client = Some(&world.confidential.client);
        let facts = TokenFacts { grant: Some(&grant), client, account: Some(&account) };
        let found = bearer::check(black_box(&token), &world.scope, facts, context(world));
        assert!(black_box(&found).is_ok(), "{found:?}");
    })
}
