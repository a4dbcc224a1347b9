//! A gateway: a request over HTTP becomes an event as text, and the text that the function answers with
//! becomes a response.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use grantor_conformance::adapter::Site;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Context, LambdaEvent, Service as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the gateway itself refuses. That of API Gateway is ten megabytes.
const MAX_PAYLOAD: usize = 256 * 1024;

/// The form of the events.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gateway {
    /// HTTP API, payload format 2.0.
    Http,
    /// REST API, payload format 1.0.
    Rest,
}

#[tokio::main]
pub(crate) async fn serve(site: Site, gateway: Gateway) {
    let listener = TcpListener::bind(site.address).await.expect("the address is free");
    loop {
        let (stream, peer) = listener.accept().await.expect("a connection");
        let site = site.clone();
        let answer = service_fn(move |request| answer(site.clone(), gateway, peer, request));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new());
        tokio::spawn(http.serve_connection(TokioIo::new(stream), answer));
    }
}

async fn answer(
    site: Site,
    gateway: Gateway,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, MAX_PAYLOAD).collect().await {
        Ok(body) => body,
        Err(error) => {
            let mut refused = Response::new(Full::default());
            *refused.status_mut() = match error.is::<LengthLimitError>() {
                true => StatusCode::PAYLOAD_TOO_LARGE,
                false => StatusCode::BAD_REQUEST,
            };
            return Ok(refused);
        }
    };
    let event = match gateway {
        Gateway::Http => http_api(&parts, peer, &body.to_bytes()),
        Gateway::Rest => rest_api(&parts, peer, &body.to_bytes()),
    };
    // An invocation goes on whether or not the gateway still has its client.
    let invoked = tokio::spawn(invoke(site, event.to_string())).await;
    Ok(response(&invoked.expect("the function does not panic")))
}

/// One invocation of the function: text in, text out.
async fn invoke(site: Site, event: String) -> Value {
    let request: LambdaRequest = serde_json::from_str(&event).expect("an event");
    let function = lambda_http::service_fn(move |request| crate::function(site.clone(), request));
    let answer = Adapter::from(function).call(LambdaEvent::new(request, Context::default())).await;
    let Ok(answer) = answer;
    serde_json::to_value(answer).expect("JSON")
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>:
/// headers of one name are joined by commas, cookies are apart.
fn http_api(parts: &Parts, peer: SocketAddr, body: &Bytes) -> Value {
    let mut headers = BTreeMap::<&str, String>::new();
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != header::COOKIE) {
        let line = headers.entry(name.as_str()).or_default();
        let comma = if line.is_empty() { "" } else { "," };
        line.push_str(&format!("{comma}{}", text(value)));
    }
    let cookies = parts.headers.get_all(header::COOKIE).iter().map(text);
    let cookies = cookies.flat_map(|line| line.split("; ").map(str::to_owned).collect::<Vec<_>>());
    let path = parts.uri.path();
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "cookies": cookies.collect::<Vec<_>>(),
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": headers.get("host"),
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip(),
                "userAgent": headers.get("user-agent"),
            },
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "21/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_262_400_000_u64,
        },
        "body": STANDARD.encode(body),
        "isBase64Encoded": true,
    })
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html>: the query in pieces that are
/// decoded.
fn rest_api(parts: &Parts, peer: SocketAddr, body: &Bytes) -> Value {
    let mut headers = BTreeMap::<&str, Vec<String>>::new();
    for (name, value) in &parts.headers {
        headers.entry(name.as_str()).or_default().push(text(value));
    }
    let mut query = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        query.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    json!({
        "resource": "/{proxy+}",
        "path": parts.uri.path(),
        "httpMethod": parts.method.as_str(),
        "headers": {},
        "multiValueHeaders": headers,
        "queryStringParameters": {},
        "multiValueQueryStringParameters": query,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "httpMethod": parts.method.as_str(),
            "identity": { "sourceIp": peer.ip() },
            "path": parts.uri.path(),
            "requestId": "id",
            "resourceId": "resource",
            "resourcePath": "/{proxy+}",
            "stage": "$default",
        },
        "body": STANDARD.encode(body),
        "isBase64Encoded": true,
    })
}

/// What the gateway makes of an answer.
fn response(answer: &Value) -> Response<Full<Bytes>> {
    let body = answer["body"].as_str().unwrap_or_default();
    let body = match answer["isBase64Encoded"].as_bool() {
        Some(true) => STANDARD.decode(body).expect("base64"),
        _ => body.as_bytes().to_vec(),
    };
    let mut response = Response::new(Full::from(body));
    let status = answer["statusCode"].as_u64().and_then(|code| u16::try_from(code).ok());
    *response.status_mut() =
        StatusCode::from_u16(status.expect("a status")).expect("a status of HTTP");
    let headers = response.headers_mut();
    for member in ["headers", "multiValueHeaders"] {
        for (name, value) in answer[member].as_object().into_iter().flatten() {
            append(headers, name, value);
        }
    }
    append(headers, "set-cookie", &answer["cookies"]);
    response
}

/// One value, or several.
fn append(headers: &mut HeaderMap, name: &str, value: &Value) {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
    let several = value.as_array().map_or_else(|| vec![value], |values| values.iter().collect());
    for value in several.into_iter().filter_map(Value::as_str) {
        headers.append(&name, HeaderValue::from_str(value).expect("a value"));
    }
}
