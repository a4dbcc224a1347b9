//! One POST, and a bound on what comes back.

use std::io;

use bytes::Bytes;
use grantor::resource::TokenError;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

/// An answer of introspection is a few hundred bytes.
const MAX_ANSWER_LEN: usize = 64 * 1024;

/// An answer, read to its end.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

pub(crate) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Transport {
    pub(crate) fn new() -> io::Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()?
            // Whether the address may be a plain one was decided when the endpoint was read.
            .https_or_http()
            .enable_http1()
            .build();
        let mut builder = Client::builder(TokioExecutor::new());
        // Without a timer idle connections would be kept for ever.
        builder.pool_timer(TokioTimer::new());
        Ok(Self { client: builder.build(connector) })
    }

    /// Posts a form. Redirects are not followed: the credentials are for this address.
    pub(crate) async fn post(
        &self,
        endpoint: &Url,
        authorization: &HeaderValue,
        form: String,
    ) -> Result<Reply, TokenError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(endpoint.as_str())
            .header(header::AUTHORIZATION, authorization)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from(form)))
            .map_err(TokenError::unavailable)?;
        let response = self.client.request(request).await.map_err(told)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_LEN).collect().await;
        let body = body.map_err(TokenError::unavailable)?.to_bytes();
        Ok(Reply { status, body })
    }
}

/// The error with its causes: its own text says no more than that there was one.
fn told(error: hyper_util::client::legacy::Error) -> TokenError {
    let mut text = format!("introspection: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    TokenError::unavailable(text)
}
