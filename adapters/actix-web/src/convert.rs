//! Between the `http` crate of actix-web, which is an older one, and ours.

use actix_web::dev::RequestHead;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body::{Body, Frame};
use http_body_util::StreamBody;

/// A request with its body still to be read.
pub(crate) fn request(
    request: &HttpRequest,
    body: Payload,
) -> Result<Request<impl Body<Data = Bytes, Error = PayloadError> + use<>>, http::Error> {
    let mut converted = Request::new(StreamBody::new(body.map_ok(Frame::data)));
    *converted.method_mut() = method(request)?;
    (*converted.headers_mut(), *converted.uri_mut()) = head(request.head())?;
    Ok(converted)
}

pub(crate) fn method(request: &HttpRequest) -> Result<Method, http::Error> {
    Ok(Method::from_bytes(request.method().as_str().as_bytes())?)
}

/// What a guard looks at.
pub(crate) fn head(head: &RequestHead) -> Result<(HeaderMap, Uri), http::Error> {
    let mut headers = HeaderMap::with_capacity(head.headers().len());
    for (name, value) in head.headers() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes())?;
        headers.append(name, HeaderValue::from_bytes(value.as_bytes())?);
    }
    Ok((headers, head.uri.to_string().parse()?))
}

pub(crate) fn response(response: Response<Bytes>) -> HttpResponse {
    let (parts, body) = response.into_parts();
    let status = StatusCode::from_u16(parts.status.as_u16());
    let mut converted = HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in &parts.headers {
        converted.append_header((name.as_str(), value.as_bytes()));
    }
    converted.body(body)
}
