//! Grantor is an OAuth 2.1 authorization server to embed.
//!
//! Hand it a [`Storage`](storage::Storage) and an [`Authenticator`] (your user database), and mount
//! [`AuthorizationServer::handle`] on the web framework that you already have; `grantor-axum` and `grantor-tower`
//! do that in one line. Nothing here knows a framework, a database or a runtime.
//!
//! **[The book](guide)** begins at `cargo new` and asks for no knowledge of OAuth.
//!
//! ```
//! use grantor::model::{Account, Subject};
//! use grantor::storage::MemoryStorage;
//! use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
//!
//! #[derive(Debug)]
//! struct Users;
//!
//! #[async_trait::async_trait]
//! impl Authenticator for Users {
//!     async fn verify(&self, credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
//!         Ok(Verdict::Refused) // look the user up and check the password here
//!     }
//!     async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
//!         Ok(Some(Account::new(subject.clone(), "alice"))) // `None`: the account does not stand
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = AuthorizationServer::builder("https://auth.example.com".parse()?)
//!     .storage(MemoryStorage::new())
//!     .authenticator(Users)
//!     .scope("calendar.read", "See your calendar")
//!     .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `system`, on by default: the clock and the random source of the operating system. Without it both are
//! named to the [`Builder`](engine::Builder), and the crate builds where there is neither, such as
//! `wasm32-unknown-unknown`.
//!
//! # Where things are
//!
//! * [`guide`]: the book, from the first five minutes to production.
//! * [`model`]: plain data.
//! * [`protocol`]: the rules, as pure functions; the state diagram stands at its top.
//! * [`storage`]: the contract of a store, and the memory backend.
//! * [`engine`]: load, decide, commit, answer.
//! * [`resource`]: the other side, a guard before what tokens open.
//! * [`wire`]: HTTP in and out, and the table of errors.
//! * [`pages`]: what users see.
//! * [`trace`]: recorded decisions, replayed and explained.
//! * [`design`], [`threat_model`], [`rfc_map`]: why it is so.

// For pages that are written before those of this crate, and in its absence.
#![doc(html_root_url = "https://docs.rs/grantor/latest")]

#[cfg(all(target_family = "wasm", feature = "system"))]
compile_error!(
    "there is no operating system to ask: use grantor with `default-features = false`, and name a \
     clock and a random source"
);

mod authenticator;
pub mod engine;
#[cfg(not(doctest))]
pub mod guide;
pub mod model;
pub mod pages;
pub mod protocol;
pub mod resource;
mod service;
pub mod storage;
pub mod trace;
pub mod wire;

pub use self::authenticator::{Authenticator, AuthenticatorError, Credentials, Verdict};
pub use self::engine::AuthorizationServer;

#[doc = include_str!("../docs/design.md")]
pub mod design {}

#[doc = include_str!("../docs/threat-model.md")]
pub mod threat_model {}

#[doc = include_str!("../docs/rfc-map.md")]
pub mod rfc_map {}
