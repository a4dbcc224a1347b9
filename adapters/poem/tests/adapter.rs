//! The flow that runs through every adapter.

#![expect(clippy::expect_used, reason = "a test reports by panicking")]

use grantor::model::Subject;
use grantor::resource::ValidToken;
use grantor::wire::PeerAddr;
use grantor_conformance::adapter::{
    CalendarWrite, FORWARDED_FOR, READ, SIGNED_IN, Site, forwarded_for,
};
use grantor_poem::{Bearer, Grantor, ResourceMetadata, Token, require_scope};
use poem::listener::TcpListener;
use poem::{EndpointExt as _, Request, Route, Server, get, handler};

#[tokio::main]
async fn serve(site: Site) {
    let read = require_scope(site.guard.clone(), READ.parse().expect("a scope"));
    let app = Route::new()
        .at("/events", get(list.with(read)).post(add))
        .at("/unguarded", get(list))
        .data(site.guard.clone())
        .with(ResourceMetadata::of(&site.guard))
        .with(Grantor::new(&site.server));
    let address = site.address;
    // The host's session, whom it has signed in, and the proxy that it trusts.
    let app = app.before(move |mut request: Request| {
        let header = request.header(SIGNED_IN);
        if let Some(authentication) = header.and_then(|header| site.signed_in(header)) {
            request.extensions_mut().insert(authentication);
        }
        if let Some(peer) = request.header(FORWARDED_FOR).and_then(forwarded_for) {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        async move { Ok(request) }
    });
    Server::new(TcpListener::bind(address)).run(app).await.expect("a server");
}

fn subject(token: &ValidToken) -> String {
    token.subject.as_ref().map_or("nobody", Subject::as_str).to_owned()
}

#[handler]
fn list(Token(token): Token) -> String {
    subject(&token)
}

#[handler]
fn add(Bearer(token, _): Bearer<CalendarWrite>) -> String {
    subject(&token)
}

grantor_conformance::adapter_suite!(serve);
