//! The audit log as structured log lines.

use async_trait::async_trait;
use grantor::engine::AuditSink;
use grantor::model::Timestamp;
use grantor::protocol::Event;
use serde_json::Value;

/// Logs every event as one line of the target `grantor::audit`, with the fields of the event.
///
/// Events hold no secret, so neither does the line.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditLog;

/// The target under which events are logged, for `RUST_LOG`.
pub const TARGET: &str = "grantor::audit";

/// The fields of a line.
const FIELDS: [&str; 11] = [
    "event",
    "client_id",
    "subject",
    "grant",
    "session",
    "scope",
    "step",
    "reason",
    "clause",
    "rotated",
    "guesses_left",
];

#[async_trait]
impl AuditSink for AuditLog {
    async fn record(&self, at: Timestamp, event: &Event) {
        let Ok(Value::Object(fields)) = serde_json::to_value(event) else {
            // Every event is a struct of texts and numbers.
            return;
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        // A field that this version has no place for is still logged.
        let other: Vec<String> = fields
            .iter()
            .filter(|(name, _)| !FIELDS.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let other = (!other.is_empty()).then(|| other.join(" "));
        let rotated = fields.get("rotated").and_then(Value::as_bool);
        let guesses_left = fields.get("guesses_left").and_then(Value::as_u64);
        // A line has the fields of its event and no others: an absent one is not recorded.
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    at = %at,
                    event = text("event"),
                    client_id = text("client_id"),
                    subject = text("subject"),
                    grant = text("grant"),
                    session = text("session"),
                    scope = text("scope"),
                    step = text("step"),
                    reason = text("reason"),
                    clause = text("clause"),
                    rotated,
                    guesses_left,
                    other,
                )
            };
        }
        match event {
            Event::Unavailable { .. } => log!(error),
            _ => log!(info),
        }
    }
}
