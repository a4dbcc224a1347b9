//! A good server of ours over real connections, behind a front that can spoil requests and answers.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use grantor::model::{Account, Policy, ScopeDefinition, ScopeSet, Subject};
use grantor::resource::Guard;
use grantor::storage::MemoryStorage;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_conformance::runner::config::Config;
use grantor_conformance::runner::ours::furnish;
use grantor_conformance::runner::{Options, Report, RunError, Secret, run};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::spoil::{Answered, Asked, Spoil};

pub(crate) const PASSWORD: &str = "correct horse battery";

#[derive(Debug)]
struct Users;

#[async_trait]
impl Authenticator for Users {
    async fn verify(&self, credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
        let right = credentials.username == "alice" && credentials.password.expose() == PASSWORD;
        Ok(if right { Verdict::Verified(alice()) } else { Verdict::Refused })
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok((subject.as_str() == "user-1").then(alice))
    }
}

fn alice() -> Account {
    Account::new(Subject::parse("user-1").expect("a subject"), "alice")
}

/// How a front is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// The path of the issuer.
    pub(crate) path: &'static str,
    /// Over TLS.
    pub(crate) tls: bool,
    /// Clients register themselves, and none is there already.
    pub(crate) registers: bool,
}

/// A server that listens, and everything that a run needs to know about it.
pub(crate) struct Front {
    pub(crate) config: Config,
    /// The authority that has signed its certificate.
    authority: Option<NamedTempFile>,
    spoil: Arc<Mutex<Spoil>>,
}

impl Front {
    /// A good server with a protected resource and a client of each role.
    pub(crate) async fn start() -> Self {
        Self::shaped(Shape::default()).await
    }

    pub(crate) async fn shaped(shape: Shape) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let origin = format!("{}://{address}", if shape.tls { "https" } else { "http" });
        let issuer = format!("{origin}{}", shape.path);
        let mut policy = Policy::default();
        for (name, text) in [("read", "See your calendar"), ("write", "Change your calendar")] {
            let name = grantor::model::ScopeToken::parse(name).expect("a scope");
            policy.scopes.insert(name, ScopeDefinition::new(text));
        }
        let server = AuthorizationServer::builder(issuer.parse().expect("an issuer"))
            .storage(MemoryStorage::new())
            .authenticator(Users)
            .policy(policy)
            .build()
            .expect("a server");
        let mut config = Config {
            issuer: Some(issuer),
            scope: Some("read write".to_owned()),
            resource: Some(format!("{origin}/resource")),
            ..Config::default()
        };
        config.user.username = Some("alice".to_owned());
        config.user.password = Some(Secret::new(PASSWORD));
        let registrar = shape.registers.then(|| format!("{origin}/register"));
        if registrar.is_none() {
            let both: ScopeSet = "read write".parse().expect("scopes");
            furnish(&server, &both, &mut config).await;
        }
        let spoil = Arc::new(Mutex::new(Spoil::default()));
        let (tls, authority) = shape.tls.then(certified).unzip();
        let house = House { server, registrar, spoil: Arc::clone(&spoil), tls };
        tokio::spawn(listen(listener, Arc::new(house)));
        Self { config, authority, spoil }
    }

    /// From now on requests and answers are spoilt so.
    pub(crate) fn spoil(&self, spoil: Spoil) {
        *self.spoil.lock().expect("lock") = spoil;
    }

    /// The options of a run against this server.
    pub(crate) fn options(&self) -> Options {
        let authority = self.authority.as_ref().map(|file| file.path().to_owned());
        Options { config: self.config.clone(), authority, ..Options::default() }
    }

    /// Runs the checks of requirements that begin so.
    pub(crate) async fn check(&self, only: &[&str]) -> Result<Report, RunError> {
        let only = only.iter().map(|id| (*id).to_owned()).collect();
        self.run(&Options { only, ..self.options() }).await
    }

    pub(crate) async fn run(&self, options: &Options) -> Result<Report, RunError> {
        run(options, &mut ()).await
    }
}

/// A certificate for this machine, and a file with the authority that signed it.
fn certified() -> (TlsAcceptor, NamedTempFile) {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("signed");
    let mut file = NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, signed.cert.pem().as_bytes()).expect("written");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .expect("a certificate");
    (TlsAcceptor::from(Arc::new(config)), file)
}

struct House {
    server: AuthorizationServer,
    /// Where clients register, if they do.
    registrar: Option<String>,
    spoil: Arc<Mutex<Spoil>>,
    tls: Option<TlsAcceptor>,
}

async fn listen(listener: TcpListener, house: Arc<House>) {
    while let Ok((stream, _)) = listener.accept().await {
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            let mut first = [0];
            // A client hello begins so; nothing else is understood where there is TLS, unless that is spoilt.
            let greets = stream.peek(&mut first).await.is_ok() && first == [0x16];
            let in_clear = house.spoil.lock().expect("lock").in_clear;
            match &house.tls {
                Some(tls) if greets => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve_connection(stream, house).await;
                    }
                }
                Some(_) if !in_clear => {}
                _ => serve_connection(stream, house).await,
            }
        });
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    house: Arc<House>,
) {
    let service = service_fn(move |request| {
        let house = Arc::clone(&house);
        async move { answer(&house, request).await }
    });
    // A connection that ends badly is its client's concern.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    house: &House,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let mut asked = Asked {
        method: parts.method.as_str().to_owned(),
        target: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: parts.headers,
        body: body.collect().await?.to_bytes().to_vec(),
    };
    let early = house.spoil.lock().expect("lock").request(&mut asked);
    let mut answered = match early {
        Some(answered) => answered,
        None => serve(house, &asked).await,
    };
    house.spoil.lock().expect("lock").answer(&asked, &mut answered);
    answered.headers.remove(header::CONTENT_LENGTH);
    let mut response = Response::new(Full::new(Bytes::from(answered.body)));
    *response.status_mut() = StatusCode::from_u16(answered.status).expect("a status");
    *response.headers_mut() = answered.headers;
    Ok(response)
}

async fn serve(house: &House, asked: &Asked) -> Answered {
    let mut request = Request::new(Bytes::from(asked.body.clone()));
    *request.method_mut() = asked.method.parse().expect("a method");
    *request.headers_mut() = asked.headers.clone();
    let Ok(uri) = asked.target.parse() else {
        return Answered { status: 400, headers: HeaderMap::new(), body: Vec::new() };
    };
    *request.uri_mut() = uri;
    if let Some(registrar) = &house.registrar
        && asked.path().starts_with("/register")
    {
        return crate::registrar::answer(&house.server, registrar, asked).await;
    }
    let response = if asked.path() == "/resource" {
        let scope = ScopeSet::default();
        match Guard::from(&house.server).check(request.headers(), request.uri(), &scope).await {
            Ok(_) => Response::new(Bytes::from("the events of the day")),
            Err(refused) => refused,
        }
    } else {
        house.server.handle(request).await
    };
    let (parts, body) = response.into_parts();
    let mut answered =
        Answered { status: parts.status.as_u16(), headers: parts.headers, body: body.to_vec() };
    if let Some(registrar) = &house.registrar
        && asked.path().starts_with("/.well-known/oauth-authorization-server")
    {
        let at = serde_json::json!(registrar);
        answered.edit(|members| drop(members.insert("registration_endpoint".into(), at)));
    }
    answered
}
