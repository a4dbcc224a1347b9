//! The engine: what a request says as values, the records loaded, the decision, the commit.

use std::hint::black_box;
use std::pin::pin;

use grantor::engine::{Error, TokenRequest};
use grantor::protocol::Refusal;
use grantor::protocol::authorize::Outcome;
use grantor::protocol::client_credentials::ClientCredentialsRequest;
use grantor::protocol::introspect::Introspection;

use crate::world::{Party, SCOPE, World, browser_of, in_place, redemption, renewal};
use crate::{Case, Ready};

pub(crate) const CASES: [Case; 9] = [
    Case { name: "engine/authorize", prepare: authorize },
    Case { name: "engine/client_credentials", prepare: client_credentials },
    Case { name: "engine/code", prepare: |world| code(world, &world.confidential) },
    Case { name: "engine/code_public", prepare: |world| code(world, &world.public) },
    Case { name: "engine/refresh", prepare: refresh },
    Case { name: "engine/reuse", prepare: reuse },
    Case { name: "engine/introspect", prepare: introspect },
    Case { name: "engine/revoke", prepare: revoke },
    Case { name: "engine/bearer", prepare: bearer },
];

fn authorize(world: &World) -> Ready<'_> {
    let request = world.authorization(&world.confidential);
    let browser = browser_of(&world.somebody());
    Box::new(move || {
        let outcome =
            in_place(pin!(world.server.authorize(black_box(&request), black_box(&browser))));
        assert!(matches!(black_box(&outcome), Ok(Outcome::Redirect(_))), "{outcome:?}");
    })
}

fn issued<'w>(world: &'w World, party: &'w Party, request: TokenRequest) -> Ready<'w> {
    Box::new(move || {
        let tokens = in_place(pin!(world.server.token(&party.presented, black_box(&request))));
        assert!(black_box(&tokens).is_ok(), "{tokens:?}");
    })
}

fn client_credentials(world: &World) -> Ready<'_> {
    let request = ClientCredentialsRequest { scope: Some(SCOPE.to_owned()) };
    issued(world, &world.confidential, TokenRequest::ClientCredentials(request))
}

fn code<'w>(world: &'w World, party: &'w Party) -> Ready<'w> {
    issued(world, party, TokenRequest::AuthorizationCode(redemption(&world.code(party))))
}

fn refresh(world: &World) -> Ready<'_> {
    let token = world.refresh_token(&world.confidential);
    issued(world, &world.confidential, TokenRequest::RefreshToken(renewal(&token)))
}

fn reuse(world: &World) -> Ready<'_> {
    let token = world.stolen_refresh_token(&world.confidential);
    let request = TokenRequest::RefreshToken(renewal(&token));
    Box::new(move || {
        let refused =
            in_place(pin!(world.server.token(&world.confidential.presented, black_box(&request))));
        let right = matches!(&refused, Err(Error::Refused(Refusal::RefreshTokenReused)));
        assert!(black_box(right), "{refused:?}");
    })
}

fn introspect(world: &World) -> Ready<'_> {
    let token = world.tokens(&world.confidential).access_token;
    Box::new(move || {
        let caller = &world.confidential.presented;
        let found =
            in_place(pin!(world.server.introspect_token(caller, black_box(token.expose()))));
        assert!(matches!(black_box(&found), Ok(Introspection::AccessToken(_))), "{found:?}");
    })
}

fn revoke(world: &World) -> Ready<'_> {
    let token = world.refresh_token(&world.confidential);
    Box::new(move || {
        let done = in_place(pin!(
            world.server.revoke_token(&world.confidential.presented, black_box(&token))
        ));
        assert!(done.is_ok(), "{done:?}");
    })
}

fn bearer(world: &World) -> Ready<'_> {
    let token = world.tokens(&world.confidential).access_token;
    Box::new(move || {
        let found =
            in_place(pin!(world.server.check_bearer(black_box(token.expose()), &world.scope)));
        assert!(black_box(&found).is_ok(), "{found:?}");
    })
}
