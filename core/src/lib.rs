//! Grantor: an OAuth 2.1 authorization server to embed.

pub mod model;
pub mod storage;
