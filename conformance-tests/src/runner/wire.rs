//! HTTP: one request out, one answer in, with a bound on everything.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::secrets::Secrets;

/// An answer longer than this is cut off with an error: no endpoint of OAuth needs it.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// How often a request is sent again after the server has asked for patience.
const RETRIES: usize = 2;

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    patient: bool,
}

impl Call {
    pub(crate) fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            patient: true,
        }
    }

    pub(crate) fn get(url: impl Into<String>) -> Self {
        Self::new(Method::GET, url)
    }

    /// A form, sent with POST.
    pub(crate) fn form(url: impl Into<String>, form: &[(String, String)]) -> Self {
        Self::new(Method::POST, url).typed(FORM, encode(form))
    }

    /// With a body of this media type.
    #[must_use]
    pub(crate) fn typed(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE, media_type)
    }

    /// With one more header. A value that no header can have is left out.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            self.headers.append(name, value);
        }
        self
    }

    /// For checks of how a server slows its callers down: the answer is returned as it comes, also if
    /// it asks for patience.
    #[must_use]
    pub(crate) fn impatient(mut self) -> Self {
        self.patient = false;
        self
    }
}

/// `application/x-www-form-urlencoded`.
pub(crate) fn encode(form: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) url: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A member of the JSON object that is text.
    pub(crate) fn member(&self, name: &str) -> Option<String> {
        Some(self.json().get(name)?.as_str()?.to_owned())
    }

    /// All values of a header in one line, empty if there is none.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> String {
        let values = self.headers.get_all(name);
        let values: Vec<String> =
            values.iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into()).collect();
        values.join(", ")
    }

    /// The media type in lower case, without parameters.
    pub(crate) fn media_type(&self) -> String {
        let value = self.header(header::CONTENT_TYPE).to_ascii_lowercase();
        value.split(';').next().unwrap_or_default().trim().to_owned()
    }

    pub(crate) fn is_html(&self) -> bool {
        ["text/html", "application/xhtml+xml"].contains(&self.media_type().as_str())
    }

    /// Where a redirect leads, resolved against the address of the request.
    pub(crate) fn location(&self) -> Option<String> {
        if !self.status.is_redirection() {
            return None;
        }
        let value = self.headers.get(header::LOCATION)?;
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if value.starts_with(['/', '?', '.']) {
            let base = url::Url::parse(&self.url).ok()?;
            return Some(base.join(&value).map_or(value, String::from));
        }
        Some(value)
    }

    /// How long the server asks its caller to wait, if it does.
    fn asks_for_patience(&self) -> Option<Duration> {
        let after = self.header(header::RETRY_AFTER).parse().map(Duration::from_secs).ok();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => Some(after.unwrap_or(Duration::from_secs(5))),
            StatusCode::SERVICE_UNAVAILABLE => after,
            _ => None,
        }
    }

    /// Whether the server refused for the number of requests rather than for what is in this one.
    pub(crate) fn is_slowed_down(&self) -> bool {
        self.asks_for_patience().is_some()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WireError {
    /// The address cannot be requested.
    #[error("{url} is not an address that can be requested: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answered in time.
    #[error("no answer from {url} within {}", humantime::format_duration(*timeout))]
    Timeout {
        /// Who was asked.
        url: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The connection could not be made, or broke.
    #[error("{url}: {reason}")]
    Broken {
        /// Who was asked.
        url: String,
        /// What happened.
        reason: String,
    },
}

/// Why no request can be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file with certificates cannot be read.
    #[error("{}: {reason}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The protocol versions cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// The client through which every request of a run goes.
#[derive(Debug)]
pub(crate) struct Wire {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    patience: Duration,
    pace: Option<Pace>,
    sent: AtomicU64,
    pub(crate) secrets: Secrets,
}

#[derive(Debug)]
struct Pace {
    between: Duration,
    next: Mutex<Instant>,
}

/// How a [`Wire`] behaves.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// For one answer.
    pub(crate) timeout: Duration,
    /// How long a server may ask to be left alone before its request counts as refused.
    pub(crate) patience: Duration,
    /// Requests a second; `None`: as fast as the server answers.
    pub(crate) rate: Option<f64>,
    /// A certificate authority to trust besides those of the system.
    pub(crate) authority: Option<PathBuf>,
}

impl Wire {
    pub(crate) fn new(manners: &Manners) -> Result<Arc<Self>, TlsError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(manners.timeout));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls(manners.authority.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let between = manners.rate.filter(|rate| rate.is_finite() && *rate > 0.0);
        Ok(Arc::new(Self {
            client: Client::builder(TokioExecutor::new())
                .pool_idle_timeout(Duration::from_secs(5))
                .build(connector),
            timeout: manners.timeout,
            patience: manners.patience,
            pace: between.map(|rate| Pace {
                between: Duration::from_secs_f64(1.0 / rate),
                next: Mutex::new(Instant::now()),
            }),
            sent: AtomicU64::new(0),
            secrets: Secrets::default(),
        }))
    }

    /// How many requests were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends a request and reads the whole answer. A server that asks for patience is given it, within
    /// the bounds of the run.
    pub(crate) async fn send(&self, call: &Call) -> Result<Reply, WireError> {
        let mut reply = self.send_once(call).await?;
        for _ in 0..RETRIES {
            match reply.asks_for_patience() {
                Some(wait) if call.patient && wait <= self.patience => {
                    tokio::time::sleep(wait).await;
                    reply = self.send_once(call).await?;
                }
                _ => break,
            }
        }
        Ok(reply)
    }

    async fn send_once(&self, call: &Call) -> Result<Reply, WireError> {
        self.keep_pace().await;
        self.sent.fetch_add(1, Ordering::Relaxed);
        let address =
            |reason: String| WireError::Address { url: self.secrets.url(&call.url), reason };
        let uri: Uri =
            call.url.parse().map_err(|e: http::uri::InvalidUri| address(e.to_string()))?;
        let mut request = Request::builder().method(call.method.clone()).uri(uri);
        if let Some(headers) = request.headers_mut() {
            *headers = call.headers.clone();
            let agent = concat!("grantor-conformance/", env!("CARGO_PKG_VERSION"));
            headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(agent));
            headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        }
        let request =
            request.body(Full::new(call.body.clone())).map_err(|e| address(e.to_string()))?;
        let broken =
            |reason: String| WireError::Broken { url: self.secrets.url(&call.url), reason };
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| broken(chain(&e)))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|e| broken(e.to_string()))?.to_bytes();
            Ok(Reply { url: call.url.clone(), status: parts.status, headers: parts.headers, body })
        };
        let reply = tokio::time::timeout(self.timeout, exchange).await.map_err(|_| {
            WireError::Timeout { url: self.secrets.url(&call.url), timeout: self.timeout }
        })??;
        self.secrets.learn_from_json(&reply.json());
        if let Some(location) = reply.location() {
            self.secrets.learn_from_location(&location);
        }
        for line in reply.headers.get_all(header::SET_COOKIE) {
            let line = String::from_utf8_lossy(line.as_bytes()).into_owned();
            let pair = line.split(';').next().unwrap_or_default();
            if let Some((_, value)) = pair.split_once('=') {
                self.secrets.learn("cookie", value);
            }
        }
        Ok(reply)
    }

    async fn keep_pace(&self) {
        let Some(pace) = &self.pace else { return };
        let mut next = pace.next.lock().await;
        let at = (*next).max(Instant::now());
        *next = at + pace.between;
        drop(next);
        tokio::time::sleep_until(at).await;
    }
}

/// An error with what caused it: the outermost alone says "client error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn tls(authority: Option<&Path>) -> Result<rustls::ClientConfig, TlsError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = authority {
        let wrong = |reason: String| TlsError::Authority { path: path.to_owned(), reason };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))?;
        let mut found = false;
        for certificate in certificates {
            let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
            roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
            found = true;
        }
        if !found {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
