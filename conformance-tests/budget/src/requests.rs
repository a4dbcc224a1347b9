//! The requests of clients, browsers and resource servers, as HTTP.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};

use crate::world::{CALLBACK, CHALLENGE, Party, SCOPE, VERIFIER, World};

/// A request, and whether an answer to it is right.
pub(crate) struct Asked {
    pub(crate) request: Request<Bytes>,
    pub(crate) right: fn(&Response<Bytes>) -> bool,
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A form, as a client sends it: with Basic, or with its name.
fn post(
    path: &str,
    party: &Party,
    pairs: &[(&str, &str)],
    right: fn(&Response<Bytes>) -> bool,
) -> Asked {
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
    Asked { request: request.body(Bytes::from(body)).expect("a request"), right }
}

fn begins(answer: &Response<Bytes>, status: StatusCode, body: &[u8]) -> bool {
    answer.status() == status && answer.body().starts_with(body)
}

fn has_token(answer: &Response<Bytes>) -> bool {
    begins(answer, StatusCode::OK, b"{\"access_token\":\"gra_")
}

fn is_ok(answer: &Response<Bytes>) -> bool {
    answer.status() == StatusCode::OK
}

pub(crate) fn authorize(world: &World) -> Asked {
    let query = form(&[
        ("client_id", &world.confidential.presented.client_id),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", SCOPE),
        ("state", "af0ifjsldkj"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let user = world.somebody();
    let request = Request::builder()
        .uri(format!("/authorize?{query}"))
        .header(header::HOST, "as.example")
        .header(header::COOKIE, format!("user={}", user.subject))
        .extension(user)
        .body(Bytes::new())
        .expect("a request");
    let right = |answer: &Response<Bytes>| {
        let location = answer.headers().get(header::LOCATION);
        location.is_some_and(|to| to.as_bytes().starts_with(b"https://client.example/cb?code=grc_"))
    };
    Asked { request, right }
}

pub(crate) fn client_credentials(world: &World) -> Asked {
    let pairs = [("grant_type", "client_credentials"), ("scope", SCOPE)];
    post("/token", &world.confidential, &pairs, has_token)
}

pub(crate) fn code(world: &World, party: &Party) -> Asked {
    let code = world.code(party);
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    post("/token", party, &pairs, has_token)
}

fn renewal(world: &World, refresh_token: &str, right: fn(&Response<Bytes>) -> bool) -> Asked {
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    post("/token", &world.confidential, &pairs, right)
}

pub(crate) fn refresh(world: &World) -> Asked {
    renewal(world, &world.refresh_token(&world.confidential), has_token)
}

pub(crate) fn reuse(world: &World) -> Asked {
    renewal(world, &world.stolen_refresh_token(&world.confidential), |answer| {
        begins(answer, StatusCode::BAD_REQUEST, b"{\"error\":\"invalid_grant\"")
    })
}

pub(crate) fn introspect(world: &World, caller: &Party) -> Asked {
    let tokens = world.tokens(&world.confidential);
    post("/introspect", caller, &[("token", tokens.access_token.expose())], |answer| {
        begins(answer, StatusCode::OK, b"{\"active\":true,")
    })
}

pub(crate) fn revoke(world: &World) -> Asked {
    let token = world.refresh_token(&world.confidential);
    post("/revoke", &world.confidential, &[("token", &token)], is_ok)
}

pub(crate) fn revoke_access(world: &World) -> Asked {
    let tokens = world.tokens(&world.confidential);
    let pairs = [("token", tokens.access_token.expose())];
    post("/revoke", &world.confidential, &pairs, is_ok)
}

/// A request for a protected resource.
pub(crate) fn bearer(world: &World) -> Asked {
    let tokens = world.tokens(&world.confidential);
    let request = Request::builder()
        .uri("/resource")
        .header(header::HOST, "api.example")
        .header(header::AUTHORIZATION, format!("Bearer {}", tokens.access_token.expose()))
        .body(Bytes::new())
        .expect("a request");
    Asked { request, right: is_ok }
}
