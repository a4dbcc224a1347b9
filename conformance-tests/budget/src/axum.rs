//! The server as a router of axum, from the request that hyper has read to the response that it writes.

use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::pin;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::routing::get;
use grantor::AuthorizationServer;
use grantor::model::{Authentication, Subject};
use grantor::resource::{Guard, RequiredScope};
use grantor_axum::Bearer;
use http::{HeaderMap, header};
use tower_service::Service as _;

use crate::requests::{self, Asked};
use crate::world::{SCOPE, World, in_place, now};
use crate::{Case, Ready};

pub(crate) const CASES: [Case; 8] = [
    Case { name: "axum/authorize", prepare: |w| serve(w, requests::authorize(w)) },
    Case {
        name: "axum/client_credentials",
        prepare: |w| serve(w, requests::client_credentials(w)),
    },
    Case { name: "axum/code", prepare: |w| serve(w, requests::code(w, &w.confidential)) },
    Case { name: "axum/refresh", prepare: |w| serve(w, requests::refresh(w)) },
    Case { name: "axum/reuse", prepare: |w| serve(w, requests::reuse(w)) },
    Case {
        name: "axum/introspect",
        prepare: |w| serve(w, requests::introspect(w, &w.confidential)),
    },
    Case { name: "axum/revoke", prepare: |w| serve(w, requests::revoke(w)) },
    Case { name: "axum/bearer", prepare: |w| serve(w, requests::bearer(w)) },
];

struct Read;

impl RequiredScope for Read {
    const SCOPE: &'static str = SCOPE;
}

/// As a host embeds it: it knows from a cookie who is signed in, and has a resource to protect.
pub(crate) fn router(server: &AuthorizationServer) -> Router {
    let auth_time = server.now();
    let who = move |headers: HeaderMap| {
        let cookie = headers.get(header::COOKIE).and_then(|cookie| cookie.to_str().ok());
        let user = cookie.and_then(|cookie| Subject::parse(cookie.strip_prefix("user=")?).ok());
        let user = user.map(|subject| Authentication { subject, auth_time });
        std::future::ready(Ok::<_, std::convert::Infallible>(user))
    };
    let resource =
        get(|Bearer(token, _): Bearer<Read>| async move { format!("{:?}", token.subject) });
    let resource = Router::new().route("/resource", resource).with_state(Guard::from(server));
    let browser = grantor_axum::router_with(server.clone(), who);
    Router::new().merge(resource).merge(browser)
}

fn serve(world: &World, asked: Asked) -> Ready<'_> {
    let Asked { request, right } = asked;
    let mut request = request.map(Body::from);
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 40_000))));
    Box::new(move || {
        let _entered = world.runtime.enter();
        // One for each request, as hyper does.
        let mut router = world.router.clone();
        let Ok(answer) = in_place(pin!(router.call(black_box(request))));
        let (head, body) = answer.into_parts();
        let body = now(to_bytes(body, usize::MAX)).expect("a body");
        let answer = http::Response::from_parts(head, body);
        assert!(right(black_box(&answer)), "{answer:?}");
    })
}
