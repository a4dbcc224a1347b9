//! Each example, running, as its users and their clients meet it over HTTP.

#![expect(clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod actix_directory;
mod axum_session;
mod chromium;
mod json_front_end;
mod visitor;
