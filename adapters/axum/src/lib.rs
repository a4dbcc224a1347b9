//! grantor-axum
