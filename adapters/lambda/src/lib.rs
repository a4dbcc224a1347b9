//! Grantor on [AWS Lambda](https://docs.rs/lambda_http), behind an HTTP or REST API of API Gateway or the URL of
//! a function.
//!
//! Embedding it is a chapter of [the book](grantor::guide::embedding).
//!
//! * [`Grantor`]: the authorization server, as a service for [`lambda_http::run`].
//! * [`RequireScope`]: a layer for the services of a resource server.
//!
//! Who is signed in at the host is said by an [`Authentication`](grantor::model::Authentication) in the
//! request's extensions.
//!
//! A function has no disk that stays and no instance that is alone, so the store is one that several
//! processes share, such as `grantor-redis`. Paths follow from the issuer, which is the address that
//! clients use: a custom domain, or a stage called `$default`, since nothing else answers at
//! `/.well-known`.
//!
#![doc = concat!("```no_run\n", include_str!("../examples/embed.rs"), "\n```")]

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use grantor::AuthorizationServer;
use grantor::wire::PeerAddr;
use grantor_tower::GrantorService;
pub use grantor_tower::{RequireScope, ResponseBody};
use http::Response;
use lambda_http::request::RequestContext;
use lambda_http::{Request, Service};

/// The whole authorization server as one service, for [`lambda_http::run`].
///
/// Where a request comes from is told by the event, never by a header of it. Those of a load balancer (the
/// feature `alb` of `lambda_http`) say it in a header only: there, and behind another proxy that it trusts,
/// the host says it by a [`PeerAddr`] in the request's extensions.
#[derive(Clone, Debug)]
pub struct Grantor {
    service: GrantorService,
}

impl Grantor {
    /// The service of this server.
    pub const fn new(server: AuthorizationServer) -> Self {
        Self { service: GrantorService::new(server) }
    }
}

impl Service<Request> for Grantor {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.service, cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let told = request.extensions().get::<PeerAddr>().is_some();
        if let Some(source) = source(&request).filter(|_| !told) {
            request.extensions_mut().insert(PeerAddr(source));
        }
        self.service.call(request)
    }
}

/// Where a request comes from, as the gateway saw it.
fn source(request: &Request) -> Option<IpAddr> {
    let source = match request.extensions().get()? {
        RequestContext::ApiGatewayV1(context) => context.identity.source_ip.as_ref(),
        RequestContext::ApiGatewayV2(context) => context.http.source_ip.as_ref(),
        _ => None,
    };
    source?.parse().ok()
}
