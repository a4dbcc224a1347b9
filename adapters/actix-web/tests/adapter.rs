//! The flow that runs through every adapter.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, HttpMessage as _, HttpServer, web};
use grantor::model::Subject;
use grantor::resource::ValidToken;
use grantor::wire::PeerAddr;
use grantor_actix_web::{Bearer, Token, configure, require_scope, resource_metadata};
use grantor_conformance::adapter::{
    CalendarWrite, FORWARDED_FOR, READ, SIGNED_IN, Site, forwarded_for,
};

fn serve(site: Site) {
    let (address, read) = (site.address, READ.parse().expect("a scope"));
    let guarded = require_scope(site.guard.clone(), read);
    let app = move || {
        App::new()
            .wrap(from_fn(known))
            .app_data(site.clone())
            .app_data(site.guard.clone())
            .configure(configure(&site.server))
            .configure(resource_metadata(&site.guard))
            .service(
                web::scope("/events")
                    .route("", web::get().to(list).wrap(guarded.clone()))
                    .route("", web::post().to(add)),
            )
            .route("/unguarded", web::get().to(list))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().bind(address);
    let server = server.expect("the address is free").run();
    actix_web::rt::System::new().block_on(server).expect("a server");
}

/// The host's session, whom it has signed in, and the proxy that it trusts.
async fn known(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let header = request.headers().get(SIGNED_IN).and_then(|value| value.to_str().ok());
    let site = request.app_data::<Site>().expect("the site");
    if let Some(authentication) = header.and_then(|header| site.signed_in(header)) {
        request.extensions_mut().insert(authentication);
    }
    let header = request.headers().get(FORWARDED_FOR).and_then(|value| value.to_str().ok());
    if let Some(peer) = header.and_then(forwarded_for) {
        request.extensions_mut().insert(PeerAddr(peer));
    }
    next.call(request).await
}

fn subject(token: &ValidToken) -> String {
    token.subject.as_ref().map_or("nobody", Subject::as_str).to_owned()
}

async fn list(Token(token): Token) -> String {
    subject(&token)
}

async fn add(Bearer(token, _): Bearer<CalendarWrite>) -> String {
    subject(&token)
}

grantor_conformance::adapter_suite!(serve);
