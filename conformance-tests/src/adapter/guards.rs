//! What a guard says to whoever has no right token.

use bytes::Bytes;
use grantor::model::ScopeSet;
use grantor::protocol::register::Registration;
use http::{Method, header};

use super::exchange::Visitor;
use super::fidelity::{request_of, same};
use super::flow::access_token;
use super::stage::{Stage, on_stage};
use super::{READ, Serve, WRITE};
use crate::runner::wire::Call;

/// The challenge is the guard's, byte for byte, in both idioms.
pub fn challenges_are_those_of_the_guard(serve: Serve) {
    // Requirements 6750-005, 6750-008, 6750-009; ATTACKS F10.
    on_stage(serve, async |stage| {
        let visitor = Visitor::of(stage);
        let (reading, nothing) = (token(stage, &visitor, READ).await, "nothing".to_owned());
        let of_a_user = access_token(stage, &visitor).await;
        let events = |method: &Method| Call::new(method.clone(), stage.url("/events"));
        for (method, scope) in [(Method::GET, READ), (Method::POST, WRITE)] {
            let bearer = |token: &str| {
                events(&method).header(header::AUTHORIZATION, &format!("Bearer {token}"))
            };
            let mut calls = vec![
                events(&method),
                bearer(&nothing),
                bearer(""),
                bearer("two words"),
                bearer("\u{e9}"),
                events(&method).header(header::AUTHORIZATION, "Basic bm9ib2R5Og=="),
                Call::new(method.clone(), stage.url("/events?access_token=nothing")),
            ];
            if method == Method::POST {
                // Enough for the one, and not for the other.
                calls.push(bearer(&reading));
            }
            for call in calls {
                refused(stage, &visitor, &call, scope).await;
            }
            // The user database does not answer: that is no refusal, and no open door either.
            stage.users.away(true);
            let with_user = bearer(&of_a_user);
            refused(stage, &visitor, &with_user, scope).await;
            stage.users.away(false);
        }
    });
}

/// Whoever is challenged finds out who issues tokens.
pub fn the_metadata_of_the_resource_is_served(serve: Serve) {
    // Requirement 9728-003.
    on_stage(serve, async |stage| {
        let visitor = Visitor::of(stage);
        let guard = &stage.site.guard;
        let (path, metadata) = guard.metadata_path().zip(guard.metadata()).expect("metadata");
        let challenge = visitor.get("/events").await.header(header::WWW_AUTHENTICATE);
        assert!(challenge.contains(&format!("\"{}\"", stage.url(path))), "{challenge}");
        let call = Call::get(stage.url(path));
        same(&call, &visitor.send(call.clone()).await, &metadata);
        let call = Call::new(Method::HEAD, stage.url(path));
        same(&call, &visitor.send(call.clone()).await, &metadata.map(|_| Bytes::new()));
    });
}

/// A handler that is not behind a guard opens nothing by mistake.
pub fn no_guard_is_no_open_door(serve: Serve) {
    on_stage(serve, async |stage| {
        let visitor = Visitor::of(stage);
        let token = token(stage, &visitor, READ).await;
        assert_eq!(visitor.with_token(Method::GET, "/events", &token).await.status, 200);
        assert_eq!(visitor.with_token(Method::GET, "/unguarded", &token).await.status, 500);
        assert_eq!(visitor.get("/unguarded").await.status, 500);
        assert_eq!(visitor.get("/nowhere").await.status, 404);
    });
}

/// A token that a service got for itself.
async fn token(stage: &Stage, visitor: &Visitor<'_>, scope: &str) -> String {
    let scope: ScopeSet = scope.parse().expect("a scope");
    let registration = Registration::service("Clock", scope.clone());
    let service = stage.site.server.register_client(&registration).await.expect("registered");
    let form = [("grant_type", "client_credentials"), ("scope", &scope.to_string())];
    let reply = visitor.form(&service, &stage.url("/token"), &form).await;
    reply.member("access_token").expect("a token")
}

/// Refused over the connection as in this process.
pub(super) async fn refused(stage: &Stage, visitor: &Visitor<'_>, call: &Call, scope: &str) {
    let reply = visitor.send(call.clone()).await;
    let request = request_of(call);
    let scope = scope.parse().expect("a scope");
    let direct = stage.site.guard.check(request.headers(), request.uri(), &scope).await;
    match direct {
        Ok(token) => panic!("the guard lets {call:?} pass as {token:?}"),
        Err(direct) => same(call, &reply, &direct),
    }
}
