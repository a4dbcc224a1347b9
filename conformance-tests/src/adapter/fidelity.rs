//! What arrives is what the server answered, and what the server was asked is what was sent.

use bytes::Bytes;
use grantor::AuthorizationServer;
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Request, Response};

use super::exchange::Visitor;
use super::stage::{Stage, on_stage, on_stage_of};
use super::{READ, Serve, WRITE};
use crate::runner::probe::Form;
use crate::runner::wire::{Call, FORM, Reply};

/// Headers that belong to the connection, or that a framework adds to every answer.
const OF_THE_TRANSPORT: [HeaderName; 5] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::DATE,
    header::SERVER,
    header::TRANSFER_ENCODING,
];

/// A framework may add headers of its own, but none of these.
const OF_THE_SERVER: [HeaderName; 9] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_TYPE,
    header::LOCATION,
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
];

/// A table of requests, each asked over the connection and in this process.
pub fn answers_are_those_of_the_server(serve: Serve) {
    // Requirements 6749-014, 6749-032; ATTACKS J01, J02: what is repeated, empty or no text arrives as it was sent.
    on_stage(serve, async |stage| {
        let visitor = Visitor::of(stage);
        for call in table(stage) {
            compare(stage, &visitor, &call).await;
        }
        // The page for a browser that is known differs in nothing, with its cookies in two lines.
        let apps = stage.url("/apps");
        let mut browser = visitor.browser();
        visitor.browse(&mut browser, Call::get(&apps)).await;
        let known = browser.with_cookies(Call::get(&apps));
        let cookie = known.headers.get(header::COOKIE).expect("a cookie").clone();
        let mut twice = Call::get(&apps).header(header::COOKIE, "one=1; two=2");
        twice.headers.append(header::COOKIE, cookie);
        let page = compare(stage, &visitor, &twice).await;
        assert!(!page.headers.contains_key(header::SET_COOKIE), "the cookie got lost: {page:?}");
    });
}

/// What was sent in two lines is not read as one, nor is one of them taken for all.
pub fn repeated_headers_stay_repeated(serve: Serve) {
    // Requirements 6749-004, 6750-001; ATTACKS J01.
    on_stage(serve, async |stage| {
        let visitor = Visitor::of(stage);
        let token = Call::form(stage.url("/token"), &Form::new(&[("grant_type", "x")]).0)
            .header(header::AUTHORIZATION, "Basic bm9ib2R5Og==")
            .header(header::AUTHORIZATION, "Basic b3RoZXI6");
        compare(stage, &visitor, &token).await;
        for (method, scope) in [(Method::GET, READ), (Method::POST, WRITE)] {
            let events = Call::new(method, stage.url("/events"))
                .header(header::AUTHORIZATION, "Bearer nothing")
                .header(header::AUTHORIZATION, "Bearer other");
            super::guards::refused(stage, &visitor, &events, scope).await;
        }
    });
}

/// The paths follow from the issuer, whatever is in it.
pub fn issuers_with_a_path_are_served(serve: Serve) {
    // Requirement 8414-008.
    for path in ["/tenants/one", "/a%20b/%ED%95%9C%EA%B8%80", "/%7Bid%7D/:id/*rest", "/<id>/$x(y)"]
    {
        // Not every path is one of an issuer; what a browser would write differently is none.
        if format!("http://127.0.0.1{path}").parse::<grantor::model::Issuer>().is_err() {
            continue;
        }
        on_stage_of(
            serve,
            path,
            |builder| builder,
            async |stage| {
                let visitor = Visitor::of(stage);
                let issuer = stage.site.server.issuer();
                let metadata = Call::get(stage.url(&issuer.metadata_path()));
                let reply = compare(stage, &visitor, &metadata).await;
                assert_eq!(reply.status, 200, "{path}");
                let token = Call::new(Method::POST, issuer.endpoint("/token"));
                let reply = compare(stage, &visitor, &token).await;
                assert_ne!(reply.status, 404, "{path}");
                assert_eq!(visitor.get("/token").await.status, 404, "{path}");
            },
        );
    }
}

fn table(stage: &Stage) -> Vec<Call> {
    let issuer = stage.site.server.issuer();
    let at = |method: Method, path: &str| Call::new(method, stage.url(path));
    let form = |path: &str, body: &str| {
        at(Method::POST, path).typed(FORM, Bytes::copy_from_slice(body.as_bytes()))
    };
    let metadata = issuer.metadata_path();
    let preflight = |path: &str| {
        at(Method::OPTIONS, path)
            .header(header::ORIGIN, "https://app.example")
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
    };
    let credentials = "grant_type=client_credentials&client_id=nobody&client_secret=nothing";
    let full = filled(credentials, grantor::wire::MAX_BODY_LEN);
    let mut calls = vec![
        at(Method::GET, "/style.css"),
        at(Method::HEAD, "/style.css"),
        at(Method::GET, "/style.css?signed-out"),
        preflight("/token"),
        preflight(&metadata),
        preflight("/authorize"),
        // Requests that name nobody, and what is said to a person in two languages.
        at(Method::GET, "/authorize"),
        at(Method::GET, "/authorize").header(header::ACCEPT_LANGUAGE, "ko"),
        at(Method::GET, "/authorize?client_id=%FF&state=%zz&&=&scope=a%20b+c"),
        at(Method::GET, "/authorize?client_id=a&client_id=b"),
        form("/authorize", "client_id=%00&response_type=code"),
        at(Method::GET, "/interaction"),
        at(Method::GET, "/interaction?interaction=gri_nothing"),
        form("/interaction/login", "interaction=gri_nothing&username=a&password=b"),
        form("/interaction/consent", ""),
        form("/apps/logout", "form_token=x"),
        // Bodies of every kind.
        at(Method::POST, "/token"),
        form("/token", ""),
        form("/token", credentials),
        form("/token", &full),
        form("/token", &format!("{full}x")),
        form("/token", "grant_type=%"),
        at(Method::POST, "/token").typed(FORM, Bytes::from_static(b"grant_type=\xff\x00&\r\n")),
        at(Method::POST, "/token").typed("application/json", "{\"grant_type\":\"password\"}"),
        at(Method::POST, "/token").typed("multipart/form-data; boundary=x", "--x--"),
        form("/revoke", credentials),
        form("/introspect", "token=x"),
        // Credentials of every kind.
        form("/introspect", "token=x").header(header::AUTHORIZATION, "Basic bm9ib2R5Og=="),
        form("/introspect", "token=x").header(header::AUTHORIZATION, "Bearer x"),
    ];
    let paths = [&*metadata, "/authorize", "/token", "/revoke", "/introspect", "/interaction"];
    for path in paths.into_iter().chain(["/apps", "/style.css", "/interaction/consent"]) {
        for method in [Method::HEAD, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE] {
            calls.push(at(method, path));
        }
    }
    calls.extend([at(Method::GET, "/token"), at(Method::GET, &metadata), form(&metadata, "")]);
    calls
}

/// A form of exactly so many bytes.
fn filled(form: &str, length: usize) -> String {
    let mut text = format!("{form}&filler=");
    while text.len() < length {
        text.push('x');
    }
    text
}

async fn compare(stage: &Stage, visitor: &Visitor<'_>, call: &Call) -> Reply {
    let reply = visitor.send(call.clone()).await;
    let direct = directly(&stage.site.server, call).await;
    same(call, &reply, &direct);
    reply
}

/// Asks the server without anything in between.
async fn directly(server: &AuthorizationServer, call: &Call) -> Response<Bytes> {
    server.handle(request_of(call)).await
}

/// The request that a call is, as an adapter should hand it over.
pub(super) fn request_of(call: &Call) -> Request<Bytes> {
    let mut request = Request::new(call.body.clone());
    *request.method_mut() = call.method.clone();
    let url = url::Url::parse(&call.url).expect("an address");
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    *request.uri_mut() = format!("{}{query}", url.path()).parse().expect("a target");
    *request.headers_mut() = call.headers.clone();
    request
}

/// Fails unless an answer arrived as it was given.
#[track_caller]
pub(super) fn same(call: &Call, reply: &Reply, direct: &Response<Bytes>) {
    let what = format!(
        "{} {}\nasked: {call:?}\ngot: {reply:?}\nshould: {direct:?}",
        call.method, call.url
    );
    assert_eq!(reply.status, direct.status(), "status of {what}");
    assert_eq!(&reply.body, direct.body(), "body of {what}");
    let values = |headers: &HeaderMap, name: &HeaderName| -> Vec<Vec<u8>> {
        headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
    };
    let of_the_transport = |name: &HeaderName| OF_THE_TRANSPORT.contains(name);
    for name in direct.headers().keys().filter(|name| !of_the_transport(name)) {
        let (is, should) = (values(&reply.headers, name), values(direct.headers(), name));
        assert_eq!(is, should, "{name} of {what}");
    }
    for name in reply.headers.keys().filter(|name| OF_THE_SERVER.contains(name)) {
        assert!(direct.headers().contains_key(name), "{name} was added to {what}");
    }
}
