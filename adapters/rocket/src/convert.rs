//! Between the types of Rocket and those of the `http` crate.

use std::io::Cursor;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::Full;
use rocket::http::Status;
use rocket::{Request, Response};

pub(crate) fn request(
    request: &Request<'_>,
    body: Vec<u8>,
) -> Result<http::Request<Full<Bytes>>, http::Error> {
    let mut converted = http::Request::new(Full::from(body));
    *converted.method_mut() = method(request)?;
    (*converted.headers_mut(), *converted.uri_mut()) = head(request)?;
    Ok(converted)
}

pub(crate) fn method(request: &Request<'_>) -> Result<Method, http::Error> {
    Ok(Method::from_bytes(request.method().as_str().as_bytes())?)
}

/// What a guard looks at.
pub(crate) fn head(request: &Request<'_>) -> Result<(HeaderMap, Uri), http::Error> {
    let mut headers = HeaderMap::new();
    for header in request.headers().iter() {
        let name = HeaderName::from_bytes(header.name().as_str().as_bytes())?;
        headers.append(name, HeaderValue::from_bytes(header.value().as_bytes())?);
    }
    Ok((headers, request.uri().to_string().parse()?))
}

/// Whether a body has fewer bytes than were announced. Where not even the first few arrived, Rocket takes
/// the end of the connection for that of the body.
pub(crate) fn is_cut_off(request: &Request<'_>, body: &[u8]) -> bool {
    let announced = request.headers().get_one("content-length");
    announced
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: usize| body.len() < length)
}

pub(crate) fn response(response: http::Response<Bytes>) -> Response<'static> {
    let (parts, body) = response.into_parts();
    let mut converted = Response::build();
    converted.status(Status::new(parts.status.as_u16()));
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        converted.raw_header_adjoin(name.as_str().to_owned(), value);
    }
    converted.sized_body(body.len(), Cursor::new(body)).finalize()
}
