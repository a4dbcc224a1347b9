//! A calendar that everybody may read.

use axum::{Router, routing::get};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new().route("/events", get(|| async { "lunch" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8400").await?;
    Ok(axum::serve(listener, app).await?)
}
