//! The whole server, from request to response.

use std::hint::black_box;
use std::pin::pin;

use bytes::Bytes;
use grantor::model::Authentication;
use http::{Method, Request, Response, StatusCode, header};

use crate::world::{CALLBACK, CHALLENGE, Party, SCOPE, VERIFIER, World, in_place};
use crate::{Case, Ready};

pub(crate) const CASES: [Case; 11] = [
    Case { name: "wire/authorize", prepare: authorize },
    Case { name: "wire/client_credentials", prepare: client_credentials },
    Case { name: "wire/code", prepare: |world| code(world, &world.confidential) },
    Case { name: "wire/code_public", prepare: |world| code(world, &world.public) },
    Case { name: "wire/refresh", prepare: refresh },
    Case { name: "wire/reuse", prepare: reuse },
    Case { name: "wire/introspect", prepare: |world| introspect(world, &world.confidential) },
    Case { name: "wire/introspect_by_api", prepare: |world| introspect(world, &world.api) },
    Case { name: "wire/revoke", prepare: revoke },
    Case { name: "wire/revoke_access", prepare: revoke_access },
    Case { name: "wire/bearer", prepare: bearer },
];

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A form, as a client sends it: with Basic, or with its name.
fn post(path: &str, party: &Party, pairs: &[(&str, &str)]) -> Request<Bytes> {
    let mut pairs = pairs.to_vec();
    if party.basic.is_none() {
        pairs.push(("client_id", &party.presented.client_id));
    }
    let body = form(&pairs);
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, "as.example")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::CONTENT_LENGTH, body.len());
    if let Some(basic) = &party.basic {
        request = request.header(header::AUTHORIZATION, basic);
    }
    request.body(Bytes::from(body)).expect("a request")
}

fn handle(
    world: &World,
    request: Request<Bytes>,
    right: impl FnOnce(&Response<Bytes>) -> bool + 'static,
) -> Ready<'_> {
    Box::new(move || {
        let answer = in_place(pin!(world.server.handle(black_box(request))));
        assert!(right(black_box(&answer)), "{answer:?}");
    })
}

fn begins(answer: &Response<Bytes>, status: StatusCode, body: &[u8]) -> bool {
    answer.status() == status && answer.body().starts_with(body)
}

fn has_token(answer: &Response<Bytes>) -> bool {
    begins(answer, StatusCode::OK, b"{\"access_token\":\"gra_")
}

fn authorize(world: &World) -> Ready<'_> {
    let query = form(&[
        ("client_id", &world.confidential.presented.client_id),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", SCOPE),
        ("state", "af0ifjsldkj"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let user: Authentication = world.somebody();
    let request = Request::builder()
        .uri(format!("/authorize?{query}"))
        .header(header::HOST, "as.example")
        .header(header::COOKIE, "user=u0")
        .extension(user)
        .body(Bytes::new())
        .expect("a request");
    handle(world, request, |answer| {
        let location = answer.headers().get(header::LOCATION);
        location.is_some_and(|to| to.as_bytes().starts_with(b"https://client.example/cb?code=grc_"))
    })
}

fn client_credentials(world: &World) -> Ready<'_> {
    let pairs = [("grant_type", "client_credentials"), ("scope", SCOPE)];
    handle(world, post("/token", &world.confidential, &pairs), has_token)
}

fn code<'w>(world: &'w World, party: &'w Party) -> Ready<'w> {
    let code = world.code(party);
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    handle(world, post("/token", party, &pairs), has_token)
}

fn renewal(world: &World, refresh_token: &str) -> Request<Bytes> {
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    post("/token", &world.confidential, &pairs)
}

fn refresh(world: &World) -> Ready<'_> {
    let token = world.refresh_token(&world.confidential);
    handle(world, renewal(world, &token), has_token)
}

fn reuse(world: &World) -> Ready<'_> {
    let token = world.stolen_refresh_token(&world.confidential);
    handle(world, renewal(world, &token), |answer| {
        begins(answer, StatusCode::BAD_REQUEST, b"{\"error\":\"invalid_grant\"")
    })
}

fn introspect<'w>(world: &'w World, caller: &'w Party) -> Ready<'w> {
    let tokens = world.tokens(&world.confidential);
    let request = post("/introspect", caller, &[("token", tokens.access_token.expose())]);
    handle(world, request, |answer| begins(answer, StatusCode::OK, b"{\"active\":true,"))
}

fn revoke(world: &World) -> Ready<'_> {
    let token = world.refresh_token(&world.confidential);
    let request = post("/revoke", &world.confidential, &[("token", &token)]);
    handle(world, request, |answer| answer.status() == StatusCode::OK)
}

fn revoke_access(world: &World) -> Ready<'_> {
    let tokens = world.tokens(&world.confidential);
    let pairs = [("token", tokens.access_token.expose())];
    let request = post("/revoke", &world.confidential, &pairs);
    handle(world, request, |answer| answer.status() == StatusCode::OK)
}

fn bearer(world: &World) -> Ready<'_> {
    let tokens = world.tokens(&world.confidential);
    let (parts, ()) = Request::builder()
        .uri("/resource")
        .header(header::HOST, "api.example")
        .header(header::AUTHORIZATION, format!("Bearer {}", tokens.access_token.expose()))
        .body(())
        .expect("a request")
        .into_parts();
    Box::new(move || {
        let parts = black_box(parts);
        let found = in_place(pin!(world.guard.check(&parts.headers, &parts.uri, &world.scope)));
        assert!(black_box(&found).is_ok(), "{found:?}");
    })
}
