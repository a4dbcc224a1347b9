//! Grantor on hyper, without a framework: `grantor-hyper memory`, or another store as `grantor` has it. What is not said is as it comes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use grantor::AuthorizationServer;
use grantor::engine::SystemClock;
use grantor::model::{Authentication, Subject, Timestamp};
use grantor::resource::Guard;
use grantor::wire::PeerAddr;
use grantor_bench::contender::{self, Fatal, Ready, listen};
use grantor_bench::embedded::{self, Read};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

struct Site {
    server: AuthorizationServer,
    resource: Guard,
    auth_time: Timestamp,
}

impl Site {
    /// Who is signed in at the host.
    fn who(&self, request: &Request<Incoming>) -> Option<Authentication> {
        let subject = Subject::parse(contender::signed_in(request.headers())?).ok()?;
        Some(Authentication { subject, auth_time: self.auth_time })
    }

    async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        if request.uri().path() == "/resource" {
            let checked = self.resource.check_for::<Read>(request.headers(), request.uri()).await;
            let answer = checked.map(|token| Response::new(format!("{:?}", token.subject).into()));
            return Ok(answer.unwrap_or_else(|challenge| challenge).map(Full::new));
        }
        if !self.server.is_for_programs(request.uri().path())
            && let Some(authentication) = self.who(&request)
        {
            request.extensions_mut().insert(authentication);
        }
        request.extensions_mut().insert(PeerAddr(peer.ip()));
        Ok(grantor_tower::answer(&self.server, request).await.map(Full::new))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let storage = embedded::store(&mut std::env::args().skip(1)).await?;
    let (server, secret) = embedded::server(storage, SystemClock).await?;
    let auth_time = embedded::remember_consents(&server).await?;
    let resource = Guard::from(&server);
    let site = Arc::new(Site { server, resource, auth_time });

    let ready = Ready { secret: secret.expose().to_owned(), ..Ready::usual() };
    let listener = listen(ready).await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        let site = Arc::clone(&site);
        let answer = service_fn(move |request| Arc::clone(&site).answer(request, peer));
        // As `axum::serve` has it: no deadline for the headers of a request.
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(connection);
    }
}
