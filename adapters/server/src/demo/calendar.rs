//! The resource server: a calendar with two scopes.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use grantor::AuthorizationServer;
use grantor::model::{ClientId, ScopeSet};
use grantor_axum::Token;
use serde_json::{Value, json};

use super::{READ, WRITE};

type Events = Arc<Mutex<Vec<String>>>;

/// The most events that the calendar keeps.
const MAX_EVENTS: usize = 50;

/// The calendar's routes, each behind the scope that it needs.
pub(super) fn router(server: &AuthorizationServer) -> Router {
    let guard = |scope: &str| {
        grantor_axum::require_scope(server, ScopeSet::parse(scope).unwrap_or_default())
    };
    let events: Events = Arc::new(Mutex::new(vec![
        "Monday: ship the release".into(),
        "Friday: dinner with Mina".into(),
    ]));
    let reading = Router::new().route("/events", get(list)).layer(guard(READ));
    let writing = Router::new().route("/events", post(add)).layer(guard(WRITE));
    reading.merge(writing).with_state(events)
}

async fn list(Token(token): Token, State(events): State<Events>) -> Json<Value> {
    let events = events.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Json(json!({ "owner": token.username, "events": events }))
}

async fn add(Token(token): Token, State(events): State<Events>) -> Json<Value> {
    let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
    let number = events.len() + 1;
    if events.len() < MAX_EVENTS {
        let client = token.client_id.as_ref().map_or("nobody", ClientId::as_str);
        events.push(format!("Event {number}: added by {client}"));
    }
    Json(json!({ "owner": token.username, "events": *events }))
}
